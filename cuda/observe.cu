/*
 * Observers: min, max, their exponential averages and the histogram of |x|, one value a launch.
 *
 *   bin of x = floor(|x| bins / R),  R = 2^e the least power of two above every |x| so far
 *
 * The counts are those of src/calib/observer.c, to the last one. The kernel counts with the R of
 * the batches before, while it looks for the batch's extremes; the block that is through last puts
 * the batch into the observer. When the batch reached R, that block doubles R as often as needed,
 * throws the batch's counts away and moves the observer's to their new bins; then the second launch
 * of the same kernel, which otherwise ends at once, counts the batch anew.
 *
 * A block counts in shared memory. Where there is room, neighbouring threads use different copies
 * of a bin; zeros (half of what follows a ReLU) and runs of one bin are gathered in registers, so
 * that no content of the data makes the counters a queue.
 */
#include "launch.cuh"

#include <math.h>

namespace
{

enum {
    THREADS = 512,
    BLOCKS = 2,   /* of a multiprocessor */
    LOADS = 4,    /* of 16 bytes that a thread has under way */
    WORDS = 8192, /* counters of a block: [bins][copies] */
};
const int64_t MOST = (int64_t)1 << 30; /* elements of a block: its counters have 32 bits */

/* The bits of a float as an unsigned number that sorts like the float, and back. */
__device__ unsigned key_of(float x)
{
    int bits = __float_as_int(x);
    return (unsigned)bits ^ ((unsigned)(bits >> 31) >> 1) ^ 0x80000000u;
}

__device__ float from_key(unsigned key)
{
    int bits = (int)(key ^ 0x80000000u);
    return __int_as_float((int)((unsigned)bits ^ ((unsigned)(bits >> 31) >> 1)));
}

/* What a 16-byte load brought, as N floats. */
template <typename T> struct packed;
template <> struct packed<float> {
    enum { N = 4 };
    static __device__ void open(float *x, const uint4 &v)
    {
        x[0] = __uint_as_float(v.x);
        x[1] = __uint_as_float(v.y);
        x[2] = __uint_as_float(v.z);
        x[3] = __uint_as_float(v.w);
    }
};
template <> struct packed<__nv_bfloat16> {
    enum { N = 8 };
    static __device__ void open(float *x, const uint4 &v)
    {
        const unsigned pair[4] = { v.x, v.y, v.z, v.w };
        for (int i = 0; i < 4; i++) {
            x[2 * i] = __uint_as_float(pair[i] << 16);
            x[2 * i + 1] = __uint_as_float(pair[i] & 0xffff0000u);
        }
    }
};

/* What one thread sees. With SHARED the block's counters are in shared memory, else `batch`. */
template <bool SHARED> struct counter {
    unsigned *local;           /* this thread's copy of bin 0 */
    unsigned long long *batch; /* [bins] */
    unsigned bins, copies;
    float a, b; /* a b = bins / R */
    unsigned zeros, run, run_bin, nonfinite;
    float hi, lo;

    /* Two factors because bins / R of tiny ranges is no float. While only zeros were seen any
     * factor serves: what is not in bin 0 reaches the range. */
    __device__ void begin(double range)
    {
        double factor = range > 0.0 ? bins / range : 1.0;
        double first = factor > 0x1p100 ? 0x1p100 : factor;
        a = (float)first;
        b = (float)(factor / first);
        zeros = run = run_bin = nonfinite = 0;
        hi = -INFINITY;
        lo = INFINITY;
    }

    __device__ void add(unsigned bin, unsigned n)
    {
        if (SHARED)
            atomicAdd(local + bin * copies, n);
        else
            atomicAdd(batch + bin, (unsigned long long)n);
    }

    /* Rounding 2^23 + t down leaves floor(t) in the low bits. What is at or above the range, NaN
     * and infinity give a number >= bins. */
    __device__ unsigned bin_of(float x) const
    {
        return __float_as_uint(__fmaf_rd(fabsf(x) * a, b, 0x1p23f)) - 0x4b000000u;
    }

    __device__ void look(float x)
    {
        if (fabsf(x) < INFINITY) {
            hi = fmaxf(hi, x);
            lo = fminf(lo, x);
        } else {
            nonfinite++;
        }
    }

    __device__ void count(unsigned bin)
    {
        zeros += bin == 0;
        if (bin - 1 < bins - 1)
            add(bin, 1);
    }

    __device__ void one(float x)
    {
        look(x);
        count(bin_of(x));
    }

    __device__ void end_run()
    {
        if (run && run_bin < bins)
            add(run_bin, run);
        run = 0;
    }

    __device__ void four(const float *x)
    {
        unsigned k[4];
        bool finite = true;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            finite &= fabsf(x[i]) < INFINITY;
            k[i] = bin_of(x[i]);
        }
        if (finite) {
            hi = fmaxf(fmaxf(hi, x[0]), fmaxf(x[1], fmaxf(x[2], x[3])));
            lo = fminf(fminf(lo, x[0]), fminf(x[1], fminf(x[2], x[3])));
        } else {
            for (int i = 0; i < 4; i++)
                look(x[i]);
        }
        if (((k[0] ^ k[1]) | (k[0] ^ k[2]) | (k[0] ^ k[3])) == 0) {
            if (k[0] != run_bin) {
                end_run();
                run_bin = k[0];
            }
            run += 4;
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                count(k[i]);
        }
    }
};

