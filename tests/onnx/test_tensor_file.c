/* Tensors as files of TensorProto: there and back, every element type, damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ed/onnx.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const file = "test_tensor.pb";

static void put(const void *data, size_t size)
{
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void test_round_trip(void **state)
{
    (void)state;
    const ed_shape shapes[] = { ED_SHAPE_SCALAR, ED_SHAPE(0), ED_SHAPE(1), ED_SHAPE(2, 3, 5) };
    for (int dtype = ED_F32; dtype < ED_STRING; dtype++) {
        for (size_t i = 0; i < ED_LENGTH(shapes); i++) {
            ed_tensor *t, *back = NULL;
            assert_int_equal(ed_tensor_new(&t, (ed_dtype)dtype, &shapes[i]), ED_OK);
            for (size_t k = 0; k < t->nbytes; k++)
                ((uint8_t *)t->data)[k] = (uint8_t)(dtype == ED_BOOL ? k & 1 : 7 * k + 1);
            if (ed_onnx_write_tensor(t, "t", file) != ED_OK ||
                ed_onnx_read_tensor(&back, file) != ED_OK)
                fail_msg("%s: %s", ed_dtype_name((ed_dtype)dtype), ed_error_last());
            assert_int_equal(back->dtype, t->dtype);
            assert_true(ed_shape_equal(&back->shape, &t->shape));
            assert_memory_equal(back->data, t->data, t->nbytes);
            ed_tensor_free(t);
            ed_tensor_free(back);
        }
    }
}

static void test_damaged(void **state)
{
    (void)state;
    /* dims [2], float32, raw_data of 8 bytes */
    const uint8_t whole[] = { 0x08, 2, 0x10, 1, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40 };
    const struct {
        size_t size, at;
        uint8_t byte;
        int code;
        const char *sentence;
    } rows[] = {
        { sizeof whole - 1, 0, 0x08, ED_EFORMAT, "no TensorProto" },
        { sizeof whole, 1, 3, ED_EFORMAT, "needs 12" },
        { sizeof whole, 3, 99, ED_EFORMAT, "99" },
        { sizeof whole, 3, 8, ED_EUNSUPPORTED, "string" },
        { sizeof whole, 3, 14, ED_EUNSUPPORTED, "complex" },
        { 0, 0, 0, ED_EFORMAT, "" },
    };
    ed_tensor *t;
    put(whole, sizeof whole);
    assert_int_equal(ed_onnx_read_tensor(&t, file), ED_OK);
    assert_true(((const float *)t->data)[0] == 1.0F && ((const float *)t->data)[1] == 2.0F);
    ed_tensor_free(t);
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        uint8_t bytes[sizeof whole];
        memcpy(bytes, whole, sizeof whole);
        bytes[rows[i].at] = rows[i].byte;
        put(bytes, rows[i].size);
        int rc = ed_onnx_read_tensor(&t, file);
        if (rc != rows[i].code || t || !strstr(ed_error_last(), rows[i].sentence) ||
            !strstr(ed_error_last(), file))
            fail_msg("row %zu: %d %s", i, rc, ed_error_last());
    }
    assert_int_equal(unlink(file), 0);
    assert_int_equal(ed_onnx_read_tensor(&t, file), ED_ENOTFOUND);
}

static int there_and_back(const ed_tensor *t)
{
    ed_tensor *back;
    ED_TRY(ed_onnx_write_tensor(t, "t", file));
    ED_TRY(ed_onnx_read_tensor(&back, file));
    ed_tensor_free(back);
    return ED_OK;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ed_tensor *t;
    assert_int_equal(ed_tensor_new(&t, ED_F32, &ED_SHAPE(4, 4)), ED_OK);
    int rc = ED_ENOMEM;
    long n = 0;
    while (rc != ED_OK) { /* until all allocations it makes come before the failing one */
        ed_alloc_fail_at(++n);
        rc = there_and_back(t);
        assert_true(rc == ED_OK || rc == ED_ENOMEM);
    }
    assert_true(n > 3);
    ed_alloc_fail_at(0);
    ed_tensor_free(t);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
