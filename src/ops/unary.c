/*
 * Functions of one number: y[i] = f(x[i]), float32; Neg and Abs on integers too.
 *
 * Abs, Neg, Ceil, Exp, Floor, Log, Reciprocal (1 / x), Sqrt (ONNX opset 6, 13), Erf (9, 13)
 * Sin, Cos, Tan and their inverses (7, 22), the hyperbolic ones (9, 22)
 * Round (11, 22) half to even, Sign (9, 13)
 * Gelu (20)   approximate "none"  y = x / 2 (1 + erf(x / sqrt 2))
 *             approximate "tanh"  y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/unary_grad.h"

#include <math.h>

enum { GRAIN = 4096 };

/* ---- the functions over a range ---- */
typedef void (*map_fn)(void *y, const void *x, int64_t n);

#define DEFINE_MAP(name, type, EXPR)                                                               \
    static void name(void *py, const void *px, int64_t n)                                          \
    {                                                                                              \
        type *y = py;                                                                              \
        const type *x = px;                                                                        \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = (type)(EXPR(x[i]));                                                             \
    }
#define NEGATIVE(x)     (-(x))
#define NEGATIVE_INT(x) (0 - (uint64_t)(x)) /* the least number stays */
#define ABS_INT(x)      ((x) < 0 ? 0 - (uint64_t)(x) : (uint64_t)(x))
#define SAME(x)         (x)
#define RECIPROCAL(x)   (1.0f / (x))
#define SIGN(x)         ((x) > 0.0f ? 1.0f : (x) < 0.0f ? -1.0f : (x)) /* zeros and NaN stay */
/* erfc keeps the digits of large negative numbers. */
#define GELU(x)      (0.5 * (double)(x)*erfc(-(double)(x)*M_SQRT1_2))
#define GELU_TANH(x) gelu_tanh((double)(x))

static double gelu_tanh(double x)
{
    const double root = 0.79788456080286536; /* sqrt(2 / pi) */
    return 0.5 * x * (1.0 + tanh(root * (x + 0.044715 * x * x * x)));
}

DEFINE_MAP(abs_f32, float, fabsf)
DEFINE_MAP(abs_i8, int8_t, ABS_INT)
DEFINE_MAP(abs_i16, int16_t, ABS_INT)
DEFINE_MAP(abs_i32, int32_t, ABS_INT)
DEFINE_MAP(abs_i64, int64_t, ABS_INT)
DEFINE_MAP(same_u8, uint8_t, SAME)
DEFINE_MAP(same_u16, uint16_t, SAME)
DEFINE_MAP(same_u32, uint32_t, SAME)
DEFINE_MAP(same_u64, uint64_t, SAME)
DEFINE_MAP(neg_f32, float, NEGATIVE)
DEFINE_MAP(neg_i8, int8_t, NEGATIVE_INT)
DEFINE_MAP(neg_i16, int16_t, NEGATIVE_INT)
DEFINE_MAP(neg_i32, int32_t, NEGATIVE_INT)
DEFINE_MAP(neg_i64, int64_t, NEGATIVE_INT)
DEFINE_MAP(ceil_f32, float, ceilf)
DEFINE_MAP(erf_f32, float, erff)
DEFINE_MAP(exp_f32, float, expf)
DEFINE_MAP(floor_f32, float, floorf)
DEFINE_MAP(log_f32, float, logf)
DEFINE_MAP(reciprocal_f32, float, RECIPROCAL)
DEFINE_MAP(sqrt_f32, float, sqrtf)
DEFINE_MAP(acos_f32, float, acosf)
DEFINE_MAP(acosh_f32, float, acoshf)
DEFINE_MAP(asin_f32, float, asinf)
DEFINE_MAP(asinh_f32, float, asinhf)
DEFINE_MAP(atan_f32, float, atanf)
DEFINE_MAP(atanh_f32, float, atanhf)
DEFINE_MAP(cos_f32, float, cosf)
DEFINE_MAP(cosh_f32, float, coshf)
DEFINE_MAP(sin_f32, float, sinf)
DEFINE_MAP(sinh_f32, float, sinhf)
DEFINE_MAP(tan_f32, float, tanf)
DEFINE_MAP(round_f32, float, rintf)
DEFINE_MAP(sign_f32, float, SIGN)
DEFINE_MAP(gelu_f32, float, GELU)
DEFINE_MAP(gelu_tanh_f32, float, GELU_TANH)

