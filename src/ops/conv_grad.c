/*
 * Gradients of convolutions (domain "ed"), with the attributes of the Conv:
 *
 *   ConvInputGrad(dy [N, M, out...], w [M, C/group, kernel...]) {input_shape} -> dx [N, C, in...]
 *
 *       dx[n, c, i] = sum over m, k of w[m, c, k] dy[n, m, o],  i = o stride - pad + k dilation
 *
 *   ConvWeightGrad(dy, x [N, C, in...]) {kernel_shape} -> dw [M, C/group, kernel...] [, db [M]]
 *
 *       dw[m, c, k] = sum over n, o of dy[n, m, o] x[n, c, o stride - pad + k dilation]
 *       db[m]       = sum over n, o of dy[n, m, o]
 */
#include "ops/conv.h"
#include "ops/fast.h"
#include "ops/gradient.h"

#include "base/parallel.h"

#include <string.h>

static const ed_attr_spec grad_attrs[] = {
    ED_ATTR_ENUM_OF("auto_pad", ed_conv_grad_params, conv.auto_pad, ed_auto_pad_words),
    ED_ATTR_INTS_OF("dilations", ed_conv_grad_params, conv.dilations),
    ED_ATTR_INTS_OF("kernel_shape", ed_conv_grad_params, conv.kernel_shape),
    ED_ATTR_INTS_OF("pads", ed_conv_grad_params, conv.pads),
    ED_ATTR_INTS_OF("strides", ed_conv_grad_params, conv.strides),
    ED_ATTR_I64_OF("group", ed_conv_grad_params, conv.group, 1),
    ED_ATTR_INTS_OF("input_shape", ed_conv_grad_params, input_shape),
    { 0 },
};

/* ---- inference ---- */

/* The sizes of dy against those that the convolution of x has. */
static int check_positions(const ed_infer *ctx, const ed_window *w, const ed_shape *x,
                           const ed_shape *dy)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t want = ed_window_positions(w, i, x->dim[2 + i], false), both;
        if (!ed_dim_unify(&both, want, dy->dim[2 + i]))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "spatial dimension %d of dy is %lld; the convolution has %lld "
                                 "positions there",
                                 i, (long long)dy->dim[2 + i], (long long)want);
    }
    return ED_OK;
}

static int input_grad_infer(ed_infer *ctx)
{
    const ed_conv_grad_params *p = ctx->params;
    const ed_shape *dy = &ctx->in[0].shape, *w = &ctx->in[1].shape;
    ed_shape *dx = &ctx->out[0].shape;
    ed_window window;
    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    if (p->input_shape.n < 3 || p->input_shape.n > 5)
        return ed_infer_fail(ctx, ED_ESHAPE, "input_shape has %d dimensions; 3 to 5 were expected",
                             p->input_shape.n);
    dx->rank = p->input_shape.n;
    memcpy(dx->dim, p->input_shape.v, (size_t)dx->rank * sizeof dx->dim[0]);
    if (dy->rank < 0 || w->rank < 0)
        return ED_OK;
    int64_t both;
    if (dy->rank != dx->rank || w->rank != dx->rank || p->conv.group < 1 ||
        !ed_dim_unify(&both, dy->dim[0], dx->dim[0]) ||
        !ed_dim_unify(&both, dy->dim[1], w->dim[0]) ||
        (w->dim[1] >= 0 && w->dim[1] * p->conv.group != dx->dim[1]))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "dy, the weight and input_shape do not belong to one "
                             "convolution");
    ED_TRY(ed_conv_window(&window, ctx->graph, ctx->node, &p->conv, dx, w));
    return check_positions(ctx, &window, dx, dy);
}

static int weight_grad_infer(ed_infer *ctx)
{
    const ed_conv_grad_params *p = ctx->params;
    const ed_shape *dy = &ctx->in[0].shape, *x = &ctx->in[1].shape;
    ed_shape *dw = &ctx->out[0].shape;
    const ed_ints *kernel = &p->conv.kernel_shape;
    int64_t channels = dy->rank > 1 ? dy->dim[1] : ED_DIM_UNKNOWN, both;
    ed_window window;
    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    if (ctx->n_out > 1)
        ctx->out[1] = (ed_type){ ED_F32, ED_SHAPE(channels) };
    if (kernel->n < 1 || kernel->n > 3 || p->conv.group < 1)
        return ed_infer_fail(ctx, ED_ESHAPE, "kernel_shape has %d dimensions; 1 to 3 were expected",
                             kernel->n);
    dw->rank = kernel->n + 2;
    dw->dim[0] = channels;
    dw->dim[1] = x->rank > 1 && x->dim[1] >= 0 ? x->dim[1] / p->conv.group : ED_DIM_UNKNOWN;
    memcpy(dw->dim + 2, kernel->v, (size_t)kernel->n * sizeof dw->dim[0]);
    if (dy->rank < 0 || x->rank < 0)
        return ED_OK;
    if (dy->rank != dw->rank || x->rank != dw->rank ||
        !ed_dim_unify(&both, dy->dim[0], x->dim[0]) ||
        (x->dim[1] >= 0 && x->dim[1] % p->conv.group != 0) ||
        (channels >= 0 && channels % p->conv.group != 0))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "dy, x and kernel_shape do not belong to one "
                             "convolution");
    ED_TRY(ed_conv_window(&window, ctx->graph, ctx->node, &p->conv, x, dw));
    return check_positions(ctx, &window, x, dy);
}

