/* Building an ed_walk (kernels.h): several tensors over one index space. */
#ifndef CUDA_WALK_H
#define CUDA_WALK_H

#include "device.h"
#include "kernels.h"

/* An index space of that shape, without operands. */
void ed_cuda_walk_begin(ed_walk *w, const ed_shape *space);
/* Operand of `shape`, broadcast to the space (numpy's rule), lying in `layout`. */
void ed_cuda_walk_operand(ed_walk *w, const ed_shape *shape, ed_layout layout);
/* Operand with its own steps, one for each dimension of the space. */
void ed_cuda_walk_steps(ed_walk *w, const int64_t *step);
/* Order the dimensions by the steps of operand 0 (the output), the fastest last, drop those of size
 * 1, and merge those that run on into each other for every operand. Call last. */
void ed_cuda_walk_fold(ed_walk *w);
/* Elements between neighbours along each dimension of `shape` in `layout`. */
void ed_cuda_steps(int64_t step[ED_MAX_RANK], const ed_shape *shape, ed_layout layout);

#endif
