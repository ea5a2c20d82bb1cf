/*
 * Operators that decide by position.
 *
 * OneHot  y[o][d][i] = indices[o][i] == d ? values[1] : values[0]
 * Trilu   y[r][c] = x[r][c] where c >= r + k (upper) or c <= r + k, else 0
 * TopK    an element's place is the number of those that come before it; a thread counts them until
 *         there are k
 */
#include "units.cuh"

/* ---- OneHot ---- */

__device__ __forceinline__ int64_t to_index(int32_t v)
{
    return v;
}
__device__ __forceinline__ int64_t to_index(int64_t v)
{
    return v;
}
__device__ __forceinline__ int64_t to_index(float v)
{
    return isnan(v) ? 0 : __float2ll_rz(v);
}

template <typename T, typename Index, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    one_hot_kernel(T *__restrict__ y, const Index *__restrict__ indices,
                   const T *__restrict__ values, int64_t n, ed_divider<I> depth,
                   ed_divider<I> inner)
{
    ED_GRID_LOOP(i, n)
    {
        I outer = (I)i;
        const I unit = ed_divide(&outer, inner);
        const int64_t d = ed_divide(&outer, depth);
        int64_t index = to_index(indices[(int64_t)outer * inner.divisor + unit]);
        index += index < 0 ? (int64_t)depth.divisor : 0;
        y[i] = values[index == d ? 1 : 0];
    }
}

/* ---- Trilu ---- */

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    trilu_kernel(T *__restrict__ y, const T *__restrict__ x, int64_t n, ed_divider<I> rows,
                 ed_divider<I> columns, int64_t k, const int64_t *k_at, bool upper)
{
    if (k_at)
        k = *k_at;
    /* further off all rows are the same; without overflow */
    k = max(-(int64_t)rows.divisor, min(k, (int64_t)columns.divisor));
    ED_GRID_LOOP(i, n)
    {
        I row = (I)i;
        const int64_t column = ed_divide(&row, columns), at = ed_divide(&row, rows);
        const bool kept = upper ? column >= at + k : column <= at + k;
        y[i] = kept ? x[i] : T();
    }
}

/* ---- TopK ---- */

template <typename T> __device__ __forceinline__ bool greater(T a, T b)
{
    return a > b;
}
template <> __device__ __forceinline__ bool greater(float a, float b)
{
    return isnan(a) ? !isnan(b) : a > b;
}
template <> __device__ __forceinline__ bool greater(double a, double b)
{
    return isnan(a) ? !isnan(b) : a > b;
}

template <typename T>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    topk_kernel(T *__restrict__ values, int64_t *__restrict__ indices, const T *__restrict__ x,
                int64_t outer, int64_t n, int64_t inner, int64_t k, bool largest)
{
    enum { CHUNK = 32 }; /* between two looks at the count */
    ED_GRID_LOOP(t, outer * inner * n)
    {
        const int64_t line = t / n, own = t - line * n, o = line / inner, in = line - o * inner;
        const T *row = x + o * n * inner + in;
        const T mine = row[own * inner];
        int64_t before = 0;
        for (int64_t j = 0; j < own && before < k;) /* equal ones come before */
            for (const int64_t end = min(own, j + CHUNK); j < end; j++) {
                const T other = row[j * inner];
                before += !(largest ? greater(mine, other) : greater(other, mine));
            }
        for (int64_t j = own + 1; j < n && before < k;)
            for (const int64_t end = min(n, j + CHUNK); j < end; j++) {
                const T other = row[j * inner];
                before += largest ? greater(other, mine) : greater(mine, other);
            }
        if (before >= k)
            continue;
        const int64_t to = (o * k + before) * inner + in;
        if (values)
            values[to] = mine;
        if (indices)
            indices[to] = own;
    }
}

/* ---- launchers ---- */

template <typename Index, typename I>
static void one_hot(void *y, const void *indices, const void *values, size_t width, int64_t n,
                    int64_t depth, int64_t inner, ed_stream stream)
{
    ed_divider<I> by_depth, by_inner;
    by_depth.set(depth);
    by_inner.set(inner);
    ED_WITH_ELEMENT(width, T,
                    one_hot_kernel<T, Index, I>
                    <<<ed_blocks(n, ED_MOVE_THREADS), ED_MOVE_THREADS, 0, stream>>>(
                        (T *)y, (const Index *)indices, (const T *)values, n, by_depth, by_inner));
}

