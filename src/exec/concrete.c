/*
 * Stage 1: every value's type and shape for the given input shapes. A node whose inputs are all
 * constant is evaluated here, once, with its reference kernel (a FakeQuantize on a weight).
 */
#include "exec/exec_impl.h"

static int set_inputs(ed_exec *x, const ed_shape *shapes)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < g->n_values; i++) {
        const ed_tensor *t = g->values[i].constant;
        x->constants[i] = t;
        if (t)
            x->types[i] = (ed_type){ t->dtype, t->shape };
        else
            x->types[i] = (ed_type){ ED_DTYPE_NONE, ED_SHAPE_UNKNOWN };
    }
    for (size_t i = 0; i < g->n_inputs; i++) {
        const ed_value *v = &g->values[g->inputs[i]];
        char given[128], declared[128];
        ed_shape_format(given, sizeof given, &shapes[i]);
        ed_shape_format(declared, sizeof declared, &v->shape);
        bool fits = v->shape.rank < 0 || v->shape.rank == shapes[i].rank;
        for (int d = 0; fits && d < v->shape.rank; d++)
            fits = v->shape.dim[d] < 0 || v->shape.dim[d] == shapes[i].dim[d];
        ED_FAIL_IF(!ed_shape_known(&shapes[i]) || !fits, ED_ESHAPE,
                   "input '%s' is given the shape %s, but the model declares %s", v->name, given,
                   declared);
        x->types[g->inputs[i]] = (ed_type){ v->dtype, shapes[i] };
    }
    return ED_OK;
}

static bool all_constant(const ed_exec *x, const ed_node *node)
{
    for (uint32_t i = 0; i < node->n_in; i++)
        if (node->in[i] != ED_NONE && !x->constants[node->in[i]])
            return false;
    return true;
}

static int fold(ed_exec *x, const ed_node *node)
{
    int rc = ED_OK;
    if (x->share) {
        for (uint32_t i = 0; i < node->n_out; i++)
            if (node->out[i] != ED_NONE)
                x->constants[node->out[i]] = x->share->constants[node->out[i]];
        return ED_OK;
    }
    ED_TRY(
        ed_grow(&x->folded, &x->folded_capacity, x->n_folded + node->n_out, sizeof(ed_tensor *)));
    const ed_tensor **in = ed_calloc(node->n_in, sizeof *in);
    if (!in)
        return ED_ENOMEM;
    for (uint32_t i = 0; i < node->n_in; i++)
        in[i] = node->in[i] == ED_NONE ? NULL : x->constants[node->in[i]];
    rc = ed_op_evaluate(x->graph, node, in, x->folded + x->n_folded);
    for (uint32_t i = 0; rc == ED_OK && i < node->n_out; i++)
        if (node->out[i] != ED_NONE)
            x->constants[node->out[i]] = x->folded[x->n_folded + i];
    if (rc == ED_OK)
        x->n_folded += node->n_out;
    ed_free(in);
    return rc;
}

static int infer(ed_exec *x, ed_id id)
{
    const ed_node *node = &x->graph->nodes[id];
    const ed_op *op;
    int rc = ED_OK;
    ED_TRY(ed_op_find(&op, x->graph, node));
    ed_type *out = ed_calloc(node->n_out, sizeof *out);
    x->params[id] = ed_arena_alloc(x->arena, 1, op->params_size);
    if (!out || !x->params[id])
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(ed_op_params(op, x->graph, node, x->params[id]));
    ED_GOTO(ed_op_infer(op, x->graph, node, x->params[id], x->types, x->constants, out));
    for (uint32_t i = 0; i < node->n_out; i++) {
        ed_id v = node->out[i];
        if (v == ED_NONE)
            continue;
        int64_t numel;
        if (out[i].dtype == ED_DTYPE_NONE || !ed_shape_known(&out[i].shape))
            ED_GOTO(
                ed_error_set(ED_EUNSUPPORTED,
                             "%s: the shape of its output '%s' does not follow from the model's "
                             "inputs; export the model with fixed shapes",
                             ed_node_label(x->graph, node), x->graph->values[v].name));
        ED_GOTO(ed_shape_numel(&numel, &out[i].shape));
        x->types[v] = out[i];
    }
    if (all_constant(x, node))
        ED_GOTO(fold(x, node));
done:
    ed_free(out);
    return rc;
}

int ed_exec_concrete(ed_exec *x, const ed_shape *shapes)
{
    int rc = ED_OK;
    ed_id *order = NULL;
    size_t count = 0;
    ED_TRY(ed_graph_topological(x->graph, &order, &count));
    ED_GOTO(set_inputs(x, shapes));
    for (size_t i = 0; i < count; i++)
        ED_GOTO(infer(x, order[i]));
done:
    ed_free(order);
    return rc;
}
