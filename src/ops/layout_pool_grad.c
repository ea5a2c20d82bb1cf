/*
 * MaxPoolGrad and AveragePoolGrad in the layout in which x lies. One unit is up to LANES channels
 * of one sample: the windows are walked once, all channels of a unit side by side.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/window.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

typedef struct pool_grad_state {
    ed_pool_axes axes;
    ed_grid from, to; /* of x and dx, of dy */
    bool max;
    int64_t *count; /* what an average divides by, of each depth, height and width in turn */
} pool_grad_state;

typedef struct pool_grad_job {
    const pool_grad_state *s;
    const float *dy, *x;
    float *dx;
} pool_grad_job;

/* The taps of one window that lie inside of the input. */
typedef struct taps {
    const ed_window_axis *axis;
    int64_t origin[3];        /* where tap 0 stands */
    int64_t begin[3], end[3]; /* of each axis */
} taps;

ED_BODY void find_taps(taps *t, const ed_window_axis *a, const int64_t out[3])
{
    t->axis = a;
    for (int i = 0; i < 3; i++) {
        const int64_t origin = out[i] * a[i].stride - a[i].pad, d = a[i].dilation;
        const int64_t fit = origin < a[i].in ? (a[i].in - 1 - origin) / d + 1 : 0;

        t->origin[i] = origin;
        t->begin[i] = origin < 0 ? (-origin + d - 1) / d : 0;
        t->end[i] = fit < a[i].kernel ? fit : a[i].kernel;
    }
}

/* A row of taps, those of kd and kh: its first one's place in the plane; *k: its number. */
ED_BODY int64_t row_of(const taps *t, int64_t kd, int64_t kh, int64_t *k)
{
    const ed_window_axis *a = t->axis;
    const int64_t d = t->origin[0] + kd * a[0].dilation, h = t->origin[1] + kh * a[1].dilation;

    *k = (kd * a[1].kernel + kh) * a[2].kernel + t->begin[2];
    return (d * a[1].in + h) * a[2].in + t->origin[2] + t->begin[2] * a[2].dilation;
}

/* ---- one window over n channels, `b` elements from one place of the plane to the next ---- */

ED_BODY void max_window(float *dx, const float *x, const float *dy, const taps *t, int64_t b, int n)
{
    const int64_t step = t->axis[2].dilation * b;
    float best[LANES];
    int32_t found[LANES];

    for (int l = 0; l < n; l++) {
        best[l] = -INFINITY;
        found[l] = -1;
    }
    for (int64_t kd = t->begin[0]; kd < t->end[0]; kd++) {
        for (int64_t kh = t->begin[1]; kh < t->end[1]; kh++) {
            int64_t k;
            const float *v = x + row_of(t, kd, kh, &k) * b;
            for (int64_t kw = t->begin[2]; kw < t->end[2]; kw++, k++, v += step) {
                for (int l = 0; l < n; l++) {
                    bool better =
                        (found[l] < 0) | (v[l] > best[l]) | ((v[l] != v[l]) & (best[l] == best[l]));
                    best[l] = better ? v[l] : best[l];
                    found[l] = better ? (int32_t)k : found[l];
                }
            }
        }
    }
    for (int64_t kd = t->begin[0]; kd < t->end[0]; kd++) {
        for (int64_t kh = t->begin[1]; kh < t->end[1]; kh++) {
            int64_t k;
            float *to = dx + row_of(t, kd, kh, &k) * b;
            for (int64_t kw = t->begin[2]; kw < t->end[2]; kw++, k++, to += step)
                for (int l = 0; l < n; l++)
                    to[l] += found[l] == (int32_t)k ? dy[l] : 0.0f;
        }
    }
}

ED_BODY void average_window(float *dx, const float *dy, float count, const taps *t, int64_t b,
                            int n)
{
    const int64_t step = t->axis[2].dilation * b;
    float part[LANES];

    for (int l = 0; l < n; l++)
        part[l] = dy[l] / count;
    for (int64_t kd = t->begin[0]; kd < t->end[0]; kd++) {
        for (int64_t kh = t->begin[1]; kh < t->end[1]; kh++) {
            int64_t k;
            float *to = dx + row_of(t, kd, kh, &k) * b;
            for (int64_t kw = t->begin[2]; kw < t->end[2]; kw++, to += step)
                for (int l = 0; l < n; l++)
                    to[l] += part[l];
        }
    }
}

/* ---- all windows of n channels of one sample ---- */

