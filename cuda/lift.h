/* Launcher of lift.cu. */
#ifndef CUDA_LIFT_H
#define CUDA_LIFT_H

/* Pictures x [n][channels][h][w] for tensor cores: y [n][rows][columns][width], where point (i, j)
 * holds the `block` x `block` points of x that begin at ((i - top) block, (j - left) block), all
 * channels of each, and zeros: outside of x, and up to `width`, a multiple of 4 for float32 and of
 * 8 for bfloat16. y begins at a multiple of 16 bytes. */
typedef struct ed_cuda_lifting {
    int64_t n, channels, h, w;
    int64_t rows, columns, top, left;
    int block, width;
} ed_cuda_lifting;
int ed_cuda_lift(void *y, bool bf16, const float *x, const ed_cuda_lifting *how, ed_stream stream);

/* The weights that belong to them: [filters][size h][size w][width], where tap (kh, kw) of the
 * original [filters][channels][kernel h][kernel w] is read in its block; see conv_lift.h. */
typedef struct ed_cuda_lifted_taps {
    int64_t filters;
    int channels, block, width;
    int kernel[2], size[2];
    int shift[2]; /* tap k of the original lies at place shift + k of the blocks */
} ed_cuda_lifted_taps;
/* The lifted weights of w; and the original ones of lifted float32, or bfloat16. */
int ed_cuda_lift_taps(void *to, bool bf16, const float *w, const ed_cuda_lifted_taps *taps,
                      ed_stream stream);
int ed_cuda_lower_taps(float *w, const void *from, bool bf16, const ed_cuda_lifted_taps *taps,
                       ed_stream stream);

#endif
