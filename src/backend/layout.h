/* Physical layouts of a value of rank >= 3, [N, C, spatial...]. */
#ifndef BACKEND_LAYOUT_H
#define BACKEND_LAYOUT_H

#include "ed/tensor.h"

typedef enum ed_layout {
    ED_LAYOUT_PLAIN,         /* row-major, NCHW: any rank */
    ED_LAYOUT_CHANNELS_LAST, /* NHWC */
    ED_LAYOUT_BLOCKED8,      /* nChw8c: channels padded with zeros to a multiple of 8 */
    ED_LAYOUT_BLOCKED16,     /* nChw16c */
    ED_LAYOUT_COUNT
} ed_layout;

/* "plain", "nhwc", "nChw8c", "nChw16c" */
const char *ed_layout_name(ed_layout layout);
/* Channels of a block: 8 or 16; 1 for the layouts without padding. */
int64_t ed_layout_block(ed_layout layout);
/* Product of the dimensions behind the channels; 1 when there are none. */
int64_t ed_layout_spatial(const ed_shape *shape);
/* Elements of the storage, padding included. ED_ESHAPE on overflow. */
int ed_layout_numel(int64_t *out, ed_layout layout, const ed_shape *shape);
/* True when both layouts of that shape are the same bytes: one picture point, no padding. */
bool ed_layout_same_storage(ed_layout a, ed_layout b, const ed_shape *shape);
/* Copy floats of that layout and shape (rank >= 2) to row-major order, without the padding. */
void ed_layout_unpack(float *plain, const float *data, ed_layout layout, const ed_shape *shape);

#endif
