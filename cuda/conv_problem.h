/* What the rows of convolutions and of their gradients share: the problem as cuDNN has it, and
 * padding as a copy. */
#ifndef CUDA_CONV_PROBLEM_H
#define CUDA_CONV_PROBLEM_H

#include "conv_plan.h"
#include "kernels.h"
#include "ops/op.h"

/* The problem of the operands x and y (conv_plan.h) without what follows. A picture of one
 * dimension has a height of 1. */
void ed_conv_problem(ed_cuda_conv *c, const ed_cuda *device, const ed_window *w,
                     const ed_conv_params *params, const ed_shape *x, const ed_shape *y,
                     ed_conv_direction direction);

/* Uneven padding, none of it a cut. */
bool ed_conv_is_uneven(const ed_cuda_conv *c);

/* Padding apart from the convolution: its picture is a padded copy of the original. */
typedef struct ed_conv_padding {
    bool apart;
    ed_walk walk;         /* operand 0: the picture in the copy; 1: the original */
    size_t bytes, offset; /* of the copy; of the picture in it */
} ed_conv_padding;
/* Take the padding out of the problem. */
void ed_conv_pad_apart(ed_conv_padding *p, ed_cuda_conv *c);
/* The padded copy of x at `to`. */
int ed_conv_pad(void *to, const void *x, const ed_conv_padding *p, bool bf16, ed_cuda *device);
/* What the copy `from` has of the original y. */
int ed_conv_cut(void *y, const void *from, const ed_conv_padding *p, bool bf16, ed_cuda *device);

/* Parts of the scratch memory begin at multiples of 256 bytes. */
static inline size_t ed_conv_round_up(size_t nbytes)
{
    return (nbytes + 255) / 256 * 256;
}

#endif
