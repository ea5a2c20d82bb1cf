/* convert.c: every type against the plain formula, at the edges of the types. */
#include "data/convert.h"
#include "tensor/dtype.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Each step rounded to float32, whatever the compiler would like to do. */
static float by_formula(float x, float mean, float std)
{
    volatile float difference = x - mean;
    volatile float quotient = difference / std;
    return quotient;
}

static void uint8_equals_formula_for_every_value(void **state)
{
    (void)state;
    const float mean[] = { 125.307f, 122.961f, 113.8575f }, std[] = { 62.985f, 62.0925f, 66.708f };
    uint8_t x[3 * 256];
    float y[3 * 256];
    for (int i = 0; i < 3 * 256; i++)
        x[i] = (uint8_t)i;
    ed_convert c = {
        .from = ED_U8, .to = ED_F32, .channels = 3, .plane = 256, .mean = mean, .std = std
    };
    ed_convert_bad bad = ed_convert_run(&c, y, x, 1);
    assert_int_equal(bad.count, 0);
    for (int i = 0; i < 3 * 256; i++)
        assert_int_equal(bits_of(y[i]), bits_of(by_formula(x[i], mean[i / 256], std[i / 256])));
    /* 255 in the first channel, as NumPy computes it */
    assert_int_equal(bits_of(y[255]), 0x4003c872);
}

static void channels_last_is_transposed(void **state)
{
    (void)state;
    const float mean[] = { 1, 2, 3 }, std[] = { 1, 2, 4 };
    int16_t x[2 * 5 * 3]; /* samples, pixels, channels */
    float y[2 * 3 * 5];
    for (int i = 0; i < 30; i++)
        x[i] = (int16_t)(i * 7 - 100);
    ed_convert c = { .from = ED_I16,
                     .to = ED_F32,
                     .channels = 3,
                     .plane = 5,
                     .channels_last = true,
                     .mean = mean,
                     .std = std };
    ed_convert_run(&c, y, x, 2);
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 3; k++)
            for (int p = 0; p < 5; p++)
                assert_int_equal(bits_of(y[(n * 3 + k) * 5 + p]),
                                 bits_of(by_formula(x[(n * 5 + p) * 3 + k], mean[k], std[k])));
}

/* Two numbers at the type's ends, stored plain and interleaved with something else. */
#define CHECK_ENDS(type, dtype, lowest, highest)                                                   \
    do {                                                                                           \
        type ends[] = { (lowest), (highest) };                                                     \
        float y[2];                                                                                \
        for (int last = 0; last < 2; last++) {                                                     \
            ed_convert c = { .from = (dtype),                                                      \
                             .to = ED_F32,                                                         \
                             .channels = last + 1,                                                 \
                             .plane = 2 - last,                                                    \
                             .channels_last = last };                                              \
            assert_int_equal(ed_convert_run(&c, y, ends, 1).count, 0);                             \
            assert_true(y[0] == (float)ends[0] && y[1] == (float)ends[1]);                         \
        }                                                                                          \
    } while (0)

static void ends_of_all_types(void **state)
{
    (void)state;
    CHECK_ENDS(int8_t, ED_I8, INT8_MIN, INT8_MAX);
    CHECK_ENDS(uint8_t, ED_U8, 0, UINT8_MAX);
    CHECK_ENDS(int16_t, ED_I16, INT16_MIN, INT16_MAX);
    CHECK_ENDS(uint16_t, ED_U16, 0, UINT16_MAX);
    CHECK_ENDS(int32_t, ED_I32, INT32_MIN, INT32_MAX);
    CHECK_ENDS(uint32_t, ED_U32, 0, UINT32_MAX);
    CHECK_ENDS(int64_t, ED_I64, INT64_MIN, INT64_MAX);
    CHECK_ENDS(float, ED_F32, -3.4028235e38f, 1e-45f);
    CHECK_ENDS(double, ED_F64, -0.1, 16777217.0); /* both are rounded */
}

static void negative_zero_survives(void **state)
{
    (void)state;
    const float x[] = { -0.0f };
    float y[1];
    ed_convert c = { .from = ED_F32, .to = ED_F32, .channels = 1, .plane = 1 };
    ed_convert_run(&c, y, x, 1);
    assert_int_equal(bits_of(y[0]), 0x80000000);
}

static void all_halves(void **state)
{
    (void)state;
    static uint16_t x[1 << 16];
    static float y[1 << 16];
    for (int i = 0; i < 1 << 16; i++)
        x[i] = (uint16_t)i;
    ed_convert c = { .from = ED_F16, .to = ED_F32, .channels = 1, .plane = 1 << 16 };
    ed_convert_bad bad = ed_convert_run(&c, y, x, 1);
    assert_int_equal(bad.count, 2 * 1024); /* exponent 31: two infinities, the rest NaN */
    assert_true(y[0x3c00] == 1.0f && y[0x0001] == 0x1p-24f && y[0xfbff] == -65504.0f);
    assert_true(y[0x03ff] == 1023 * 0x1p-24f && isnan(y[0x7e00]) && y[0xfc00] == -INFINITY);
}

