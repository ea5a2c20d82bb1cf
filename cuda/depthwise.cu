/*
 * Depthwise convolution, channels last, float32 or bfloat16 storage, with what follows it:
 *
 *   y[n, oh, ow, c] = posts(bias[c] + sum over kh, kw of w[kh, kw, c] x[n, ih, iw, c])
 *   ih = oh stride - pad + kh dilation, iw likewise; outside of x: 0
 *
 * Memory-bound: x should be read and y written once. For the usual kernels a thread computes a tile
 * of ROWS x COLUMNS outputs of V channels: it reads each row of inputs once, keeps it in registers,
 * and adds it to every output row that it belongs to. Threads that follow each other take
 * neighbouring channels, then columns, so that accesses are contiguous, and inputs that tiles share
 * come from the caches. For all others a thread computes one output of V channels.
 */
#include "posts.cuh"
#include "units.cuh"
#include "vectors.cuh"

#include <climits>

namespace
{

enum { THREADS = 128 };

/* ---- what the kernels share ---- */
template <typename T> struct job {
    T *y;
    const T *x, *residual;
    const float *weights, *bias;
    ed_cuda_posts posts;
    ed_conv_axis h, w;
    int channels;
    uint32_t tiles;                             /* of all samples */
    ed_divider<uint32_t> groups, columns, rows; /* of them along channels, columns, rows */
};

/* The tile of a thread: sample, first channel, row and column. */
struct tile {
    int64_t n;
    int c, oh, ow;
};

template <int V, int ROWS, int COLUMNS, typename T>
__device__ __forceinline__ tile tile_of(uint32_t i, const job<T> &j)
{
    tile t;
    t.c = (int)ed_divide(&i, j.groups) * V;
    t.ow = (int)ed_divide(&i, j.columns) * COLUMNS;
    t.oh = (int)ed_divide(&i, j.rows) * ROWS;
    t.n = i;
    return t;
}

__device__ __forceinline__ bool is_inside(int at, int size)
{
    return (unsigned)at < (unsigned)size; /* at < 0 is a large number */
}

template <int V, typename T>
__device__ __forceinline__ void load_bias(float (&v)[V], const job<T> &j, int c)
{
#pragma unroll
    for (int i = 0; i < V; i++)
        v[i] = 0.0f;
    if (j.bias)
        ed_load_vector<V>(v, j.bias + c);
}

/* The posts, and out. */
template <int V, typename T>
__device__ __forceinline__ void finish(float (&v)[V], const job<T> &j, const tile &t, int oh,
                                       int ow)
{
    int64_t at = ((t.n * j.h.out + oh) * j.w.out + ow) * j.channels + t.c;
#pragma unroll 1
    for (int p = 0; p < j.posts.count; p++) {
        ed_apply_post<V>(j.posts.kind[p], j.posts.a[p], j.posts.b[p], v);
        if (j.posts.kind[p] == ED_CUDA_POST_ADD) {
            float other[V];
            ed_load_vector<V>(other, j.residual + at);
#pragma unroll
            for (int i = 0; i < V; i++)
                v[i] += other[i];
        }
    }
    ed_store_vector<V>(j.y + at, v);
}

/* ---- square kernels of size K, the same stride S, no dilation ---- */
/* N inputs of V channels from column iw of row ih on; 0 outside of x. */
template <int V, int N, typename T>
__device__ __forceinline__ void load_row(float (&row)[N][V], const job<T> &j, const tile &t, int ih,
                                         int iw)
{
    bool inside = is_inside(ih, j.h.in);
    const T *x = j.x + (t.n * j.h.in + (inside ? ih : 0)) * j.w.in * j.channels + t.c;
#pragma unroll
    for (int i = 0; i < N; i++) {
#pragma unroll
        for (int k = 0; k < V; k++)
            row[i][k] = 0.0f;
        if (inside & is_inside(iw + i, j.w.in))
            ed_load_vector<V>(row[i], x + (iw + i) * j.channels);
    }
}

/* One row of inputs times one row of the kernel. */
template <int V, int K, int S, int COLUMNS, int N>
__device__ __forceinline__ void add_row(float (&sum)[COLUMNS][V], const float (&row)[N][V],
                                        const float *weights, int channels)
{
#pragma unroll
    for (int k = 0; k < K; k++) {
        float w[V];
        ed_load_vector<V>(w, weights + k * channels);
#pragma unroll
        for (int o = 0; o < COLUMNS; o++)
#pragma unroll
            for (int i = 0; i < V; i++)
                sum[o][i] = fmaf(row[o * S + k][i], w[i], sum[o][i]);
    }
}

template <typename T, int V, int K, int S, int ROWS, int COLUMNS>
__global__ void __launch_bounds__(THREADS) depthwise_tile(job<T> j)
{
    enum { IN_ROWS = (ROWS - 1) * S + K, IN_COLUMNS = (COLUMNS - 1) * S + K };
    /* on their way to the posts, whose code would be long if it were there for each output */
    __shared__ alignas(16) float slot[ROWS * COLUMNS][THREADS][V];
    uint32_t at = blockIdx.x * THREADS + threadIdx.x;
    if (at >= j.tiles)
        return;
    tile t = tile_of<V, ROWS, COLUMNS>(at, j);
    float sum[ROWS][COLUMNS][V], bias[V];
    load_bias<V>(bias, j, t.c);
#pragma unroll
    for (int o = 0; o < ROWS * COLUMNS; o++)
#pragma unroll
        for (int i = 0; i < V; i++)
            sum[o / COLUMNS][o % COLUMNS][i] = bias[i];
#pragma unroll
    for (int r = 0; r < IN_ROWS; r++) {
        float row[IN_COLUMNS][V];
        load_row<V>(row, j, t, t.oh * S - j.h.pad + r, t.ow * S - j.w.pad);
#pragma unroll
        for (int o = 0; o < ROWS; o++)
            if (r - o * S >= 0 && r - o * S < K)
                add_row<V, K, S, COLUMNS>(
                    sum[o], row, j.weights + (r - o * S) * K * j.channels + t.c, j.channels);
    }
#pragma unroll
    for (int o = 0; o < ROWS * COLUMNS; o++)
        ed_store_vector<V>(slot[o][threadIdx.x], sum[o / COLUMNS][o % COLUMNS]);
#pragma unroll 1
    for (int o = 0; o < ROWS * COLUMNS; o++) {
        int oh = t.oh + o / COLUMNS, ow = t.ow + o % COLUMNS;
        float v[V];
        ed_load_vector<V>(v, slot[o][threadIdx.x]);
        if (oh < j.h.out && ow < j.w.out)
            finish<V>(v, j, t, oh, ow);
    }
}

/* ---- any kernel ---- */
template <typename T, int V> __global__ void __launch_bounds__(THREADS) depthwise_any(job<T> j)
{
    uint32_t at = blockIdx.x * THREADS + threadIdx.x;
    if (at >= j.tiles)
        return;
    tile t = tile_of<V, 1, 1>(at, j);
    const T *x = j.x + t.n * j.h.in * j.w.in * j.channels + t.c;
    float sum[V];
    load_bias<V>(sum, j, t.c);
    for (int kh = 0; kh < j.h.kernel; kh++) {
        int ih = t.oh * j.h.stride - j.h.pad + kh * j.h.dilation;
        if (!is_inside(ih, j.h.in))
            continue;
#pragma unroll 4
        for (int kw = 0; kw < j.w.kernel; kw++) {
            int iw = t.ow * j.w.stride - j.w.pad + kw * j.w.dilation;
            float in[V] = {}, w[V];
            if (is_inside(iw, j.w.in))
                ed_load_vector<V>(in, x + (ih * j.w.in + iw) * j.channels);
            ed_load_vector<V>(w, j.weights + (kh * j.w.kernel + kw) * j.channels + t.c);
#pragma unroll
            for (int i = 0; i < V; i++)
                sum[i] = fmaf(in[i], w[i], sum[i]);
        }
    }
    finish<V>(sum, j, t, t.oh, t.ow);
}

/* ---- host: which kernel, and samples in portions whose tiles a 32-bit number counts ---- */
template <typename T> using kernel_of = void (*)(job<T>);

/* A kernel and the outputs that a thread of it computes. */
template <typename T> struct choice {
    kernel_of<T> kernel;
    int channels, rows, columns;
};

template <typename T, int V> choice<T> choose_tile(const ed_depthwise *d)
{
    int k = d->h.kernel, s = d->h.stride;
    bool square = d->w.kernel == k && d->w.stride == s;
    bool dense = d->h.dilation == 1 && d->w.dilation == 1;
    if (!square || !dense)
        return {};
    if (k == 3 && s == 1)
        return { depthwise_tile<T, V, 3, 1, 2, 4>, V, 2, 4 };
    if (k == 3 && s == 2)
        return { depthwise_tile<T, V, 3, 2, 2, 2>, V, 2, 2 };
    if (k == 5 && s == 1)
        return { depthwise_tile<T, V, 5, 1, 2, 4>, V, 2, 4 };
    if (k == 5 && s == 2)
        return { depthwise_tile<T, V, 5, 2, 2, 2>, V, 2, 2 };
    if (k == 7 && s == 1)
        return { depthwise_tile<T, V, 7, 1, 2, 7>, V, 2, 7 };
    return {};
}

template <typename T> choice<T> choose(const ed_depthwise *d)
{
    choice<T> c = {};
    if (d->channels % 4 == 0)
        c = choose_tile<T, 4>(d);
    else if (d->channels % 2 == 0)
        c = choose_tile<T, 2>(d);
    if (c.kernel)
        return c;
    if (d->channels % 4 == 0)
        return { depthwise_any<T, 4>, 4, 1, 1 };
    return { depthwise_any<T, 1>, 1, 1, 1 };
}

template <typename T> int start(job<T> j, const ed_depthwise *d, cudaStream_t stream)
{
    choice<T> c = choose<T>(d);
    j.groups.set(d->channels / c.channels);
    j.columns.set((d->w.out + c.columns - 1) / c.columns);
    j.rows.set((d->h.out + c.rows - 1) / c.rows);
    int64_t each = (int64_t)j.groups.divisor * j.columns.divisor * j.rows.divisor;
    int64_t most = INT_MAX / each;
    int64_t in = (int64_t)d->h.in * d->w.in * d->channels;
    int64_t out = (int64_t)d->h.out * d->w.out * d->channels;
    for (int64_t left = d->n; left > 0; left -= most) {
        int64_t samples = left < most ? left : most;
        j.tiles = (uint32_t)(samples * each);
        c.kernel<<<(j.tiles + THREADS - 1) / THREADS, THREADS, 0, stream>>>(j);
        cudaError_t rc = cudaGetLastError();
        if (rc != cudaSuccess)
            return (int)rc;
        j.x += samples * in;
        j.y += samples * out;
        j.residual += j.residual ? samples * out : 0;
    }
    return cudaSuccess;
}

template <typename T>
int launch(void *y, const void *x, const float *weights, const float *bias, const void *residual,
           const ed_cuda_posts *posts, const ed_depthwise *d, cudaStream_t stream)
{
    job<T> j = {};
    j.y = (T *)y;
    j.x = (const T *)x;
    j.residual = (const T *)residual;
    j.weights = weights;
    j.bias = bias;
    j.posts = *posts;
    j.h = d->h;
    j.w = d->w;
    j.channels = d->channels;
    return start(j, d, stream);
}

} // namespace

extern "C" int ed_cuda_conv_depthwise(void *y, const void *x, const float *w, const float *bias,
                                      const void *residual, const ed_cuda_posts *posts,
                                      const ed_depthwise *d, ed_stream stream)
{
    if (d->n == 0 || d->channels == 0 || d->h.out == 0 || d->w.out == 0)
        return cudaSuccess;
    return d->bf16 ? launch<__nv_bfloat16>(y, x, w, bias, residual, posts, d, stream)
                   : launch<float>(y, x, w, bias, residual, posts, d, stream);
}
