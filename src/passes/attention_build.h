/* Attention as explicit nodes: what the attention operators have in common. */
#ifndef PASSES_ATTENTION_BUILD_H
#define PASSES_ATTENTION_BUILD_H

#include "passes/build.h"

typedef struct ed_attention {
    ed_id q, k, v;
    ed_id bias;           /* added to the scores; ED_NONE */
    ed_id masked;         /* bool: the rows that no key is left for, which become 0; ED_NONE */
    ed_id past_k, past_v; /* [N, H, S, D], in front of k and v; ED_NONE */
    int64_t heads, kv_heads;
    double scale, cap; /* cap tanh(s / cap) bounds the scores; 0: does not */
    bool split;        /* q, k and v are [N, H, S, D] already, else [N, S, H D] */
    bool keeps_keys;   /* they are wanted as [N, H, S, D] */
} ed_attention;

/* Scores on their way, as ONNX counts them (qk_matmul_output_mode). */
enum { ED_SCORES_RAW, ED_SCORES_CAPPED, ED_SCORES_BIASED, ED_SCORES_SOFTMAX, ED_SCORES_STAGES };

typedef struct ed_attention_values {
    ed_id y, keys, values, scores[ED_SCORES_STAGES];
} ed_attention_values;

/* The nodes beside the old operator, which stays; names begin with `stem`. */
int ed_build_attention(ed_graph *g, ed_attention_values *out, const ed_attention *a,
                       const char *stem);
/* Where(condition, yes, no). */
int ed_build_where(ed_graph *g, ed_id *out, const char *stem, ed_id condition, ed_id yes, ed_id no);
/* The attribute scale, 1 / sqrt(size of a head) when it is not stated. */
double ed_attention_scale(const ed_node *node, int64_t size);

#endif
