/*
 * Gradients of the functions of one number (domain "ed"): dx[i] = dy[i] f'(x[i]), with v, the
 * forward output y where f' is a function of it, else the forward input x.
 *
 * ReluGrad         v > 0 ? dy : 0                                 v = y
 * LeakyReluGrad    v > 0 ? dy : alpha dy                          v = y (x where alpha < 0)
 * ClipGrad         lo < v < hi ? dy : 0                           v = y
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
 * The loops are those of chains (chain_steps.c), in the reference row and in any layout alike: the
 * padding of dy is 0 and f'(0) finite, so that of dx is 0 too. In place over dy when it dies.
 */
#include "base/parallel.h"
#include "ops/chain.h"
#include "ops/fast.h"

#include <float.h>
#include <math.h>

/* As in Clip, a bound that is NaN limits nothing; here neither does an infinite one, which y may
 * equal. Where lo > hi, all y are hi. The gradient at NaN is 0: kernels may have made it a bound.
 */
void ed_clip_grad_bounds(float bounds[2], const ed_activation_params *p, const ed_tensor *min,
                         const ed_tensor *max)
{
    ed_clip_bounds(&bounds[0], &bounds[1], p, min, max);
    bounds[0] = bounds[0] == -INFINITY ? NAN : bounds[0];
    bounds[1] = bounds[1] == INFINITY ? NAN : bounds[1];
}

/* ---- kernels ---- */
typedef struct grad_state {
    ed_chain_code code;
    float p[2];    /* of the step */
    int64_t numel; /* physical */
} grad_state;

/* `bound`: those of ClipGrad, where they are inputs. */
static grad_state state_of(const ed_node *node, const ed_activation_grad_params *params,
                           const ed_tensor *const bound[2])
{
    grad_state s = { .code = ed_chain_code_of(node), .p = { params->f.alpha } };
    if (s.code == ED_CHAIN_CLIP_GRAD)
        ed_clip_grad_bounds(s.p, &params->f, bound[0], bound[1]);
    if (s.code == ED_CHAIN_GELU_GRAD && params->approximate == ED_GELU_TANH)
        s.code = ED_CHAIN_GELU_TANH_GRAD;
    return s;
}

typedef struct grad_job {
    const grad_state *s;
    float *dx;
    const float *dy, *v;
} grad_job;

static void grad_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    (void)thread;
    ed_chain_steps[job->s->code](job->dx + begin, job->dy + begin, job->v + begin, NULL, job->s->p,
                                 end - begin);
}

static int run(const ed_call *c, const grad_state *s)
{
    enum { GRAIN = 8192 };
    grad_job job = { s, c->out[0]->data, c->in[0]->data, c->in[1]->data };
    ed_parallel_for(s->numel, GRAIN, grad_range, &job);
    return ED_OK;
}

static int grad_forward(const ed_call *c)
{
    const ed_tensor *bound[2] = { c->n_in > 2 ? c->in[2] : NULL, c->n_in > 3 ? c->in[3] : NULL };
    grad_state s = state_of(c->node, c->params, bound);
    s.numel = c->in[0]->numel;
    return run(c, &s);
}

/* ---- in any layout ---- */
int ed_vector_grad_run(const ed_call *call)
{
    return run(call, call->state);
}

/* False when a bound is computed while the model runs. */
static bool find_bounds(const ed_tensor *bound[2], const ed_kernel_plan *p)
{
    for (uint32_t i = 0; i < 2; i++) {
        ed_id id = ed_node_in(p->nodes[0], i + 2);
        bound[i] = id == ED_NONE ? NULL : p->constants[id];
        if (id != ED_NONE && !bound[i])
            return false;
    }
    return true;
}

int ed_vector_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_tensor *bound[2];
    if (!ed_plan_is_f32(p, node->in[0]))
        return ed_plan_refuse(p, "empty or not float32");
    if (!find_bounds(bound, p))
        return ed_plan_refuse(p, "bounds are not constant");
    grad_state now = state_of(node, p->params[0], bound);
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
            ED_FAST_ROW(ed_layout_chain),                                                          \
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
