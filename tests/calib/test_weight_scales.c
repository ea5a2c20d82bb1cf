/* Scales, and weight scales per channel. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "calib/calib.h"

#include <float.h>
#include <math.h>
#include <string.h>

static unsigned seed = 7;

/* About normal, with a rare outlier. */
static float draw(void)
{
    float x = 0.0f;
    for (int i = 0; i < 8; i++) {
        seed = seed * 1664525u + 1013904223u;
        x += (float)(seed >> 8) / 16777216.0f - 0.5f;
    }
    return (seed >> 8) % 400 == 0 ? 4.0f * x : x;
}

static ed_tensor *random_tensor(const ed_shape *shape)
{
    ed_tensor *t;
    assert_int_equal(ed_tensor_new(&t, ED_F32, shape), ED_OK);
    for (int64_t i = 0; i < t->numel; i++)
        ((float *)t->data)[i] = draw();
    return t;
}

/* Element i of channel c: the tensor as [outer, channels, inner]. */
static double at(const ed_tensor *t, int axis, int64_t c, int64_t i)
{
    int64_t inner = 1;
    for (int d = axis + 1; d < t->shape.rank; d++)
        inner *= t->shape.dim[d];
    int64_t channels = axis < 0 ? 1 : t->shape.dim[axis];
    inner = axis < 0 ? t->numel : inner;
    return ed_tensor_get_f64(t, (i / inner * channels + c) * inner + i % inner);
}

static double squared_error(const ed_tensor *t, int axis, int64_t c, int64_t n, double scale,
                            double qmax)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double x = fabs(at(t, axis, c, i)), e = x - fmin(nearbyint(x / scale), qmax) * scale;
        sum += e * e;
    }
    return sum;
}

static void test_scale(void **state)
{
    (void)state;
    bool floored;
    assert_true(ed_scale_of(127.0, 8, &floored) == 1.0f && !floored);
    assert_true(ed_scale_of(1.0, 8, NULL) == (float)(1.0 / 127.0));
    assert_true(ed_scale_of(7.0, 4, &floored) == 1.0f && !floored);
    assert_true(ed_scale_of(0x1p-24, 8, &floored) == (float)(0x1p-24 / 127.0) && !floored);
    static const double low[] = { 0x1.fp-25, 0.0, 1e-300, NAN, -1.0 };
    for (size_t i = 0; i < ED_LENGTH(low); i++)
        assert_true(ed_scale_of(low[i], 8, &floored) == (float)(0x1p-24 / 127.0) && floored);
    assert_true(ed_scale_of(0x1p128, 8, &floored) == (float)(FLT_MAX / 127.0) && !floored);
    assert_true(isfinite(ed_scale_of(INFINITY, 2, &floored)));
}

static const struct {
    ed_shape shape;
    int axis;
} cases[] = {
    { { 4, { 8, 3, 3, 3 } }, 0 },   { { 4, { 33, 1, 3, 3 } }, 0 }, { { 2, { 40, 100 } }, 1 },
    { { 2, { 10, 64 } }, 0 },       { { 4, { 6, 5, 2, 2 } }, 1 },  { { 4, { 6, 5, 2, 2 } }, -1 },
    { { 4, { 16, 64, 3, 3 } }, 0 }, { { 1, { 17 } }, 0 },          { { 2, { 1, 1 } }, 1 },
    { { 0, { 0 } }, -1 },
};

static void test_minmax_is_the_largest_of_the_channel(void **state)
{
    (void)state;
    float scales[128];
    for (size_t k = 0; k < ED_LENGTH(cases); k++) {
        ed_tensor *t = random_tensor(&cases[k].shape);
        int axis = cases[k].axis;
        int64_t channels = axis < 0 ? 1 : t->shape.dim[axis], n = t->numel / channels;
        assert_int_equal(ed_weight_scales(scales, t, axis, "minmax", 8), ED_OK);
        for (int64_t c = 0; c < channels; c++) {
            double most = 0.0;
            for (int64_t i = 0; i < n; i++)
                most = fmax(most, fabs(at(t, axis, c, i)));
            assert_true(scales[c] == (float)(most / 127.0));
        }
        ed_tensor_free(t);
    }
}

/* Not worse than any of 400 fractions by more than a few percent, and never worse than minmax. */
static void test_mse_has_a_small_error(void **state)
{
    (void)state;
    float scales[128], widest[128];
    static const unsigned bits[] = { 8, 4 };
    for (size_t k = 0; k < ED_LENGTH(cases) * 2; k++) {
        const size_t j = k / 2;
        double qmax = bits[k % 2] == 8 ? 127.0 : 7.0;
        ed_tensor *t = random_tensor(&cases[j].shape);
        int axis = cases[j].axis;
        int64_t channels = axis < 0 ? 1 : t->shape.dim[axis], n = t->numel / channels;
        assert_int_equal(ed_weight_scales(scales, t, axis, "mse", bits[k % 2]), ED_OK);
        assert_int_equal(ed_weight_scales(widest, t, axis, "minmax", bits[k % 2]), ED_OK);
        double sum = 0.0, least_sum = 0.0;
        for (int64_t c = 0; c < channels; c++) {
            double error = squared_error(t, axis, c, n, (double)scales[c], qmax);
            double least = squared_error(t, axis, c, n, (double)widest[c], qmax);
            assert_true(error <= least * (1 + 1e-4) + 1e-12);
            for (int f = 200; f < 400; f++)
                least =
                    fmin(least, squared_error(t, axis, c, n, (double)widest[c] * f / 400.0, qmax));
            sum += error;
            least_sum += least;
        }
        if (n > 1)
            assert_true(sum <= 1.05 * least_sum + 1e-12);
        ed_tensor_free(t);
    }
}

