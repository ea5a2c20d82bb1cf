/*
 * ArgMax, ArgMin and CumSum along the n elements of lines [outer, n, inner].
 *
 * The best element starts as the first one: a NaN there stays, because nothing is larger or less,
 * and a later one is never better. CumSum adds one after the other, a thread a line.
 */
#include "vectors.cuh"

namespace
{

enum { THREADS = 256 };

struct candidate {
    float value;
    int64_t index;
};

/* For ed_team_all(), which finds it by its argument. */
__device__ __forceinline__ candidate ed_exchange(const candidate &c, int distance)
{
    return { __shfl_xor_sync(~0u, c.value, distance),
             (int64_t)__shfl_xor_sync(~0u, (long long)c.index, distance) };
}

struct better {
    bool least, last;

    __device__ candidate operator()(const candidate &a, const candidate &b) const
    {
        if (least ? b.value < a.value : b.value > a.value)
            return b;
        const bool takes = b.value == a.value && (last ? b.index > a.index : b.index < a.index);
        return takes ? b : a;
    }
};

/* TEAM threads a line; 1: none of them waits for another. */
template <typename T, int TEAM>
__global__ void __launch_bounds__(THREADS)
    arg_lines(int64_t *y, const T *x, const ed_lines l, const better choose)
{
    constexpr int TEAMS = THREADS / TEAM;
    const int lane = threadIdx.x % TEAM;
    const int64_t lines = l.outer * l.inner;
    for (int64_t line = blockIdx.x * (int64_t)TEAMS + threadIdx.x / TEAM; line < lines;
         line += (int64_t)gridDim.x * TEAMS) {
        const int64_t o = line / l.inner;
        const T *from = x + o * l.n * l.inner + (line - o * l.inner);
        candidate best = { ed_load(from, 0), 0 };
        for (int64_t k = lane; k < l.n; k += TEAM)
            best = choose(best, { ed_load(from, k * l.inner), k });
        if constexpr (TEAM > 1)
            best = ed_team_all<TEAM>(best, choose);
        if (lane == 0)
            y[line] = best.index;
    }
}

template <typename T>
int launch_arg(int64_t *y, const void *px, const ed_lines *l, better choose, ed_stream stream)
{
    const T *x = static_cast<const T *>(px);
    const int64_t lines = l->outer * l->inner;
    if (lines == 0 || l->n == 0)
        return 0;
    if (l->inner > 1 || l->n < 32)
        arg_lines<T, 1><<<ed_blocks(lines, THREADS), THREADS, 0, stream>>>(y, x, *l, choose);
    else if (l->n <= 4096)
        arg_lines<T, 32><<<ed_blocks(lines, THREADS / 32), THREADS, 0, stream>>>(y, x, *l, choose);
    else
        arg_lines<T, THREADS><<<ed_blocks(lines, 1), THREADS, 0, stream>>>(y, x, *l, choose);
    return (int)cudaGetLastError();
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    cumsum_lines(T *y, const T *x, const ed_lines l, bool exclusive, bool reverse)
{
    ED_GRID_LOOP(line, l.outer * l.inner)
    {
        const int64_t o = line / l.inner, first = reverse ? l.n - 1 : 0;
        const int64_t step = reverse ? -l.inner : l.inner;
        int64_t at = (o * l.n + first) * l.inner + (line - o * l.inner);
        typename ed_number<T>::type sum = 0; /* integers wrap around */
        for (int64_t k = 0; k < l.n; k++, at += step) {
            const typename ed_number<T>::type before = sum;
            sum += ed_widen(x[at]);
            y[at] = ed_narrow<T>(exclusive ? before : sum);
        }
    }
}

template <typename T>
int launch_cumsum(void *y, const void *x, const ed_lines *l, bool exclusive, bool reverse,
                  ed_stream stream)
{
    if (l->outer * l->n * l->inner == 0)
        return 0;
    cumsum_lines<T><<<ed_blocks(l->outer * l->inner, THREADS), THREADS, 0, stream>>>(
        static_cast<T *>(y), static_cast<const T *>(x), *l, exclusive, reverse);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int ed_cuda_arg(int64_t *y, const void *x, bool bf16, const ed_lines *lines, bool least,
                           bool last, ed_stream stream)
{
    return bf16 ? launch_arg<__nv_bfloat16>(y, x, lines, { least, last }, stream)
                : launch_arg<float>(y, x, lines, { least, last }, stream);
}

extern "C" int ed_cuda_cumsum(void *y, const void *x, int type, const ed_lines *lines,
                              bool exclusive, bool reverse, ed_stream stream)
{
    switch (type) {
    case ED_CUDA_SUMS_F32:
        return launch_cumsum<float>(y, x, lines, exclusive, reverse, stream);
    case ED_CUDA_SUMS_BF16:
        return launch_cumsum<__nv_bfloat16>(y, x, lines, exclusive, reverse, stream);
    case ED_CUDA_SUMS_32:
        return launch_cumsum<uint32_t>(y, x, lines, exclusive, reverse, stream);
    default:
        return launch_cumsum<uint64_t>(y, x, lines, exclusive, reverse, stream);
    }
}
