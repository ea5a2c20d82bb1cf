/*
 * Convolutions with 1 to 3 spatial dimensions, groups, dilations and any padding (window.c).
 *
 * Conv (ONNX opset 1, 11, 22): x [N, C, in...], w [M, C/group, kernel...], bias [M] or none
 *   y[n, m, o] = bias[m] + sum over c, k of w[m, c, k] * x[n, c, o * stride - pad + k * dilation]
 * ConvTranspose (1, 11, 22): w [C, M/group, kernel...]
 *   y[n, m, o] = bias[m] + sum over c, k, i of w[c, m, k] * x[n, c, i]
 *                where o = i * stride - pad + k * dilation
 *
 * Both sum in float32, channel by channel, tap by tap. The innermost loop runs along the output's
 * width.
 */
#include "ops/conv.h"
#include "ops/fast.h"

#include "base/parallel.h"

const ed_attr_spec ed_conv_attrs[] = {
    ED_ATTR_ENUM_OF("auto_pad", ed_conv_params, auto_pad, ed_auto_pad_words),
    ED_ATTR_INTS_OF("dilations", ed_conv_params, dilations),
    ED_ATTR_INTS_OF("kernel_shape", ed_conv_params, kernel_shape),
    ED_ATTR_INTS_OF("pads", ed_conv_params, pads),
    ED_ATTR_INTS_OF("strides", ed_conv_params, strides),
    ED_ATTR_INTS_OF("output_padding", ed_conv_params, output_padding),
    ED_ATTR_INTS_OF("output_shape", ed_conv_params, output_shape),
    ED_ATTR_I64_OF("group", ed_conv_params, group, 1),
    { 0 },
};

/* ---- inference ---- */

/* Channel counts: in_per_group of the weight against the input's, and the bias against `out`. */
static int check_channels(const ed_infer *ctx, int64_t in, int64_t in_expected, int64_t out)
{
    const ed_conv_params *p = ctx->params;
    const ed_shape *bias = ctx->n_in > 2 ? &ctx->in[2].shape : &ED_SHAPE_UNKNOWN;

    if (in >= 0 && in_expected >= 0 && in != in_expected)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the input has %lld channels; the weight wants %lld with group %lld",
                             (long long)in, (long long)in_expected, (long long)p->group);
    if (bias->rank >= 0 &&
        (bias->rank != 1 || (bias->dim[0] >= 0 && out >= 0 && bias->dim[0] != out)))
        return ed_infer_fail(ctx, ED_ESHAPE, "the bias has %lld numbers; %lld were expected",
                             bias->rank == 1 ? (long long)bias->dim[0] : (long long)bias->rank,
                             (long long)out);
    return ED_OK;
}

/* The sum of in channels over groups: dim * group, checked; unknown stays unknown. */
static int times_group(const ed_infer *ctx, int64_t dim, int64_t *out)
{
    const ed_conv_params *p = ctx->params;

    *out = ED_DIM_UNKNOWN;
    if (dim >= 0 && !ed_mul_i64(dim, p->group, out))
        return ed_infer_fail(ctx, ED_ESHAPE, "%lld channels in %lld groups overflow",
                             (long long)dim, (long long)p->group);
    return ED_OK;
}

/* What both have in common: types, group, and an output of [N, ?, ?...]. *known: x's rank is. */
static int infer_common(ed_infer *ctx, bool *known)
{
    const ed_conv_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *w = &ctx->in[1].shape;

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    *known = x->rank >= 0;
    if (p->group < 1)
        return ed_infer_fail(ctx, ED_ESHAPE, "attribute group is %lld; it must be at least 1",
                             (long long)p->group);
    if (w->rank >= 0 && w->rank < 3)
        return ed_infer_fail(ctx, ED_ESHAPE, "the weight has rank %d; 3 to 5 were expected",
                             w->rank);
    if (*known) {
        ctx->out[0].shape.rank = x->rank;
        for (int i = 0; i < x->rank; i++)
            ctx->out[0].shape.dim[i] = i == 0 ? x->dim[0] : ED_DIM_UNKNOWN;
    }
    return ED_OK;
}

static int conv_infer(ed_infer *ctx)
{
    const ed_conv_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *w = &ctx->in[1].shape;
    ed_shape *y = &ctx->out[0].shape;
    ed_window window;
    int64_t in, m = w->rank >= 0 ? w->dim[0] : ED_DIM_UNKNOWN;
    bool known;

    ED_TRY(infer_common(ctx, &known));
    if (!known)
        return ED_OK;
    ED_TRY(ed_conv_window(&window, ctx->graph, ctx->node, p, x, w));
    ED_TRY(times_group(ctx, w->rank >= 0 ? w->dim[1] : ED_DIM_UNKNOWN, &in));
    ED_TRY(check_channels(ctx, x->dim[1], in, m));
    if (m >= 0 && m % p->group != 0)
        return ed_infer_fail(ctx, ED_ESHAPE, "%lld output channels do not divide into %lld groups",
                             (long long)m, (long long)p->group);
    y->dim[1] = m >= 0 ? m : ED_DIM_UNKNOWN;
    for (int i = 0; i < window.rank; i++)
        y->dim[2 + i] = ed_window_positions(&window, i, x->dim[2 + i], false);
    return ED_OK;
}

