/* The row of attention, listed first in the table of MatMul. */
#ifndef CUDA_ATTENTION_ROWS_H
#define CUDA_ATTENTION_ROWS_H

#include "attention_plan.h"
#include "ops/attention_match.h"
#include "rows.h"

ED_DECLARE_ROW(ed_cuda_attention); /* MatMul, [scale,] [mask,] Softmax, MatMul [, Transpose] */

/* The problem of a chain; returns why cuDNN's engines cannot have it, or NULL. They are known to
 * crash, or to read elsewhere, on some of what is refused here. */
const char *ed_cuda_attention_problem(ed_cuda_sdpa *out, const ed_attention *a);
/* Copy a mask of `rows` x `columns` numbers, with large negative ones in place of -inf; returns why
 * it cannot be used, or NULL. */
const char *ed_cuda_attention_mask(float *out, const float *mask, int64_t rows, int64_t columns);

#endif
