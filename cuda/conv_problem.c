/* Problems of convolutions: see conv_problem.h. */
#include "conv_problem.h"

#include "walk.h"

#include <string.h>

void ed_conv_problem(ed_cuda_conv *c, const ed_cuda *device, const ed_window *w,
                     const ed_conv_params *params, const ed_shape *x, const ed_shape *y,
                     ed_conv_direction direction)
{
    int lift = w->rank == 1;
    memset(c, 0, sizeof *c);
    c->n = x->dim[0];
    c->c = x->dim[1];
    c->k = y->dim[1];
    c->group = params->group;
    c->spatial = w->rank + lift;
    c->direction = direction;
    c->bf16 = c->w_bf16 = ed_cuda_bf16(device);
    c->fp32 = device->opts.precision == ED_PRECISION_FP32;
    c->deterministic = 1;
    c->in[0] = c->out[0] = c->kernel[0] = c->stride[0] = c->dilation[0] = 1;
    for (int d = 0; d < w->rank; d++) {
        c->in[d + lift] = x->dim[2 + d];
        c->out[d + lift] = y->dim[2 + d];
        c->kernel[d + lift] = w->kernel[d];
        c->stride[d + lift] = w->stride[d];
        c->dilation[d + lift] = w->dilation[d];
        c->pad_begin[d + lift] = w->pad_begin[d];
        c->pad_end[d + lift] = w->pad_end[d];
        if (params->output_padding.n > d) /* of ConvTranspose: cuDNN takes it from the sizes */
            c->pad_end[d + lift] += params->output_padding.v[d];
    }
}

bool ed_conv_is_uneven(const ed_cuda_conv *c)
{
    bool uneven = false;
    for (int d = 0; d < c->spatial; d++) {
        if (c->pad_begin[d] < 0 || c->pad_end[d] < 0)
            return false;
        uneven = uneven || c->pad_begin[d] != c->pad_end[d];
    }
    return uneven;
}

void ed_conv_pad_apart(ed_conv_padding *p, ed_cuda_conv *c)
{
    bool input_grad = c->direction == ED_CONV_INPUT_GRAD; /* y is the picture */
    int64_t *size = input_grad ? c->out : c->in, channels = input_grad ? c->k : c->c;
    ed_shape inner = { .rank = c->spatial + 2, .dim = { c->n, channels } }, outer = inner;
    int64_t step[ED_MAX_RANK], offset = 0, numel = c->n * channels;
    for (int d = 0; d < c->spatial; d++) {
        inner.dim[2 + d] = size[d];
        outer.dim[2 + d] = size[d] + c->pad_begin[d] + c->pad_end[d];
        numel *= outer.dim[2 + d];
    }
    ed_cuda_steps(step, &outer, ED_LAYOUT_CHANNELS_LAST);
    ed_cuda_walk_begin(&p->walk, &inner);
    ed_cuda_walk_steps(&p->walk, step);
    ed_cuda_walk_operand(&p->walk, &inner, ED_LAYOUT_CHANNELS_LAST);
    for (int d = 0; d < c->spatial; d++) {
        offset += c->pad_begin[d] * step[2 + d];
        size[d] = outer.dim[2 + d];
        c->pad_begin[d] = c->pad_end[d] = 0;
    }
    ed_cuda_walk_fold(&p->walk);
    p->apart = true;
    p->bytes = (size_t)numel * (c->bf16 ? 2 : 4);
    p->offset = (size_t)offset * (c->bf16 ? 2 : 4);
}

int ed_conv_pad(void *to, const void *x, const ed_conv_padding *p, bool bf16, ed_cuda *device)
{
    ED_CUDA_TRY(cudaMemsetAsync(to, 0, p->bytes, device->stream), "clearing the padding");
    ED_CUDA_TRY(
        ed_cuda_walk_copy((char *)to + p->offset, x, bf16 ? 2 : 4, &p->walk, device->stream),
        "the kernel of the padding");
    return ED_OK;
}

int ed_conv_cut(void *y, const void *from, const ed_conv_padding *p, bool bf16, ed_cuda *device)
{
    ed_walk back = p->walk;
    memcpy(back.step[0], p->walk.step[1], sizeof back.step[0]);
    memcpy(back.step[1], p->walk.step[0], sizeof back.step[1]);
    ED_CUDA_TRY(
        ed_cuda_walk_copy(y, (const char *)from + p->offset, bf16 ? 2 : 4, &back, device->stream),
        "the kernel that cuts padding off");
    return ED_OK;
}
