/*
 * Comparisons and logic: truth values (bool, one byte, 0 or 1) with numpy broadcasting.
 *
 * Equal (ONNX opset 7, 11, 13, 19), Greater, Less (7, 9, 13), GreaterOrEqual, LessOrEqual (12, 16)
 *     of numbers, Equal of bool too; a NaN is unequal to, and neither less nor greater than,
 * anything And, Or, Xor (7), Not (1)   of bool Where (9, 16)               y = condition ? a : b,
 * of any type of whole bytes
 */
#include "ops/broadcast.h"
#include "ops/gradient.h"

/* ---- on two numbers ---- */
#define EQUAL(a, b)         ((a) == (b))
#define GREATER(a, b)       ((a) > (b))
#define LESS(a, b)          ((a) < (b))
#define GREATER_EQUAL(a, b) ((a) >= (b))
#define LESS_EQUAL(a, b)    ((a) <= (b))
#define AND(a, b)           ((a) && (b))
#define OR(a, b)            ((a) || (b))
#define XOR(a, b)           (!(a) != !(b))

#define DEFINE_COMPARISON(name, EXPR)                                                              \
    ED_DEFINE_RUN(name##_f32, uint8_t, float, float, EXPR)                                         \
    ED_DEFINE_INTEGER_RUNS(name, ED_TO_BOOL, EXPR, EXPR)
#define COMPARISON_RUNS(name) [ED_F32] = name##_f32, ED_INTEGER_RUNS(name)
DEFINE_COMPARISON(equal, EQUAL)
DEFINE_COMPARISON(greater, GREATER)
DEFINE_COMPARISON(less, LESS)
DEFINE_COMPARISON(greater_equal, GREATER_EQUAL)
DEFINE_COMPARISON(less_equal, LESS_EQUAL)
ED_DEFINE_RUN(and_run, uint8_t, uint8_t, uint8_t, AND)
ED_DEFINE_RUN(or_run, uint8_t, uint8_t, uint8_t, OR)
ED_DEFINE_RUN(xor_run, uint8_t, uint8_t, uint8_t, XOR)

/* By the inputs' dtype. */
static const ed_run_fn equal_runs[ED_DTYPE_COUNT] = { COMPARISON_RUNS(equal), [ED_BOOL] =
                                                                                  equal_u8 };
static const ed_run_fn greater_runs[ED_DTYPE_COUNT] = { COMPARISON_RUNS(greater) };
static const ed_run_fn less_runs[ED_DTYPE_COUNT] = { COMPARISON_RUNS(less) };
static const ed_run_fn greater_equal_runs[ED_DTYPE_COUNT] = { COMPARISON_RUNS(greater_equal) };
static const ed_run_fn less_equal_runs[ED_DTYPE_COUNT] = { COMPARISON_RUNS(less_equal) };
static const ed_run_fn and_runs[ED_DTYPE_COUNT] = { [ED_BOOL] = and_run };
static const ed_run_fn or_runs[ED_DTYPE_COUNT] = { [ED_BOOL] = or_run };
static const ed_run_fn xor_runs[ED_DTYPE_COUNT] = { [ED_BOOL] = xor_run };

static int compare(const ed_call *c, const ed_run_fn *runs)
{
    ed_broadcast(runs[c->in[0]->dtype], c->out[0], c->in, 2);
    return ED_OK;
}

static int infer_compare(ed_infer *ctx, const ed_run_fn *runs)
{
    for (uint32_t i = 0; i < 2; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, ed_run_dtypes(runs)));
    ED_TRY(ed_infer_broadcast(ctx));
    ctx->out[0].dtype = ED_BOOL;
    return ED_OK;
}

