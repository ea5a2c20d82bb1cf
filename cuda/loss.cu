/*
 * Losses of training and their gradients (ops/loss.c), float32. A warp takes a sample, whose
 * classes are its lanes; with classes that lie apart (inner > 1) neighbouring threads take
 * neighbouring samples. Sums of samples are made in double by one block, always in the same order.
 */
#include "grad.h"
#include "vectors.cuh"

#include <math_constants.h>

namespace
{

enum { THREADS = 256, IGNORED = -100, PARTS = 256, TOGETHER = 1024 };

__device__ __forceinline__ int64_t start_of(int64_t sample, const ed_cuda_loss &l)
{
    const int64_t n = sample / l.inner;
    return n * l.classes * l.inner + (sample - n * l.inner);
}

template <int TEAM> __device__ __forceinline__ double team_sum(double v)
{
    return TEAM == 1 ? v : ed_team_sum<32>(v);
}

/* max / T and log sum exp((z - max) / T), whose sum is log sum exp(z / T). */
struct normalizer {
    double max, log_sum;

    /* log softmax(z / T) */
    __device__ __forceinline__ double of(float z, double temperature) const
    {
        return (double)z / temperature - max - log_sum;
    }
};

template <int TEAM>
__device__ normalizer normalize(const float *z, int lane, const ed_cuda_loss &l, double temperature)
{
    float max = -INFINITY;
    double sum = 0;
    for (int64_t k = lane; k < l.classes; k += TEAM)
        max = fmaxf(max, z[k * l.inner]);
    if (TEAM > 1)
        max = ed_team_max<32>(max);
    for (int64_t k = lane; k < l.classes; k += TEAM)
        sum += (double)expf((float)(((double)z[k * l.inner] - (double)max) / temperature));
    return { (double)max / temperature, log(team_sum<TEAM>(sum)) };
}

/* Samples of this thread's team. */
#define SAMPLES(r, TEAM)                                                                           \
    const int lane = TEAM == 1 ? 0 : threadIdx.x % 32;                                             \
    for (int64_t r = (blockIdx.x * (int64_t)THREADS + threadIdx.x) / TEAM; r < l.samples;          \
         r += (int64_t)gridDim.x * (THREADS / TEAM))

/* ---- cross entropy ---- */
template <int TEAM>
__global__ void __launch_bounds__(THREADS)
    entropy_kernel(double *loss, const float *z, const int64_t *labels,
                   const __grid_constant__ ed_cuda_loss l)
{
    const double e = (double)l.label_smoothing;
    SAMPLES(r, TEAM)
    {
        const float *at = z + start_of(r, l);
        const int64_t label = labels[r];
        double value = 0, sum = 0;
        if (label >= 0 && label < l.classes) {
            const normalizer n = normalize<TEAM>(at, lane, l, 1.0);
            for (int64_t k = lane; e > 0 && k < l.classes; k += TEAM) /* not of 0 * infinity */
                sum -= n.of(at[k * l.inner], 1.0);
            sum = team_sum<TEAM>(sum);
            if (e < 1)
                value = (1 - e) * -n.of(at[label * l.inner], 1.0);
            if (e > 0)
                value += e * sum / (double)l.classes;
        } else if (label != IGNORED) {
            value = CUDART_NAN;
        }
        if (lane == 0)
            loss[r] = value;
    }
}

/* How many labels are not to be ignored, for all threads of the block. */
__device__ double count_labels(const int64_t *labels, int64_t samples)
{
    double count = 0;
    for (int64_t r = threadIdx.x; r < samples; r += TOGETHER)
        count += labels[r] != IGNORED ? 1.0 : 0.0;
    return ed_team_sum<TOGETHER>(count);
}

/* The mean of the losses, times `weight`; labels NULL: all count. */
__global__ void __launch_bounds__(TOGETHER)
    mean_kernel(float *mean, const double *loss, int64_t n, double divisor, const int64_t *labels,
                double weight)
{
    double sum = 0;
    for (int64_t r = threadIdx.x; r < n; r += TOGETHER)
        sum += loss[r];
    sum = ed_team_sum<TOGETHER>(sum);
    const double count = labels ? count_labels(labels, n) : divisor;
    if (threadIdx.x == 0)
        *mean = count > 0 ? (float)(sum / count * weight) : 0.0f;
}

__global__ void __launch_bounds__(TOGETHER)
    count_kernel(double *count, const int64_t *labels, int64_t samples)
{
    const double n = count_labels(labels, samples);
    if (threadIdx.x == 0)
        *count = n;
}

template <int TEAM>
__global__ void __launch_bounds__(THREADS)
    entropy_grad(float *dz, const float *dloss, const float *z, const int64_t *labels,
                 const double *count, const __grid_constant__ ed_cuda_loss l)
{
    const double e = (double)l.label_smoothing;
    const double factor = (double)*dloss * (double)l.weight / *count;
    SAMPLES(r, TEAM)
    {
        const int64_t start = start_of(r, l), label = labels[r];
        const bool ignored = label == IGNORED, bad = !ignored && (label < 0 || label >= l.classes);
        const normalizer n =
            ignored ? normalizer{ 0, 0 } : normalize<TEAM>(z + start, lane, l, 1.0);
        for (int64_t k = lane; k < l.classes; k += TEAM) {
            const int64_t at = start + k * l.inner;
            const double t = e / (double)l.classes + (k == label ? 1 - e : 0);
            const double d = factor * ((double)expf((float)n.of(z[at], 1.0)) - t);
            dz[at] = ignored ? 0.0f : bad ? NAN : (float)d;
        }
    }
}

/* ---- distillation ---- */
template <int TEAM>
__global__ void __launch_bounds__(THREADS)
    distillation_kernel(double *loss, const float *z, const float *teacher,
                        const __grid_constant__ ed_cuda_loss l)
{
    const double t = (double)l.temperature;
    SAMPLES(r, TEAM)
    {
        const int64_t start = start_of(r, l);
        const normalizer n = normalize<TEAM>(z + start, lane, l, t);
        const normalizer m = normalize<TEAM>(teacher + start, lane, l, t);
        double kl = 0;
        for (int64_t k = lane; k < l.classes; k += TEAM) {
            const int64_t at = start + k * l.inner;
            const double log_p = m.of(teacher[at], t), p = (double)expf((float)log_p);
            if (p != 0) /* not of 0 * infinity; NaN passes */
                kl += p * (log_p - n.of(z[at], t));
        }
        kl = team_sum<TEAM>(kl);
        if (lane == 0)
            loss[r] = t * t * kl;
    }
}

template <int TEAM>
__global__ void __launch_bounds__(THREADS)
    distillation_grad(float *dz, const float *dloss, const float *z, const float *teacher,
                      const __grid_constant__ ed_cuda_loss l)
{
    const double t = (double)l.temperature;
    const double factor = (double)*dloss * (double)l.weight / (double)l.samples;
    SAMPLES(r, TEAM)
    {
        const int64_t start = start_of(r, l);
        const normalizer n = normalize<TEAM>(z + start, lane, l, t);
        const normalizer m = normalize<TEAM>(teacher + start, lane, l, t);
        for (int64_t k = lane; k < l.classes; k += TEAM) {
            const int64_t at = start + k * l.inner;
            const double q = (double)expf((float)n.of(z[at], t));
            const double p = (double)expf((float)m.of(teacher[at], t));
            dz[at] = (float)(factor * t * (q - p));
        }
    }
}

/* ---- squares ---- */
__global__ void __launch_bounds__(THREADS)
    squares_kernel(double *parts, const float *y, const float *target, int64_t n)
{
    double sum = 0;
    ED_GRID_LOOP(i, n)
    {
        const double d = (double)y[i] - (double)target[i];
        sum += d * d;
    }
    sum = ed_team_sum<THREADS>(sum);
    if (threadIdx.x == 0)
        parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(THREADS)
    squares_grad(float *dy, const float *dloss, const float *y, const float *target, int64_t n,
                 float weight)
{
    const double factor = 2.0 * (double)*dloss * (double)weight / (double)n;
    ED_GRID_LOOP(i, n)
    {
        dy[i] = (float)(factor * ((double)y[i] - (double)target[i]));
    }
}

unsigned parts_of(int64_t n)
{
    const int64_t blocks = (n + THREADS - 1) / THREADS;
    return (unsigned)(blocks < 1 ? 1 : blocks < PARTS ? blocks : (int64_t)PARTS);
}

/* A warp a sample. */
bool by_warps(const ed_cuda_loss *l)
{
    return l->inner == 1 && l->classes > 4;
}

unsigned blocks_of(const ed_cuda_loss *l)
{
    return ed_blocks(by_warps(l) ? l->samples * 32 : l->samples, THREADS);
}

int mean_of(float *loss, const double *each, const int64_t *labels, const ed_cuda_loss *l,
            ed_stream stream)
{
    mean_kernel<<<1, TOGETHER, 0, stream>>>(loss, each, l->samples, (double)l->samples, labels,
                                            (double)l->weight);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" size_t ed_cuda_loss_scratch(const ed_cuda_loss *l)
{
    return ((size_t)l->samples + 1) * sizeof(double);
}

extern "C" int ed_cuda_cross_entropy(float *loss, const float *z, const int64_t *labels,
                                     const ed_cuda_loss *l, void *scratch, ed_stream stream)
{
    double *each = static_cast<double *>(scratch);
    if (l->samples > 0 && by_warps(l))
        entropy_kernel<32><<<blocks_of(l), THREADS, 0, stream>>>(each, z, labels, *l);
    else if (l->samples > 0)
        entropy_kernel<1><<<blocks_of(l), THREADS, 0, stream>>>(each, z, labels, *l);
    return mean_of(loss, each, labels, l, stream);
}

extern "C" int ed_cuda_cross_entropy_grad(float *dz, const float *dloss, const float *z,
                                          const int64_t *labels, const ed_cuda_loss *l,
                                          void *scratch, ed_stream stream)
{
    double *count = static_cast<double *>(scratch);
    if (l->samples * l->classes == 0)
        return 0;
    count_kernel<<<1, TOGETHER, 0, stream>>>(count, labels, l->samples);
    if (by_warps(l))
        entropy_grad<32><<<blocks_of(l), THREADS, 0, stream>>>(dz, dloss, z, labels, count, *l);
    else
        entropy_grad<1><<<blocks_of(l), THREADS, 0, stream>>>(dz, dloss, z, labels, count, *l);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_distillation(float *loss, const float *z, const float *teacher,
                                    const ed_cuda_loss *l, void *scratch, ed_stream stream)
{
    double *each = static_cast<double *>(scratch);
    if (l->samples > 0 && by_warps(l))
        distillation_kernel<32><<<blocks_of(l), THREADS, 0, stream>>>(each, z, teacher, *l);
    else if (l->samples > 0)
        distillation_kernel<1><<<blocks_of(l), THREADS, 0, stream>>>(each, z, teacher, *l);
    return mean_of(loss, each, nullptr, l, stream);
}

extern "C" int ed_cuda_distillation_grad(float *dz, const float *dloss, const float *z,
                                         const float *teacher, const ed_cuda_loss *l,
                                         ed_stream stream)
{
    if (l->samples * l->classes == 0)
        return 0;
    if (by_warps(l))
        distillation_grad<32><<<blocks_of(l), THREADS, 0, stream>>>(dz, dloss, z, teacher, *l);
    else
        distillation_grad<1><<<blocks_of(l), THREADS, 0, stream>>>(dz, dloss, z, teacher, *l);
    return (int)cudaGetLastError();
}

extern "C" size_t ed_cuda_squares_scratch(int64_t n)
{
    return parts_of(n) * sizeof(double);
}

extern "C" int ed_cuda_squares(float *loss, const float *y, const float *target, int64_t n,
                               const ed_cuda_loss *l, void *scratch, ed_stream stream)
{
    double *parts = static_cast<double *>(scratch);
    squares_kernel<<<parts_of(n), THREADS, 0, stream>>>(parts, y, target, n);
    mean_kernel<<<1, TOGETHER, 0, stream>>>(loss, parts, parts_of(n), (double)n, nullptr,
                                            (double)l->weight);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_squares_grad(float *dy, const float *dloss, const float *y,
                                    const float *target, int64_t n, const ed_cuda_loss *l,
                                    ed_stream stream)
{
    if (n == 0)
        return 0;
    squares_grad<<<ed_blocks(n, THREADS), THREADS, 0, stream>>>(dy, dloss, y, target, n, l->weight);
    return (int)cudaGetLastError();
}
