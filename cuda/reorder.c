/* Formats of a tensor as transpositions: NCHW is [N][C][points], NHWC is [N][points][C]. */
#include "kernels.h"
#include "rows.h"

static bool is_bf16(ed_layout layout)
{
    return ed_layout_element(layout) == 2;
}

int ed_cuda_convert_tensor(ed_cuda *device, void *to, ed_layout to_layout, const void *from,
                           ed_layout from_layout, const ed_shape *shape)
{
    ed_layout order = ed_layout_with_bf16(from_layout, false);
    int64_t numel, batches = 1, rows = 1, columns;

    ED_TRY(ed_shape_numel(&numel, shape));
    columns = numel;
    if (shape->rank >= 3 && ed_layout_with_bf16(to_layout, false) != order) {
        bool plain = order == ED_LAYOUT_PLAIN;
        int64_t channels = shape->dim[1], points = ed_layout_spatial(shape);
        batches = shape->dim[0];
        rows = plain ? channels : points;
        columns = plain ? points : channels;
    }
    ED_CUDA_TRY(ed_cuda_convert(to, is_bf16(to_layout), from, is_bf16(from_layout), batches, rows,
                                columns, device->stream),
                "the kernel that changes a format");
    return ED_OK;
}
