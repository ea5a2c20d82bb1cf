/*
 * Stored numbers to a graph input's, one channel of one sample at a time.
 *
 * Floats:   y = (float32(x) - mean[c]) / std[c], bit for bit what NumPy computes in float32.
 * Integers: unchanged; a value that the input's type cannot hold counts as bad and becomes 0.
 *
 * Loops of one statement over a whole plane, so that the compiler vectorizes them.
 */
#include "data/convert.h"

#include "tensor/dtype.h"

#include <string.h>

/* ---- to float32 ---- */

typedef void (*load_float_fn)(float *dst, const void *src, int64_t n, int64_t stride);

/* float32 of any C number; 64-bit integers and doubles are rounded to nearest even by the cast. */
#define LOAD_FLOAT(name, type)                                                                     \
    static void name(float *dst, const void *src, int64_t n, int64_t stride)                       \
    {                                                                                              \
        const type *x = src;                                                                       \
        if (stride == 1)                                                                           \
            for (int64_t i = 0; i < n; i++)                                                        \
                dst[i] = (float)x[i];                                                              \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                dst[i] = (float)x[i * stride];                                                     \
    }
LOAD_FLOAT(load_float_i8, int8_t)
LOAD_FLOAT(load_float_u8, uint8_t)
LOAD_FLOAT(load_float_i16, int16_t)
LOAD_FLOAT(load_float_u16, uint16_t)
LOAD_FLOAT(load_float_i32, int32_t)
LOAD_FLOAT(load_float_u32, uint32_t)
LOAD_FLOAT(load_float_i64, int64_t)
LOAD_FLOAT(load_float_f32, float)

/* A double beyond float32 becomes infinity (and is counted as such), without relying on what C
 * leaves undefined. */
static void load_float_f64(float *dst, const void *src, int64_t n, int64_t stride)
{
    const double largest = 0x1.ffffffp+127; /* from here on rounding gives infinity */
    const double *x = src;
    for (int64_t i = 0; i < n; i++) {
        double v = x[i * stride];
        dst[i] = v >= largest ? __builtin_inff() : v <= -largest ? -__builtin_inff() : (float)v;
    }
}

static void load_float_f16(float *dst, const void *src, int64_t n, int64_t stride)
{
    const uint16_t *x = src;
    for (int64_t i = 0; i < n; i++)
        dst[i] = ed_f16_to_f32(x[i * stride]);
}

static const load_float_fn load_float[ED_DTYPE_COUNT] = {
    [ED_I8] = load_float_i8,   [ED_U8] = load_float_u8,   [ED_I16] = load_float_i16,
    [ED_U16] = load_float_u16, [ED_I32] = load_float_i32, [ED_U32] = load_float_u32,
    [ED_I64] = load_float_i64, [ED_F16] = load_float_f16, [ED_F32] = load_float_f32,
    [ED_F64] = load_float_f64,
};

static void normalize(float *x, int64_t n, float mean, float std)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) / std;
}

static int64_t count_nonfinite(const float *x, int64_t n)
{
    int64_t count = 0;
    while (n > 0) { /* 32-bit counters in parts keep the inner loop narrow */
        int32_t part = n < 1 << 20 ? (int32_t)n : 1 << 20, found = 0;
        for (int32_t i = 0; i < part; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            found += (bits & 0x7f800000) == 0x7f800000;
        }
        count += found;
        x += part;
        n -= part;
    }
    return count;
}

/* ---- to integers ---- */

enum { PART = 256 }; /* elements that go through int64 at a time */

typedef void (*load_int_fn)(int64_t *dst, const void *src, int64_t n, int64_t stride);
typedef int64_t (*store_int_fn)(void *dst, const int64_t *src, int64_t n);

#define LOAD_INT(name, type)                                                                       \
    static void name(int64_t *dst, const void *src, int64_t n, int64_t stride)                     \
    {                                                                                              \
        const type *x = src;                                                                       \
        for (int64_t i = 0; i < n; i++)                                                            \
            dst[i] = (int64_t)x[i * stride];                                                       \
    }
LOAD_INT(load_int_i8, int8_t)
LOAD_INT(load_int_u8, uint8_t)
LOAD_INT(load_int_i16, int16_t)
LOAD_INT(load_int_u16, uint16_t)
LOAD_INT(load_int_i32, int32_t)
LOAD_INT(load_int_u32, uint32_t)
LOAD_INT(load_int_i64, int64_t)

