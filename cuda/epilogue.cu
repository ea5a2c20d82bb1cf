/*
 * What follows a convolution or a product that could not fuse it, in place:
 *
 *     y[r, c, i] = posts(y[r, c, i] + bias[c])
 */
#include "operand.cuh"
#include "posts.cuh"

namespace
{
enum { THREADS = 256 };

/* N neighbours from i on; `add` are their biases, or -0, which changes no number. */
template <int N, class T>
__device__ __forceinline__ void apply(T *y, int64_t i, const T *residual, const float (&add)[N],
                                      const ed_cuda_posts &posts)
{
    ed_pack<T, N> pack = ed_load_pack<N>(y + i), other = pack;
    float v[N];
    if (residual)
        other = ed_load_pack<N>(residual + i);
#pragma unroll
    for (int l = 0; l < N; l++)
        v[l] = ed_widen(pack.v[l]) + add[l];
    for (int p = 0; p < posts.count; p++) {
        if (posts.kind[p] == ED_CUDA_POST_ADD) {
#pragma unroll
            for (int l = 0; l < N; l++)
                v[l] += ed_widen(other.v[l]);
        } else {
            ed_apply_post(posts.kind[p], posts.a[p], posts.b[p], v);
        }
    }
#pragma unroll
    for (int l = 0; l < N; l++)
        pack.v[l] = ed_narrow<T>(v[l]);
    ed_store_pack<N>(y + i, pack);
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    epilogue_kernel(T *y, int64_t n, const float *bias, const T *residual,
                    const __grid_constant__ ed_cuda_posts posts,
                    const __grid_constant__ ed_space<1> s)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t packs = bias ? ed_vectors<N>(s, n) : n / N;

    ED_GRID_LOOP(k, packs)
    {
        ed_pack<float, N> add;
#pragma unroll
        for (int l = 0; l < N; l++)
            add.v[l] = -0.0f;
        if (bias)
            add = ed_read_operand<N>(bias, s, 0, k * N);
        apply(y, k * N, residual, add.v, posts);
    }
    ED_GRID_LOOP(k, n - packs * N)
    {
        const int64_t i = packs * N + k;
        const float add[1] = { bias ? ed_read_one(bias, s, 0, i) : -0.0f };
        apply(y, i, residual, add, posts);
    }
}

template <class T>
int launch(T *y, int64_t rows, int64_t channels, int64_t inner, const float *bias,
           const T *residual, const ed_cuda_posts &posts, ed_stream stream)
{
    constexpr int N = ed_map_lanes<T, T>;
    const int64_t n = rows * channels * inner;
    const ed_walk walk = ed_channel_walk(rows, channels, inner);
    const ed_space<1> s = ed_space_of<1>(&walk, N);
    const bool vectors = !bias || s.vectors;
    epilogue_kernel<T><<<ed_blocks(vectors ? n / N + 1 : n, THREADS), THREADS, 0, stream>>>(
        y, n, bias, residual, posts, s);
    return (int)cudaGetLastError();
}
} // namespace

extern "C" int ed_cuda_epilogue(void *y, bool bf16, int64_t rows, int64_t channels, int64_t inner,
                                const float *bias, const void *residual, const ed_cuda_posts *posts,
                                ed_stream stream)
{
    const ed_cuda_posts none = {};
    const ed_cuda_posts &list = posts ? *posts : none;
    for (int p = 0; p < list.count; p++)
        if (list.kind[p] == ED_CUDA_POST_SUM || (list.kind[p] == ED_CUDA_POST_ADD && !residual))
            return (int)cudaErrorInvalidValue;
    if (rows <= 0 || channels <= 0 || inner <= 0 || (!bias && list.count == 0))
        return 0;
    return bf16 ? launch((__nv_bfloat16 *)y, rows, channels, inner, bias,
                         (const __nv_bfloat16 *)residual, list, stream)
                : launch((float *)y, rows, channels, inner, bias, (const float *)residual, list,
                         stream);
}
