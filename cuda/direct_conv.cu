/*
 * Convolutions of any kind, row-major float32: 1 to 3 spatial dimensions, groups, dilations, any
 * padding, forwards and transposed; for what the library has no kernel for.
 *
 *   Conv            y[n, m, o] = bias[m] + sum over c, k of w[m, c, k] x[n, c, o stride - pad + k
 * dilation] ConvTranspose   y[n, m, o] = bias[m] + sum over c, k of w[c, m, k] x[n, c, i] where o =
 * i stride - pad + k dilation
 *
 * A thread computes FILTERS output channels at up to four positions; a block's threads lie along
 * the innermost axis. The weights are first copied to "rows": [tile of FILTERS channels][row]
 * [FILTERS], a row for each (input channel, tap), which pass through shared memory. Rows are in
 * blocks of BLOCK input channels, in a block tap by tap: where a tap reads is computed once for
 * BLOCK channels, and the taps of a block find its inputs in the cache.
 *
 * Neighbouring outputs of a transposed convolution use different taps. So positions of a row are
 * taken in the order 0, stride, 2 stride, ..., 1, 1 + stride, ...: a warp then skips the taps
 * that none of its outputs has.
 */
#include "vectors.cuh"

#include <climits>

namespace
{

enum { THREADS = 128, FILTERS = 8, BLOCK = 32, CHUNK = 256 };

/* What both kernels need beside the description. */
struct problem {
    ed_direct_conv d;
    int taps, rows; /* rows = channels * taps */
    int tiles;      /* of FILTERS output channels, in one group */
    int x_plane, y_plane;
    int positions; /* of the outputs of a launch: n * y_plane */
    int64_t blocks;
};

/* The (tap, input channel) of a row. */
__device__ void locate(int row, const problem &p, int *tap, int *channel)
{
    int block = row / (p.taps * BLOCK), within = row - block * (p.taps * BLOCK);
    int width = min((int)BLOCK, p.d.channels - block * BLOCK);
    *tap = within / width;
    *channel = block * BLOCK + within - *tap * width;
}

/* ---- weights to rows ---- */
__global__ void pack_rows(float *rows, const float *w, problem p)
{
    const ed_direct_conv &d = p.d;
    int64_t total = (int64_t)d.group * p.tiles * p.rows * FILTERS;
    ED_GRID_LOOP(e, total)
    {
        int64_t r = e / FILTERS, tile = r / p.rows, group = tile / p.tiles;
        int filter = (int)(tile % p.tiles) * FILTERS + (int)(e % FILTERS), tap, channel;
        locate((int)(r % p.rows), p, &tap, &channel);
        int64_t at = d.transposed ? (group * d.channels + channel) * d.filters + filter
                                  : (group * d.filters + filter) * d.channels + channel;
        rows[e] = filter < d.filters ? w[at * p.taps + tap] : 0.0f;
    }
}

/* ---- where outputs lie, and what they read ---- */
/* Position q of a row of outputs in the order of the kernel. */
template <bool TRANSPOSED> __device__ int column(const ed_conv_axis &a, int q)
{
    if (!TRANSPOSED)
        return q;
    int each = a.out / a.stride, longer = a.out % a.stride; /* outputs of a phase */
    int head = longer * (each + 1);
    int phase = q < head ? q / (each + 1) : longer + (q - head) / each;
    int first = q < head ? phase * (each + 1) : head + (phase - longer) * each;
    return phase + (q - first) * a.stride;
}

/* The input that tap k reads along an axis; `from`: where tap 0 does (times stride when
 * transposed). False: none. */
template <bool TRANSPOSED>
__device__ bool source(int *input, const ed_conv_axis &a, int from, int k)
{
    int at = TRANSPOSED ? from - k * a.dilation : from + k * a.dilation;
    *input = TRANSPOSED ? at / a.stride : at;
    return at >= 0 && *input < a.in && (!TRANSPOSED || *input * a.stride == at);
}

struct place {
    int from[3]; /* of tap 0, along each axis */
    int64_t n;   /* sample; -1: no such output */
    int at;      /* in the output plane */
};

template <bool TRANSPOSED> __device__ place place_of(int position, const problem &p)
{
    const ed_conv_axis *a = p.d.axis;
    place out = { { 0, 0, 0 }, -1, 0 };
    if (position >= p.positions)
        return out;
    out.n = position / p.y_plane;
    int rest = position % p.y_plane, row = rest / a[2].out, o[3];
    o[0] = row / a[1].out;
    o[1] = row % a[1].out;
    o[2] = column<TRANSPOSED>(a[2], rest % a[2].out);
    out.at = row * a[2].out + o[2];
    for (int i = 0; i < 3; i++)
        out.from[i] = TRANSPOSED ? o[i] + a[i].pad : o[i] * a[i].stride - a[i].pad;
    return out;
}

/* Element in the input plane that a tap reads; -1: none. */
template <bool TRANSPOSED> __device__ int element(const place &o, int tap, const problem &p)
{
    const ed_conv_axis *a = p.d.axis;
    int row = tap / a[2].kernel, i[3];
    bool inside = o.n >= 0;
    inside &= source<TRANSPOSED>(&i[0], a[0], o.from[0], row / a[1].kernel);
    inside &= source<TRANSPOSED>(&i[1], a[1], o.from[1], row % a[1].kernel);
    inside &= source<TRANSPOSED>(&i[2], a[2], o.from[2], tap - row * a[2].kernel);
    return inside ? (i[0] * a[1].in + i[1]) * a[2].in + i[2] : -1;
}

/* ---- the sum ---- */
/* Add the products of `count` input channels, x_plane elements apart, with their rows. */
template <int P>
__device__ __forceinline__ void add_rows(float (&sum)[P][FILTERS], const float *const (&from)[P],
                                         const bool (&inside)[P], const float4 (*rows)[FILTERS / 4],
                                         int count, int x_plane)
{
#pragma unroll 4
    for (int i = 0; i < count; i++) {
        float x[P], w[FILTERS];
#pragma unroll
        for (int k = 0; k < P; k++)
            x[k] = inside[k] ? from[k][(int64_t)i * x_plane] : 0.0f;
#pragma unroll
        for (int f = 0; f < FILTERS; f += 4) {
            float4 part = rows[i][f / 4];
            w[f] = part.x, w[f + 1] = part.y, w[f + 2] = part.z, w[f + 3] = part.w;
        }
#pragma unroll
        for (int k = 0; k < P; k++)
            if (inside[k]) /* not 0 * w, which is NaN where w is infinite */
#pragma unroll
                for (int f = 0; f < FILTERS; f++)
                    sum[k][f] = fmaf(x[k], w[f], sum[k][f]);
    }
}

/* All rows of a tile of output channels at P positions; x: the group's first channel of sample 0.
 */
template <bool TRANSPOSED, int P>
__device__ void add_all(float (&sum)[P][FILTERS], const place (&out)[P], const float *x,
                        const float4 *rows, const problem &p)
{
    __shared__ float4 chunk[CHUNK][FILTERS / 4];
    int64_t sample = (int64_t)p.d.group * p.d.channels * p.x_plane;
    for (int begin = 0; begin < p.rows; begin += CHUNK) {
        int end = min(begin + CHUNK, p.rows), tap, channel, count;
        __syncthreads(); /* the last chunk is used up */
        for (int i = threadIdx.x; i < (end - begin) * (FILTERS / 4); i += THREADS)
            chunk[i / (FILTERS / 4)][i % (FILTERS / 4)] = rows[(int64_t)begin * (FILTERS / 4) + i];
        __syncthreads();
        for (int row = begin; row < end; row += count) { /* the rows of one tap */
            const float *from[P];
            bool inside[P], any = false;
            locate(row, p, &tap, &channel);
            int width = min((int)BLOCK - channel % BLOCK, p.d.channels - channel);
            count = min(width, end - row);
#pragma unroll
            for (int k = 0; k < P; k++) {
                int at = element<TRANSPOSED>(out[k], tap, p);
                inside[k] = at >= 0;
                any |= inside[k];
                from[k] = inside[k] ? x + out[k].n * sample + (int64_t)channel * p.x_plane + at : x;
            }
            if (any)
                add_rows<P>(sum, from, inside, chunk + (row - begin), count, p.x_plane);
        }
    }
}

template <bool TRANSPOSED, int P>
__global__ void __launch_bounds__(THREADS)
    direct_conv(float *y, const float *x, const float4 *rows, const float *bias, problem p)
{
    const ed_direct_conv &d = p.d;
    for (int64_t b = blockIdx.x; b < p.blocks; b += gridDim.x) {
        int64_t tile = b % ((int64_t)d.group * p.tiles), group = tile / p.tiles;
        int first = (int)(b / ((int64_t)d.group * p.tiles)) * (THREADS * P) + (int)threadIdx.x;
        int filter = (int)(tile % p.tiles) * FILTERS;
        float sum[P][FILTERS];
        place out[P];
#pragma unroll
        for (int k = 0; k < P; k++) {
            out[k] = place_of<TRANSPOSED>(first + k * THREADS, p);
#pragma unroll
            for (int f = 0; f < FILTERS; f++)
                sum[k][f] =
                    bias && filter + f < d.filters ? bias[group * d.filters + filter + f] : 0.0f;
        }
        add_all<TRANSPOSED, P>(sum, out, x + group * d.channels * p.x_plane,
                               rows + tile * p.rows * (FILTERS / 4), p);
#pragma unroll
        for (int k = 0; k < P; k++) {
            float *to =
                y + ((out[k].n * d.group + group) * d.filters + filter) * p.y_plane + out[k].at;
#pragma unroll
            for (int f = 0; f < FILTERS; f++)
                if (out[k].n >= 0 && filter + f < d.filters)
                    to[(int64_t)f * p.y_plane] = sum[k][f];
        }
    }
}

/* ---- host ---- */
problem problem_of(const ed_direct_conv *d)
{
    problem p = {};
    p.d = *d;
    p.taps = p.x_plane = p.y_plane = 1;
    for (const ed_conv_axis &a : d->axis) {
        p.taps *= a.kernel;
        p.x_plane *= a.in;
        p.y_plane *= a.out;
    }
    p.rows = d->channels * p.taps;
    p.tiles = (d->filters + FILTERS - 1) / FILTERS;
    return p;
}

template <bool TRANSPOSED>
int start(float *y, const float *x, const float *rows, const float *bias, problem p,
          cudaStream_t stream)
{
    enum { MANY = 4, FULL = 4 * 132 }; /* blocks that keep the largest chip busy */
    int64_t tiles = (int64_t)p.d.group * p.tiles;
    int64_t blocks = (p.positions + (int64_t)THREADS * MANY - 1) / (THREADS * MANY) * tiles;
    bool many = blocks >= FULL;
    p.blocks = many ? blocks : (p.positions + (int64_t)THREADS - 1) / THREADS * tiles;
    unsigned grid = (unsigned)(p.blocks < INT_MAX ? p.blocks : INT_MAX);
    const float4 *packed = (const float4 *)rows;
    if (many)
        direct_conv<TRANSPOSED, MANY><<<grid, THREADS, 0, stream>>>(y, x, packed, bias, p);
    else
        direct_conv<TRANSPOSED, 1><<<grid, THREADS, 0, stream>>>(y, x, packed, bias, p);
    return (int)cudaGetLastError();
}

/* ---- the gradient of the weights: a block an element ---- */
__global__ void __launch_bounds__(THREADS)
    direct_weight_grad(float *dw, const float *dy, const float *x, problem p)
{
    const ed_direct_conv &d = p.d;
    const int64_t total = (int64_t)d.group * d.filters * p.rows;
    const int64_t count = d.n * p.y_plane; /* products of an element */
    for (int64_t e = blockIdx.x; e < total; e += gridDim.x) {
        const int64_t plane = e / p.taps, filter = plane / d.channels;
        const int tap = (int)(e - plane * p.taps);
        const int64_t channel = filter / d.filters * d.channels + plane % d.channels;
        float sum = 0.0f;
        for (int64_t i = threadIdx.x; i < count; i += THREADS) {
            const int64_t n = i / p.y_plane;
            const int at = (int)(i - n * p.y_plane), row = at / d.axis[2].out;
            place o = { { row / d.axis[1].out, row % d.axis[1].out, at % d.axis[2].out }, n, at };
            for (int k = 0; k < 3; k++)
                o.from[k] = o.from[k] * d.axis[k].stride - d.axis[k].pad;
            const int read = element<false>(o, tap, p);
            if (read >= 0)
                sum = fmaf(dy[(n * d.group * d.filters + filter) * p.y_plane + at],
                           x[(n * d.group * d.channels + channel) * p.x_plane + read], sum);
        }
        sum = ed_team_sum<THREADS>(sum);
        if (threadIdx.x == 0)
            dw[e] = sum;
    }
}

} // namespace

