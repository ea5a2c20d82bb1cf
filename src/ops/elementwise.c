/*
 * Arithmetic on tensors with numpy broadcasting, on float32 and on integers (shapes are computed
 * with these; sums and products wrap around, division by 0 is an error).
 *
 * Add, Sub, Mul, Div (ONNX opset 7, 13, 14)  Div of integers truncates towards zero
 * Mod (10, 13)           fmod 0: the remainder has the divisor's sign
 *                        fmod 1: the dividend's sign, as in C
 * Min, Max (6, 8 to 13)  of any number of tensors; NaN wins
 * Sum (6, 8, 13)         of any number of tensors
 * PRelu (7, 9, 16)       y = x < 0 ? slope x : x, where slope broadcasts to x
 */
#include "ops/broadcast.h"
#include "ops/fast.h"
#include "ops/gradient.h"

#include <math.h>

/* ---- on two numbers ---- */
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
/* Integers wrap around: as unsigned ones, at least of 32 bits. */
#define ADD_INT(a, b) ((uint64_t)(a) + (uint64_t)(b))
#define SUB_INT(a, b) ((uint64_t)(a) - (uint64_t)(b))
#define MUL_INT(a, b) ((uint64_t)(a) * (uint64_t)(b))
/* Without the overflow of the least number / -1. */
#define DIV_INT(a, b)        ((b) == -1 ? (int64_t)(0 - (uint64_t)(a)) : (int64_t)((a) / (b)))
#define REMAINDER(a, b)      ((b) == -1 ? 0 : (a) % (b))
#define REMAINDER_UINT(a, b) ((a) % (b))
#define MOD_INT(a, b)                                                                              \
    (REMAINDER(a, b) + (REMAINDER(a, b) != 0 && (REMAINDER(a, b) < 0) != ((b) < 0) ? (b) : 0))
#define MIN(a, b)       ((a) < (b) ? (a) : (b))
#define MAX(a, b)       ((a) > (b) ? (a) : (b))
#define MIN_FLOAT(a, b) ((a) < (b) || isnan(a) ? (a) : (b))
#define MAX_FLOAT(a, b) ((a) > (b) || isnan(a) ? (a) : (b))
#define PRELU(x, slope) ((x) < 0.0f ? (slope) * (x) : (x))

/* Of the divisor's sign, zeros too. */
static float mod_float(float a, float b)
{
    float r = fmodf(a, b);
    if (r == 0.0f)
        return copysignf(0.0f, b);
    return (r < 0.0f) != (b < 0.0f) ? r + b : r;
}

#define DEFINE_RUNS(name, FLOAT, SIGNED, UNSIGNED)                                                 \
    ED_DEFINE_RUN(name##_f32, float, float, float, FLOAT)                                          \
    ED_DEFINE_INTEGER_RUNS(name, ED_TO_SAME, SIGNED, UNSIGNED)                                     \
    static const ed_run_fn name##_runs[ED_DTYPE_COUNT] = { [ED_F32] = name##_f32,                  \
                                                           ED_INTEGER_RUNS(name) };
DEFINE_RUNS(add, ADD, ADD_INT, ADD_INT)
DEFINE_RUNS(sub, SUB, SUB_INT, SUB_INT)
DEFINE_RUNS(mul, MUL, MUL_INT, MUL_INT)
DEFINE_RUNS(div, DIV, DIV_INT, DIV)
DEFINE_RUNS(fmod, fmodf, REMAINDER, REMAINDER_UINT)
DEFINE_RUNS(min, MIN_FLOAT, MIN, MIN)
DEFINE_RUNS(max, MAX_FLOAT, MAX, MAX)

ED_DEFINE_INTEGER_RUNS(mod, ED_TO_SAME, MOD_INT, REMAINDER_UINT)
ED_DEFINE_RUN(mod_f32, float, float, float, mod_float)
static const ed_run_fn mod_runs[ED_DTYPE_COUNT] = { [ED_F32] = mod_f32, ED_INTEGER_RUNS(mod) };

ED_DEFINE_RUN(prelu_f32, float, float, float, PRELU)

/* ---- kernels ---- */
static int forward(const ed_call *c, const ed_run_fn *runs)
{
    ed_broadcast(runs[c->out[0]->dtype], c->out[0], c->in, 2);
    return ED_OK;
}

static int add_forward(const ed_call *c)
{
    return forward(c, add_runs);
}

static int sub_forward(const ed_call *c)
{
    return forward(c, sub_runs);
}

static int mul_forward(const ed_call *c)
{
    return forward(c, mul_runs);
}

static int div_forward(const ed_call *c)
{
    ED_TRY(ed_check_divisor(c, c->in[1]));
    return forward(c, div_runs);
}

typedef struct mod_params {
    int64_t fmod;
} mod_params;

