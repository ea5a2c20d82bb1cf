/* What Resize and Upsample resolve to: per axis sizes and a scale; resample.c does the arithmetic.
 */
#ifndef OPS_RESIZE_H
#define OPS_RESIZE_H

#include "ops/op.h"

enum { ED_RESIZE_MAX_SIZE = 1 << 24 }; /* of an axis that changes */
extern const char *const ed_resize_modes[], *const ed_resize_coordinates[];

enum { ED_RESIZE_NEAREST, ED_RESIZE_LINEAR, ED_RESIZE_CUBIC };
enum {
    ED_COORD_HALF_PIXEL,
    ED_COORD_ALIGN_CORNERS,
    ED_COORD_ASYMMETRIC,
    ED_COORD_PYTORCH_HALF_PIXEL,
    ED_COORD_HALF_PIXEL_SYMMETRIC,
    ED_COORD_CROP,
    ED_COORD_TF_HALF_PIXEL
};
enum {
    ED_NEAREST_PREFER_FLOOR,
    ED_NEAREST_PREFER_CEIL,
    ED_NEAREST_FLOOR,
    ED_NEAREST_CEIL,
    ED_NEAREST_SIMPLE /* of opset 10 and earlier: truncated, rounded up when the axis shrinks */
};

typedef struct ed_resize_params {
    int mode, coordinates, nearest, policy;
    float cubic_coeff, extrapolation;
    int64_t exclude_outside, antialias;
    ed_ints axes;
} ed_resize_params;

typedef struct ed_resize_axis {
    int axis;
    int64_t in, out;
    float scale;
    float begin, end; /* of the region, 0 to 1; only ED_COORD_CROP */
} ed_resize_axis;

/* The axes of x that change, in the order in which they are resampled; `in` are the node's inputs.
 * Returns their number. */
ED_PLUGIN int ed_resize_axes(ed_resize_axis axes[ED_MAX_RANK], const ed_node *node,
                             const ed_resize_params *p, const ed_tensor *const *in,
                             const ed_shape *x);

/* Where the output positions of one axis read, and with which weights. */
typedef struct ed_resize_taps {
    int count;      /* per output position */
    int64_t *index; /* [out][count] */
    float *weight;  /* [out][count]; NULL: nearest, weight 1 */
    bool *outside;  /* [out]: the extrapolation value stands there; only ED_COORD_CROP */
} ed_resize_taps;
/* ED_ENOMEM; free them in any case. */
ED_PLUGIN int ed_resize_taps_make(ed_resize_taps *t, const ed_resize_params *p,
                                  const ed_resize_axis *a);
ED_PLUGIN void ed_resize_taps_free(ed_resize_taps *t);

/* y = x resampled along n axes, one after the other. ED_ENOMEM. */
int ed_resample(ed_tensor *y, const ed_tensor *x, const ed_resize_params *p,
                const ed_resize_axis *axes, int n);

#endif
