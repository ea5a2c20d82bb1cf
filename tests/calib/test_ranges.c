/* The ranges file: round trip, refusals, failing allocations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "calib/calib.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char path[] = "test_ranges.json";

static ed_ranges *sample(void)
{
    static const ed_range_row rows[] = {
        { "input", "Conv_0", "input", "mse", -2.5, 2.75, 2.625, 0, 1ull << 40, 0, false, NULL },
        { "a \"quoted\"/\xc3\xa9", "", "residual_input", "mse", 0, 1e-9, 1e-9, 0, 7, 3, true,
          "tiny" },
    };
    ed_ranges *r;
    assert_int_equal(ed_ranges_new(&r), ED_OK);
    for (size_t i = 0; i < 2; i++) {
        ed_range_row row = rows[i];
        row.scale = ed_scale_of(row.amax, 8, &row.floored);
        assert_int_equal(ed_ranges_add(r, &row), ED_OK);
    }
    r->model_hash = 0xfedcba9876543210u;
    r->data_hash = 42;
    r->data = "calib.h5";
    r->target = "tensorrt";
    r->method = "mse";
    r->samples = 512;
    r->nonfinite = 3;
    r->bins = 2048;
    return r;
}

/* The file's text, until the next call. */
static char *read_text(void)
{
    static char text[8192];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static void write_text(const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Read `text` as a file; it must be refused with `code` and a sentence that holds both words. */
static void refuse(const char *text, int code, const char *word, const char *other)
{
    ed_ranges *r;
    write_text(text);
    assert_int_equal(ed_ranges_read(&r, path), code);
    assert_null(r);
    if (!strstr(ed_error_last(), word) || !strstr(ed_error_last(), other) ||
        !strstr(ed_error_last(), path))
        fail_msg("'%s' names not '%s', '%s' and the file", ed_error_last(), word, other);
}

/* The sample file with one place changed. */
static void refuse_change(const char *from, const char *to, const char *word, const char *other)
{
    ed_ranges *r = sample();
    assert_int_equal(ed_ranges_write(r, path), ED_OK);
    ed_ranges_free(r);
    char *text = read_text(), *place = strstr(text, from), *changed;
    assert_non_null(place);
    changed = ed_asprintf("%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    refuse(changed, ED_EFORMAT, word, other);
    ed_free(changed);
    unlink(path);
}

static void test_round_trip(void **state)
{
    (void)state;
    ed_ranges *a = sample(), *b;
    assert_int_equal(ed_ranges_write(a, path), ED_OK);
    assert_int_equal(ed_ranges_read(&b, path), ED_OK);
    assert_true(b->model_hash == a->model_hash && b->data_hash == 42 && b->samples == 512);
    assert_true(b->nonfinite == 3 && b->bins == 2048);
    assert_string_equal(b->data, "calib.h5");
    assert_string_equal(b->target, "tensorrt");
    assert_string_equal(b->method, "mse");
    assert_non_null(strstr(b->tool, ed_version()));
    assert_true(b->params.percentile == 99.99 &&
                b->params.ema == 0.01); /* the defaults, spelled out */
    assert_true(b->params.bits == 8 && !b->params.is_unsigned);
    assert_int_equal(ed_ranges_count(b), 2);
    for (size_t i = 0; i < 2; i++) {
        const ed_range_row *x = ed_ranges_at(a, i), *y = ed_ranges_at(b, i);
        assert_string_equal(x->value, y->value);
        assert_string_equal(x->group, y->group);
        assert_string_equal(x->rule, y->rule);
        assert_string_equal(x->method, y->method);
        assert_true(x->min == y->min && x->max == y->max && x->amax == y->amax);
        assert_true(x->scale == y->scale && x->floored == y->floored);
        assert_true(x->total == y->total && x->nonfinite == y->nonfinite);
    }
    assert_null(ed_ranges_at(b, 0)->note);
    assert_string_equal(ed_ranges_at(b, 1)->note, "tiny");
    assert_null(ed_ranges_at(b, 2));
    assert_ptr_equal(ed_ranges_find(b, "input"), ed_ranges_at(b, 0));
    assert_null(ed_ranges_find(b, "other"));
    ed_ranges_free(a);
    ed_ranges_free(b);
    unlink(path);
}

static void test_no_rows(void **state)
{
    (void)state;
    ed_ranges *a, *b;
    assert_int_equal(ed_ranges_new(&a), ED_OK);
    assert_int_equal(ed_ranges_write(a, path), ED_OK);
    assert_int_equal(ed_ranges_read(&b, path), ED_OK);
    assert_int_equal(ed_ranges_count(b), 0);
    ed_ranges_free(a);
    ed_ranges_free(b);
    unlink(path);
}

static void test_an_edited_amax_takes_effect(void **state)
{
    (void)state;
    ed_ranges *r = sample();
    assert_int_equal(ed_ranges_write(r, path), ED_OK);
    ed_ranges_free(r);
    char *text = read_text(), *place = strstr(text, "\"amax\": 2.625");
    memcpy(place, "\"amax\": 12.70", 13);
    write_text(text);
    assert_int_equal(ed_ranges_read(&r, path), ED_OK);
    assert_true(ed_ranges_at(r, 0)->scale == 0.1f);
    ed_ranges_free(r);
    unlink(path);
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    ed_ranges *r;
    assert_int_equal(ed_ranges_read(&r, "no_such_folder/x.json"), ED_ENOTFOUND);
    assert_int_equal(ed_ranges_read(&r, "."), ED_EIO);
    assert_null(r);
    refuse("", ED_EFORMAT, "JSON", "line");
    refuse("{ \"format\": ", ED_EFORMAT, "JSON", "line 1");
    refuse("\xff\xfe", ED_EFORMAT, "JSON", "line 1");
    refuse("[]", ED_EFORMAT, "format", "ed-ranges");
    refuse("{}", ED_EFORMAT, "format", "ed-ranges");
    refuse("{ \"format\": 3 }", ED_EFORMAT, "format", "ed-ranges");
    refuse("{ \"format\": \"ed-ranges\" }", ED_EFORMAT, "version", "missing");
    refuse("{ \"format\": \"ed-ranges\", \"version\": 1.0 }", ED_EFORMAT, "version", "a number");
    refuse("{ \"format\": \"ed-ranges\", \"version\": 2 }", ED_EFORMAT, "version 2", "version 1");
    unlink(path);
}

static void test_fields_that_are_wrong(void **state)
{
    (void)state;
    refuse_change("\"samples\": 512", "\"samples\": 512, \"colour\": 1", "colour", "not known");
    refuse_change("\"samples\": 512", "\"samples\": 512, \"samples\": 1", "duplicate", "line 8");
    refuse_change("\"samples\": 512,", "", "samples", "missing");
    refuse_change("\"samples\": 512", "\"samples\": -1", "samples", "0 or more");
    refuse_change("\"samples\": 512", "\"samples\": 5.5", "samples", "5.5");
    refuse_change("\"bits\": 8", "\"bits\": 9", "bits", "from 2 to 8");
    refuse_change("\"unsigned\": false", "\"unsigned\": 0", "unsigned", "true or false");
    refuse_change("fedcba9876543210", "fedcba987654321", "model_hash", "hexadecimal");
    refuse_change("fedcba9876543210", "gedcba9876543210", "model_hash", "hexadecimal");
    refuse_change("\"calib.h5\"", "null", "data", "a text");
    refuse_change("\"ranges\": [", "\"ranges\": {}, \"x\": [", "x", "not known");
    refuse_change("\"amax\": 2.625", "\"amax\": -2.625", "ranges[0]", "amax");
    refuse_change("\"amax\": 2.625", "\"amax\": 1e39", "ranges[0]", "fits a float");
    refuse_change("\"amax\": 2.625", "\"amax\": NaN", "JSON", "line");
    refuse_change("\"amax\": 2.625", "\"amax\": \"2\"", "amax", "a text");
    refuse_change("\"value\": \"input\"", "\"value\": \"in\\u0000put\"", "line", "NUL");
    refuse_change("\"value\": \"input\"", "\"value\": [1]", "value", "a list");
    refuse_change("\"note\": null", "\"note\": 4", "note", "a text or null");
    refuse_change("a \\\"quoted\\\"/\xc3\xa9", "input", "ranges[1]", "already");
}

static void test_rows_that_are_none(void **state)
{
    (void)state;
    ed_ranges *r;
    assert_int_equal(ed_ranges_new(&r), ED_OK);
    assert_int_equal(ed_ranges_write(r, path), ED_OK);
    ed_ranges_free(r);
    char *text = read_text();
    static const char *const lists[][2] = { { "7", "a list" },
                                            { "[[]]", "ranges[0]" },
                                            { "[{}]", "value" } };
    char *place = strstr(text, "[\n");
    for (size_t i = 0; i < 3; i++) {
        char *changed = ed_asprintf("%.*s%s }", (int)(place - text), text, lists[i][0]);
        refuse(changed, ED_EFORMAT, lists[i][1], "expected");
        ed_free(changed);
    }
    unlink(path);
}

static void test_what_cannot_be_written(void **state)
{
    (void)state;
    ed_ranges *r = sample();
    write_text("old");
    assert_int_equal(ed_ranges_write(r, "no_such_folder/x.json"), ED_EIO);
    r->rows[1].max = INFINITY;
    assert_int_equal(ed_ranges_write(r, path), ED_ENONFINITE);
    assert_non_null(strstr(ed_error_last(), "max"));
    r->rows[1].max = 1.0;
    r->rows[1].value = "latin-1 \xe9";
    assert_int_equal(ed_ranges_write(r, path), ED_EFORMAT);
    assert_non_null(strstr(ed_error_last(), "UTF-8"));
    char *text = read_text();
    assert_string_equal(text, "old"); /* refused as a whole */
    ed_ranges_free(r);
    unlink(path);
}

/* Fail each allocation in turn until everything succeeds. jansson names a wrong cause for some of
 * its own failures, so `strict` is for our allocations alone. */
static void fail_each_allocation(const ed_ranges *r, bool strict)
{
    ed_ranges *copy;
    int rc = ED_ENOMEM;
    long n;
    for (n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_ranges_read(&copy, path);
        assert_true(rc == ED_OK ? copy != NULL : copy == NULL);
        assert_true(rc == ED_OK || rc == ED_ENOMEM || (!strict && rc == ED_EFORMAT));
    }
    assert_true(n > 5);
    ed_ranges_free(copy);
    rc = ED_ENOMEM;
    for (n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_ranges_write(r, path);
        assert_true(rc == ED_OK || rc == ED_ENOMEM);
    }
    assert_true(n > 3);
    ed_alloc_fail_at(0);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ed_ranges *r = sample(), *copy;
    assert_int_equal(ed_ranges_write(r, path), ED_OK);
    fail_each_allocation(r, true);
    json_set_alloc_funcs(ed_malloc, ed_free);
    fail_each_allocation(r, false);
    json_set_alloc_funcs(malloc, free);
    int rc = ED_ENOMEM;
    for (long n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_ranges_new(&copy);
        if (rc == ED_OK)
            rc = ed_ranges_add(copy, ed_ranges_at(r, 1));
        ed_ranges_free(copy);
    }
    ed_alloc_fail_at(0);
    ed_ranges_free(r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_an_edited_amax_takes_effect),
        cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_fields_that_are_wrong),
        cmocka_unit_test(test_rows_that_are_none),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
