/*
 * Conv by oneDNN, with what follows it in its fused group.
 *
 * Layouts, by measurement (oneDNN 2.6, AVX-512, mobilenetv2 and resnet50): direct kernels are as
 * fast in nChw16c as in NHWC, and only nChw16c has Winograd kernels, which halve the time of a 3x3
 * convolution with at least 32 channels. So: blocked; the first convolution (few channels, one
 * group) reads plain; what the blocked kernels refuse (groups of 4 channels) runs in NHWC;
 * im2col + GEMM on plain data comes last.
 */
#include "ops/fast.h"

#include <string.h>

typedef struct conv_state {
    ed_prim *prim;
    void *weights; /* packed; NULL: they change between runs, and lie in in[1] */
    bool borrowed; /* the weights belong to another executor's state */
    ed_repack repack;
    const float *bias;
    int bias_at, add_at; /* places in call->in: a bias that changes, a residual that is read apart
                            (else: in place, or none); -1 */
} conv_state;

typedef struct attempt {
    ed_layout in, out;
    bool winograd, gemm;
} attempt;

/* Winograd saves half of the multiplications of a 3x3 convolution, but the library is slow at
 * packing weights for it: as long as 28,000 / positions runs save, with positions = N * H * W of
 * the output. Below LEAST_POSITIONS that takes too many batches, with few channels it saves
 * nothing. */
static bool winograd_pays(const ed_dnn_conv *c)
{
    enum { LEAST_CHANNELS = 32, LEAST_POSITIONS = 1024 };
    if (c->group != 1 || c->weight->rank != 4 || c->weight->dim[0] < LEAST_CHANNELS ||
        c->weight->dim[1] < LEAST_CHANNELS ||
        c->y.shape->dim[0] * ed_layout_spatial(c->y.shape) < LEAST_POSITIONS)
        return false;
    for (int i = 0; i < 2; i++)
        if (c->weight->dim[2 + i] != 3 || c->stride[i] != 1 || c->dilation[i] != 1)
            return false;
    return true;
}

static size_t list_attempts(attempt *list, const ed_kernel_plan *p, const ed_dnn_conv *c)
{
    ed_layout blocked = ed_dnn_blocked(p->dnn), in = blocked;
    size_t n = 0;
    if (c->group == 1 && c->x.shape->dim[1] < ed_layout_block(blocked) &&
        p->layouts[p->nodes[0]->in[0]] == ED_LAYOUT_PLAIN)
        in = ED_LAYOUT_PLAIN;
    if (p->constants[p->nodes[0]->in[1]] && winograd_pays(c))
        list[n++] = (attempt){ blocked, blocked, true, false };
    list[n++] = (attempt){ in, blocked, false, false };
    list[n++] = (attempt){ ED_LAYOUT_CHANNELS_LAST, ED_LAYOUT_CHANNELS_LAST, false, false };
    list[n++] = (attempt){ ED_LAYOUT_PLAIN, ED_LAYOUT_PLAIN, false, true };
    return n;
}

/* Add the residual where it lies, overwriting it, when nobody else reads it. */
static bool sum_in_place(const ed_kernel_plan *p, const ed_fused *f)
{
    return f->residual != ED_NONE && !p->deterministic && /* the order of the sum is another one */
           ed_plan_memory(p, f->residual) != ed_plan_memory(p, p->nodes[0]->in[0]) &&
           ed_plan_dies(p, f->residual, f->taken);
}

static int build(conv_state *s, ed_kernel_plan *p, ed_dnn_conv *c, const ed_fused *f, bool sum)
{
    attempt list[4];
    size_t n = list_attempts(list, p, c);
    c->posts = f->posts;
    for (size_t i = 0; sum && i < c->posts.count; i++)
        if (c->posts.at[i].kind == ED_POST_ADD)
            c->posts.at[i].kind = ED_POST_SUM;
    for (size_t i = 0; i < n && !s->prim; i++) {
        c->x.layout = list[i].in;
        c->y.layout = list[i].out;
        c->winograd = list[i].winograd;
        c->gemm = list[i].gemm;
        ED_TRY(ed_dnn_conv_new(&s->prim, p->dnn, c));
    }
    return ED_OK;
}

