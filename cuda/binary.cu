/*
 * Arithmetic of floats, y = f(a, b), with the operators of ops/elementwise.c and power.c: Add, Sub,
 * Mul, Div, Min, Max and PRelu in float32 or bfloat16 storage, Mod and Pow in float32.
 */
#include "binary.cuh"

namespace
{
/* ---- on two numbers ---- */
#define DEFINE_BINARY(name, EXPR)                                                                  \
    struct name {                                                                                  \
        static __device__ __forceinline__ float of(float a, float b)                               \
        {                                                                                          \
            return EXPR;                                                                           \
        }                                                                                          \
    };
DEFINE_BINARY(binary_add, a + b)
DEFINE_BINARY(binary_sub, a - b)
DEFINE_BINARY(binary_mul, a *b)
DEFINE_BINARY(binary_div, a / b)
DEFINE_BINARY(binary_min, a < b || isnan(a) ? a : b) /* NaN wins */
DEFINE_BINARY(binary_max, a > b || isnan(a) ? a : b)
DEFINE_BINARY(binary_prelu, a < 0.0f ? b * a : a)
DEFINE_BINARY(binary_remainder, fmodf(a, b))
DEFINE_BINARY(binary_pow, powf(a, b))

/* Of the divisor's sign, zeros too. */
struct binary_mod {
    static __device__ __forceinline__ float of(float a, float b)
    {
        const float r = fmodf(a, b);
        if (r == 0.0f)
            return copysignf(0.0f, b);
        return (r < 0.0f) != (b < 0.0f) ? r + b : r;
    }
};

/* ---- launchers ---- */
template <class F> int launch_any(const binary_call &c, bool a_b16, bool b_b16)
{
    typedef __nv_bfloat16 b16;
    if (a_b16)
        return b_b16 ? binary_launch<F, b16, b16, b16>(c) : binary_launch<F, b16, b16, float>(c);
    return b_b16 ? binary_launch<F, b16, float, b16>(c) : binary_launch<F, float, float, float>(c);
}

template <class F> int launch_f32(const binary_call &c, bool a_b16, bool b_b16)
{
    return a_b16 || b_b16 ? (int)cudaErrorInvalidValue : binary_launch<F, float, float, float>(c);
}
} // namespace

extern "C" int ed_cuda_binary(int binary, void *y, const void *a, bool a_b16, const void *b,
                              bool b_b16, const ed_walk *walk, ed_stream stream)
{
    const binary_call c = { y, a, b, walk, stream };
    switch (binary) {
    case ED_BINARY_ADD:
        return launch_any<binary_add>(c, a_b16, b_b16);
    case ED_BINARY_SUB:
        return launch_any<binary_sub>(c, a_b16, b_b16);
    case ED_BINARY_MUL:
        return launch_any<binary_mul>(c, a_b16, b_b16);
    case ED_BINARY_DIV:
        return launch_any<binary_div>(c, a_b16, b_b16);
    case ED_BINARY_MIN:
        return launch_any<binary_min>(c, a_b16, b_b16);
    case ED_BINARY_MAX:
        return launch_any<binary_max>(c, a_b16, b_b16);
    case ED_BINARY_PRELU:
        return launch_any<binary_prelu>(c, a_b16, b_b16);
    case ED_BINARY_MOD:
        return launch_f32<binary_mod>(c, a_b16, b_b16);
    case ED_BINARY_REMAINDER:
        return launch_f32<binary_remainder>(c, a_b16, b_b16);
    case ED_BINARY_POW:
        return launch_f32<binary_pow>(c, a_b16, b_b16);
    default:
        return (int)cudaErrorInvalidValue;
    }
}
