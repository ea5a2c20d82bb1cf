/*
 * The KL search of the `entropy` method.
 *
 * h is the histogram with h[0] := h[1], N its sum, H[i] and F[i] the sums of h and of [h > 0] below
 * bin i. For a candidate i, P is h[0..i) with the mass N - H[i] beyond it added to bin i-1. Bin k
 * is in level floor(k L / i); Q gives every non-empty bin the mean S/c of its level, S the level's
 * sum of h and c its number of non-empty bins. With P / N and Q / H[i]
 *
 *   KL = ln(H[i] / N) + (sum P ln P - sum over levels (sum of P in the level) ln(S/c)) / N
 *
 * so prefix sums leave one logarithm a level. Source: the calibrator that NVIDIA publishes in
 * pytorch-quantization and ModelOpt.
 */
#include "base/clones.h"
#include "calib/calib.h"

#include <math.h>
#include <string.h>

enum { MAX_LEVELS = 256, LANES = 8 };

typedef struct kl_sums {
    size_t bins;
    uint64_t *mass;  /* H, [bins + 1] */
    double *entropy; /* sums of h ln h, [bins + 1] */
    double *kl;      /* per candidate, [bins + 1] */
    int32_t *filled; /* F, [bins + 1] */
} kl_sums;

/* Any 64-bit unsigned number, rounded once: the two halves are exact as mantissas of 2^84 and 2^52.
 */
ED_BODY double from_u64(uint64_t x)
{
    uint64_t hi = (x >> 32) | 0x4530000000000000u, lo = (x & 0xffffffffu) | 0x4330000000000000u;
    double h, l;
    memcpy(&h, &hi, sizeof h);
    memcpy(&l, &lo, sizeof l);
    return (h - 0x1.00000001p84) + l;
}

/* ln x for x >= 1 to 1e-16 (of max(1, ln x)): x = 2^e m with m in [sqrt(1/2), sqrt(2)), and
 * ln m = 2 atanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...), s = (m - 1) / (m + 1). A call into libm would
 * keep the loop over levels from being vectorized. */
ED_BODY double ln(double x)
{
    uint64_t bits, e;
    memcpy(&bits, &x, sizeof bits);
    e = (bits - 0x3fe6a09e667f3bcdu) >> 52;
    bits -= e << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 1.0 / 19;
    p = p * z + 1.0 / 17;
    p = p * z + 1.0 / 15;
    p = p * z + 1.0 / 13;
    p = p * z + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    return from_u64(e) * 0x1.62e42fefa39efp-1 + 2.0 * s * (p * z + 1.0);
}

/* sum over the levels of S ln(S/c) for candidate i. */
ED_BODY double level_sum_body(const uint64_t *mass, const int32_t *filled, unsigned i,
                              unsigned levels)
{
    uint64_t below[MAX_LEVELS + 1];
    int32_t bins[MAX_LEVELS + 1];
    double term[MAX_LEVELS], sum[LANES] = { 0 };
    int shift = __builtin_ctz(levels);

    for (unsigned l = 0; l <= levels; l++) {
        int32_t edge = (int32_t)((l * i + levels - 1) >> shift); /* first bin k with k L >= l i */
        below[l] = mass[edge];
        bins[l] = filled[edge];
    }
    for (unsigned l = 0; l < levels; l++) {
        double s = from_u64(below[l + 1] - below[l]);
        double c = (double)(bins[l + 1] - bins[l]);
        term[l] = s * ln((s > 1.0 ? s : 1.0) / (c > 1.0 ? c : 1.0));
    }
    for (unsigned l = levels; l % LANES; l++) /* fewer than 8 levels */
        term[l] = 0.0;
    for (unsigned l = 0; l < levels; l += LANES)
        for (unsigned j = 0; j < LANES; j++)
            sum[j] += term[l + j];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
ED_CLONES(double, level_sum,
          (const uint64_t *mass, const int32_t *filled, unsigned i, unsigned levels),
          (mass, filled, i, levels))

static void sum_up(kl_sums *t, const uint64_t *counts)
{
    t->mass[0] = 0;
    t->entropy[0] = 0.0;
    t->filled[0] = 0;
    for (size_t k = 0; k < t->bins; k++) {
        uint64_t h = counts[k ? k : 1];
        double x = from_u64(h);
        t->mass[k + 1] = t->mass[k] + h;
        t->filled[k + 1] = t->filled[k] + (h > 0);
        t->entropy[k + 1] = t->entropy[k] + (h ? x * ln(x) : 0.0);
    }
}

/* KL of candidate i; infinite too where the candidate is not sound: with less than half of the mass
 * or one non-empty bin, P and Q agree because almost nothing is left to compare. */
static double divergence(const kl_sums *t, unsigned i, unsigned levels)
{
    uint64_t all = t->mass[t->bins], kept = t->mass[i], tail = all - kept;
    uint64_t last = kept - t->mass[i - 1];
    if (kept < all - kept || t->filled[i] < 2 || (tail && !last))
        return INFINITY;
    double n = from_u64(all), p = from_u64(last + tail);
    double sum = t->entropy[i - 1] + (last + tail ? p * ln(p) : 0.0);
    sum -= level_sum(t->mass, t->filled, i, levels);
    if (tail) {
        unsigned level = (i - 1) * levels / i, edge = (level * i + levels - 1) / levels;
        double s = from_u64(kept - t->mass[edge]), c = t->filled[i] - t->filled[edge];
        sum -= from_u64(tail) * ln(s / c);
    }
    return sum / n - ln(n / from_u64(kept));
}

/* The last of the least: candidates that differ by rounding alone count as equal. */
static int64_t choose(const double *kl, unsigned start, size_t bins)
{
    double least = INFINITY;
    for (size_t i = start; i <= bins; i++)
        least = kl[i] < least ? kl[i] : least;
    if (isinf(least))
        return -1;
    double limit = least + 1e-12 + 1e-9 * fabs(least);
    size_t i = bins;
    while (kl[i] > limit)
        i--;
    return (int64_t)i;
}

int64_t ed_kl_search(const uint64_t *counts, size_t bins, unsigned start, unsigned levels)
{
    size_t n = bins + 1;
    kl_sums t = { .bins = bins };
    char *memory =
        ed_malloc(n * (sizeof *t.mass + sizeof *t.entropy + sizeof *t.kl + sizeof *t.filled));
    if (!memory)
        return ED_ENOMEM;
    t.mass = (void *)memory;
    t.entropy = (void *)(t.mass + n);
    t.kl = t.entropy + n;
    t.filled = (void *)(t.kl + n);
    sum_up(&t, counts);
    for (unsigned i = start; i <= bins; i++)
        t.kl[i] = divergence(&t, i, levels);
    int64_t best = start <= bins ? choose(t.kl, start, bins) : -1;
    ed_free(memory);
    return best;
}
