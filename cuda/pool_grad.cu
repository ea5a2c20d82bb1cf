/*
 * Gradients of MaxPool and AveragePool (ops/pool_grad.c), in NHWC (a thread owns neighbouring
 * channels of one position) and in row-major order (a thread owns one position).
 *
 * A thread adds up what the windows over its position give it, in the order of the windows. For the
 * largest taps a kernel before it writes the place of each window's tap to scratch, as y lies.
 */
#include "grad.h"
#include "units.cuh"
#include "vectors.cuh"

namespace
{

enum { THREADS = 256 };

typedef ed_cuda_pool_axis pool_axis;

/* Positions, or vectors of V channels of them, of one side of the pooling. */
template <typename I> struct points {
    ed_cuda_pool pool;
    ed_divider<I> vectors, axis[3];
    I total;
    int64_t x_plane, y_plane; /* elements of a sample (NHWC), or of a channel */
};

struct point {
    int64_t n; /* sample, or sample and channel */
    int c, at[3];
};

template <int V, bool LAST, typename I>
__device__ __forceinline__ point point_of(I i, const points<I> &p)
{
    point out;
    out.c = LAST ? (int)ed_divide(&i, p.vectors) * V : 0;
    for (int a = 2; a >= 0; a--)
        out.at[a] = (int)ed_divide(&i, p.axis[a]);
    out.n = (int64_t)i;
    return out;
}

__device__ __forceinline__ int place_of(const pool_axis *a, bool out, int d, int h, int w)
{
    const int height = out ? a[1].out : a[1].in, width = out ? a[2].out : a[2].in;
    return (d * height + h) * width + w;
}

/* ---- places of the largest taps ---- */
template <typename T, int V, bool LAST, typename I>
__global__ void __launch_bounds__(THREADS)
    find_places(int *places, const T *x, const __grid_constant__ points<I> p)
{
    const pool_axis *a = p.pool.axis;
    const int across = LAST ? (int)p.pool.channels : 1;
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < p.total;
         i += (I)gridDim.x * blockDim.x) {
        const point o = point_of<V, LAST>(i, p);
        const T *from = x + o.n * p.x_plane + o.c;
        float best[V], v[V];
        int found[V];
#pragma unroll
        for (int k = 0; k < V; k++)
            best[k] = 0.0f, found[k] = -1;
        for (int kd = 0, id = o.at[0] * a[0].stride - a[0].pad; kd < a[0].kernel;
             kd++, id += a[0].dilation) {
            if (id < 0 || id >= a[0].in)
                continue;
            for (int kh = 0, ih = o.at[1] * a[1].stride - a[1].pad; kh < a[1].kernel;
                 kh++, ih += a[1].dilation) {
                if (ih < 0 || ih >= a[1].in)
                    continue;
                for (int kw = 0, iw = o.at[2] * a[2].stride - a[2].pad; kw < a[2].kernel;
                     kw++, iw += a[2].dilation) {
                    if (iw < 0 || iw >= a[2].in)
                        continue;
                    const int place = place_of(a, false, id, ih, iw);
                    ed_load_vector(v, from + (int64_t)place * across);
#pragma unroll
                    for (int k = 0; k < V; k++)
                        if (found[k] < 0 || v[k] > best[k] || (isnan(v[k]) && !isnan(best[k])))
                            best[k] = v[k], found[k] = place;
                }
            }
        }
#pragma unroll
        for (int k = 0; k < V; k++)
            places[(int64_t)i * V + k] = found[k];
    }
}

/* ---- dx ---- */
/* The windows [first, end) along an axis that may have a tap at `at`. */
__device__ __forceinline__ void windows_over(int *first, int *end, const pool_axis &a, int at)
{
    const int last = at + a.pad, reach = (a.kernel - 1) * a.dilation;
    *first = last > reach ? (last - reach + a.stride - 1) / a.stride : 0;
    *end = min(a.out, last / a.stride + 1);
}

/* Window o has a tap at `at`. */
__device__ __forceinline__ bool is_tap(const pool_axis &a, int o, int at)
{
    return (at + a.pad - o * a.stride) % a.dilation == 0;
}

/* Taps of window o that count. */
__device__ __forceinline__ int taps_of(const pool_axis &a, int o, bool include_pad)
{
    const int first = o * a.stride - a.pad, end = include_pad ? a.padded : a.in;
    const int skipped = include_pad || first >= 0 ? 0 : (-first + a.dilation - 1) / a.dilation;
    const int beyond = first >= end ? 0 : (end - first + a.dilation - 1) / a.dilation;
    const int last = beyond < a.kernel ? beyond : a.kernel;
    return last > skipped ? last - skipped : 0;
}