/* This block's share of the data; the elements before and behind the aligned ones are block 0's.
 * From the end to the beginning: the kernel before wrote the end last, so it is still in the cache,
 * and the one that follows finds the beginning there. */
template <typename T, bool SHARED>
__device__ void count_all(counter<SHARED> &c, const T *data, int64_t n)
{
    enum { N = packed<T>::N };
    int64_t head = (int64_t)((0 - (uintptr_t)data) % 16 / sizeof(T));
    head = head < n ? head : n;
    const uint4 *v = (const uint4 *)(data + head);
    int64_t vectors = (n - head) / N, rest = head + vectors * N;
    const int64_t chunk = THREADS * LOADS;
    for (int64_t j = (vectors + chunk - 1) / chunk - 1 - blockIdx.x; j >= 0; j -= gridDim.x) {
        int64_t at = j * chunk + threadIdx.x;
        uint4 got[LOADS];
#pragma unroll
        for (int k = 0; k < LOADS; k++)
            if (at + k * THREADS < vectors)
                got[k] = __ldg(v + at + k * THREADS);
#pragma unroll
        for (int k = 0; k < LOADS; k++) {
            if (at + k * THREADS >= vectors)
                continue;
            float x[N];
            packed<T>::open(x, got[k]);
#pragma unroll
            for (int i = 0; i < N; i += 4)
                c.four(x + i);
        }
    }
    if (blockIdx.x == 0 && threadIdx.x < head)
        c.one(ed_load(data, threadIdx.x));
    if (blockIdx.x == 0 && threadIdx.x < n - rest)
        c.one(ed_load(data, rest + threadIdx.x));
}

/* The block's counters into the batch's. */
__device__ void merge_block(const ed_cuda_observed &o, const unsigned *counters, unsigned copies)
{
    for (unsigned k = threadIdx.x; k < o.bins; k += THREADS) {
        unsigned sum = 0;
        for (unsigned c = 0; c < copies; c++) /* threads start in different banks */
            sum += counters[k * copies + ((c + k) & (copies - 1))];
        if (sum)
            atomicAdd(&o.batch[k], (unsigned long long)sum);
    }
}

/* True in the block that comes here last, which sees what all others wrote. */
__device__ bool is_last_block(unsigned *blocks)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        last = atomicAdd(blocks, 1u) == gridDim.x - 1;
    __syncthreads();
    __threadfence();
    return last;
}

/* Take the batch's extremes over. Returns -1, or when the batch reached the range: how often it
 * doubled. One thread. */
__device__ int take_extremes(const ed_cuda_observed &o, int64_t n)
{
    ed_cuda_seen s = *o.seen;
    ed_cuda_tally *t = o.tally;
    unsigned long long bad = __ldcg(&t->nonfinite), finite = (unsigned long long)n - bad;
    /* adding 0 makes -0 to 0 */
    double hi = (double)from_key(__ldcg(&t->highest)) + 0.0;
    double lo = 0.0 - (double)from_key(__ldcg(&t->lowest));
    double most = finite ? fmax(-lo, hi) : 0.0, range = s.range;
    bool grows = most > 0.0 && most >= range, first = s.total == 0;
    *t = { 0, 0, 0, grows, 0 };
    if (finite) {
        s.min = first || lo < s.min ? lo : s.min;
        s.max = first || hi > s.max ? hi : s.max;
        s.ema_min = first ? lo : (1.0 - o.ema) * s.ema_min + o.ema * lo;
        s.ema_max = first ? hi : (1.0 - o.ema) * s.ema_max + o.ema * hi;
    }
    if (grows) {
        int exponent;
        frexp(most, &exponent);
        s.range = ldexp(1.0, exponent);
    }
    s.total += finite;
    s.nonfinite += bad;
    *o.seen = s;
    /* of a range of 0 only bin 0 counts, which stays; bins have at most 16 bits */
    return !grows ? -1 : range > 0.0 ? min(ilogb(s.range / range), 31) : 0;
}

