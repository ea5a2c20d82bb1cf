/*
 * One loop, three machine codes: AVX-512, AVX2, and what every CPU runs; the best one is taken at
 * run time. The bodies use the same operations in the same order and -ffp-contract=off, so all
 * three give the same bits.
 */
#ifndef CALIB_SIMD_H
#define CALIB_SIMD_H

#if defined(__GNUC__)
#define ED_BODY static inline __attribute__((always_inline))
#else
#define ED_BODY static inline
#endif

/* ED_CLONES(int, f, (int a, int b), (a, b)) makes f() from `ED_BODY int f_body(int a, int b)`. */
#if defined(__GNUC__) && defined(__x86_64__)
#define ED_CLONES(type, name, params, args)                                                        \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static type name##_avx512 params \
    {                                                                                              \
        return name##_body args;                                                                   \
    }                                                                                              \
    __attribute__((target("avx2"))) static type name##_avx2 params                                 \
    {                                                                                              \
        return name##_body args;                                                                   \
    }                                                                                              \
    static type name params                                                                        \
    {                                                                                              \
        if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&            \
            __builtin_cpu_supports("avx512bw"))                                                    \
            return name##_avx512 args;                                                             \
        return __builtin_cpu_supports("avx2") ? name##_avx2 args : name##_body args;               \
    }
#else
#define ED_CLONES(type, name, params, args)                                                        \
    static type name params                                                                        \
    {                                                                                              \
        return name##_body args;                                                                   \
    }
#endif

#endif
