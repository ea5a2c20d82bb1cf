/*
 * GatherGrad (ops/gather_grad.c): dx[o, i, :] = sum of dy[o, k, :] over the k with index i, in the
 * order of k. A block owns a tile of columns of one row of dx; it looks through the indices, of
 * which the threads read one each, and adds the rows that are meant: no two threads write one
 * element, and what is not meant is 0.
 */
#include "grad.h"
#include "launch.cuh"

namespace
{

enum { THREADS = 256, WARPS = THREADS / 32 };

/* The numbers of this round's indices that are `row`, in order, to list[]; how many. */
template <typename INDEX>
__device__ int matches(int *list, const INDEX *indices, int64_t begin, int64_t count, int64_t row,
                       int64_t size)
{
    __shared__ int warps[WARPS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t k = begin + threadIdx.x;
    int64_t index = k < count ? (int64_t)indices[k] : -1 - size;
    index = index < 0 ? index + size : index;
    const bool meant = index == row;
    const unsigned ballot = __ballot_sync(~0u, meant);
    if (lane == 0)
        warps[warp] = __popc(ballot);
    __syncthreads();
    int before = 0, total = 0;
    for (int w = 0; w < WARPS; w++) {
        before += w < warp ? warps[w] : 0;
        total += warps[w];
    }
    if (meant)
        list[before + __popc(ballot & ((1u << lane) - 1))] = (int)threadIdx.x;
    __syncthreads();
    return total;
}

template <typename T, typename INDEX>
__global__ void __launch_bounds__(THREADS)
    gather_grad(T *dx, const T *dy, const INDEX *indices,
                const __grid_constant__ ed_cuda_gather_grad g)
{
    __shared__ int list[THREADS];
    const int64_t tiles = (g.inner + THREADS - 1) / THREADS, units = g.outer * g.size * tiles;
    for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const int64_t line = unit / tiles, outer = line / g.size, row = line - outer * g.size;
        const int64_t column = (unit - line * tiles) * THREADS + threadIdx.x;
        const T *from = dy + outer * g.count * g.inner + column;
        float sum = 0.0f;
        for (int64_t begin = 0; begin < g.count; begin += THREADS) {
            const int found = matches(list, indices, begin, g.count, row, g.size);
            for (int k = 0; k < found && column < g.inner; k++)
                sum += ed_load(from, (begin + list[k]) * g.inner);
            __syncthreads(); /* the list is used up */
        }
        if (column < g.inner)
            ed_store(dx, line * g.inner + column, sum);
    }
}

template <typename T>
void launch(T *dx, const T *dy, const void *indices, const ed_cuda_gather_grad *g, ed_stream stream)
{
    const int64_t tiles = (g->inner + THREADS - 1) / THREADS;
    const unsigned blocks = ed_blocks(g->outer * g->size * tiles, 1);
    if (g->wide)
        gather_grad<<<blocks, THREADS, 0, stream>>>(dx, dy, (const int64_t *)indices, *g);
    else
        gather_grad<<<blocks, THREADS, 0, stream>>>(dx, dy, (const int32_t *)indices, *g);
}

} // namespace

extern "C" int ed_cuda_gather_grad_run(void *dx, const void *dy, bool bf16, const void *indices,
                                       const ed_cuda_gather_grad *g, ed_stream stream)
{
    if (g->outer * g->size * g->inner == 0)
        return 0;
    if (bf16)
        launch((__nv_bfloat16 *)dx, (const __nv_bfloat16 *)dy, indices, g, stream);
    else
        launch((float *)dx, (const float *)dy, indices, g, stream);
    return (int)cudaGetLastError();
}
