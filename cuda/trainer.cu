/*
 * The optimizer on the device: one launch for all parameters, the formulas and, but for the order
 * of the sums over LSQ's gradients and the norm, the bits of qat/optimizer.c and weight_quant.c.
 *
 * A step: sums of squares of all gradients in parts; one block makes the norm, the factor, and
 * finds a gradient that is not finite; then blocks update their channels, find the largest weight
 * of each, and quantize them while the weights are in the cache. All sums are made in a fixed
 * order.
 */
#include "trainer.h"
#include "vectors.cuh"

namespace
{

enum { THREADS = ED_WORK_THREADS, LANES = ED_WORK_LANES, ROWS = THREADS / LANES };

/* ---- the norm ---- */
__global__ void __launch_bounds__(THREADS)
    squares_kernel(const __grid_constant__ ed_trainer_state s)
{
    for (int64_t k = blockIdx.x; k < s.n_parts; k += gridDim.x) {
        const ed_trainer_work part = s.parts[k];
        const float *g = s.params[part.param].gradient;
        double sum = 0;
        for (int64_t i = part.begin + threadIdx.x; i < part.end; i += THREADS)
            sum += (double)g[i] * (double)g[i];
        sum = ed_team_sum<THREADS>(sum);
        if (threadIdx.x == 0)
            s.squares[k] = sum;
    }
}

/* Of one parameter, in the order of its parts. */
__device__ double squares_of(const ed_trainer_state &s, int64_t param)
{
    double sum = 0;
    for (int64_t k = s.params[param].first; k < s.params[param].end; k++)
        sum += s.squares[k];
    return sum;
}

/* One block. */
__global__ void __launch_bounds__(THREADS) factor_kernel(const __grid_constant__ ed_trainer_state s)
{
    __shared__ double sums[THREADS];
    const ed_trainer_update u = *s.update;
    double total = 0;
    int64_t bad = -1;
    for (int64_t begin = 0; begin < s.n; begin += THREADS) {
        const int64_t mine = begin + threadIdx.x;
        sums[threadIdx.x] = 0;
        if (mine < s.n && s.params[mine].gradient) {
            const double own = u.mean * s.params[mine].gradient_factor;
            const double squares = squares_of(s, mine);
            sums[threadIdx.x] = isfinite(squares) ? squares * own * own : squares;
        }
        __syncthreads();
        for (int i = 0; threadIdx.x == 0 && i < THREADS; i++) {
            total += sums[i];
            bad = bad < 0 && !isfinite(sums[i]) ? begin + i : bad;
        }
        __syncthreads();
    }
    if (threadIdx.x != 0)
        return;
    const double norm = sqrt(total);
    s.result->squares = total;
    s.result->factor = u.mean * (u.clip > 0.0 && norm > u.clip ? u.clip / norm : 1.0);
    s.result->bad_gradient = bad;
    s.result->bad_weight = ~0ull;
}

/* ---- the optimizers, for one element: the new weight ---- */
template <bool ADAMW>
__device__ __forceinline__ float updated(float w, float g, float *const *slot, int64_t at,
                                         const ed_trainer_numbers &k)
{
    if (ADAMW) {
        const float mean = k.beta1 * slot[0][at] + k.rest1 * g;
        const float square = k.beta2 * slot[1][at] + k.rest2 * (g * g);
        slot[0][at] = mean;
        slot[1][at] = square;
        return k.keep * w - k.rate * mean / (sqrtf(square) * k.root + k.epsilon);
    }
    const float d = g + k.decay * w, sum = k.momentum * slot[0][at] + d;
    slot[0][at] = sum;
    return w - k.rate * (d + k.momentum * sum);
}

/* ---- quantization ---- */
/* rne(x / scale), beyond [lo, hi] some integer beyond it; NaN is below. */
__device__ __forceinline__ float level_of(float x, float scale, float lo, float hi)
{
    const float magic = 12582912.0f;
    float v = x / scale;
    v = v > lo - 1.0f ? v : lo - 1.0f;
    v = v < hi + 1.0f ? v : hi + 1.0f;
    return (v + magic) - magic;
}

__device__ __forceinline__ float quantized(float x, float scale, float lo, float hi)
{
    float q = level_of(x, scale, lo, hi);
    q = q > lo ? q : lo;
    return (q < hi ? q : hi) * scale;
}

/* base/scale.h */
__device__ float scale_for(double amax, float qmax)
{
    const double least = 0x1p-24, most = 3.40282346638528859812e+38;
    const double floored = amax >= least ? amax : least;
    return (float)((floored < most ? floored : most) / (double)qmax);
}

/* ---- a channel ---- */
/* What an update needs to know; MODE: no gradient, or one, by either optimizer. */
enum { QUANTIZE, SGD, ADAMW };

struct channel_sums {
    uint32_t largest; /* |w| as bits, which are in the order of the numbers */
    double scale;     /* of LSQ's gradient */
};

/* Update element `at`; the largest weight, LSQ's sum. */
template <int MODE>
__device__ __forceinline__ void update_one(channel_sums *c, const ed_trainer_param &p, int64_t at,
                                           float scale, float factor, const ed_trainer_numbers &k)
{
    float w = p.master[at];
    if (MODE != QUANTIZE) {
        const float g = p.gradient[at], q = level_of(w, scale, p.lo, p.hi);
        const bool inside = q >= p.lo && q <= p.hi;
        if (p.scaling == ED_TRAINER_LSQ) {
            const float slope = inside ? q - w / scale : q < p.lo ? p.lo : p.hi;
            c->scale += (double)g * (double)slope;
        }
        w = updated<MODE == ADAMW>(w, inside ? g * factor : 0.0f, p.slot, at, k);
        p.master[at] = w;
    }
    c->largest = max(c->largest, __float_as_uint(w) & 0x7fffffffu);
}

__device__ void report_bad(const ed_trainer_state &s, int param, int64_t channel)
{
    atomicMin(&s.result->bad_weight, (unsigned long long)param << 32 | (unsigned long long)channel);
}

/* The channel's new scale, by one thread. */
template <int MODE>
__device__ float next_scale(const ed_trainer_state &s, int param, int64_t channel,
                            const channel_sums &c, float factor, const ed_trainer_numbers &k)
{
    const ed_trainer_param &p = s.params[param];
    const float old = p.scale[channel], amax = __uint_as_float(c.largest);
    float scale = old;
    if (!isfinite(amax))
        report_bad(s, param, channel);
    else if (p.scaling == ED_TRAINER_ABSMAX)
        scale = scale_for((double)amax, p.hi);
    if (MODE != QUANTIZE && p.scaling == ED_TRAINER_LSQ) {
        const float g = (float)(c.scale * ((double)factor / p.lsq_root));
        scale = updated<MODE == ADAMW>(old, g, p.scale_slot, channel, k);
        if (!isfinite(scale)) {
            report_bad(s, param, channel);
            scale = old;
        }
        const float least = scale_for(0.0, p.hi);
        scale = scale > least ? scale : least;
    }
    p.scale[channel] = scale;
    return scale;
}

/* A channel by TEAM threads; every one of them gets here. */
template <int MODE, int TEAM>
__device__ void team_channel(const ed_trainer_state &s, int param, int64_t channel, float factor)
{
    const ed_trainer_param &p = s.params[param];
    const int lane = threadIdx.x % TEAM;
    const int64_t each = p.outer * p.inner;
    const ed_trainer_numbers &k = s.update->of[p.decay ? ED_NUMBERS_DECAY : ED_NUMBERS_PLAIN];
    float scale = p.scale[channel];
    channel_sums c = { 0, 0.0 };
    for (int64_t i = lane; i < each; i += TEAM) {
        const int64_t o = p.outer == 1 ? 0 : i / p.inner;
        update_one<MODE>(&c, p, (o * p.channels + channel) * p.inner + (i - o * p.inner), scale,
                         factor, k);
    }
    /* as double: exact for 31 bits */
    c.largest = (uint32_t)ed_team_all<TEAM>((double)c.largest,
                                            [](double a, double b) { return a > b ? a : b; });
    if (p.scaling == ED_TRAINER_LSQ)
        c.scale = ed_team_sum<TEAM>(c.scale);
    double next = 0.0; /* of one thread, for all: the others add 0 */
    if (lane == 0)
        next =
            (double)next_scale<MODE>(s, param, channel, c, factor, s.update->of[ED_NUMBERS_SCALE]);
    scale = (float)ed_team_sum<TEAM>(next);
    for (int64_t i = lane; i < each; i += TEAM) {
        const int64_t o = p.outer == 1 ? 0 : i / p.inner;
        const int64_t at = (o * p.channels + channel) * p.inner + (i - o * p.inner);
        p.out[at] = quantized(p.master[at], scale, p.lo, p.hi);
    }
}

/* Channels [begin, end) of few elements that lie side by side: a lane an element, ROWS rows at a
 * time. */
template <int MODE>
__device__ void column_channels(const ed_trainer_state &s, const ed_trainer_work &work,
                                float factor)
{
    __shared__ uint32_t largest[ROWS][LANES];
    __shared__ double sums[ROWS][LANES];
    __shared__ float scales[LANES];
    const ed_trainer_param &p = s.params[work.param];
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES, inner = (int)p.inner;
    const int width = (int)(work.end - work.begin) * inner;
    const int64_t channel = work.begin + lane / inner;
    const bool mine = lane < width;
    const ed_trainer_numbers &k = s.update->of[p.decay ? ED_NUMBERS_DECAY : ED_NUMBERS_PLAIN];
    const int64_t first = work.begin * inner + lane, step = p.channels * p.inner;
    channel_sums c = { 0, 0.0 };
    for (int64_t o = row; mine && o < p.outer; o += ROWS)
        update_one<MODE>(&c, p, o * step + first, p.scale[channel], factor, k);
    largest[row][lane] = c.largest;
    sums[row][lane] = c.scale;
    __syncthreads();
    if (row == 0 && mine && lane % inner == 0) { /* the first lane of each channel */
        c = { 0, 0.0 };
        for (int l = lane; l < lane + inner; l++)
            for (int r = 0; r < ROWS; r++) {
                c.largest = max(c.largest, largest[r][l]);
                c.scale += sums[r][l];
            }
        scales[lane] =
            next_scale<MODE>(s, work.param, channel, c, factor, s.update->of[ED_NUMBERS_SCALE]);
    }
    __syncthreads();
    for (int64_t o = row; mine && o < p.outer; o += ROWS) {
        const int64_t at = o * step + first;
        p.out[at] = quantized(p.master[at], scales[lane / inner * inner], p.lo, p.hi);
    }
}

/* Elements without scales. */
template <int MODE>
__device__ void elements(const ed_trainer_state &s, const ed_trainer_work &work, double factor)
{
    const ed_trainer_param &p = s.params[work.param];
    const ed_trainer_numbers &k = s.update->of[p.decay ? ED_NUMBERS_DECAY : ED_NUMBERS_PLAIN];
    for (int64_t i = work.begin + threadIdx.x; i < work.end; i += THREADS) {
        float w = p.master[i];
        if (MODE != QUANTIZE) {
            const float g = p.gradient_factor == 1.0
                                ? p.gradient[i] * (float)factor
                                : (float)((double)p.gradient[i] * factor * p.gradient_factor);
            w = updated<MODE == ADAMW>(w, g, p.slot, i, k);
            w = w < p.least ? p.least : w; /* NaN stays */
            p.master[i] = w;
        }
        if (!isfinite(w))
            report_bad(s, work.param, 0);
        if (p.out)
            p.out[i] = w;
    }
}

template <int MODE>
__global__ void __launch_bounds__(THREADS) update_kernel(const __grid_constant__ ed_trainer_state s)
{
    const double factor = MODE == QUANTIZE ? 1.0 : s.result->factor;
    if (MODE != QUANTIZE && s.result->bad_gradient >= 0)
        return;
    for (int64_t i = blockIdx.x; i < s.n_work; i += gridDim.x) {
        const ed_trainer_work work = s.work[i];
        if (MODE != QUANTIZE && !s.params[work.param].gradient)
            continue;
        if (work.kind == ED_WORK_ELEMENTS) {
            elements<MODE>(s, work, factor);
        } else if (work.kind == ED_WORK_BLOCK) {
            team_channel<MODE, THREADS>(s, work.param, work.begin, (float)factor);
        } else if (work.kind == ED_WORK_WARPS) {
            for (int64_t c = work.begin + threadIdx.x / 32; c < work.end; c += THREADS / 32)
                team_channel<MODE, 32>(s, work.param, c, (float)factor);
        } else {
            __syncthreads(); /* the last columns' numbers are used up */
            column_channels<MODE>(s, work, (float)factor);
        }
    }
}

__global__ void clear_result(ed_trainer_result *result)
{
    *result = { 0.0, 1.0, -1, ~0ull };
}

/* ---- steps that are summed ---- */
__global__ void __launch_bounds__(THREADS)
    add_kernel(const __grid_constant__ ed_trainer_state s, bool first)
{
    for (int64_t k = blockIdx.x; k < s.n_parts; k += gridDim.x) {
        const ed_trainer_work part = s.parts[k];
        const ed_trainer_param &p = s.params[part.param];
        for (int64_t i = part.begin + threadIdx.x; p.sum && i < part.end; i += THREADS)
            p.sum[i] = first ? p.step_gradient[i] : p.sum[i] + p.step_gradient[i];
    }
}

} // namespace

extern "C" int ed_cuda_trainer_add(const ed_trainer_state *s, bool first, ed_stream stream)
{
    if (s->n_parts > 0)
        add_kernel<<<ed_blocks(s->n_parts, 1), THREADS, 0, stream>>>(*s, first);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_trainer_step(const ed_trainer_state *s, ed_stream stream)
{
    if (s->n_parts > 0)
        squares_kernel<<<ed_blocks(s->n_parts, 1), THREADS, 0, stream>>>(*s);
    factor_kernel<<<1, THREADS, 0, stream>>>(*s);
    if (s->n_work > 0 && s->adamw)
        update_kernel<ADAMW><<<ed_blocks(s->n_work, 1), THREADS, 0, stream>>>(*s);
    else if (s->n_work > 0)
        update_kernel<SGD><<<ed_blocks(s->n_work, 1), THREADS, 0, stream>>>(*s);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_trainer_quantize(const ed_trainer_state *s, ed_stream stream)
{
    clear_result<<<1, 1, 0, stream>>>(s->result);
    if (s->n_work > 0)
        update_kernel<QUANTIZE><<<ed_blocks(s->n_work, 1), THREADS, 0, stream>>>(*s);
    return (int)cudaGetLastError();
}
