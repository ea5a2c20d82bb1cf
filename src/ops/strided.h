/*
 * Moving elements without looking at them: what the families that copy, cut and repeat share.
 */
#ifndef OPS_STRIDED_H
#define OPS_STRIDED_H

#include "ops/op.h"

/* A dense row-major output of `size`, whose element [i0, i1, ...] is element i0 * step[0] + ... of
 * the input; steps may be 0 (repeat) or negative (backwards). */
typedef struct ed_strided {
    int rank;
    int64_t size[2 * ED_MAX_RANK], step[2 * ED_MAX_RANK];
} ed_strided;

/* Bytes of an element: 1, 2, 4 or 8. */
size_t ed_tensor_width(const ed_tensor *tensor);
/* Elements between neighbours along each dimension of a dense tensor. */
void ed_steps_of(int64_t *steps, const ed_shape *shape);
/* y[i] = x[from(i)] for every element of y, in runs, tiles and on all threads. */
void ed_copy_strided(void *y, const void *x, size_t width, const ed_strided *from);

/* Kernel of the operators that only change the shape: a copy, or nothing where y is x. */
int ed_copy_forward(const ed_call *c);

/* Numbers of input i when it is a constant list of int64 or int32; n is -1 when it is omitted or
 * not constant. ED_ESHAPE, ED_EUNSUPPORTED when it is no such list or a longer one. */
int ed_infer_list(const ed_infer *ctx, uint32_t i, ed_ints *out);
/* The same of a tensor that infer has checked. */
void ed_list_read(ed_ints *out, const ed_tensor *tensor);

#endif