#define DEFINE_OPERATOR(name)                                                                      \
    static int name##_forward(const ed_call *c)                                                    \
    {                                                                                              \
        return compare(c, name##_runs);                                                            \
    }                                                                                              \
    static int infer_##name(ed_infer *ctx)                                                         \
    {                                                                                              \
        return infer_compare(ctx, name##_runs);                                                    \
    }
DEFINE_OPERATOR(equal)
DEFINE_OPERATOR(greater)
DEFINE_OPERATOR(less)
DEFINE_OPERATOR(greater_equal)
DEFINE_OPERATOR(less_equal)
DEFINE_OPERATOR(and)
DEFINE_OPERATOR(or)
DEFINE_OPERATOR(xor)

/* ---- Not ---- */
static int not_forward(const ed_call *c)
{
    const uint8_t *x = c->in[0]->data;
    uint8_t *y = c->out[0]->data;
    for (int64_t i = 0; i < c->out[0]->numel; i++)
        y[i] = !x[i];
    return ED_OK;
}

static int infer_not(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_BOOL));
    ED_TRY(ed_infer_same_as_input(ctx));
    ctx->out[0].dtype = ED_BOOL;
    return ED_OK;
}

/* ---- Where, by the size of an element ---- */
#define DEFINE_SELECT(name, type)                                                                  \
    static void name(void *py, const void *const *in, const int64_t *step, int64_t n)              \
    {                                                                                              \
        type *y = py;                                                                              \
        const uint8_t *condition = in[0];                                                          \
        const type *a = in[1], *b = in[2];                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = condition[i * step[0]] ? a[i * step[1]] : b[i * step[2]];                       \
    }
DEFINE_SELECT(select_8, uint8_t)
DEFINE_SELECT(select_16, uint16_t)
DEFINE_SELECT(select_32, uint32_t)
DEFINE_SELECT(select_64, uint64_t)

static int where_forward(const ed_call *c)
{
    unsigned bits = ed_dtype_bits(c->out[0]->dtype);
    ed_run_fn run = bits == 8    ? select_8
                    : bits == 16 ? select_16
                    : bits == 32 ? select_32
                                 : select_64;
    ed_broadcast(run, c->out[0], c->in, 3);
    return ED_OK;
}

static int infer_where(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_BOOL));
    ED_TRY(ed_infer_dtypes(ctx, 1, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 2, ED_DTYPES_BYTES));
    return ed_infer_broadcast_from(ctx, 1); /* the condition counts for the shape alone */
}

static int where_gradient(ed_grad *g)
{
    const ed_id condition = g->in[0], dy = ed_grad_dy(g);
    ed_id zero, part;
    ED_TRY(ed_grad_f32(g, &zero, 0.0f));
    for (uint32_t i = 1; i < 3; i++) {
        if (!ed_grad_wants(g, i))
            continue;
        const ed_id in[3] = { condition, i == 1 ? dy : zero, i == 1 ? zero : dy };
        ED_TRY(ed_grad_emit(g, &part, "Where", in, 3));
        ED_TRY(ed_grad_give_broadcast(g, i, part));
    }
    return ED_OK;
}

/* ---- rows ---- */
#define ROW(op, since, fn, more_traits)                                                            \
    {                                                                                              \
        .type = op, .opset = { since, 0 }, .arity = { 2, 2, 1 },                                   \
        .traits = ED_OP_ELEMENTWISE | (more_traits), .infer = infer_##fn,                          \
        .gradient = ed_gradient_none, .forward = {                                                 \
            ED_REFERENCE(fn##_forward)                                                             \
        }                                                                                          \
    }
const ed_op ed_ops_compare[] = {
    ROW("Equal", 7, equal, ED_OP_COMMUTATIVE),
    ROW("Greater", 7, greater, 0),
    ROW("Less", 7, less, 0),
    ROW("GreaterOrEqual", 12, greater_equal, 0),
    ROW("LessOrEqual", 12, less_equal, 0),
    ROW("And", 7, and, ED_OP_COMMUTATIVE),
    ROW("Or", 7, or, ED_OP_COMMUTATIVE),
    ROW("Xor", 7, xor, ED_OP_COMMUTATIVE),
    { .type = "Not",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_not,
      .forward = { ED_REFERENCE(not_forward) },
      .gradient = ed_gradient_none },
    { .type = "Where",
      .opset = { 9, 0 },
      .arity = { 3, 3, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_where,
      .forward = { ED_REFERENCE(where_forward) },
      .gradient = where_gradient },
    { 0 },
};
