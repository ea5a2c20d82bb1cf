/*
 * Pooling over windows with 1 to 3 spatial dimensions (window.c), and over all of them.
 *
 * MaxPool (ONNX opset 1 to 22)       max_pool.c
 * AveragePool (1 to 22)              y = sum of the taps inside of the input / count, where count
 *     is the number of these taps, or with count_include_pad of the taps inside of the padded
 *     input; 0 when no tap is inside
 * GlobalAveragePool, GlobalMaxPool   over all spatial dimensions; the average is summed in double
 *
 * ceil_mode keeps a last window that hangs over the padded input if it begins inside of the input
 * or its left padding (ONNX Runtime and opset 22 say so for every opset).
 */
#include "ops/fast.h"
#include "ops/gradient.h"
#include "ops/window.h"

#include "base/parallel.h"

#include <math.h>

const ed_attr_spec ed_pool_attrs[] = {
    ED_ATTR_ENUM_OF("auto_pad", ed_pool_params, auto_pad, ed_auto_pad_words),
    ED_ATTR_INTS_OF("dilations", ed_pool_params, dilations),
    ED_ATTR_INTS_OF("kernel_shape", ed_pool_params, kernel_shape),
    ED_ATTR_INTS_OF("pads", ed_pool_params, pads),
    ED_ATTR_INTS_OF("strides", ed_pool_params, strides),
    ED_ATTR_I64_OF("ceil_mode", ed_pool_params, ceil_mode, 0),
    ED_ATTR_I64_OF("count_include_pad", ed_pool_params, count_include_pad, 0),
    ED_ATTR_I64_OF("storage_order", ed_pool_params, storage_order, 0),
    { 0 },
};

/* ---- inference ---- */

int ed_pool_shape(ed_shape *y, const ed_infer *ctx, const ed_shape *x)
{
    const ed_pool_params *p = ctx->params;
    ed_window window;

    ED_TRY(ed_pool_window(&window, ctx->graph, ctx->node, p, x));
    *y = *x;
    for (int i = 0; i < window.rank; i++)
        y->dim[2 + i] = ed_window_positions(&window, i, x->dim[2 + i], p->ceil_mode != 0);
    return ED_OK;
}

static int pool_infer(ed_infer *ctx, unsigned dtypes)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, dtypes));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (ctx->in[0].shape.rank < 0)
        return ED_OK;
    return ed_pool_shape(&ctx->out[0].shape, ctx, &ctx->in[0].shape);
}

static int max_pool_infer(ed_infer *ctx)
{
    ED_TRY(pool_infer(ctx, 1u << ED_F32 | 1u << ED_I8 | 1u << ED_U8));
    if (ctx->n_out > 1)
        ctx->out[1] = (ed_type){ ED_I64, ctx->out[0].shape };
    return ED_OK;
}

static int average_pool_infer(ed_infer *ctx)
{
    return pool_infer(ctx, 1u << ED_F32);
}

static int global_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape;

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    if (x->rank >= 0 && x->rank < 3)
        return ed_infer_fail(ctx, ED_ESHAPE, "the input has rank %d; at least 3 was expected",
                             x->rank);
    ctx->out[0].shape = *x;
    for (int i = 2; i < x->rank; i++) {
        if (x->dim[i] == 0)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "spatial dimension %d of the input is 0; there is "
                                 "nothing to pool",
                                 i - 2);
        ctx->out[0].shape.dim[i] = 1;
    }
    return ED_OK;
}

/* ---- reference kernels ---- */

typedef struct pool_job {
    const float *x;
    float *y;
    ed_pool_axes axes;
} pool_job;

/* Taps of the window at output position o that lie inside of [first, end). */
static int64_t count_taps(const ed_window_axis *a, int64_t o, int64_t first, int64_t end)
{
    int64_t count = 0;

    for (int64_t k = 0; k < a->kernel; k++) {
        int64_t i = o * a->stride - a->pad + k * a->dilation;

        count += i >= first && i < end;
    }
    return count;
}

int64_t ed_pool_divisor(const ed_pool_axes *a, int axis, int64_t o)
{
    const ed_window_axis *w = &a->axis[axis];

    return a->include_pad ? count_taps(w, o, -w->pad, a->padded_end[axis])
                          : count_taps(w, o, 0, w->in);
}

int ed_pool_axes_of(ed_pool_axes *out, const ed_node *node, const ed_pool_params *p,
                    const ed_shape *x, const ed_shape *y)
{
    ed_window window;

    ED_TRY(ed_pool_window(&window, NULL, node, p, x));
    out->include_pad = p->count_include_pad != 0;
    ed_window_axes(out->axis, &window, x, y);
    for (int a = 0; a < 3; a++) {
        int i = a - (3 - window.rank);

        out->padded_end[a] = out->axis[a].in + (i >= 0 ? window.pad_end[i] : 0);
    }
    return ED_OK;
}

