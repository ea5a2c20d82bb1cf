/*
 * Softmax (float32): y = exp(x - max) / sum exp(x - max); LogSoftmax: y = x - max - log sum.
 *
 * Before opset 13 the input is seen as a matrix, all dimensions from `axis` (1) on are one row;
 * since then it runs along the single dimension `axis` (-1).
 */
#include "base/parallel.h"
#include "ops/fast.h"

#include <math.h>

typedef struct softmax_job {
    float *y;
    const float *x;
    int64_t n, inner;
    bool log;
} softmax_job;

/* Element k of row r is at (r / inner * n + k) * inner + r % inner. */
static void softmax_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const softmax_job *job = ctx;
    const int64_t n = job->n, inner = job->inner;
    (void)thread;

    for (int64_t r = begin; r < end; r++) {
        const float *x = job->x + r / inner * n * inner + r % inner;
        float *y = job->y + (x - job->x);
        float max = -INFINITY;
        double sum = 0;
        for (int64_t k = 0; k < n; k++) /* a NaN makes the whole row NaN through the sum */
            max = x[k * inner] > max ? x[k * inner] : max;
        for (int64_t k = 0; k < n; k++) {
            float e = expf(x[k * inner] - max);
            sum += e;
            y[k * inner] = job->log ? x[k * inner] - max : e;
        }
        double log_sum = log(sum);
        for (int64_t k = 0; k < n; k++)
            y[k * inner] = (float)(job->log ? y[k * inner] - log_sum : y[k * inner] / sum);
    }
}

void ed_softmax_dims(int64_t *outer, int64_t *n, int64_t *inner, const ed_softmax_params *p,
                     const ed_shape *x, bool flatten)
{
    int axis = (int)(p->axis < 0 ? p->axis + x->rank : p->axis);
    *outer = *n = *inner = 1;
    for (int i = 0; i < x->rank; i++)
        *(i < axis ? outer : i == axis || flatten ? n : inner) *= x->dim[i];
}

static int softmax_forward(const ed_call *c, bool flatten, bool log)
{
    softmax_job job = { .y = c->out[0]->data, .x = c->in[0]->data, .log = log };
    int64_t outer = 1;
    ed_softmax_dims(&outer, &job.n, &job.inner, c->params, &c->in[0]->shape, flatten);
    if (c->in[0]->numel)
        ed_parallel_for(outer * job.inner, 4096 / job.n, softmax_rows, &job);
    return ED_OK;
}

static int softmax7_forward(const ed_call *c)
{
    return softmax_forward(c, true, false);
}

static int softmax13_forward(const ed_call *c)
{
    return softmax_forward(c, false, false);
}

static int log_softmax7_forward(const ed_call *c)
{
    return softmax_forward(c, true, true);
}

static int log_softmax13_forward(const ed_call *c)
{
    return softmax_forward(c, false, true);
}

static int infer_softmax(ed_infer *ctx)
{
    const ed_softmax_params *p = ctx->params;
    int axis = 0;
    ED_TRY(ed_infer_f32(ctx));
    if (ctx->in[0].shape.rank >= 0)
        ED_TRY(ed_infer_axis(ctx, p->axis, ctx->in[0].shape.rank, &axis));
    return ed_infer_same_as_input(ctx);
}

static const ed_attr_spec softmax7_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_softmax_params, axis, 1),
    { 0 },
};

static const ed_attr_spec softmax13_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_softmax_params, axis, -1),
    { 0 },
};

#define ROW(op, since, until, table, fn)                                                           \
    {                                                                                              \
        .type = op, .opset = { since, until }, .arity = { 1, 1, 1 }, .attrs = table,               \
        .params_size = sizeof(ed_softmax_params), .infer = infer_softmax, .forward = {             \
            ED_FAST_ROW(ed_vector_softmax),                                                        \
            ED_REFERENCE(fn)                                                                       \
        }                                                                                          \
    }
const ed_op ed_ops_softmax[] = {
    ROW("Softmax", 1, 12, softmax7_attrs, softmax7_forward),
    ROW("Softmax", 13, 0, softmax13_attrs, softmax13_forward),
    ROW("LogSoftmax", 1, 12, softmax7_attrs, log_softmax7_forward),
    ROW("LogSoftmax", 13, 0, softmax13_attrs, log_softmax13_forward),
    { 0 },
};
