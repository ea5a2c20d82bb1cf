/*
 * Conv and ConvTranspose by cuDNN, channels last, with what follows in the fused group: as one plan
 * where the library has it, else the convolution by a plan and the rest by one kernel of ours
 * (elementwise.h: ed_cuda_epilogue). Asymmetric padding that the engines refuse is made by a copy.
 */
#include "conv_lift.h"
#include "direct_conv_rows.h"
#include "kernels.h"
#include "rows.h"
#include "walk.h"

#include <string.h>

typedef struct conv_state {
    ed_cuda_plan *plan; /* the device's */
    void *weights;      /* [k][kernel][c / group] */
    float *bias;        /* [k] */
    bool has_bias;
    bool borrowed; /* both belong to another executor's state */
    bool bf16;
    bool apart; /* bias, residual and posts run after the plan */
    bool residual;
    int64_t rows, channels; /* of y */
    ed_cuda_posts posts;
    ed_conv_lift lift; /* x is rewritten into scratch first */
    bool padded;       /* x is copied into scratch with its padding first */
    ed_walk pads;      /* of that copy */
    size_t padded_bytes, pad_offset;
} conv_state;

/* The problem without what follows. A picture of one dimension has a height of 1. */
static void describe(ed_cuda_conv *c, const ed_kernel_plan *p, const ed_window *w, bool transposed)
{
    const ed_node *node = p->nodes[0];
    const ed_cuda *device = p->device;
    const ed_shape *x = &p->types[node->in[0]].shape, *y = &p->types[node->out[0]].shape;
    const ed_conv_params *params = p->params[0];
    int lift = w->rank == 1;
    memset(c, 0, sizeof *c);
    c->n = x->dim[0];
    c->c = x->dim[1];
    c->k = y->dim[1];
    c->group = params->group;
    c->spatial = w->rank + lift;
    c->transposed = transposed;
    c->bf16 = ed_cuda_bf16(device);
    c->fp32 = device->opts.precision == ED_PRECISION_FP32;
    c->in[0] = c->out[0] = c->kernel[0] = c->stride[0] = c->dilation[0] = 1;
    for (int d = 0; d < w->rank; d++) {
        c->in[d + lift] = x->dim[2 + d];
        c->out[d + lift] = y->dim[2 + d];
        c->kernel[d + lift] = w->kernel[d];
        c->stride[d + lift] = w->stride[d];
        c->dilation[d + lift] = w->dilation[d];
        c->pad_begin[d + lift] = w->pad_begin[d];
        c->pad_end[d + lift] = w->pad_end[d];
        if (transposed && params->output_padding.n > d) /* cuDNN takes it from the sizes */
            c->pad_end[d + lift] += params->output_padding.v[d];
    }
}

/* Padding before the convolution instead of in it. */
static void pad_apart(conv_state *s, ed_cuda_conv *c)
{
    ed_shape inner = { .rank = c->spatial + 2, .dim = { c->n, c->c } }, outer = inner;
    int64_t step[ED_MAX_RANK], offset = 0, numel = c->n * c->c;
    for (int d = 0; d < c->spatial; d++) {
        inner.dim[2 + d] = c->in[d];
        outer.dim[2 + d] = c->in[d] + c->pad_begin[d] + c->pad_end[d];
        numel *= outer.dim[2 + d];
    }
    ed_cuda_steps(step, &outer, ED_LAYOUT_CHANNELS_LAST);
    ed_cuda_walk_begin(&s->pads, &inner);
    ed_cuda_walk_steps(&s->pads, step);
    ed_cuda_walk_operand(&s->pads, &inner, ED_LAYOUT_CHANNELS_LAST);
    for (int d = 0; d < c->spatial; d++) {
        offset += c->pad_begin[d] * step[2 + d];
        c->in[d] = outer.dim[2 + d];
        c->pad_begin[d] = c->pad_end[d] = 0;
    }
    ed_cuda_walk_fold(&s->pads);
    s->padded = true;
    s->padded_bytes = (size_t)numel * (c->bf16 ? 2 : 4);
    s->pad_offset = (size_t)offset * (c->bf16 ? 2 : 4);
}

/* Uneven padding, none of it a cut. */
static bool is_asymmetric(const ed_cuda_conv *c)
{
    bool uneven = false;
    for (int d = 0; d < c->spatial; d++) {
        if (c->pad_begin[d] < 0 || c->pad_end[d] < 0)
            return false;
        uneven = uneven || c->pad_begin[d] != c->pad_end[d];
    }
    return uneven;
}