static int conv_transpose_infer(ed_infer *ctx)
{
    const ed_conv_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *w = &ctx->in[1].shape;
    ed_shape *y = &ctx->out[0].shape;
    ed_window win;
    bool known;

    ED_TRY(infer_common(ctx, &known));
    if (!known)
        return ED_OK;
    ED_TRY(ed_conv_window(&win, ctx->graph, ctx->node, p, x, w));
    ED_TRY(times_group(ctx, w->rank >= 0 ? w->dim[1] : ED_DIM_UNKNOWN, &y->dim[1]));
    ED_TRY(check_channels(ctx, x->dim[1], w->rank >= 0 ? w->dim[0] : ED_DIM_UNKNOWN, y->dim[1]));
    if (x->dim[1] >= 0 && x->dim[1] % p->group != 0)
        return ed_infer_fail(ctx, ED_ESHAPE, "%lld input channels do not divide into %lld groups",
                             (long long)x->dim[1], (long long)p->group);
    for (int i = 0; i < win.rank; i++) {
        int64_t in = x->dim[2 + i];

        if (in >= 0 && win.kernel[i] >= 0)
            y->dim[2 + i] = (in - 1) * win.stride[i] + (win.kernel[i] - 1) * win.dilation[i] + 1 -
                            win.pad_begin[i] - win.pad_end[i];
    }
    return ED_OK;
}

/* ---- reference kernels ---- */

typedef struct conv_job {
    const float *x, *w, *bias;
    float *y;
    ed_window_axis axis[3]; /* depth, height, width */
    int64_t c_per_group, m_per_group, group;
} conv_job;

/* One tap of one input row of every channel: y[o] += w[c] * x[c, o * stride + ...]. Channels lie
 * `size` elements apart in x and `step` in w. */
static void add_tap(float *y, const float *x, int64_t size, const float *w, int64_t step,
                    int64_t channels, const ed_window_axis *a, int64_t k)
{
    int64_t lo, hi;

    ed_window_valid(a, k, &lo, &hi);
    x += k * a->dilation - a->pad;
    for (int64_t c = 0; c < channels; c++, x += size, w += step) {
        if (a->stride == 1)
            for (int64_t o = lo; o < hi; o++)
                y[o] += *w * x[o];
        else
            for (int64_t o = lo; o < hi; o++)
                y[o] += *w * x[o * a->stride];
    }
}

/* One row y[n, m, od, oh, :]; row counts them all. */
static void conv_row(const conv_job *j, int64_t row)
{
    const ed_window_axis *d = &j->axis[0], *h = &j->axis[1], *wd = &j->axis[2];
    int64_t plane = row / (d->out * h->out), m_all = j->m_per_group * j->group;
    int64_t od = row / h->out % d->out, oh = row % h->out;
    int64_t n = plane / m_all, m = plane % m_all, g = m / j->m_per_group;
    int64_t taps = d->kernel * h->kernel * wd->kernel, size = d->in * h->in * wd->in;
    const float *x = j->x + (n * j->group + g) * j->c_per_group * size;
    const float *w = j->w + m * j->c_per_group * taps;
    float *y = j->y + row * wd->out;

    for (int64_t o = 0; o < wd->out; o++)
        y[o] = j->bias ? j->bias[m] : 0.0f;
    for (int64_t kd = 0; kd < d->kernel; kd++) {
        int64_t id = od * d->stride - d->pad + kd * d->dilation;

        for (int64_t kh = 0; id >= 0 && id < d->in && kh < h->kernel; kh++) {
            int64_t ih = oh * h->stride - h->pad + kh * h->dilation;

            for (int64_t k = 0; ih >= 0 && ih < h->in && k < wd->kernel; k++)
                add_tap(y, x + (id * h->in + ih) * wd->in, size,
                        w + (kd * h->kernel + kh) * wd->kernel + k, taps, j->c_per_group, wd, k);
        }
    }
}

/* y[i * stride - pad + k * dilation] += w[c] * x[c, i]: the axis is the other way round, its output
 * is x. */
static void spread_tap(float *y, const float *x, int64_t size, const float *w, int64_t step,
                       int64_t channels, const ed_window_axis *a, int64_t k)
{
    int64_t lo, hi;

    ed_window_valid(a, k, &lo, &hi);
    y += k * a->dilation - a->pad;
    for (int64_t c = 0; c < channels; c++, x += size, w += step)
        for (int64_t i = lo; i < hi; i++)
            y[i * a->stride] += *w * x[i];
}