/* ---- reference kernels ---- */
static int input_grad_forward(const ed_call *c)
{
    const ed_conv_grad_params *p = c->params;
    ed_window window;
    ED_TRY(ed_conv_window(&window, NULL, c->node, &p->conv, &c->out[0]->shape, &c->in[1]->shape));
    return ed_conv_spread(c, &window, p->conv.group);
}

typedef struct weight_job {
    const float *dy, *x;
    float *dw, *db; /* db may be NULL */
    ed_window_axis axis[3];
    int64_t batch, channels, outputs, group;
} weight_job;

/* Where row (od, oh) of the output reads with taps (kd, kh), or -1: outside. */
static int64_t row_read(const ed_window_axis *d, const ed_window_axis *h, int64_t od, int64_t kd,
                        int64_t oh, int64_t kh)
{
    int64_t id = od * d->stride - d->pad + kd * d->dilation;
    int64_t ih = oh * h->stride - h->pad + kh * h->dilation;
    return id < 0 || id >= d->in || ih < 0 || ih >= h->in ? -1 : id * h->in + ih;
}

/* Sum over the positions of one picture's channel pair for one tap. */
static double tap_sum(const weight_job *j, const float *dy, const float *x, int64_t tap)
{
    const ed_window_axis *d = &j->axis[0], *h = &j->axis[1], *w = &j->axis[2];
    int64_t kw = tap % w->kernel, kh = tap / w->kernel % h->kernel,
            kd = tap / w->kernel / h->kernel;
    int64_t lo, hi;
    double sum = 0;
    ed_window_valid(w, kw, &lo, &hi);
    for (int64_t row = 0; row < d->out * h->out; row++) {
        int64_t read = row_read(d, h, row / h->out, kd, row % h->out, kh);
        if (read < 0)
            continue;
        const float *at = x + read * w->in + kw * w->dilation - w->pad;
        for (int64_t o = lo; o < hi; o++)
            sum += (double)dy[row * w->out + o] * at[o * w->stride];
    }
    return sum;
}

/* One filter dw[m, :, :]. */
static void weight_filter(const weight_job *j, int64_t m)
{
    const ed_window_axis *a = j->axis;
    int64_t taps = a[0].kernel * a[1].kernel * a[2].kernel, size = a[0].in * a[1].in * a[2].in;
    int64_t positions = a[0].out * a[1].out * a[2].out, per_group = j->channels / j->group;
    int64_t first = m / (j->outputs / j->group) * per_group;
    for (int64_t k = 0; k < per_group * taps; k++) {
        double sum = 0;
        for (int64_t n = 0; n < j->batch; n++)
            sum += tap_sum(j, j->dy + (n * j->outputs + m) * positions,
                           j->x + (n * j->channels + first + k / taps) * size, k % taps);
        j->dw[m * per_group * taps + k] = (float)sum;
    }
    double sum = 0;
    for (int64_t n = 0; j->db && n < j->batch; n++)
        for (int64_t o = 0; o < positions; o++)
            sum += j->dy[(n * j->outputs + m) * positions + o];
    if (j->db)
        j->db[m] = (float)sum;
}

static void weight_filters(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t m = begin; m < end; m++)
        weight_filter(ctx, m);
}

static int weight_grad_forward(const ed_call *c)
{
    const ed_conv_grad_params *p = c->params;
    const ed_shape *dy = &c->in[0]->shape, *x = &c->in[1]->shape;
    ed_window window;
    weight_job job = { .dy = c->in[0]->data,
                       .x = c->in[1]->data,
                       .dw = c->out[0]->data,
                       .db = c->n_out > 1 && c->out[1] ? c->out[1]->data : NULL,
                       .batch = dy->dim[0],
                       .channels = x->dim[1],
                       .outputs = dy->dim[1],
                       .group = p->conv.group };
    ED_TRY(ed_conv_window(&window, NULL, c->node, &p->conv, x, &c->out[0]->shape));
    ed_window_axes(job.axis, &window, x, dy);
    ed_parallel_for(job.outputs, 1, weight_filters, &job);
    return ED_OK;
}

/* ---- gradients ---- */

