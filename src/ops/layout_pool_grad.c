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

/* An output position along one axis: its taps inside of the input, and what an average divides by.
 */
typedef struct position {
    int64_t origin, begin, end; /* where tap 0 stands; taps [begin, end) */
    int64_t count;
} position;

typedef struct pool_grad_state {
    ed_pool_axes axes;
    ed_grid from, to; /* of x and dx, of dy */
    bool max;
    position *at[3]; /* of each axis; one allocation */
} pool_grad_state;

typedef struct pool_grad_job {
    const pool_grad_state *s;
    const float *dy, *x;
    float *dx;
} pool_grad_job;

/* One window. */
typedef struct taps {
    const ed_window_axis *axis;
    position d, h, w;
} taps;

/* A row of taps, those of kd and kh: its first one's place in the plane; *k: its number. */
ED_BODY int64_t row_of(const taps *t, int64_t kd, int64_t kh, int64_t *k)
{
    const ed_window_axis *a = t->axis;
    const int64_t d = t->d.origin + kd * a[0].dilation, h = t->h.origin + kh * a[1].dilation;

    *k = (kd * a[1].kernel + kh) * a[2].kernel + t->w.begin;
    return (d * a[1].in + h) * a[2].in + t->w.origin + t->w.begin * a[2].dilation;
}

/* ---- one window over n channels, `b` elements from one place of the plane to the next ---- */

typedef struct largest { /* of the taps so far */
    float value[LANES];
    int32_t tap[LANES];
} largest;

/* Two by turns: a choice between the old and the new one in place would be stored under a mask,
 * which the next tap's load must wait for. */
ED_BODY const largest *find_largest(largest both[2], const float *x, const taps *t, int64_t b,
                                    int n)
{
    largest *was = &both[0], *now = &both[1];
    int64_t k;

    row_of(t, t->d.begin, t->h.begin, &k);
    for (int l = 0; l < n; l++) {
        was->value[l] = -INFINITY;
        was->tap[l] = (int32_t)k; /* of -inf alone */
    }
    for (int64_t kd = t->d.begin; kd < t->d.end; kd++) {
        for (int64_t kh = t->h.begin; kh < t->h.end; kh++) {
            const float *v = x + row_of(t, kd, kh, &k) * b;
            for (int64_t kw = t->w.begin; kw < t->w.end; kw++, k++) {
                ED_INDEPENDENT
                for (int l = 0; l < n; l++) { /* larger, or the first NaN */
                    bool better = !(v[l] <= was->value[l]) & (was->value[l] == was->value[l]);
                    now->value[l] = better ? v[l] : was->value[l];
                    now->tap[l] = better ? (int32_t)k : was->tap[l];
                }
                v += t->axis[2].dilation * b;
                largest *last = was;
                was = now;
                now = last;
            }
        }
    }
    return was;
}

ED_BODY void max_window(float *dx, const float *x, const float *dy, const taps *t, int64_t b, int n)
{
    largest both[2];
    const largest *found = find_largest(both, x, t, b, n);
    float part[LANES];

    for (int l = 0; l < n; l++)
        part[l] = dy[l];
    for (int64_t kd = t->d.begin; kd < t->d.end; kd++) {
        for (int64_t kh = t->h.begin; kh < t->h.end; kh++) {
            int64_t k;
            float *to = dx + row_of(t, kd, kh, &k) * b;
            for (int64_t kw = t->w.begin; kw < t->w.end; kw++, k++) {
                ED_INDEPENDENT
                for (int l = 0; l < n; l++)
                    to[l] += found->tap[l] == (int32_t)k ? part[l] : 0.0f;
                to += t->axis[2].dilation * b;
            }
        }
    }
}

ED_BODY void average_window(float *dx, const float *dy, float count, const taps *t, int64_t b,
                            int n)
{
    float part[LANES];

    for (int l = 0; l < n; l++)
        part[l] = dy[l] / count;
    for (int64_t kd = t->d.begin; kd < t->d.end; kd++) {
        for (int64_t kh = t->h.begin; kh < t->h.end; kh++) {
            int64_t k;
            float *to = dx + row_of(t, kd, kh, &k) * b;
            for (int64_t kw = t->w.begin; kw < t->w.end; kw++) {
                ED_INDEPENDENT
                for (int l = 0; l < n; l++)
                    to[l] += part[l];
                to += t->axis[2].dilation * b;
            }
        }
    }
}

/* ---- all windows of n channels of one sample ---- */

ED_BODY void walk(float *dx, const float *x, const float *dy, const pool_grad_state *s, int n)
{
    const ed_window_axis *a = s->axes.axis;
    const int64_t b = s->from.b;
    taps t = { .axis = a };

    if (n == b)
        memset(dx, 0, (size_t)(s->from.s * b) * sizeof *dx);
    for (int64_t i = 0; i < s->from.s && n < b; i++)
        memset(dx + i * b, 0, (size_t)n * sizeof *dx);
    for (int64_t d = 0; d < a[0].out; d++) {
        t.d = s->at[0][d];
        for (int64_t h = 0; h < a[1].out; h++) {
            t.h = s->at[1][h];
            for (int64_t w = 0; w < a[2].out; w++, dy += b) {
                t.w = s->at[2][w];
                if (s->max)
                    max_window(dx, x, dy, &t, b, n);
                else
                    average_window(dx, dy, (float)(t.d.count * t.h.count * t.w.count), &t, b, n);
            }
        }
    }
}

ED_BODY void walk_unit_body(float *dx, const float *x, const float *dy, const pool_grad_state *s,
                            int n)
{
    if (n == 1)
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

static position find_position(const ed_pool_axes *axes, int axis, int64_t o)
{
    const ed_window_axis *a = &axes->axis[axis];
    const int64_t origin = o * a->stride - a->pad, d = a->dilation;
    const int64_t fit = origin < a->in ? (a->in - 1 - origin) / d + 1 : 0;

    return (position){ .origin = origin,
                       .begin = origin < 0 ? (-origin + d - 1) / d : 0,
                       .end = fit < a->kernel ? fit : a->kernel,
                       .count = ed_pool_divisor(axes, axis, o) };
}

static int find_positions(pool_grad_state *s)
{
    const ed_window_axis *a = s->axes.axis;
    position *at = ed_calloc((size_t)(a[0].out + a[1].out + a[2].out), sizeof *at);

    if (!at)
        return ED_ENOMEM;
    for (int i = 0; i < 3; i++) {
        s->at[i] = at;
        for (int64_t o = 0; o < a[i].out; o++)
            *at++ = find_position(&s->axes, i, o);
    }
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
    ED_GOTO(find_positions(s));
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
    ed_free(s->at[0]);
    ed_free(s);
}