static void answer(ed_kernel_plan *p, conv_state *s, const ed_dnn_conv *c, const ed_fused *f,
                   bool sum)
{
    const ed_node *node = p->nodes[0];
    ed_id bias = ed_node_in(node, 2);
    p->taken = f->taken;
    ed_plan_read(p, node->in[0], c->x.layout);
    if (!s->weights)
        ed_plan_read(p, node->in[1], ED_LAYOUT_PLAIN);
    s->bias_at = bias != ED_NONE && !s->bias ? ed_plan_read(p, bias, ED_LAYOUT_PLAIN) : -1;
    s->add_at = f->residual != ED_NONE ? ed_plan_read(p, f->residual, c->y.layout) : -1;
    if (sum) {
        p->inplace = s->add_at;
        s->add_at = -1;
    }
    p->out_layout = c->y.layout;
    p->kernel = ed_prim_name(s->prim);
    p->state = s;
}

static int take_weights(ed_kernel_plan *p, conv_state *s)
{
    const conv_state *other = p->shared;
    const ed_tensor *weights = p->constants[p->nodes[0]->in[1]];
    ed_id bias = ed_node_in(p->nodes[0], 2);
    s->bias = bias == ED_NONE || !p->constants[bias] ? NULL : p->constants[bias]->data;
    if (!weights)
        return ed_repack_new(&s->repack, p, s->prim);
    p->scratch = ed_prim_scratch(s->prim);
    s->borrowed = other && other->weights && ed_prim_same_pack(s->prim, other->prim);
    if (s->borrowed) {
        s->weights = other->weights;
        return ED_OK;
    }
    return ed_prim_pack(&s->weights, &p->weight_bytes, s->prim, weights->data);
}

int ed_dnn_conv_of(ed_dnn_conv *out, ed_window *window, const ed_kernel_plan *p,
                   const ed_conv_params *params, const ed_shape *x, const ed_shape *weight,
                   const ed_shape *y)
{
    ED_TRY(ed_conv_window(window, p->graph, p->nodes[0], params, x, weight));
    *out = (ed_dnn_conv){ .x = { .shape = x },
                          .y = { .shape = y },
                          .weight = weight,
                          .group = params->group,
                          .stride = window->stride,
                          .dilation = window->dilation,
                          .pad_begin = window->pad_begin,
                          .pad_end = window->pad_end };
    return ED_OK;
}

int ed_onednn_conv_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_window w;
    ed_dnn_conv c;
    ed_fused fused;
    int rc = ED_OK;
    if (!ed_plan_takes_conv(p))
        return ED_OK;
    ED_TRY(ed_dnn_conv_of(&c, &w, p, p->params[0], &p->types[node->in[0]].shape,
                          &p->types[node->in[1]].shape, &p->types[node->out[0]].shape));
    ed_fuse(&fused, p, ED_ROW_NONE);
    conv_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    c.bias = ed_node_in(node, 2) != ED_NONE;
    bool sum = sum_in_place(p, &fused);
    ED_GOTO(build(s, p, &c, &fused, sum));
    if (!s->prim && fused.taken > 1) { /* without what follows */
        fused = (ed_fused){ .taken = 1, .residual = ED_NONE };
        sum = false;
        ED_GOTO(build(s, p, &c, &fused, false));
    }
    if (!s->prim) {
        ed_plan_refuse(p, "oneDNN has no kernel for it");
        goto done;
    }
    ED_GOTO(take_weights(p, s));
    answer(p, s, &c, &fused, sum);
    return ED_OK;
done:
    ed_onednn_conv_free(s);
    return rc;
}

int ed_onednn_conv_run(const ed_call *call)
{
    const conv_state *s = call->state;
    const void *weights = s->weights;
    if (!weights)
        ED_TRY(ed_repack_in(&weights, &s->repack, call->in[1], call->scratch));
    const void *data[ED_ARG_COUNT] = { [ED_ARG_SRC] = call->in[0]->data,
                                       [ED_ARG_WEIGHTS] = weights,
                                       [ED_ARG_BIAS] =
                                           s->bias_at >= 0 ? call->in[s->bias_at]->data : s->bias,
                                       [ED_ARG_OTHER] =
                                           s->add_at >= 0 ? call->in[s->add_at]->data : NULL,
                                       [ED_ARG_DST] = call->out[0]->data };
    return ed_prim_run(s->prim, data, ed_repack_scratch(&s->repack, call->scratch));
}

void ed_onednn_conv_free(void *state)
{
    conv_state *s = state;
    if (!s)
        return;
    ed_prim_free(s->prim);
    ed_prim_free(s->repack.packer);
    if (!s->borrowed)
        ed_free(s->weights);
    ed_free(s);
}
