/*
 * The searches of src/calib/kl.c and mse.c over many histograms, on the device: the same formulas,
 * the same sums in the same order in double precision, so the same answers.
 *
 * Three kernels a search: one block a histogram makes the running sums (a thread adds in the order
 * of the bins, which keeps the bits and takes microseconds), one thread a candidate makes its
 * score, one block a histogram chooses.
 */
#include "launch.cuh"

#include <math.h>

namespace
{

typedef unsigned long long u64;
enum { THREADS = 256, TILE = 1024, CANDIDATES = 128, LANES = 8 };

/* The scratch memory of one histogram: four arrays of bins + 1. */
struct sums {
    double *first;  /* KL: sums of h ln h up to bin k; MSE: u, of h c from bin k on */
    double *second; /* MSE: v, of h from bin k on */
    u64 *mass;      /* KL: sums of h up to bin k, in the place of `second` */
    double *score;  /* of candidate k */
    int *filled;    /* KL: number of bins with h > 0 up to bin k */
    double *square; /* MSE: the sum of h c c, in the place of `filled` */
};

__device__ sums sums_of(void *scratch, size_t histogram, size_t bins)
{
    double *base = (double *)scratch + histogram * 4 * (bins + 1);
    double *second = base + (bins + 1), *last = base + 3 * (bins + 1);
    return { base, second, (u64 *)second, base + 2 * (bins + 1), (int *)last, last };
}

/* x[i] := sum + x[0] + ... + x[i], added in this order; returns the last one. One thread. */
template <typename T> __device__ T add_up(T *x, unsigned n, T sum)
{
#pragma unroll 8
    for (unsigned i = 0; i < n; i++) {
        sum += x[i];
        x[i] = sum;
    }
    return sum;
}

/* ---- KL ---- */

/* As in kl.c: ln x for x >= 1. */
__device__ double ln(double x)
{
    u64 bits = (u64)__double_as_longlong(x), e = (bits - 0x3fe6a09e667f3bcdull) >> 52;
    double m = __longlong_as_double((long long)(bits - (e << 52)));
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
    return (double)e * 0x1.62e42fefa39efp-1 + 2.0 * s * (p * z + 1.0);
}

__global__ void __launch_bounds__(THREADS) kl_sums(const u64 *counts, unsigned bins, void *scratch)
{
    __shared__ double entropy[TILE];
    __shared__ u64 mass[TILE];
    __shared__ int filled[TILE];
    sums t = sums_of(scratch, blockIdx.x, bins);
    double entropy_sum = 0.0;
    u64 mass_sum = 0;
    int filled_sum = 0;

    counts += (size_t)blockIdx.x * bins;
    if (threadIdx.x == 0) {
        t.first[0] = 0.0;
        t.mass[0] = 0;
        t.filled[0] = 0;
    }
    for (unsigned base = 0; base < bins; base += TILE) {
        unsigned n = min(bins - base, (unsigned)TILE);
        for (unsigned j = threadIdx.x; j < n; j += THREADS) {
            u64 h = counts[base + j ? base + j : 1];
            double x = (double)h;
            entropy[j] = h ? x * ln(x) : 0.0;
            mass[j] = h;
            filled[j] = h > 0;
        }
        __syncthreads();
        if (threadIdx.x == 0) /* three warps at once */
            entropy_sum = add_up(entropy, n, entropy_sum);
        else if (threadIdx.x == 32)
            mass_sum = add_up(mass, n, mass_sum);
        else if (threadIdx.x == 64)
            filled_sum = add_up(filled, n, filled_sum);
        __syncthreads();
        for (unsigned j = threadIdx.x; j < n; j += THREADS) {
            t.first[base + j + 1] = entropy[j];
            t.mass[base + j + 1] = mass[j];
            t.filled[base + j + 1] = filled[j];
        }
        __syncthreads();
    }
}

/* As level_sum() in kl.c. */
__device__ double kl_level_sum(const u64 *mass, const int *filled, unsigned i, unsigned levels)
{
    double sum[LANES] = { 0 };
    int shift = __ffs((int)levels) - 1;
    u64 below = 0;
    int bins = 0;
    for (unsigned l = 0; l < levels; l += LANES) {
#pragma unroll
        for (unsigned j = 0; j < LANES; j++) {
            if (l + j >= levels)
                continue;
            unsigned edge = ((l + j + 1) * i + levels - 1) >> shift;
            u64 mass_here = __ldg(mass + edge);
            int bins_here = __ldg(filled + edge);
            double s = (double)(mass_here - below), c = (double)(bins_here - bins);
            sum[j] += s * ln((s > 1.0 ? s : 1.0) / (c > 1.0 ? c : 1.0));
            below = mass_here;
            bins = bins_here;
        }
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* As divergence() in kl.c. */
__device__ double kl_score(const sums &t, unsigned bins, unsigned i, unsigned levels)
{
    u64 all = t.mass[bins], kept = t.mass[i], tail = all - kept, last = kept - t.mass[i - 1];
    if (kept < all - kept || t.filled[i] < 2 || (tail && !last))
        return INFINITY;
    double n = (double)all, p = (double)(last + tail);
    double sum = t.first[i - 1] + (last + tail ? p * ln(p) : 0.0);
    sum -= kl_level_sum(t.mass, t.filled, i, levels);
    if (tail) {
        unsigned level = (i - 1) * levels / i, edge = (level * i + levels - 1) / levels;
        double s = (double)(kept - t.mass[edge]), c = (double)(t.filled[i] - t.filled[edge]);
        sum -= (double)tail * ln(s / c);
    }
    return sum / n - ln(n / (double)kept);
}

__global__ void __launch_bounds__(CANDIDATES)
    kl_scores(unsigned bins, unsigned start, unsigned levels, void *scratch)
{
    sums t = sums_of(scratch, blockIdx.x, bins);
    unsigned i = start + blockIdx.y * CANDIDATES + threadIdx.x;
    if (i <= bins)
        t.score[i] = kl_score(t, bins, i, levels);
}

/* ---- MSE ---- */

__global__ void __launch_bounds__(THREADS) mse_sums(const u64 *counts, unsigned bins, void *scratch)
{
    __shared__ double hc[TILE], h[TILE], hcc[TILE];
    sums t = sums_of(scratch, blockIdx.x, bins);
    double u = 0.0, v = 0.0, square = 0.0;

    counts += (size_t)blockIdx.x * bins;
    if (threadIdx.x == 0)
        t.first[bins] = t.second[bins] = 0.0;
    for (unsigned end = bins; end > 0; end -= min(end, (unsigned)TILE)) {
        unsigned n = min(end, (unsigned)TILE);
        for (unsigned j = threadIdx.x; j < n; j += THREADS) { /* from the top down */
            unsigned k = end - 1 - j;
            double c = (double)k + 0.5;
            h[j] = (double)counts[k];
            hc[j] = h[j] * c;
            hcc[j] = hc[j] * c;
        }
        __syncthreads();
        if (threadIdx.x == 0)
            u = add_up(hc, n, u);
        else if (threadIdx.x == 32)
            v = add_up(h, n, v);
        else if (threadIdx.x == 64)
            square = add_up(hcc, n, square);
        __syncthreads();
        for (unsigned j = threadIdx.x; j < n; j += THREADS) {
            t.first[end - 1 - j] = hc[j];
            t.second[end - 1 - j] = h[j];
        }
        __syncthreads();
    }
    if (threadIdx.x == 64)
        *t.square = square;
}

/* As level_sum() in mse.c. */
__device__ double mse_level_sum(const double *u, const double *v, unsigned i, unsigned qmax)
{
    double sum[LANES] = { 0 }, s = (i + 0.5) / qmax;
    for (unsigned l = 0; l < qmax; l += LANES) {
#pragma unroll
        for (unsigned lane = 0; lane < LANES; lane++) {
            unsigned j = l + lane; /* level q = j + 1 */
            if (j >= qmax)
                continue;
            double border = ((int)j + 0.5) * s - 0.5;
            int k = (int)border;
            k += k < border;
            sum[lane] += s * ((int)(2 * j + 1) * s * __ldg(v + k) - 2.0 * __ldg(u + k));
        }
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

__global__ void __launch_bounds__(CANDIDATES)
    mse_scores(unsigned bins, unsigned start, unsigned qmax, void *scratch)
{
    sums t = sums_of(scratch, blockIdx.x, bins);
    unsigned i = start + blockIdx.y * CANDIDATES + threadIdx.x;
    if (i < bins)
        t.score[i] = *t.square + mse_level_sum(t.first, t.second, i, qmax);
}

/* ---- both ---- */

/* The last of the least of score[start .. end); what differs by rounding alone counts as equal. */
template <bool KL>
__global__ void __launch_bounds__(THREADS)
    choose(unsigned bins, unsigned start, unsigned end, void *scratch, long long *answers)
{
    __shared__ double least[THREADS];
    __shared__ int best;
    sums t = sums_of(scratch, blockIdx.x, bins);
    double mine = INFINITY;
    for (unsigned i = start + threadIdx.x; i < end; i += THREADS)
        mine = t.score[i] < mine ? t.score[i] : mine;
    least[threadIdx.x] = mine;
    if (threadIdx.x == 0)
        best = -1;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half && least[threadIdx.x + half] < least[threadIdx.x])
            least[threadIdx.x] = least[threadIdx.x + half];
        __syncthreads();
    }
    double low = least[0];
    /* nothing sound (KL); nothing above the first bin, so every candidate rounds all to zero (MSE)
     */
    bool sound = KL ? !isinf(low) : t.second[1] > 0.0;
    double limit = low + (KL ? 1e-12 + 1e-9 * fabs(low) : 1e-13 * *t.square);
    int last = -1;
    for (unsigned i = start + threadIdx.x; sound && i < end; i += THREADS)
        last = t.score[i] <= limit ? (int)i : last;
    atomicMax(&best, last);
    __syncthreads();
    if (threadIdx.x == 0)
        answers[blockIdx.x] = best;
}

dim3 candidate_grid(const ed_cuda_histograms *h, unsigned start, unsigned end)
{
    unsigned n = start < end ? end - start : 1;
    return dim3((unsigned)h->n, (n + CANDIDATES - 1) / CANDIDATES);
}

} // namespace

extern "C" size_t ed_cuda_search_scratch(size_t n, size_t bins)
{
    return n * 4 * (bins + 1) * sizeof(double);
}

extern "C" int ed_cuda_search_kl(const ed_cuda_histograms *h, unsigned start, unsigned levels,
                                 ed_stream stream)
{
    unsigned n = (unsigned)h->n, bins = (unsigned)h->bins;
    if (n == 0)
        return cudaSuccess;
    dim3 grid = candidate_grid(h, start, bins + 1);
    kl_sums<<<n, THREADS, 0, stream>>>(h->counts, bins, h->scratch);
    kl_scores<<<grid, CANDIDATES, 0, stream>>>(bins, start, levels, h->scratch);
    choose<true><<<n, THREADS, 0, stream>>>(bins, start, bins + 1, h->scratch, h->answers);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_search_mse(const ed_cuda_histograms *h, unsigned start, unsigned qmax,
                                  ed_stream stream)
{
    unsigned n = (unsigned)h->n, bins = (unsigned)h->bins;
    if (n == 0)
        return cudaSuccess;
    dim3 grid = candidate_grid(h, start, bins);
    mse_sums<<<n, THREADS, 0, stream>>>(h->counts, bins, h->scratch);
    mse_scores<<<grid, CANDIDATES, 0, stream>>>(bins, start, qmax, h->scratch);
    choose<false><<<n, THREADS, 0, stream>>>(bins, start, bins, h->scratch, h->answers);
    return (int)cudaGetLastError();
}
