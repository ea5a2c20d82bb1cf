/*
 * Physical formats of a value: the order of a value of rank >= 3, [N, C, spatial...], and for the
 * BF16 ones the type that its float32 elements are kept in.
 */
#ifndef BACKEND_LAYOUT_H
#define BACKEND_LAYOUT_H

#include "base/error.h"
#include "ed/tensor.h"

typedef enum ed_layout {
    ED_LAYOUT_PLAIN,         /* row-major, NCHW: any rank */
    ED_LAYOUT_CHANNELS_LAST, /* NHWC */
    ED_LAYOUT_BLOCKED8,      /* nChw8c: channels padded with zeros to a multiple of 8 */
    ED_LAYOUT_BLOCKED16,     /* nChw16c */
    ED_LAYOUT_PLAIN_BF16,    /* as PLAIN, every float32 kept as bfloat16 */
    ED_LAYOUT_CHANNELS_LAST_BF16,
    ED_LAYOUT_COUNT
} ed_layout;

/* "plain", "nhwc", "nChw8c", "nChw16c", "plain bf16", "nhwc bf16" */
ED_PLUGIN const char *ed_layout_name(ed_layout layout);
/* Bytes of a float32 element: 4 or 2. */
ED_PLUGIN size_t ed_layout_element(ed_layout layout);
/* The same order with float32 or bfloat16 elements. */
ED_PLUGIN ed_layout ed_layout_with_bf16(ed_layout layout, bool bf16);
/* Channels of a block: 8 or 16; 1 for the layouts without padding. */
ED_PLUGIN int64_t ed_layout_block(ed_layout layout);
/* Product of the dimensions behind the channels; 1 when there are none. */
ED_PLUGIN int64_t ed_layout_spatial(const ed_shape *shape);
/* Elements of the storage, padding included. ED_ESHAPE on overflow. */
ED_PLUGIN int ed_layout_numel(int64_t *out, ed_layout layout, const ed_shape *shape);
/* True when both layouts of that shape are the same bytes: one picture point, no padding. */
ED_PLUGIN bool ed_layout_same_storage(ed_layout a, ed_layout b, const ed_shape *shape);
/* Copy floats of that layout and shape (rank >= 2) to row-major order, without the padding. */
void ed_layout_unpack(float *plain, const float *data, ed_layout layout, const ed_shape *shape);

#endif
