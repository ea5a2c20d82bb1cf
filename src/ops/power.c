/*
 * Pow (ONNX opset 7, 12, 13, 15): y = a to the power of b with numpy broadcasting, of a's type.
 *
 * a is float32, int32 or int64, b float32 or any integer. An integer result is computed in double
 * and truncated, as ONNX Runtime does.
 */
#include "ops/broadcast.h"
#include "ops/fast.h"
#include "ops/gradient.h"

#include <math.h>

/* A double as int64; outside of its range and of NaN the least number, as x86 converts. */
static int64_t truncated(double x)
{
    return x > -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}

#define POW_INT(a, b)   truncated(pow((double)(a), (b)))
#define POW_FLOAT(a, b) powf((a), (float)(b))
ED_DEFINE_RUN(pow_f32, float, float, float, powf)
ED_DEFINE_RUN(pow_wide_f32, float, float, double, POW_FLOAT)
ED_DEFINE_RUN(pow_wide_i32, int32_t, int32_t, double, POW_INT)
ED_DEFINE_RUN(pow_wide_i64, int64_t, int64_t, double, POW_INT)

/* By the dtype of a; b is float64. */
static const ed_run_fn wide_runs[ED_DTYPE_COUNT] = {
    [ED_F32] = pow_wide_f32, [ED_I32] = pow_wide_i32, [ED_I64] = pow_wide_i64
};

static int pow_forward(const ed_call *c)
{
    const ed_tensor *a = c->in[0], *b = c->in[1];
    ed_tensor *wide = NULL;
    if (a->dtype == ED_F32 && b->dtype == ED_F32) {
        ed_broadcast(pow_f32, c->out[0], c->in, 2);
        return ED_OK;
    }
    ED_TRY(ed_tensor_cast(&wide, b, ED_F64));
    ed_broadcast(wide_runs[a->dtype], c->out[0], (const ed_tensor *[]){ a, wide }, 2);
    ed_tensor_free(wide);
    return ED_OK;
}

static int infer_pow(ed_infer *ctx)
{
    const unsigned integers = 1u << ED_I8 | 1u << ED_U8 | 1u << ED_I16 | 1u << ED_U16 |
                              1u << ED_I32 | 1u << ED_U32 | 1u << ED_I64 | 1u << ED_U64;
    ed_type in[2] = { ctx->in[0], ctx->in[1] };
    ed_infer same = *ctx;
    ED_TRY(ed_infer_dtypes(ctx, 0, ed_run_dtypes(wide_runs)));
    ED_TRY(ed_infer_dtypes(ctx, 1, integers | 1u << ED_F32));
    in[1].dtype = in[0].dtype; /* the types may differ, only the shapes are merged */
    same.in = in;
    return ed_infer_broadcast(&same);
}

/* ---- gradients ---- */
/* An exponent that is one constant number e: e a^(e - 1). */
static int give_constant_power(ed_grad *g, double e)
{
    ed_id exponent, factor = g->in[0], dx = ed_grad_dy(g);
    if (e == 0)
        return ED_OK;
    if (e != 1 && e != 2) {
        ED_TRY(ed_grad_f32(g, &exponent, (float)(e - 1)));
        ED_TRY(ed_grad_binary(g, &factor, "Pow", g->in[0], exponent));
    }
    if (e != 1)
        ED_TRY(ed_grad_binary(g, &dx, "Mul", dx, factor));
    ED_TRY(ed_grad_scale(g, &dx, dx, (float)e));
    return ed_grad_give_broadcast(g, 0, dx);
}

/* b a^(b - 1); where b is 0, as 0 a^0: that is 0 for any a. */
static int give_power(ed_grad *g)
{
    ed_id b, zero, one, is_zero, factor, dx;
    ED_TRY(ed_grad_to_f32(g, &b, g->in[1]));
    ED_TRY(ed_grad_f32(g, &zero, 0.0f));
    ED_TRY(ed_grad_f32(g, &one, 1.0f));
    ED_TRY(ed_grad_equal(g, &is_zero, b, zero));
    ED_TRY(ed_grad_binary(g, &factor, "Sub", b, one));
    ED_TRY(ed_grad_binary(g, &factor, "Add", factor, is_zero));
    ED_TRY(ed_grad_binary(g, &factor, "Pow", g->in[0], factor));
    ED_TRY(ed_grad_binary(g, &factor, "Mul", factor, b));
    ED_TRY(ed_grad_binary(g, &dx, "Mul", ed_grad_dy(g), factor));
    return ed_grad_give_broadcast(g, 0, dx);
}

/* y log a; where a is 0, as y log 1: that is 0 for any positive b. */
static int give_exponent(ed_grad *g)
{
    ed_id zero, is_zero, factor, dx;
    ED_TRY(ed_grad_f32(g, &zero, 0.0f));
    ED_TRY(ed_grad_equal(g, &is_zero, g->in[0], zero));
    ED_TRY(ed_grad_binary(g, &factor, "Add", g->in[0], is_zero));
    ED_TRY(ed_grad_unary(g, &factor, "Log", factor));
    ED_TRY(ed_grad_binary(g, &factor, "Mul", g->out[0], factor));
    ED_TRY(ed_grad_binary(g, &dx, "Mul", ed_grad_dy(g), factor));
    return ed_grad_give_broadcast(g, 1, dx);
}

static int pow_gradient(ed_grad *g)
{
    const ed_tensor *exponent = ed_grad_constant(g, g->in[1]);
    if (ed_grad_wants(g, 0) && exponent && exponent->numel == 1)
        ED_TRY(give_constant_power(g, ed_tensor_get_f64(exponent, 0)));
    else if (ed_grad_wants(g, 0))
        ED_TRY(give_power(g));
    return ed_grad_wants(g, 1) ? give_exponent(g) : ED_OK;
}

const ed_op ed_ops_power[] = {
    { .type = "Pow",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_pow,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_vector_unary),
                   ED_REFERENCE(pow_forward) },
      .gradient = pow_gradient },
    { 0 },
};
