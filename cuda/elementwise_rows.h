/* Rows of the elementwise operators that stand in another file than their table. */
#ifndef CUDA_ELEMENTWISE_ROWS_H
#define CUDA_ELEMENTWISE_ROWS_H

#include "rows.h"

ED_DECLARE_ROW(ed_cuda_power); /* Pow of a constant exponent of 2, 3, 1/2 or -1 (unary_rows.c) */

#endif
