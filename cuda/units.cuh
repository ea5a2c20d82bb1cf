/* What the kernels that move data share: units of 1 to 16 bytes, and fast coordinates. */
#ifndef CUDA_UNITS_CUH
#define CUDA_UNITS_CUH

#include "launch.cuh"

enum { ED_MOVE_THREADS = 256 };

/* The largest unit, up to 16 bytes, that all addresses and distances are multiples of; `bits` is
 * all of them, in bytes, or'ed together. */
static inline size_t ed_unit(uint64_t bits)
{
    uint64_t lowest = bits & (~bits + 1);
    return lowest == 0 || lowest > 16 ? 16 : (size_t)lowest;
}

/* The statement with T as an element of `bytes` bytes, 1, 2, 4 or 8, or as a unit, also of 16: of
 * moved data only the size counts. */
#define ED_WITH_ELEMENT(bytes, T, ...)                                                             \
    switch (bytes) {                                                                               \
    case 1: {                                                                                      \
        using T = uint8_t;                                                                         \
        __VA_ARGS__;                                                                               \
        break;                                                                                     \
    }                                                                                              \
    case 2: {                                                                                      \
        using T = uint16_t;                                                                        \
        __VA_ARGS__;                                                                               \
        break;                                                                                     \
    }                                                                                              \
    case 4: {                                                                                      \
        using T = uint32_t;                                                                        \
        __VA_ARGS__;                                                                               \
        break;                                                                                     \
    }                                                                                              \
    default: {                                                                                     \
        using T = uint2;                                                                           \
        __VA_ARGS__;                                                                               \
        break;                                                                                     \
    }                                                                                              \
    }
#define ED_WITH_UNIT(bytes, T, ...)                                                                \
    do {                                                                                           \
        if ((bytes) == 16) {                                                                       \
            using T = uint4;                                                                       \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            ED_WITH_ELEMENT(bytes, T, __VA_ARGS__)                                                 \
        }                                                                                          \
    } while (0)

/* Indices below this are computed in 32 bits. */
static inline bool ed_is_small(int64_t n)
{
    return n < (int64_t)1 << 31;
}

/* Division by a number that the launcher knows, at least 1. I is uint32_t, for numbers below 2^31,
 * or uint64_t. */
template <typename I> struct ed_divider {
    I divisor;

    void set(int64_t d)
    {
        divisor = (I)d;
    }
    __device__ __forceinline__ I quotient(I n) const
    {
        return n / divisor;
    }
};

/* n / d = (n + floor(n m / 2^32)) / 2^s with 2^s >= d and m = floor(2^32 (2^s - d) / d) + 1
 * (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994). */
template <> struct ed_divider<uint32_t> {
    uint32_t divisor, factor, shift;

    void set(int64_t d)
    {
        divisor = (uint32_t)d;
        for (shift = 0; (uint64_t)1 << shift < (uint64_t)d; shift++)
            ;
        factor = (uint32_t)(((((uint64_t)1 << shift) - (uint64_t)d) << 32) / (uint64_t)d + 1);
    }
    __device__ __forceinline__ uint32_t quotient(uint32_t n) const
    {
        return (n + __umulhi(n, factor)) >> shift;
    }
};

/* *n becomes the quotient; returns the remainder. */
template <typename I> __device__ __forceinline__ I ed_divide(I *n, const ed_divider<I> &by)
{
    I from = *n;
    *n = by.quotient(from);
    return from - *n * by.divisor;
}

#endif
