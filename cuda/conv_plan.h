/* A convolution with what follows it, as a problem of plans.h. */
#ifndef CUDA_CONV_PLAN_H
#define CUDA_CONV_PLAN_H

#include "plans.h"

typedef enum ed_conv_direction {
    ED_CONV_FORWARD,
    ED_CONV_INPUT_GRAD, /* also ConvTranspose: x is dy, y is dx, w is [c, k / group, kernel] */
    ED_CONV_WEIGHT_GRAD /* y is dy; w is the result */
} ed_conv_direction;

/* Channels last, spatial rank 2 or 3. */
typedef struct ed_cuda_conv {
    int64_t n, c, k, group; /* x [n, c, in], w [k, c / group, kernel], y [n, k, out] */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3];
    int32_t spatial;
    int32_t direction;       /* ed_conv_direction; posts are for the forward one */
    int32_t bf16, w_bf16;    /* storage of x, residual and y; of w */
    int32_t fp32;            /* no products of shortened mantissas */
    int32_t deterministic;   /* sums in the same order in each run */
    int32_t bias;            /* float32 [k] */
    int32_t residual;        /* as y */
    int32_t n_posts, unused; /* no padding: it would be hashed */
    struct {
        int32_t kind; /* ed_post_kind, one of those that ed_cuda_conv_fuses() */
        float a, b;
    } posts[ED_MAX_POSTS];
} ed_cuda_conv;

enum { ED_CONV_X, ED_CONV_W, ED_CONV_Y, ED_CONV_BIAS, ED_CONV_RESIDUAL }; /* operands */
extern const ed_cuda_kind ed_cuda_conv_kind;

/* True when cuDNN's graphs have this operation. */
bool ed_cuda_conv_fuses(const ed_post *post, bool bf16);

#endif
