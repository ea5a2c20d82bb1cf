/* Indices in tensors on the device become places in memory. */
#ifndef CUDA_INDEX_CUH
#define CUDA_INDEX_CUH

#include "units.cuh"

__device__ __forceinline__ int64_t ed_index_at(const ed_cuda_indices &indices, int64_t i)
{
    return indices.wide ? ((const int64_t *)indices.data)[i] : ((const int32_t *)indices.data)[i];
}

/* A negative index counts from the end. False when it is outside: then it becomes the nearest that
 * is not; size is at least 1. */
__device__ __forceinline__ bool ed_resolve(int64_t *index, int64_t size)
{
    const int64_t i = *index < 0 ? *index + size : *index;
    *index = i < 0 ? 0 : i >= size ? size - 1 : i;
    return *index == i;
}

/* The row that a tuple names. */
__device__ __forceinline__ bool ed_tuple_row(int64_t *row, const ed_cuda_tuples &t, int64_t tuple)
{
    bool inside = true;
    *row = 0;
    for (int k = 0; k < t.length; k++) {
        int64_t index = ed_index_at(t.indices, tuple * t.length + k);
        inside = ed_resolve(&index, t.size[k]) && inside;
        *row = *row * t.size[k] + index;
    }
    return inside;
}

/* ed_cuda_elements with the divisions prepared. */
template <typename I> struct ed_element_plan {
    ed_cuda_indices indices;
    int rank, axis;
    int64_t n, size;
    ed_divider<I> dim[ED_WALK_RANK];
    int64_t step[ED_WALK_RANK];
};

static inline int64_t ed_element_count(const ed_cuda_elements *e)
{
    int64_t n = 1;
    for (int d = 0; d < e->rank; d++)
        n *= e->dim[d];
    return n;
}

/* Of indices that are not empty. */
template <typename I> static ed_element_plan<I> ed_plan_elements(const ed_cuda_elements *e)
{
    ed_element_plan<I> p = {};
    p.indices = e->indices;
    p.rank = e->rank;
    p.axis = e->axis;
    p.n = ed_element_count(e);
    p.size = e->size;
    for (int d = 0; d < e->rank; d++) {
        p.dim[d].set(e->dim[d]);
        p.step[d] = e->step[d];
    }
    return p;
}

/* The element that index number i names. */
template <typename I>
__device__ __forceinline__ bool ed_element_at(int64_t *at, const ed_element_plan<I> &p, int64_t i)
{
    I rest = (I)i;
    int64_t index = ed_index_at(p.indices, i);
    const bool inside = ed_resolve(&index, p.size);
    *at = 0;
    for (int d = p.rank - 1; d >= 0; d--) {
        const int64_t own = d > 0 ? ed_divide(&rest, p.dim[d]) : rest;
        *at += (d == p.axis ? index : own) * p.step[d];
    }
    return inside;
}

#endif
