/*
 * Reductions over any axes, in any storage order: sums, products, largest and least (NaN wins),
 * norms; accumulated in double.
 *
 * by_rows: the threads of a team read neighbours along the reduced elements (the mean of a plane, a
 * sum over the last axis). Else neighbouring threads own neighbouring outputs, and the rows of a
 * block share the reduced elements (the mean of an NHWC picture, a sum over the batch). Where that
 * gives few blocks, `splits` of them fold parts into scratch, [splits][outputs], and a last kernel
 * merges those.
 */
#include "vectors.cuh"

namespace
{

enum { THREADS = 256 };

/* Where element i of the walk is for an operand. */
__device__ __forceinline__ int64_t place(const ed_walk &w, int operand, int64_t i)
{
    int64_t at = 0;
    for (int k = w.rank - 1; k > 0; k--) {
        const int64_t rest = (int64_t)((uint64_t)i / (uint64_t)w.dim[k]);
        at += (i - rest * w.dim[k]) * w.step[operand][k];
        i = rest;
    }
    return at + i * w.step[operand][0];
}

/* ---- the functions ---- */
__device__ __forceinline__ double start_of(int kind)
{
    return kind == ED_CUDA_PROD  ? 1.0
           : kind == ED_CUDA_MAX ? -INFINITY
           : kind == ED_CUDA_MIN ? INFINITY
                                 : 0.0;
}

__device__ __forceinline__ double merged(int kind, double acc, double v)
{
    switch (kind) {
    case ED_CUDA_PROD:
        return acc * v;
    case ED_CUDA_MAX:
        return v > acc || isnan(v) ? v : acc;
    case ED_CUDA_MIN:
        return v < acc || isnan(v) ? v : acc;
    default:
        return acc + v;
    }
}

/* SUM: known to be a sum or a mean when compiled. */
template <bool SUM> __device__ __forceinline__ double folded(int kind, double acc, float x)
{
    const double v = (double)x;
    if (SUM)
        return acc + v;
    if (kind == ED_CUDA_L1)
        return acc + fabs(v);
    if (kind == ED_CUDA_L2 || kind == ED_CUDA_SUM_SQUARE)
        return acc + v * v;
    return merged(kind, acc, v);
}

__device__ __forceinline__ float finished(const ed_cuda_reduction &r, double acc)
{
    if (r.kind == ED_CUDA_MEAN)
        acc /= (double)r.reduced;
    return (float)(r.kind == ED_CUDA_L2 ? sqrt(acc) : acc);
}

template <typename Y>
__device__ __forceinline__ void put(Y *y, double *part, const ed_cuda_reduction &r, int64_t split,
                                    int64_t output, double acc)
{
    if (r.splits > 1)
        part[split * r.outputs + output] = acc;
    else
        ed_store(y, output, finished(r, acc));
}

/* ---- kernels ---- */
template <bool SUM, typename Y, typename T, int V, int TEAM>
__global__ void __launch_bounds__(THREADS)
    reduce_rows(Y *y, double *part, const T *x, const __grid_constant__ ed_cuda_reduction r)
{
    constexpr int TEAMS = THREADS / TEAM;
    const int lane = threadIdx.x % TEAM, kind = r.kind;
    const int64_t units = r.outputs * r.splits;
    for (int64_t unit = blockIdx.x * (int64_t)TEAMS + threadIdx.x / TEAM; unit < units;
         unit += (int64_t)gridDim.x * TEAMS) {
        const int64_t output = unit / r.splits, split = unit - output * r.splits;
        const int64_t begin = split * r.chunk;
        const int64_t end = begin + r.chunk < r.reduced ? begin + r.chunk : r.reduced;
        const T *from = x + place(r.kept, 1, output);
        double acc = start_of(kind);
        for (int64_t i = begin + lane * V; i < end; i += TEAM * V) {
            float v[V]; /* V > 1: one run of neighbours */
            ed_load_vector(v, from + (V > 1 ? i : place(r.along, 0, i)));
#pragma unroll
            for (int k = 0; k < V; k++)
                acc = folded<SUM>(kind, acc, v[k]);
        }
        acc = ed_team_all<TEAM>(
            acc, [kind](double a, double b) { return SUM ? a + b : merged(kind, a, b); });
        if (lane == 0)
            put(y, part, r, split, output, acc);
    }
}

template <bool SUM, int V, typename T>
__device__ __forceinline__ void fold_vector(double (&acc)[V], int kind, const T *from)
{
    float v[V];
    ed_load_vector(v, from);
#pragma unroll
    for (int k = 0; k < V; k++)
        acc[k] = folded<SUM>(kind, acc[k], v[k]);
}

/* r.team outputs, or vectors of V of them, side by side. */
template <bool SUM, typename Y, typename T, int V>
__global__ void __launch_bounds__(THREADS)
    reduce_columns(Y *y, double *part, const T *x, const __grid_constant__ ed_cuda_reduction r)
{
    __shared__ double shared[V][THREADS];
    const int rows = THREADS / r.team, row = threadIdx.x / r.team, lane = threadIdx.x % r.team;
    const int kind = r.kind, me = threadIdx.x;
    const int64_t tiles = (r.outputs + r.team * V - 1) / (r.team * V);
    for (int64_t unit = blockIdx.x; unit < tiles * r.splits; unit += gridDim.x) {
        const int64_t tile = unit / r.splits, split = unit - tile * r.splits;
        const int64_t output = (tile * r.team + lane) * V, begin = split * r.chunk;
        const int64_t end = begin + r.chunk < r.reduced ? begin + r.chunk : r.reduced;
        double acc[V];
#pragma unroll
        for (int k = 0; k < V; k++)
            acc[k] = start_of(kind);
        if (output < r.outputs) {
            const T *from = x + place(r.kept, 1, output);
            if (r.along.rank == 1) {
                const int64_t step = r.along.step[0][0];
#pragma unroll 4
                for (int64_t i = begin + row; i < end; i += rows)
                    fold_vector<SUM>(acc, kind, from + i * step);
            } else {
                for (int64_t i = begin + row; i < end; i += rows)
                    fold_vector<SUM>(acc, kind, from + place(r.along, 0, i));
            }
        }
#pragma unroll
        for (int k = 0; k < V; k++)
            shared[k][me] = acc[k];
        for (int half = rows / 2; half > 0; half /= 2) {
            __syncthreads();
#pragma unroll
            for (int k = 0; k < V; k++)
                if (row < half)
                    shared[k][me] = merged(kind, shared[k][me], shared[k][me + half * r.team]);
        }
#pragma unroll
        for (int k = 0; k < V; k++)
            if (row == 0 && output < r.outputs)
                put(y, part, r, split, output + k, shared[k][me]);
        __syncthreads(); /* before the next tile is written */
    }
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    reduce_parts(T *y, const double *part, const __grid_constant__ ed_cuda_reduction r)
{
    ED_GRID_LOOP(output, r.outputs)
    {
        double acc = start_of(r.kind);
        for (int s = 0; s < r.splits; s++)
            acc = merged(r.kind, acc, part[s * r.outputs + output]);
        ed_store(y, output, finished(r, acc));
    }
}

/* ---- launches ---- */
template <bool SUM, typename Y, typename T, int V>
void launch(Y *y, double *part, const T *x, const ed_cuda_reduction *r, ed_stream stream)
{
    const int64_t units = r->outputs * r->splits, across = (int64_t)r->team * V;
    const int64_t tiles = (r->outputs + across - 1) / across * r->splits;
    if (!r->by_rows)
        reduce_columns<SUM, Y, T, V><<<ed_blocks(tiles, 1), THREADS, 0, stream>>>(y, part, x, *r);
    else if (r->team == 32)
        reduce_rows<SUM, Y, T, V, 32>
            <<<ed_blocks(units, THREADS / 32), THREADS, 0, stream>>>(y, part, x, *r);
    else
        reduce_rows<SUM, Y, T, V, THREADS>
            <<<ed_blocks(units, 1), THREADS, 0, stream>>>(y, part, x, *r);
}

template <bool SUM, typename Y, typename T>
int run(void *py, double *part, const void *px, const ed_cuda_reduction *r, ed_stream stream)
{
    Y *y = static_cast<Y *>(py);
    const T *x = static_cast<const T *>(px);
    if (r->outputs == 0)
        return 0;
    if (r->wide)
        launch<SUM, Y, T, ed_wide<T>>(y, part, x, r, stream);
    else
        launch<SUM, Y, T, 1>(y, part, x, r, stream);
    if (r->splits > 1)
        reduce_parts<<<ed_blocks(r->outputs, THREADS), THREADS, 0, stream>>>(y, part, *r);
    return (int)cudaGetLastError();
}

/* All steps of an operand but the last one, of which `last` are neighbours, are multiples of v. */
bool steps_divide(const ed_walk *w, int operand, bool last, int v)
{
    for (int k = 0; k < w->rank - (last ? 1 : 0); k++)
        if (w->step[operand][k] % v != 0)
            return false;
    return !last || (w->step[operand][w->rank - 1] == 1 && w->dim[w->rank - 1] % v == 0);
}

} // namespace

extern "C" size_t ed_cuda_reduce_plan(ed_cuda_reduction *r, bool bf16)
{
    enum { RUN = 16, ENOUGH = 2 * 132, WORK = 16, MOST = 256 }; /* WORK: of a thread, at least */
    const int wide = bf16 ? ed_wide<__nv_bfloat16> : ed_wide<float>, last = r->along.rank - 1;
    r->splits = 1;
    if (r->outputs == 0)
        return 0;
    r->by_rows = r->along.step[0][last] == 1 && r->along.dim[last] >= RUN;
    if (r->by_rows)
        r->wide = last == 0 && steps_divide(&r->along, 0, true, wide) &&
                  steps_divide(&r->kept, 1, false, wide);
    else
        r->wide = steps_divide(&r->kept, 1, true, wide) && steps_divide(&r->along, 0, false, wide);

    const int64_t columns = r->wide ? r->outputs / wide : r->outputs;
    int rows = 1; /* of a block: the team is what is left for neighbours */
    while (rows < 32 && r->reduced >= 8 * rows)
        rows *= 2;
    while (THREADS / rows / 2 >= columns && r->reduced > rows)
        rows *= 2;
    r->team = !r->by_rows ? THREADS / rows : r->reduced <= 1024 ? 32 : THREADS;

    const int64_t blocks = r->by_rows ? (r->outputs * r->team + THREADS - 1) / THREADS
                                      : (columns + r->team - 1) / r->team;
    const int64_t least = (r->by_rows ? THREADS : rows) * (int64_t)WORK; /* of a part */
    while (blocks * r->splits < ENOUGH && r->reduced / (2 * r->splits) >= least && r->splits < MOST)
        r->splits *= 2;
    r->chunk = ((r->reduced + r->splits - 1) / r->splits + wide - 1) / wide * wide;
    return r->splits > 1 ? (size_t)r->splits * (size_t)r->outputs * sizeof(double) : 0;
}

extern "C" int ed_cuda_reduce(void *y, const void *x, bool bf16, const ed_cuda_reduction *r,
                              void *scratch, ed_stream stream)
{
    typedef __nv_bfloat16 b16;
    double *part = static_cast<double *>(scratch);
    const bool sum = r->kind == ED_CUDA_MEAN || r->kind == ED_CUDA_SUM;
    if (!sum)
        return bf16 ? run<false, b16, b16>(y, part, x, r, stream)
                    : run<false, float, float>(y, part, x, r, stream);
    if (bf16 && r->y_f32)
        return run<true, float, b16>(y, part, x, r, stream);
    return bf16 ? run<true, b16, b16>(y, part, x, r, stream)
                : run<true, float, float>(y, part, x, r, stream);
}
