/*
 * Functions of one number, y[i] = f(x[i]), in float32 or bfloat16 storage; the formulas are those
 * of ops/activation.c, unary.c and vector_unary.c. In every layout: only the number of elements
 * counts.
 */
#include "pack.cuh"
#include "posts.cuh"

namespace
{
enum { THREADS = 256, UNDER_WAY = 2 };

/* ---- the functions ---- */
#define DEFINE_MAP(name, EXPR)                                                                     \
    struct name {                                                                                  \
        float a, b;                                                                                \
        __device__ __forceinline__ float operator()(float x) const                                 \
        {                                                                                          \
            return EXPR;                                                                           \
        }                                                                                          \
    };
DEFINE_MAP(map_relu, x < 0.0f ? 0.0f : x)
DEFINE_MAP(map_leaky_relu, x < 0.0f ? a * x : x)
DEFINE_MAP(map_clip, ed_clip(x, a, b))
DEFINE_MAP(map_sigmoid, ed_sigmoid(x))
DEFINE_MAP(map_hard_sigmoid, ed_clip(a *x + b, 0.0f, 1.0f))
DEFINE_MAP(map_hard_swish, ed_hard_swish(x))
DEFINE_MAP(map_tanh, tanhf(x))
/* log(1 + e^x) is x where e^x would overflow */
DEFINE_MAP(map_mish, x *tanhf(x > 30.0f ? x : log1pf(expf(x))))
DEFINE_MAP(map_elu, x < 0.0f ? a * expm1f(x) : x)
DEFINE_MAP(map_softplus, (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x))))
DEFINE_MAP(map_abs, fabsf(x))
DEFINE_MAP(map_neg, -x)
DEFINE_MAP(map_ceil, ceilf(x))
DEFINE_MAP(map_erf, erff(x))
DEFINE_MAP(map_exp, expf(x))
DEFINE_MAP(map_floor, floorf(x))
DEFINE_MAP(map_log, logf(x))
DEFINE_MAP(map_reciprocal, 1.0f / x)
DEFINE_MAP(map_sqrt, sqrtf(x))
DEFINE_MAP(map_round, rintf(x))
DEFINE_MAP(map_sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x) /* zeros and NaN stay */
DEFINE_MAP(map_gelu, ed_gelu(x))
DEFINE_MAP(map_gelu_tanh, ed_gelu_tanh(x))
DEFINE_MAP(map_square, x *x)
DEFINE_MAP(map_cube, x *x *x)
/* pow(-0, 1/2) is +0 and pow(-infinity, 1/2) infinity, unlike their roots. */
DEFINE_MAP(map_root_power, x == -INFINITY ? INFINITY : sqrtf(x + 0.0f))
DEFINE_MAP(map_acos, acosf(x))
DEFINE_MAP(map_acosh, acoshf(x))
DEFINE_MAP(map_asin, asinf(x))
DEFINE_MAP(map_asinh, asinhf(x))
DEFINE_MAP(map_atan, atanf(x))
DEFINE_MAP(map_atanh, atanhf(x))
DEFINE_MAP(map_cos, cosf(x))
DEFINE_MAP(map_cosh, coshf(x))
DEFINE_MAP(map_sin, sinf(x))
DEFINE_MAP(map_sinh, sinhf(x))
DEFINE_MAP(map_tan, tanf(x))

/* ---- kernels ---- */
template <class F, class T, int U>
__global__ void __launch_bounds__(THREADS) map_kernel(T *y, const T *x, int64_t n, F f)
{
    ed_map<U>(y, x, n, f);
}

/* ---- launchers ---- */
/* What the launcher was called with. */
struct map_call {
    void *y;
    const void *x;
    bool bf16;
    int64_t n;
    float a, b;
    ed_stream stream;
};

template <class F, class T, int U> int launch(const map_call &c)
{
    const unsigned blocks = ed_blocks(c.n / (U * ed_map_lanes<T, T>)+1, THREADS);
    map_kernel<F, T, U>
        <<<blocks, THREADS, 0, c.stream>>>((T *)c.y, (const T *)c.x, c.n, F{ c.a, c.b });
    return (int)cudaGetLastError();
}

template <class F> int launch_any(const map_call &c)
{
    return c.bf16 ? launch<F, __nv_bfloat16, UNDER_WAY>(c) : launch<F, float, UNDER_WAY>(c);
}

/* Long functions: less code instead of more loads at a time. */
template <class F> int launch_f32(const map_call &c)
{
    return c.bf16 ? (int)cudaErrorInvalidValue : launch<F, float, 1>(c);
}

} // namespace

#define ROW(map, F)                                                                                \
    case map:                                                                                      \
        return launch_any<F>(c)
#define ROW_F32(map, F)                                                                            \
    case map:                                                                                      \
        return launch_f32<F>(c)
extern "C" int ed_cuda_map(int map, void *y, const void *x, bool bf16, int64_t n, float a, float b,
                           ed_stream stream)
{
    const map_call c = { y, x, bf16, n, a, b, stream };
    if (n <= 0)
        return 0;
    switch (map) {
        ROW(ED_MAP_RELU, map_relu);
        ROW(ED_MAP_LEAKY_RELU, map_leaky_relu);
        ROW(ED_MAP_CLIP, map_clip);
        ROW(ED_MAP_SIGMOID, map_sigmoid);
        ROW(ED_MAP_HARD_SIGMOID, map_hard_sigmoid);
        ROW(ED_MAP_HARD_SWISH, map_hard_swish);
        ROW(ED_MAP_TANH, map_tanh);
        ROW(ED_MAP_MISH, map_mish);
        ROW(ED_MAP_ELU, map_elu);
        ROW(ED_MAP_SOFTPLUS, map_softplus);
        ROW(ED_MAP_ABS, map_abs);
        ROW(ED_MAP_NEG, map_neg);
        ROW(ED_MAP_CEIL, map_ceil);
        ROW(ED_MAP_ERF, map_erf);
        ROW(ED_MAP_EXP, map_exp);
        ROW(ED_MAP_FLOOR, map_floor);
        ROW(ED_MAP_LOG, map_log);
        ROW(ED_MAP_RECIPROCAL, map_reciprocal);
        ROW(ED_MAP_SQRT, map_sqrt);
        ROW(ED_MAP_ROUND, map_round);
        ROW(ED_MAP_SIGN, map_sign);
        ROW(ED_MAP_GELU, map_gelu);
        ROW(ED_MAP_GELU_TANH, map_gelu_tanh);
        ROW(ED_MAP_SQUARE, map_square);
        ROW(ED_MAP_CUBE, map_cube);
        ROW(ED_MAP_ROOT_POWER, map_root_power);
        ROW_F32(ED_MAP_ACOS, map_acos);
        ROW_F32(ED_MAP_ACOSH, map_acosh);
        ROW_F32(ED_MAP_ASIN, map_asin);
        ROW_F32(ED_MAP_ASINH, map_asinh);
        ROW_F32(ED_MAP_ATAN, map_atan);
        ROW_F32(ED_MAP_ATANH, map_atanh);
        ROW_F32(ED_MAP_COS, map_cos);
        ROW_F32(ED_MAP_COSH, map_cosh);
        ROW_F32(ED_MAP_SIN, map_sin);
        ROW_F32(ED_MAP_SINH, map_sinh);
        ROW_F32(ED_MAP_TAN, map_tan);
    default:
        return (int)cudaErrorInvalidValue;
    }
}
