/*
 * Comparisons and logic, y = a ? b as truth values 0 and 1, and Where, with the operators of
 * ops/compare.c. A NaN is unequal to, and neither less nor greater than, anything.
 */
#include "binary.cuh"

namespace
{
#define DEFINE_COMPARE(name, EXPR)                                                                 \
    struct name {                                                                                  \
        template <class T> static __device__ __forceinline__ uint8_t of(T a, T b)                  \
        {                                                                                          \
            return (EXPR) ? 1 : 0;                                                                 \
        }                                                                                          \
    };
DEFINE_COMPARE(compare_equal, a == b)
DEFINE_COMPARE(compare_greater, a > b)
DEFINE_COMPARE(compare_less, a < b)
DEFINE_COMPARE(compare_greater_equal, a >= b)
DEFINE_COMPARE(compare_less_equal, a <= b)
DEFINE_COMPARE(compare_and, a &&b)
DEFINE_COMPARE(compare_or, a || b)
DEFINE_COMPARE(compare_xor, !a != !b)

/* ---- Where ---- */
template <class T> constexpr int select_lanes = 16 / (int)(sizeof(T) > 2 ? sizeof(T) : 2);

template <class T>
__global__ void __launch_bounds__(BINARY_THREADS)
    select_kernel(T *y, const uint8_t *condition, const T *a, const T *b, int64_t n,
                  const __grid_constant__ ed_space<3> s)
{
    constexpr int N = select_lanes<T>;
    const int64_t packs = ed_vectors<N>(s, n);

    ED_GRID_LOOP(i, packs)
    {
        const ed_pack<uint8_t, N> c = ed_read_operand<N>(condition, s, 0, i * N);
        const ed_pack<T, N> va = ed_read_operand<N>(a, s, 1, i * N);
        const ed_pack<T, N> vb = ed_read_operand<N>(b, s, 2, i * N);
        ed_pack<T, N> out;
#pragma unroll
        for (int l = 0; l < N; l++)
            out.v[l] = c.v[l] ? va.v[l] : vb.v[l];
        ed_store_pack<N>(y + i * N, out);
    }
    ED_GRID_LOOP(k, n - packs * N)
    {
        const int64_t i = packs * N + k;
        y[i] = ed_read_one(condition, s, 0, i) ? ed_read_one(a, s, 1, i) : ed_read_one(b, s, 2, i);
    }
}

/* ---- launchers ---- */
template <class F> int launch(int type, const binary_call &c)
{
    switch (type) {
    case ED_CUDA_F32:
        return binary_launch<F, uint8_t, float, float>(c);
    case ED_CUDA_I32:
        return binary_launch<F, uint8_t, int32_t, int32_t>(c);
    case ED_CUDA_I64:
        return binary_launch<F, uint8_t, int64_t, int64_t>(c);
    case ED_CUDA_U8:
    case ED_CUDA_BOOL:
        return binary_launch<F, uint8_t, uint8_t, uint8_t>(c);
    default:
        return (int)cudaErrorInvalidValue;
    }
}

template <class T>
int launch_select(void *y, const uint8_t *condition, const void *a, const void *b,
                  const ed_walk *walk, ed_stream stream)
{
    constexpr int N = select_lanes<T>;
    const int64_t n = ed_walk_numel(walk);
    if (n <= 0)
        return 0;
    const ed_space<3> s = ed_space_of<3>(walk, N);
    const unsigned blocks = ed_blocks(s.vectors ? n / N + 1 : n, BINARY_THREADS);
    select_kernel<T><<<blocks, BINARY_THREADS, 0, stream>>>((T *)y, condition, (const T *)a,
                                                            (const T *)b, n, s);
    return (int)cudaGetLastError();
}
} // namespace

extern "C" int ed_cuda_compare(int compare, int type, uint8_t *y, const void *a, const void *b,
                               const ed_walk *walk, ed_stream stream)
{
    const binary_call c = { y, a, b, walk, stream };
    switch (compare) {
    case ED_COMPARE_EQUAL:
        return launch<compare_equal>(type, c);
    case ED_COMPARE_GREATER:
        return launch<compare_greater>(type, c);
    case ED_COMPARE_LESS:
        return launch<compare_less>(type, c);
    case ED_COMPARE_GREATER_EQUAL:
        return launch<compare_greater_equal>(type, c);
    case ED_COMPARE_LESS_EQUAL:
        return launch<compare_less_equal>(type, c);
    case ED_COMPARE_AND:
        return binary_launch<compare_and, uint8_t, uint8_t, uint8_t>(c);
    case ED_COMPARE_OR:
        return binary_launch<compare_or, uint8_t, uint8_t, uint8_t>(c);
    case ED_COMPARE_XOR:
        return binary_launch<compare_xor, uint8_t, uint8_t, uint8_t>(c);
    default:
        return (int)cudaErrorInvalidValue;
    }
}

extern "C" int ed_cuda_select(int size, void *y, const uint8_t *condition, const void *a,
                              const void *b, const ed_walk *walk, ed_stream stream)
{
    switch (size) {
    case 1:
        return launch_select<uint8_t>(y, condition, a, b, walk, stream);
    case 2:
        return launch_select<uint16_t>(y, condition, a, b, walk, stream);
    case 4:
        return launch_select<uint32_t>(y, condition, a, b, walk, stream);
    case 8:
        return launch_select<uint64_t>(y, condition, a, b, walk, stream);
    default:
        return (int)cudaErrorInvalidValue;
    }
}