/* The plan with everything in it, or of the bare convolution; the same with padding apart. */
static int find_plan(conv_state *s, ed_cuda *device, ed_cuda_conv *c, const ed_fused *f)
{
    ed_cuda_conv full = *c;
    bool fuses = !c->transposed;
    full.residual = f->residual != ED_NONE;
    full.n_posts = (int32_t)f->posts.count;
    for (size_t i = 0; i < f->posts.count; i++) {
        fuses = fuses && ed_cuda_conv_fuses(&f->posts.at[i]);
        full.posts[i].kind = (int32_t)f->posts.at[i].kind;
        full.posts[i].a = f->posts.at[i].a;
        full.posts[i].b = f->posts.at[i].b;
    }
    full.bias = s->has_bias;
    s->apart = !fuses;
    if (fuses)
        ED_TRY(ed_cuda_plan_get(&s->plan, device, &ed_cuda_conv_kind, &full));
    if (!s->plan) {
        s->apart = true;
        ED_TRY(ed_cuda_plan_get(&s->plan, device, &ed_cuda_conv_kind, c));
    }
    if (!s->plan && !s->padded && !c->transposed && is_asymmetric(c)) {
        pad_apart(s, c);
        return find_plan(s, device, c, f);
    }
    return ED_OK;
}

/* ---- weights ---- */

/* `numel`: of the weights of the problem. */
static int take_weights(ed_kernel_plan *p, conv_state *s, int64_t numel)
{
    const conv_state *other = p->shared;
    const ed_tensor *w = p->constants[p->nodes[0]->in[1]];
    ed_id bias = ed_node_in(p->nodes[0], 2);
    if (other && ed_conv_lift_same(&other->lift, &s->lift)) {
        s->weights = other->weights;
        s->bias = other->bias;
        s->borrowed = true;
        return ED_OK;
    }
    float *packed = NULL;
    p->weight_bytes = (size_t)numel * (s->bf16 ? 2 : 4);
    ED_TRY(ed_conv_lift_weights(&packed, &s->lift, w));
    int rc = ed_cuda_upload_floats(&s->weights, packed, numel, s->bf16);
    ed_free(packed);
    ED_TRY(rc);
    if (bias == ED_NONE)
        return ED_OK;
    void *memory = NULL;
    ED_TRY(ed_cuda_upload(&memory, p->constants[bias]->data, p->constants[bias]->nbytes));
    s->bias = memory;
    return ED_OK;
}

/* ---- the rows ---- */

static void conv_free(void *state)
{
    conv_state *s = state;
    if (!s)
        return;
    if (!s->borrowed) {
        cudaFree(s->weights);
        cudaFree(s->bias);
    }
    ed_free(s);
}

static size_t round_up(size_t nbytes)
{
    return (nbytes + 255) / 256 * 256;
}

static void answer(ed_kernel_plan *p, conv_state *s, const ed_fused *f)
{
    const ed_node *node = p->nodes[0];
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, s->bf16);
    const ed_shape *y = &p->types[node->out[0]].shape;
    p->in[p->n_in] = node->in[0];
    p->in_layout[p->n_in++] = s->lift.how.width ? ED_LAYOUT_PLAIN : layout;
    s->residual = f->residual != ED_NONE;
    if (s->residual) {
        p->in[p->n_in] = f->residual;
        p->in_layout[p->n_in++] = layout;
    }
    s->rows = y->dim[0] * ed_layout_spatial(y);
    s->channels = y->dim[1];
    ed_cuda_posts_of(&s->posts, &f->posts);
    p->scratch =
        round_up(s->lift.nbytes) + round_up(s->padded_bytes) + ed_cuda_plan_scratch(s->plan);
    p->kernel = ed_cuda_plan_name(s->plan);
    ed_cuda_take(p, f->taken, layout, s);
}

/* The problem and what follows it; false: refused. */
static bool ready(ed_cuda_conv *c, ed_fused *fused, ed_kernel_plan *p, bool transposed)
{
    const ed_node *node = p->nodes[0];
    ed_window w;
    if (!ed_plan_takes_conv(p) || !ed_plan_constant_weights(p))
        return false;
    if (ed_conv_window(&w, p->graph, node, p->params[0], &p->types[node->in[0]].shape,
                       &p->types[node->in[1]].shape) != ED_OK) {
        ed_plan_refuse(p, "no such window"); /* the reference tells what is wrong */
        return false;
    }
    ed_fuse(fused, p, ED_ROW_NONE);
    describe(c, p, &w, transposed);
    return true;
}

static int64_t weights_of(const ed_cuda_conv *c)
{
    int64_t n = c->transposed ? c->c * (c->k / c->group) : c->k * (c->c / c->group);
    for (int d = 0; d < c->spatial; d++)
        n *= c->kernel[d];
    return n;
}

