/*
 * Gradients of the functions of one number (domain "ed"): dx[i] = dy[i] f'(x[i]), with v, the
 * forward output y where f' is a function of it, else the forward input x.
 *
 * ReluGrad         v > 0 ? dy : 0                                 v = y
 * LeakyReluGrad    v > 0 ? dy : alpha dy                          v = y (x where alpha < 0)
 * ClipGrad         lo <= v <= hi ? dy : 0                         v = x
 * SigmoidGrad      dy v (1 - v)                                   v = y
 * HardSigmoidGrad  0 < v < 1 ? alpha dy : 0                       v = y
 * HardSwishGrad    dy (v <= -3 ? 0 : v >= 3 ? 1 : v / 3 + 1/2)    v = x
 * TanhGrad         dy (1 - v^2)                                   v = y
 * MishGrad         dy (t + v (1 - t^2) sigmoid(v)), t = tanh(log(1 + exp(v)))   v = x
 * EluGrad          v > 0 ? dy : dy alpha exp(v)                   v = x
 * GeluGrad         dy (Phi(v) + v phi(v)), or of its tanh form    v = x
 * ErfGrad          dy 2 / sqrt(pi) exp(-v^2)                      v = x
 * AbsGrad          dy sign(v)                                     v = x
 *
 * One loop of vector instructions each, in the reference row and in any layout alike: the padding
 * of dy is 0 and f'(0) finite, so that of dx is 0 too. In place over dy when it dies.
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/gradient.h"
#include "ops/vector_math.h"

#include <float.h>

/* ---- the functions ---- */
typedef void (*gradient_fn)(float *dx, const float *dy, const float *v, int64_t n,
                            const ed_activation_params *p);

/* v within [-limit, limit]; NaN stays. */
ED_BODY float within(float v, float limit)
{
    v = v > limit ? limit : v;
    return v < -limit ? -limit : v;
}

/* With e = exp(v) and w = e (e + 2): t = w / (w + 2), (1 - t^2) sigmoid(v) = 4 e (1 + e) / (w +
 * 2)^2; from 20 on it is 1. */
ED_BODY float mish_slope(float v)
{
    v = v > 20.0f ? 20.0f : v;
    v = v < -104.0f ? -104.0f : v;
    float e = ed_vector_exp(v), w = e * (e + 2.0f);
    return (w + 4.0f * v * e * (1.0f + e) / (w + 2.0f)) / (w + 2.0f);
}

ED_BODY float gelu_slope(float v)
{
    v = within(v, 32.0f); /* infinity times a density of 0 is no number */
    float erf, tail = 0.5f * ed_vector_erfc(fabsf(v) * 0.707106781f, &erf);
    return (v < 0.0f ? tail : 1.0f - tail) + v * 0.398942280f * ed_vector_exp(-0.5f * v * v);
}

/* y = v s with s = sigmoid(2 u), u = sqrt(2 / pi) (v + 0.044715 v^3) */
ED_BODY float gelu_tanh_slope(float v)
{
    v = within(v, 16.0f);
    float square = v * v, twice_u = 1.59576912f * (v + 0.044715f * square * v);
    float s = 1.0f / (1.0f + ed_vector_exp(-twice_u));
    return s + v * s * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * square);
}

ED_BODY float hard_swish_slope(float v)
{
    float slope = v * (1.0f / 3.0f) + 0.5f;
    slope = v <= -3.0f ? 0.0f : slope;
    return v >= 3.0f ? 1.0f : slope;
}

#define DEFINE_GRADIENT(name, EXPR)                                                                \
    ED_BODY void name##_body(float *dx, const float *dy, const float *v, int64_t n,                \
                             const ed_activation_params *p)                                        \
    {                                                                                              \
        const float alpha = p->alpha, lo = p->min, hi = p->max;                                    \
        ED_INDEPENDENT                                                                             \
        for (int64_t i = 0; i < n; i++)                                                            \
            dx[i] = EXPR(dy[i], v[i]);                                                             \
        (void)alpha;                                                                               \
        (void)lo;                                                                                  \
        (void)hi;                                                                                  \
    }                                                                                              \
    ED_CLONES_VOID(                                                                                \
        name,                                                                                      \
        (float *dx, const float *dy, const float *v, int64_t n, const ed_activation_params *p),    \
        (dx, dy, v, n, p))
