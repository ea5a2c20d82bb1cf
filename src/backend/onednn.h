/*
 * oneDNN behind a small interface in our own types: primitives.c and onednn.c hold every call of
 * the library. A builder leaves *out NULL, without an error, when the library has no
 * fast implementation of the case.
 */
#ifndef BACKEND_ONEDNN_H
#define BACKEND_ONEDNN_H

#include "backend/layout.h"

/* Engine and stream. One per executor; primitives borrow it. */
typedef struct ed_dnn ed_dnn;
int ed_dnn_new(ed_dnn **out);
void ed_dnn_free(ed_dnn *dnn);
/* The layout that this machine's convolutions like best: nChw16c with AVX-512, else nChw8c. */
ed_layout ed_dnn_blocked(const ed_dnn *dnn);

/* What follows the main computation, in order. y is the value so far. */
typedef enum ed_post_kind {
    ED_POST_RELU,      /* y < 0 ? a * y : y */
    ED_POST_CLIP,      /* min(max(y, a), b) */
    ED_POST_LINEAR,    /* a * y + b */
    ED_POST_SIGMOID,   /* 1 / (1 + exp(-y)) */
    ED_POST_TANH,      /* tanh(y) */
    ED_POST_SWISH,     /* y * sigmoid(y) */
    ED_POST_HARDSWISH, /* y * min(max(y / 6 + 1/2, 0), 1) */
    ED_POST_GELU,      /* y / 2 * (1 + erf(y / sqrt 2)) */
    ED_POST_GELU_TANH, /* y / 2 * (1 + tanh(sqrt(2 / pi) * (y + 0.044715 y^3))) */
    ED_POST_SUM,       /* y + what the output buffer held before */
    ED_POST_ADD        /* y + ED_ARG_OTHER, of the output's shape and layout */
} ed_post_kind;

typedef struct ed_post {
    ed_post_kind kind;
    float a, b;
} ed_post;

enum { ED_MAX_POSTS = 4 };
typedef struct ed_posts {
    size_t count;
    ed_post at[ED_MAX_POSTS];
} ed_posts;

/* A tensor as a primitive sees it. */
typedef struct ed_dnn_tensor {
    const ed_shape *shape;
    ed_layout layout;
    const int64_t *step; /* plain only: elements between neighbours; NULL: dense */
} ed_dnn_tensor;

/* ---- a primitive: compiled once, run often ---- */
enum { ED_ARG_SRC, ED_ARG_WEIGHTS, ED_ARG_BIAS, ED_ARG_OTHER, ED_ARG_DST, ED_ARG_COUNT };
typedef struct ed_prim ed_prim;
/* `data` of the arguments that it has; DST is written. */
int ed_prim_run(ed_prim *prim, const void *const data[ED_ARG_COUNT], void *scratch);
void ed_prim_free(ed_prim *prim);
size_t ed_prim_scratch(const ed_prim *prim);   /* bytes */
const char *ed_prim_name(const ed_prim *prim); /* the library's name of the implementation */
/* Weights in the primitive's own format, released with ed_free(). `plain` has the shape given to
 * the builder, row-major (grouped convolutions: [K, C/group, ...]). */
int ed_prim_pack(void **out, size_t *nbytes, const ed_prim *prim, const float *plain);
/* True when packed weights of one serve the other. */
bool ed_prim_same_pack(const ed_prim *a, const ed_prim *b);
/* For weights that change between runs: the copy from row-major (SRC) to the primitive's own format
 * (DST), or the other way round for a primitive that computes weights. *out is NULL when both are
 * the same. */
int ed_prim_packer_new(ed_prim **out, const ed_prim *prim);
size_t ed_prim_packed_bytes(const ed_prim *prim);

/* ---- builders ---- */
typedef struct ed_dnn_conv {
    ed_dnn_tensor x, y;
    const ed_shape *weight; /* [K, C/group, spatial...] */
    int64_t group;
    const int64_t *stride, *dilation, *pad_begin, *pad_end; /* ONNX's, per spatial dimension */
    bool bias;
    bool winograd;
    bool gemm; /* take the library's im2col + GEMM too */
    ed_posts posts;
} ed_dnn_conv;
int ed_dnn_conv_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c);
/* d loss / dx from d loss / dy: SRC is dy, DST dx (both laid out as x and y say). */
int ed_dnn_conv_input_grad_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c);
/* d loss / d weight: SRC is x, OTHER dy, DST the weights, BIAS (written) the sums of dy. */
int ed_dnn_conv_weight_grad_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c);

/* y = x * w + bias; weights packed when `constant`, else as they lie. Batch dimensions broadcast.
 */
typedef struct ed_dnn_matmul {
    ed_dnn_tensor x, w, y;
    bool constant, bias; /* bias [n] */
    ed_posts posts;
} ed_dnn_matmul;
int ed_dnn_matmul_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_matmul *m);

typedef enum ed_pool_kind { ED_POOL_MAX, ED_POOL_AVG, ED_POOL_AVG_WITH_PADS } ed_pool_kind;
typedef struct ed_dnn_pool {
    ed_dnn_tensor x, y;
    ed_pool_kind kind;
    const int64_t *kernel, *stride, *dilation, *pad_begin, *pad_end;
} ed_dnn_pool;
int ed_dnn_pool_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_pool *p);

/* One of RELU to GELU_TANH, in place or not; the padding of the output is zero. */
int ed_dnn_eltwise_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_tensor *x, const ed_post *f);

/* A copy into another layout. Always exists. */
int ed_dnn_reorder_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_tensor *from, ed_layout to);

#endif
