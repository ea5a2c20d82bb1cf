/*
 * Convolutions of pictures with few channels, rewritten for tensor cores.
 *
 * Before: x [n, c, h, w], c of 1 to 3 (float32) or 7 (bfloat16).
 * After:  x gets zeros as further channels, up to 16 bytes of them. In bfloat16, with a stride of 2
 * and c up to 4, the points of each 2 x 2 block become channels of one point instead: tap k of a
 * window that begins at 2 o - p lies in block o + q at place r, k - p = 2 q + r, so the stride
 * becomes 1, the kernel half as large, and the channels 4 c. Padding is made with the blocks. An
 * infinity in the picture also gives NaN where a tap that was added, a zero, meets it.
 */
#ifndef CUDA_CONV_LIFT_H
#define CUDA_CONV_LIFT_H

#include "conv_plan.h"
#include "kernels.h"

typedef struct ed_conv_lift {
    ed_cuda_lifting how;                 /* width 0: nothing is rewritten */
    size_t nbytes;                       /* of x when it is rewritten */
    int64_t kernel[2], pad[2], first[2]; /* of the original; q of the first tap */
} ed_conv_lift;

/* Rewrite the problem where that helps. */
void ed_conv_lift_problem(ed_conv_lift *l, ed_cuda_conv *c);
/* True when both want the same weights. */
bool ed_conv_lift_same(const ed_conv_lift *a, const ed_conv_lift *b);
/* Weights [k][c][kernel] as the problem wants them, [k][kernel][channels]; with nothing rewritten,
 * too. *out is released with ed_free(). */
int ed_conv_lift_weights(float **out, const ed_conv_lift *l, const ed_tensor *w);
/* The same on the device, where x is rewritten: what lift.cu needs; returns the bytes of the
 * rewritten weights. */
size_t ed_conv_lift_taps(ed_cuda_lifted_taps *taps, const ed_conv_lift *l, int64_t filters,
                         bool bf16);

#endif