#define RELU(dy, v)         ((v) > 0.0f ? (dy) : 0.0f)
#define LEAKY_RELU(dy, v)   ((dy) * ((v) > 0.0f ? 1.0f : alpha))
#define CLIP(dy, v)         ((((v) < lo) | ((v) > hi)) ? 0.0f : (dy)) /* as y, NaN limits nothing */
#define SIGMOID(dy, v)      ((dy) * ((v) * (1.0f - (v))))
#define HARD_SIGMOID(dy, v) ((dy) * ((((v) > 0.0f) & ((v) < 1.0f)) ? alpha : 0.0f))
#define HARD_SWISH(dy, v)   ((dy)*hard_swish_slope(v))
#define TANH(dy, v)         ((dy) * (1.0f - (v) * (v)))
#define MISH(dy, v)         ((dy)*mish_slope(v))
#define ELU(dy, v)          ((dy) * ((v) > 0.0f ? 1.0f : alpha * ed_vector_exp(v)))
#define GELU(dy, v)         ((dy)*gelu_slope(v))
#define GELU_TANH(dy, v)    ((dy)*gelu_tanh_slope(v))
#define ERF(dy, v)          ((dy) * (1.12837917f * ed_vector_exp(-(v) * (v))))
#define ABS(dy, v)          ((dy) * ((v) > 0.0f ? 1.0f : (v) < 0.0f ? -1.0f : 0.0f))
DEFINE_GRADIENT(relu_grad, RELU)
DEFINE_GRADIENT(leaky_relu_grad, LEAKY_RELU)
DEFINE_GRADIENT(clip_grad, CLIP)
DEFINE_GRADIENT(sigmoid_grad, SIGMOID)
DEFINE_GRADIENT(hard_sigmoid_grad, HARD_SIGMOID)
DEFINE_GRADIENT(hard_swish_grad, HARD_SWISH)
DEFINE_GRADIENT(tanh_grad, TANH)
DEFINE_GRADIENT(mish_grad, MISH)
DEFINE_GRADIENT(elu_grad, ELU)
DEFINE_GRADIENT(gelu_grad, GELU)
DEFINE_GRADIENT(gelu_tanh_grad, GELU_TANH)
DEFINE_GRADIENT(erf_grad, ERF)
DEFINE_GRADIENT(abs_grad, ABS)

static const struct {
    const char *type;
    gradient_fn fn[2]; /* by `approximate` */
} gradients[] = {
    { "ReluGrad", { relu_grad } },
    { "LeakyReluGrad", { leaky_relu_grad } },
    { "ClipGrad", { clip_grad } },
    { "SigmoidGrad", { sigmoid_grad } },
    { "HardSigmoidGrad", { hard_sigmoid_grad } },
    { "HardSwishGrad", { hard_swish_grad } },
    { "TanhGrad", { tanh_grad } },
    { "MishGrad", { mish_grad } },
    { "EluGrad", { elu_grad } },
    { "GeluGrad", { gelu_grad, gelu_tanh_grad } },
    { "ErfGrad", { erf_grad } },
    { "AbsGrad", { abs_grad } },
};

static gradient_fn find(const ed_node *node, const ed_activation_grad_params *p)
{
    size_t i = 0;
    while (strcmp(gradients[i].type, node->op_type) != 0)
        i++;
    return gradients[i].fn[p->approximate];
}

/* ---- kernels ---- */
typedef struct grad_job {
    gradient_fn fn;
    float *dx;
    const float *dy, *v;
    ed_activation_params params;
} grad_job;

static void grad_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    (void)thread;
    job->fn(job->dx + begin, job->dy + begin, job->v + begin, end - begin, &job->params);
}

static int run(grad_job *job, const ed_call *c, int64_t numel)
{
    enum { GRAIN = 8192 };
    job->dx = c->out[0]->data;
    job->dy = c->in[0]->data;
    job->v = c->in[1]->data;
    ed_parallel_for(numel, GRAIN, grad_range, job);
    return ED_OK;
}

static void set_bounds(ed_activation_params *f, const ed_tensor *min, const ed_tensor *max)
{
    const ed_activation_params preset = *f;
    ed_clip_bounds(&f->min, &f->max, &preset, min, max);
}

static int grad_forward(const ed_call *c)
{
    const ed_activation_grad_params *p = c->params;
    grad_job job = { .fn = find(c->node, p), .params = p->f };
    set_bounds(&job.params, c->n_in > 2 ? c->in[2] : NULL, c->n_in > 3 ? c->in[3] : NULL);
    return run(&job, c, c->in[0]->numel);
}

/* ---- in any layout ---- */
typedef struct grad_state {
    gradient_fn fn;
    ed_activation_params params;
    int64_t numel; /* physical */
} grad_state;

