/* The rewriting of conv_lift.h: sizes and weights; lift.cu moves the pictures. */
#include "conv_lift.h"

static int64_t floor_half(int64_t a)
{
    return a >= 0 ? a / 2 : -((1 - a) / 2);
}

/* Measured on ResNet-50's first convolution, batch 128, on an H100, engines by the heuristics:
 * bfloat16 0.74 ms instead of 1.66, float32 1.02 ms instead of 0.81. */
static bool in_blocks(const ed_cuda_conv *c)
{
    bool fits = c->bf16 && c->c <= 4;
    for (int d = 0; d < 2; d++)
        fits = fits && c->stride[d] == 2 && c->dilation[d] == 1 && c->kernel[d] >= 3 &&
               c->pad_begin[d] >= 0 && c->pad_end[d] >= 0;
    return fits;
}

/* One dimension: a window over blocks, which begin at block -pad. */
static void halve(ed_conv_lift *l, ed_cuda_conv *c, int d)
{
    l->first[d] = floor_half(-c->pad_begin[d]);
    c->kernel[d] = floor_half(c->kernel[d] - 1 - c->pad_begin[d]) - l->first[d] + 1;
    c->stride[d] = 1;
    c->pad_begin[d] = c->pad_end[d] = 0;
    c->in[d] = c->out[d] + c->kernel[d] - 1;
}

void ed_conv_lift_problem(ed_conv_lift *l, ed_cuda_conv *c)
{
    int64_t unit = c->bf16 ? 8 : 4;
    *l = (ed_conv_lift){ .how = { .width = 0 } };
    if ((c->fp32 && !c->bf16) || c->direction == ED_CONV_INPUT_GRAD || c->group != 1 ||
        c->spatial != 2 || c->c >= unit)
        return;
    l->how = (ed_cuda_lifting){
        .n = c->n, .channels = c->c, .h = c->in[0], .w = c->in[1], .block = in_blocks(c) ? 2 : 1
    };
    for (int d = 0; d < 2; d++) {
        l->kernel[d] = c->kernel[d];
        l->pad[d] = c->pad_begin[d];
        if (l->how.block == 2)
            halve(l, c, d);
    }
    l->how.top = -l->first[0];
    l->how.left = -l->first[1];
    l->how.rows = c->in[0];
    l->how.columns = c->in[1];
    c->c = (c->c * l->how.block * l->how.block + unit - 1) / unit * unit;
    l->how.width = (int)c->c;
    l->nbytes = (size_t)(c->n * c->in[0] * c->in[1] * c->c) * (c->bf16 ? 2 : 4);
}

/* [k][c][points] -> [k][points][c] */
static void transpose(float *to, const ed_tensor *w)
{
    const float *from = w->data;
    int64_t k = w->shape.dim[0], c = w->shape.dim[1], points = ed_layout_spatial(&w->shape);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < c; j++)
            for (int64_t q = 0; q < points; q++)
                to[(i * points + q) * c + j] = from[(i * c + j) * points + q];
}

/* Where the original tap (kh, kw) of channel ch is read in the rewritten kernel. */
static void spread(float *to, const ed_conv_lift *l, const ed_tensor *w, const int64_t size[2])
{
    const float *from = w->data;
    int64_t k = w->shape.dim[0], c = w->shape.dim[1], width = l->how.width, block = l->how.block;
    for (int64_t i = 0; i < k * c; i++)
        for (int64_t kh = 0; kh < l->kernel[0]; kh++)
            for (int64_t kw = 0; kw < l->kernel[1]; kw++) {
                int64_t h = block == 1 ? kh : floor_half(kh - l->pad[0]) - l->first[0];
                int64_t v = block == 1 ? kw : floor_half(kw - l->pad[1]) - l->first[1];
                int64_t r = block == 1 ? 0 : kh - l->pad[0] - 2 * (h + l->first[0]);
                int64_t s = block == 1 ? 0 : kw - l->pad[1] - 2 * (v + l->first[1]);
                int64_t channel = (r * block + s) * c + i % c;
                to[((i / c * size[0] + h) * size[1] + v) * width + channel] =
                    from[(i * l->kernel[0] + kh) * l->kernel[1] + kw];
            }
}

/* Taps of the rewritten kernel in blocks. */
static int64_t lifted_size(const ed_conv_lift *l, int d)
{
    return floor_half(l->kernel[d] - 1 - l->pad[d]) - l->first[d] + 1;
}

int ed_conv_lift_weights(float **out, const ed_conv_lift *l, const ed_tensor *w)
{
    int64_t size[2] = { l->kernel[0], l->kernel[1] }, numel = w->numel;
    if (l->how.width) {
        for (int d = 0; d < 2 && l->how.block == 2; d++)
            size[d] = lifted_size(l, d);
        numel = w->shape.dim[0] * size[0] * size[1] * l->how.width;
    }
    *out = ed_calloc((size_t)numel, sizeof(float));
    if (!*out)
        return ED_ENOMEM;
    if (l->how.width)
        spread(*out, l, w, size);
    else
        transpose(*out, w);
    return ED_OK;
}

size_t ed_conv_lift_taps(ed_cuda_lifted_taps *taps, const ed_conv_lift *l, int64_t filters,
                         bool bf16)
{
    *taps = (ed_cuda_lifted_taps){ .filters = filters,
                                   .channels = (int)l->how.channels,
                                   .block = l->how.block,
                                   .width = l->how.width };
    for (int d = 0; d < 2; d++) {
        taps->kernel[d] = taps->size[d] = (int)l->kernel[d];
        if (l->how.block == 1)
            continue;
        taps->shift[d] = (int)(-l->pad[d] - 2 * l->first[d]);
        taps->size[d] = (int)lifted_size(l, d);
    }
    return (size_t)(filters * taps->size[0] * taps->size[1] * taps->width) * (bf16 ? 2 : 4);
}

bool ed_conv_lift_same(const ed_conv_lift *a, const ed_conv_lift *b)
{
    bool same = a->how.width == b->how.width && a->how.block == b->how.block;
    for (int d = 0; d < 2; d++)
        same = same && a->kernel[d] == b->kernel[d] && a->pad[d] == b->pad[d] &&
               a->first[d] == b->first[d];
    return same;
}
