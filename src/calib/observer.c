/*
 * The streaming observer: min, max, their exponential averages, and a histogram of |x|.
 *
 * Bin of x: floor(|x| bins / R), R = 2^e the least power of two above every |x| so far, so the
 * product is exact. When R grows by 2^d, bin k moves to bin k >> d, which is exact too: any split
 * into batches, in any order and on any number of threads, gives the same counts.
 *
 * A batch is cut into one part a thread and chunks that stay in the first-level cache: one pass
 * over the chunk finds its range (vectorized, on the bits), one makes the bin numbers (vectorized),
 * one counts. Neighbours count in different lanes of a bin, so that equal values (zeros after ReLU)
 * do not wait for each other's stores.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "calib/calib.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum {
    LANES = 8,
    CHUNK = 1024,
    LINE = 16,          /* floats of a cache line */
    GRAIN = 16 * CHUNK, /* the least worth another thread, if there are not more bins to clear */
    NO_RANGE = INT_MIN, /* exponent while only zeros were seen */
    MIN_BINS = 256,
    MAX_BINS = 65536,
    POSITIVE_INFINITY = 0x7f800000, /* bits */
};
/* A lane counts at most this many in 32 bits. */
static const int64_t max_slice = (int64_t)1 << 31;

struct ed_observer {
    size_t bins;
    uint64_t *counts;
    int exponent; /* range = 2^exponent */
    double min, max, ema, ema_min, ema_max;
    uint64_t total, nonfinite;
};

/* What one pass sees of some floats. Ordered form: the bits of a float as an integer that sorts
 * like the float (negative ones mirrored), so NaN and infinity are at the ends. */
typedef struct extremes {
    int32_t lo, hi; /* least and greatest, +-0 aside; INT32_MAX, INT32_MIN when there is none */
    int32_t zeros;
} extremes;

/* One thread's share of a batch. */
typedef struct part {
    uint32_t *counts; /* [bins][LANES] */
    int exponent;
    int32_t lo, hi;
    uint64_t zeros, nonfinite;
} part;

typedef struct job {
    const float *data;
    part *parts;
    size_t bins;
} job;

ED_BODY int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Its own inverse. */
ED_BODY int32_t ordered(int32_t bits)
{
    return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

static float from_ordered(int32_t o)
{
    int32_t bits = ordered(o);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ED_BODY void find_extremes_body(extremes *out, const float *x, int n)
{
    int32_t lo = INT32_MAX, hi = INT32_MIN, zeros = 0;
    for (int i = 0; i < n; i++) {
        int32_t bits = bits_of(x[i]), o = ordered(bits);
        int32_t zero = -((uint32_t)bits << 1 == 0); /* a mask, which vectorizes where ?: does not */
        int32_t low = (o & ~zero) | (INT32_MAX & zero), high = (o & ~zero) | (INT32_MIN & zero);
        lo = low < lo ? low : lo;
        hi = high > hi ? high : hi;
        zeros -= zero;
    }
    *out = (extremes){ lo, hi, zeros };
}
ED_CLONES_VOID(find_extremes, (extremes * out, const float *x, int n), (out, x, n))

/* index = LANES * floor(|x| * a * b); two factors because 2^e of tiny ranges is no float. */
ED_BODY void find_bins_body(int32_t *restrict index, const float *restrict x, int n, float a,
                            float b)
{
    for (int i = 0; i < n; i++)
        index[i] = LANES * (int32_t)(fabsf(x[i]) * a * b);
}
ED_CLONES_VOID(find_bins,
               (int32_t *restrict index, const float *restrict x, int n, float a, float b),
               (index, x, n, a, b))

static void count_bins(uint32_t *restrict counts, const int32_t *restrict index, int n)
{
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        counts[index[i]]++;
        counts[index[i + 1] + 1]++;
        counts[index[i + 2] + 2]++;
        counts[index[i + 3] + 3]++;
        counts[index[i + 4] + 4]++;
        counts[index[i + 5] + 5]++;
        counts[index[i + 6] + 6]++;
        counts[index[i + 7] + 7]++;
    }
    for (; i < n; i++)
        counts[index[i]]++;
}

/* Number of doublings from one exponent to a larger one. With NO_RANGE only bin 0 counts, which
 * stays. */
static unsigned doublings(int from, int to)
{
    return from == NO_RANGE || from >= to ? 0 : to - from > 31 ? 31 : (unsigned)(to - from);
}

static void grow_part(part *p, size_t bins, int exponent)
{
    unsigned d = doublings(p->exponent, exponent);
    for (size_t k = 1; d && k < bins; k++) {
        for (size_t lane = 0; lane < LANES; lane++) {
            uint32_t count = p->counts[k * LANES + lane];
            p->counts[k * LANES + lane] = 0;
            p->counts[(k >> d) * LANES + lane] += count;
        }
    }
    p->exponent = exponent;
}

static void grow_observer(ed_observer *o, int exponent)
{
    unsigned d = doublings(o->exponent, exponent);
    for (size_t k = 1; d && k < o->bins; k++) {
        uint64_t count = o->counts[k];
        o->counts[k] = 0;
        o->counts[k >> d] += count;
    }
    o->exponent = exponent;
}

/* Copy the finite ones; returns how many. */
static int keep_finite(float *kept, const float *x, int n)
{
    int m = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(x[i]))
            kept[m++] = x[i];
    return m;
}

