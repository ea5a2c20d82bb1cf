/*
 * Gradients of Softmax, in the order in which y lies; of LayerNormalization and Gather, row-major.
 */
#include "grad.h"
#include "lines.h"

#include <string.h>

static bool is_bf16(ed_layout layout)
{
    return ed_layout_element(layout) == 2;
}

/* Row-major, bfloat16 if the first two inputs are. */
static ed_layout row_major_of(const ed_kernel_plan *p)
{
    const ed_id *in = p->nodes[0]->in;
    return ed_layout_with_bf16(ED_LAYOUT_PLAIN,
                               is_bf16(p->layouts[in[0]]) && is_bf16(p->layouts[in[1]]));
}

/* ---- SoftmaxGrad(dy, y) ---- */
typedef struct softmax_state {
    ed_lines lines;
    bool bf16, log;
} softmax_state;

static int softmax_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_softmax_grad_params *params = p->params[0];
    const ed_shape *shape = ed_cuda_shape(p, node->in[0]);
    int64_t axis = params->of.axis < 0 ? params->of.axis + shape->rank : params->of.axis;
    bool bf16 = is_bf16(row_major_of(p));
    ed_layout layout = ed_layout_with_bf16(p->layouts[node->in[1]], bf16);
    softmax_state now = { .bf16 = bf16, .log = strcmp(node->op_type, "LogSoftmaxGrad") == 0 };
    if (params->flatten) { /* all from the axis on is one line */
        layout = ed_cuda_row_major(layout);
        ed_softmax_dims(&now.lines.outer, &now.lines.n, &now.lines.inner, &params->of, shape, true);
    } else {
        now.lines = ed_cuda_lines(shape, layout, (int)axis);
    }
    if (now.lines.n > ED_LINE_MAX)
        return ed_plan_refuse(p, "lines of more than 2^30 elements");
    softmax_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    ed_cuda_read(p, 0, layout);
    ed_cuda_read(p, 1, layout);
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static int softmax_run(const ed_call *call)
{
    const softmax_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_softmax_grad(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                     s->bf16, &s->lines, s->log, ed_cuda_of(call)->stream),
                "the kernel of Softmax's gradient");
    return ED_OK;
}

static void softmax_free(void *state)
{
    ed_free(state);
}

/* ---- LayerNormalizationGrad(dy, x [, scale]) -> dx [, dscale, dbias] ---- */
typedef struct norm_state {
    ed_cuda_norm_grad norm;
    bool bf16;
} norm_state;

static int norm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_layer_norm_params *params = p->params[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[1]);
    int axis = (int)(params->axis < 0 ? params->axis + x->rank : params->axis);
    int64_t n = ed_cuda_span(x, axis, x->rank);
    ed_layout layout = row_major_of(p);
    if (n > ED_LINE_MAX || n == 0)
        return ed_plan_refuse(p, "rows of more than 2^30 elements, or empty");
    norm_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (norm_state){
        .norm = { .rows = ed_cuda_span(x, 0, axis), .n = (int)n, .epsilon = params->epsilon },
        .bf16 = is_bf16(layout)
    };
    ed_cuda_read(p, 0, layout);
    ed_cuda_read(p, 1, layout);
    if (ed_node_in(node, 2) != ED_NONE)
        ed_cuda_read(p, 2, ED_LAYOUT_PLAIN);
    p->n_out = node->n_out;
    p->scratch = ed_cuda_norm_grad_scratch(&s->norm);
    return ed_cuda_take(p, 1, layout, s);
}

static float *output(const ed_call *call, uint32_t i)
{
    return i < call->n_out && call->out[i] ? call->out[i]->data : NULL;
}

static int norm_run(const ed_call *call)
{
    const norm_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_layer_norm_grad(call->out[0]->data, output(call, 1), output(call, 2),
                                        call->in[0]->data, call->in[1]->data, s->bf16,
                                        call->n_in > 2 ? call->in[2]->data : NULL, &s->norm,
                                        call->scratch, ed_cuda_of(call)->stream),
                "the kernel of LayerNormalization's gradient");
    return ED_OK;
}

/* ---- GatherGrad(dy, indices) ---- */
typedef struct gather_state {
    ed_cuda_gather_grad gather;
    bool bf16;
} gather_state;

static int gather_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_gather_grad_params *params = p->params[0];
    const ed_shape *x = ed_cuda_shape(p, node->out[0]);
    int axis = (int)(params->axis < 0 ? params->axis + x->rank : params->axis);
    ed_layout layout = ed_cuda_row_major(p->layouts[node->in[0]]);
    gather_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (gather_state){ .gather = { .outer = ed_cuda_span(x, 0, axis),
                                     .size = x->dim[axis],
                                     .inner = ed_cuda_span(x, axis + 1, x->rank),
                                     .count = ed_cuda_numel(p, node->in[1]),
                                     .wide = p->types[node->in[1]].dtype == ED_I64 },
                         .bf16 = is_bf16(layout) };
    ed_cuda_read(p, 0, layout);
    ed_cuda_read(p, 1, ED_LAYOUT_PLAIN);
    return ed_cuda_take(p, 1, layout, s);
}

static int gather_run(const ed_call *call)
{
    const gather_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_gather_grad_run(call->out[0]->data, call->in[0]->data, s->bf16,
                                        call->in[1]->data, &s->gather, ed_cuda_of(call)->stream),
                "the kernel of Gather's gradient");
    return ED_OK;
}

#define norm_free   softmax_free
#define gather_free softmax_free

const ed_cuda_op ed_cuda_norm_grad_ops[] = {
    { "SoftmaxGrad", "ed", { ED_CUDA_ROW(softmax) } },
    { "LogSoftmaxGrad", "ed", { ED_CUDA_ROW(softmax) } },
    { "LayerNormalizationGrad", "ed", { ED_CUDA_ROW(norm) } },
    { "GatherGrad", "ed", { ED_CUDA_ROW(gather) } },
    { 0 },
};
