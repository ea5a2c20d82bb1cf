/* Rows of our own convolution kernels, listed with the library's in the table of Conv. */
#ifndef CUDA_DIRECT_CONV_ROWS_H
#define CUDA_DIRECT_CONV_ROWS_H

#include "rows.h"

ED_DECLARE_ROW(ed_cuda_depthwise);   /* Conv of one filter a channel [+ Add] [+ activation] */
ED_DECLARE_ROW(ed_cuda_direct_conv); /* Conv, ConvTranspose: whatever the others refuse */

#endif
