/*
 * Launchers of the gradients that are kernels of ours: activation_grad.cu, quantize_grad.cu,
 * pool_grad.cu, softmax_grad.cu, layer_norm_grad.cu, gather_grad.cu, loss.cu. `bf16`: dy, dx and
 * the forward value are stored as bfloat16. Sums are made in the same order in each run.
 */
#ifndef CUDA_GRAD_H
#define CUDA_GRAD_H

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- dx[i] = f(dy[i], v[i]); dx may be dy ---- */
enum ed_cuda_slope { /* ops/activation_grad.c tells the formulas */
                     ED_SLOPE_RELU,
                     ED_SLOPE_LEAKY_RELU, /* a: alpha */
                     ED_SLOPE_CLIP,       /* a, b: the bounds */
                     ED_SLOPE_SIGMOID,
                     ED_SLOPE_HARD_SIGMOID, /* a: alpha */
                     ED_SLOPE_HARD_SWISH,
                     ED_SLOPE_TANH,
                     ED_SLOPE_MISH,
                     ED_SLOPE_ELU, /* a: alpha */
                     ED_SLOPE_GELU,
                     ED_SLOPE_GELU_TANH,
                     ED_SLOPE_ERF,
                     ED_SLOPE_ABS
};
int ed_cuda_activation_grad(int slope, void *dx, const void *dy, const void *v, bool bf16,
                            int64_t n, float a, float b, ed_stream stream);

/* ---- FakeQuantize of [outer][channels][inner] ---- */
/* dx may be dy. */
int ed_cuda_quantize_grad(void *dx, const void *dy, const void *x, bool bf16, int64_t outer,
                          int64_t channels, int64_t inner, const ed_cuda_quantizer *q,
                          ed_stream stream);
size_t ed_cuda_scale_grad_scratch(int64_t outer, int64_t channels, int64_t inner);
/* dscale [channels], float32 */
int ed_cuda_scale_grad(float *dscale, const void *dy, const void *x, bool bf16, int64_t outer,
                       int64_t channels, int64_t inner, const ed_cuda_quantizer *q, void *scratch,
                       ed_stream stream);

/* ---- pooling: dx in the order of x ---- */
size_t ed_cuda_pool_grad_scratch(const ed_cuda_pool *pool);
/* x is read for the largest taps alone. */
int ed_cuda_pool_grad(void *dx, const void *dy, const void *x, bool bf16, const ed_cuda_pool *pool,
                      void *scratch, ed_stream stream);

/* ---- Softmax, LogSoftmax: y is the forward output; dx may be dy ---- */
int ed_cuda_softmax_grad(void *dx, const void *dy, const void *y, bool bf16, const ed_lines *lines,
                         bool log, ed_stream stream);

/* ---- LayerNormalization of rows of n ---- */
typedef struct ed_cuda_norm_grad {
    int64_t rows;
    int n;
    float epsilon;
} ed_cuda_norm_grad;
size_t ed_cuda_norm_grad_scratch(const ed_cuda_norm_grad *norm);
/* scale may be NULL: 1; dscale, dbias (float32) may be NULL. dx may be dy only without those. */
int ed_cuda_layer_norm_grad(void *dx, float *dscale, float *dbias, const void *dy, const void *x,
                            bool bf16, const float *scale, const ed_cuda_norm_grad *norm,
                            void *scratch, ed_stream stream);

/* ---- Gather: dx [outer][size][inner] += dy [outer][count][inner] at indices, in their order ----
 * Indices outside of -size .. size - 1 add nothing. */
typedef struct ed_cuda_gather_grad {
    int64_t outer, size, inner, count;
    bool wide; /* indices are int64, else int32 */
} ed_cuda_gather_grad;
int ed_cuda_gather_grad_run(void *dx, const void *dy, bool bf16, const void *indices,
                            const ed_cuda_gather_grad *g, ed_stream stream);

/* ---- losses: float32; class k of sample r is at (r / inner * classes + k) * inner + r % inner
 * ----
 */
typedef struct ed_cuda_loss {
    int64_t samples, classes, inner;
    float weight, label_smoothing, temperature;
} ed_cuda_loss;
size_t ed_cuda_loss_scratch(const ed_cuda_loss *l);
/* A label that is no class and not -100 makes the loss, and the sample's gradient, NaN. */
int ed_cuda_cross_entropy(float *loss, const float *z, const int64_t *labels, const ed_cuda_loss *l,
                          void *scratch, ed_stream stream);
int ed_cuda_cross_entropy_grad(float *dz, const float *dloss, const float *z, const int64_t *labels,
                               const ed_cuda_loss *l, void *scratch, ed_stream stream);
int ed_cuda_distillation(float *loss, const float *z, const float *teacher, const ed_cuda_loss *l,
                         void *scratch, ed_stream stream);
int ed_cuda_distillation_grad(float *dz, const float *dloss, const float *z, const float *teacher,
                              const ed_cuda_loss *l, ed_stream stream);
/* Of n elements; l->weight alone is read. */
size_t ed_cuda_squares_scratch(int64_t n);
int ed_cuda_squares(float *loss, const float *y, const float *target, int64_t n,
                    const ed_cuda_loss *l, void *scratch, ed_stream stream);
int ed_cuda_squares_grad(float *dy, const float *dloss, const float *y, const float *target,
                         int64_t n, const ed_cuda_loss *l, ed_stream stream);

#ifdef __cplusplus
}
#endif

#endif
