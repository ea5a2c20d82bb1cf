/*
 * Resampling along one axis after the other: every output position is a weighted sum of input
 * positions ("taps"), the same for all rows, so the weights are computed once per axis.
 *
 * Place of an output position o in the input (half_pixel): x = (o + 0.5) / scale - 0.5; with
 * b = floor(x) and r = x - b, tap i at position b + i has the weight f(s (i - r)), where s = 1, or
 * min(scale, 1) for antialias, the weights are divided by their sum, and
 *   linear  f(t) = max(0, 1 - |t|)
 *   cubic   f(t) = (a + 2)|t|^3 - (a + 3)|t|^2 + 1 to 1, a|t|^3 - 5a|t|^2 + 8a|t| - 4a to 2 (Keys
 *           1981)
 *   nearest one tap
 * Positions outside repeat the edge, or (exclude_outside) weigh nothing.
 */
#include "ops/resize.h"
#include "ops/strided.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

void ed_resize_taps_free(ed_resize_taps *t)
{
    ed_free(t->index);
    ed_free(t->weight);
    ed_free(t->outside);
}

/* ---- places ---- */

/* In float32, as runtimes compute it: nearest depends on the last bit. */
static float place_of(int coordinates, const ed_resize_axis *a, int64_t position)
{
    float o = (float)position, in = (float)a->in, out = (float)a->out;
    float half_pixel = (o + 0.5f) / a->scale - 0.5f;

    switch (coordinates) {
    case ED_COORD_ALIGN_CORNERS:
        return a->out == 1 ? 0.0f : o * (in - 1) / (out - 1);
    case ED_COORD_ASYMMETRIC:
        return o / a->scale;
    case ED_COORD_PYTORCH_HALF_PIXEL:
        return a->out > 1 ? half_pixel : 0.0f;
    case ED_COORD_HALF_PIXEL_SYMMETRIC: /* the rounded size is centred */
        return in / 2 * (1 - out / (a->scale * in)) + half_pixel;
    case ED_COORD_CROP:
        return a->out > 1 ? a->begin * (in - 1) + o * (a->end - a->begin) * (in - 1) / (out - 1)
                          : 0.5f * (a->begin + a->end) * (in - 1);
    case ED_COORD_TF_HALF_PIXEL:
        return (o + 0.5f) / a->scale;
    default:
        return half_pixel;
    }
}

static int64_t nearest_of(int mode, float x, float scale)
{
    switch (mode) {
    case ED_NEAREST_PREFER_CEIL:
        return (int64_t)floorf(x + 0.5f);
    case ED_NEAREST_FLOOR:
        return (int64_t)floorf(x);
    case ED_NEAREST_CEIL:
        return (int64_t)ceilf(x);
    case ED_NEAREST_SIMPLE:
        return (int64_t)(scale < 1.0f ? ceilf(x) : x);
    default:
        return (int64_t)ceilf(x - 0.5f);
    }
}

