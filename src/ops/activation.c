/*
 * Activations: one float32 tensor in, one of the same shape out. NaN stays NaN.
 *
 * Relu         y = max(x, 0)
 * LeakyRelu    y = x < 0 ? alpha x : x                    alpha 0.01
 * Clip         y = min(max(x, lo), hi)                    attributes before opset 11, then inputs
 * Sigmoid      y = 1 / (1 + exp(-x))
 * HardSigmoid  y = min(max(alpha x + beta, 0), 1)         alpha 0.2, beta 0.5
 * HardSwish    y = x min(max(x / 6 + 1/2, 0), 1)          opset 14
 * Tanh         y = tanh(x)
 * Mish         y = x tanh(log(1 + exp(x)))                opset 18
 * Elu          y = x < 0 ? alpha (exp(x) - 1) : x         alpha 1
 * Softplus     y = log(1 + exp(x))
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/gradient.h"

#include <float.h>
#include <math.h>

enum { GRAIN = 4096 };

/* A bound that is NaN limits nothing; a NaN in x passes. */
static inline float clip(float x, float lo, float hi)
{
    float y = x < lo ? lo : x;
    return y > hi ? hi : y;
}

/* ---- the functions over a range: y[i] = f(x[i]) ---- */
typedef void (*map_fn)(float *y, const float *x, int64_t n, const ed_activation_params *p);

static void map_relu(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    (void)p;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void map_leaky_relu(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? p->alpha * x[i] : x[i];
}

static void map_clip(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = clip(x[i], p->min, p->max);
}

static void map_sigmoid(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    (void)p;
    for (int64_t i = 0; i < n; i++)
        y[i] = 1.0f / (1.0f + expf(-x[i]));
}

static void map_hard_sigmoid(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = clip(p->alpha * x[i] + p->beta, 0.0f, 1.0f);
}

static void map_hard_swish(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    (void)p;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * clip(x[i] / 6.0f + 0.5f, 0.0f, 1.0f);
}

static void map_tanh(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    (void)p;
    for (int64_t i = 0; i < n; i++)
        y[i] = tanhf(x[i]);
}

static void map_mish(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    (void)p;
    for (int64_t i = 0; i < n; i++) /* log(1 + e^x) is x where e^x would overflow */
        y[i] = x[i] * tanhf(x[i] > 30.0F ? x[i] : log1pf(expf(x[i])));
}

static void map_elu(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? p->alpha * expm1f(x[i]) : x[i];
}

/* max(x, 0) + log(1 + exp(-|x|)) does not overflow. */
static void map_softplus(float *y, const float *x, int64_t n, const ed_activation_params *p)
{
    (void)p;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] < 0.0f ? 0.0f : x[i]) + log1pf(expf(-fabsf(x[i])));
}

/* ---- kernels ---- */
typedef struct map_job {
    map_fn map;
    float *y;
    const float *x;
    const ed_activation_params *params;
} map_job;

static void map_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const map_job *job = ctx;
    (void)thread;
    job->map(job->y + begin, job->x + begin, end - begin, job->params);
}

static int map_all(const ed_call *c, map_fn map, const ed_activation_params *params)
{
    map_job job = { map, c->out[0]->data, c->in[0]->data, params };
    ed_parallel_for(c->in[0]->numel, GRAIN, map_range, &job);
    return ED_OK;
}

static int relu_forward(const ed_call *c)
{
    return map_all(c, map_relu, c->params);
}

static int leaky_relu_forward(const ed_call *c)
{
    return map_all(c, map_leaky_relu, c->params);
}

void ed_clip_bounds(float *lo, float *hi, const ed_activation_params *p, const ed_tensor *min,
                    const ed_tensor *max)
{
    *lo = min && min->numel ? *(const float *)min->data : p->min;
    *hi = max && max->numel ? *(const float *)max->data : p->max;
}

static int clip_forward(const ed_call *c)
{
    ed_activation_params bounds = { 0 };
    if (c->in[0]->dtype != ED_F32)
        return ed_clip_integers(c);
    ed_clip_bounds(&bounds.min, &bounds.max, c->params, c->n_in > 1 ? c->in[1] : NULL,
                   c->n_in > 2 ? c->in[2] : NULL);
    return map_all(c, map_clip, &bounds);
}

static int mish_forward(const ed_call *c)
{
    return map_all(c, map_mish, c->params);
}

static int sigmoid_forward(const ed_call *c)
{
    return map_all(c, map_sigmoid, c->params);
}

static int hard_sigmoid_forward(const ed_call *c)
{
    return map_all(c, map_hard_sigmoid, c->params);
}

static int hard_swish_forward(const ed_call *c)
{
    return map_all(c, map_hard_swish, c->params);
}

static int tanh_forward(const ed_call *c)
{
    return map_all(c, map_tanh, c->params);
}

static int elu_forward(const ed_call *c)
{
    return map_all(c, map_elu, c->params);
}

static int softplus_forward(const ed_call *c)
{
    return map_all(c, map_softplus, c->params);
}

/* ---- inference ---- */
static int infer_activation(ed_infer *ctx)
{
    ED_TRY(ed_infer_f32(ctx));
    return ed_infer_same_as_input(ctx);
}

enum {
    CLIP_DTYPES = 1u << ED_F32 | 1u << ED_I8 | 1u << ED_U8 | 1u << ED_I16 | 1u << ED_U16 |
                  1u << ED_I32 | 1u << ED_U32 | 1u << ED_I64 | 1u << ED_U64
};