/* Add tap k along the width of one input row to the output row. */
static void add_tap(const pool_job *j, float *y, const float *x, int64_t k)
{
    const ed_window_axis *a = &j->axes.axis[2];
    int64_t lo, hi;

    ed_window_valid(a, k, &lo, &hi);
    x += k * a->dilation - a->pad;
    for (int64_t o = lo; o < hi; o++)
        y[o] += x[o * a->stride];
}

/* One row y[n, c, od, oh, :]; row counts them all. */
static void pool_row(const pool_job *j, int64_t row)
{
    const ed_window_axis *d = &j->axes.axis[0], *h = &j->axes.axis[1], *wd = &j->axes.axis[2];
    int64_t od = row / h->out % d->out, oh = row % h->out;
    const float *x = j->x + row / (d->out * h->out) * d->in * h->in * wd->in;
    float *y = j->y + row * wd->out;

    for (int64_t o = 0; o < wd->out; o++)
        y[o] = 0.0f;
    for (int64_t kd = 0; kd < d->kernel; kd++) {
        int64_t id = od * d->stride - d->pad + kd * d->dilation;

        for (int64_t kh = 0; id >= 0 && id < d->in && kh < h->kernel; kh++) {
            int64_t ih = oh * h->stride - h->pad + kh * h->dilation;

            for (int64_t k = 0; ih >= 0 && ih < h->in && k < wd->kernel; k++)
                add_tap(j, y, x + (id * h->in + ih) * wd->in, k);
        }
    }

    int64_t rows = ed_pool_divisor(&j->axes, 0, od) * ed_pool_divisor(&j->axes, 1, oh);

    for (int64_t o = 0; o < wd->out; o++) {
        int64_t count = rows * ed_pool_divisor(&j->axes, 2, o);

        y[o] = count > 0 ? y[o] / (float)count : 0.0f;
    }
}

static void pool_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        pool_row(ctx, row);
}

static int average_pool_forward(const ed_call *c)
{
    pool_job job = { .x = c->in[0]->data, .y = c->out[0]->data };

    ED_TRY(ed_pool_axes_of(&job.axes, c->node, c->params, &c->in[0]->shape, &c->out[0]->shape));
    if (c->out[0]->numel > 0)
        ed_parallel_for(c->out[0]->numel / job.axes.axis[2].out, 1, pool_rows, &job);
    return ED_OK;
}

typedef struct global_job {
    const float *x;
    float *y;
    int64_t size; /* of a channel */
} global_job;

static void global_average(void *ctx, int64_t begin, int64_t end, int thread)
{
    const global_job *j = ctx;

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        double sum = 0.0;

        for (int64_t i = 0; i < j->size; i++)
            sum += (double)j->x[c * j->size + i];
        j->y[c] = (float)(sum / (double)j->size);
    }
}

static float larger(float best, float x)
{
    return x > best || isnan(x) ? x : best; /* a NaN, once in, stays: no x is > NaN */
}

static void global_max(void *ctx, int64_t begin, int64_t end, int thread)
{
    const global_job *j = ctx;

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        float best = -INFINITY;

        for (int64_t i = 0; i < j->size; i++)
            best = larger(best, j->x[c * j->size + i]);
        j->y[c] = best;
    }
}

static int global_forward(const ed_call *c, ed_range_fn fn)
{
    global_job job = { c->in[0]->data, c->out[0]->data, 1 };

    for (int i = 2; i < c->in[0]->shape.rank; i++)
        job.size *= c->in[0]->shape.dim[i];
    ed_parallel_for(c->out[0]->numel, 1, fn, &job);
    return ED_OK;
}

static int global_average_forward(const ed_call *c)
{
    return global_forward(c, global_average);
}

static int global_max_forward(const ed_call *c)
{
    return global_forward(c, global_max);
}

const ed_op ed_ops_pool[] = {
    { .type = "MaxPool",
      .opset = { 1, 0 },
      .arity = { 1, 1, 2 },
      .traits = ED_OP_MOVES_DATA,
      .attrs = ed_pool_attrs,
      .params_size = sizeof(ed_pool_params),
      .infer = max_pool_infer,
      .forward = { ED_FAST_ROW(ed_onednn_pool), ED_REFERENCE(ed_max_pool_forward) },
      .gradient = ed_gradient_max_pool },
    { .type = "AveragePool",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .attrs = ed_pool_attrs,
      .params_size = sizeof(ed_pool_params),
      .infer = average_pool_infer,
      .forward = { ED_FAST_ROW(ed_onednn_pool), ED_REFERENCE(average_pool_forward) },
      .gradient = ed_gradient_average_pool },
    { .type = "GlobalAveragePool",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .infer = global_infer,
      .forward = { ED_FAST_ROW(ed_layout_mean), ED_REFERENCE(global_average_forward) },
      .gradient = ed_gradient_global_average },
    { .type = "GlobalMaxPool",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA,
      .infer = global_infer,
      .forward = { ED_REFERENCE(global_max_forward) },
      .gradient = ed_gradient_global_max },
    { 0 },
};
