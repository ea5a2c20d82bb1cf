/*
 * One loop, three machine codes: AVX-512, AVX2, and what every CPU runs; the best one is taken at
 * run time. The bodies use the same operations in the same order and -ffp-contract=off, so all
 * three give the same bits.
 */
#ifndef BASE_CLONES_H
#define BASE_CLONES_H

#if defined(__GNUC__)
#define ED_BODY static inline __attribute__((always_inline))
#else
#define ED_BODY static inline
#endif

/* Before a loop whose iterations do not depend on each other though its arrays may be the same: y
 * is x, or they do not overlap. */
#if defined(__clang__)
#define ED_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define ED_INDEPENDENT _Pragma("GCC ivdep")
#else
#define ED_INDEPENDENT
#endif

/* ED_CLONES(int, f, (int a, int b), (a, b)) makes f() from `ED_BODY int f_body(int a, int b)`;
 * ED_CLONES_VOID(f, (int *a), (a)) from `ED_BODY void f_body(int *a)`. */
#define ED_CLONES(type, name, params, args) ED_CLONES_(type, return, name, params, args)
#define ED_CLONES_VOID(name, params, args)  ED_CLONES_(void, , name, params, args)

#if defined(__GNUC__) && defined(__x86_64__)
#define ED_CLONES_(type, give, name, params, args)                                                 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static type name##_avx512 params \
    {                                                                                              \
        give name##_body args;                                                                     \
    }                                                                                              \
    __attribute__((target("avx2,fma"))) static type name##_avx2 params                             \
    {                                                                                              \
        give name##_body args;                                                                     \
    }                                                                                              \
    static type name params                                                                        \
    {                                                                                              \
        if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&            \
            __builtin_cpu_supports("avx512bw"))                                                    \
            give name##_avx512 args;                                                               \
        else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))                  \
            give name##_avx2 args;                                                                 \
        else                                                                                       \
            give name##_body args;                                                                 \
    }
#else
#define ED_CLONES_(type, give, name, params, args)                                                 \
    static type name params                                                                        \
    {                                                                                              \
        give name##_body args;                                                                     \
    }
#endif

#endif