int ed_vector_grad_run(const ed_call *call)
{
    const grad_state *s = call->state;
    grad_job job = { .fn = s->fn, .params = s->params };
    return run(&job, call, s->numel);
}

/* False when a bound is computed while the model runs. */
static bool bounds_known(const ed_kernel_plan *p, ed_activation_params *f)
{
    const ed_tensor *bound[2] = { NULL, NULL };
    for (uint32_t i = 0; i < 2; i++) {
        ed_id id = ed_node_in(p->nodes[0], i + 2);
        if (id != ED_NONE && !p->constants[id])
            return false;
        bound[i] = id == ED_NONE ? NULL : p->constants[id];
    }
    set_bounds(f, bound[0], bound[1]);
    return true;
}

int ed_vector_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_activation_grad_params *params = p->params[0];
    grad_state now = { .fn = find(node, params), .params = params->f };
    if (!ed_plan_is_f32(p, node->in[0]))
        return ed_plan_refuse(p, "empty or not float32");
    if (!bounds_known(p, &now.params))
        return ed_plan_refuse(p, "bounds are not constant");
    ed_layout layout = p->layouts[node->in[0]];
    layout = layout == ED_LAYOUT_PLAIN ? p->layouts[node->in[1]] : layout;
    ED_TRY(ed_layout_numel(&now.numel, layout, &p->types[node->in[0]].shape));
    grad_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    p->taken = 1;
    p->n_in = 2;
    for (uint32_t i = 0; i < 2; i++) {
        p->in[i] = node->in[i];
        p->in_layout[i] = layout;
    }
    p->out_layout = layout;
    p->inplace = node->in[0] != node->in[1] && ed_plan_dies(p, node->in[0], 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_vector_grad_free(void *state)
{
    ed_free(state);
}

/* ---- inference ---- */
static int infer_grad(ed_infer *ctx)
{
    ED_TRY(ed_infer_f32(ctx));
    ED_TRY(ed_infer_same_as_inputs(ctx, 0, 1));
    for (uint32_t i = 2; i < ctx->n_in; i++) {
        const ed_shape *s = &ctx->in[i].shape;
        if (s->rank > 1 || (s->rank == 1 && s->dim[0] >= 0 && s->dim[0] != 1))
            return ed_infer_fail(ctx, ED_ESHAPE, "bound %u is not a single number", i - 2);
    }
    return ED_OK;
}

/* ---- rows ---- */
static const ed_attr_spec leaky_relu_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_activation_grad_params, f.alpha, 0.01),
    { 0 },
};

static const ed_attr_spec hard_sigmoid_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_activation_grad_params, f.alpha, 0.2),
    { 0 },
};

static const ed_attr_spec elu_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_activation_grad_params, f.alpha, 1.0),
    { 0 },
};

static const ed_attr_spec clip_attrs[] = {
    ED_ATTR_F32_OF("min", ed_activation_grad_params, f.min, -FLT_MAX),
    ED_ATTR_F32_OF("max", ed_activation_grad_params, f.max, FLT_MAX),
    { 0 },
};

static const char *const approximations[] = { "none", "tanh", NULL };

static const ed_attr_spec gelu_attrs[] = {
    ED_ATTR_ENUM_OF("approximate", ed_activation_grad_params, approximate, approximations),
    { 0 },
};

#define ROW(op, inputs, table)                                                                     \
    {                                                                                              \
        .type = op, .domain = "ed", .arity = { 2, inputs, 1 }, .traits = ED_OP_ELEMENTWISE,        \
        .attrs = table, .params_size = sizeof(ed_activation_grad_params), .infer = infer_grad,     \
        .forward = {                                                                               \
            ED_FAST_ROW(ed_vector_grad),                                                           \
            ED_REFERENCE(grad_forward)                                                             \
        }                                                                                          \
    }
const ed_op ed_ops_activation_grad[] = {
    ROW("ReluGrad", 2, NULL),
    ROW("LeakyReluGrad", 2, leaky_relu_attrs),
    ROW("ClipGrad", 4, clip_attrs),
    ROW("SigmoidGrad", 2, NULL),
    ROW("HardSigmoidGrad", 2, hard_sigmoid_attrs),
    ROW("HardSwishGrad", 2, NULL),
    ROW("TanhGrad", 2, NULL),
    ROW("MishGrad", 2, NULL),
    ROW("EluGrad", 2, elu_attrs),
    ROW("GeluGrad", 2, gelu_attrs),
    ROW("ErfGrad", 2, NULL),
    ROW("AbsGrad", 2, NULL),
    { 0 },
};