static const map_fn abs_maps[ED_DTYPE_COUNT] = {
    [ED_F32] = abs_f32,  [ED_I8] = abs_i8,    [ED_I16] = abs_i16,
    [ED_I32] = abs_i32,  [ED_I64] = abs_i64,  [ED_U8] = same_u8,
    [ED_U16] = same_u16, [ED_U32] = same_u32, [ED_U64] = same_u64
};
static const map_fn neg_maps[ED_DTYPE_COUNT] = {
    [ED_F32] = neg_f32, [ED_I8] = neg_i8,   [ED_I16] = neg_i16,
    [ED_I32] = neg_i32, [ED_I64] = neg_i64,
};

/* ---- kernels ---- */
typedef struct map_job {
    map_fn map;
    char *y;
    const char *x;
    int64_t size; /* of an element */
} map_job;

static void map_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const map_job *job = ctx;
    (void)thread;
    job->map(job->y + begin * job->size, job->x + begin * job->size, end - begin);
}

static int map_all(const ed_call *c, map_fn map)
{
    map_job job = { map, c->out[0]->data, c->in[0]->data,
                    (int64_t)ed_dtype_bits(c->in[0]->dtype) / 8 };
    ed_parallel_for(c->in[0]->numel, GRAIN, map_range, &job);
    return ED_OK;
}

static int abs_forward(const ed_call *c)
{
    return map_all(c, abs_maps[c->in[0]->dtype]);
}

static int neg_forward(const ed_call *c)
{
    return map_all(c, neg_maps[c->in[0]->dtype]);
}

static int gelu_forward(const ed_call *c)
{
    const ed_gelu_params *p = c->params;
    return map_all(c, p->approximate == ED_GELU_TANH ? gelu_tanh_f32 : gelu_f32);
}

