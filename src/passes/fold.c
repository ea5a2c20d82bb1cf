/* Constant folding: nodes whose inputs are all constant are evaluated by their reference kernels.
 */
#include "passes/match.h"

#include <string.h>

enum { MAX_IO = 64 };

static bool all_constant(const ed_graph *g, const ed_node *node, const ed_tensor **in)
{
    if (node->n_in > MAX_IO || node->n_out > MAX_IO || !node->n_in)
        return false;
    for (uint32_t i = 0; i < node->n_in; i++) {
        in[i] = ed_node_constant(g, node, i);
        if (!in[i] && node->in[i] != ED_NONE)
            return false;
    }
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE && g->values[node->out[i]].is_output)
            return false;
    return strcmp(node->op_type, "FakeQuantize") != 0; /* a quantized weight stays one */
}

static int fold_node(ed_graph *g, ed_id id, const ed_tensor *const *in)
{
    ed_tensor *outs[MAX_IO] = { 0 };
    ed_id values[MAX_IO];
    const ed_node *node = &g->nodes[id];
    uint32_t n_out = node->n_out;
    ED_TRY(ed_op_evaluate(g, node, in, outs));
    memcpy(values, node->out, n_out * sizeof *values);
    ed_graph_remove_node(g, id);
    int rc = ED_OK;
    for (uint32_t i = 0; i < n_out; i++) {
        if (values[i] == ED_NONE || rc != ED_OK)
            ed_tensor_free(outs[i]);
        else
            rc = ed_graph_set_constant_take(g, values[i], outs[i]);
    }
    return rc;
}

int ed_fold_constants(ed_graph *g, size_t *folded)
{
    ed_id *order;
    size_t n;
    *folded = 0;
    ED_TRY(ed_graph_topological(g, &order, &n));
    int rc = ED_OK;
    for (size_t k = 0; rc == ED_OK && k < n; k++) {
        const ed_tensor *in[MAX_IO];
        const ed_op *op;
        if (!all_constant(g, &g->nodes[order[k]], in) ||
            ed_op_find(&op, g, &g->nodes[order[k]]) != ED_OK) /* the executor will name it */
            continue;
        rc = fold_node(g, order[k], in);
        *folded += rc == ED_OK;
    }
    ed_free(order);
    return rc;
}
