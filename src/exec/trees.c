/*
 * Stage 2a: trees of elementwise nodes that are in no chain so far. From the last node on, each is
 * tried as a root; the node behind an operand joins when nobody outside of the tree reads its
 * output and the whole is still one program (ops/chain.h). The nodes of a tree become a chain.
 */
#include "exec/chains.h"
#include "ops/chain.h"

#include <string.h>

typedef struct tree {
    ed_id nodes[ED_CHAIN_MAX_NODES]; /* in topological order */
    uint32_t count;
} tree;

static bool is_member(const tree *t, ed_id id)
{
    for (uint32_t k = 0; k < t->count; k++)
        if (t->nodes[k] == id)
            return true;
    return false;
}

static bool is_program(const ed_exec *x, const tree *t)
{
    const ed_node *nodes[ED_CHAIN_MAX_NODES];
    const void *params[ED_CHAIN_MAX_NODES];
    ed_chain_bound unused;
    for (uint32_t k = 0; k < t->count; k++) {
        nodes[k] = &x->graph->nodes[t->nodes[k]];
        params[k] = x->params[t->nodes[k]];
    }
    return ed_chain_build(&unused,
                          &(ed_chain_nodes){ x->types, x->constants, nodes, params, t->count });
}

static bool is_free(const ed_exec *x, const ed_links *links, ed_id id)
{
    return links->head[id] == id && links->next[id] == ED_NONE &&
           !ed_exec_is_folded(x, &x->graph->nodes[id]);
}

static bool is_read_inside(const ed_exec *x, const tree *t, const ed_node *node)
{
    if (node->n_out != 1 || x->kept[node->out[0]])
        return false;
    const ed_value *v = &x->graph->values[node->out[0]];
    for (size_t u = 0; u < v->use_count; u++)
        if (!is_member(t, v->uses[u]))
            return false;
    return true;
}

/* The last node before `place` in the topological order whose output a node of the tree reads. */
static ed_id node_behind(const ed_exec *x, const tree *t, const uint32_t *places, uint32_t place)
{
    ed_id found = ED_NONE;
    for (uint32_t k = 0; k < t->count; k++) {
        const ed_node *node = &x->graph->nodes[t->nodes[k]];
        for (uint32_t i = 0; i < node->n_in; i++) {
            ed_id id = node->in[i] == ED_NONE ? ED_NONE : x->graph->values[node->in[i]].producer;
            if (id != ED_NONE && places[id] < place &&
                (found == ED_NONE || places[id] > places[found]))
                found = id;
        }
    }
    return found;
}

static void grow(tree *t, const ed_exec *x, const ed_links *links, const uint32_t *places)
{
    ed_id id = t->nodes[0];
    while (t->count < ED_CHAIN_MAX_NODES) {
        id = node_behind(x, t, places, places[id]);
        if (id == ED_NONE)
            return;
        if (!is_free(x, links, id) || !is_read_inside(x, t, &x->graph->nodes[id]))
            continue;
        tree more = { .count = t->count + 1 };
        more.nodes[0] = id; /* it stands before all others */
        memcpy(more.nodes + 1, t->nodes, t->count * sizeof t->nodes[0]);
        if (is_program(x, &more))
            *t = more;
    }
}

int ed_exec_trees(const ed_exec *x, ed_links *links, const ed_id *order, size_t count)
{
    uint32_t *places = ed_malloc(x->graph->n_nodes * sizeof *places);
    if (!places)
        return ED_ENOMEM;
    for (size_t i = 0; i < count; i++)
        places[order[i]] = (uint32_t)i;
    for (size_t i = count; i-- > 0;) {
        tree t = { .nodes = { order[i] }, .count = 1 };
        if (!is_free(x, links, order[i]) || !is_program(x, &t))
            continue;
        grow(&t, x, links, places);
        for (uint32_t k = 0; k < t.count; k++) {
            links->head[t.nodes[k]] = t.nodes[0];
            links->next[t.nodes[k]] = k + 1 < t.count ? t.nodes[k + 1] : ED_NONE;
        }
        links->tail[t.nodes[0]] = order[i];
    }
    ed_free(places);
    return ED_OK;
}
