/* Checkpoints: what was put in comes out. */
#include "checkpoint_sample.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void every_type_and_shape(void **state)
{
    (void)state;
    const ed_dtype types[] = { ED_F32, ED_F64, ED_I8,  ED_U8,  ED_I16,
                               ED_U16, ED_I32, ED_U32, ED_I64, ED_U64 };
    const ed_shape shapes[] = { ED_SHAPE_SCALAR,
                                ED_SHAPE(1),
                                ED_SHAPE(5),
                                ED_SHAPE(0),
                                ED_SHAPE(2, 0, 3),
                                ED_SHAPE(2, 3, 1, 2),
                                ED_SHAPE(1, 1, 1, 1, 1, 1, 1, 2) };
    unsigned char bytes[8 * 12];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 11); /* NaN among them */
    ed_checkpoint *c = new_good();
    char name[64];
    for (size_t t = 0; t < ED_LENGTH(types) * ED_LENGTH(shapes); t++) {
        snprintf(name, sizeof name, "t/%s/%zu", ed_dtype_name(types[t % 10]), t);
        assert_int_equal(ed_checkpoint_set(c, name, types[t % 10], &shapes[t / 10], bytes), ED_OK);
    }
    write_good(c);
    ed_checkpoint *got = read_good(PATH);
    for (size_t t = 0; t < ED_LENGTH(types) * ED_LENGTH(shapes); t++) {
        snprintf(name, sizeof name, "t/%s/%zu", ed_dtype_name(types[t % 10]), t);
        const ed_tensor *x = ed_checkpoint_get(got, name);
        assert_non_null(x);
        assert_int_equal(x->dtype, types[t % 10]);
        assert_true(ed_shape_equal(&x->shape, &shapes[t / 10]));
        assert_memory_equal(x->data, bytes, x->nbytes);
        assert_null(ed_checkpoint_text(got, name));
    }
    ed_checkpoint_free(got);
    ed_checkpoint_free(c);
    remove_files();
}

static const char *const names[] = {
    "a",
    "a/b",
    "a/",
    "a//b",
    "/",
    "//",
    "/a",
    ".",
    "./a",
    "a/.",
    "..",
    "a/..",
    "%",
    "a%",
    "a/%",
    "%25",
    "a%2Fb",
    "%names",
    "100%/x",
    " ",
    "a b",
    "a\nb",
    "caf\303\251",
    "bad\377utf",
    "last/weights//layer1/0/conv1/Conv.weight",
    "onnx::Conv_193",
    "x:0",
    "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/1/2/3/4/5/6/7/8/9/0",
};

static void names_of_any_characters(void **state)
{
    (void)state;
    ed_checkpoint *c = new_good();
    for (size_t i = 0; i < ED_LENGTH(names); i++) {
        int32_t number = (int32_t)i;
        assert_int_equal(i % 3 ? ed_checkpoint_set(c, names[i], ED_I32, &ED_SHAPE_SCALAR, &number)
                               : ed_checkpoint_set_text(c, names[i], names[i]),
                         ED_OK);
    }
    write_good(c);
    ed_checkpoint *got = read_good(PATH);
    for (size_t i = 0; i < ED_LENGTH(names); i++) {
        if (i % 3)
            assert_int_equal(ed_tensor_get_i64(ed_checkpoint_get(got, names[i]), 0), i);
        else
            assert_string_equal(ed_checkpoint_text(got, names[i]), names[i]);
    }
    assert_null(ed_checkpoint_get(got, "b"));
    assert_null(ed_checkpoint_text(got, ""));
    ed_checkpoint_free(got);
    ed_checkpoint_free(c);
    remove_files();
}

