/*
 * Scales of activations that follow the average of the steps' largest |x|. Floats without their
 * sign are in the order of their bits, infinity and NaN above all, so the largest one is found with
 * integers: in any order, the same bits.
 */
#include "trainer.h"
#include "launch.cuh"

#include <math.h>

namespace
{

enum { THREADS = 256, WARPS = THREADS / 32 };

__device__ __forceinline__ unsigned bits_of(float x)
{
    return __float_as_uint(x) & 0x7fffffffu;
}
__device__ __forceinline__ unsigned bits_of(__nv_bfloat16 x)
{
    return (unsigned)(__bfloat16_as_ushort(x) & 0x7fffu) << 16;
}

/* The largest one of a 16-byte word. */
template <typename T> __device__ __forceinline__ unsigned largest_of(const uint4 &v)
{
    const T *x = reinterpret_cast<const T *>(&v);
    unsigned most = 0;
#pragma unroll
    for (int i = 0; i < (int)(sizeof v / sizeof(T)); i++)
        most = max(most, bits_of(x[i]));
    return most;
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    largest_kernel(unsigned *largest, const T *data, int64_t n, int64_t vectors)
{
    __shared__ unsigned warps[WARPS];
    unsigned most = 0;
    ED_GRID_LOOP(i, vectors)
    most = max(most, largest_of<T>(__ldg(reinterpret_cast<const uint4 *>(data) + i)));
    const int64_t done = vectors * (int64_t)(sizeof(uint4) / sizeof(T));
    ED_GRID_LOOP(i, n - done)
    most = max(most, bits_of(data[done + i]));
    most = __reduce_max_sync(~0u, most);
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = most;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int w = 1; w < WARPS; w++)
        most = max(most, warps[w]);
    atomicMax(largest, most);
}

template <typename T>
void find_largest(unsigned *largest, const void *data, int64_t n, ed_stream stream)
{
    const int each = (int)(sizeof(uint4) / sizeof(T));
    const int64_t vectors = (uintptr_t)data % sizeof(uint4) == 0 ? n / each : 0;
    const unsigned blocks = ed_blocks(vectors ? vectors : n, THREADS);
    largest_kernel<<<blocks, THREADS, 0, stream>>>(largest, (const T *)data, n, vectors);
}

/* src/qat/update.c */
__global__ void __launch_bounds__(THREADS)
    follow_kernel(int64_t n, float *scale, float *average, float *largest, const float *qmax,
                  double weight, float least)
{
    ED_GRID_LOOP(i, n)
    {
        const float most = largest[i];
        largest[i] = 0.0f;
        if (!isfinite(most))
            continue;
        const float next = average[i] + (float)(weight * ((double)most - (double)average[i]));
        average[i] = next;
        scale[i] = fmaxf(next, least) / qmax[i];
    }
}

} // namespace

extern "C" int ed_cuda_find_largest(float *largest, const void *data, int64_t n, bool bf16,
                                    ed_stream stream)
{
    if (n > 0 && bf16)
        find_largest<__nv_bfloat16>((unsigned *)largest, data, n, stream);
    else if (n > 0)
        find_largest<float>((unsigned *)largest, data, n, stream);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_follow_scales(size_t n, float *scale, float *average, float *largest,
                                     const float *qmax, double weight, float least,
                                     ed_stream stream)
{
    if (n > 0)
        follow_kernel<<<ed_blocks((int64_t)n, THREADS), THREADS, 0, stream>>>(
            (int64_t)n, scale, average, largest, qmax, weight, least);
    return (int)cudaGetLastError();
}
