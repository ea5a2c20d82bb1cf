/* Element types, shapes, tensors, conversion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

static void test_dtypes(void **state)
{
    (void)state;
    for (int d = ED_DTYPE_NONE + 1; d < ED_DTYPE_COUNT; d++) {
        assert_int_equal(ed_dtype_find(ed_dtype_name((ed_dtype)d)), d);
        assert_int_equal(ed_dtype_find(ed_dtype_brief((ed_dtype)d)), d);
    }
    assert_int_equal(ed_dtype_find("float31"), ED_DTYPE_NONE);
    assert_string_equal(ed_dtype_name((ed_dtype)99), "unknown");
    assert_int_equal(ed_dtype_bits(ED_I4), 4);
    assert_int_equal(ed_dtype_bits(ED_STRING), 0);
}

static void test_half_formats(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) { /* every half survives the way to float32 and back */
        float f = ed_f16_to_f32((uint16_t)h), g = ed_bf16_to_f32((uint16_t)h);
        if (isnan(f))
            assert_true(isnan(ed_f16_to_f32(ed_f32_to_f16(f))));
        else
            assert_int_equal(ed_f32_to_f16(f), h);
        if (!isnan(g))
            assert_int_equal(ed_f32_to_bf16(g), h);
    }
    assert_int_equal(ed_f32_to_f16(65519.0F), 0x7BFF);
    assert_int_equal(ed_f32_to_f16(65520.0F), 0x7C00);
    assert_int_equal(ed_f32_to_f16(0x1p-25F), 0);   /* half of the smallest: to even */
    assert_int_equal(ed_f32_to_f16(0x1.8p-24F), 2); /* tie to even */
    assert_int_equal(ed_f32_to_f16(1.0F + 0x1p-11F), 0x3C00);
    assert_int_equal(ed_f32_to_f16(1.0F + 0x1.8p-10F), 0x3C02);
    assert_int_equal(ed_f32_to_f16(-INFINITY), 0xFC00);
    assert_true(isnan(ed_bf16_to_f32(ed_f32_to_bf16(NAN))));
}

static void test_shapes(void **state)
{
    (void)state;
    char text[64], tiny[6];
    int64_t n;
    ed_shape shape = ED_SHAPE(2, 3, 4), symbolic = ED_SHAPE(-2, 3), unknown = ED_SHAPE(-1, 3);
    assert_int_equal(ed_shape_numel(&n, &shape), ED_OK);
    assert_int_equal(n, 24);
    assert_int_equal(ed_shape_numel(&n, &ED_SHAPE_SCALAR), ED_OK);
    assert_int_equal(n, 1);
    assert_int_equal(ed_shape_numel(&n, &ED_SHAPE(4, 0, INT64_MAX)), ED_ESHAPE);
    assert_int_equal(ed_shape_numel(&n, &ED_SHAPE(4, 0, 5)), ED_OK);
    assert_int_equal(n, 0);
    assert_int_equal(ed_shape_numel(&n, &ED_SHAPE(INT64_MAX, 2)), ED_ESHAPE);
    assert_int_equal(ed_shape_numel(&n, &ED_SHAPE((int64_t)1 << 49)), ED_ESHAPE);
    assert_int_equal(ed_shape_numel(&n, &symbolic), ED_ESHAPE);
    assert_int_equal(ed_shape_numel(&n, &ED_SHAPE_UNKNOWN), ED_ESHAPE);
    assert_true(ed_shape_equal(&symbolic, &ED_SHAPE(-2, 3)));
    assert_false(ed_shape_equal(&unknown, &unknown));
    assert_false(ed_shape_equal(&ED_SHAPE_UNKNOWN, &ED_SHAPE_UNKNOWN));
    assert_string_equal(ed_shape_format(text, sizeof text, &ED_SHAPE(-2, -1, 7)), "[s0, ?, 7]");
    assert_string_equal(ed_shape_format(text, sizeof text, &ED_SHAPE_SCALAR), "[]");
    assert_string_equal(ed_shape_format(text, sizeof text, &ED_SHAPE_UNKNOWN), "[...]");
    assert_string_equal(ed_shape_format(tiny, sizeof tiny, &ED_SHAPE(12, 34, 56)), "[12, ");
}

