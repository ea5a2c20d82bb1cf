/*
 * Stage 2: the running order. The nodes of a fused group that nobody outside looks into become a
 * chain: they stand side by side at the place of their last node, so that one kernel may take
 * several of them. So do trees of elementwise nodes outside of such chains (trees.c). All other
 * nodes are chains of one.
 */
#include "exec/chains.h"

#include <string.h>

/* How many nodes of `list` from the first on form a unit: only the last one's outputs are read
 * outside of it, or kept. */
static uint32_t closed_prefix(const ed_exec *x, const ed_id *list, uint32_t n, uint32_t *member)
{
    const ed_graph *g = x->graph;
    uint32_t longest = 1;
    for (uint32_t k = 0; k < n; k++)
        member[list[k]] = list[0]; /* marks: part of the prefix under test */
    for (uint32_t count = n; count > 1 && longest == 1; count--) {
        bool closed = true;
        for (uint32_t k = 0; closed && k + 1 < count; k++) {
            const ed_node *node = &g->nodes[list[k]];
            for (uint32_t o = 0; closed && o < node->n_out; o++) {
                if (node->out[o] == ED_NONE)
                    continue;
                const ed_value *v = &g->values[node->out[o]];
                closed = !x->kept[node->out[o]];
                for (size_t u = 0; closed && u < v->use_count; u++)
                    closed = member[v->uses[u]] == list[0];
            }
        }
        if (closed)
            longest = count;
        member[list[count - 1]] = ED_NONE;
    }
    return longest;
}

static bool is_product(const ed_node *node)
{
    return strcmp(node->op_type, "MatMul") == 0 || strcmp(node->op_type, "Gemm") == 0;
}

static bool may_join(const ed_node *reader)
{
    return reader->group == ED_NONE &&
           (strcmp(reader->op_type, "Add") == 0 || strcmp(reader->op_type, "Transpose") == 0);
}

/* An Add or a Transpose outside of the groups that alone reads the result of a matrix product's
 * group joins its chain: a residual, or the way back from separate heads. */
static void join_readers(const ed_exec *x, ed_links *links)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < g->n_groups && !x->reference; i++) {
        ed_id first = g->groups[i].nodes[0], last = g->groups[i].nodes[g->groups[i].n_nodes - 1];
        if (!is_product(&g->nodes[first]) || links->tail[first] != last)
            continue;
        const ed_value *y = &g->values[g->nodes[last].out[0]];
        if (x->kept[g->nodes[last].out[0]] || y->use_count != 1 || !may_join(&g->nodes[y->uses[0]]))
            continue;
        ed_id reader = y->uses[0];
        if (links->head[reader] != reader || links->tail[reader] != reader)
            continue; /* has joined the other operand's group */
        links->head[reader] = first;
        links->tail[first] = reader;
        links->next[last] = reader;
    }
}

bool ed_exec_is_folded(const ed_exec *x, const ed_node *node)
{
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE && !x->constants[node->out[i]])
            return false;
    return true;
}

static int find_chains(const ed_exec *x, ed_links *links)
{
    const ed_graph *g = x->graph;
    uint32_t *member = ed_malloc(g->n_nodes * sizeof *member);
    if (!member)
        return ED_ENOMEM;
    for (size_t i = 0; i < g->n_nodes; i++) {
        links->head[i] = links->tail[i] = (ed_id)i;
        links->next[i] = member[i] = ED_NONE;
    }
    for (size_t i = 0; i < g->n_groups && !x->reference; i++) {
        const ed_group *group = &g->groups[i];
        for (uint32_t at = 0; at < group->n_nodes;) {
            const ed_id *list = group->nodes + at;
            uint32_t n = closed_prefix(x, list, group->n_nodes - at, member);
            for (uint32_t k = 0; k < n; k++) {
                links->head[list[k]] = list[0];
                links->next[list[k]] = k + 1 < n ? list[k + 1] : ED_NONE;
            }
            links->tail[list[0]] = list[n - 1];
            at += n;
        }
    }
    join_readers(x, links);
    ed_free(member);
    return ED_OK;
}

