/*
 * Softmax: y = exp(x - max) / sum exp(x - max); LogSoftmax: y = x - max - log sum; along the n
 * elements of lines [outer, n, inner].
 *
 * A contiguous line (inner 1) that fits is held in the registers of a warp or a block and read
 * once. Longer ones and those with inner > 1 are read twice: the sum is rescaled whenever a larger
 * maximum turns up. A NaN does not count as a maximum and makes the line NaN through the sum; so
 * does an infinite maximum (infinity - infinity).
 */
#include "vectors.cuh"

namespace
{

template <typename T, int V, int PER, int TEAM>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    softmax_held(T *y, const T *x, int64_t rows, int n, bool log)
{
    constexpr int TEAMS = ED_ROW_THREADS / TEAM;
    const int lane = threadIdx.x % TEAM;
    for (int64_t row = blockIdx.x * (int64_t)TEAMS + threadIdx.x / TEAM; row < rows;
         row += (int64_t)gridDim.x * TEAMS) {
        float v[PER][V], most = -INFINITY, sum = 0;
#pragma unroll
        for (int p = 0; p < PER; p++) {
            const int at = (p * TEAM + lane) * V;
#pragma unroll
            for (int k = 0; k < V; k++)
                v[p][k] = -INFINITY;
            if (at < n)
                ed_load_vector(v[p], x + row * n + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                most = fmaxf(most, v[p][k]);
        }
        most = ed_team_max<TEAM>(most);
#pragma unroll
        for (int p = 0; p < PER; p++)
#pragma unroll
            for (int k = 0; k < V; k++) { /* what is beyond the row adds exp(-infinity) */
                const float shifted = v[p][k] - most, e = expf(shifted);
                sum += e;
                v[p][k] = log ? shifted : e;
            }
        sum = ed_team_sum<TEAM>(sum);
        const float term = log ? logf(sum) : 1.0f / sum;
#pragma unroll
        for (int p = 0; p < PER; p++) {
            const int at = (p * TEAM + lane) * V;
#pragma unroll
            for (int k = 0; k < V; k++)
                v[p][k] = log ? v[p][k] - term : v[p][k] * term;
            if (at < n)
                ed_store_vector(y + row * n + at, v[p]);
        }
    }
}

/* The largest number so far, and the sum of exp(x - most). */
struct running {
    float most, sum;

    __device__ void raise(float to)
    {
        sum *= most == to ? 1.0f : expf(most - to);
        most = to;
    }
    __device__ void add(float x) /* after raise(): x is not larger than most */
    {
        sum += x == most ? 1.0f : expf(x - most); /* of infinities too: no NaN before the end */
    }
    __device__ float total() const
    {
        return isinf(most) ? NAN : sum;
    }
};

/* ed_store_vector() by an access that the compiler does not take apart, as it would in the loops of
 * these kernels. */
template <int V, typename T> __device__ __forceinline__ void store_whole(T *p, const float (&v)[V])
{
    if constexpr (V == 1) {
        ed_store_vector(p, v);
    } else {
        uint4 packed;
        ed_store_vector(reinterpret_cast<T *>(&packed), v);
        __stwb(reinterpret_cast<uint4 *>(p), packed);
    }
}

template <typename T, int V>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    softmax_streamed(T *y, const T *x, int64_t rows, int n, bool log)
{
    constexpr int STEP = ED_ROW_THREADS * V;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        float v[V];
        running here = { -INFINITY, 0 };
        for (int at = threadIdx.x * V; at < n; at += STEP) {
            ed_load_vector(v, x + row * n + at);
            float most = here.most;
#pragma unroll
            for (int k = 0; k < V; k++)
                most = fmaxf(most, v[k]);
            here.raise(most);
#pragma unroll
            for (int k = 0; k < V; k++)
                here.add(v[k]);
        }
        here.raise(ed_team_max<ED_ROW_THREADS>(here.most));
        here.sum = ed_team_sum<ED_ROW_THREADS>(here.sum);
        const float term = log ? logf(here.total()) : 1.0f / here.total();
        for (int at = threadIdx.x * V; at < n; at += STEP) {
            ed_load_vector(v, x + row * n + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                v[k] = log ? v[k] - here.most - term : expf(v[k] - here.most) * term;
            store_whole(y + row * n + at, v);
        }
    }
}

/* V neighbouring lines a thread; inner is a multiple of V. */
template <typename T, int V>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    softmax_strided(T *y, const T *x, int64_t outer, int64_t n, int64_t inner, bool log)
{
    const int64_t across = inner / V;
    ED_GRID_LOOP(i, outer * across)
    {
        const int64_t o = i / across, begin = o * n * inner + (i - o * across) * V;
        float v[V], term[V];
        running line[V];
#pragma unroll
        for (int k = 0; k < V; k++)
            line[k] = { -INFINITY, 0 };
        for (int64_t j = 0; j < n; j++) {
            ed_load_vector(v, x + begin + j * inner);
#pragma unroll
            for (int k = 0; k < V; k++) {
                line[k].raise(fmaxf(line[k].most, v[k]));
                line[k].add(v[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < V; k++)
            term[k] = log ? logf(line[k].total()) : 1.0f / line[k].total();
        for (int64_t j = 0; j < n; j++) {
            ed_load_vector(v, x + begin + j * inner);
#pragma unroll
            for (int k = 0; k < V; k++)
                v[k] = log ? v[k] - line[k].most - term[k] : expf(v[k] - line[k].most) * term[k];
            store_whole(y + begin + j * inner, v);
        }
    }
}

template <typename T> struct softmax_call {
    T *y;
    const T *x;
    int64_t rows;
    int n;
    bool log;
    ed_stream stream;

    template <int V, int PER, int TEAM> void held() const
    {
        softmax_held<T, V, PER, TEAM>
            <<<ed_blocks(rows, ED_ROW_THREADS / TEAM), ED_ROW_THREADS, 0, stream>>>(y, x, rows, n,
                                                                                    log);
    }
    template <int V> void streamed() const
    {
        softmax_streamed<T, V>
            <<<ed_blocks(rows, 1), ED_ROW_THREADS, 0, stream>>>(y, x, rows, n, log);
    }
};

template <typename T, int V>
void launch_strided(T *y, const T *x, const ed_lines *l, bool log, ed_stream stream)
{
    const unsigned blocks = ed_blocks(l->outer * (l->inner / V), ED_ROW_THREADS);
    softmax_strided<T, V>
        <<<blocks, ED_ROW_THREADS, 0, stream>>>(y, x, l->outer, l->n, l->inner, log);
}

template <typename T>
int launch(void *y, const void *x, const ed_lines *l, bool log, ed_stream stream)
{
    constexpr int WIDE = ed_wide<T>;
    T *to = static_cast<T *>(y);
    const T *from = static_cast<const T *>(x);
    if (l->outer * l->n * l->inner == 0)
        return 0;
    if (l->inner == 1)
        ed_row_dispatch<T>((int)l->n,
                           softmax_call<T>{ to, from, l->outer, (int)l->n, log, stream });
    else if (l->inner % WIDE == 0 && l->outer * l->inner >= (int64_t)WIDE << 16)
        launch_strided<T, WIDE>(to, from, l, log, stream);
    else
        launch_strided<T, 1>(to, from, l, log, stream);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int ed_cuda_softmax(void *y, const void *x, bool bf16, const ed_lines *lines, bool log,
                               ed_stream stream)
{
    return bf16 ? launch<__nv_bfloat16>(y, x, lines, log, stream)
                : launch<float>(y, x, lines, log, stream);
}
