/*
 * Gradients of functions of one number, dx[i] = f(dy[i], v[i]), in float32 or bfloat16 storage, in
 * every layout: only the number of elements counts.
 */
#include "grad.h"
#include "pack.cuh"
#include "slopes.cuh"

namespace
{
enum { THREADS = 256 };

template <class F, class T>
__global__ void __launch_bounds__(THREADS)
    slope_kernel(T *dx, const T *dy, const T *v, int64_t n, F f)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t packs = n / N;
    ED_GRID_LOOP(i, packs)
    {
        ed_pack<T, N> g = ed_load_pack<N>(dy + i * N);
        const ed_pack<T, N> at = ed_load_pack<N>(v + i * N);
#pragma unroll
        for (int l = 0; l < N; l++)
            g.v[l] = ed_narrow<T>(f(ed_widen(g.v[l]), ed_widen(at.v[l])));
        ed_store_pack<N>(dx + i * N, g);
    }
    ED_GRID_LOOP(k, n - packs * N)
    {
        const int64_t i = packs * N + k;
        dx[i] = ed_narrow<T>(f(ed_widen(dy[i]), ed_widen(v[i])));
    }
}

struct slope_call {
    void *dx;
    const void *dy, *v;
    bool bf16;
    int64_t n;
    float a, b;
    ed_stream stream;
};

template <class F, class T> int launch(const slope_call &c)
{
    slope_kernel<F, T><<<ed_blocks(c.n / ed_map_lanes<T, T> + 1, THREADS), THREADS, 0, c.stream>>>(
        (T *)c.dx, (const T *)c.dy, (const T *)c.v, c.n, F{ c.a, c.b });
    return (int)cudaGetLastError();
}

template <class F> int launch_any(const slope_call &c)
{
    return c.bf16 ? launch<F, __nv_bfloat16>(c) : launch<F, float>(c);
}
} // namespace

#define ROW(slope, F)                                                                              \
    case slope:                                                                                    \
        return launch_any<F>(c)
extern "C" int ed_cuda_activation_grad(int slope, void *dx, const void *dy, const void *v,
                                       bool bf16, int64_t n, float a, float b, ed_stream stream)
{
    const slope_call c = { dx, dy, v, bf16, n, a, b, stream };
    if (n <= 0)
        return 0;
    switch (slope) {
        ROW(ED_SLOPE_RELU, ed_relu_grad);
        ROW(ED_SLOPE_LEAKY_RELU, ed_leaky_relu_grad);
        ROW(ED_SLOPE_CLIP, ed_clip_grad);
        ROW(ED_SLOPE_SIGMOID, ed_sigmoid_grad);
        ROW(ED_SLOPE_HARD_SIGMOID, ed_hard_sigmoid_grad);
        ROW(ED_SLOPE_HARD_SWISH, ed_hard_swish_grad);
        ROW(ED_SLOPE_TANH, ed_tanh_grad);
        ROW(ED_SLOPE_MISH, ed_mish_grad);
        ROW(ED_SLOPE_ELU, ed_elu_grad);
        ROW(ED_SLOPE_GELU, ed_gelu_grad);
        ROW(ED_SLOPE_GELU_TANH, ed_gelu_tanh_grad);
        ROW(ED_SLOPE_ERF, ed_erf_grad);
        ROW(ED_SLOPE_ABS, ed_abs_grad);
    default:
        return (int)cudaErrorInvalidValue;
    }
}
