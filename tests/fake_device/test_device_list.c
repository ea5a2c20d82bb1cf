/* Devices by name, and what is said when the library, the driver or the device is missing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "ed/backend.h"
#include "ed/exec.h"

#include <stdlib.h>
#include <string.h>

static void says(int rc, int code, const char *part)
{
    assert_int_equal(rc, code);
    if (!strstr(ed_error_last(), part))
        fail_msg("'%s' is not in: %s", part, ed_error_last());
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {
        "tpu",  "",     "cuda:", "cuda:x", "cuda:1x", "cuda:-1", "cuda:99999999999999999999",
        "CUDA", "cuda0"
    };
    ed_precision precision;
    (void)state;
    assert_int_equal(ed_device_check("cpu"), ED_OK);
    for (size_t i = 0; i < ED_LENGTH(bad); i++)
        says(ed_device_check(bad[i]), ED_ENOTFOUND, bad[i]);
    assert_int_equal(ed_precision_find(&precision, NULL), ED_OK);
    assert_int_equal(precision, ED_PRECISION_TF32);
    assert_int_equal(ed_precision_find(&precision, "fp32"), ED_OK);
    assert_int_equal(precision, ED_PRECISION_FP32);
    assert_int_equal(ed_precision_find(&precision, "bf16"), ED_OK);
    assert_int_equal(precision, ED_PRECISION_BF16);
    says(ed_precision_find(&precision, "fp8"), ED_ENOTFOUND, "'fp8'");
}

/* First, while no library is loaded. */
static void a_missing_library_is_told(void **state)
{
    ed_device_row *rows;
    size_t count;
    const char *why;
    (void)state;
    setenv("ED_BACKEND_DIR", "/none", 1);
    says(ed_device_check("cuda"), ED_EUNSUPPORTED, "/none/libed-cuda.so");
    says(ed_device_check("cuda:3"), ED_EUNSUPPORTED, "--device cpu");
    assert_int_equal(ed_devices(&rows, &count, &why), ED_OK);
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].name, "cpu");
    assert_non_null(strstr(why, "/none/libed-cuda.so"));
    free(rows);
}

static void devices_are_listed(void **state)
{
    ed_device_row *rows;
    size_t count;
    const char *why;
    (void)state;
    setenv("ED_BACKEND_DIR", getenv("FAKE_LIBRARY"), 1);
    assert_int_equal(ed_devices(&rows, &count, &why), ED_OK);
    assert_null(why);
    assert_int_equal(count, 3);
    assert_string_equal(rows[2].name, "cuda:1");
    assert_non_null(strstr(rows[2].description, "fake 1"));
    assert_int_equal(rows[2].memory, 1 << 30);
    free(rows);
    assert_int_equal(ed_device_check("cuda"), ED_OK);
    assert_int_equal(ed_device_check("cuda:1"), ED_OK);
    says(ed_device_check("cuda:2"), ED_ENOTFOUND, "this machine has 2");
}

static void a_driver_without_devices_is_told(void **state)
{
    ed_device_row *rows;
    size_t count;
    const char *why;
    (void)state;
    setenv("FAKE_DEVICES", "0", 1);
    says(ed_device_check("cuda"), ED_EUNSUPPORTED, "no usable GPU");
    setenv("FAKE_DEVICES", "-1", 1);
    says(ed_device_check("cuda"), ED_EUNSUPPORTED, "the fake driver is too old");
    assert_int_equal(ed_devices(&rows, &count, &why), ED_OK);
    assert_int_equal(count, 1);
    assert_non_null(strstr(why, "too old"));
    free(rows);
    unsetenv("FAKE_DEVICES");
}

static void a_device_is_opened_once(void **state)
{
    const ed_device *a, *b, *other;
    ed_device_options fp32 = { .precision = ED_PRECISION_FP32 };
    (void)state;
    assert_int_equal(ed_device_open(&a, "cuda", NULL), ED_OK);
    assert_int_equal(ed_device_open(&b, "cuda:0", NULL), ED_OK);
    assert_ptr_equal(a, b);
    assert_int_equal(ed_device_open(&other, "cuda:1", NULL), ED_OK);
    assert_ptr_not_equal(a, other);
    assert_int_equal(ed_device_open(&other, "cuda", &fp32), ED_OK);
    assert_ptr_not_equal(a, other);
    assert_int_equal(other->opts.precision, ED_PRECISION_FP32);
    says(ed_device_open(&other, "cuda:7", NULL), ED_ENOTFOUND, "cuda:7");
    assert_null(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(a_missing_library_is_told),
        cmocka_unit_test(devices_are_listed),
        cmocka_unit_test(a_driver_without_devices_is_told),
        cmocka_unit_test(a_device_is_opened_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
