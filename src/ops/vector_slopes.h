/* Derivatives of functions of one float, as vector_math.h: without branches or calls. */
#ifndef OPS_VECTOR_SLOPES_H
#define OPS_VECTOR_SLOPES_H

#include "ops/vector_math.h"

/* v within [-limit, limit]; NaN stays. */
ED_BODY float ed_vector_within(float v, float limit)
{
    v = v > limit ? limit : v;
    return v < -limit ? -limit : v;
}

/* With e = exp(v) and w = e (e + 2): t = w / (w + 2), (1 - t^2) sigmoid(v) = 4 e (1 + e) / (w +
 * 2)^2; from 20 on it is 1. */
ED_BODY float ed_vector_mish_slope(float v)
{
    v = v > 20.0f ? 20.0f : v;
    v = v < -104.0f ? -104.0f : v;
    float e = ed_vector_exp(v), w = e * (e + 2.0f);
    return (w + 4.0f * v * e * (1.0f + e) / (w + 2.0f)) / (w + 2.0f);
}

ED_BODY float ed_vector_gelu_slope(float v)
{
    v = ed_vector_within(v, 32.0f); /* infinity times a density of 0 is no number */
    float erf, tail = 0.5f * ed_vector_erfc(fabsf(v) * 0.707106781f, &erf);
    return (v < 0.0f ? tail : 1.0f - tail) + v * 0.398942280f * ed_vector_exp(-0.5f * v * v);
}

/* y = v s with s = sigmoid(2 u), u = sqrt(2 / pi) (v + 0.044715 v^3) */
ED_BODY float ed_vector_gelu_tanh_slope(float v)
{
    v = ed_vector_within(v, 16.0f);
    float square = v * v, twice_u = 1.59576912f * (v + 0.044715f * square * v);
    float s = 1.0f / (1.0f + ed_vector_exp(-twice_u));
    return s + v * s * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * square);
}

ED_BODY float ed_vector_hard_swish_slope(float v)
{
    float slope = v * (1.0f / 3.0f) + 0.5f;
    slope = v <= -3.0f ? 0.0f : slope;
    return v >= 3.0f ? 1.0f : slope;
}

#endif
