/*
 * Weights in tiles: some channels that make a run of about 128 elements in memory, all their outer
 * rows. A tile is updated row by row, then quantized while it is in the cache.
 *
 * What differs by channel lies in lanes, one for each element of a run, so that the loops are the
 * same for [K][N] with a scale a column and [O][I][3][3] with a scale a filter; a channel with long
 * runs goes through the lanes in pieces. Sums over lanes are made in order: nothing depends on
 * threads.
 */
#include "qat/weight_quant.h"

#include "base/clones.h"
#include "base/parallel.h"
#include "base/scale.h"
#include "qat/choice.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { LANES = 1024, RUN = 128, GRAIN = 16384 /* elements worth a thread */ };

/* ---- loops over lanes ---- */

/* rne(x / scale), beyond [lo, hi] some integer beyond it; NaN is below. Adding 1.5 * 2^23 leaves no
 * bits for the fraction, so the sum is rounded half to even; |v| < 2^22. */
ED_BODY float level_of(float x, float scale, float lo, float hi)
{
    const float magic = 12582912.0f;
    float v = x / scale;
    v = v > lo - 1.0f ? v : lo - 1.0f;
    v = v < hi + 1.0f ? v : hi + 1.0f;
    return (v + magic) - magic;
}

ED_BODY void quantize_body(float *y, const float *x, const float *scale, int64_t n, float lo,
                           float hi)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float q = level_of(x[i], scale[i], lo, hi);
        q = q > lo ? q : lo;
        y[i] = (q < hi ? q : hi) * scale[i];
    }
}
ED_CLONES_VOID(quantize,
               (float *y, const float *x, const float *scale, int64_t n, float lo, float hi),
               (y, x, scale, n, lo, hi))

/* d = factor * gradient where x is inside. */
ED_BODY void pass_through_body(float *d, const float *g, const float *x, const float *scale,
                               int64_t n, float lo, float hi, float factor)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float q = level_of(x[i], scale[i], lo, hi);
        d[i] = q >= lo && q <= hi ? g[i] * factor : 0.0f;
    }
}
ED_CLONES_VOID(pass_through,
               (float *d, const float *g, const float *x, const float *scale, int64_t n, float lo,
                float hi, float factor),
               (d, g, x, scale, n, lo, hi, factor))

/* sum += gradient * d fake_quant(x) / d scale */
ED_BODY void add_scale_gradient_body(double *sum, const float *g, const float *x,
                                     const float *scale, int64_t n, float lo, float hi)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float q = level_of(x[i], scale[i], lo, hi);
        float inside = q - x[i] / scale[i], outside = q < lo ? lo : hi;
        sum[i] += (double)g[i] * (double)(q >= lo && q <= hi ? inside : outside);
    }
}
ED_CLONES_VOID(add_scale_gradient,
               (double *sum, const float *g, const float *x, const float *scale, int64_t n,
                float lo, float hi),
               (sum, g, x, scale, n, lo, hi))

ED_BODY void multiply_body(float *d, const float *g, int64_t n, float factor)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        d[i] = g[i] * factor;
}
ED_CLONES_VOID(multiply, (float *d, const float *g, int64_t n, float factor), (d, g, n, factor))

/* The largest |x| of each lane as bits, which are in the order of the numbers; infinity and NaN are
 * above all. */
ED_BODY void add_largest_body(uint32_t *largest, const float *x, int64_t n)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        largest[i] = largest[i] > bits ? largest[i] : bits;
    }
}
ED_CLONES_VOID(add_largest, (uint32_t * largest, const float *x, int64_t n), (largest, x, n))

ED_BODY uint32_t largest_of_body(const uint32_t *x, int64_t n)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}
ED_CLONES(uint32_t, largest_of, (const uint32_t *x, int64_t n), (x, n))

/* ---- one tile ---- */

typedef struct step_job {
    const ed_weight *w;
    const float *gradient; /* NULL: none */
    const ed_optimizer_row *optimizer;
    ed_update update, scale_update;
    float factor, lo, hi;
    double scale_factor; /* of the gradient of a scale */
    int64_t tile;        /* channels */
    _Atomic int64_t bad; /* the first channel that is not finite */
} step_job;

