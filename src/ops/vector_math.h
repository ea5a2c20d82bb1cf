/*
 * Functions of one float without branches or calls, so that loops over them vectorize; for bodies
 * of ED_CLONES.
 */
#ifndef OPS_VECTOR_MATH_H
#define OPS_VECTOR_MATH_H

#include "base/clones.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n for n in -126 to 127. */
ED_BODY float ed_power_of_two(int32_t n)
{
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/*
 * exp(x) = 2^n exp(r), n = rint(x / ln 2), |r| <= ln(2) / 2, and exp(r) as a polynomial of degree 7
 * (S. Moshier, Cephes mathematical library, expf). To 2 units in the last place; overflow gives
 * infinity, underflow subnormal numbers and 0, NaN stays.
 */
ED_BODY float ed_vector_exp(float x)
{
    const float rint_bias =
        12582912.0f; /* 1.5 2^23: adding it leaves the integer in the low bits */
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float n = (x * 1.44269504f + rint_bias) - rint_bias;
    n = n == n ? n : 0.0f; /* an integer also of NaN, which passes through r */
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts: n times the first
                                                              is exact */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t half = (int32_t)n / 2; /* two factors: 2^128 and 2^-150 are no floats */
    return p * ed_power_of_two(half) * ed_power_of_two((int32_t)n - half);
}

/*
 * erfc(x) = 1 - erf(x) of x >= 0, to 5e-7; NaN stays.
 *     x < 1   erf by its series 2 / sqrt(pi) sum (-1)^k x^(2k+1) / (k! (2k+1)), k <= 9
 *     x >= 1  1 / (1 + a1 x + ... + a6 x^6)^16 (Abramowitz and Stegun, Handbook of Mathematical
 *             Functions, 7.1.28)
 * *erf is 1 - erfc(x), without the loss of digits near 0.
 */
ED_BODY float ed_vector_erfc(float x, float *erf)
{
    float z = x * x, s = -1.636584469e-7f, t = 0.0000430638f;
    s = s * z + 1.646211437e-6f;
    s = s * z - 1.492565036e-5f;
    s = s * z + 1.205533298e-4f;
    s = s * z - 8.548327023e-4f;
    s = s * z + 5.223977625e-3f;
    s = s * z - 2.686617065e-2f;
    s = s * z + 1.128379167e-1f;
    s = s * z - 3.761263890e-1f;
    s = (s * z + 1.128379167f) * x;
    t = t * x + 0.0002765672f;
    t = t * x + 0.0001520143f;
    t = t * x + 0.0092705272f;
    t = t * x + 0.0422820123f;
    t = t * x + 0.0705230784f;
    t = t * x + 1.0f;
    t *= t;
    t *= t;
    t *= t;
    t = 1.0f / (t * t);
    *erf = x < 1.0f ? s : 1.0f - t;
    return x < 1.0f ? 1.0f - s : t;
}

/* To 1e-6, as Gelu below. */
ED_BODY float ed_vector_erf(float x)
{
    float erf;
    ed_vector_erfc(fabsf(x), &erf);
    return x < 0.0f ? -erf : erf;
}

/* x Phi(x) = max(x, 0) - |x| / 2 erfc(|x| / sqrt 2) */
ED_BODY float ed_vector_gelu(float x)
{
    float magnitude = fabsf(x), erf;
    float tail = ed_vector_erfc(magnitude * 0.707106781f, &erf);
    magnitude =
        magnitude > 32.0f ? 32.0f : magnitude; /* there the tail is 0, infinity times it not */
    return (x < 0.0f ? 0.0f : x) - 0.5f * magnitude * tail;
}

/* x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))) */
ED_BODY float ed_vector_gelu_tanh(float x)
{
    float u = 0.797884561f * (x + 0.044715f * (x * x) * x);
    float low = x < -32.0f ? -32.0f : x; /* there the quotient is 0, infinity over infinity not */
    return low / (1.0f + ed_vector_exp(-2.0f * u));
}

/* pow(-0, 1/2) is +0 and pow(-infinity, 1/2) infinity, unlike their roots. */
ED_BODY float ed_vector_root_power(float x)
{
    return x == -INFINITY ? INFINITY : sqrtf(x + 0.0f);
}

/*
 * tanh(x) to 2e-7, relatively; NaN stays (S. Moshier, Cephes mathematical library, tanhf).
 *     |x| < 0.625   x + x^3 P(x^2)
 *     else          1 - 2 / (exp(2 |x|) + 1), of x's sign
 */
ED_BODY float ed_vector_tanh(float x)
{
    float magnitude = fabsf(x), z = x * x, p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * z * magnitude + magnitude;
    float far = 1.0f - 2.0f / (ed_vector_exp(2.0f * magnitude) + 1.0f);
    return copysignf(magnitude < 0.625f ? p : far, x);
}

#endif
