/*
 * Vectors of elements, loaded and stored by accesses of up to 16 bytes. Arithmetic is in float for
 * float32 and bfloat16, in their own type for integers.
 */
#ifndef CUDA_PACK_CUH
#define CUDA_PACK_CUH

#include "launch.cuh"

template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) ed_pack {
    T v[N];
};

/* The type that elements are computed in. */
template <class T> struct ed_number {
    typedef T type;
};
template <> struct ed_number<__nv_bfloat16> {
    typedef float type;
};

template <class T> __device__ __forceinline__ T ed_widen(T x)
{
    return x;
}
__device__ __forceinline__ float ed_widen(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

template <class T> __device__ __forceinline__ T ed_narrow(typename ed_number<T>::type x)
{
    return x;
}
template <> __device__ __forceinline__ __nv_bfloat16 ed_narrow<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}

template <int N, class T> __device__ __forceinline__ ed_pack<T, N> ed_load_pack(const T *p)
{
    return *reinterpret_cast<const ed_pack<T, N> *>(p);
}
template <int N, class T> __device__ __forceinline__ void ed_store_pack(T *p, ed_pack<T, N> pack)
{
    *reinterpret_cast<ed_pack<T, N> *>(p) = pack;
}

/* Elements of a vector when outputs and inputs are of these types. */
template <class Y, class X>
constexpr int ed_map_lanes = 16 / (int)(sizeof(Y) < sizeof(X) ? sizeof(Y) : sizeof(X));

/* y[i] = f(x[i]) by all threads of the grid; y may be x. Each thread keeps U vectors under way. */
template <int U, class Y, class X, class F>
__device__ __forceinline__ void ed_map(Y *y, const X *x, int64_t n, const F &f)
{
    constexpr int N = ed_map_lanes<Y, X>;
    const int64_t packs = n / N, stride = (int64_t)gridDim.x * blockDim.x;
    const int64_t first = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;

    for (int64_t i = first; i < packs; i += U * stride) {
        ed_pack<X, N> in[U];
#pragma unroll
        for (int u = 0; u < U; u++)
            if (i + u * stride < packs)
                in[u] = ed_load_pack<N>(x + (i + u * stride) * N);
#pragma unroll
        for (int u = 0; u < U; u++) {
            ed_pack<Y, N> out;
            if (i + u * stride >= packs)
                break;
#pragma unroll
            for (int l = 0; l < N; l++)
                out.v[l] = ed_narrow<Y>(f(ed_widen(in[u].v[l])));
            ed_store_pack<N>(y + (i + u * stride) * N, out);
        }
    }
    if (packs * N + first < n) /* fewer than N are left */
        y[packs * N + first] = ed_narrow<Y>(f(ed_widen(x[packs * N + first])));
}

#endif