static void add_chunk(part *p, size_t bins, const float *x, int n)
{
    float kept[CHUNK];
    int32_t index[CHUNK];
    extremes e;

    find_extremes(&e, x, n);
    if (e.zeros < n &&
        (e.hi >= POSITIVE_INFINITY || e.lo <= ordered(INT32_MIN | POSITIVE_INFINITY))) {
        int m = keep_finite(kept, x, n);
        p->nonfinite += (uint64_t)(n - m);
        x = kept;
        n = m;
        find_extremes(&e, x, n);
    }
    p->zeros += (uint64_t)e.zeros;
    if (e.zeros < n) {
        p->lo = e.lo < p->lo ? e.lo : p->lo;
        p->hi = e.hi > p->hi ? e.hi : p->hi;
        int exponent;
        frexpf(fmaxf(fabsf(from_ordered(e.lo)), fabsf(from_ordered(e.hi))), &exponent);
        if (exponent > p->exponent)
            grow_part(p, bins, exponent);
    }
    /* while only zeros were seen any factor serves */
    int power = p->exponent == NO_RANGE ? 0 : __builtin_ctzl(bins) - p->exponent;
    int first = power > 100 ? 100 : power;
    find_bins(index, x, n, ldexpf(1.0f, first), ldexpf(1.0f, power - first));
    count_bins(p->counts, index, n);
}

static void add_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const job *j = ctx;
    for (int64_t i = begin; i < end; i += CHUNK) {
        /* counting needs no memory bandwidth: let the next chunk come meanwhile */
        for (int64_t next = i + CHUNK; next < end && next < i + 2 * CHUNK; next += LINE)
            __builtin_prefetch(j->data + next);
        add_chunk(&j->parts[thread], j->bins, j->data + i,
                  (int)(end - i < CHUNK ? end - i : CHUNK));
    }
}

int ed_observer_new(ed_observer **out, size_t bins, double ema)
{
    *out = NULL;
    bins = bins ? bins : ED_HISTOGRAM_BINS;
    ED_FAIL_IF(bins < MIN_BINS || bins > MAX_BINS || (bins & (bins - 1)), ED_EINVAL,
               "%zu histogram bins were asked for; it must be a power of two from %d to %d", bins,
               MIN_BINS, MAX_BINS);
    ED_FAIL_IF(!(ema >= 0.0 && ema <= 1.0), ED_EINVAL,
               "the weight of a batch in the exponential average is %g; it must be above 0 and at "
               "most 1",
               ema);
    ed_observer *o = ed_calloc(1, sizeof *o);
    if (!o)
        return ED_ENOMEM;
    o->bins = bins;
    o->exponent = NO_RANGE;
    o->ema = ema > 0.0 ? ema : 0.01;
    o->counts = ed_calloc(bins, sizeof *o->counts);
    if (!o->counts) {
        ed_observer_free(o);
        return ED_ENOMEM;
    }
    *out = o;
    return ED_OK;
}