ED_BODY void walk(float *dx, const float *x, const float *dy, const pool_grad_state *s, int n)
{
    const ed_window_axis *a = s->axes.axis;
    const int64_t b = s->from.b,
                  *count[3] = { s->count, s->count + a[0].out, s->count + a[0].out + a[1].out };
    taps t;

    for (int64_t i = 0; i < s->from.s; i++)
        memset(dx + i * b, 0, (size_t)n * sizeof *dx);
    for (int64_t d = 0; d < a[0].out; d++) {
        for (int64_t h = 0; h < a[1].out; h++) {
            for (int64_t w = 0; w < a[2].out; w++, dy += b) {
                find_taps(&t, a, (const int64_t[]){ d, h, w });
                if (s->max)
                    max_window(dx, x, dy, &t, b, n);
                else
                    average_window(dx, dy, (float)(count[0][d] * count[1][h] * count[2][w]), &t, b,
                                   n);
            }
        }
    }
}

/* The usual widths as constants, so that the inner loops are a few vector instructions. */
ED_BODY void walk_unit_body(float *dx, const float *x, const float *dy, const pool_grad_state *s,
                            int n)
{
    if (n == 16)
        walk(dx, x, dy, s, 16);
    else if (n == 8)
        walk(dx, x, dy, s, 8);
    else if (n == 1)
        walk(dx, x, dy, s, 1);
    else
        walk(dx, x, dy, s, n);
}
ED_CLONES_VOID(walk_unit,
               (float *dx, const float *x, const float *dy, const pool_grad_state *s, int n),
               (dx, x, dy, s, n))

static void unit_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const pool_grad_job *j = ctx;
    const ed_grid *from = &j->s->from;
    const int64_t chunks = (from->b + LANES - 1) / LANES;

    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t block = unit / chunks, first = unit % chunks * LANES, left = from->b - first;
        int64_t at = block * from->s * from->b + first;

        walk_unit(j->dx + at, j->x ? j->x + at : NULL, j->dy + block * j->s->to.s * from->b + first,
                  j->s, left < LANES ? (int)left : LANES);
    }
}

int ed_layout_pool_grad_run(const ed_call *call)
{
    const pool_grad_state *s = call->state;
    pool_grad_job job = { s, call->in[0]->data, s->max ? call->in[1]->data : NULL,
                          call->out[0]->data };

    ed_parallel_for(s->from.n * s->from.g * ((s->from.b + LANES - 1) / LANES), 1, unit_range, &job);
    return ED_OK;
}

/* ---- plan ---- */

static int count_positions(pool_grad_state *s)
{
    const ed_window_axis *a = s->axes.axis;
    int64_t n = 0;

    s->count = ed_calloc((size_t)(a[0].out + a[1].out + a[2].out), sizeof *s->count);
    if (!s->count)
        return ED_ENOMEM;
    for (int i = 0; i < 3; i++)
        for (int64_t o = 0; o < a[i].out; o++)
            s->count[n++] = ed_pool_divisor(&s->axes, i, o);
    return ED_OK;
}

/* Taps are numbered in 32 bits. */
static bool fits(const ed_window_axis *a)
{
    int64_t n = 1;
    for (int i = 0; i < 3; i++)
        if (!ed_mul_i64(n, a[i].kernel, &n))
            return false;
    return n <= INT32_MAX;
}

int ed_layout_pool_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *dy = &p->types[node->in[0]].shape, *x = &p->types[node->in[1]].shape;
    const ed_layout layout = p->layouts[node->in[1]];
    pool_grad_state *s;
    int rc = ED_OK;

    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->in[1]))
        return ed_plan_refuse(p, "empty or not float32");
    s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->max = strcmp(node->op_type, "MaxPoolGrad") == 0;
    s->from = ed_grid_of(layout, x);
    s->to = ed_grid_of(layout, dy);
    ED_GOTO(ed_pool_axes_of(&s->axes, node, p->params[0], x, dy));
    if (!fits(s->axes.axis)) {
        ed_layout_pool_grad_free(s);
        return ed_plan_refuse(p, "window of more than 2^31 taps");
    }
    ED_GOTO(count_positions(s));
    p->taken = 1;
    p->n_in = s->max ? 2 : 1;
    for (uint32_t i = 0; i < p->n_in; i++) {
        p->in[i] = node->in[i];
        p->in_layout[i] = layout;
    }
    p->out_layout = layout;
    p->state = s;
    return ED_OK;
done:
    ed_layout_pool_grad_free(s);
    return rc;
}

void ed_layout_pool_grad_free(void *state)
{
    pool_grad_state *s = state;
    if (!s)
        return;
    ed_free(s->count);
    ed_free(s);
}
