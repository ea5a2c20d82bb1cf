/* The row of reductions, which also takes pooling over all of the space; sums of channels. */
#ifndef CUDA_REDUCE_ROWS_H
#define CUDA_REDUCE_ROWS_H

#include "kernels.h"
#include "rows.h"

int ed_cuda_reduction_plan(ed_kernel_plan *p);
int ed_cuda_reduction_run(const ed_call *call);
void ed_cuda_reduction_free(void *state);

/* Float32 sums [C] of x [N, C, ...] in a layout; returns the bytes of scratch. */
size_t ed_cuda_channel_sums(ed_cuda_reduction *r, const ed_shape *x, ed_layout layout);

#endif