static int infer_clip(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, CLIP_DTYPES));
    for (uint32_t i = 1; i < ctx->n_in; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, 1u << ctx->in[0].dtype));
    ED_TRY(ed_infer_same_as_input(ctx));
    for (uint32_t i = 1; i < ctx->n_in; i++) {
        const ed_shape *s = &ctx->in[i].shape;
        char text[128];
        if (s->rank > 1 || (s->rank == 1 && s->dim[0] >= 0 && s->dim[0] != 1))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "the %s bound has the shape %s; it must be a single number",
                                 i == 1 ? "lower" : "upper", ed_shape_format(text, sizeof text, s));
    }
    return ED_OK;
}

/* ---- gradients (activation_grad.c) ---- */
/* The sign of y tells that of x unless alpha turns it over. */
static int leaky_relu_gradient(ed_grad *g)
{
    const ed_activation_params *p = g->params;
    return p->alpha >= 0.0f ? ed_gradient_of_output(g) : ed_gradient_of_inputs(g);
}

/* Bound i gets the dy of those elements where the condition on y holds. */
static int give_bound(ed_grad *g, uint32_t i, ed_id condition)
{
    ed_id zero, dy;
    ED_TRY(ed_grad_f32(g, &zero, 0.0f));
    ED_TRY(ed_grad_emit(g, &dy, "Where", (ed_id[]){ condition, ed_grad_dy(g), zero }, 3));
    return ed_grad_give_broadcast(g, i, dy);
}

/* Each dy goes to one of the three: to hi where y equals it, else to lo where y equals that, else
 * to x. So a convolution's result before its Clip is not kept. */
static int clip_gradient(ed_grad *g)
{
    const ed_id y = g->out[0], lo = g->n_in > 1 ? g->in[1] : ED_NONE;
    const ed_id hi = g->n_in > 2 ? g->in[2] : ED_NONE;
    ed_id dx, condition, is_hi;
    if (ed_grad_wants(g, 0)) {
        const ed_id in[4] = { ed_grad_dy(g), y, lo, hi };
        ED_TRY(ed_grad_emit_like(g, &dx, "ed::ClipGrad", in, g->n_in + 1));
        ED_TRY(ed_grad_give(g, 0, dx));
    }
    if (ed_grad_wants(g, 1)) {
        ED_TRY(ed_grad_binary(g, &condition, "Equal", y, lo));
        if (hi != ED_NONE) {
            ED_TRY(ed_grad_binary(g, &is_hi, "Equal", y, hi));
            ED_TRY(ed_grad_unary(g, &is_hi, "Not", is_hi));
            ED_TRY(ed_grad_binary(g, &condition, "And", condition, is_hi));
        }
        ED_TRY(give_bound(g, 1, condition));
    }
    if (ed_grad_wants(g, 2)) {
        ED_TRY(ed_grad_binary(g, &condition, "Equal", y, hi));
        ED_TRY(give_bound(g, 2, condition));
    }
    return ED_OK;
}

/* dy sigmoid(x) */
static int softplus_gradient(ed_grad *g)
{
    ed_id s, dx;
    ED_TRY(ed_grad_unary(g, &s, "Sigmoid", g->in[0]));
    ED_TRY(ed_grad_binary(g, &dx, "Mul", ed_grad_dy(g), s));
    return ed_grad_give(g, 0, dx);
}

/* ---- rows ---- */
static const ed_attr_spec leaky_relu_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_activation_params, alpha, 0.01),
    { 0 },
};

static const ed_attr_spec hard_sigmoid_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_activation_params, alpha, 0.2),
    ED_ATTR_F32_OF("beta", ed_activation_params, beta, 0.5),
    { 0 },
};

static const ed_attr_spec elu_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_activation_params, alpha, 1.0),
    { 0 },
};

/* From opset 11 on these are inputs; an omitted one has the same default. */
static const ed_attr_spec clip_attrs[] = {
    ED_ATTR_F32_OF("min", ed_activation_params, min, -FLT_MAX),
    ED_ATTR_F32_OF("max", ed_activation_params, max, FLT_MAX),
    { 0 },
};

const ed_op ed_ops_activation[] = {
    { .type = "Relu",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(relu_forward) },
      .gradient = ed_gradient_of_output },
    { .type = "LeakyRelu",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .attrs = leaky_relu_attrs,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(leaky_relu_forward) },
      .gradient = leaky_relu_gradient },
    { .type = "Clip",
      .opset = { 6, 10 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .attrs = clip_attrs,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_clip,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(clip_forward) },
      .gradient = clip_gradient },
    { .type = "Clip",
      .opset = { 11, 0 },
      .arity = { 1, 3, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .attrs = clip_attrs,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_clip,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(clip_forward) },
      .gradient = clip_gradient },
    { .type = "Sigmoid",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(sigmoid_forward) },
      .gradient = ed_gradient_of_output },
    { .type = "HardSigmoid",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .attrs = hard_sigmoid_attrs,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(hard_sigmoid_forward) },
      .gradient = ed_gradient_of_output },
    { .type = "HardSwish",
      .opset = { 14, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(hard_swish_forward) },
      .gradient = ed_gradient_of_inputs },
    { .type = "Tanh",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_onednn_eltwise),
                   ED_REFERENCE(tanh_forward) },
      .gradient = ed_gradient_of_output },
    { .type = "Mish",
      .opset = { 18, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_REFERENCE(mish_forward) },
      .gradient = ed_gradient_of_inputs },
    { .type = "Elu",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .attrs = elu_attrs,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_REFERENCE(elu_forward) },
      .gradient = ed_gradient_of_inputs },
    { .type = "Softplus",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .params_size = sizeof(ed_activation_params),
      .infer = infer_activation,
      .forward = { ED_REFERENCE(softplus_forward) },
      .gradient = softplus_gradient },
    { 0 },
};