extern "C" int ed_cuda_conv_direct_dw(float *dw, const float *dy, const float *x,
                                      const ed_direct_conv *d, ed_stream stream)
{
    problem p = problem_of(d);
    const int64_t total = (int64_t)d->group * d->filters * p.rows;
    if (total == 0)
        return cudaSuccess;
    direct_weight_grad<<<ed_blocks(total, 1), THREADS, 0, stream>>>(dw, dy, x, p);
    return (int)cudaGetLastError();
}

extern "C" size_t ed_cuda_direct_conv_scratch(const ed_direct_conv *d)
{
    problem p = problem_of(d);
    return (size_t)d->group * p.tiles * p.rows * FILTERS;
}

extern "C" int ed_cuda_conv_direct(float *y, const float *x, const float *w, const float *bias,
                                   float *scratch, const ed_direct_conv *d, ed_stream stream)
{
    problem p = problem_of(d);
    int64_t packed = (int64_t)ed_cuda_direct_conv_scratch(d), samples;
    if (d->n == 0 || p.y_plane == 0 || d->filters == 0)
        return cudaSuccess;
    if (packed > 0)
        pack_rows<<<ed_blocks(packed, 256), 256, 0, stream>>>(scratch, w, p);
    int rc = (int)cudaGetLastError();
    for (int64_t n = 0; rc == cudaSuccess && n < d->n; n += samples) {
        samples = ED_CONV_MOST / p.y_plane; /* positions of a launch are 32-bit numbers */
        samples = samples < d->n - n ? samples : d->n - n;
        p.positions = (int)samples * p.y_plane;
        int64_t x_at = n * d->group * d->channels * p.x_plane;
        int64_t y_at = n * d->group * d->filters * p.y_plane;
        rc = d->transposed ? start<true>(y + y_at, x + x_at, scratch, bias, p, stream)
                           : start<false>(y + y_at, x + x_at, scratch, bias, p, stream);
    }
    return rc;
}
