/*
 * Softmax (float32): y = exp(x - max) / sum exp(x - max); LogSoftmax: y = x - max - log sum.
 *
 * Before opset 13 the input is seen as a matrix, all dimensions from `axis` (1) on are one row;
 * since then it runs along the single dimension `axis` (-1).
 *
 * Their gradients (domain "ed"), of dy and the output y, with the sum over the same elements:
 *
 * SoftmaxGrad      dx = y (dy - sum dy y)
 * LogSoftmaxGrad   dx = dy - exp(y) sum dy
 *
 * Attributes: axis (-1); flatten (0): all dimensions from the axis on are one row.
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/gradient.h"

#include <math.h>
#include <string.h>

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

/* ---- gradients ---- */
typedef struct grad_job {
    float *dx;
    const float *dy, *y;
    int64_t n, inner;
    bool log;
} grad_job;

static void grad_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    const int64_t n = job->n, inner = job->inner;
    (void)thread;

    for (int64_t r = begin; r < end; r++) {
        int64_t first = r / inner * n * inner + r % inner, last = first + n * inner;
        double sum = 0;
        for (int64_t i = first; i < last; i += inner)
            sum += job->log ? (double)job->dy[i] : (double)job->dy[i] * (double)job->y[i];
        for (int64_t i = first; i < last; i += inner) {
            double dy = (double)job->dy[i], y = (double)job->y[i];
            job->dx[i] = (float)(job->log ? dy - exp(y) * sum : y * (dy - sum));
        }
    }
}

static int grad_forward(const ed_call *c, bool log)
{
    const ed_softmax_grad_params *p = c->params;
    grad_job job = { .dx = c->out[0]->data, .dy = c->in[0]->data, .y = c->in[1]->data, .log = log };
    int64_t outer = 1;
    ed_softmax_dims(&outer, &job.n, &job.inner, &p->of, &c->in[0]->shape, p->flatten != 0);
    if (c->in[0]->numel)
        ed_parallel_for(outer * job.inner, 4096 / job.n, grad_rows, &job);
    return ED_OK;
}

static int softmax_grad_forward(const ed_call *c)
{
    return grad_forward(c, false);
}

static int log_softmax_grad_forward(const ed_call *c)
{
    return grad_forward(c, true);
}

static int softmax_gradient(ed_grad *g)
{
    const ed_softmax_params *p = g->params;
    const bool flatten = ed_graph_opset(g->graph, "") < 13;
    const bool log = strcmp(g->op->type, "LogSoftmax") == 0;
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = p->axis },
                              { .name = "flatten", .type = ED_ATTR_INT, .i = flatten },
                              { 0 } };
    ed_id dx = ED_NONE;
    ED_TRY(ed_grad_emit_node(g, &dx, 1, log ? "ed::LogSoftmaxGrad" : "ed::SoftmaxGrad",
                             (ed_id[]){ ed_grad_dy(g), g->out[0] }, 2, attrs));
    return ed_grad_give(g, 0, dx);
}

/* ---- inference ---- */
static int infer_softmax(ed_infer *ctx)
{
    const ed_softmax_params *p = ctx->params;
    int axis = 0;
    ED_TRY(ed_infer_f32(ctx));
    if (ctx->in[0].shape.rank >= 0)
        ED_TRY(ed_infer_axis(ctx, p->axis, ctx->in[0].shape.rank, &axis));
    return ed_infer_same_as_input(ctx);
}

static int infer_grad(ed_infer *ctx)
{
    ED_TRY(infer_softmax(ctx));
    return ed_infer_same_as_inputs(ctx, 0, 1);
}

/* ---- rows ---- */
static const ed_attr_spec softmax7_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_softmax_params, axis, 1),
    { 0 },
};

static const ed_attr_spec softmax13_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_softmax_params, axis, -1),
    { 0 },
};

static const ed_attr_spec grad_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_softmax_grad_params, of.axis, -1),
    ED_ATTR_I64_OF("flatten", ed_softmax_grad_params, flatten, 0),
    { 0 },
};

#define ROW(op, since, until, table, fn)                                                           \
    {                                                                                              \
        .type = op, .opset = { since, until }, .arity = { 1, 1, 1 }, .attrs = table,               \
        .params_size = sizeof(ed_softmax_params), .infer = infer_softmax,                          \
        .gradient = softmax_gradient, .forward = {                                                 \
            ED_FAST_ROW(ed_vector_softmax),                                                        \
            ED_REFERENCE(fn)                                                                       \
        }                                                                                          \
    }
#define GRAD_ROW(op, fn)                                                                           \
    {                                                                                              \
        .type = op, .domain = "ed", .arity = { 2, 2, 1 }, .attrs = grad_attrs,                     \
        .params_size = sizeof(ed_softmax_grad_params), .infer = infer_grad, .forward = {           \
            ED_FAST_ROW(ed_softmax_grad),                                                          \
            ED_REFERENCE(fn)                                                                       \
        }                                                                                          \
    }
const ed_op ed_ops_softmax[] = {
    ROW("Softmax", 1, 12, softmax7_attrs, softmax7_forward),
    ROW("Softmax", 13, 0, softmax13_attrs, softmax13_forward),
    ROW("LogSoftmax", 1, 12, softmax7_attrs, log_softmax7_forward),
    ROW("LogSoftmax", 13, 0, softmax13_attrs, log_softmax13_forward),
    GRAD_ROW("SoftmaxGrad", softmax_grad_forward),
    GRAD_ROW("LogSoftmaxGrad", log_softmax_grad_forward),
    { 0 },
};