template <typename I>
static void one_hot_of(int type, void *y, const void *indices, const void *values, size_t width,
                       int64_t n, int64_t depth, int64_t inner, ed_stream stream)
{
    if (type == ED_CUDA_F32)
        one_hot<float, I>(y, indices, values, width, n, depth, inner, stream);
    else if (type == ED_CUDA_I32)
        one_hot<int32_t, I>(y, indices, values, width, n, depth, inner, stream);
    else
        one_hot<int64_t, I>(y, indices, values, width, n, depth, inner, stream);
}

extern "C" int ed_cuda_one_hot(void *y, const void *indices, int type, const void *values,
                               size_t width, int64_t outer, int64_t depth, int64_t inner,
                               ed_stream stream)
{
    const int64_t n = outer * depth * inner;
    if (n == 0)
        return cudaSuccess;
    if (ed_is_small(n))
        one_hot_of<uint32_t>(type, y, indices, values, width, n, depth, inner, stream);
    else
        one_hot_of<uint64_t>(type, y, indices, values, width, n, depth, inner, stream);
    return (int)cudaGetLastError();
}

template <typename I>
static void trilu(void *y, const void *x, size_t width, int64_t n, int64_t rows, int64_t columns,
                  int64_t k, const int64_t *k_at, bool upper, ed_stream stream)
{
    ed_divider<I> by_rows, by_columns;
    by_rows.set(rows);
    by_columns.set(columns);
    ED_WITH_ELEMENT(width, T,
                    trilu_kernel<T, I>
                    <<<ed_blocks(n, ED_MOVE_THREADS), ED_MOVE_THREADS, 0, stream>>>(
                        (T *)y, (const T *)x, n, by_rows, by_columns, k, k_at, upper));
}

extern "C" int ed_cuda_trilu(void *y, const void *x, size_t width, int64_t n, int64_t rows,
                             int64_t columns, int64_t k, const int64_t *k_at, bool upper,
                             ed_stream stream)
{
    if (n == 0)
        return cudaSuccess;
    if (ed_is_small(n))
        trilu<uint32_t>(y, x, width, n, rows, columns, k, k_at, upper, stream);
    else
        trilu<uint64_t>(y, x, width, n, rows, columns, k, k_at, upper, stream);
    return (int)cudaGetLastError();
}

template <typename T>
static void topk(void *values, int64_t *indices, const void *x, int64_t outer, int64_t n,
                 int64_t inner, int64_t k, bool largest, ed_stream stream)
{
    topk_kernel<T><<<ed_blocks(outer * n * inner, ED_MOVE_THREADS), ED_MOVE_THREADS, 0, stream>>>(
        (T *)values, indices, (const T *)x, outer, n, inner, k, largest);
}

extern "C" int ed_cuda_topk(void *values, int64_t *indices, const void *x, int type, int64_t outer,
                            int64_t n, int64_t inner, int64_t k, bool largest, ed_stream stream)
{
    typedef void (*launcher)(void *, int64_t *, const void *, int64_t, int64_t, int64_t, int64_t,
                             bool, ed_stream);
    launcher launch = NULL;
    if (outer * k * inner == 0)
        return cudaSuccess;
    switch (type) {
    case ED_CUDA_F32:
        launch = topk<float>;
        break;
    case ED_CUDA_F64:
        launch = topk<double>;
        break;
    case ED_CUDA_I8:
        launch = topk<int8_t>;
        break;
    case ED_CUDA_U8:
        launch = topk<uint8_t>;
        break;
    case ED_CUDA_I16:
        launch = topk<int16_t>;
        break;
    case ED_CUDA_U16:
        launch = topk<uint16_t>;
        break;
    case ED_CUDA_I32:
        launch = topk<int32_t>;
        break;
    case ED_CUDA_U32:
        launch = topk<uint32_t>;
        break;
    case ED_CUDA_I64:
        launch = topk<int64_t>;
        break;
    default:
        launch = topk<uint64_t>;
        break;
    }
    launch(values, indices, x, outer, n, inner, k, largest, stream);
    return (int)cudaGetLastError();
}
