/*
 * Attention as a chain of nodes, y = Softmax(scale Q K^T [+ mask]) V, [+ Transpose of y]:
 *
 *   MatMul(q, k) [Mul | Div by a number] [Add of a mask] Softmax(last axis) MatMul(p, v)
 *
 * and where its operands lie: q, k, v and y may be strided views, so that the Transposes around the
 * heads need not run. Ranks 2 and more; batch dimensions broadcast.
 */
#ifndef OPS_ATTENTION_MATCH_H
#define OPS_ATTENTION_MATCH_H

#include "ops/op.h"

enum { ED_ATTENTION_Q, ED_ATTENTION_K, ED_ATTENTION_V, ED_ATTENTION_MASK, ED_ATTENTION_INPUTS };

/* Elements between neighbours; 0 where the operand repeats. */
typedef struct ed_attention_steps {
    int64_t batch[ED_MAX_RANK], row, column;
} ed_attention_steps;

typedef struct ed_attention {
    ed_id in[ED_ATTENTION_INPUTS]; /* whose memory is read; the mask may be ED_NONE */
    uint32_t taken;                /* nodes; the last one's output is y */
    float scale;
    int batch_rank;
    int64_t batch[ED_MAX_RANK];
    int64_t n, m, d, dv; /* Q [n, d], K^T [d, m], V [m, dv], mask [n, m], y [n, dv] */
    ed_attention_steps at[ED_ATTENTION_INPUTS], y; /* of k: those of K^T */
} ed_attention;

/* False when the nodes are something else, or are looked into. Columns of Q, V and y are dense. */
ED_PLUGIN bool ed_attention_match(ed_attention *out, const ed_kernel_plan *p);

#endif
