/*
 * FakeQuantize (ops/quant.c): y = (saturate(rne(x / scale) + zero_point) - zero_point) * scale,
 * with one scale or one for each element of an axis, bit for bit what the reference computes.
 */
#include "operand.cuh"
#include "quantize.cuh"

namespace
{
enum { THREADS = 256, UNDER_WAY = 2 };

__device__ __forceinline__ float bound(int64_t q, const int32_t *zero_point, int64_t channel)
{
    return (float)(q - (zero_point ? zero_point[channel] : 0));
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    quantize_kernel(T *y, const T *x, int64_t n, ed_cuda_quantizer q)
{
    ed_one_scale f;
    f.scale = q.scale[0];
    f.lo = bound(q.qmin, q.zero_point, 0);
    f.hi = bound(q.qmax, q.zero_point, 0);
    f.inverse = 1.0 / (double)f.scale;
    ed_map<UNDER_WAY>(y, x, n, f);
}

/* ---- one scale for each channel ---- */
__device__ __forceinline__ float quantize_at(float x, const ed_cuda_quantizer &q, int64_t channel)
{
    const float scale = q.scale[channel];
    return ed_quantized(x / scale, scale, bound(q.qmin, q.zero_point, channel),
                        bound(q.qmax, q.zero_point, channel));
}

/* Operand 0 of the space is the channel's number: vectors lie in one channel, or side by side. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    channels_kernel(T *y, const T *x, int64_t n, ed_cuda_quantizer q,
                    const __grid_constant__ ed_space<1> s)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t packs = ed_vectors<N>(s, n);
    const int step = s.how[0] == ED_READ_ONE ? 0 : 1;

    ED_GRID_LOOP(i, packs)
    {
        const ed_pack<T, N> in = ed_load_pack<N>(x + i * N);
        const int64_t channel = ed_at(s, 0, i * N);
        ed_pack<T, N> out;
#pragma unroll
        for (int l = 0; l < N; l++)
            out.v[l] = ed_narrow<T>(quantize_at(ed_widen(in.v[l]), q, channel + l * step));
        ed_store_pack<N>(y + i * N, out);
    }
    ED_GRID_LOOP(k, n - packs * N)
    {
        const int64_t i = packs * N + k;
        y[i] = ed_narrow<T>(quantize_at(ed_widen(x[i]), q, ed_at(s, 0, i)));
    }
}

/* ---- launchers ---- */
template <class T>
int launch(T *y, const T *x, int64_t outer, int64_t channels, int64_t inner,
           const ed_cuda_quantizer *q, ed_stream stream)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t n = outer * channels * inner;
    if (channels == 1) {
        quantize_kernel<T>
            <<<ed_blocks(n / (UNDER_WAY * N) + 1, THREADS), THREADS, 0, stream>>>(y, x, n, *q);
        return (int)cudaGetLastError();
    }
    const ed_walk walk = ed_channel_walk(outer, channels, inner);
    const ed_space<1> s = ed_space_of<1>(&walk, N);
    channels_kernel<T>
        <<<ed_blocks(s.vectors ? n / N + 1 : n, THREADS), THREADS, 0, stream>>>(y, x, n, *q, s);
    return (int)cudaGetLastError();
}
} // namespace

extern "C" int ed_cuda_fake_quantize(void *y, const void *x, bool bf16, int64_t outer,
                                     int64_t channels, int64_t inner, const ed_cuda_quantizer *q,
                                     ed_stream stream)
{
    if (outer <= 0 || channels <= 0 || inner <= 0)
        return 0;
    return bf16 ? launch((__nv_bfloat16 *)y, (const __nv_bfloat16 *)x, outer, channels, inner, q,
                         stream)
                : launch((float *)y, (const float *)x, outer, channels, inner, q, stream);
}