static int mod_forward(const ed_call *c)
{
    const mod_params *p = c->params;
    ED_TRY(ed_check_divisor(c, c->in[1]));
    return forward(c, p->fmod ? fmod_runs : mod_runs);
}

/* y = in[0], then y = run(y, in[i]). */
static int accumulate(const ed_call *c, const ed_run_fn *runs)
{
    ed_tensor *y = c->out[0];
    ed_broadcast_copy(y, c->in[0]);
    for (uint32_t i = 1; i < c->n_in; i++)
        ed_broadcast(runs[y->dtype], y, (const ed_tensor *[]){ y, c->in[i] }, 2);
    return ED_OK;
}

static int min_forward(const ed_call *c)
{
    return accumulate(c, min_runs);
}

static int max_forward(const ed_call *c)
{
    return accumulate(c, max_runs);
}

static int sum_forward(const ed_call *c)
{
    return accumulate(c, add_runs);
}

int ed_clip_integers(const ed_call *c)
{
    ed_tensor *y = c->out[0];
    ed_broadcast_copy(y, c->in[0]);
    for (uint32_t i = 1; i < c->n_in; i++)
        if (c->in[i] && c->in[i]->numel)
            ed_broadcast((i == 1 ? max_runs : min_runs)[y->dtype], y,
                         (const ed_tensor *[]){ y, c->in[i] }, 2);
    return ED_OK;
}

static int prelu_forward(const ed_call *c)
{
    ed_broadcast(prelu_f32, c->out[0], c->in, 2);
    return ED_OK;
}

/* ---- inference ---- */
static int infer_arithmetic(ed_infer *ctx)
{
    for (uint32_t i = 0; i < ctx->n_in; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, ed_run_dtypes(add_runs)));
    return ed_infer_broadcast(ctx);
}

static int infer_any_number(ed_infer *ctx)
{
    for (uint32_t i = 0; i < ctx->n_in; i++)
        if (ed_node_in(ctx->node, i) == ED_NONE)
            return ed_infer_fail(ctx, ED_EFORMAT, "input %u is omitted; %s requires it", i,
                                 ctx->node->op_type);
    return infer_arithmetic(ctx);
}

static int infer_prelu(ed_infer *ctx)
{
    char x[128], slope[128];
    ED_TRY(ed_infer_f32(ctx));
    ED_TRY(ed_infer_broadcast(ctx));
    const ed_shape *s = &ctx->in[0].shape, *y = &ctx->out[0].shape;
    bool grown = s->rank >= 0 && y->rank > s->rank;
    for (int i = 0; i < s->rank && y->rank == s->rank; i++)
        grown = grown || (s->dim[i] >= 0 && y->dim[i] >= 0 && y->dim[i] != s->dim[i]);
    if (grown)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the slope's shape %s does not broadcast to the input's %s; its "
                             "dimensions must be equal to the input's or 1",
                             ed_shape_format(slope, sizeof slope, &ctx->in[1].shape),
                             ed_shape_format(x, sizeof x, s));
    ctx->out[0].shape = *s;
    return ED_OK;
}

/* ---- gradients ---- */
/* -value, summed to the input's shape first: that is smaller. */
static int give_negative(ed_grad *g, uint32_t i, ed_id value)
{
    const ed_shape shape = *ed_grad_shape(g, g->in[i]);
    ED_TRY(ed_grad_sum_to(g, &value, value, &shape));
    ED_TRY(ed_grad_unary(g, &value, "Neg", value));
    return ed_grad_give(g, i, value);
}

/* Add, Sum */
static int sum_gradient(ed_grad *g)
{
    for (uint32_t i = 0; i < g->n_in; i++)
        ED_TRY(ed_grad_give_broadcast(g, i, ed_grad_dy(g)));
    return ED_OK;
}

static int sub_gradient(ed_grad *g)
{
    ED_TRY(ed_grad_give_broadcast(g, 0, ed_grad_dy(g)));
    return ed_grad_wants(g, 1) ? give_negative(g, 1, ed_grad_dy(g)) : ED_OK;
}

static int mul_gradient(ed_grad *g)
{
    for (uint32_t i = 0; i < 2; i++) {
        ed_id product;
        if (!ed_grad_wants(g, i))
            continue;
        ED_TRY(ed_grad_binary(g, &product, "Mul", ed_grad_dy(g), g->in[1 - i]));
        ED_TRY(ed_grad_give_broadcast(g, i, product));
    }
    return ED_OK;
}

/* dy / b, and -(dy / b) y */
static int div_gradient(ed_grad *g)
{
    ed_id quotient, product;
    ED_TRY(ed_grad_binary(g, &quotient, "Div", ed_grad_dy(g), g->in[1]));
    ED_TRY(ed_grad_give_broadcast(g, 0, quotient));
    if (!ed_grad_wants(g, 1))
        return ED_OK;
    ED_TRY(ed_grad_binary(g, &product, "Mul", quotient, g->out[0]));
    return give_negative(g, 1, product);
}