static void nonfinite_values_are_counted(void **state)
{
    (void)state;
    const double x[] = { 1, 2, 3, NAN, 1e39, -INFINITY, 0x1.ffffffp+127, 3.4028234e38, 5 };
    float y[9];
    ed_convert c = { .from = ED_F64, .to = ED_F32, .channels = 1, .plane = 3 };
    ed_convert_bad bad = ed_convert_run(&c, y, x, 3);
    assert_int_equal(bad.count, 4);
    assert_int_equal(bad.first_sample, 1);
    assert_true(isnan(y[3]) && isinf(y[4]) && isinf(y[5]) && isinf(y[6]) && isfinite(y[7]));
    /* a division that overflows is counted as well */
    const float mean[] = { 0 }, std[] = { 1e-30f }, big[] = { 1, 1e20f, 2 };
    ed_convert scaled = {
        .from = ED_F32, .to = ED_F32, .channels = 1, .plane = 1, .mean = mean, .std = std
    };
    bad = ed_convert_run(&scaled, y, big, 3);
    assert_int_equal(bad.count, 1);
    assert_int_equal(bad.first_sample, 1);
}

static void counting_crosses_its_parts(void **state)
{
    (void)state;
    enum { N = (1 << 20) + 3 };
    static float x[N], y[N];
    x[0] = x[(1 << 20) - 1] = x[1 << 20] = x[N - 1] = NAN;
    ed_convert c = { .from = ED_F32, .to = ED_F32, .channels = 1, .plane = N };
    assert_int_equal(ed_convert_run(&c, y, x, 1).count, 4);
}

static void integers_are_unchanged_or_refused(void **state)
{
    (void)state;
    enum { N = 600 }; /* more than one part of 256 */
    static int64_t x[N];
    static int32_t y[N];
    for (int i = 0; i < N; i++)
        x[i] = (i - 300) * INT64_C(7000000);
    ed_convert c = { .from = ED_I64, .to = ED_I32, .channels = 2, .plane = N / 2 };
    assert_int_equal(ed_convert_run(&c, y, x, 1).count, 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(y[i], x[i]);
    x[N - 1] = INT64_C(1) << 31;
    x[N - 2] = INT32_MIN;
    ed_convert_bad bad = ed_convert_run(
        &(ed_convert){ .from = ED_I64, .to = ED_I32, .channels = 1, .plane = N / 3 }, y, x, 3);
    assert_int_equal(bad.count, 1);
    assert_int_equal(bad.first_sample, 2);
    assert_int_equal(y[N - 1], 0);
    assert_int_equal(y[N - 2], INT32_MIN);
}

static void integers_of_all_targets(void **state)
{
    (void)state;
    const int16_t x[] = { 0, 1, -1, 127, 128, 255, 256, -128, -129, 2 };
    const struct {
        ed_dtype to;
        int64_t bad;
    } rows[] = {
        { ED_I8, 4 },  { ED_U8, 4 },  { ED_I16, 0 }, { ED_U16, 3 },
        { ED_I32, 0 }, { ED_U32, 3 }, { ED_I64, 0 }, { ED_BOOL, 8 },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        int64_t y[10];
        ed_convert c = { .from = ED_I16, .to = rows[i].to, .channels = 1, .plane = 10 };
        assert_true(ed_convert_supported(ED_I16, rows[i].to));
        assert_int_equal(ed_convert_run(&c, y, x, 1).count, rows[i].bad);
    }
}

static void channels_last_of_integers(void **state)
{
    (void)state;
    const uint8_t x[] = { 1, 2, 3, 4, 5, 6 };
    uint8_t y[6];
    ed_convert c = { .from = ED_U8, .to = ED_U8, .channels = 2, .plane = 3, .channels_last = true };
    ed_convert_run(&c, y, x, 1);
    assert_memory_equal(y, ((const uint8_t[]){ 1, 3, 5, 2, 4, 6 }), 6);
}

static void which_types_go_where(void **state)
{
    (void)state;
    assert_true(ed_convert_supported(ED_F16, ED_F32));
    assert_false(ed_convert_supported(ED_F32, ED_I64));
    assert_false(ed_convert_supported(ED_STRING, ED_F32));
    assert_false(ed_convert_supported(ED_U64, ED_I64));
    assert_true(ed_convert_target(ED_BOOL));
    assert_false(ed_convert_target(ED_F16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uint8_equals_formula_for_every_value),
        cmocka_unit_test(channels_last_is_transposed),
        cmocka_unit_test(ends_of_all_types),
        cmocka_unit_test(negative_zero_survives),
        cmocka_unit_test(all_halves),
        cmocka_unit_test(nonfinite_values_are_counted),
        cmocka_unit_test(counting_crosses_its_parts),
        cmocka_unit_test(integers_are_unchanged_or_refused),
        cmocka_unit_test(integers_of_all_targets),
        cmocka_unit_test(channels_last_of_integers),
        cmocka_unit_test(which_types_go_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
