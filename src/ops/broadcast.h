/*
 * Elementwise functions of two or three tensors with numpy broadcasting: a function over one run of
 * elements for each element type, and the walk over the output that calls it.
 *
 *     y[i, j, ...] = f(a[i or 0, j or 0, ...], b[i or 0, j or 0, ...])
 */
#ifndef OPS_BROADCAST_H
#define OPS_BROADCAST_H

#include "ops/op.h"

enum { ED_RUN_MAX_IN = 3 };

/* n elements of y; in[k] advances by step[k], which is 0 (repeat one element) or 1. */
typedef void (*ed_run_fn)(void *y, const void *const *in, const int64_t *step, int64_t n);

/* y = run(in[0], ..., in[n_in - 1]); y may be one of the inputs if it has that input's shape. */
void ed_broadcast(ed_run_fn run, ed_tensor *y, const ed_tensor *const *in, int n_in);
/* y = x, repeated; any type of whole bytes. */
void ed_broadcast_copy(ed_tensor *y, const ed_tensor *x);
/* The types that a table of runs by dtype has, for ed_infer_dtypes(). */
unsigned ed_run_dtypes(const ed_run_fn runs[ED_DTYPE_COUNT]);
/* ED_EINVAL when the integer divisor b holds a 0. */
int ed_check_divisor(const ed_call *c, const ed_tensor *b);

/* A run of two inputs. The cases apart, so that each loop vectorizes. */
#define ED_DEFINE_RUN(name, ytype, atype, btype, EXPR)                                             \
    static void name(void *py, const void *const *in, const int64_t *step, int64_t n)              \
    {                                                                                              \
        ytype *y = py;                                                                             \
        const atype *a = in[0];                                                                    \
        const btype *b = in[1];                                                                    \
        if (step[0] && step[1])                                                                    \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = (ytype)(EXPR(a[i], b[i]));                                                  \
        else if (step[0])                                                                          \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = (ytype)(EXPR(a[i], *b));                                                    \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = (ytype)(EXPR(*a, b[i * step[1]]));                                          \
    }

/* The same for types that are rare: one loop. */
#define ED_DEFINE_RARE_RUN(name, ytype, atype, btype, EXPR)                                        \
    static void name(void *py, const void *const *in, const int64_t *step, int64_t n)              \
    {                                                                                              \
        ytype *y = py;                                                                             \
        const atype *a = in[0];                                                                    \
        const btype *b = in[1];                                                                    \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = (ytype)(EXPR(a[i * step[0]], b[i * step[1]]));                                  \
    }

/* `name`[dtype] for all integers. TO(type) is the output's type. */
#define ED_DEFINE_INTEGER_RUNS(name, TO, SIGNED, UNSIGNED)                                         \
    ED_DEFINE_RUN(name##_i32, TO(int32_t), int32_t, int32_t, SIGNED)                               \
    ED_DEFINE_RUN(name##_i64, TO(int64_t), int64_t, int64_t, SIGNED)                               \
    ED_DEFINE_RARE_RUN(name##_i8, TO(int8_t), int8_t, int8_t, SIGNED)                              \
    ED_DEFINE_RARE_RUN(name##_i16, TO(int16_t), int16_t, int16_t, SIGNED)                          \
    ED_DEFINE_RARE_RUN(name##_u8, TO(uint8_t), uint8_t, uint8_t, UNSIGNED)                         \
    ED_DEFINE_RARE_RUN(name##_u16, TO(uint16_t), uint16_t, uint16_t, UNSIGNED)                     \
    ED_DEFINE_RARE_RUN(name##_u32, TO(uint32_t), uint32_t, uint32_t, UNSIGNED)                     \
    ED_DEFINE_RARE_RUN(name##_u64, TO(uint64_t), uint64_t, uint64_t, UNSIGNED)
#define ED_INTEGER_RUNS(name)                                                                      \
    [ED_I8] = name##_i8, [ED_I16] = name##_i16, [ED_I32] = name##_i32, [ED_I64] = name##_i64,      \
    [ED_U8] = name##_u8, [ED_U16] = name##_u16, [ED_U32] = name##_u32, [ED_U64] = name##_u64
/* Outputs of the inputs' type; truth values. */
#define ED_TO_SAME(type) type
#define ED_TO_BOOL(type) uint8_t

#endif
