/* What the rows of the gradients of convolutions share. */
#ifndef CUDA_CONV_GRAD_ROWS_H
#define CUDA_CONV_GRAD_ROWS_H

#include "kernels.h"
#include "rows.h"

ED_DECLARE_ROW(ed_cuda_depthwise_input_grad);
ED_DECLARE_ROW(ed_cuda_depthwise_weight_grad);
ED_DECLARE_ROW(ed_cuda_direct_input_grad);
ED_DECLARE_ROW(ed_cuda_direct_weight_grad);

/* The window of the forward convolution of a ConvInputGrad or ConvWeightGrad; false: refused. */
bool ed_cuda_conv_grad_window(ed_window *w, ed_kernel_plan *p, bool weight);
/* The second output, sums of dy, by ed_cuda_channel_sums(). */
int ed_cuda_bias_grad_run(const ed_call *call, const ed_cuda_reduction *sums, bool bf16,
                          void *scratch);

#endif