typedef struct lanes {
    float scale[LANES], d[LANES];
    double scale_gradient[LANES];
    uint32_t largest[LANES];
} lanes;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void report_bad(step_job *job, int64_t channel)
{
    int64_t first = atomic_load(&job->bad);
    while (channel < first && !atomic_compare_exchange_weak(&job->bad, &first, channel))
        ;
}

/* Update n elements at `at`, in lanes 0 to n - 1, and look for the largest ones. */
static void update_run(const step_job *job, lanes *t, int64_t at, int64_t n)
{
    const ed_weight *w = job->w;
    float *x = w->master + at, *slot[ED_OPTIMIZER_SLOTS] = { 0 };
    if (job->gradient) {
        const float *g = job->gradient + at;
        for (size_t k = 0; k < job->optimizer->slots; k++)
            slot[k] = w->slot[k] + at;
        if (w->quantized)
            pass_through(t->d, g, x, t->scale, n, job->lo, job->hi, job->factor);
        else
            multiply(t->d, g, n, job->factor);
        if (w->quantized && w->scaling == ED_WEIGHTS_LSQ)
            add_scale_gradient(t->scale_gradient, g, x, t->scale, n, job->lo, job->hi);
        job->optimizer->update(x, t->d, slot, n, &job->update);
    }
    add_largest(t->largest, x, n);
}

/* The scales of channels [begin, end), one for each lane. */
static void spread_scales(lanes *t, const ed_weight *w, int64_t begin, int64_t end)
{
    int64_t each = smaller(w->inner, LANES);
    for (int64_t c = begin; c < end; c++)
        for (int64_t i = 0; i < each; i++)
            t->scale[(c - begin) * each + i] = w->scale[c];
}

/* The largest weight of each channel: its scale, with absmax. */
static void find_scales(step_job *job, const lanes *t, int64_t begin, int64_t end)
{
    const ed_weight *w = job->w;
    int64_t each = smaller(w->inner, LANES);
    for (int64_t c = begin; c < end; c++) {
        float amax;
        uint32_t most = largest_of(t->largest + (c - begin) * each, each);
        memcpy(&amax, &most, sizeof amax);
        if (!isfinite(amax))
            report_bad(job, c);
        else if (w->scaling == ED_WEIGHTS_ABSMAX)
            w->scale[c] = ed_scale_for((double)amax, w->qmax);
    }
}

/* LSQ: the optimizer on the scales of a tile. */
static void learn_scales(step_job *job, lanes *t, int64_t begin, int64_t end)
{
    const ed_weight *w = job->w;
    const float least = ed_scale_for(0.0, w->qmax);
    float *slot[ED_OPTIMIZER_SLOTS] = { 0 };
    int64_t each = smaller(w->inner, LANES);
    for (size_t k = 0; k < job->optimizer->slots; k++)
        slot[k] = w->scale_slot[k] + begin;
    for (int64_t c = begin; c < end; c++) {
        double sum = 0.0;
        for (int64_t i = 0; i < each; i++)
            sum += t->scale_gradient[(c - begin) * each + i];
        t->d[c - begin] = (float)(sum * job->scale_factor);
    }
    job->optimizer->update(w->scale + begin, t->d, slot, end - begin, &job->scale_update);
    for (int64_t c = begin; c < end; c++) {
        if (!isfinite(w->scale[c])) {
            w->scale[c] = t->scale[(c - begin) * each];
            report_bad(job, c);
        }
        w->scale[c] = w->scale[c] > least ? w->scale[c] : least;
    }
}