#define DEFINE_FORWARD(name)                                                                       \
    static int name##_forward(const ed_call *c)                                                    \
    {                                                                                              \
        return map_all(c, name##_f32);                                                             \
    }
DEFINE_FORWARD(ceil)
DEFINE_FORWARD(erf)
DEFINE_FORWARD(exp)
DEFINE_FORWARD(floor)
DEFINE_FORWARD(log)
DEFINE_FORWARD(reciprocal)
DEFINE_FORWARD(sqrt)
DEFINE_FORWARD(acos)
DEFINE_FORWARD(acosh)
DEFINE_FORWARD(asin)
DEFINE_FORWARD(asinh)
DEFINE_FORWARD(atan)
DEFINE_FORWARD(atanh)
DEFINE_FORWARD(cos)
DEFINE_FORWARD(cosh)
DEFINE_FORWARD(sin)
DEFINE_FORWARD(sinh)
DEFINE_FORWARD(tan)
DEFINE_FORWARD(round)
DEFINE_FORWARD(sign)

/* ---- inference ---- */
static int infer_f32(ed_infer *ctx)
{
    ED_TRY(ed_infer_f32(ctx));
    return ed_infer_same_as_input(ctx);
}

static int infer_maps(ed_infer *ctx, const map_fn *maps)
{
    unsigned dtypes = 0;
    for (unsigned d = 0; d < ED_DTYPE_COUNT; d++)
        dtypes |= maps[d] ? 1u << d : 0u;
    ED_TRY(ed_infer_dtypes(ctx, 0, dtypes));
    return ed_infer_same_as_input(ctx);
}

static int infer_abs(ed_infer *ctx)
{
    return infer_maps(ctx, abs_maps);
}

static int infer_neg(ed_infer *ctx)
{
    return infer_maps(ctx, neg_maps);
}

/* ---- rows ---- */
static const char *const approximations[] = { "none", "tanh", NULL };

static const ed_attr_spec gelu_attrs[] = {
    ED_ATTR_ENUM_OF("approximate", ed_gelu_params, approximate, approximations),
    { 0 },
};

#define ROW(op, first, infer_fn, gradient_fn, ...)                                                 \
    {                                                                                              \
        .type = op, .opset = { first, 0 }, .arity = { 1, 1, 1 }, .traits = ED_OP_ELEMENTWISE,      \
        .infer = infer_fn, .gradient = gradient_fn, .forward = {                                   \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
const ed_op ed_ops_unary[] = {
    ROW("Abs", 6, infer_abs, ed_gradient_of_inputs, ED_FAST_ROW(ed_layout_chain),
        ED_REFERENCE(abs_forward)),
    ROW("Neg", 6, infer_neg, ed_neg_gradient, ED_FAST_ROW(ed_layout_chain),
        ED_REFERENCE(neg_forward)),
    ROW("Ceil", 6, infer_f32, ed_gradient_none, ED_REFERENCE(ceil_forward)),
    ROW("Erf", 9, infer_f32, ed_gradient_of_inputs, ED_FAST_ROW(ed_layout_chain),
        ED_FAST_ROW(ed_vector_unary), ED_REFERENCE(erf_forward)),
    ROW("Exp", 6, infer_f32, ed_exp_gradient, ED_FAST_ROW(ed_layout_chain),
        ED_FAST_ROW(ed_vector_unary), ED_REFERENCE(exp_forward)),
    ROW("Floor", 6, infer_f32, ed_gradient_none, ED_REFERENCE(floor_forward)),
    ROW("Log", 6, infer_f32, ed_log_gradient, ED_FAST_ROW(ed_layout_chain),
        ED_REFERENCE(log_forward)),
    ROW("Reciprocal", 6, infer_f32, ed_reciprocal_gradient, ED_FAST_ROW(ed_layout_chain),
        ED_REFERENCE(reciprocal_forward)),
    ROW("Sqrt", 6, infer_f32, ed_sqrt_gradient, ED_FAST_ROW(ed_layout_chain),
        ED_FAST_ROW(ed_vector_unary), ED_REFERENCE(sqrt_forward)),
    ROW("Acos", 7, infer_f32, ed_acos_gradient, ED_REFERENCE(acos_forward)),
    ROW("Acosh", 9, infer_f32, ed_acosh_gradient, ED_REFERENCE(acosh_forward)),
    ROW("Asin", 7, infer_f32, ed_asin_gradient, ED_REFERENCE(asin_forward)),
    ROW("Asinh", 9, infer_f32, ed_asinh_gradient, ED_REFERENCE(asinh_forward)),
    ROW("Atan", 7, infer_f32, ed_atan_gradient, ED_REFERENCE(atan_forward)),
    ROW("Atanh", 9, infer_f32, ed_atanh_gradient, ED_REFERENCE(atanh_forward)),
    ROW("Cos", 7, infer_f32, ed_cos_gradient, ED_REFERENCE(cos_forward)),
    ROW("Cosh", 9, infer_f32, ed_cosh_gradient, ED_REFERENCE(cosh_forward)),
    ROW("Sin", 7, infer_f32, ed_sin_gradient, ED_REFERENCE(sin_forward)),
    ROW("Sinh", 9, infer_f32, ed_sinh_gradient, ED_REFERENCE(sinh_forward)),
    ROW("Tan", 7, infer_f32, ed_tan_gradient, ED_REFERENCE(tan_forward)),
    ROW("Round", 11, infer_f32, ed_gradient_none, ED_REFERENCE(round_forward)),
    ROW("Sign", 9, infer_f32, ed_gradient_none, ED_REFERENCE(sign_forward)),
    { .type = "Gelu",
      .opset = { 20, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_ACTIVATION,
      .attrs = gelu_attrs,
      .params_size = sizeof(ed_gelu_params),
      .infer = infer_f32,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_vector_unary),
                   ED_REFERENCE(gelu_forward) },
      .gradient = ed_gradient_of_inputs },
    { 0 },
};
