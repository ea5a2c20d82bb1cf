/* What the rows of FakeQuantize and of its gradients share. */
#ifndef CUDA_QUANTIZE_ROWS_H
#define CUDA_QUANTIZE_ROWS_H

#include "kernels.h"
#include "rows.h"

/* A value as it lies in memory: `inner` elements share a scale, then comes the next one of the
 * axis. */
typedef struct ed_cuda_quantized {
    int64_t outer, channels, inner;
    int64_t qmin, qmax;
} ed_cuda_quantized;
void ed_cuda_quantized_of(ed_cuda_quantized *out, const ed_fake_quant_params *params,
                          const ed_shape *shape, ed_layout layout);

#endif
