/*
 * ED_TARGET_CLONES before a function: compiled for AVX-512, AVX2 and the baseline, chosen at load
 * time. Where the compiler cannot (clang before 15, sanitizers, other machines): the baseline only.
 */
#ifndef OPS_CLONES_H
#define OPS_CLONES_H

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define ED_TARGET_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ED_TARGET_CLONES
#endif

#endif
