/*
 * Constant folding: nodes whose inputs are all constant are evaluated by their reference kernels.
 *
 * A node whose result is out of proportion to the model (a ConstantOfShape, an Expand) stays: a
 * file of a few bytes must not take gigabytes. Eight is what DequantizeLinear makes of 4-bit
 * weights.
 */
#include "passes/match.h"

#include <string.h>

enum { MAX_IO = 64, SMALL = 4 << 20, GROWTH = 8 };

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

size_t ed_fold_limit(const ed_graph *g)
{
    size_t own = 0;
    for (size_t i = 0; i < g->n_values; i++)
        if (g->values[i].constant && !ed_add_size(own, g->values[i].constant->nbytes, &own))
            return SIZE_MAX;
    size_t limit;
    return ed_mul_size(own, GROWTH, &limit) && ed_add_size(limit, SMALL, &limit) ? limit : SIZE_MAX;
}

static int fold_node(ed_graph *g, ed_id id, const ed_tensor *const *in, size_t limit,
                     size_t *folded)
{
    size_t bytes;
    ed_tensor *outs[MAX_IO] = { 0 };
    ed_id values[MAX_IO];
    const ed_node *node = &g->nodes[id];
    uint32_t n_out = node->n_out;
    ED_TRY(ed_op_evaluated_bytes(&bytes, g, node, in));
    if (bytes > limit)
        return ED_OK;
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
    *folded += rc == ED_OK;
    return rc;
}

int ed_fold_constants(ed_graph *g, size_t limit, size_t *folded)
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
        rc = fold_node(g, order[k], in, limit, folded);
    }
    ed_free(order);
    return rc;
}
