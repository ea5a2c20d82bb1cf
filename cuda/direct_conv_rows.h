/* Rows of our own convolution kernels, listed with the library's in the table of Conv. */
#ifndef CUDA_DIRECT_CONV_ROWS_H
#define CUDA_DIRECT_CONV_ROWS_H

#include "kernels.h"
#include "rows.h"

ED_DECLARE_ROW(ed_cuda_depthwise);   /* Conv of one filter a channel [+ Add] [+ activation] */
ED_DECLARE_ROW(ed_cuda_direct_conv); /* Conv, ConvTranspose: whatever the others refuse */

/* The convolution from x to y as the kernels take it; false: they cannot count it. */
bool ed_cuda_depthwise_shape(ed_depthwise *d, const ed_window *w, const ed_shape *x,
                             const ed_shape *y);
bool ed_cuda_direct_shape(ed_direct_conv *d, const ed_window *w, const ed_conv_params *params,
                          const ed_shape *x, const ed_shape *y);

#endif
