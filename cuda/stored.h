/* For plan(): how a value is stored, and attributes, as the rows that move data ask for them. */
#ifndef CUDA_STORED_H
#define CUDA_STORED_H

#include "rows.h"

/* Bytes of an element of a value in a layout: 1, 2, 4 or 8. */
static inline size_t ed_cuda_width(const ed_kernel_plan *p, ed_id value, ed_layout layout)
{
    ed_dtype dtype = p->types[value].dtype;
    return dtype == ED_F32 ? ed_layout_element(layout) : ed_dtype_bits(dtype) / 8;
}

/* Row-major in the same storage. */
static inline ed_layout ed_cuda_row_major(ed_layout layout)
{
    return ed_layout_with_bf16(ED_LAYOUT_PLAIN, ed_layout_element(layout) == 2);
}

static inline bool ed_cuda_is_nhwc(ed_layout layout)
{
    return ed_layout_with_bf16(layout, false) == ED_LAYOUT_CHANNELS_LAST;
}

static inline const ed_shape *ed_cuda_shape(const ed_kernel_plan *p, ed_id value)
{
    return &p->types[value].shape;
}

static inline int64_t ed_cuda_numel(const ed_kernel_plan *p, ed_id value)
{
    int64_t n = 1;
    for (int i = 0; i < p->types[value].shape.rank; i++)
        n *= p->types[value].shape.dim[i];
    return n;
}

/* Product of the dimensions [begin, end). */
static inline int64_t ed_cuda_span(const ed_shape *shape, int begin, int end)
{
    int64_t n = 1;
    for (int i = begin; i < end; i++)
        n *= shape->dim[i];
    return n;
}

static inline int64_t ed_cuda_attr(const ed_node *node, const char *name, int64_t preset)
{
    const ed_attr *attr = ed_node_attr(node, name);
    return attr ? attr->i : preset;
}

/* Attribute `axis` as a dimension of that rank. */
static inline int ed_cuda_axis(const ed_node *node, int64_t preset, int rank)
{
    int64_t axis = ed_cuda_attr(node, "axis", preset);
    return (int)(axis < 0 ? axis + rank : axis);
}

/* The constant behind input i; NULL when it is none, or omitted. */
static inline const ed_tensor *ed_cuda_constant(const ed_kernel_plan *p, uint32_t i)
{
    ed_id value = ed_node_in(p->nodes[0], i);
    return value == ED_NONE ? NULL : p->constants[value];
}

/* List input i as one that run() reads in that layout. */
static inline void ed_cuda_read(ed_kernel_plan *p, uint32_t i, ed_layout layout)
{
    p->in[p->n_in] = p->nodes[0]->in[i];
    p->in_layout[p->n_in++] = layout;
}

#endif
