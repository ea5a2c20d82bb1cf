/*
 * Stage 1: every value's type and shape for the given input shapes. A node whose inputs are all
 * constant is evaluated here, once, with its reference kernel (a FakeQuantize on a weight); so is
 * one that reads shapes alone, and with it all arithmetic on shapes.
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
        ed_graph_shape_format(declared, sizeof declared, g, &v->shape);
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

/* The executor that lends its weights has the same result: shapes, which may differ between the
 * two, play no part in it. */
static bool is_shared(const ed_exec *x, const ed_node *node)
{
    for (uint32_t i = 0; x->share && i < node->n_in; i++) {
        ed_id v = node->in[i];
        if (v != ED_NONE && (!x->constants[v] || x->constants[v] != x->share->constants[v]))
            return false;
    }
    return x->share != NULL;
}

static int evaluate(ed_exec *x, const ed_node *node)
{
    int rc = ED_OK;
    const ed_tensor **in = ed_calloc(node->n_in, sizeof *in);
    ed_tensor *shapes = ed_calloc(node->n_in, sizeof *shapes);
    if (!in || !shapes)
        ED_GOTO(ED_ENOMEM);
    for (uint32_t i = 0; i < node->n_in; i++) {
        ed_id v = node->in[i];
        in[i] = v == ED_NONE ? NULL : x->constants[v];
        if (v == ED_NONE || in[i])
            continue;
        ED_GOTO(ed_tensor_view(&shapes[i], x->types[v].dtype, &x->types[v].shape, NULL));
        in[i] = &shapes[i]; /* of a node that does not look at the data */
    }
    ED_GOTO(ed_op_evaluate(x->graph, node, in, x->folded + x->n_folded));
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE)
            x->constants[node->out[i]] = x->folded[x->n_folded + i];
    x->n_folded += node->n_out;
done:
    ed_free(in);
    ed_free(shapes);
    return rc;
}

static int fold(ed_exec *x, const ed_node *node)
{
    if (!is_shared(x, node)) {
        ED_TRY(ed_grow(&x->folded, &x->folded_capacity, x->n_folded + node->n_out,
                       sizeof(ed_tensor *)));
        return evaluate(x, node);
    }
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE)
            x->constants[node->out[i]] = x->share->constants[node->out[i]];
    return ED_OK;
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
    if ((op->traits & ED_OP_READS_SHAPE) || all_constant(x, node))
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