/* Add the batch's least and greatest value. */
static void add_extremes(ed_observer *o, double lo, double hi)
{
    bool first = o->total == 0;
    o->min = first || lo < o->min ? lo : o->min;
    o->max = first || hi > o->max ? hi : o->max;
    o->ema_min = first ? lo : (1.0 - o->ema) * o->ema_min + o->ema * lo;
    o->ema_max = first ? hi : (1.0 - o->ema) * o->ema_max + o->ema * hi;
}

static void merge_counts(ed_observer *o, const part *p)
{
    if (p->exponent > o->exponent)
        grow_observer(o, p->exponent);
    unsigned d = doublings(p->exponent, o->exponent);
    for (size_t k = 0; k < o->bins; k++) {
        uint64_t count = 0;
        for (size_t lane = 0; lane < LANES; lane++)
            count += p->counts[k * LANES + lane];
        o->counts[k >> d] += count;
    }
}

/* Count one slice with all threads and merge what they found into *sum and the histogram. */
static int add_slice(ed_observer *o, part *sum, const float *data, int64_t n)
{
    size_t lanes = o->bins * LANES;
    int64_t grain = lanes > GRAIN ? (int64_t)lanes : GRAIN;
    int64_t threads = (n + grain - 1) / grain;
    if (threads > ed_threads_get())
        threads = ed_threads_get();
    part *parts = ed_calloc((size_t)threads, sizeof *parts);
    uint32_t *counts = parts ? ed_calloc((size_t)threads * lanes, sizeof *counts) : NULL;
    if (counts) {
        for (int64_t t = 0; t < threads; t++)
            parts[t] =
                (part){ counts + (size_t)t * lanes, o->exponent, INT32_MAX, INT32_MIN, 0, 0 };
        ed_parallel_for(n, grain, add_range, &(job){ data, parts, o->bins });
        for (int64_t t = 0; t < threads; t++) {
            merge_counts(o, &parts[t]);
            sum->lo = parts[t].lo < sum->lo ? parts[t].lo : sum->lo;
            sum->hi = parts[t].hi > sum->hi ? parts[t].hi : sum->hi;
            sum->zeros += parts[t].zeros;
            sum->nonfinite += parts[t].nonfinite;
        }
    }
    ed_free(counts);
    ed_free(parts);
    return counts ? ED_OK : ED_ENOMEM;
}

int ed_observer_add(ed_observer *o, const float *data, int64_t n, int64_t padding)
{
    part sum = { .lo = INT32_MAX, .hi = INT32_MIN };
    for (int64_t i = 0; i < n; i += max_slice)
        ED_TRY(add_slice(o, &sum, data + i, n - i < max_slice ? n - i : max_slice));
    ED_FAIL_IF(padding < 0 || (uint64_t)padding > sum.zeros, ED_EINTERNAL,
               "an observed value has %lld zeros, fewer than the %lld of its padding",
               (long long)sum.zeros, (long long)padding);
    uint64_t finite = (uint64_t)n - sum.nonfinite - (uint64_t)padding;
    o->counts[0] -= (uint64_t)padding;
    o->nonfinite += sum.nonfinite;
    if (finite == 0)
        return ED_OK;
    bool zero = sum.zeros > (uint64_t)padding; /* a zero that is no padding */
    bool other = sum.lo <= sum.hi;
    double lo = other ? from_ordered(sum.lo) : 0.0, hi = other ? from_ordered(sum.hi) : 0.0;
    add_extremes(o, zero && lo > 0.0 ? 0.0 : lo, zero && hi < 0.0 ? 0.0 : hi);
    o->total += finite;
    return ED_OK;
}

ed_observation ed_observer_get(const ed_observer *o)
{
    return (ed_observation){
        .bins = o->bins,
        .counts = o->counts,
        .range = o->exponent == NO_RANGE ? 0.0 : ldexp(1.0, o->exponent),
        .min = o->min,
        .max = o->max,
        .ema_min = o->ema_min,
        .ema_max = o->ema_max,
        .total = o->total,
        .nonfinite = o->nonfinite,
    };
}

void ed_observer_free(ed_observer *o)
{
    if (!o)
        return;
    ed_free(o->counts);
    ed_free(o);
}