static int64_t clamp(int64_t i, int64_t size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

/* ---- weights ---- */

static float filter(const ed_resize_params *p, float t)
{
    float a = p->cubic_coeff;

    t = fabsf(t);
    if (p->mode == ED_RESIZE_LINEAR)
        return t < 1 ? 1 - t : 0;
    if (t <= 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* The taps of output position o around x; `first` is that of tap 0 from floor(x). */
static void weigh(ed_resize_taps *t, const ed_resize_params *p, const ed_resize_axis *a, int64_t o,
                  float x, float s, int first)
{
    float base = floorf(x), sum = 0.0f;
    int64_t *index = t->index + o * t->count;
    float *weight = t->weight + o * t->count;

    for (int i = 0; i < t->count; i++) {
        int64_t at = (int64_t)base + first + i;
        bool out = at < 0 || at >= a->in;

        index[i] = clamp(at, a->in);
        weight[i] =
            out && p->exclude_outside ? 0.0f : filter(p, s * ((float)(first + i) - (x - base)));
        sum += weight[i];
    }
    for (int i = 0; i < t->count && sum != 0.0f; i++)
        weight[i] /= sum;
}

int ed_resize_taps_make(ed_resize_taps *t, const ed_resize_params *p, const ed_resize_axis *a)
{
    bool nearest = p->mode == ED_RESIZE_NEAREST;
    float s = p->antialias && a->scale < 1.0f ? a->scale : 1.0f;
    float support = p->mode == ED_RESIZE_LINEAR ? 1.0f : 2.0f;
    int first = nearest ? 0 : (int)floorf(-support / s) + 1;

    *t = (ed_resize_taps){ .count = nearest ? 1 : 2 - 2 * first };
    t->index = ed_calloc((size_t)a->out, (size_t)t->count * sizeof *t->index);
    t->outside = ed_calloc((size_t)a->out, sizeof *t->outside);
    if (!nearest)
        t->weight = ed_calloc((size_t)a->out, (size_t)t->count * sizeof *t->weight);
    if (!t->index || !t->outside || (!nearest && !t->weight))
        return ED_ENOMEM;
    for (int64_t o = 0; o < a->out; o++) {
        float x = place_of(p->coordinates, a, o);

        t->outside[o] = p->coordinates == ED_COORD_CROP && (x < 0 || x > (float)(a->in - 1));
        if (nearest)
            t->index[o] = clamp(nearest_of(p->nearest, x, a->scale), a->in);
        else
            weigh(t, p, a, o, x, s, first);
    }
    return ED_OK;
}

/* ---- one axis ---- */

typedef struct axis_job {
    const ed_resize_taps *t;
    const char *x;
    char *y;
    int64_t in, out, inner;
    size_t width;
    float extrapolation;
} axis_job;

static void sum_row(float *y, const float *x, int64_t inner, const int64_t *index,
                    const float *weight, int count)
{
    for (int64_t i = 0; i < inner; i++)
        y[i] = weight[0] * x[index[0] * inner + i];
    for (int k = 1; k < count; k++) {
        const float *from = x + index[k] * inner, w = weight[k];

        for (int64_t i = 0; i < inner; i++)
            y[i] += w * from[i];
    }
}

/* Rows of `inner` elements: [outer][out] of them. */
static void axis_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const axis_job *j = ctx;
    size_t bytes = (size_t)j->inner * j->width;

    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        int64_t o = row % j->out;
        const char *x = j->x + (size_t)(row / j->out * j->in) * bytes;
        char *y = j->y + (size_t)row * bytes;

        if (j->t->outside[o])
            for (int64_t i = 0; i < j->inner; i++)
                ((float *)y)[i] = j->extrapolation;
        else if (!j->t->weight)
            memcpy(y, x + (size_t)j->t->index[o] * bytes, bytes);
        else
            sum_row((float *)y, (const float *)x, j->inner, j->t->index + o * j->t->count,
                    j->t->weight + o * j->t->count, j->t->count);
    }
}

static int resample_axis(void *y, const void *x, ed_shape *shape, size_t width,
                         const ed_resize_params *p, const ed_resize_axis *a)
{
    ed_resize_taps t;
    axis_job job = { &t, x, y, a->in, a->out, 1, width, p->extrapolation };
    int64_t outer = 1;
    int rc = ed_resize_taps_make(&t, p, a);

    for (int i = 0; i < a->axis; i++)
        outer *= shape->dim[i];
    for (int i = a->axis + 1; i < shape->rank; i++)
        job.inner *= shape->dim[i];
    if (rc == ED_OK)
        ed_parallel_for(outer * a->out, 8192 / (job.inner * t.count) + 1, axis_rows, &job);
    shape->dim[a->axis] = a->out;
    ed_resize_taps_free(&t);
    return rc;
}

int ed_resample(ed_tensor *y, const ed_tensor *x, const ed_resize_params *p,
                const ed_resize_axis *axes, int n)
{
    int rc = ED_OK;
    size_t width = ed_tensor_width(x);
    ed_shape shape = x->shape;
    const void *from = x->data;
    void *held = NULL; /* what the last pass wrote, unless it is y */

    if (n == 0 && y->nbytes > 0)
        memcpy(y->data, x->data, x->nbytes);
    for (int i = 0; i < n && rc == ED_OK && y->numel > 0; i++) {
        ed_shape next = shape;
        int64_t numel = 0;
        void *to = y->data;

        next.dim[axes[i].axis] = axes[i].out;
        rc = ed_shape_numel(&numel, &next);
        if (rc == ED_OK && i + 1 < n)
            to = ed_aligned_alloc((size_t)numel * width);
        if (rc == ED_OK)
            rc = to ? resample_axis(to, from, &shape, width, p, &axes[i]) : ED_ENOMEM;
        ed_free(held);
        held = to == y->data ? NULL : to;
        from = to;
    }
    ed_free(held);
    return rc;
}
