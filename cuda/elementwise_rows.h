/* Rows of the elementwise operators that stand in another file than their table, and what these
 * rows share. */
#ifndef CUDA_ELEMENTWISE_ROWS_H
#define CUDA_ELEMENTWISE_ROWS_H

#include "rows.h"

ED_DECLARE_ROW(ed_cuda_chain); /* trees of at least two nodes (chain_rows.c) */
ED_DECLARE_ROW(ed_cuda_power); /* Pow of a constant exponent of 2, 3, 1/2 or -1 (unary_rows.c) */

/* How a result of shape y lies: NHWC when an operand of its shape from another kernel does,
 * bfloat16 likewise; row-major float32 when there is none. */
ed_layout ed_cuda_output_layout(const ed_kernel_plan *p, const ed_shape *y, const ed_id *in,
                                uint32_t n);
/* How an operand is read: one of the result's shape in its order. With a float32 result all are
 * float32. */
ed_layout ed_cuda_operand_layout(const ed_kernel_plan *p, const ed_shape *y, ed_id id,
                                 ed_layout out);

#endif