static void test_mse_does_not_depend_on_threads_or_magnitude(void **state)
{
    (void)state;
    float one[64], other[64];
    int threads = ed_threads_get();
    ed_tensor *t = random_tensor(&ED_SHAPE(64, 3000));
    assert_int_equal(ed_weight_scales(one, t, 0, "mse", 8), ED_OK);
    ed_threads_set(3);
    assert_int_equal(ed_weight_scales(other, t, 0, "mse", 8), ED_OK);
    ed_threads_set(threads);
    assert_memory_equal(one, other, sizeof one);
    static const float factors[] = { 0x1p-20f, 0x1p+120f };
    for (size_t k = 0; k < ED_LENGTH(factors); k++) {
        ed_tensor *scaled;
        assert_int_equal(ed_tensor_clone(&scaled, t), ED_OK);
        for (int64_t i = 0; i < scaled->numel; i++)
            ((float *)scaled->data)[i] *= factors[k];
        assert_int_equal(ed_weight_scales(other, scaled, 0, "mse", 8), ED_OK);
        for (int c = 0; c < 64; c++)
            assert_true(other[c] == one[c] * factors[k]);
        ed_tensor_free(scaled);
    }
    ed_tensor_free(t);
}

static void test_zero_and_constant_channels(void **state)
{
    (void)state;
    float data[3][20] = { { 0 } }, scales[3];
    for (int i = 0; i < 20; i++) {
        data[1][i] = i % 2 ? 2.5f : -2.5f;
        data[2][i] = 0x1p-140f;
    }
    ed_tensor t;
    assert_int_equal(ed_tensor_view(&t, ED_F32, &ED_SHAPE(3, 20), data), ED_OK);
    static const char *const methods[] = { "minmax", "mse" };
    for (int m = 0; m < 2; m++) {
        assert_int_equal(ed_weight_scales(scales, &t, 0, methods[m], 8), ED_OK);
        assert_true(scales[0] == (float)(0x1p-24 / 127.0) && scales[2] == scales[0]);
        assert_true(fabsf(nearbyintf(2.5f / scales[1]) * scales[1] - 2.5f) < 1e-6f);
    }
}

static void test_other_types_are_converted(void **state)
{
    (void)state;
    double data[2][2] = { { 1.0, -2.0 }, { 0.25, 0.5 } };
    float scales[2];
    ed_tensor t;
    assert_int_equal(ed_tensor_view(&t, ED_F64, &ED_SHAPE(2, 2), data), ED_OK);
    assert_int_equal(ed_weight_scales(scales, &t, 1, "minmax", 8), ED_OK);
    assert_true(scales[0] == (float)(1.0 / 127.0) && scales[1] == (float)(2.0 / 127.0));
}

static void test_bad_arguments(void **state)
{
    (void)state;
    float data[4] = { 1.0f, NAN, 2.0f, INFINITY }, scales[2];
    ed_tensor t;
    assert_int_equal(ed_tensor_view(&t, ED_F32, &ED_SHAPE(2, 2), data), ED_OK);
    assert_int_equal(ed_weight_scales(scales, &t, 0, "mse", 8), ED_ENONFINITE);
    assert_int_equal(ed_weight_scales(scales, &t, 0, "entropy", 8), ED_ENOTFOUND);
    assert_non_null(strstr(ed_error_last(), "entropy"));
    assert_int_equal(ed_weight_scales(scales, &t, 2, "mse", 8), ED_ESHAPE);
    assert_int_equal(ed_weight_scales(scales, &t, -2, "mse", 8), ED_ESHAPE);
    assert_int_equal(ed_weight_scales(scales, &t, 0, "mse", 1), ED_EINVAL);
    assert_int_equal(ed_weight_scales(scales, &t, 0, "mse", 16), ED_EINVAL);
    data[1] = data[3] = 0.0f;
    ed_alloc_fail_at(1); /* a channel that is not contiguous needs memory */
    assert_int_equal(ed_weight_scales(scales, &t, 1, "mse", 8), ED_ENOMEM);
    ed_alloc_fail_at(0);
    ed_tensor empty;
    assert_int_equal(ed_tensor_view(&empty, ED_F32, &ED_SHAPE(2, 0), data), ED_OK);
    assert_int_equal(ed_weight_scales(scales, &empty, 0, "mse", 8), ED_OK);
    assert_true(scales[0] > 0.0f && scales[1] > 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_minmax_is_the_largest_of_the_channel),
        cmocka_unit_test(test_mse_has_a_small_error),
        cmocka_unit_test(test_mse_does_not_depend_on_threads_or_magnitude),
        cmocka_unit_test(test_zero_and_constant_channels),
        cmocka_unit_test(test_other_types_are_converted),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
