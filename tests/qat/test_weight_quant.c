/* Quantization of weights against the operator's, bit for bit. */
#include "weight_sample.h"

#include "ed/calib.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void absmax_is_calibrations_and_the_operators(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        const int64_t *d = shapes[s];
        fixture f = make(d[0], d[1], d[2], ED_WEIGHTS_ABSMAX);
        ed_tensor *tensor;
        float *want = floats(d[1]);
        assert_int_equal(ed_tensor_from(&tensor, ED_F32, &ED_SHAPE(d[0], d[1], d[2]), f.w.master),
                         ED_OK);
        assert_int_equal(ed_weight_scales(want, tensor, 1, "minmax", 8), ED_OK);
        quantize_good(&f.w);
        assert_memory_equal(want, f.w.scale, (size_t)d[1] * sizeof *want);
        expect_quantized(&f.w);
        ed_tensor_free(tensor);
        free(want);
        release(&f);
    }
}

static void given_scales_stay(void **state)
{
    (void)state;
    const ed_weight_scaling scalings[] = { ED_WEIGHTS_FIXED, ED_WEIGHTS_LSQ };
    for (size_t k = 0; k < 2; k++) {
        fixture f = make(3, 50, 7, scalings[k]);
        quantize_good(&f.w);
        for (int64_t c = 0; c < 50; c++)
            assert_true(f.w.scale[c] == (float)(1 + c) / 100.0f);
        expect_quantized(&f.w);
        release(&f);
    }
}

/* Every quarter of a step and the numbers beside it, over the whole range and beyond. */
static void ties_and_bounds(void **state)
{
    (void)state;
    const int64_t ranges[][2] = { { -128, 127 }, { -127, 127 },     { -8, 7 },
                                  { 0, 255 },    { -32768, 32767 }, { -1, 1 } };
    const float scales[] = { 1.0f, 0.1f, 0.0078125f, 3.7e-9f, 2.5e30f };
    enum { N = 4 * 600 * 3 };
    float x[N], y[N];
    for (size_t r = 0; r < ED_LENGTH(ranges); r++)
        for (size_t s = 0; s < ED_LENGTH(scales); s++) {
            float scale = scales[s];
            for (int i = 0; i < N; i++) {
                float v = (float)(i / 3 - N / 6) * 0.25f * scale;
                x[i] = i % 3 == 0 ? v : nextafterf(v, i % 3 == 1 ? INFINITY : -INFINITY);
            }
            ed_weight w = { .outer = 1,
                            .channels = 1,
                            .inner = N,
                            .quantized = true,
                            .scaling = ED_WEIGHTS_FIXED,
                            .qmin = ranges[r][0],
                            .qmax = ranges[r][1],
                            .master = x,
                            .quantized_out = y,
                            .scale = &scale };
            quantize_good(&w);
            expect_quantized(&w);
        }
}

static void zeros_and_tiny_and_huge(void **state)
{
    (void)state;
    float x[] = { 0, -0.0f, 1e-30f, -1e-30f, 3e38f, -1, 5, -127 }, y[8], scale[4];
    ed_weight w = { .outer = 1,
                    .channels = 4,
                    .inner = 2,
                    .quantized = true,
                    .scaling = ED_WEIGHTS_ABSMAX,
                    .qmin = -128,
                    .qmax = 127,
                    .master = x,
                    .quantized_out = y,
                    .scale = scale };
    quantize_good(&w);
    assert_true(scale[0] == ed_scale_of(0.0, 8, NULL) && scale[0] == scale[1] && scale[0] > 0.0f);
    assert_true(scale[2] == ed_scale_of((double)x[4], 8, NULL) && scale[3] == 1.0f);
    expect_quantized(&w);
    assert_true(y[0] == 0.0f && !signbit(y[1]) && y[6] == 5.0f && y[7] == -127.0f);
}

static void nan_and_infinity_are_named(void **state)
{
    (void)state;
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t k = 0; k < ED_LENGTH(bad); k++) {
        fixture f = make(2, 20, 9, ED_WEIGHTS_ABSMAX);
        f.w.master[(20 + 7) * 9 + 4] = f.w.master[11 * 9] = bad[k];
        assert_int_equal(ed_weight_step(&f.w, NULL, NULL, NULL, 0, 1), ED_ENONFINITE);
        assert_string_equal(ed_error_last(), "there is NaN or infinity in channel 7");
        assert_true(f.w.scale[7] == 0.08f && f.w.scale[6] != 0.07f);
        expect_quantized(&f.w);
        f.gradient[3] = NAN;
        ed_update u = { .learning_rate = 0.1, .t = 1 };
        assert_int_equal(ed_weight_step(&f.w, f.gradient, optimizer("sgd"), &u, 0, 1),
                         ED_ENONFINITE);
        assert_non_null(strstr(ed_error_last(), "channel 0 after the update; use a smaller"));
        release(&f);
    }
}

static void the_table(void **state)
{
    (void)state;
    assert_string_equal(ed_weight_scales_at(ED_WEIGHTS_ABSMAX)->name, "absmax");
    assert_string_equal(ed_weight_scales_at(ED_WEIGHTS_LSQ)->name, "lsq");
    assert_null(ed_weight_scales_at(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absmax_is_calibrations_and_the_operators),
        cmocka_unit_test(given_scales_stay),
        cmocka_unit_test(ties_and_bounds),
        cmocka_unit_test(zeros_and_tiny_and_huge),
        cmocka_unit_test(nan_and_infinity_are_named),
        cmocka_unit_test(the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
