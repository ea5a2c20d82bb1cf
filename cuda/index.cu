/*
 * Reading at indices: Gather and GatherND copy rows, GatherElements elements.
 *
 *   y[r][..] = x[batch(r)][row(tuple(r))][..]
 *   y[i] = x[i with its coordinate along the axis replaced by indices[i]]
 *
 * Indices outside read the nearest element: nothing outside of memory is touched.
 */
#include "index.cuh"

template <typename I> struct gather_plan {
    ed_cuda_gathering how;
    ed_divider<I> inner, per; /* units of a row; rows of a batch */
};

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    gather_kernel(T *__restrict__ y, const T *__restrict__ x,
                  const __grid_constant__ gather_plan<I> p)
{
    const int64_t inner = p.how.inner;
    ED_GRID_LOOP(i, p.how.rows * inner)
    {
        I row = (I)i;
        const int64_t unit = ed_divide(&row, p.inner);
        I batch = row;
        const I tuple = ed_divide(&batch, p.per);
        int64_t from;
        ed_tuple_row(&from, p.how.tuples, p.how.shared ? tuple : row);
        from += (int64_t)batch * p.how.range;
        y[i] = x[from * inner + unit];
    }
}

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    elements_kernel(T *__restrict__ y, const T *__restrict__ x,
                    const __grid_constant__ ed_element_plan<I> p)
{
    ED_GRID_LOOP(i, p.n)
    {
        int64_t from;
        ed_element_at(&from, p, i);
        y[i] = x[from];
    }
}

/* ---- launchers ---- */

template <typename I>
static void gather(void *y, const void *x, size_t width, const ed_cuda_gathering *how,
                   ed_stream stream)
{
    gather_plan<I> p = {};
    const size_t unit = ed_unit((uint64_t)y | (uint64_t)x | (uint64_t)how->inner * width);
    p.how = *how;
    p.how.inner /= (int64_t)(unit / width);
    p.inner.set(p.how.inner);
    p.per.set(how->per);
    const unsigned blocks = ed_blocks(how->rows * p.how.inner, ED_MOVE_THREADS);
    ED_WITH_UNIT(unit, T,
                 gather_kernel<T, I>
                 <<<blocks, ED_MOVE_THREADS, 0, stream>>>((T *)y, (const T *)x, p));
}

extern "C" int ed_cuda_gather(void *y, const void *x, size_t width, const ed_cuda_gathering *how,
                              ed_stream stream)
{
    const int64_t n = how->rows * how->inner;
    if (n == 0)
        return cudaSuccess;
    if (ed_is_small(n))
        gather<uint32_t>(y, x, width, how, stream);
    else
        gather<uint64_t>(y, x, width, how, stream);
    return (int)cudaGetLastError();
}

template <typename I>
static void gather_elements(void *y, const void *x, size_t width, const ed_cuda_elements *how,
                            ed_stream stream)
{
    const ed_element_plan<I> p = ed_plan_elements<I>(how);
    const unsigned blocks = ed_blocks(p.n, ED_MOVE_THREADS);
    ED_WITH_ELEMENT(width, T,
                    elements_kernel<T, I>
                    <<<blocks, ED_MOVE_THREADS, 0, stream>>>((T *)y, (const T *)x, p));
}

extern "C" int ed_cuda_gather_elements(void *y, const void *x, size_t width,
                                       const ed_cuda_elements *how, ed_stream stream)
{
    const int64_t n = ed_element_count(how);
    if (n == 0)
        return cudaSuccess;
    if (ed_is_small(n))
        gather_elements<uint32_t>(y, x, width, how, stream);
    else
        gather_elements<uint64_t>(y, x, width, how, stream);
    return (int)cudaGetLastError();
}
