/*
 * What kernels over rows and vectors share: several elements as one access, results over a team of
 * threads, and the choice of a kernel by the length of a row.
 */
#ifndef CUDA_VECTORS_CUH
#define CUDA_VECTORS_CUH

#include "pack.cuh"

#include <limits.h>

/* Elements of the widest access. */
template <typename T> constexpr int ed_wide = 16 / (int)sizeof(T);

/* What one access moves, as a type of the language: members of a struct may be loaded and stored
 * one by one. */
template <int BYTES> struct ed_word;
template <> struct ed_word<2> {
    typedef uint16_t type;
};
template <> struct ed_word<4> {
    typedef uint32_t type;
};
template <> struct ed_word<8> {
    typedef uint2 type;
};
template <> struct ed_word<16> {
    typedef uint4 type;
};

/* V elements at p, which is aligned to V elements or to 16 bytes, as floats. */
template <int V, typename T>
__device__ __forceinline__ void ed_load_vector(float (&v)[V], const T *p)
{
    constexpr int EACH = V < ed_wide<T> ? V : ed_wide<T>;
    typedef typename ed_word<EACH *(int)sizeof(T)>::type word;
#pragma unroll
    for (int w = 0; w < V / EACH; w++) {
        const word packed = reinterpret_cast<const word *>(p)[w];
#pragma unroll
        for (int k = 0; k < EACH; k++)
            v[w * EACH + k] = ed_load(reinterpret_cast<const T *>(&packed), k);
    }
}

template <int V, typename T>
__device__ __forceinline__ void ed_store_vector(T *p, const float (&v)[V])
{
    static_assert(V <= ed_wide<T>, "one access");
    typename ed_word<V *(int)sizeof(T)>::type packed;
#pragma unroll
    for (int k = 0; k < V; k++)
        ed_store(reinterpret_cast<T *>(&packed), k, v[k]);
    *reinterpret_cast<decltype(packed) *>(p) = packed;
}

/* ---- teams: a warp, or a whole block ---- */
__device__ __forceinline__ float ed_exchange(float v, int distance)
{
    return __shfl_xor_sync(~0u, v, distance);
}
__device__ __forceinline__ double ed_exchange(double v, int distance)
{
    return __shfl_xor_sync(~0u, v, distance);
}

/* merge(v of every thread), which all of them get; merge commutes. TEAM is 32, or the size of the
 * block: a power of two up to 1024. All threads of the team call it. */
template <int TEAM, typename T, typename F> __device__ __forceinline__ T ed_team_all(T v, F merge)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
        v = merge(v, ed_exchange(v, d));
    if constexpr (TEAM > 32) {
        constexpr int WARPS = TEAM / 32;
        __shared__ T part[WARPS];
        __syncthreads(); /* those who read the last results are done */
        if (threadIdx.x % 32 == 0)
            part[threadIdx.x / 32] = v;
        __syncthreads();
        v = part[threadIdx.x % WARPS];
#pragma unroll
        for (int d = WARPS / 2; d > 0; d /= 2)
            v = merge(v, ed_exchange(v, d));
    }
    return v;
}

template <int TEAM, typename T> __device__ __forceinline__ T ed_team_sum(T v)
{
    return ed_team_all<TEAM>(v, [](T a, T b) { return a + b; });
}

/* The largest number; a NaN does not count. */
template <int TEAM> __device__ __forceinline__ float ed_team_max(float v)
{
    return ed_team_all<TEAM>(v, [](float a, float b) { return fmaxf(a, b); });
}

/* ---- rows of n elements: which kernel ---- */
enum { ED_ROW_THREADS = 256 }; /* of a block */

/* Rows up to this length are held in registers. */
template <typename T> static inline int ed_row_held(int n)
{
    return n % ed_wide<T> == 0 ? 2048 * ed_wide<T> : 8192;
}

/* call.template held<V, PER, TEAM>() when TEAM threads hold a row, PER vectors of V elements each;
 * call.template streamed<V>() for longer rows. */
template <typename T, typename CALL> static void ed_row_dispatch(int n, const CALL &call)
{
    constexpr int WIDE = ed_wide<T>;
    const int vectors = n % WIDE == 0 ? n / WIDE : INT_MAX;
    if (n > ed_row_held<T>(n) && n % WIDE == 0)
        call.template streamed<WIDE>();
    else if (n > ed_row_held<T>(n))
        call.template streamed<1>();
    else if (vectors <= 32)
        call.template held<WIDE, 1, 32>();
    else if (vectors <= 64)
        call.template held<WIDE, 2, 32>();
    else if (vectors <= 128)
        call.template held<WIDE, 4, 32>();
    else if (vectors <= 256)
        call.template held<WIDE, 8, 32>();
    else if (vectors <= 512)
        call.template held<WIDE, 2, 256>();
    else if (vectors <= 1024)
        call.template held<WIDE, 4, 256>();
    else if (vectors <= 2048)
        call.template held<WIDE, 8, 256>();
    else if (n <= 64)
        call.template held<1, 2, 32>();
    else if (n <= 256)
        call.template held<1, 8, 32>();
    else if (n <= 1024)
        call.template held<1, 32, 32>();
    else if (n <= 2048)
        call.template held<1, 8, 256>();
    else
        call.template held<1, 32, 256>();
}

#endif