static void step_tile(step_job *job, lanes *t, int64_t begin, int64_t end)
{
    const ed_weight *w = job->w;
    int64_t width = (end - begin) * w->inner, lanes_used = smaller(width, LANES);
    memset(t->largest, 0, (size_t)lanes_used * sizeof t->largest[0]);
    memset(t->scale_gradient, 0, (size_t)lanes_used * sizeof t->scale_gradient[0]);
    spread_scales(t, w, begin, end);
    for (int64_t o = 0; o < w->outer; o++)
        for (int64_t i = 0; i < width; i += LANES)
            update_run(job, t, (o * w->channels + begin) * w->inner + i, smaller(width - i, LANES));
    find_scales(job, t, begin, end);
    if (job->gradient && w->scaling == ED_WEIGHTS_LSQ)
        learn_scales(job, t, begin, end);
    spread_scales(t, w, begin, end);
    for (int64_t o = 0; o < w->outer; o++)
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t at = (o * w->channels + begin) * w->inner + i;
            quantize(w->quantized_out + at, w->master + at, t->scale, smaller(width - i, LANES),
                     job->lo, job->hi);
        }
}

/* ---- all of them ---- */

static void step_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    step_job *job = ctx;
    lanes t;
    (void)thread;
    for (int64_t c = begin; c < end; c += job->tile)
        step_tile(job, &t, c, smaller(c + job->tile, end));
}

/* Without scales: elements. */
static void step_elements(void *ctx, int64_t begin, int64_t end, int thread)
{
    step_job *job = ctx;
    const ed_weight *w = job->w;
    lanes t;
    (void)thread;
    memset(t.largest, 0, sizeof t.largest);
    for (int64_t i = begin; i < end; i += LANES) {
        int64_t n = smaller(end - i, LANES);
        update_run(job, &t, i, n);
        if (w->quantized_out && w->quantized_out != w->master)
            memcpy(w->quantized_out + i, w->master + i, (size_t)n * sizeof *w->master);
    }
    for (int64_t i = 0; i < LANES; i++)
        if (t.largest[i] >= 0x7f800000)
            report_bad(job, 0);
}

static step_job new_job(const ed_weight *w, const float *gradient, const ed_optimizer_row *o,
                        const ed_update *u, double scale_learning_rate, float gradient_factor)
{
    step_job job = { .w = w,
                     .gradient = gradient,
                     .optimizer = o,
                     .factor = gradient_factor,
                     .lo = (float)w->qmin,
                     .hi = (float)w->qmax,
                     .bad = INT64_MAX };
    if (gradient) {
        job.update = job.scale_update = *u;
        job.update.weight_decay = w->decay ? u->weight_decay : 0.0;
        job.scale_update.weight_decay = 0.0;
        job.scale_update.learning_rate = scale_learning_rate;
        job.scale_factor =
            (double)gradient_factor / sqrt((double)(w->outer * w->inner) * (double)w->qmax);
    }
    job.tile = smaller(w->inner < RUN ? (RUN - 1) / w->inner + 1 : 1, w->channels);
    return job;
}

int ed_weight_step(ed_weight *w, const float *gradient, const ed_optimizer_row *o,
                   const ed_update *u, double scale_learning_rate, float gradient_factor)
{
    int64_t numel = w->outer * w->channels * w->inner;
    if (numel == 0)
        return ED_OK;
    assert(!w->quantized || (w->qmin <= 0 && w->qmax > 0 && w->quantized_out && w->scale));
    step_job job = new_job(w, gradient, o, u, scale_learning_rate, gradient_factor);
    int64_t per_tile = w->outer * job.tile * w->inner;
    if (w->quantized)
        ed_parallel_for(w->channels, job.tile * (1 + GRAIN / per_tile), step_channels, &job);
    else
        ed_parallel_for(numel, GRAIN, step_elements, &job);
    int64_t bad = atomic_load(&job.bad);
    const char *advice =
        gradient ? " after the update; use a smaller learning rate, or clip the gradients" : "";
    ED_FAIL_IF(bad < INT64_MAX && !w->quantized, ED_ENONFINITE, "there is NaN or infinity%s",
               advice);
    ED_FAIL_IF(bad < INT64_MAX, ED_ENONFINITE, "there is NaN or infinity in channel %lld%s",
               (long long)bad, advice);
    return ED_OK;
}

static const ed_qat_choice scalings[] = {
    { "lsq", "learned with the weights (LSQ)" },
    { "absmax", "the largest weight of a channel is the last level" },
};

const ed_qat_choice *ed_weight_scales_at(size_t i)
{
    return i < ED_LENGTH(scalings) ? &scalings[i] : NULL;
}
