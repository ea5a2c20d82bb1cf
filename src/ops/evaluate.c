/* Run one node on given tensors with its reference kernel: constant folding, and tests. */
#include "ops/op.h"

typedef struct evaluation { /* what one run needs; released together */
    void *params;
    ed_type *in, *out;
    size_t n_out;
} evaluation;

static void release(evaluation *e)
{
    ed_free(e->params);
    ed_free(e->in);
    ed_free(e->out);
}

static int prepare(evaluation *e, const ed_op *op, const ed_graph *g, const ed_node *node,
                   const ed_tensor *const *in)
{
    e->params = ed_calloc(1, op->params_size);
    e->in = ed_calloc(node->n_in, sizeof *e->in);
    e->out = ed_calloc(node->n_out, sizeof *e->out);
    if (!e->params || !e->in || !e->out)
        return ED_ENOMEM;
    for (uint32_t i = 0; i < node->n_in; i++)
        e->in[i] = in[i] ? (ed_type){ in[i]->dtype, in[i]->shape }
                         : (ed_type){ ED_DTYPE_NONE, ED_SHAPE_UNKNOWN };
    ED_TRY(ed_op_params(op, g, node, e->params));
    return ed_op_infer_inputs(op, g, node, e->params, e->in, in, e->out);
}

int ed_op_evaluated_bytes(size_t *bytes, const ed_graph *g, const ed_node *node,
                          const ed_tensor *const *in)
{
    int rc = ED_OK;
    evaluation e = { 0 };
    const ed_op *op = NULL;

    *bytes = 0;
    ED_TRY(ed_op_find(&op, g, node));
    ED_GOTO(prepare(&e, op, g, node, in));
    for (uint32_t i = 0; i < node->n_out; i++) {
        ed_tensor view;
        if (node->out[i] == ED_NONE || !ed_shape_known(&e.out[i].shape) ||
            e.out[i].dtype == ED_DTYPE_NONE)
            continue; /* ed_op_evaluate() names it */
        if (ed_tensor_view(&view, e.out[i].dtype, &e.out[i].shape, NULL) != ED_OK ||
            !ed_add_size(*bytes, view.nbytes, bytes))
            *bytes = SIZE_MAX;
    }
done:
    release(&e);
    return rc;
}

int ed_op_evaluate(const ed_graph *g, const ed_node *node, const ed_tensor *const *in,
                   ed_tensor **outs)
{
    int rc = ED_OK;
    evaluation e = { 0 };
    const ed_op *op = NULL;

    for (uint32_t i = 0; i < node->n_out; i++)
        outs[i] = NULL;
    ED_TRY(ed_op_find(&op, g, node));
    ED_GOTO(prepare(&e, op, g, node, in));
    for (uint32_t i = 0; i < node->n_out; i++) {
        if (node->out[i] == ED_NONE)
            continue;
        if (!ed_shape_known(&e.out[i].shape) || e.out[i].dtype == ED_DTYPE_NONE)
            ED_GOTO(ed_node_fail(g, node, ED_EUNSUPPORTED,
                                 "the shape of its output %u does not follow from its inputs", i));
        ED_GOTO(ed_tensor_new(&outs[i], e.out[i].dtype, &e.out[i].shape));
    }
    ed_call call = { .node = node,
                     .params = e.params,
                     .n_in = node->n_in,
                     .n_out = node->n_out,
                     .in = in,
                     .out = outs };
    rc = ed_op_reference(op)->run(&call);
    if (rc != ED_OK)
        rc = ed_error_context(rc, "%s", ed_node_label(g, node));
done:
    release(&e);
    for (uint32_t i = 0; rc != ED_OK && i < node->n_out; i++) {
        ed_tensor_free(outs[i]);
        outs[i] = NULL;
    }
    return rc;
}
