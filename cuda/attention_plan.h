/* Attention as a problem of plans.h: o = softmax(scale q k^T [+ bias]) v, stored as bfloat16. */
#ifndef CUDA_ATTENTION_PLAN_H
#define CUDA_ATTENTION_PLAN_H

#include "plans.h"

enum { ED_SDPA_Q, ED_SDPA_K, ED_SDPA_V, ED_SDPA_O, ED_SDPA_BIAS, ED_SDPA_SCALE }; /* operands */

/* [batch, heads, rows, columns] of an operand and its steps in elements; dimensions of the batch
 * and the heads are 1 where it repeats. */
typedef struct ed_cuda_sdpa_operand {
    int64_t dim[4], step[4];
} ed_cuda_sdpa_operand;

typedef struct ed_cuda_sdpa {
    ed_cuda_sdpa_operand at[ED_SDPA_SCALE]; /* k: [batch, heads, d, m], the transposed one */
    float scale;
    int32_t bias;     /* there is one */
    int32_t bias_f32; /* stored as float32 */
    int32_t unused;   /* no padding: it would be hashed */
} ed_cuda_sdpa;

extern const ed_cuda_kind ed_cuda_sdpa_kind;

#endif
