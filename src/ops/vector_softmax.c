/*
 * Softmax, LogSoftmax and their gradients over contiguous rows by vector instructions, in place if
 * the input, or dy, dies. The sum of a row is kept in 16 float lanes of at most 64 numbers each,
 * then in double; that of a gradient in 16 lanes in double.
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/vector_math.h"

enum { LANES = 16, BLOCK = 64 * LANES };

typedef struct softmax_state {
    int64_t rows, n;
    bool log;
} softmax_state;

typedef struct softmax_job {
    const softmax_state *s;
    float *y;
    const float *x;
} softmax_job;

/* A NaN does not count: it makes the whole row NaN through the sum. */
ED_BODY float max_of(const float *x, int64_t n)
{
    float lane[LANES], max = -INFINITY;
    int64_t i = 0;
    for (int k = 0; k < LANES; k++)
        lane[k] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int k = 0; k < LANES; k++)
        max = lane[k] > max ? lane[k] : max;
    return max;
}

/* The sum of exp(x - max), which goes to y where y is wanted. */
ED_BODY double exp_sum(float *y, const float *x, int64_t n, float max, bool wanted)
{
    double sum = 0;
    int64_t i = 0;
    while (i + LANES <= n) {
        float lane[LANES] = { 0 };
        int64_t end = n - i < BLOCK ? n : i + BLOCK;
        for (; i + LANES <= end; i += LANES) {
            float e[LANES];
            for (int k = 0; k < LANES; k++)
                e[k] = ed_vector_exp(x[i + k] - max);
            for (int k = 0; k < LANES; k++)
                lane[k] += e[k];
            if (wanted)
                memcpy(y + i, e, sizeof e);
        }
        for (int k = 0; k < LANES; k++)
            sum += (double)lane[k];
    }
    for (; i < n; i++) {
        float e = ed_vector_exp(x[i] - max);
        sum += (double)e;
        if (wanted)
            y[i] = e;
    }
    return sum;
}

ED_BODY void softmax_row_body(float *y, const float *x, int64_t n)
{
    double sum = exp_sum(y, x, n, max_of(x, n), true);
    float inverse = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++)
        y[i] *= inverse;
}
ED_CLONES_VOID(softmax_row, (float *y, const float *x, int64_t n), (y, x, n))

ED_BODY void log_softmax_row_body(float *y, const float *x, int64_t n)
{
    float max = max_of(x, n);
    float log_sum = (float)log(exp_sum(y, x, n, max, false));
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - max) - log_sum;
}
ED_CLONES_VOID(log_softmax_row, (float *y, const float *x, int64_t n), (y, x, n))

static void softmax_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const softmax_job *job = ctx;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        float *y = job->y + row * job->s->n;
        const float *x = job->x + row * job->s->n;
        if (job->s->log)
            log_softmax_row(y, x, job->s->n);
        else
            softmax_row(y, x, job->s->n);
    }
}

int ed_vector_softmax_run(const ed_call *call)
{
    enum { GRAIN = 4096 };
    const softmax_state *s = call->state;
    softmax_job job = { s, call->out[0]->data, call->in[0]->data };
    ed_parallel_for(s->rows, GRAIN / s->n, softmax_range, &job);
    return ED_OK;
}

int ed_vector_softmax_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0];
    int64_t inner = 1;
    softmax_state now = { .log = strcmp(node->op_type, "LogSoftmax") == 0 };
    if (!ed_plan_is_f32(p, x))
        return ed_plan_refuse(p, "empty or not float32");
    bool flatten = ed_graph_opset(p->graph, node->domain) < 13;
    ed_softmax_dims(&now.rows, &now.n, &inner, p->params[0], &p->types[x].shape, flatten);
    if (inner != 1)
        return ed_plan_refuse(p, "not along the last axis");
    softmax_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = p->out_layout = ED_LAYOUT_PLAIN;
    p->inplace = p->layouts[x] == ED_LAYOUT_PLAIN && ed_plan_dies(p, x, 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_vector_softmax_free(void *state)
{
    ed_free(state);
}

/* ---- gradients ---- */
/* sum dy y, or of dy alone where y is NULL */
ED_BODY double grad_sum(const float *dy, const float *y, int64_t n)
{
    double lane[LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += (double)dy[i + k] * (y ? (double)y[i + k] : 1.0);
    for (; i < n; i++)
        sum += (double)dy[i] * (y ? (double)y[i] : 1.0);
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

ED_BODY void softmax_grad_row_body(float *dx, const float *dy, const float *y, int64_t n)
{
    float sum = (float)grad_sum(dy, y, n);
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] * (dy[i] - sum);
}
ED_CLONES_VOID(softmax_grad_row, (float *dx, const float *dy, const float *y, int64_t n),
               (dx, dy, y, n))

ED_BODY void log_softmax_grad_row_body(float *dx, const float *dy, const float *y, int64_t n)
{
    float sum = (float)grad_sum(dy, NULL, n);
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] - ed_vector_exp(y[i]) * sum;
}
ED_CLONES_VOID(log_softmax_grad_row, (float *dx, const float *dy, const float *y, int64_t n),
               (dx, dy, y, n))

typedef struct grad_job {
    const softmax_state *s;
    float *dx;
    const float *dy, *y;
} grad_job;

static void grad_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    const int64_t n = job->s->n;
    (void)thread;
    for (int64_t at = begin * n; at < end * n; at += n) {
        if (job->s->log)
            log_softmax_grad_row(job->dx + at, job->dy + at, job->y + at, n);
        else
            softmax_grad_row(job->dx + at, job->dy + at, job->y + at, n);
    }
}

int ed_softmax_grad_run(const ed_call *call)
{
    enum { GRAIN = 4096 };
    const softmax_state *s = call->state;
    grad_job job = { s, call->out[0]->data, call->in[0]->data, call->in[1]->data };
    ed_parallel_for(s->rows, GRAIN / s->n, grad_range, &job);
    return ED_OK;
}

int ed_softmax_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_softmax_grad_params *params = p->params[0];
    ed_id dy = node->in[0], y = node->in[1];
    int64_t inner = 1;
    softmax_state now = { .log = strcmp(node->op_type, "LogSoftmaxGrad") == 0 };
    if (!ed_plan_is_f32(p, dy))
        return ed_plan_refuse(p, "empty or not float32");
    ed_softmax_dims(&now.rows, &now.n, &inner, &params->of, &p->types[dy].shape,
                    params->flatten != 0);
    if (inner != 1)
        return ed_plan_refuse(p, "not along the last axis");
    softmax_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    p->taken = 1;
    p->n_in = 2;
    p->in[0] = dy;
    p->in[1] = y;
    p->in_layout[0] = p->in_layout[1] = p->out_layout = ED_LAYOUT_PLAIN;
    p->inplace = dy != y && ed_plan_dies(p, dy, 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_softmax_grad_free(void *state)
{
    ed_free(state);
}
