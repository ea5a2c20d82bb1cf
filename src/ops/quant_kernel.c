/*
 * The loops of FakeQuantize and of its gradients (quant.c tells the formulas): runs of elements
 * that share a scale, rows of elements that have one each.
 */
#include "base/parallel.h"
#include "ops/op.h"
#include "ops/vector_quant.h"

enum { GRAIN = 8192, PARTS = 256, CHANNELS = 64 };

/* What has one scale. */
typedef struct levels {
    float scale, lo, hi;
} levels;

/* ---- a run of elements with one scale; y may be x or dy ---- */
typedef void (*quant_fn)(float *y, const float *x, const float *dy, int64_t n, levels q);

ED_BODY void quant_run_body(float *y, const float *x, const float *dy, int64_t n, levels q)
{
    (void)dy;
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = ed_vector_fake_quant(x[i], q.scale, q.lo, q.hi);
}
ED_CLONES_VOID(quant_run, (float *y, const float *x, const float *dy, int64_t n, levels q),
               (y, x, dy, n, q))

ED_BODY void grad_run_body(float *dx, const float *x, const float *dy, int64_t n, levels q)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dx[i] = ed_vector_fake_quant_grad(dy[i], x[i], q.scale, q.lo, q.hi);
}
ED_CLONES_VOID(grad_run, (float *dx, const float *x, const float *dy, int64_t n, levels q),
               (dx, x, dy, n, q))

/* ---- a row of channels of one element each ---- */
typedef void (*quant_row_fn)(float *y, const float *x, const float *dy, ed_fake_quant q);

ED_BODY levels levels_of(const ed_fake_quant *q, int64_t channel)
{
    float zero_point = q->zero_point ? (float)q->zero_point[channel] : 0.0f;
    return (levels){ q->scale[channel], (float)q->qmin - zero_point, (float)q->qmax - zero_point };
}

ED_BODY void quant_row_body(float *y, const float *x, const float *dy, ed_fake_quant q)
{
    (void)dy;
    ED_INDEPENDENT
    for (int64_t i = 0; i < q.channels; i++) {
        levels l = levels_of(&q, i);
        y[i] = ed_vector_fake_quant(x[i], l.scale, l.lo, l.hi);
    }
}
ED_CLONES_VOID(quant_row, (float *y, const float *x, const float *dy, ed_fake_quant q),
               (y, x, dy, q))

ED_BODY void grad_row_body(float *dx, const float *x, const float *dy, ed_fake_quant q)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < q.channels; i++) {
        levels l = levels_of(&q, i);
        dx[i] = ed_vector_fake_quant_grad(dy[i], x[i], l.scale, l.lo, l.hi);
    }
}
ED_CLONES_VOID(grad_row, (float *dx, const float *x, const float *dy, ed_fake_quant q),
               (dx, x, dy, q))

/* ---- the scale's gradient ---- */
/* dy d y / d scale */
ED_BODY double scale_term(float dy, float x, levels q)
{
    float v = ed_vector_near_range(x, q.scale, q.lo, q.hi), r = ed_vector_rounded(v);
    float slope = r < q.lo ? q.lo : r - v;
    slope = r > q.hi ? q.hi : slope;
    return (double)dy * (double)slope;
}

/* The sum in 16 lanes, always in the same order. */
ED_BODY double scale_run_body(const float *dy, const float *x, int64_t n, levels q)
{
    enum { LANES = 16 };
    double lane[LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += scale_term(dy[i + k], x[i + k], q);
    for (; i < n; i++)
        sum += scale_term(dy[i], x[i], q);
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}
ED_CLONES(double, scale_run, (const float *dy, const float *x, int64_t n, levels q), (dy, x, n, q))

/* sum[k] += the terms of channel first + k, of one element in each of the outer rows. */
ED_BODY void scale_columns_body(double *sum, const float *dy, const float *x, ed_fake_quant q,
                                int64_t first, int64_t n)
{
    for (int64_t at = first; at < q.outer * q.channels; at += q.channels)
        for (int64_t k = 0; k < n; k++)
            sum[k] += scale_term(dy[at + k], x[at + k], levels_of(&q, first + k));
}
ED_CLONES_VOID(scale_columns,
               (double *sum, const float *dy, const float *x, ed_fake_quant q, int64_t first,
                int64_t n),
               (sum, dy, x, q, first, n))

/* ---- tensors ---- */
typedef struct quant_job {
    const ed_fake_quant *q;
    quant_fn run;
    quant_row_fn row;
    float *y;
    const float *x, *dy;
    double *sums; /* of the scale's gradient, per part or channel */
    int64_t part; /* elements */
} quant_job;

static void run_one(const quant_job *job, int64_t channel, int64_t begin, int64_t end)
{
    const float *dy = job->dy ? job->dy + begin : NULL;
    job->run(job->y + begin, job->x + begin, dy, end - begin, levels_of(job->q, channel));
}

static void quant_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    run_one(ctx, 0, begin, end);
}

