/*
 * Gradients of depthwise convolutions, channels last, float32 or bfloat16 storage:
 *
 *   dx[n, ih, iw, c] = sum over kh, kw of w[c, kh, kw] dy[n, oh, ow, c]
 *   dw[c, kh, kw]    = sum over n, oh, ow of dy[n, oh, ow, c] x[n, ih, iw, c]
 *                      where ih = oh stride - pad + kh dilation, iw likewise
 *
 * With a stride of 1, dx is the forward convolution of dy with the taps in the other order and
 * (kernel - 1) dilation - pad as padding.
 *
 * dw: a block has LANES vectors of V channels side by side and ROWS positions under way; each
 * thread holds the sums of all taps of its channels (K > 0), or of one (K = 0: the block's third
 * coordinate). Blocks take parts of the positions and leave their sums in scratch, [part][tap]
 * [channel], from which a last kernel adds them up: always in the same order.
 */
#include "units.cuh"
#include "vectors.cuh"

#include <climits>

namespace
{

enum { THREADS = 256, LANES = 32, ROWS = THREADS / LANES, MOST_PARTS = 1024 };

__device__ __forceinline__ bool is_inside(int at, int size)
{
    return (unsigned)at < (unsigned)size; /* at < 0 is a large number */
}

/* ---- weights ---- */
__global__ void pack_taps(float *to, const float *w, int channels, int taps, bool flip)
{
    ED_GRID_LOOP(i, (int64_t)channels * taps)
    {
        const int tap = (int)(i / channels);
        const int64_t channel = i - (int64_t)tap * channels;
        to[i] = w[channel * taps + (flip ? taps - 1 - tap : tap)];
    }
}

/* ---- dx with any stride: a thread computes V channels of one place ---- */
struct places {
    ed_conv_axis h, w;
    int channels;
    int64_t total; /* vectors of dx */
};

/* The output whose tap k reads `in`; false: there is none. */
__device__ __forceinline__ bool output_of(int *o, const ed_conv_axis &a, int in, int k)
{
    const int at = in + a.pad - k * a.dilation;
    *o = at / a.stride;
    return at >= 0 && *o * a.stride == at && *o < a.out;
}

template <typename T, int V>
__global__ void __launch_bounds__(THREADS)
    spread_kernel(T *dx, const T *dy, const float *w, const __grid_constant__ places p)
{
    const int groups = p.channels / V;
    ED_GRID_LOOP(i, p.total)
    {
        const int64_t point = i / groups, row = point / p.w.in, n = row / p.h.in;
        const int c = (int)(i - point * groups) * V;
        const int iw = (int)(point - row * p.w.in), ih = (int)(row - n * p.h.in);
        const T *from = dy + n * p.h.out * p.w.out * p.channels + c;
        float sum[V] = {};
        for (int kh = 0; kh < p.h.kernel; kh++) {
            int oh, ow;
            if (!output_of(&oh, p.h, ih, kh))
                continue;
            for (int kw = 0; kw < p.w.kernel; kw++) {
                if (!output_of(&ow, p.w, iw, kw))
                    continue;
                float g[V], tap[V];
                ed_load_vector<V>(g, from + ((int64_t)oh * p.w.out + ow) * p.channels);
                ed_load_vector<V>(tap, w + (int64_t)(kh * p.w.kernel + kw) * p.channels + c);
#pragma unroll
                for (int k = 0; k < V; k++)
                    sum[k] = fmaf(g[k], tap[k], sum[k]);
            }
        }
        ed_store_vector<V>(dx + i * V, sum);
    }
}

template <typename T>
int spread(T *dx, const T *dy, const float *w, const ed_depthwise *d, cudaStream_t stream)
{
    const int v = d->channels % 4 == 0 ? 4 : 1;
    places p = { d->h, d->w, d->channels, d->n * d->h.in * d->w.in * (d->channels / v) };
    const unsigned blocks = ed_blocks(p.total, THREADS);
    if (v == 4)
        spread_kernel<T, 4><<<blocks, THREADS, 0, stream>>>(dx, dy, w, p);
    else
        spread_kernel<T, 1><<<blocks, THREADS, 0, stream>>>(dx, dy, w, p);
    return (int)cudaGetLastError();
}

/* ---- dw ---- */
struct sums {
    ed_conv_axis h, w;
    int channels, taps;
    uint32_t positions, chunk; /* of all samples; of a part */
    ed_divider<uint32_t> columns, rows;
};

/* The products of one position: dy times what taps first_h, first_w and the K - 1 that follow read.
 */
template <int V, int K, typename T>
__device__ __forceinline__ void add_taps(float (&acc)[K][K][V], const float (&g)[V], const T *x,
                                         const sums &s, int ih, int iw)
{
#pragma unroll
    for (int kh = 0; kh < K; kh++) {
        const int h = ih + kh * s.h.dilation;
#pragma unroll
        for (int kw = 0; kw < K; kw++) {
            const int w = iw + kw * s.w.dilation;
            float in[V] = {};
            if (is_inside(h, s.h.in) & is_inside(w, s.w.in))
                ed_load_vector<V>(in, x + ((int64_t)h * s.w.in + w) * s.channels);
#pragma unroll
            for (int i = 0; i < V; i++)
                acc[kh][kw][i] = fmaf(g[i], in[i], acc[kh][kw][i]);
        }
    }
}

/* The sums of the block's rows, in the order of the rows. */
template <int V>
__device__ __forceinline__ void leave(float *part, const float (&acc)[V], bool wanted)
{
    __shared__ float shared[ROWS][LANES][V];
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    __syncthreads(); /* the last tap is summed up */
#pragma unroll
    for (int i = 0; i < V; i++)
        shared[row][lane][i] = acc[i];
    __syncthreads();
    if (row != 0 || !wanted)
        return;
#pragma unroll
    for (int i = 0; i < V; i++) {
        float sum = shared[0][lane][i];
        for (int r = 1; r < ROWS; r++)
            sum += shared[r][lane][i];
        part[i] = sum;
    }
}

template <typename T, int V, int K>
__global__ void __launch_bounds__(THREADS)
    sum_kernel(float *parts, const T *dy, const T *x, const __grid_constant__ sums s)
{
    constexpr int SIDE = K > 0 ? K : 1;
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    const int c = ((int)blockIdx.x * LANES + lane) * V;
    const bool wanted = c < s.channels;
    const int tap = K > 0 ? 0 : (int)blockIdx.z, tap_h = tap / s.w.kernel, tap_w = tap % s.w.kernel;
    const uint32_t begin = blockIdx.y * s.chunk;
    const uint32_t end = min(begin + s.chunk, s.positions);
    float acc[SIDE][SIDE][V] = {};

    for (uint32_t at = begin + row; wanted && at < end; at += ROWS) {
        uint32_t n = at;
        const int ow = (int)ed_divide(&n, s.columns), oh = (int)ed_divide(&n, s.rows);
        const T *from = x + (int64_t)n * s.h.in * s.w.in * s.channels + c;
        float g[V];
        ed_load_vector<V>(g, dy + (int64_t)at * s.channels + c);
        add_taps<V, SIDE>(acc, g, from, s, oh * s.h.stride - s.h.pad + tap_h * s.h.dilation,
                          ow * s.w.stride - s.w.pad + tap_w * s.w.dilation);
    }
#pragma unroll
    for (int k = 0; k < SIDE * SIDE; k++)
        leave<V>(parts + ((int64_t)blockIdx.y * s.taps + tap + k) * s.channels + c,
                 acc[k / SIDE][k % SIDE], wanted);
}

__global__ void add_parts(float *dw, const float *parts, int count, int channels, int taps)
{
    const int64_t all = (int64_t)channels * taps;
    ED_GRID_LOOP(i, all)
    {
        const int tap = (int)(i / channels);
        double sum = 0;
        for (int part = 0; part < count; part++)
            sum += (double)parts[part * all + i];
        dw[(i - (int64_t)tap * channels) * taps + tap] = (float)sum;
    }
}

/* Channels of a thread: more than one where the lanes of a block still have something to do. */
int lanes_of(const ed_depthwise *d)
{
    return d->channels % 2 == 0 && d->channels >= 2 * LANES ? 2 : 1;
}

/* Square kernels whose sums fit the registers. */
int side_of(const ed_depthwise *d)
{
    const int k = d->h.kernel;
    return k == d->w.kernel && (k == 3 || k == 5) ? k : 0;
}

int64_t positions_of(const ed_depthwise *d)
{
    return d->n * d->h.out * d->w.out;
}

/* Enough blocks for the largest chip, and each thread some positions. */
int parts_of(const ed_depthwise *d)
{
    const int64_t enough = 4 * 132, least = 8 * ROWS, across = (int64_t)LANES * lanes_of(d);
    const int64_t tiles = (d->channels + across - 1) / across, positions = positions_of(d);
    int64_t parts = (enough + tiles - 1) / tiles, most = (positions + least - 1) / least;
    parts = parts < most ? parts : most;
    parts = parts < MOST_PARTS ? parts : (int64_t)MOST_PARTS;
    return (int)(parts < 1 ? 1 : parts);
}

template <typename T, int V>
void start(float *parts, const T *dy, const T *x, const sums &s, int side, dim3 grid,
           cudaStream_t stream)
{
    if (side == 3)
        sum_kernel<T, V, 3><<<grid, THREADS, 0, stream>>>(parts, dy, x, s);
    else if (side == 5)
        sum_kernel<T, V, 5><<<grid, THREADS, 0, stream>>>(parts, dy, x, s);
    else
        sum_kernel<T, V, 0><<<grid, THREADS, 0, stream>>>(parts, dy, x, s);
}

template <typename T>
int weight_grad(float *dw, const T *dy, const T *x, float *parts, const ed_depthwise *d,
                cudaStream_t stream)
{
    const int count = parts_of(d), v = lanes_of(d), side = side_of(d);
    sums s = {};
    s.h = d->h;
    s.w = d->w;
    s.channels = d->channels;
    s.taps = d->h.kernel * d->w.kernel;
    s.positions = (uint32_t)positions_of(d);
    s.chunk = (s.positions + (uint32_t)count - 1) / (uint32_t)count;
    s.columns.set(d->w.out);
    s.rows.set(d->h.out);
    const dim3 grid((unsigned)((d->channels + LANES * v - 1) / (LANES * v)), (unsigned)count,
                    side ? 1 : (unsigned)s.taps);
    if (v == 2)
        start<T, 2>(parts, dy, x, s, side, grid, stream);
    else
        start<T, 1>(parts, dy, x, s, side, grid, stream);
    const int64_t all = (int64_t)s.channels * s.taps;
    add_parts<<<ed_blocks(all, THREADS), THREADS, 0, stream>>>(dw, parts, count, s.channels,
                                                               s.taps);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int ed_cuda_depthwise_pack(float *to, const float *w, const ed_depthwise *d, bool flip,
                                      ed_stream stream)
{
    const int64_t total = (int64_t)ed_cuda_depthwise_taps(d);
    if (total == 0)
        return cudaSuccess;
    pack_taps<<<ed_blocks(total, THREADS), THREADS, 0, stream>>>(to, w, d->channels,
                                                                 d->h.kernel * d->w.kernel, flip);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_depthwise_dx(void *dx, const void *dy, const float *w, float *scratch,
                                    const ed_depthwise *d, ed_stream stream)
{
    const bool forward = d->h.stride == 1 && d->w.stride == 1;
    if (d->n == 0 || d->channels == 0 || d->h.in == 0 || d->w.in == 0)
        return cudaSuccess;
    int rc = ed_cuda_depthwise_pack(scratch, w, d, forward, stream);
    if (rc != cudaSuccess)
        return rc;
    if (!forward)
        return d->bf16 ? spread((__nv_bfloat16 *)dx, (const __nv_bfloat16 *)dy, scratch, d, stream)
                       : spread((float *)dx, (const float *)dy, scratch, d, stream);
    const ed_cuda_posts none = {};
    ed_depthwise back = *d;
    for (ed_conv_axis *a : { &back.h, &back.w }) {
        const int in = a->in;
        a->in = a->out;
        a->out = in;
        a->pad = (a->kernel - 1) * a->dilation - a->pad;
    }
    return ed_cuda_conv_depthwise(dx, dy, scratch, nullptr, nullptr, &none, &back, stream);
}

extern "C" size_t ed_cuda_depthwise_dw_scratch(const ed_depthwise *d)
{
    return (size_t)parts_of(d) * ed_cuda_depthwise_taps(d) * sizeof(float);
}

extern "C" int ed_cuda_depthwise_dw(float *dw, const void *dy, const void *x, void *scratch,
                                    const ed_depthwise *d, ed_stream stream)
{
    float *parts = (float *)scratch;
    return d->bf16 ? weight_grad(dw, (const __nv_bfloat16 *)dy, (const __nv_bfloat16 *)x, parts, d,
                                 stream)
                   : weight_grad(dw, (const float *)dy, (const float *)x, parts, d, stream);
}