template <typename T, int V, bool LAST, bool AVERAGE, typename I>
__global__ void __launch_bounds__(THREADS)
    spread_kernel(T *dx, const T *dy, const int *places, const __grid_constant__ points<I> p)
{
    const pool_axis *a = p.pool.axis;
    const int across = LAST ? (int)p.pool.channels : 1;
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < p.total;
         i += (I)gridDim.x * blockDim.x) {
        const point x = point_of<V, LAST>(i, p);
        const int me = place_of(a, false, x.at[0], x.at[1], x.at[2]);
        int first[3], end[3];
        float sum[V], g[V];
#pragma unroll
        for (int k = 0; k < V; k++)
            sum[k] = 0.0f;
        for (int k = 0; k < 3; k++)
            windows_over(&first[k], &end[k], a[k], x.at[k]);
        for (int od = first[0]; od < end[0]; od++) {
            for (int oh = first[1]; oh < end[1]; oh++) {
                for (int ow = first[2]; ow < end[2]; ow++) {
                    const int64_t at =
                        x.n * p.y_plane + (int64_t)place_of(a, true, od, oh, ow) * across + x.c;
                    ed_load_vector(g, dy + at);
                    if (AVERAGE) {
                        if (!is_tap(a[0], od, x.at[0]) || !is_tap(a[1], oh, x.at[1]) ||
                            !is_tap(a[2], ow, x.at[2]))
                            continue;
                        const bool pad = p.pool.include_pad;
                        const int64_t count = (int64_t)taps_of(a[0], od, pad) *
                                              taps_of(a[1], oh, pad) * taps_of(a[2], ow, pad);
#pragma unroll
                        for (int k = 0; k < V; k++)
                            sum[k] += g[k] / (float)count;
                    } else {
#pragma unroll
                        for (int k = 0; k < V; k++)
                            sum[k] += places[at + k] == me ? g[k] : 0.0f;
                    }
                }
            }
        }
        ed_store_vector(dx + (int64_t)i * V, sum);
    }
}

/* ---- launchers ---- */
int64_t elements(const ed_cuda_pool *p, bool out)
{
    int64_t n = p->n * p->channels;
    for (int a = 0; a < 3; a++)
        n *= out ? p->axis[a].out : p->axis[a].in;
    return n;
}

template <int V, bool LAST, typename I> points<I> points_of(const ed_cuda_pool *p, bool out)
{
    points<I> s = {};
    s.pool = *p;
    s.vectors.set(LAST ? p->channels / V : 1);
    s.x_plane = s.y_plane = LAST ? p->channels : 1;
    for (int a = 0; a < 3; a++) {
        s.axis[a].set(out ? p->axis[a].out : p->axis[a].in);
        s.x_plane *= p->axis[a].in;
        s.y_plane *= p->axis[a].out;
    }
    s.total = (I)(elements(p, out) / V);
    return s;
}

template <typename T, int V, bool LAST, typename I>
int launch_as(T *dx, const T *dy, const T *x, int *places, const ed_cuda_pool *p, ed_stream stream)
{
    const points<I> to = points_of<V, LAST, I>(p, true), from = points_of<V, LAST, I>(p, false);
    const unsigned blocks = ed_blocks((int64_t)from.total, THREADS);
    if (p->average) {
        spread_kernel<T, V, LAST, true><<<blocks, THREADS, 0, stream>>>(dx, dy, places, from);
        return (int)cudaGetLastError();
    }
    if (to.total > 0)
        find_places<T, V, LAST>
            <<<ed_blocks((int64_t)to.total, THREADS), THREADS, 0, stream>>>(places, x, to);
    spread_kernel<T, V, LAST, false><<<blocks, THREADS, 0, stream>>>(dx, dy, places, from);
    return (int)cudaGetLastError();
}

template <typename T, int V, bool LAST>
int launch(T *dx, const T *dy, const T *x, int *places, const ed_cuda_pool *p, ed_stream stream)
{
    if (ed_is_small(elements(p, false)) && ed_is_small(elements(p, true)))
        return launch_as<T, V, LAST, uint32_t>(dx, dy, x, places, p, stream);
    return launch_as<T, V, LAST, uint64_t>(dx, dy, x, places, p, stream);
}

template <typename T>
int run(void *pdx, const void *pdy, const void *px, int *places, const ed_cuda_pool *p,
        ed_stream stream)
{
    T *dx = static_cast<T *>(pdx);
    const T *dy = static_cast<const T *>(pdy), *x = static_cast<const T *>(px);
    if (elements(p, false) == 0)
        return 0;
    if (!p->channels_last)
        return launch<T, 1, false>(dx, dy, x, places, p, stream);
    if (p->channels % ed_wide<T> == 0)
        return launch<T, ed_wide<T>, true>(dx, dy, x, places, p, stream);
    return launch<T, 1, true>(dx, dy, x, places, p, stream);
}

} // namespace

extern "C" size_t ed_cuda_pool_grad_scratch(const ed_cuda_pool *pool)
{
    return pool->average ? 0 : (size_t)elements(pool, true) * sizeof(int);
}

extern "C" int ed_cuda_pool_grad(void *dx, const void *dy, const void *x, bool bf16,
                                 const ed_cuda_pool *pool, void *scratch, ed_stream stream)
{
    int *places = static_cast<int *>(scratch);
    return bf16 ? run<__nv_bfloat16>(dx, dy, x, places, pool, stream)
                : run<float>(dx, dy, x, places, pool, stream);
}
