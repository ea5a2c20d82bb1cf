/*
 * Physical layouts: names, storage sizes, and when two of them are the same bytes.
 *
 * A blocked layout stores [N, C/b, spatial..., b]; C is rounded up to a multiple of b and the
 * channels added hold zeros.
 */
#include "backend/layout.h"

#include "base/error.h"
#include "base/mem.h"

static const struct {
    const char *name;
    int64_t block;
    size_t element;
} layouts[ED_LAYOUT_COUNT] = {
    [ED_LAYOUT_PLAIN] = { "plain", 1, 4 },
    [ED_LAYOUT_CHANNELS_LAST] = { "nhwc", 1, 4 },
    [ED_LAYOUT_BLOCKED8] = { "nChw8c", 8, 4 },
    [ED_LAYOUT_BLOCKED16] = { "nChw16c", 16, 4 },
    [ED_LAYOUT_PLAIN_BF16] = { "plain bf16", 1, 2 },
    [ED_LAYOUT_CHANNELS_LAST_BF16] = { "nhwc bf16", 1, 2 },
};

const char *ed_layout_name(ed_layout layout)
{
    return layouts[layout].name;
}

size_t ed_layout_element(ed_layout layout)
{
    return layouts[layout].element;
}

ed_layout ed_layout_with_bf16(ed_layout layout, bool bf16)
{
    bool last = layout == ED_LAYOUT_CHANNELS_LAST || layout == ED_LAYOUT_CHANNELS_LAST_BF16;
    if (bf16)
        return last ? ED_LAYOUT_CHANNELS_LAST_BF16 : ED_LAYOUT_PLAIN_BF16;
    return last ? ED_LAYOUT_CHANNELS_LAST : ED_LAYOUT_PLAIN;
}

int64_t ed_layout_block(ed_layout layout)
{
    return layouts[layout].block;
}

int64_t ed_layout_spatial(const ed_shape *shape)
{
    int64_t n = 1;
    for (int i = 2; i < shape->rank; i++)
        n *= shape->dim[i];
    return n;
}

int ed_layout_numel(int64_t *out, ed_layout layout, const ed_shape *shape)
{
    ED_TRY(ed_shape_numel(out, shape));
    if (*out == 0 || layouts[layout].block == 1)
        return ED_OK;
    int64_t block = layouts[layout].block, channels = shape->dim[1];
    int64_t padded = (channels + block - 1) / block * block;
    ED_FAIL_IF(!ed_mul_i64(*out / channels, padded, out) || *out > (int64_t)1 << 48, ED_ESHAPE,
               "a tensor of %lld channels does not fit the layout %s; use a smaller batch",
               (long long)channels, layouts[layout].name);
    return ED_OK;
}

bool ed_layout_same_storage(ed_layout a, ed_layout b, const ed_shape *shape)
{
    if (a == b)
        return true;
    if (layouts[a].element != layouts[b].element || shape->rank < 3 ||
        ed_layout_spatial(shape) != 1)
        return false;
    return shape->dim[1] % layouts[a].block == 0 && shape->dim[1] % layouts[b].block == 0;
}

void ed_layout_unpack(float *plain, const float *data, ed_layout layout, const ed_shape *shape)
{
    int64_t channels = shape->dim[1], points = ed_layout_spatial(shape);
    /* NHWC is one block of all channels */
    int64_t block = layout == ED_LAYOUT_CHANNELS_LAST ? channels : layouts[layout].block;
    for (int64_t n = 0; n < shape->dim[0]; n++) {
        for (int64_t first = 0; first < channels; first += block) {
            int64_t width = channels - first < block ? channels - first : block;
            for (int64_t s = 0; s < points; s++, data += block)
                for (int64_t c = 0; c < width; c++)
                    plain[(first + c) * points + s] = data[c];
        }
        plain += channels * points;
    }
}
