/*
 * LayerNormalizationGrad by vector instructions, in place of dy if it dies. The rows are cut into a
 * fixed number of parts, whatever the number of threads; each part sums the gradients of scale and
 * bias for itself, in float over a few rows, then in double. So all runs give the same bits.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/vector_sums.h"

#include <math.h>
#include <string.h>

enum { MAX_PARTS = 32, FEW_ROWS = 32 };

typedef struct norm_grad_state {
    int64_t rows, n, parts;
    double epsilon;
    bool scaled, sums;
} norm_grad_state;

typedef struct norm_grad_job {
    const norm_grad_state *s;
    float *dx;
    const float *dy, *x, *scale;
    double *wide;          /* [parts][2][n] sums of dscale and dbias */
    float *narrow;         /* [parts][2][n] of the last few rows */
    float *dscale, *dbias; /* NULL: not wanted */
} norm_grad_job;

/* The means of g = dy * scale and of g * (x - mean); blocks keep the float sums short. */
ED_BODY void means_of(double out[2], const float *dy, const float *x, const float *scale, int64_t n,
                      float mean)
{
    enum { LANES = ED_SUM_LANES, BLOCK = 64 * LANES };
    double a = 0, b = 0;
    int64_t i = 0;
    while (i + LANES <= n) {
        float g[LANES] = { 0 }, gx[LANES] = { 0 };
        int64_t end = n - i < BLOCK ? n : i + BLOCK;
        for (; i + LANES <= end; i += LANES) {
            for (int k = 0; k < LANES; k++) {
                float v = scale ? dy[i + k] * scale[i + k] : dy[i + k];
                g[k] += v;
                gx[k] += v * (x[i + k] - mean);
            }
        }
        for (int k = 0; k < LANES; k++) {
            a += (double)g[k];
            b += (double)gx[k];
        }
    }
    for (; i < n; i++) {
        float v = scale ? dy[i] * scale[i] : dy[i];
        a += (double)v;
        b += (double)(v * (x[i] - mean));
    }
    out[0] = a / (double)n;
    out[1] = b / (double)n;
}

/* sums: [2][n], NULL when not wanted. */
ED_BODY void row_gradient_body(float *dx, const float *dy, const float *x, const float *scale,
                               float *sums, int64_t n, double epsilon)
{
    double means[2];
    const float mean = (float)(ed_sum_of(x, n) / (double)n);
    const double variance = ed_squares_of(x, n, mean) / (double)n + epsilon;
    const float inverse = (float)(1.0 / sqrt(variance));
    if (sums) {
        float *dscale = sums, *dbias = sums + n;
        ED_INDEPENDENT
        for (int64_t i = 0; i < n; i++) {
            dscale[i] += dy[i] * ((x[i] - mean) * inverse);
            dbias[i] += dy[i];
        }
    }
    means_of(means, dy, x, scale, n, mean);
    const float shift = (float)means[0], slope = (float)(means[1] / variance);
    if (scale) {
        ED_INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            dx[i] = inverse * (dy[i] * scale[i] - shift - (x[i] - mean) * slope);
    } else {
        ED_INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            dx[i] = inverse * (dy[i] - shift - (x[i] - mean) * slope);
    }
}
ED_CLONES_VOID(row_gradient,
               (float *dx, const float *dy, const float *x, const float *scale, float *sums,
                int64_t n, double epsilon),
               (dx, dy, x, scale, sums, n, epsilon))

/* The float sums go into the double ones, and begin again. */
static void flush(double *wide, float *narrow, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        wide[i] += (double)narrow[i];
        narrow[i] = 0.0f;
    }
}

static void part_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm_grad_job *j = ctx;
    const norm_grad_state *s = j->s;
    const int64_t n = s->n;
    (void)thread;
    for (int64_t part = begin; part < end; part++) {
        int64_t first = s->rows * part / s->parts, last = s->rows * (part + 1) / s->parts;
        double *wide = s->sums ? j->wide + part * 2 * n : NULL;
        float *narrow = s->sums ? j->narrow + part * 2 * n : NULL;
        if (s->sums) {
            memset(wide, 0, (size_t)n * 2 * sizeof *wide);
            memset(narrow, 0, (size_t)n * 2 * sizeof *narrow);
        }
        for (int64_t row = first; row < last; row++) {
            row_gradient(j->dx + row * n, j->dy + row * n, j->x + row * n, j->scale, narrow, n,
                         s->epsilon);
            if (s->sums && ((row - first) % FEW_ROWS == FEW_ROWS - 1 || row + 1 == last))
                flush(wide, narrow, 2 * n);
        }
    }
}

static void column_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm_grad_job *j = ctx;
    const int64_t n = j->s->n;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double dscale = 0, dbias = 0;
        for (int64_t part = 0; part < j->s->parts; part++) {
            dscale += j->wide[part * 2 * n + i];
            dbias += j->wide[part * 2 * n + n + i];
        }
        if (j->dscale)
            j->dscale[i] = (float)dscale;
        if (j->dbias)
            j->dbias[i] = (float)dbias;
    }
}

int ed_vector_norm_grad_run(const ed_call *call)
{
    const norm_grad_state *s = call->state;
    norm_grad_job job = { .s = s,
                          .dx = call->out[0]->data,
                          .dy = call->in[0]->data,
                          .x = call->in[1]->data,
                          .scale = s->scaled ? call->in[2]->data : NULL };
    if (s->sums) {
        job.wide = call->scratch;
        job.narrow = (float *)(job.wide + s->parts * 2 * s->n);
        job.dscale = call->out[1] ? call->out[1]->data : NULL;
        job.dbias = call->n_out > 2 && call->out[2] ? call->out[2]->data : NULL;
    }
    ed_parallel_for(s->parts, 1, part_range, &job);
    if (s->sums)
        ed_parallel_for(s->n, 256, column_range, &job);
    return ED_OK;
}

int ed_vector_norm_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_layer_norm_params *params = p->params[0];
    const ed_shape *x = &p->types[node->in[1]].shape;
    const int64_t axis = params->axis < 0 ? params->axis + x->rank : params->axis;
    if (!ed_plan_is_f32(p, node->in[0]) || node->out[0] == ED_NONE)
        return ed_plan_refuse(p, "empty, not float32, or without dx");
    norm_grad_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->rows = s->n = 1;
    for (int i = 0; i < x->rank; i++)
        *(i < axis ? &s->rows : &s->n) *= x->dim[i];
    s->parts = s->rows < MAX_PARTS ? s->rows : MAX_PARTS;
    s->epsilon = (double)params->epsilon;
    s->scaled = ed_node_in(node, 2) != ED_NONE;
    s->sums = node->n_out > 1;
    p->taken = 1;
    for (uint32_t i = 0; i < (s->scaled ? 3u : 2u); i++)
        ed_plan_read(p, node->in[i], ED_LAYOUT_PLAIN);
    p->n_out = node->n_out;
    p->out_layout = ED_LAYOUT_PLAIN;
    p->scratch = s->sums ? (size_t)(s->parts * 2 * s->n) * (sizeof(double) + sizeof(float)) : 0;
    bool alone = p->layouts[node->in[0]] == ED_LAYOUT_PLAIN && node->in[0] != node->in[1] &&
                 (!s->scaled || node->in[0] != node->in[2]);
    p->inplace = alone && ed_plan_dies(p, node->in[0], 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_vector_norm_grad_free(void *state)
{
    ed_free(state);
}
