/*
 * Conv and ConvTranspose by cuDNN, channels last, with what follows in the fused group: as one plan
 * where the library has it, else the convolution by a plan and the rest by one kernel of ours
 * (elementwise.h: ed_cuda_epilogue). Asymmetric padding that the engines refuse is made by a copy.
 * Constant weights are packed once. Others are read channels last, [k][kernel][c / group], in which
 * the gradient by the input reads them too; where x is rewritten they are, in each run.
 */
#include "conv_lift.h"
#include "conv_problem.h"
#include "direct_conv_rows.h"
#include "kernels.h"
#include "rows.h"

typedef struct conv_state {
    ed_cuda_plan *plan;             /* the device's */
    void *weights;                  /* constant ones, [k][kernel][c / group] */
    float *bias;                    /* a constant one, [k] */
    int w_at, bias_at, residual_at; /* positions in call->in; -1: constant, or none */
    bool has_bias;
    bool borrowed; /* both belong to another executor's state */
    bool bf16;
    bool apart;             /* bias, residual and posts run after the plan */
    int64_t rows, channels; /* of y */
    ed_cuda_posts posts;
    ed_conv_lift lift;        /* x is rewritten into scratch first */
    ed_cuda_lifted_taps taps; /* of weights that are no constants, beside it */
    size_t taps_bytes;
    ed_conv_padding padding; /* x is copied into scratch with it first */
} conv_state;

/* The plan with everything in it, or of the bare convolution; the same with padding apart. */
static int find_plan(conv_state *s, ed_cuda *device, ed_cuda_conv *c, const ed_fused *f)
{
    ed_cuda_conv full = *c;
    bool forward = c->direction == ED_CONV_FORWARD, fuses = forward;
    full.residual = f->residual != ED_NONE;
    full.n_posts = (int32_t)f->posts.count;
    for (size_t i = 0; i < f->posts.count; i++) {
        fuses = fuses && ed_cuda_conv_fuses(&f->posts.at[i], c->bf16);
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
    if (!s->plan && !s->padding.apart && forward && ed_conv_is_uneven(c)) {
        ed_conv_pad_apart(&s->padding, c);
        return find_plan(s, device, c, f);
    }
    return ED_OK;
}

/* ---- weights ---- */

/* What is constant, on the device. `numel`: of the weights of the problem. */
static int take_constants(ed_kernel_plan *p, conv_state *s, int64_t numel)
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
    if (w) {
        float *packed = NULL;
        p->weight_bytes = (size_t)numel * (s->bf16 ? 2 : 4);
        ED_TRY(ed_conv_lift_weights(&packed, &s->lift, w));
        int rc = ed_cuda_upload_floats(&s->weights, packed, numel, s->bf16);
        ed_free(packed);
        ED_TRY(rc);
    }
    if (bias == ED_NONE || !p->constants[bias])
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

static void answer(ed_kernel_plan *p, conv_state *s, const ed_fused *f)
{
    const ed_node *node = p->nodes[0];
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, s->bf16);
    const ed_shape *y = &p->types[node->out[0]].shape;
    bool lifted = s->lift.how.width > 0;
    ed_plan_read(p, node->in[0], lifted ? ED_LAYOUT_PLAIN : layout);
    s->w_at = s->bias_at = s->residual_at = -1;
    if (!s->weights)
        s->w_at = ed_plan_read(p, node->in[1], lifted ? ED_LAYOUT_PLAIN : layout);
    if (s->has_bias && !s->bias)
        s->bias_at = ed_plan_read(p, node->in[2], ED_LAYOUT_PLAIN);
    if (f->residual != ED_NONE)
        s->residual_at = ed_plan_read(p, f->residual, layout);
    s->rows = y->dim[0] * ed_layout_spatial(y);
    s->channels = y->dim[1];
    ed_cuda_posts_of(&s->posts, &f->posts);
    if (!s->weights && lifted)
        s->taps_bytes = ed_conv_lift_taps(&s->taps, &s->lift, y->dim[1], s->bf16);
    p->scratch = ed_conv_round_up(s->lift.nbytes) + ed_conv_round_up(s->padding.bytes) +
                 ed_conv_round_up(s->taps_bytes) + ed_cuda_plan_scratch(s->plan);
    p->kernel = ed_cuda_plan_name(s->plan);
    ed_cuda_take(p, f->taken, layout, s);
}