static void a_name_is_replaced_and_copied(void **state)
{
    (void)state;
    ed_checkpoint *c = new_good();
    float x[] = { 1, 2 };
    char text[] = "text";
    assert_int_equal(ed_checkpoint_set(c, "n", ED_F32, &ED_SHAPE(2), x), ED_OK);
    x[0] = 5;
    assert_true(((float *)ed_checkpoint_get(c, "n")->data)[0] == 1.0f);
    assert_int_equal(ed_checkpoint_set(c, "n", ED_F32, &ED_SHAPE(1), x), ED_OK);
    assert_int_equal(ed_checkpoint_get(c, "n")->numel, 1);
    assert_int_equal(ed_checkpoint_set_text(c, "n", text), ED_OK);
    text[0] = 'X';
    assert_null(ed_checkpoint_get(c, "n"));
    assert_string_equal(ed_checkpoint_text(c, "n"), "text");
    assert_int_equal(ed_checkpoint_set(c, "", ED_F32, &ED_SHAPE(1), x), ED_EINVAL);
    assert_int_equal(ed_checkpoint_set(c, "h", ED_F16, &ED_SHAPE(1), x), ED_EUNSUPPORTED);
    assert_non_null(strstr(ed_error_last(), "'h' is float16"));
    assert_int_equal(ed_checkpoint_set(c, "h", ED_STRING, &ED_SHAPE(1), x), ED_EUNSUPPORTED);
    assert_int_equal(ed_checkpoint_set(c, "h", ED_DTYPE_NONE, &ED_SHAPE(1), x), ED_EUNSUPPORTED);
    assert_null(ed_checkpoint_get(c, "h"));
    ed_checkpoint_free(c);
    ed_checkpoint_free(NULL);
}

static void nothing_and_much(void **state)
{
    (void)state;
    ed_checkpoint *c = new_good(), *got;
    write_good(c);
    ed_checkpoint_free(read_good(PATH));
    enum { N = 3 << 20 }; /* more than one piece of the checksum */
    float *x = calloc(N, sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    assert_int_equal(ed_checkpoint_set(c, "big", ED_F32, &ED_SHAPE(N), x), ED_OK);
    char *text = calloc(100001, 1);
    memset(text, 'x', 100000);
    assert_int_equal(ed_checkpoint_set_text(c, "long", text), ED_OK);
    assert_int_equal(ed_checkpoint_set_text(c, "empty", ""), ED_OK);
    write_good(c);
    got = read_good(PATH);
    assert_memory_equal(ed_checkpoint_get(got, "big")->data, x, N * sizeof *x);
    assert_string_equal(ed_checkpoint_text(got, "long"), text);
    assert_string_equal(ed_checkpoint_text(got, "empty"), "");
    free(text);
    free(x);
    ed_checkpoint_free(got);
    ed_checkpoint_free(c);
    remove_files();
}

static void the_same_contents_are_the_same_bytes(void **state)
{
    (void)state;
    void *a, *b;
    size_t n, m;
    write_number(1);
    assert_int_equal(ed_file_read(&a, &n, PATH), ED_OK);
    write_number(1);
    assert_int_equal(ed_file_read(&b, &m, PATH), ED_OK);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    ed_free(a);
    ed_free(b);
    remove_files();
}

/* Other HDF5 programs read it by the names of groups and datasets. */
static void it_is_an_hdf5_file(void **state)
{
    (void)state;
    float x[100];
    write_number(4);
    hid_t file = H5Fopen(PATH, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "/a/w", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0);
    assert_true(x[7] == 4007.0f);
    H5Dclose(set);
    H5Fclose(file);
    remove_files();
}

static void memory_that_runs_out_anywhere(void **state)
{
    (void)state;
    ed_checkpoint *c;
    char *note;
    write_number(1);
    write_number(2);
    int rc = ED_ENOMEM;
    for (long n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_checkpoint_read(&c, PATH, &note);
        ed_alloc_fail_at(0);
        assert_true(rc == ED_OK || (rc == ED_ENOMEM && !c && !note && n < 100));
    }
    expect_number(c, 2);
    rc = ED_ENOMEM;
    for (long n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_checkpoint_write(c, PATH);
        ed_alloc_fail_at(0);
        assert_true(rc == ED_OK || (rc == ED_ENOMEM && n < 100));
        ed_checkpoint_free(read_good(PATH));
    }
    ed_checkpoint_free(c);
    rc = ED_ENOMEM;
    put_bytes(PATH, "", 0);
    for (long n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_checkpoint_read(&c, PATH, &note);
        ed_alloc_fail_at(0);
        assert_true(rc == ED_OK || (!c && !note && n < 100));
    }
    assert_non_null(note);
    ed_free(note);
    ed_checkpoint_free(c);
    remove_files();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_shape),
        cmocka_unit_test(names_of_any_characters),
        cmocka_unit_test(a_name_is_replaced_and_copied),
        cmocka_unit_test(nothing_and_much),
        cmocka_unit_test(the_same_contents_are_the_same_bytes),
        cmocka_unit_test(it_is_an_hdf5_file),
        cmocka_unit_test(memory_that_runs_out_anywhere),
    };
    remove_files();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