/* y = a - b q, where the quotient q = (a - y) / b is an integer */
static int mod_gradient(ed_grad *g)
{
    ed_id multiple, product;
    ED_TRY(ed_grad_give_broadcast(g, 0, ed_grad_dy(g)));
    if (!ed_grad_wants(g, 1))
        return ED_OK;
    ED_TRY(ed_grad_binary(g, &multiple, "Sub", g->in[0], g->out[0]));
    ED_TRY(ed_grad_binary(g, &multiple, "Div", multiple, g->in[1]));
    ED_TRY(ed_grad_binary(g, &product, "Mul", ed_grad_dy(g), multiple));
    return give_negative(g, 1, product);
}

/* Min, Max: the inputs that are y share dy. */
static int choice_gradient(ed_grad *g)
{
    int rc = ED_OK;
    ed_id count = ED_NONE, share, *chosen = NULL;
    if (g->n_in == 1)
        return ed_grad_give(g, 0, ed_grad_dy(g));
    chosen = ed_calloc(g->n_in, sizeof *chosen);
    if (!chosen)
        return ED_ENOMEM;
    for (uint32_t i = 0; i < g->n_in; i++)
        ED_GOTO(ed_grad_equal(g, &chosen[i], g->in[i], g->out[0]));
    ED_GOTO(ed_grad_emit(g, &count, "Sum", chosen, g->n_in));
    ED_GOTO(ed_grad_binary(g, &share, "Div", ed_grad_dy(g), count));
    for (uint32_t i = 0; i < g->n_in; i++) {
        if (!ed_grad_wants(g, i))
            continue;
        ED_GOTO(ed_grad_binary(g, &chosen[i], "Mul", share, chosen[i]));
        ED_GOTO(ed_grad_give_broadcast(g, i, chosen[i]));
    }
done:
    ed_free(chosen);
    return rc;
}

/* With dy = above + below, the parts where x > 0 and elsewhere: dx = above + slope below, and
 * d slope = below x. */
static int prelu_gradient(ed_grad *g)
{
    const ed_id x = g->in[0], slope = g->in[1];
    ed_id above, below, product;
    ED_TRY(ed_grad_binary(g, &above, "ed::ReluGrad", ed_grad_dy(g), x));
    ED_TRY(ed_grad_binary(g, &below, "Sub", ed_grad_dy(g), above));
    if (ed_grad_wants(g, 0)) {
        ED_TRY(ed_grad_binary(g, &product, "Mul", below, slope));
        ED_TRY(ed_grad_binary(g, &product, "Add", above, product));
        ED_TRY(ed_grad_give(g, 0, product));
    }
    if (ed_grad_wants(g, 1)) {
        ED_TRY(ed_grad_binary(g, &product, "Mul", below, x));
        ED_TRY(ed_grad_give_broadcast(g, 1, product));
    }
    return ED_OK;
}

/* ---- rows ---- */
static const ed_attr_spec mod_attrs[] = {
    ED_ATTR_I64_OF("fmod", mod_params, fmod, 0),
    { 0 },
};

const ed_op ed_ops_elementwise[] = {
    { .type = "Add",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_COMMUTATIVE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_layout_binary),
                   ED_REFERENCE(add_forward) },
      .gradient = sum_gradient },
    { .type = "Sub",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_layout_binary),
                   ED_REFERENCE(sub_forward) },
      .gradient = sub_gradient },
    { .type = "Mul",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_COMMUTATIVE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_layout_binary),
                   ED_REFERENCE(mul_forward) },
      .gradient = mul_gradient },
    { .type = "Div",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_layout_binary),
                   ED_REFERENCE(div_forward) },
      .gradient = div_gradient },
    { .type = "Mod",
      .opset = { 10, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .attrs = mod_attrs,
      .params_size = sizeof(mod_params),
      .infer = infer_arithmetic,
      .forward = { ED_REFERENCE(mod_forward) },
      .gradient = mod_gradient },
    { .type = "Sum",
      .opset = { 6, 0 },
      .arity = { 1, ED_ARITY_ANY, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_any_number,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_REFERENCE(sum_forward) },
      .gradient = sum_gradient },
    { .type = "Min",
      .opset = { 6, 0 },
      .arity = { 1, ED_ARITY_ANY, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_any_number,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_REFERENCE(min_forward) },
      .gradient = choice_gradient },
    { .type = "Max",
      .opset = { 6, 0 },
      .arity = { 1, ED_ARITY_ANY, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_any_number,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_REFERENCE(max_forward) },
      .gradient = choice_gradient },
    { .type = "PRelu",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_prelu,
      .forward = { ED_REFERENCE(prelu_forward) },
      .gradient = prelu_gradient },
    { 0 },
};