/* The problem and what follows it; false: refused. */
static bool ready(ed_cuda_conv *c, ed_fused *fused, ed_kernel_plan *p, bool transposed)
{
    const ed_node *node = p->nodes[0];
    ed_window w;
    if (!ed_plan_takes_conv(p))
        return false;
    if (ed_conv_window(&w, p->graph, node, p->params[0], &p->types[node->in[0]].shape,
                       &p->types[node->in[1]].shape) != ED_OK) {
        ed_plan_refuse(p, "no such window"); /* the reference tells what is wrong */
        return false;
    }
    ed_fuse(fused, p, ED_ROW_NONE);
    ed_conv_problem(c, p->device, &w, p->params[0], &p->types[node->in[0]].shape,
                    &p->types[node->out[0]].shape,
                    transposed ? ED_CONV_INPUT_GRAD : ED_CONV_FORWARD);
    return true;
}

static int64_t weights_of(const ed_cuda_conv *c)
{
    int64_t n =
        c->direction == ED_CONV_INPUT_GRAD ? c->c * (c->k / c->group) : c->k * (c->c / c->group);
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
    ED_GOTO(take_constants(p, s, weights_of(&c)));
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

static const void *input_at(const ed_call *call, int at, const void *constant)
{
    return at < 0 ? constant : call->in[at]->data;
}

/* Operands that are rewritten first, and what is left of the scratch memory. */
static int rewrite(const void **operands, char **scratch, const conv_state *s, ed_cuda *device)
{
    if (s->lift.how.width) {
        ED_CUDA_TRY(
            ed_cuda_lift(*scratch, s->bf16, operands[ED_CONV_X], &s->lift.how, device->stream),
            "the kernel that adds channels");
        operands[ED_CONV_X] = *scratch;
        *scratch += ed_conv_round_up(s->lift.nbytes);
    }
    if (s->taps_bytes) {
        ED_CUDA_TRY(
            ed_cuda_lift_taps(*scratch, s->bf16, operands[ED_CONV_W], &s->taps, device->stream),
            "the kernel that rewrites weights");
        operands[ED_CONV_W] = *scratch;
        *scratch += ed_conv_round_up(s->taps_bytes);
    }
    if (!s->padding.apart)
        return ED_OK;
    ED_TRY(ed_conv_pad(*scratch, operands[ED_CONV_X], &s->padding, s->bf16, device));
    operands[ED_CONV_X] = *scratch;
    *scratch += ed_conv_round_up(s->padding.bytes);
    return ED_OK;
}

static int conv_run(const ed_call *call)
{
    const conv_state *s = call->state;
    ed_cuda *device = ed_cuda_of(call);
    const void *residual = input_at(call, s->residual_at, NULL);
    const void *bias = input_at(call, s->bias_at, s->bias);
    char *scratch = call->scratch;
    const void *operands[ED_PLAN_OPERANDS] = { [ED_CONV_X] = call->in[0]->data,
                                               [ED_CONV_W] = input_at(call, s->w_at, s->weights),
                                               [ED_CONV_Y] = call->out[0]->data };
    ED_TRY(rewrite(operands, &scratch, s, device));
    operands[ED_CONV_BIAS] = s->apart ? NULL : bias;
    operands[ED_CONV_RESIDUAL] = s->apart ? NULL : residual;
    ED_TRY(ed_cuda_plan_run(s->plan, device, operands, scratch));
    if (!s->apart || (!bias && !s->posts.count))
        return ED_OK;
    ED_CUDA_TRY(ed_cuda_epilogue(call->out[0]->data, s->bf16, s->rows, s->channels, 1, bias,
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
