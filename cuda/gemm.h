/* A matrix product by cuBLASLt: y = act(alpha x w + beta c + bias), row-major, in batches. */
#ifndef CUDA_GEMM_H
#define CUDA_GEMM_H

#include "device.h"

typedef struct ed_cuda_gemm {
    int64_t m, n, k;
    bool trans_x, trans_w;                 /* x is [k][m], w is [n][k] */
    int64_t ld_x, ld_w;                    /* elements from one row of x, w to the next */
    bool bf16;                             /* storage of x, w, c, y and bias */
    bool fp32;                             /* no products of shortened mantissas */
    int64_t batch, step_x, step_w, step_y; /* elements from one product to the next */
    float alpha, beta;                     /* beta: of c, which lies as y does */
    bool bias;                             /* [n] */
    bool relu, gelu_tanh;
} ed_cuda_gemm;

/* Compiled: descriptors and the algorithm. */
typedef struct ed_cuda_product ed_cuda_product;
/* *out is NULL, without an error, when cuBLASLt has no algorithm for it. */
int ed_cuda_product_new(ed_cuda_product **out, ed_cuda *device, const ed_cuda_gemm *g);
/* c may be y. */
int ed_cuda_product_run(const ed_cuda_product *p, ed_cuda *device, const void *x, const void *w,
                        const void *bias, const void *c, void *y);
void ed_cuda_product_free(ed_cuda_product *p);

#endif