/* The input position that tap k spreads to output o, or -1. */
static int64_t source_of(const ed_window_axis *a, int64_t o, int64_t k)
{
    int64_t scaled = o + a->pad - k * a->dilation;

    if (scaled < 0 || scaled % a->stride != 0 || scaled / a->stride >= a->out)
        return -1;
    return scaled / a->stride;
}

static void conv_transpose_row(const conv_job *j, int64_t row)
{
    const ed_window_axis *d = &j->axis[0], *h = &j->axis[1], *wd = &j->axis[2];
    int64_t plane = row / (d->in * h->in), m_all = j->m_per_group * j->group;
    int64_t od = row / h->in % d->in, oh = row % h->in;
    int64_t n = plane / m_all, m = plane % m_all, g = m / j->m_per_group;
    int64_t taps = d->kernel * h->kernel * wd->kernel, size = d->out * h->out * wd->out;
    const float *x = j->x + (n * j->group + g) * j->c_per_group * size;
    const float *w = j->w + (g * j->c_per_group * j->m_per_group + m % j->m_per_group) * taps;
    float *y = j->y + row * wd->in;

    for (int64_t o = 0; o < wd->in; o++)
        y[o] = j->bias ? j->bias[m] : 0.0f;
    for (int64_t kd = 0; kd < d->kernel; kd++) {
        int64_t id = source_of(d, od, kd);

        for (int64_t kh = 0; id >= 0 && kh < h->kernel; kh++) {
            int64_t ih = source_of(h, oh, kh);

            for (int64_t k = 0; ih >= 0 && k < wd->kernel; k++)
                spread_tap(y, x + (id * h->out + ih) * wd->out, size,
                           w + (kd * h->kernel + kh) * wd->kernel + k, j->m_per_group * taps,
                           j->c_per_group, wd, k);
        }
    }
}

static void conv_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        conv_row(ctx, row);
}

static void conv_transpose_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        conv_transpose_row(ctx, row);
}

static void set_operands(conv_job *j, const ed_call *c, int64_t group)
{
    j->x = c->in[0]->data;
    j->w = c->in[1]->data;
    j->bias = c->n_in > 2 && c->in[2] ? c->in[2]->data : NULL;
    j->y = c->out[0]->data;
    j->group = group;
    j->c_per_group = c->in[0]->shape.dim[1] / group;
    j->m_per_group = c->out[0]->shape.dim[1] / group;
}

static int conv_forward(const ed_call *c)
{
    const ed_conv_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape, *y = &c->out[0]->shape;
    ed_window window;
    conv_job job;

    ED_TRY(ed_conv_window(&window, NULL, c->node, p, x, &c->in[1]->shape));
    set_operands(&job, c, p->group);
    ed_window_axes(job.axis, &window, x, y);
    if (c->out[0]->numel > 0)
        ed_parallel_for(c->out[0]->numel / job.axis[2].out, 1, conv_rows, &job);
    return ED_OK;
}

int ed_conv_spread(const ed_call *c, const ed_window *window, int64_t group)
{
    const ed_shape *x = &c->in[0]->shape, *y = &c->out[0]->shape;
    conv_job job;

    set_operands(&job, c, group);
    ed_window_axes(job.axis, window, y, x);
    if (c->out[0]->numel > 0)
        ed_parallel_for(c->out[0]->numel / job.axis[2].in, 1, conv_transpose_rows, &job);
    return ED_OK;
}

static int conv_transpose_forward(const ed_call *c)
{
    const ed_conv_params *p = c->params;
    ed_window window;

    ED_TRY(ed_conv_window(&window, NULL, c->node, p, &c->in[0]->shape, &c->in[1]->shape));
    return ed_conv_spread(c, &window, p->group);
}

const ed_op ed_ops_conv[] = {
    { .type = "Conv",
      .opset = { 1, 0 },
      .arity = { 2, 3, 1 },
      .traits = ED_OP_WEIGHTED,
      .attrs = ed_conv_attrs,
      .params_size = sizeof(ed_conv_params),
      .infer = conv_infer,
      .forward = { ED_FAST_ROW(ed_onednn_conv), ED_REFERENCE(conv_forward) },
      .gradient = ed_conv_gradient },
    { .type = "ConvTranspose",
      .opset = { 1, 0 },
      .arity = { 2, 3, 1 },
      .traits = ED_OP_WEIGHTED,
      .attrs = ed_conv_attrs,
      .params_size = sizeof(ed_conv_params),
      .infer = conv_transpose_infer,
      .forward = { ED_REFERENCE(conv_transpose_forward) },
      .gradient = ed_conv_transpose_gradient },
    { 0 },
};
