/*
 * Pad: y[i] = x[source(i - begin)] along each dimension, where outside of x
 *   constant   is the value; a negative begin crops
 *   reflect    mirrors x about its first and last element, which are not repeated
 *   edge       is the nearest element
 *   wrap       repeats x
 * A thread a unit of y; a unit is more than an element where whole runs of x stay together.
 */
#include "units.cuh"

template <typename I> struct pad_plan {
    int mode, rank;
    int64_t n;
    ed_divider<I> to[ED_WALK_RANK];
    int64_t from[ED_WALK_RANK], begin[ED_WALK_RANK], step[ED_WALK_RANK];
    uint64_t value;
    const void *value_at; /* on the device; NULL: `value` */
    unsigned width;       /* of an element */
};

/* The place in [0, n) that position i, counted from x's first element, reads; -1: the value. */
__device__ __forceinline__ int64_t source_of(int mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (mode == ED_CUDA_PAD_CONSTANT)
        return -1;
    if (mode == ED_CUDA_PAD_EDGE || n == 1)
        return i < 0 ? 0 : n - 1;
    if (mode == ED_CUDA_PAD_WRAP)
        return (i % n + n) % n;
    const int64_t period = 2 * (n - 1), at = (i % period + period) % period;
    return at < n ? at : period - at;
}

/* 8 bytes of the value over and over. */
template <typename I> __device__ __forceinline__ uint64_t pattern(const pad_plan<I> &p)
{
    uint64_t value = p.value;
    if (p.value_at && p.width == 1)
        value = *(const uint8_t *)p.value_at;
    else if (p.value_at && p.width == 2)
        value = *(const uint16_t *)p.value_at;
    else if (p.value_at && p.width == 4)
        value = *(const uint32_t *)p.value_at;
    else if (p.value_at)
        value = *(const uint64_t *)p.value_at;
    if (p.width == 1)
        value |= value << 8;
    if (p.width <= 2)
        value |= value << 16;
    if (p.width <= 4)
        value |= value << 32;
    return value;
}

template <typename T> __device__ __forceinline__ T filled(uint64_t pattern)
{
    return (T)pattern;
}
template <> __device__ __forceinline__ uint2 filled<uint2>(uint64_t v)
{
    return make_uint2((uint32_t)v, (uint32_t)(v >> 32));
}
template <> __device__ __forceinline__ uint4 filled<uint4>(uint64_t v)
{
    return make_uint4((uint32_t)v, (uint32_t)(v >> 32), (uint32_t)v, (uint32_t)(v >> 32));
}

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    pad_kernel(T *__restrict__ y, const T *__restrict__ x, const __grid_constant__ pad_plan<I> p)
{
    const T value = filled<T>(pattern(p));
    ED_GRID_LOOP(i, p.n)
    {
        I rest = (I)i;
        int64_t from = 0;
        bool inside = true;
        for (int d = p.rank - 1; d >= 0; d--) {
            int64_t at = (int64_t)(d > 0 ? ed_divide(&rest, p.to[d]) : rest) - p.begin[d];
            at = source_of(p.mode, at, p.from[d]);
            inside = inside && at >= 0;
            from += at * p.step[d];
        }
        y[i] = inside ? x[from] : value;
    }
}

/* ---- launchers ---- */

/* The unit that the padding along the last dimension leaves whole. */
static size_t unit_of(const void *y, const void *x, size_t width, const ed_cuda_padding *p)
{
    const int last = p->rank - 1;
    const int64_t begin = p->begin[last], from = p->from[last], to = p->to[last];
    if (p->mode != ED_CUDA_PAD_CONSTANT && (begin != 0 || from != to))
        return width;
    return ed_unit((uint64_t)y | (uint64_t)x |
                   ((uint64_t)begin | (uint64_t)from | (uint64_t)to) * width);
}

template <typename I>
static void launch(void *y, const void *x, size_t width, size_t unit, int64_t n,
                   const ed_cuda_padding *padding, const void *value, ed_stream stream)
{
    pad_plan<I> p = {};
    int64_t step = 1;
    p.mode = padding->mode;
    p.rank = padding->rank;
    p.n = n;
    p.value = padding->value;
    p.value_at = value;
    p.width = (unsigned)width;
    for (int d = p.rank - 1; d >= 0; d--) {
        const int64_t elements = d == p.rank - 1 ? (int64_t)(unit / width) : 1;
        p.to[d].set(padding->to[d] / elements);
        p.from[d] = padding->from[d] / elements;
        p.begin[d] = padding->begin[d] / elements;
        p.step[d] = step;
        step *= p.from[d];
    }
    ED_WITH_UNIT(unit, T,
                 pad_kernel<T, I><<<ed_blocks(n, ED_MOVE_THREADS), ED_MOVE_THREADS, 0, stream>>>(
                     (T *)y, (const T *)x, p));
}

extern "C" int ed_cuda_pad(void *y, const void *x, size_t width, const ed_cuda_padding *padding,
                           const void *value, ed_stream stream)
{
    int64_t n = 1;
    for (int d = 0; d < padding->rank; d++)
        n *= padding->to[d];
    if (n == 0)
        return cudaSuccess;
    const size_t unit = unit_of(y, x, width, padding);
    n /= (int64_t)(unit / width);
    if (ed_is_small(n))
        launch<uint32_t>(y, x, width, unit, n, padding, value, stream);
    else
        launch<uint64_t>(y, x, width, unit, n, padding, value, stream);
    return (int)cudaGetLastError();
}
