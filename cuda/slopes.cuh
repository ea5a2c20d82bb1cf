/*
 * Gradients of functions of one number, element by element: f(dy, v) with v as in
 * ops/activation_grad.c, whose formulas and treatment of NaN and infinity these are; a and b are
 * the function's numbers.
 */
#ifndef CUDA_SLOPES_CUH
#define CUDA_SLOPES_CUH

#include "launch.cuh"

/* v within [-limit, limit]; NaN stays. */
__device__ __forceinline__ float ed_within(float v, float limit)
{
    v = v > limit ? limit : v;
    return v < -limit ? -limit : v;
}

/* With e = exp(v) and w = e (e + 2): t = w / (w + 2), (1 - t^2) sigmoid(v) = 4 e (1 + e) / (w +
 * 2)^2; from 20 on it is 1. */
__device__ __forceinline__ float ed_mish_slope(float v)
{
    v = v > 20.0f ? 20.0f : v;
    v = v < -104.0f ? -104.0f : v;
    const float e = expf(v), w = e * (e + 2.0f);
    return (w + 4.0f * v * e * (1.0f + e) / (w + 2.0f)) / (w + 2.0f);
}

__device__ __forceinline__ float ed_gelu_slope(float v)
{
    v = ed_within(v, 32.0f); /* infinity times a density of 0 is no number */
    return 0.5f * erfcf(-0.707106781f * v) + v * 0.398942280f * expf(-0.5f * v * v);
}

/* y = v s with s = sigmoid(2 u), u = sqrt(2 / pi) (v + 0.044715 v^3) */
__device__ __forceinline__ float ed_gelu_tanh_slope(float v)
{
    v = ed_within(v, 16.0f);
    const float square = v * v, twice_u = 1.59576912f * (v + 0.044715f * square * v);
    const float s = 1.0f / (1.0f + expf(-twice_u));
    return s + v * s * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * square);
}

__device__ __forceinline__ float ed_hard_swish_slope(float v)
{
    float slope = v * (1.0f / 3.0f) + 0.5f;
    slope = v <= -3.0f ? 0.0f : slope;
    return v >= 3.0f ? 1.0f : slope;
}

#define ED_DEFINE_SLOPE(name, EXPR)                                                                \
    struct name {                                                                                  \
        float a, b;                                                                                \
        __device__ __forceinline__ float operator()(float dy, float v) const                       \
        {                                                                                          \
            return EXPR;                                                                           \
        }                                                                                          \
    };
ED_DEFINE_SLOPE(ed_relu_grad, v > 0.0f ? dy : 0.0f)
ED_DEFINE_SLOPE(ed_leaky_relu_grad, dy *(v > 0.0f ? 1.0f : a))
ED_DEFINE_SLOPE(ed_clip_grad,
                v <= a || v >= b || isnan(v) ? 0.0f : dy) /* as ed_clip_grad_bounds() */
ED_DEFINE_SLOPE(ed_sigmoid_grad, dy *(v *(1.0f - v)))
ED_DEFINE_SLOPE(ed_hard_sigmoid_grad, dy *(v > 0.0f && v < 1.0f ? a : 0.0f))
ED_DEFINE_SLOPE(ed_hard_swish_grad, dy *ed_hard_swish_slope(v))
ED_DEFINE_SLOPE(ed_tanh_grad, dy *(1.0f - v * v))
ED_DEFINE_SLOPE(ed_mish_grad, dy *ed_mish_slope(v))
ED_DEFINE_SLOPE(ed_elu_grad, dy *(v > 0.0f ? 1.0f : a * expf(v)))
ED_DEFINE_SLOPE(ed_gelu_grad, dy *ed_gelu_slope(v))
ED_DEFINE_SLOPE(ed_gelu_tanh_grad, dy *ed_gelu_tanh_slope(v))
ED_DEFINE_SLOPE(ed_erf_grad, dy *(1.12837917f * expf(-v * v)))
ED_DEFINE_SLOPE(ed_abs_grad, dy *(v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f))

/* ---- FakeQuantize: lo and hi are qmin, qmax - zero_point ---- */
/* x / scale within one level of the range, so that adding 1.5 * 2^23 rounds it half to even; NaN is
 * below. */
__device__ __forceinline__ float ed_near_range(float x, float scale, float lo, float hi)
{
    float v = x / scale;
    v = v > lo - 1.0f ? v : lo - 1.0f;
    return v < hi + 1.0f ? v : hi + 1.0f;
}
__device__ __forceinline__ float ed_rounded(float v)
{
    const float magic = 12582912.0f;
    return (v + magic) - magic;
}

/* dy where the gradient passes. */
__device__ __forceinline__ float ed_quantize_grad(float dy, float x, float scale, float lo,
                                                  float hi)
{
    const float r = ed_rounded(ed_near_range(x, scale, lo, hi));
    return r >= lo && r <= hi ? dy : 0.0f;
}

/* d fake_quant(x) / d scale */
__device__ __forceinline__ float ed_scale_slope(float x, float scale, float lo, float hi)
{
    const float v = ed_near_range(x, scale, lo, hi), r = ed_rounded(v);
    const float slope = r < lo ? lo : r - v;
    return r > hi ? hi : slope;
}

#endif
