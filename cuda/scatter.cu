/*
 * ScatterND, ScatterElements: y = x, where row(t) is combined with update t for t = 0, 1, ... in
 * this order, so that the result is the same in each run, and the reference kernel's to the bit.
 *
 * First every update enters the list of its row: head[row] and next[t], in any order. Then each
 * element of y walks its row's list: REPLACE takes the last update, the others one after the other.
 */
#include "index.cuh"

/* ---- lists ---- */

__device__ __forceinline__ void enter(int32_t *head, int32_t *next, int64_t row, int64_t update)
{
    next[update] = atomicExch(head + row, (int32_t)update);
}

__global__ void __launch_bounds__(ED_MOVE_THREADS)
    list_tuples_kernel(int32_t *__restrict__ head, int32_t *__restrict__ next, int64_t updates,
                       const __grid_constant__ ed_cuda_tuples tuples)
{
    ED_GRID_LOOP(t, updates)
    {
        int64_t row;
        if (ed_tuple_row(&row, tuples, t))
            enter(head, next, row, t);
    }
}

__global__ void __launch_bounds__(ED_MOVE_THREADS)
    list_elements_kernel(int32_t *__restrict__ head, int32_t *__restrict__ next,
                         const __grid_constant__ ed_element_plan<uint32_t> p)
{
    ED_GRID_LOOP(t, p.n)
    {
        int64_t at;
        if (ed_element_at(&at, p, t))
            enter(head, next, at, t);
    }
}

/* ---- elements; y may be x ---- */

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    replace_kernel(T *y, const T *x, const T *__restrict__ updates,
                   const int32_t *__restrict__ head, const int32_t *__restrict__ next, int64_t rows,
                   ed_divider<I> inner)
{
    ED_GRID_LOOP(i, rows * (int64_t)inner.divisor)
    {
        I row = (I)i;
        const I unit = ed_divide(&row, inner);
        int32_t last = head[row];
        if (last < 0) {
            if (y != x)
                y[i] = x[i];
            continue;
        }
        for (int32_t t = next[last]; t >= 0; t = next[t])
            last = max(last, t);
        y[i] = updates[(int64_t)last * inner.divisor + unit];
    }
}