static void append(ed_exec *x, ed_id id)
{
    x->order[x->n_order] = &x->graph->nodes[id];
    x->order_params[x->n_order] = x->params[id];
    x->place[id] = (uint32_t)x->n_order++;
}

/* Emit each chain where its last node stands. */
static void arrange(ed_exec *x, const ed_id *order, size_t count, const ed_links *links)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < count; i++) {
        ed_id first = links->head[order[i]];
        if (links->tail[first] != order[i] || ed_exec_is_folded(x, &g->nodes[order[i]]))
            continue;
        ed_chain *chain = &x->chains[x->n_chains++];
        chain->begin = (uint32_t)x->n_order;
        for (ed_id id = first; id != ED_NONE; id = links->next[id])
            if (!ed_exec_is_folded(x, &g->nodes[id]))
                append(x, id);
        chain->count = (uint32_t)x->n_order - chain->begin;
    }
}

static bool is_alias(const ed_exec *x, const ed_node *node)
{
    return (ed_op_traits(x->graph, node) & ED_OP_ALIAS) && node->in[0] != ED_NONE &&
           node->out[0] != ED_NONE;
}

static void read_at(uint32_t *last, uint32_t place)
{
    if (*last < place)
        *last = place;
}

/* Values that may share memory (ED_OP_ALIAS) live as long as the one that lives longest. */
static void find_last_reads(ed_exec *x)
{
    const ed_graph *g = x->graph;
    for (size_t v = 0; v < g->n_values; v++)
        if (g->values[v].is_output || g->values[v].is_input || x->constants[v])
            x->last_read[v] = UINT32_MAX;
    for (size_t i = 0; i < x->n_order; i++)
        for (uint32_t k = 0; k < x->order[i]->n_in; k++)
            if (x->order[i]->in[k] != ED_NONE)
                read_at(&x->last_read[x->order[i]->in[k]], (uint32_t)i);
    for (size_t i = x->n_order; i-- > 0;) /* up to the value that all of them are */
        if (is_alias(x, x->order[i]))
            read_at(&x->last_read[x->order[i]->in[0]], x->last_read[x->order[i]->out[0]]);
    for (size_t i = 0; i < x->n_order; i++) /* and from there to each */
        if (is_alias(x, x->order[i]))
            read_at(&x->last_read[x->order[i]->out[0]], x->last_read[x->order[i]->in[0]]);
}

int ed_exec_chains(ed_exec *x)
{
    const ed_graph *g = x->graph;
    int rc = ED_OK;
    ed_id *order = NULL;
    size_t count = 0;
    ed_links links = { ed_malloc(g->n_nodes * sizeof(ed_id)), ed_malloc(g->n_nodes * sizeof(ed_id)),
                       ed_malloc(g->n_nodes * sizeof(ed_id)) };
    x->order = ed_calloc(g->n_nodes, sizeof *x->order);
    x->order_params = ed_calloc(g->n_nodes, sizeof *x->order_params);
    x->chains = ed_calloc(g->n_nodes, sizeof *x->chains);
    x->place = ed_calloc(g->n_nodes, sizeof *x->place);
    x->last_read = ed_calloc(g->n_values, sizeof *x->last_read);
    if (!links.head || !links.tail || !links.next || !x->order || !x->order_params || !x->chains ||
        !x->place || !x->last_read)
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(find_chains(x, &links));
    ED_GOTO(ed_graph_topological(g, &order, &count));
    if (!x->reference)
        ED_GOTO(ed_exec_trees(x, &links, order, count));
    arrange(x, order, count, &links);
    find_last_reads(x);
done:
    ed_free(links.head);
    ed_free(links.tail);
    ed_free(links.next);
    ed_free(order);
    return rc;
}