static int conv_plan_of(ed_kernel_plan *p, bool transposed)
{
    ed_fused fused;
    ed_cuda_conv c;
    int rc = ED_OK;
    if (!ready(&c, &fused, p, transposed))
        return ED_OK;
    conv_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->bf16 = c.bf16;
    s->has_bias = ed_node_in(p->nodes[0], 2) != ED_NONE;
    if (p->layouts[p->nodes[0]->in[0]] == ED_LAYOUT_PLAIN)
        ed_conv_lift_problem(&s->lift, &c);
    ED_GOTO(take_weights(p, s, weights_of(&c)));
    ED_GOTO(find_plan(s, p->device, &c, &fused));
    if (!s->plan) {
        ed_plan_refuse(p, "cuDNN has no engine for it");
        goto done;
    }
    answer(p, s, &fused);
    return ED_OK;
done:
    p->weight_bytes = 0;
    conv_free(s);
    return rc;
}

static int conv_plan(ed_kernel_plan *p)
{
    return conv_plan_of(p, false);
}

static int transposed_plan(ed_kernel_plan *p)
{
    return conv_plan_of(p, true);
}

static int conv_run(const ed_call *call)
{
    const conv_state *s = call->state;
    ed_cuda *device = ed_cuda_of(call);
    const void *residual = s->residual ? call->in[1]->data : NULL;
    char *scratch = call->scratch;
    const void *operands[ED_PLAN_OPERANDS] = {
        [ED_CONV_X] = call->in[0]->data, [ED_CONV_W] = s->weights, [ED_CONV_Y] = call->out[0]->data
    };
    if (s->lift.how.width) {
        ED_CUDA_TRY(ed_cuda_lift(scratch, s->bf16, call->in[0]->data, &s->lift.how, device->stream),
                    "the kernel that adds channels");
        operands[ED_CONV_X] = scratch;
        scratch += round_up(s->lift.nbytes);
    }
    if (s->padded) {
        ED_CUDA_TRY(cudaMemsetAsync(scratch, 0, s->padded_bytes, device->stream),
                    "clearing the padding");
        ED_CUDA_TRY(ed_cuda_walk_copy(scratch + s->pad_offset, operands[ED_CONV_X], s->bf16 ? 2 : 4,
                                      &s->pads, device->stream),
                    "the kernel of the padding");
        operands[ED_CONV_X] = scratch;
        scratch += round_up(s->padded_bytes);
    }
    if (!s->apart) {
        operands[ED_CONV_BIAS] = s->bias;
        operands[ED_CONV_RESIDUAL] = residual;
    }
    ED_TRY(ed_cuda_plan_run(s->plan, device, operands, scratch));
    if (!s->apart || (!s->bias && !s->posts.count))
        return ED_OK;
    ED_CUDA_TRY(ed_cuda_epilogue(call->out[0]->data, s->bf16, s->rows, s->channels, 1, s->bias,
                                 residual, &s->posts, device->stream),
                "the kernel behind the convolution");
    return ED_OK;
}

/* Heuristics and compilers take most of the time of a plan: all convolutions of a graph at once. */
static void prepare(ed_kernel_plan *p, bool transposed)
{
    ed_fused fused;
    conv_state s = { 0 };
    ed_cuda_conv c;
    if (((const ed_cuda *)p->device)->opts.autotune || !ready(&c, &fused, p, transposed))
        return; /* convolutions that are timed want the GPU to themselves */
    if (!transposed && c.group > 1 && c.group == c.c && c.group == c.k && c.spatial == 2)
        return; /* depthwise: a kernel of ours runs it */
    s.has_bias = ed_node_in(p->nodes[0], 2) != ED_NONE;
    if (p->graph->values[p->nodes[0]->in[0]].is_input) /* else the layout is not decided yet */
        ed_conv_lift_problem(&s.lift, &c);
    find_plan(&s, p->device, &c, &fused);
}

static void conv_prepare(ed_kernel_plan *p)
{
    prepare(p, false);
}

static void transposed_prepare(ed_kernel_plan *p)
{
    prepare(p, true);
}

#define transposed_run  conv_run
#define transposed_free conv_free

const ed_cuda_op ed_cuda_conv_ops[] = {
    { "Conv",
      NULL,
      { ED_CUDA_ROW(ed_cuda_depthwise), ED_CUDA_PREPARED_ROW(conv),
        ED_CUDA_ROW(ed_cuda_direct_conv) } },
    { "ConvTranspose",
      NULL,
      { ED_CUDA_PREPARED_ROW(transposed), ED_CUDA_ROW(ed_cuda_direct_conv) } },
    { 0 },
};
