/* FakeQuantize of one number, bit for bit what the reference computes. */
#ifndef CUDA_QUANTIZE_CUH
#define CUDA_QUANTIZE_CUH

#include "launch.cuh"

/* v = x / scale as a float. With lo and hi = qmin, qmax - zero_point the clamp may come before
 * rounding; NaN becomes lo. Then |v| < 2^22, and adding 1.5 * 2^23 rounds half to even and turns -0
 * to 0. */
__device__ __forceinline__ float ed_quantized(float v, float scale, float lo, float hi)
{
    const float magic = 12582912.0f;
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return ((v + magic) - magic) * scale;
}

/* One scale. The quotient is rounded to float from x times the inverse in double, which is within
 * 2^-52 of it, relatively. That gives the bits of the division: a quotient of floats is no midpoint
 * of two floats and lies at least 2^-49 from each. (Below the normal floats, where there may be
 * another bit, it rounds to level 0 either way.) A division would take its slow path at each 0. */
struct ed_one_scale {
    float scale, lo, hi;
    double inverse;
    __device__ __forceinline__ float operator()(float x) const
    {
        return ed_quantized((float)((double)x * inverse), scale, lo, hi);
    }
    /* dy where the level of x is not clamped, else 0; NaN is below. */
    __device__ __forceinline__ float gradient(float dy, float x) const
    {
        const float r = ed_quantized((float)((double)x * inverse), 1.0f, lo - 1.0f, hi + 1.0f);
        return r >= lo && r <= hi ? dy : 0.0f;
    }
};

#endif
