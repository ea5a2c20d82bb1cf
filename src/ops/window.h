/* The sliding window of convolutions and pooling, as their inference and reference kernels walk it.
 */
#ifndef OPS_WINDOW_H
#define OPS_WINDOW_H

#include "ops/op.h"

extern const char *const ed_auto_pad_words[];

/* Positions of the window along spatial axis i of an input of size `in`; ED_DIM_UNKNOWN when the
 * input or the kernel is not known. ceil_mode keeps a last window that begins inside of the input
 * or its left padding and hangs over the right one. */
int64_t ed_window_positions(const ed_window *w, int i, int64_t in, bool ceil_mode);

/* One axis of a window: tap k at output position o reads input o * stride - pad + k * dilation. */
typedef struct ed_window_axis {
    int64_t in, out, kernel, stride, dilation, pad;
} ed_window_axis;
/* Depth, height, width of a window from x [N, C, spatial...] to y; missing leading axes have
 * size 1. */
void ed_window_axes(ed_window_axis axes[3], const ed_window *w, const ed_shape *x,
                    const ed_shape *y);
/* Output positions [*lo, *hi) at which tap k reads inside of the input. */
void ed_window_valid(const ed_window_axis *a, int64_t k, int64_t *lo, int64_t *hi);

/* ---- pooling: shared by MaxPool, AveragePool and their gradients ---- */
extern const ed_attr_spec ed_pool_attrs[]; /* of ed_pool_params */
/* The output's shape for an input of known rank. */
int ed_pool_shape(ed_shape *y, const ed_infer *ctx, const ed_shape *x);

typedef struct ed_pool_axes {
    ed_window_axis axis[3]; /* depth, height, width */
    int64_t padded_end[3];  /* of each axis: first position beyond the right padding */
    bool include_pad;
} ed_pool_axes;
int ed_pool_axes_of(ed_pool_axes *out, const ed_node *node, const ed_pool_params *p,
                    const ed_shape *x, const ed_shape *y);
/* What an average divides by along one axis at output position o. */
int64_t ed_pool_divisor(const ed_pool_axes *a, int axis, int64_t o);

int ed_max_pool_forward(const ed_call *call); /* max_pool.c */
/* The place of the first largest tap for the output element (d, h, w) of a plane that begins at
 * element `plane` of x, as a place of the plane row by row; -1 when no tap is inside. */
int64_t ed_max_pool_place(const ed_tensor *x, const ed_window_axis axis[3], int64_t plane,
                          const int64_t out[3]);

#endif
