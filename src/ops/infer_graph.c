/* Shape inference of a whole graph: every node in topological order, results into the values. */
#include "ops/op.h"

/* What the model declares of a value fills what inference left open. */
static void merge_declared(ed_type *type, const ed_value *value)
{
    if (type->dtype == ED_DTYPE_NONE)
        type->dtype = value->dtype;
    if (type->shape.rank < 0)
        type->shape = value->shape;
    if (type->shape.rank != value->shape.rank)
        return;
    for (int i = 0; i < type->shape.rank; i++)
        if (type->shape.dim[i] == ED_DIM_UNKNOWN)
            type->shape.dim[i] = value->shape.dim[i];
}

static int infer_node(const ed_graph *g, const ed_node *node, ed_type *types,
                      const ed_tensor *const *constants)
{
    int rc = ED_OK;
    const ed_op *op = NULL;
    void *params = NULL;
    ed_type *out = NULL;

    ED_TRY(ed_op_find(&op, g, node));
    params = ed_calloc(1, op->params_size);
    out = ed_calloc(node->n_out, sizeof *out);
    if (!params || !out)
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(ed_op_params(op, g, node, params));
    ED_GOTO(ed_op_infer(op, g, node, params, types, constants, out));
    for (uint32_t i = 0; i < node->n_out; i++) {
        if (node->out[i] == ED_NONE)
            continue;
        merge_declared(&out[i], &g->values[node->out[i]]);
        types[node->out[i]] = out[i];
    }
done:
    ed_free(params);
    ed_free(out);
    return rc;
}

int ed_graph_infer(ed_graph *g)
{
    int rc = ED_OK;
    ed_id *order = NULL;
    size_t count = 0;
    ed_type *types = ed_calloc(g->n_values, sizeof *types);
    const ed_tensor **constants = ed_calloc(g->n_values, sizeof(void *));
    if (!types || !constants)
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(ed_graph_topological(g, &order, &count));

    for (size_t i = 0; i < g->n_values; i++) {
        const ed_value *v = &g->values[i];
        constants[i] = v->constant;
        types[i] = v->constant ? (ed_type){ v->constant->dtype, v->constant->shape }
                               : (ed_type){ v->dtype, v->shape };
    }
    for (size_t i = 0; i < count; i++)
        ED_GOTO(infer_node(g, &g->nodes[order[i]], types, constants));
    for (size_t i = 0; i < g->n_values; i++) {
        g->values[i].dtype = types[i].dtype;
        g->values[i].shape = types[i].shape;
    }
done:
    ed_free(types);
    ed_free(constants);
    ed_free(order);
    return rc;
}
