/*
 * FakeQuantize of one float (quant.c), as vector_math.h: without branches or calls. lo and hi are
 * qmin and qmax less the zero_point.
 *
 * In exact integers saturate(r + z) - z = clamp(r, qmin - z, qmax - z) = clamp(rne(x / scale), lo,
 * hi), and as lo and hi are integers, clamping may come before rounding.
 */
#ifndef OPS_VECTOR_QUANT_H
#define OPS_VECTOR_QUANT_H

#include "base/clones.h"

/* Of |v| < 2^22: adding 1.5 * 2^23 leaves no bits for the fraction, the sum is rounded half to
 * even. It also turns -0 to 0. */
ED_BODY float ed_vector_rounded(float v)
{
    const float magic = 12582912.0f;
    return (v + magic) - magic;
}

ED_BODY float ed_vector_fake_quant(float x, float scale, float lo, float hi)
{
    float v = x / scale;
    v = v > lo ? v : lo; /* NaN: lo */
    v = v < hi ? v : hi;
    return ed_vector_rounded(v) * scale;
}

/* x / scale within one level of the range, so that it can be rounded as above; NaN is below. */
ED_BODY float ed_vector_near_range(float x, float scale, float lo, float hi)
{
    float v = x / scale;
    v = v > lo - 1.0f ? v : lo - 1.0f;
    return v < hi + 1.0f ? v : hi + 1.0f;
}

/* dy where x is not clamped, else 0. */
ED_BODY float ed_vector_fake_quant_grad(float dy, float x, float scale, float lo, float hi)
{
    float r = ed_vector_rounded(ed_vector_near_range(x, scale, lo, hi));
    return ((r >= lo) & (r <= hi)) ? dy : 0.0f;
}

#endif