/* The window with every number stated: auto_pad depends on shapes that the gradient exchanges. */
typedef struct stated {
    int64_t kernel[3], stride[3], dilation[3], pads[6];
    ed_attr attrs[7];
} stated;

static int state_window(stated *s, const ed_grad *g, const ed_shape *x, const ed_shape *weight)
{
    const ed_conv_params *p = g->params;
    ed_window w;
    ED_TRY(ed_conv_window(&w, g->graph, &g->graph->nodes[g->node], p, x, weight));
    size_t n = (size_t)w.rank;
    for (size_t i = 0; i < n; i++) {
        s->kernel[i] = w.kernel[i];
        s->stride[i] = w.stride[i];
        s->dilation[i] = w.dilation[i];
        s->pads[i] = w.pad_begin[i];
        s->pads[n + i] = w.pad_end[i];
    }
    const ed_attr attrs[] = {
        { .name = "kernel_shape", .type = ED_ATTR_INTS, .ints = s->kernel, .count = n },
        { .name = "strides", .type = ED_ATTR_INTS, .ints = s->stride, .count = n },
        { .name = "dilations", .type = ED_ATTR_INTS, .ints = s->dilation, .count = n },
        { .name = "pads", .type = ED_ATTR_INTS, .ints = s->pads, .count = 2 * n },
        { .name = "group", .type = ED_ATTR_INT, .i = p->group },
        { 0 },
    };
    memset(s->attrs, 0, sizeof s->attrs);
    memcpy(s->attrs, attrs, sizeof attrs);
    return ED_OK;
}

int ed_conv_gradient(ed_grad *g)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]), weight = *ed_grad_shape(g, g->in[1]);
    ed_id dy = ed_grad_dy(g), dx, dw[2] = { 0, ED_NONE };
    bool bias = ed_grad_wants(g, 2);
    stated s;
    ED_TRY(state_window(&s, g, &x, &weight));
    if (ed_grad_wants(g, 1) || bias) {
        dw[1] = bias ? 0 : ED_NONE;
        ED_TRY(ed_grad_emit_node(g, dw, bias ? 2 : 1, "ed::ConvWeightGrad",
                                 (ed_id[]){ dy, g->in[0] }, 2, s.attrs));
        ED_TRY(ed_grad_give(g, 1, dw[0]));
        ED_TRY(ed_grad_give(g, 2, bias ? dw[1] : ED_NONE));
    }
    if (!ed_grad_wants(g, 0))
        return ED_OK;
    s.attrs[5] = (ed_attr){
        .name = "input_shape", .type = ED_ATTR_INTS, .ints = x.dim, .count = (size_t)x.rank
    };
    ED_TRY(
        ed_grad_emit_node(g, &dx, 1, "ed::ConvInputGrad", (ed_id[]){ dy, g->in[1] }, 2, s.attrs));
    return ed_grad_give(g, 0, dx);
}

/* y is to x what the input of a convolution is to its output: dx is that convolution of dy, and dw
 * the weights' gradient with the two exchanged. */
int ed_conv_transpose_gradient(ed_grad *g)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]), weight = *ed_grad_shape(g, g->in[1]);
    ed_id dy = ed_grad_dy(g), dx, dw;
    stated s;
    ED_TRY(state_window(&s, g, &x, &weight));
    if (ed_grad_wants(g, 2)) {
        ED_TRY(ed_grad_sum_channels(g, &dx, dy));
        ED_TRY(ed_grad_give(g, 2, dx));
    }
    if (ed_grad_wants(g, 1)) {
        ED_TRY(ed_grad_emit_node(g, &dw, 1, "ed::ConvWeightGrad", (ed_id[]){ g->in[0], dy }, 2,
                                 s.attrs));
        ED_TRY(ed_grad_give(g, 1, dw));
    }
    if (!ed_grad_wants(g, 0))
        return ED_OK;
    ED_TRY(ed_grad_emit_node(g, &dx, 1, "Conv", (ed_id[]){ dy, g->in[1] }, 2, s.attrs));
    return ed_grad_give(g, 0, dx);
}

const ed_op ed_ops_conv_grad[] = {
    { .type = "ConvInputGrad",
      .domain = "ed",
      .arity = { 2, 2, 1 },
      .attrs = grad_attrs,
      .params_size = sizeof(ed_conv_grad_params),
      .infer = input_grad_infer,
      .forward = { ED_FAST_ROW(ed_onednn_conv_input_grad), ED_REFERENCE(input_grad_forward) } },
    { .type = "ConvWeightGrad",
      .domain = "ed",
      .arity = { 2, 2, 2 },
      .attrs = grad_attrs,
      .params_size = sizeof(ed_conv_grad_params),
      .infer = weight_grad_infer,
      .forward = { ED_FAST_ROW(ed_onednn_conv_weight_grad), ED_REFERENCE(weight_grad_forward) } },
    { 0 },
};