/* Returns how many values do not fit. */
#define STORE_INT(name, type, lowest, highest)                                                     \
    static int64_t name(void *dst, const int64_t *src, int64_t n)                                  \
    {                                                                                              \
        type *y = dst;                                                                             \
        int64_t bad = 0;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            bool fits = src[i] >= (lowest) && src[i] <= (highest);                                 \
            y[i] = fits ? (type)src[i] : 0;                                                        \
            bad += !fits;                                                                          \
        }                                                                                          \
        return bad;                                                                                \
    }
STORE_INT(store_int_i8, int8_t, INT8_MIN, INT8_MAX)
STORE_INT(store_int_u8, uint8_t, 0, UINT8_MAX)
STORE_INT(store_int_i16, int16_t, INT16_MIN, INT16_MAX)
STORE_INT(store_int_u16, uint16_t, 0, UINT16_MAX)
STORE_INT(store_int_i32, int32_t, INT32_MIN, INT32_MAX)
STORE_INT(store_int_u32, uint32_t, 0, UINT32_MAX)
STORE_INT(store_int_i64, int64_t, INT64_MIN, INT64_MAX)
STORE_INT(store_int_bool, uint8_t, 0, 1)

static const load_int_fn load_int[ED_DTYPE_COUNT] = {
    [ED_I8] = load_int_i8,   [ED_U8] = load_int_u8,   [ED_I16] = load_int_i16,
    [ED_U16] = load_int_u16, [ED_I32] = load_int_i32, [ED_U32] = load_int_u32,
    [ED_I64] = load_int_i64,
};
static const store_int_fn store_int[ED_DTYPE_COUNT] = {
    [ED_I8] = store_int_i8,   [ED_U8] = store_int_u8,     [ED_I16] = store_int_i16,
    [ED_U16] = store_int_u16, [ED_I32] = store_int_i32,   [ED_U32] = store_int_u32,
    [ED_I64] = store_int_i64, [ED_BOOL] = store_int_bool,
};

/* ---- both ---- */

bool ed_convert_target(ed_dtype to)
{
    return to == ED_F32 || store_int[to];
}

bool ed_convert_supported(ed_dtype from, ed_dtype to)
{
    return to == ED_F32 ? load_float[from] != NULL : load_int[from] && store_int[to];
}

/* One channel: n elements at src, `stride` elements apart. Returns the number of bad ones. */
static int64_t convert_plane(const ed_convert *c, int64_t channel, char *dst, const char *src,
                             int64_t stride)
{
    int64_t n = c->plane, bad = 0;
    if (c->to == ED_F32) {
        float *y = (float *)(void *)dst;
        load_float[c->from](y, src, n, stride);
        if (c->mean)
            normalize(y, n, c->mean[channel], c->std[channel]);
        return count_nonfinite(y, n);
    }
    int64_t part[PART];
    int64_t in = ed_dtype_bits(c->from) / 8, out = ed_dtype_bits(c->to) / 8;
    for (int64_t i = 0; i < n; i += PART) {
        int64_t m = n - i < PART ? n - i : PART;
        load_int[c->from](part, src + i * stride * in, m, stride);
        bad += store_int[c->to](dst + i * out, part, m);
    }
    return bad;
}

ed_convert_bad ed_convert_run(const ed_convert *c, void *dst, const void *src, int64_t samples)
{
    ed_convert_bad bad = { 0, 0 };
    int64_t in = ed_dtype_bits(c->from) / 8, out = ed_dtype_bits(c->to) / 8;
    int64_t stride = c->channels_last ? c->channels : 1;
    int64_t step = c->channels_last ? 1 : c->plane;
    const char *x = src;
    char *y = dst;
    for (int64_t s = 0; s < samples; s++) {
        for (int64_t k = 0; k < c->channels; k++) {
            int64_t found = convert_plane(c, k, y + k * c->plane * out, x + k * step * in, stride);
            if (found && !bad.count)
                bad.first_sample = s;
            bad.count += found;
        }
        x += c->channels * c->plane * in;
        y += c->channels * c->plane * out;
    }
    return bad;
}
