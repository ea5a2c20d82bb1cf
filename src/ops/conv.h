/* What conv.c lends to the gradients of convolutions. */
#ifndef OPS_CONV_H
#define OPS_CONV_H

#include "ops/window.h"

extern const ed_attr_spec ed_conv_attrs[];

/* The convolution from y (out[0]) to x (in[0]) run backwards: every element of x spreads through
 * the weights in[1]; bias in[2] or none. `window` is that of the convolution. */
int ed_conv_spread(const ed_call *c, const ed_window *window, int64_t group);

int ed_conv_gradient(ed_grad *g);
int ed_conv_transpose_gradient(ed_grad *g);

#endif
