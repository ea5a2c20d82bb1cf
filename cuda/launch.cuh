/* What the kernels share: launch sizes, storage types, posts. */
#ifndef CUDA_LAUNCH_CUH
#define CUDA_LAUNCH_CUH

#include "kernels.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

/* Blocks for n units of work of a grid-stride loop: enough to fill the largest chip, no more. */
static inline unsigned ed_blocks(int64_t n, int threads)
{
    const int64_t most = 132 * 16;
    int64_t blocks = (n + threads - 1) / threads;
    return (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

#define ED_GRID_LOOP(i, n)                                                                         \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n);                      \
         i += (int64_t)gridDim.x * blockDim.x)

/* Storage types: arithmetic is in float. */
__device__ __forceinline__ float ed_load(const float *p, int64_t i)
{
    return p[i];
}
__device__ __forceinline__ float ed_load(const __nv_bfloat16 *p, int64_t i)
{
    return __bfloat162float(p[i]);
}
__device__ __forceinline__ void ed_store(float *p, int64_t i, float v)
{
    p[i] = v;
}
__device__ __forceinline__ void ed_store(__nv_bfloat16 *p, int64_t i, float v)
{
    p[i] = __float2bfloat16_rn(v);
}

#endif
