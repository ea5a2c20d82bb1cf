/*
 * SoftmaxGrad: dx = y (dy - sum dy y); LogSoftmaxGrad: dx = dy - exp(y) sum dy; along the n
 * elements of lines [outer, n, inner]. Both values are read twice, the second time from a cache.
 */
#include "grad.h"
#include "vectors.cuh"

namespace
{

__device__ __forceinline__ float term(float dy, float y, bool log)
{
    return log ? dy : dy * y;
}

__device__ __forceinline__ float slope(float dy, float y, float sum, bool log)
{
    return log ? dy - expf(y) * sum : y * (dy - sum);
}

/* A row of n contiguous elements a team; vectors of V. */
template <typename T, int V, int TEAM>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    rows_kernel(T *dx, const T *dy, const T *y, int64_t rows, int n, bool log)
{
    constexpr int TEAMS = ED_ROW_THREADS / TEAM;
    const int lane = threadIdx.x % TEAM;
    for (int64_t row = blockIdx.x * (int64_t)TEAMS + threadIdx.x / TEAM; row < rows;
         row += (int64_t)gridDim.x * TEAMS) {
        const int64_t begin = row * n;
        float g[V], v[V], sum = 0.0f;
        for (int at = lane * V; at < n; at += TEAM * V) {
            ed_load_vector(g, dy + begin + at);
            ed_load_vector(v, y + begin + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum += term(g[k], v[k], log);
        }
        sum = ed_team_sum<TEAM>(sum);
        for (int at = lane * V; at < n; at += TEAM * V) {
            ed_load_vector(g, dy + begin + at);
            ed_load_vector(v, y + begin + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                g[k] = slope(g[k], v[k], sum, log);
            ed_store_vector(dx + begin + at, g);
        }
    }
}

/* A line a thread. */
template <typename T>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    lines_kernel(T *dx, const T *dy, const T *y, const __grid_constant__ ed_lines l, bool log)
{
    ED_GRID_LOOP(i, l.outer * l.inner)
    {
        const int64_t o = i / l.inner, begin = o * l.n * l.inner + (i - o * l.inner);
        float sum = 0.0f;
        for (int64_t k = 0; k < l.n; k++)
            sum += term(ed_load(dy, begin + k * l.inner), ed_load(y, begin + k * l.inner), log);
        for (int64_t k = 0; k < l.n; k++) {
            const int64_t at = begin + k * l.inner;
            ed_store(dx, at, slope(ed_load(dy, at), ed_load(y, at), sum, log));
        }
    }
}

template <typename T, int V>
void launch_rows(T *dx, const T *dy, const T *y, const ed_lines *l, bool log, ed_stream stream)
{
    const int n = (int)l->n;
    if (n <= 32 * 8 * V)
        rows_kernel<T, V, 32>
            <<<ed_blocks(l->outer, ED_ROW_THREADS / 32), ED_ROW_THREADS, 0, stream>>>(
                dx, dy, y, l->outer, n, log);
    else
        rows_kernel<T, V, ED_ROW_THREADS>
            <<<ed_blocks(l->outer, 1), ED_ROW_THREADS, 0, stream>>>(dx, dy, y, l->outer, n, log);
}

template <typename T>
int launch(void *pdx, const void *pdy, const void *py, const ed_lines *l, bool log,
           ed_stream stream)
{
    constexpr int WIDE = ed_wide<T>;
    T *dx = static_cast<T *>(pdx);
    const T *dy = static_cast<const T *>(pdy), *y = static_cast<const T *>(py);
    if (l->outer * l->n * l->inner == 0)
        return 0;
    if (l->inner == 1 && l->n % WIDE == 0)
        launch_rows<T, WIDE>(dx, dy, y, l, log, stream);
    else if (l->inner == 1)
        launch_rows<T, 1>(dx, dy, y, l, log, stream);
    else
        lines_kernel<<<ed_blocks(l->outer * l->inner, ED_ROW_THREADS), ED_ROW_THREADS, 0, stream>>>(
            dx, dy, y, *l, log);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int ed_cuda_softmax_grad(void *dx, const void *dy, const void *y, bool bf16,
                                    const ed_lines *lines, bool log, ed_stream stream)
{
    return bf16 ? launch<__nv_bfloat16>(dx, dy, y, lines, log, stream)
                : launch<float>(dx, dy, y, lines, log, stream);
}
