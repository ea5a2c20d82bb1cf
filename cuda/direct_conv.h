/*
 * Launchers of direct_conv.cu, depthwise.cu and depthwise_grad.cu.
 *
 * Sizes along an axis, paddings and spans of kernels are at most ED_CONV_MOST, so that positions
 * are 32-bit numbers; a ConvTranspose may have any padding at its end, which no kernel reads.
 */
#ifndef CUDA_DIRECT_CONV_H
#define CUDA_DIRECT_CONV_H

enum { ED_CONV_MOST = 1 << 29 };

/* Conv: tap k of output o reads input o * stride - pad + k * dilation. ConvTranspose: it reads
 * input i where o = i * stride - pad + k * dilation. */
typedef struct ed_conv_axis {
    int in, out, kernel, stride, dilation, pad;
} ed_conv_axis;

/* x [n][group * channels][in...], y [n][group * filters][out...], w [group * filters][channels]
 * [taps], or [group * channels][filters][taps] of a ConvTranspose. One plane of x or y has at most
 * ED_CONV_MOST elements, taps and channels * taps are at most ED_CONV_MOST_ROWS. */
enum { ED_CONV_MOST_ROWS = 1 << 25 };
typedef struct ed_direct_conv {
    bool transposed;
    int64_t n;
    int group, channels, filters; /* the latter two of one group */
    ed_conv_axis axis[3];         /* depth, height, width */
} ed_direct_conv;

/* Floats of the scratch memory: the weights in the kernel's order. */
size_t ed_cuda_direct_conv_scratch(const ed_direct_conv *d);
/* `bias` [group * filters] or NULL; `scratch` is 16-byte aligned. */
int ed_cuda_conv_direct(float *y, const float *x, const float *w, const float *bias, float *scratch,
                        const ed_direct_conv *d, ed_stream stream);

/* x [n][in h][in w][channels], y [n][out h][out w][channels], both bfloat16 or both float; a
 * sample of x or y, and w, have at most ED_CONV_MOST elements. */
typedef struct ed_depthwise {
    int64_t n;
    int channels;
    ed_conv_axis h, w;
    bool bf16;
} ed_depthwise;

/* y = posts(bias + conv(x)); `w` [kernel h][kernel w][channels]; `bias` [channels] or NULL;
 * `residual` is of y's shape and storage, read by ED_CUDA_POST_ADD. Pointers are 16-byte aligned,
 * the weights finite (a tap in the padding counts as 0 * w). */
int ed_cuda_conv_depthwise(void *y, const void *x, const float *w, const float *bias,
                           const void *residual, const ed_cuda_posts *posts, const ed_depthwise *d,
                           ed_stream stream);

/* ---- weights that change between runs, and gradients ---- */
static inline size_t ed_cuda_depthwise_taps(const ed_depthwise *d)
{
    return (size_t)d->h.kernel * (size_t)d->w.kernel * (size_t)d->channels;
}
/* w [channels][taps] as [taps][channels]; `flip`: the last tap first. */
int ed_cuda_depthwise_pack(float *to, const float *w, const ed_depthwise *d, bool flip,
                           ed_stream stream);

/* `d` is the forward convolution, from x (in) to y (out); dy and dx, x are stored as d->bf16 says.
 */
/* dx; `w` [channels][taps], `scratch`: ed_cuda_depthwise_taps() floats. */
int ed_cuda_depthwise_dx(void *dx, const void *dy, const float *w, float *scratch,
                         const ed_depthwise *d, ed_stream stream);
/* dw [channels][taps], summed in a fixed order; n * out h * out w is less than 2^31. */
size_t ed_cuda_depthwise_dw_scratch(const ed_depthwise *d); /* bytes */
int ed_cuda_depthwise_dw(float *dw, const void *dy, const void *x, void *scratch,
                         const ed_depthwise *d, ed_stream stream);

/* dw [group * filters][channels][taps] of any convolution, row-major float32; `d` as above, not
 * transposed. A block an element: for what nothing else runs. */
int ed_cuda_conv_direct_dw(float *dw, const float *dy, const float *x, const ed_direct_conv *d,
                           ed_stream stream);

#endif
