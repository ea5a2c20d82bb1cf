/*
 * The steps of chains as loops over blocks of floats. The formulas are those of the operators'
 * reference kernels, with the vector functions of vector_math.h for exp, erf and tanh.
 */
#include "ops/chain.h"
#include "ops/vector_quant.h"
#include "ops/vector_slopes.h"

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
DEFINE_STEP(quantize_loop, ed_vector_fake_quant(x, b[i], p0, p1))
/* x is dy; b[i] is where the slope is taken */
DEFINE_STEP(relu_grad_loop, b[i] > 0.0f ? x : 0.0f)
DEFINE_STEP(leaky_relu_grad_loop, x *(b[i] > 0.0f ? 1.0f : p0))
DEFINE_STEP(clip_grad_loop, ((b[i] <= p0) | (b[i] >= p1) | (b[i] != b[i])) ? 0.0f : x)
DEFINE_STEP(sigmoid_grad_loop, x *(b[i] * (1.0f - b[i])))
DEFINE_STEP(hard_sigmoid_grad_loop, x *(((b[i] > 0.0f) & (b[i] < 1.0f)) ? p0 : 0.0f))
DEFINE_STEP(hard_swish_grad_loop, x *ed_vector_hard_swish_slope(b[i]))
DEFINE_STEP(tanh_grad_loop, x *(1.0f - b[i] * b[i]))
DEFINE_STEP(mish_grad_loop, x *ed_vector_mish_slope(b[i]))
DEFINE_STEP(elu_grad_loop, x *(b[i] > 0.0f ? 1.0f : p0 * ed_vector_exp(b[i])))
DEFINE_STEP(gelu_grad_loop, x *ed_vector_gelu_slope(b[i]))
DEFINE_STEP(gelu_tanh_grad_loop, x *ed_vector_gelu_tanh_slope(b[i]))
DEFINE_STEP(erf_grad_loop, x *(1.12837917f * ed_vector_exp(-b[i] * b[i])))
DEFINE_STEP(abs_grad_loop, x *(b[i] > 0.0f ? 1.0f : b[i] < 0.0f ? -1.0f : 0.0f))
DEFINE_STEP(quantize_grad_loop, ed_vector_fake_quant_grad(x, b[i], c[i], p0, p1))

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
    [ED_CHAIN_RELU_GRAD] = relu_grad_loop,
    [ED_CHAIN_LEAKY_RELU_GRAD] = leaky_relu_grad_loop,
    [ED_CHAIN_CLIP_GRAD] = clip_grad_loop,
    [ED_CHAIN_SIGMOID_GRAD] = sigmoid_grad_loop,
    [ED_CHAIN_HARD_SIGMOID_GRAD] = hard_sigmoid_grad_loop,
    [ED_CHAIN_HARD_SWISH_GRAD] = hard_swish_grad_loop,
    [ED_CHAIN_TANH_GRAD] = tanh_grad_loop,
    [ED_CHAIN_MISH_GRAD] = mish_grad_loop,
    [ED_CHAIN_ELU_GRAD] = elu_grad_loop,
    [ED_CHAIN_GELU_GRAD] = gelu_grad_loop,
    [ED_CHAIN_GELU_TANH_GRAD] = gelu_tanh_grad_loop,
    [ED_CHAIN_ERF_GRAD] = erf_grad_loop,
    [ED_CHAIN_ABS_GRAD] = abs_grad_loop,
    [ED_CHAIN_QUANTIZE_GRAD] = quantize_grad_loop,
};