/* Units of `inner` elements with one scale each. */
static void quant_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        run_one(job, i % job->q->channels, i * job->q->inner, (i + 1) * job->q->inner);
}

/* Units of a row of channels. */
static void quant_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    (void)thread;
    for (int64_t at = begin * job->q->channels; begin < end; begin++, at += job->q->channels)
        job->row(job->y + at, job->x + at, job->dy ? job->dy + at : NULL, *job->q);
}

static void run_all(const quant_job *job)
{
    const ed_fake_quant *q = job->q;
    if (q->channels == 1)
        ed_parallel_for(q->outer * q->inner, GRAIN, quant_range, (void *)job);
    else if (q->inner == 1)
        ed_parallel_for(q->outer, GRAIN / (q->channels + 1), quant_rows, (void *)job);
    else if (q->inner > 0)
        ed_parallel_for(q->outer * q->channels, GRAIN / q->inner, quant_channels, (void *)job);
}

void ed_fake_quantize(float *y, const float *x, const ed_fake_quant *q)
{
    run_all(&(quant_job){ .q = q, .run = quant_run, .row = quant_row, .y = y, .x = x });
}

void ed_fake_quantize_grad(float *dx, const float *dy, const float *x, const ed_fake_quant *q)
{
    run_all(&(quant_job){ .q = q, .run = grad_run, .row = grad_row, .y = dx, .x = x, .dy = dy });
}

static void scale_parts(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    int64_t numel = job->q->outer * job->q->inner;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i * job->part, n = numel - at < job->part ? numel - at : job->part;
        job->sums[i] = scale_run(job->dy + at, job->x + at, n, levels_of(job->q, 0));
    }
}

/* sum[k] += the terms of channel first + k, of `inner` elements in each of the outer lines. */
static void add_lines(double *sum, const quant_job *job, int64_t first, int64_t n)
{
    const ed_fake_quant *q = job->q;
    for (int64_t o = 0; o < q->outer; o++)
        for (int64_t k = 0; k < n; k++) {
            int64_t at = (o * q->channels + first + k) * q->inner;
            sum[k] += scale_run(job->dy + at, job->x + at, q->inner, levels_of(q, first + k));
        }
}

/* Units of `part` neighbouring channels, whose lines lie next to each other. */
static void scale_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        double sum[CHANNELS] = { 0 };
        int64_t first = unit * job->part, left = job->q->channels - first;
        int64_t n = left < job->part ? left : job->part;
        if (job->q->inner == 1)
            scale_columns(sum, job->dy, job->x, *job->q, first, n);
        else
            add_lines(sum, job, first, n);
        for (int64_t k = 0; k < n; k++)
            job->y[first + k] = (float)sum[k];
    }
}

void ed_fake_quantize_scale_grad(float *dscale, const float *dy, const float *x,
                                 const ed_fake_quant *q)
{
    double sums[PARTS], sum = 0;
    quant_job job = { .q = q, .y = dscale, .x = x, .dy = dy, .sums = sums };
    if (q->channels != 1) {
        job.part = q->inner < 16 ? CHANNELS : 1;
        ed_parallel_for((q->channels + job.part - 1) / job.part, 1, scale_channels, &job);
        return;
    }
    int64_t numel = q->outer * q->inner;
    job.part = (numel + PARTS - 1) / PARTS;
    job.part = job.part < GRAIN ? GRAIN : job.part;
    int64_t parts = (numel + job.part - 1) / job.part; /* the same for any number of threads */
    ed_parallel_for(parts, 1, scale_parts, &job);
    for (int64_t i = 0; i < parts; i++)
        sum += sums[i];
    dscale[0] = (float)sum;
}
