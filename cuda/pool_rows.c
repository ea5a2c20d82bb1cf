/*
 * Rows of MaxPool and AveragePool, in the order and storage in which the input lies, and of their
 * gradients. One window over the whole input is a reduction.
 */
#include "grad.h"
#include "lines.h"
#include "reduce_rows.h"

#include <string.h>

typedef struct pool_state {
    ed_cuda_pool pool;
    bool bf16;
} pool_state;

/* Positions and counts of taps must stay in 31 bits. */
enum { MAX_SIZE = 1 << 28 };

/* Depth, height, width; those that are missing have size 1. False when they are too large. */
static bool set_axes(ed_cuda_pool *pool, const ed_window *w, const ed_shape *x, const ed_shape *y)
{
    int64_t taps = 1;
    for (int a = 0; a < 3; a++) {
        int i = a - (3 - w->rank);
        pool->axis[a] = (ed_cuda_pool_axis){ 1, 1, 1, 1, 1, 0, 1 };
        if (i < 0)
            continue;
        int64_t padded = x->dim[2 + i] + w->pad_end[i];
        if (padded + w->pad_begin[i] > MAX_SIZE || w->stride[i] > MAX_SIZE ||
            w->dilation[i] > MAX_SIZE)
            return false;
        taps *= w->kernel[i]; /* not larger than the padded input */
        if (taps > MAX_SIZE)
            return false;
        pool->axis[a] =
            (ed_cuda_pool_axis){ (int)x->dim[2 + i], (int)y->dim[2 + i],  (int)w->kernel[i],
                                 (int)w->stride[i],  (int)w->dilation[i], (int)w->pad_begin[i],
                                 (int)padded };
    }
    return true;
}

static int pool_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_pool_params *params = p->params[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]), *y = ed_cuda_shape(p, node->out[0]);
    ed_layout layout = p->layouts[node->in[0]];
    ed_window w;
    pool_state now = { .pool = { .n = x->dim[0],
                                 .channels = x->dim[1],
                                 .average = strcmp(node->op_type, "AveragePool") == 0,
                                 .include_pad = params->count_include_pad != 0,
                                 .channels_last = ed_cuda_is_nhwc(layout) },
                       .bf16 = ed_layout_element(layout) == 2 };
    if (p->types[node->in[0]].dtype != ED_F32)
        return ed_plan_refuse(p, "integers");
    if (ed_cuda_more_outputs(p))
        return ed_plan_refuse(p, "indices");
    ED_TRY(ed_pool_window(&w, p->graph, node, params, x));
    if (!set_axes(&now.pool, &w, x, y))
        return ed_plan_refuse(p, "more than 2^28 positions or taps");
    pool_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    ed_cuda_read(p, 0, layout);
    return ed_cuda_take(p, 1, layout, s);
}

static int pool_run(const ed_call *call)
{
    const pool_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_pooling(call->out[0]->data, call->in[0]->data, s->bf16, &s->pool,
                                ed_cuda_of(call)->stream),
                "the kernel of pooling");
    return ED_OK;
}

static void pool_free(void *state)
{
    ed_free(state);
}

/* ---- MaxPoolGrad(dy, x), AveragePoolGrad(dy, x) ---- */
static int pool_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_pool_params *params = p->params[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[1]), *y = ed_cuda_shape(p, node->in[0]);
    bool average = strcmp(node->op_type, "AveragePoolGrad") == 0;
    ed_layout dy_lies = p->layouts[node->in[0]], x_lies = p->layouts[node->in[1]];
    bool bf16 = ed_layout_element(dy_lies) == 2 && (average || ed_layout_element(x_lies) == 2);
    ed_layout layout = ed_layout_with_bf16(average ? dy_lies : x_lies, bf16);
    ed_window w;
    pool_state now = { .pool = { .n = x->dim[0],
                                 .channels = x->dim[1],
                                 .average = average,
                                 .include_pad = params->count_include_pad != 0,
                                 .channels_last = ed_cuda_is_nhwc(layout) },
                       .bf16 = bf16 };
    ED_TRY(ed_pool_window(&w, p->graph, node, params, x));
    if (!set_axes(&now.pool, &w, x, y) || ed_cuda_span(x, 2, x->rank) > INT32_MAX)
        return ed_plan_refuse(p, "more than 2^28 positions or taps");
    pool_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    p->scratch = ed_cuda_pool_grad_scratch(&s->pool);
    ed_cuda_read(p, 0, layout);
    if (!average)
        ed_cuda_read(p, 1, layout);
    return ed_cuda_take(p, 1, layout, s);
}

static int pool_grad_run(const ed_call *call)
{
    const pool_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_pool_grad(call->out[0]->data, call->in[0]->data,
                                  call->n_in > 1 ? call->in[1]->data : NULL, s->bf16, &s->pool,
                                  call->scratch, ed_cuda_of(call)->stream),
                "the kernel of pooling's gradient");
    return ED_OK;
}

#define pool_grad_free pool_free

const ed_cuda_op ed_cuda_pool_ops[] = {
    { "MaxPoolGrad", "ed", { ED_CUDA_ROW(pool_grad) } },
    { "AveragePoolGrad", "ed", { ED_CUDA_ROW(pool_grad) } },
    { "MaxPool", NULL, { ED_CUDA_ROW(ed_cuda_reduction), ED_CUDA_ROW(pool) } },
    { "AveragePool", NULL, { ED_CUDA_ROW(ed_cuda_reduction), ED_CUDA_ROW(pool) } },
    { 0 },
};
