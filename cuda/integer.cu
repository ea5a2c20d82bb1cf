/*
 * Arithmetic of integers, y = f(a, b) of int32 and int64, and functions of one integer, with the
 * operators of ops/elementwise.c, unary.c and compare.c (Not). Sums and products wrap around,
 * division truncates.
 */
#include "binary.cuh"

namespace
{
/* ---- on two numbers ---- */
/* EXPR of a, b of the type T; what wraps around is computed in uint64_t. */
#define DEFINE_INTEGER(name, EXPR)                                                                 \
    template <class T> struct name {                                                               \
        static __device__ __forceinline__ T of(T a, T b)                                           \
        {                                                                                          \
            return (T)(EXPR);                                                                      \
        }                                                                                          \
    };
DEFINE_INTEGER(integer_add, (uint64_t)a + (uint64_t)b)
DEFINE_INTEGER(integer_sub, (uint64_t)a - (uint64_t)b)
DEFINE_INTEGER(integer_mul, (uint64_t)a *(uint64_t)b)
DEFINE_INTEGER(integer_min, a < b ? a : b)
DEFINE_INTEGER(integer_max, a > b ? a : b)
/* Without the overflow of the least number / -1. */
DEFINE_INTEGER(integer_div, b == -1 ? (T)(0 - (uint64_t)a) : (T)(a / b))
DEFINE_INTEGER(integer_remainder, b == -1 ? 0 : a % b)

/* Of the divisor's sign. */
template <class T> struct integer_mod {
    static __device__ __forceinline__ T of(T a, T b)
    {
        const T r = integer_remainder<T>::of(a, b);
        return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;
    }
};

/* ---- on one number ---- */
#define DEFINE_INTEGER_MAP(name, EXPR)                                                             \
    struct name {                                                                                  \
        template <class T> static __device__ __forceinline__ T of(T x)                             \
        {                                                                                          \
            return (T)(EXPR);                                                                      \
        }                                                                                          \
    };
DEFINE_INTEGER_MAP(map_neg, 0 - (uint64_t)x) /* the least number stays */
DEFINE_INTEGER_MAP(map_abs, x < 0 ? 0 - (uint64_t)x : (uint64_t)x)
DEFINE_INTEGER_MAP(map_not, !x)

enum { THREADS = 256 };

template <class F, class T>
__global__ void __launch_bounds__(THREADS) map_kernel(T *y, const T *x, int64_t n)
{
    ED_GRID_LOOP(i, n)
    y[i] = F::of(x[i]);
}

/* ---- launchers ---- */
template <template <class> class F> int launch(int type, const binary_call &c)
{
    if (type == ED_CUDA_I32)
        return binary_launch<F<int32_t>, int32_t, int32_t, int32_t>(c);
    if (type == ED_CUDA_I64)
        return binary_launch<F<int64_t>, int64_t, int64_t, int64_t>(c);
    return (int)cudaErrorInvalidValue;
}

template <class F, class T> int launch_map(void *y, const void *x, int64_t n, ed_stream stream)
{
    map_kernel<F, T><<<ed_blocks(n, THREADS), THREADS, 0, stream>>>((T *)y, (const T *)x, n);
    return (int)cudaGetLastError();
}

template <class F> int launch_signed(int type, void *y, const void *x, int64_t n, ed_stream stream)
{
    switch (type) {
    case ED_CUDA_I8:
        return launch_map<F, int8_t>(y, x, n, stream);
    case ED_CUDA_I16:
        return launch_map<F, int16_t>(y, x, n, stream);
    case ED_CUDA_I32:
        return launch_map<F, int32_t>(y, x, n, stream);
    case ED_CUDA_I64:
        return launch_map<F, int64_t>(y, x, n, stream);
    default:
        return (int)cudaErrorInvalidValue;
    }
}
} // namespace

extern "C" int ed_cuda_binary_integers(int binary, int type, void *y, const void *a, const void *b,
                                       const ed_walk *walk, ed_stream stream)
{
    const binary_call c = { y, a, b, walk, stream };
    switch (binary) {
    case ED_BINARY_ADD:
        return launch<integer_add>(type, c);
    case ED_BINARY_SUB:
        return launch<integer_sub>(type, c);
    case ED_BINARY_MUL:
        return launch<integer_mul>(type, c);
    case ED_BINARY_DIV:
        return launch<integer_div>(type, c);
    case ED_BINARY_MIN:
        return launch<integer_min>(type, c);
    case ED_BINARY_MAX:
        return launch<integer_max>(type, c);
    case ED_BINARY_MOD:
        return launch<integer_mod>(type, c);
    case ED_BINARY_REMAINDER:
        return launch<integer_remainder>(type, c);
    default:
        return (int)cudaErrorInvalidValue;
    }
}

extern "C" int ed_cuda_map_integers(int map, int type, void *y, const void *x, int64_t n,
                                    ed_stream stream)
{
    if (n <= 0)
        return 0;
    switch (map) {
    case ED_INTEGER_NEG:
        return launch_signed<map_neg>(type, y, x, n, stream);
    case ED_INTEGER_ABS:
        return launch_signed<map_abs>(type, y, x, n, stream);
    case ED_INTEGER_NOT:
        return launch_map<map_not, uint8_t>(y, x, n, stream);
    default:
        return (int)cudaErrorInvalidValue;
    }
}
