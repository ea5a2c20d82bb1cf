/*
 * The steps of chains as loops over blocks of floats. The formulas are those of the operators'
 * reference kernels, with the vector functions of vector_math.h for exp, erf and tanh.
 */
#include "ops/chain.h"
#include "ops/vector_math.h"

#define CHAIN_ARGS                                                                                 \
    (float *y, const float *a, const float *b, const float *c, const float *p, int64_t n)
/* y[i] = EXPR, of x = a[i], b[i], c[i] and the parameters p0 and p1. */
#define DEFINE_LOOP(name, BEFORE, EXPR)                                                            \
    ED_BODY void name##_body CHAIN_ARGS                                                            \
    {                                                                                              \
        const float p0 = p[0], p1 = p[1];                                                          \
        (void)b, (void)c, (void)p0, (void)p1;                                                      \
        BEFORE                                                                                     \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float x = a[i];                                                                  \
            y[i] = EXPR;                                                                           \
        }                                                                                          \
    }                                                                                              \
    ED_CLONES_VOID(name, CHAIN_ARGS, (y, a, b, c, p, n))
#define DEFINE_STEP(name, EXPR) DEFINE_LOOP(name, ED_INDEPENDENT, EXPR)
/* With a function of the C library, which is no vector instruction. */
#define DEFINE_CALLS(name, EXPR) DEFINE_LOOP(name, , EXPR)

/* A bound that is NaN limits nothing; a NaN in x passes. */
ED_BODY float clip(float x, float lo, float hi)
{
    float y = x < lo ? lo : x;
    return y > hi ? hi : y;
}

/* As ops/quant.c explains: the clamp comes before rounding; NaN becomes lo. */
ED_BODY float quantize(float x, float scale, float lo, float hi)
{
    const float magic = 12582912.0f; /* 1.5 2^23 */
    float v = x / scale;
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return ((v + magic) - magic) * scale;
}

DEFINE_STEP(add_loop, x + b[i])
DEFINE_STEP(sub_loop, x - b[i])
DEFINE_STEP(mul_loop, x *b[i])
DEFINE_STEP(div_loop, x / b[i])
DEFINE_STEP(min_loop, x < b[i] || x != x ? x : b[i])
DEFINE_STEP(max_loop, x > b[i] || x != x ? x : b[i])
DEFINE_STEP(neg_loop, -x)
DEFINE_STEP(abs_loop, fabsf(x))
DEFINE_STEP(relu_loop, x < 0.0f ? 0.0f : x)
DEFINE_STEP(leaky_relu_loop, x < 0.0f ? p0 * x : x)
DEFINE_STEP(clip_loop, clip(x, p0, p1))
DEFINE_STEP(sigmoid_loop, 1.0f / (1.0f + ed_vector_exp(-x)))
DEFINE_STEP(tanh_loop, ed_vector_tanh(x))
DEFINE_STEP(hard_sigmoid_loop, clip(p0 *x + p1, 0.0f, 1.0f))
DEFINE_STEP(hard_swish_loop, x *clip(x / 6.0f + 0.5f, 0.0f, 1.0f))
DEFINE_STEP(erf_loop, ed_vector_erf(x))
DEFINE_STEP(gelu_loop, ed_vector_gelu(x))
DEFINE_STEP(gelu_tanh_loop, ed_vector_gelu_tanh(x))
DEFINE_STEP(exp_loop, ed_vector_exp(x))
DEFINE_CALLS(log_loop, logf(x))
DEFINE_STEP(sqrt_loop, sqrtf(x))
DEFINE_STEP(reciprocal_loop, 1.0f / x)
DEFINE_STEP(square_loop, x *x)
DEFINE_STEP(cube_loop, x *x *x)
DEFINE_STEP(root_power_loop, ed_vector_root_power(x))
DEFINE_CALLS(pow_loop, powf(x, b[i]))
DEFINE_STEP(quantize_loop, quantize(x, b[i], p0, p1))

const ed_chain_fn ed_chain_steps[ED_CHAIN_CODES] = {
    [ED_CHAIN_ADD] = add_loop,
    [ED_CHAIN_SUB] = sub_loop,
    [ED_CHAIN_MUL] = mul_loop,
    [ED_CHAIN_DIV] = div_loop,
    [ED_CHAIN_MIN] = min_loop,
    [ED_CHAIN_MAX] = max_loop,
    [ED_CHAIN_NEG] = neg_loop,
    [ED_CHAIN_ABS] = abs_loop,
    [ED_CHAIN_RELU] = relu_loop,
    [ED_CHAIN_LEAKY_RELU] = leaky_relu_loop,
    [ED_CHAIN_CLIP] = clip_loop,
    [ED_CHAIN_SIGMOID] = sigmoid_loop,
    [ED_CHAIN_TANH] = tanh_loop,
    [ED_CHAIN_HARD_SIGMOID] = hard_sigmoid_loop,
    [ED_CHAIN_HARD_SWISH] = hard_swish_loop,
    [ED_CHAIN_ERF] = erf_loop,
    [ED_CHAIN_GELU] = gelu_loop,
    [ED_CHAIN_GELU_TANH] = gelu_tanh_loop,
    [ED_CHAIN_EXP] = exp_loop,
    [ED_CHAIN_LOG] = log_loop,
    [ED_CHAIN_SQRT] = sqrt_loop,
    [ED_CHAIN_RECIPROCAL] = reciprocal_loop,
    [ED_CHAIN_SQUARE] = square_loop,
    [ED_CHAIN_CUBE] = cube_loop,
    [ED_CHAIN_ROOT_POWER] = root_power_loop,
    [ED_CHAIN_POW] = pow_loop,
    [ED_CHAIN_QUANTIZE] = quantize_loop,
};