static void test_tensors(void **state)
{
    (void)state;
    ed_tensor *t, *copy;
    const float x[] = { 1.5F, -2.5F, 300.0F, NAN };
    assert_int_equal(ed_tensor_from(&t, ED_F32, &ED_SHAPE(2, 2), x), ED_OK);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    assert_int_equal(ed_tensor_clone(&copy, t), ED_OK);
    assert_memory_equal(copy->data, x, sizeof x);
    ed_tensor_free(copy);
    assert_int_equal(ed_tensor_cast(&copy, t, ED_I8), ED_OK);
    const int8_t expected[] = { 2, -2, 127, 0 }; /* half to even, saturated, NaN to 0 */
    assert_memory_equal(copy->data, expected, 4);
    ed_tensor_free(copy);
    assert_int_equal(ed_tensor_cast(&copy, t, ED_I4), ED_OK);
    assert_int_equal(copy->nbytes, 2);
    const int64_t nibbles[] = { 2, -2, 7, 0 };
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(ed_tensor_get_i64(copy, i), nibbles[i]);
    ed_tensor_free(copy);
    assert_int_equal(ed_tensor_cast(&copy, t, ED_STRING), ED_EUNSUPPORTED);
    ed_tensor_free(t);
    ed_tensor_free(NULL);
    assert_int_equal(ed_tensor_new(&t, ED_F32, &ED_SHAPE(3, 0)), ED_OK);
    assert_int_equal(t->numel, 0);
    ed_tensor_free(t);
    assert_int_equal(ed_tensor_new(&t, ED_F32, &ED_SHAPE(-1)), ED_ESHAPE);
    assert_null(t);
}

/* Every pair of number types, on values that both hold. */
static void test_casts_between_all(void **state)
{
    (void)state;
    const double values[] = { 0, 1, 5, 7 };
    for (int a = ED_F32; a < ED_STRING; a++) {
        for (int b = ED_F32; b < ED_STRING; b++) {
            ed_tensor *f, *x, *y;
            assert_int_equal(ed_tensor_from(&f, ED_F64, &ED_SHAPE(4), values), ED_OK);
            assert_int_equal(ed_tensor_cast(&x, f, (ed_dtype)a), ED_OK);
            assert_int_equal(ed_tensor_cast(&y, x, (ed_dtype)b), ED_OK);
            for (int64_t i = 0; i < 4; i++) {
                double want = a == ED_BOOL || b == ED_BOOL ? values[i] != 0 : values[i];
                assert_true(ed_tensor_get_f64(y, i) == want);
            }
            ed_tensor_free(f);
            ed_tensor_free(x);
            ed_tensor_free(y);
        }
    }
    const struct {
        double x;
        ed_dtype dtype;
        int64_t want;
    } edges[] = { { 1e30, ED_I64, INT64_MAX }, { -1e30, ED_I64, INT64_MIN }, { -5, ED_U8, 0 },
                  { 256, ED_U8, 255 },         { 2.5, ED_I32, 2 },           { -1, ED_U64, 0 },
                  { 3e9, ED_I32, INT32_MAX },  { 3e9, ED_U32, 3000000000 },  { -9, ED_I4, -8 } };
    for (size_t i = 0; i < ED_LENGTH(edges); i++) {
        ed_tensor *f, *y;
        assert_int_equal(ed_tensor_from(&f, ED_F64, &ED_SHAPE_SCALAR, &edges[i].x), ED_OK);
        assert_int_equal(ed_tensor_cast(&y, f, edges[i].dtype), ED_OK);
        assert_int_equal(ed_tensor_get_i64(y, 0), edges[i].want);
        ed_tensor_free(f);
        ed_tensor_free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_half_formats),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_casts_between_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
