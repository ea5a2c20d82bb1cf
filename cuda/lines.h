/* For plan(): axes in storage order, and outputs that may lie in their input's memory. */
#ifndef CUDA_LINES_H
#define CUDA_LINES_H

#include "kernels.h"
#include "stored.h"

/* The lines along an axis of a value in a layout. */
static inline ed_lines ed_cuda_lines(const ed_shape *shape, ed_layout layout, int axis)
{
    bool nhwc = shape->rank >= 3 && ed_cuda_is_nhwc(layout), seen = false;
    ed_lines l = { 1, 1, 1 };
    for (int i = 0; i < shape->rank; i++) {
        int d = !nhwc || i == 0 ? i : i + 1 < shape->rank ? i + 1 : 1; /* channels are last */
        if (d == axis)
            l.n = shape->dim[d];
        else if (seen)
            l.inner *= shape->dim[d];
        else
            l.outer *= shape->dim[d];
        seen = seen || d == axis;
    }
    return l;
}

/* Somebody wants more than the first output of nodes[0]. */
static inline bool ed_cuda_more_outputs(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    for (uint32_t i = 1; i < node->n_out; i++)
        if (node->out[i] != ED_NONE &&
            (p->kept[node->out[i]] || p->graph->values[node->out[i]].use_count > 0))
            return true;
    return false;
}

/* After the inputs are listed: the output of nodes[0] overwrites in[0] if nobody reads that later,
 * or as another input now. */
static inline void ed_cuda_overwrite(ed_kernel_plan *p)
{
    if (p->layouts[p->in[0]] != p->in_layout[0] || !ed_plan_dies(p, p->in[0], 1))
        return;
    for (uint32_t i = 1; i < p->n_in; i++)
        if (ed_plan_memory(p, p->in[i]) == ed_plan_memory(p, p->in[0]))
            return;
    p->inplace = 0;
}

#endif