template <typename T> __device__ __forceinline__ T add(T a, T b)
{
    return a + b;
}
template <typename T> __device__ __forceinline__ T mul(T a, T b)
{
    return a * b;
}
/* of integers the unsigned sums and products are the same bits, and defined where they overflow */
template <> __device__ __forceinline__ int32_t add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}
template <> __device__ __forceinline__ int32_t mul(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a * (uint32_t)b);
}
template <> __device__ __forceinline__ int64_t add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
template <> __device__ __forceinline__ int64_t mul(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

template <typename T> __device__ __forceinline__ T combined(ed_scatter how, T to, T from)
{
    switch (how) {
    case ED_SCATTER_ADD:
        return add(to, from);
    case ED_SCATTER_MUL:
        return mul(to, from);
    case ED_SCATTER_MAX:
        return from > to ? from : to; /* a NaN stays, and never comes in */
    default:
        return from < to ? from : to;
    }
}

/* The least number in a list that is greater than `last`; INT32_MAX when there is none. */
__device__ __forceinline__ int32_t following(int32_t t, const int32_t *next, int32_t last)
{
    int32_t least = INT32_MAX;
    for (; t >= 0; t = next[t])
        if (t > last && t < least)
            least = t;
    return least;
}

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    combine_kernel(T *y, const T *x, const T *__restrict__ updates,
                   const int32_t *__restrict__ head, const int32_t *__restrict__ next, int64_t rows,
                   ed_divider<I> inner, ed_scatter how)
{
    ED_GRID_LOOP(i, rows * (int64_t)inner.divisor)
    {
        I row = (I)i;
        const I unit = ed_divide(&row, inner);
        const int32_t first = head[row];
        T value = x[i];
        for (int32_t t = following(first, next, -1); t != INT32_MAX; t = following(first, next, t))
            value = combined(how, value, updates[(int64_t)t * inner.divisor + unit]);
        if (first >= 0 || y != x)
            y[i] = value;
    }
}

/* ---- launchers ---- */

extern "C" size_t ed_cuda_scatter_scratch(const ed_cuda_scattering *how)
{
    return (size_t)(how->rows + how->updates) * sizeof(int32_t);
}

template <typename T, typename I>
static void combine(void *y, const void *x, const void *updates, const ed_cuda_scattering *how,
                    const int32_t *head, ed_stream stream)
{
    ed_divider<I> inner;
    inner.set(how->inner);
    combine_kernel<T, I>
        <<<ed_blocks(how->rows * how->inner, ED_MOVE_THREADS), ED_MOVE_THREADS, 0, stream>>>(
            (T *)y, (const T *)x, (const T *)updates, head, head + how->rows, how->rows, inner,
            how->combine);
}

template <typename I>
static void replace(void *y, const void *x, const void *updates, size_t width,
                    const ed_cuda_scattering *how, const int32_t *head, ed_stream stream)
{
    const size_t unit =
        ed_unit((uint64_t)y | (uint64_t)x | (uint64_t)updates | (uint64_t)how->inner * width);
    ed_divider<I> inner;
    inner.set(how->inner / (int64_t)(unit / width));
    const unsigned blocks = ed_blocks(how->rows * (int64_t)inner.divisor, ED_MOVE_THREADS);
    ED_WITH_UNIT(
        unit, T,
        replace_kernel<T, I><<<blocks, ED_MOVE_THREADS, 0, stream>>>(
            (T *)y, (const T *)x, (const T *)updates, head, head + how->rows, how->rows, inner));
}

template <typename I>
static void apply(void *y, const void *x, const void *updates, size_t width,
                  const ed_cuda_scattering *how, const int32_t *head, ed_stream stream)
{
    if (how->combine == ED_SCATTER_REPLACE)
        replace<I>(y, x, updates, width, how, head, stream);
    else if (how->type == ED_CUDA_F32)
        combine<float, I>(y, x, updates, how, head, stream);
    else if (how->type == ED_CUDA_F64)
        combine<double, I>(y, x, updates, how, head, stream);
    else if (how->type == ED_CUDA_I32)
        combine<int32_t, I>(y, x, updates, how, head, stream);
    else
        combine<int64_t, I>(y, x, updates, how, head, stream);
}

static int finish(void *y, const void *x, const void *updates, size_t width,
                  const ed_cuda_scattering *how, const int32_t *head, ed_stream stream)
{
    if (ed_is_small(how->rows * how->inner))
        apply<uint32_t>(y, x, updates, width, how, head, stream);
    else
        apply<uint64_t>(y, x, updates, width, how, head, stream);
    return (int)cudaGetLastError();
}

/* Empty lists. */
static int begin(void *lists, const ed_cuda_scattering *how, ed_stream stream)
{
    return (int)cudaMemsetAsync(lists, 0xff, (size_t)how->rows * sizeof(int32_t), stream);
}

extern "C" int ed_cuda_scatter_tuples(void *y, const void *x, const void *updates, size_t width,
                                      const ed_cuda_scattering *how, const ed_cuda_tuples *tuples,
                                      void *lists, ed_stream stream)
{
    int32_t *head = (int32_t *)lists;
    if (how->rows * how->inner == 0)
        return cudaSuccess;
    const int status = begin(lists, how, stream);
    if (status != cudaSuccess)
        return status;
    if (how->updates > 0)
        list_tuples_kernel<<<ed_blocks(how->updates, ED_MOVE_THREADS), ED_MOVE_THREADS, 0,
                             stream>>>(head, head + how->rows, how->updates, *tuples);
    return finish(y, x, updates, width, how, head, stream);
}

extern "C" int ed_cuda_scatter_elements(void *y, const void *x, const void *updates, size_t width,
                                        const ed_cuda_scattering *how,
                                        const ed_cuda_elements *elements, void *lists,
                                        ed_stream stream)
{
    int32_t *head = (int32_t *)lists;
    if (how->rows == 0)
        return cudaSuccess;
    const int status = begin(lists, how, stream);
    if (status != cudaSuccess)
        return status;
    if (how->updates > 0)
        list_elements_kernel<<<ed_blocks(how->updates, ED_MOVE_THREADS), ED_MOVE_THREADS, 0,
                               stream>>>(head, head + how->rows,
                                         ed_plan_elements<uint32_t>(elements));
    return finish(y, x, updates, width, how, head, stream);
}
