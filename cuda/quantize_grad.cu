/*
 * Gradients of FakeQuantize (ops/quant.c) by its input and by its scale, with one scale or one for
 * each element of an axis.
 *
 * The scale's: a block adds up a part of a channel, in double, and a last kernel the parts.
 */
#include "grad.h"
#include "operand.cuh"
#include "slopes.cuh"
#include "vectors.cuh"

namespace
{
enum { THREADS = 256, MOST_PARTS = 256, LEAST_PART = 8 * THREADS };

struct levels {
    float scale, lo, hi;
};

__device__ __forceinline__ levels levels_of(const ed_cuda_quantizer &q, int64_t channel)
{
    const int32_t zero = q.zero_point ? q.zero_point[channel] : 0;
    return { q.scale[channel], (float)(q.qmin - zero), (float)(q.qmax - zero) };
}

/* Operand 0 of the space is the channel's number: vectors lie in one channel, or side by side. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    grad_kernel(T *dx, const T *dy, const T *x, int64_t n, ed_cuda_quantizer q, bool one,
                const __grid_constant__ ed_space<1> s)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t packs = one ? n / N : ed_vectors<N>(s, n);
    const int step = one || s.how[0] == ED_READ_ONE ? 0 : 1;

    ED_GRID_LOOP(i, packs)
    {
        ed_pack<T, N> g = ed_load_pack<N>(dy + i * N);
        const ed_pack<T, N> at = ed_load_pack<N>(x + i * N);
        const int64_t channel = one ? 0 : ed_at(s, 0, i * N);
#pragma unroll
        for (int l = 0; l < N; l++) {
            const levels k = levels_of(q, channel + l * step);
            g.v[l] = ed_narrow<T>(
                ed_quantize_grad(ed_widen(g.v[l]), ed_widen(at.v[l]), k.scale, k.lo, k.hi));
        }
        ed_store_pack<N>(dx + i * N, g);
    }
    ED_GRID_LOOP(r, n - packs * N)
    {
        const int64_t i = packs * N + r;
        const levels k = levels_of(q, one ? 0 : ed_at(s, 0, i));
        dx[i] =
            ed_narrow<T>(ed_quantize_grad(ed_widen(dy[i]), ed_widen(x[i]), k.scale, k.lo, k.hi));
    }
}

template <class T>
int launch(T *dx, const T *dy, const T *x, int64_t outer, int64_t channels, int64_t inner,
           const ed_cuda_quantizer *q, ed_stream stream)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t n = outer * channels * inner;
    const bool one = channels == 1;
    const ed_walk walk = ed_channel_walk(outer, channels, inner);
    const ed_space<1> s = ed_space_of<1>(&walk, N);
    const unsigned blocks = ed_blocks(one || s.vectors ? n / N + 1 : n, THREADS);
    grad_kernel<T><<<blocks, THREADS, 0, stream>>>(dx, dy, x, n, *q, one, s);
    return (int)cudaGetLastError();
}

/* ---- the scale ---- */
template <class T>
__global__ void __launch_bounds__(THREADS)
    scale_kernel(double *parts, const T *dy, const T *x, int64_t channels, int64_t inner,
                 int64_t each, int64_t chunk, int count, ed_cuda_quantizer q)
{
    for (int64_t unit = blockIdx.x; unit < channels * count; unit += gridDim.x) {
        const int64_t channel = unit / count, begin = (unit - channel * count) * chunk;
        const int64_t end = begin + chunk < each ? begin + chunk : each;
        const levels k = levels_of(q, channel);
        double sum = 0;
        for (int64_t i = begin + threadIdx.x; i < end; i += THREADS) {
            const int64_t o = i / inner, at = (o * channels + channel) * inner + (i - o * inner);
            sum += (double)ed_load(dy, at) *
                   (double)ed_scale_slope(ed_load(x, at), k.scale, k.lo, k.hi);
        }
        sum = ed_team_sum<THREADS>(sum);
        if (threadIdx.x == 0)
            parts[unit] = sum;
    }
}

__global__ void add_parts(float *dscale, const double *parts, int64_t channels, int count)
{
    ED_GRID_LOOP(channel, channels)
    {
        double sum = 0;
        for (int k = 0; k < count; k++)
            sum += parts[channel * count + k];
        dscale[channel] = (float)sum;
    }
}

int parts_of(int64_t each, int64_t channels)
{
    const int64_t most = (each + LEAST_PART - 1) / LEAST_PART, enough = 4 * 132 / channels + 1;
    int64_t parts = most < enough ? most : enough;
    parts = parts < MOST_PARTS ? parts : (int64_t)MOST_PARTS;
    return (int)(parts < 1 ? 1 : parts);
}
} // namespace

extern "C" int ed_cuda_quantize_grad(void *dx, const void *dy, const void *x, bool bf16,
                                     int64_t outer, int64_t channels, int64_t inner,
                                     const ed_cuda_quantizer *q, ed_stream stream)
{
    typedef __nv_bfloat16 b16;
    if (outer <= 0 || channels <= 0 || inner <= 0)
        return 0;
    return bf16 ? launch((b16 *)dx, (const b16 *)dy, (const b16 *)x, outer, channels, inner, q,
                         stream)
                : launch((float *)dx, (const float *)dy, (const float *)x, outer, channels, inner,
                         q, stream);
}

extern "C" size_t ed_cuda_scale_grad_scratch(int64_t outer, int64_t channels, int64_t inner)
{
    return channels <= 0
               ? 0
               : (size_t)channels * (size_t)parts_of(outer * inner, channels) * sizeof(double);
}

extern "C" int ed_cuda_scale_grad(float *dscale, const void *dy, const void *x, bool bf16,
                                  int64_t outer, int64_t channels, int64_t inner,
                                  const ed_cuda_quantizer *q, void *scratch, ed_stream stream)
{
    typedef __nv_bfloat16 b16;
    if (channels <= 0)
        return 0;
    const int64_t each = outer * inner;
    const int count = parts_of(each, channels);
    const int64_t chunk = (each + count - 1) / count, width = inner > 0 ? inner : 1;
    const unsigned blocks = ed_blocks(channels * count, 1);
    double *parts = (double *)scratch;
    if (bf16)
        scale_kernel<<<blocks, THREADS, 0, stream>>>(parts, (const b16 *)dy, (const b16 *)x,
                                                     channels, width, each, chunk, count, *q);
    else
        scale_kernel<<<blocks, THREADS, 0, stream>>>(parts, (const float *)dy, (const float *)x,
                                                     channels, width, each, chunk, count, *q);
    add_parts<<<ed_blocks(channels, THREADS), THREADS, 0, stream>>>(dscale, parts, channels, count);
    return (int)cudaGetLastError();
}
