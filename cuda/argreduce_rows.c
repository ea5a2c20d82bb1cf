/* Rows of ArgMax and ArgMin of float32, and CumSum. */
#include "lines.h"

#include <string.h>

/* ---- ArgMax, ArgMin: the indices are row-major ---- */
typedef struct arg_state {
    ed_lines lines;
    bool bf16, least, last;
} arg_state;

static int arg_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    ed_layout layout = p->layouts[node->in[0]];
    int axis = ed_cuda_axis(node, 0, x->rank);
    if (p->types[node->in[0]].dtype != ED_F32)
        return ed_plan_refuse(p, "integers");
    if (axis != 1) /* what is left of NHWC without its channels is row-major */
        layout = ed_cuda_row_major(layout);
    if (x->dim[axis] == 0 && ed_cuda_numel(p, node->out[0]) > 0)
        return ed_plan_refuse(p, "an axis without elements");
    arg_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (arg_state){ .lines = ed_cuda_lines(x, layout, axis),
                      .bf16 = ed_layout_element(layout) == 2,
                      .least = strcmp(node->op_type, "ArgMin") == 0,
                      .last = ed_graph_opset(p->graph, node->domain) >= 12 &&
                              ed_cuda_attr(node, "select_last_index", 0) != 0 };
    ed_cuda_read(p, 0, layout);
    return ed_cuda_take(p, 1, ED_LAYOUT_PLAIN, s);
}

static int arg_run(const ed_call *call)
{
    const arg_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_arg(call->out[0]->data, call->in[0]->data, s->bf16, &s->lines, s->least,
                            s->last, ed_cuda_of(call)->stream),
                "the kernel of ArgMax");
    return ED_OK;
}

static void arg_free(void *state)
{
    ed_free(state);
}

/* ---- CumSum: in the order and storage in which the input lies ---- */
typedef struct cumsum_state {
    ed_lines lines;
    int type;
    bool exclusive, reverse;
} cumsum_state;

static int cumsum_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    const ed_tensor *axis = ed_cuda_constant(p, 1);
    ed_layout layout = p->layouts[node->in[0]];
    size_t width = ed_cuda_width(p, node->in[0], layout);
    if (!axis)
        return ed_plan_refuse(p, "an axis that is not constant");
    int64_t d = ed_tensor_get_i64(axis, 0);
    d += d < 0 ? x->rank : 0;
    if (d < 0 || d >= x->rank)
        return ed_plan_refuse(p, "an axis outside of the input");
    cumsum_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (cumsum_state){ .lines = ed_cuda_lines(x, layout, (int)d),
                         .type = width == 8 ? ED_CUDA_SUMS_64 : ED_CUDA_SUMS_32,
                         .exclusive = ed_cuda_attr(node, "exclusive", 0) != 0,
                         .reverse = ed_cuda_attr(node, "reverse", 0) != 0 };
    if (p->types[node->in[0]].dtype == ED_F32)
        s->type = width == 2 ? ED_CUDA_SUMS_BF16 : ED_CUDA_SUMS_F32;
    ed_cuda_read(p, 0, layout);
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static int cumsum_run(const ed_call *call)
{
    const cumsum_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_cumsum(call->out[0]->data, call->in[0]->data, s->type, &s->lines,
                               s->exclusive, s->reverse, ed_cuda_of(call)->stream),
                "the kernel of CumSum");
    return ED_OK;
}

static void cumsum_free(void *state)
{
    ed_free(state);
}

const ed_cuda_op ed_cuda_argreduce_ops[] = {
    { "ArgMax", NULL, { ED_CUDA_ROW(arg) } },
    { "ArgMin", NULL, { ED_CUDA_ROW(arg) } },
    { "CumSum", NULL, { ED_CUDA_ROW(cumsum) } },
    { 0 },
};