/* The batch into the observer, by one block. */
__device__ void finish(const ed_cuda_observed &o, int64_t n, bool second)
{
    __shared__ int doublings;
    if (threadIdx.x == 0) {
        doublings = second ? -1 : take_extremes(o, n);
        o.tally->blocks = 0;
    }
    __syncthreads();
    if (doublings < 0) {
        for (unsigned k = threadIdx.x; k < o.bins; k += THREADS) {
            unsigned long long count = __ldcg(&o.batch[k]);
            if (count) {
                o.counts[k] += count;
                o.batch[k] = 0;
            }
        }
        return;
    }
    for (unsigned k = threadIdx.x; k < o.bins; k += THREADS)
        o.batch[k] = 0;
    __syncthreads();
    /* in their new bins the observer's counts wait with those of the second pass */
    for (unsigned k = threadIdx.x; k < o.bins; k += THREADS) {
        unsigned long long count = o.counts[k];
        if (count) {
            o.counts[k] = 0;
            atomicAdd(&o.batch[k >> doublings], count);
        }
    }
}

template <typename T, bool SHARED>
__global__ void __launch_bounds__(THREADS, BLOCKS)
    observe(const ed_cuda_observed o, const T *data, int64_t n, bool second)
{
    __shared__ unsigned counters[SHARED ? WORDS : 1], highest, lowest, nonfinite;
    if (second && !o.tally->again)
        return;
    unsigned copies = SHARED ? WORDS / o.bins : 1;
    copies = copies < 32 ? copies : 32;
    if (SHARED)
        for (unsigned i = threadIdx.x; i < o.bins * copies; i += THREADS)
            counters[i] = 0;
    if (threadIdx.x == 0)
        highest = lowest = nonfinite = 0;
    counter<SHARED> c = { counters + (threadIdx.x & (copies - 1)), o.batch, o.bins, copies };
    c.begin(o.seen->range);
    __syncthreads();

    count_all(c, data, n);
    c.end_run();
    unsigned zeros = __reduce_add_sync(~0u, c.zeros), bad = __reduce_add_sync(~0u, c.nonfinite);
    unsigned most = __reduce_max_sync(~0u, key_of(c.hi));
    unsigned least = __reduce_max_sync(~0u, key_of(-c.lo));
    if (threadIdx.x % 32 == 0) {
        if (zeros)
            c.add(0, zeros);
        atomicAdd(&nonfinite, bad);
        atomicMax(&highest, most);
        atomicMax(&lowest, least);
    }
    __syncthreads();
    if (SHARED)
        merge_block(o, counters, copies);
    if (threadIdx.x == 0 && !second) {
        if (nonfinite)
            atomicAdd(&o.tally->nonfinite, (unsigned long long)nonfinite);
        atomicMax(&o.tally->highest, highest);
        atomicMax(&o.tally->lowest, lowest);
    }
    if (is_last_block(&o.tally->blocks))
        finish(o, n, second);
}

template <typename T, bool SHARED>
void launch(const ed_cuda_observed &o, const void *data, int64_t n, unsigned blocks,
            cudaStream_t stream)
{
    observe<T, SHARED><<<blocks, THREADS, 0, stream>>>(o, (const T *)data, n, false);
    observe<T, SHARED><<<blocks, THREADS, 0, stream>>>(o, (const T *)data, n, true);
}

template <typename T>
void launch(const ed_cuda_observed &o, const void *data, int64_t n, int multiprocessors,
            cudaStream_t stream)
{
    /* a block's counters are cleared and merged: worth it for four rounds of loads or more */
    int64_t part = 4 * THREADS * LOADS * packed<T>::N, blocks = (n + part - 1) / part;
    int64_t full = (int64_t)multiprocessors * BLOCKS, least = (n + MOST - 1) / MOST;
    blocks = blocks < full ? blocks : full > least ? full : least;
    if (o.bins <= WORDS)
        launch<T, true>(o, data, n, (unsigned)blocks, stream);
    else
        launch<T, false>(o, data, n, (unsigned)blocks, stream);
}

} // namespace

extern "C" int ed_cuda_observe(const ed_cuda_observed *o, const void *data, int64_t n, bool bf16,
                               int multiprocessors, ed_stream stream)
{
    if (n == 0)
        return cudaSuccess;
    if (bf16)
        launch<__nv_bfloat16>(*o, data, n, multiprocessors, stream);
    else
        launch<float>(*o, data, n, multiprocessors, stream);
    return (int)cudaGetLastError();
}
