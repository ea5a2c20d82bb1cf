/* The row of reductions, which also takes pooling over all of the space. */
#ifndef CUDA_REDUCE_ROWS_H
#define CUDA_REDUCE_ROWS_H

#include "rows.h"

int ed_cuda_reduction_plan(ed_kernel_plan *p);
int ed_cuda_reduction_run(const ed_call *call);
void ed_cuda_reduction_free(void *state);

#endif
