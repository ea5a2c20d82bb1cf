/* Topological order: depth first from each node in id order, so that an ordered list stays as it is
 * and inserted nodes stand right before their first consumer. */
#include "graph/graph.h"

enum { WHITE, GREY, BLACK };

typedef struct walk {
    const ed_graph *g;
    unsigned char *colour;
    ed_id *stack, *order;
    uint32_t *next; /* next input to look at, per node */
    size_t n_order;
} walk;

static int visit(walk *w, ed_id start)
{
    size_t depth = 0;
    w->stack[depth++] = start;
    w->colour[start] = GREY;
    while (depth) {
        ed_id id = w->stack[depth - 1];
        const ed_node *node = &w->g->nodes[id];
        if (w->next[id] == node->n_in) {
            w->colour[id] = BLACK;
            w->order[w->n_order++] = id;
            depth--;
            continue;
        }
        ed_id value = node->in[w->next[id]++];
        ed_id producer = value == ED_NONE ? ED_NONE : w->g->values[value].producer;
        if (producer == ED_NONE || w->colour[producer] == BLACK)
            continue;
        ED_FAIL_IF(w->colour[producer] == GREY, ED_EFORMAT,
                   "%s depends on its own output through '%s'; a graph must not have a cycle",
                   ed_node_label(w->g, &w->g->nodes[producer]), w->g->values[value].name);
        w->colour[producer] = GREY;
        w->stack[depth++] = producer;
    }
    return ED_OK;
}

int ed_graph_topological(const ed_graph *g, ed_id **order, size_t *count)
{
    size_t n = g->n_nodes;
    walk w = { g,
               ed_calloc(n, 1),
               ed_malloc(n * sizeof(ed_id)),
               ed_malloc(n * sizeof(ed_id)),
               ed_calloc(n, sizeof(uint32_t)),
               0 };
    int rc = w.colour && w.stack && w.order && w.next ? ED_OK : ED_ENOMEM;
    for (size_t i = 0; rc == ED_OK && i < n; i++)
        if (!g->nodes[i].dead && w.colour[i] == WHITE)
            rc = visit(&w, (ed_id)i);
    ed_free(w.colour);
    ed_free(w.stack);
    ed_free(w.next);
    if (rc != ED_OK) {
        ed_free(w.order);
        w.order = NULL;
    }
    *order = w.order;
    *count = w.n_order;
    return rc;
}
