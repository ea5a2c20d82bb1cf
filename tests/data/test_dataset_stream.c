/* Reading on and on: order through chunks, rewinding, NaN, damage inside, memory, several at once.
 */
#include "h5write.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH "stream.h5"
#define X    "input x: f32[N, 3, 4]\n"

enum { SAMPLE = 12 };

/* Element k of sample i: different for every pair, in uint16. */
static uint16_t element(int64_t i, int64_t k)
{
    return (uint16_t)(i * SAMPLE + k);
}

static void write_stream(const char *path, int64_t samples, hsize_t chunk)
{
    uint16_t *x = malloc((size_t)samples * SAMPLE * sizeof *x);
    int64_t *labels = malloc((size_t)samples * sizeof *labels);
    for (int64_t i = 0; i < samples; i++) {
        labels[i] = i % 10;
        for (int64_t k = 0; k < SAMPLE; k++)
            x[i * SAMPLE + k] = element(i, k);
    }
    hid_t file = h5_create(path);
    h5_dataset(
        file, &(h5_spec){
                  "x", H5T_STD_U16LE, H5T_NATIVE_UINT16, 3, { (hsize_t)samples, 3, 4 }, x, chunk });
    h5_dataset(file,
               &(h5_spec){
                   "labels", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, { (hsize_t)samples }, labels, 0 });
    h5_close(file);
    free(x);
    free(labels);
}

static ed_dataset *open_good(const char *path, const char *inputs, const ed_dataset_options *opts)
{
    ed_graph *graph = graph_of(inputs);
    ed_dataset *data = NULL;
    if (ed_dataset_open(&data, path, graph, opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_graph_free(graph);
    return data;
}

/* Read at most `batches` batches; returns the samples seen, all of which were right. */
static int64_t read_and_check(ed_dataset *data, int64_t batches)
{
    int64_t at = 0;
    for (int64_t b = 0; b < batches; b++) {
        ed_batch batch;
        assert_int_equal(ed_dataset_next(data, &batch), ED_OK);
        if (!batch.size)
            break;
        const float *y = batch.inputs[0]->data;
        int64_t wrong = 0;
        for (int64_t i = 0; i < batch.size; i++) {
            wrong += batch.labels[i] != (at + i) % 10;
            for (int64_t k = 0; k < SAMPLE; k++)
                wrong += y[i * SAMPLE + k] != (float)element(at + i, k);
        }
        assert_int_equal(wrong, 0);
        at += batch.size;
    }
    return at;
}

static void any_batch_over_any_chunk(void **state)
{
    (void)state;
    const int64_t batches[] = { 1, 7, 64, 100, 1000 };
    const hsize_t chunks[] = { 0, 1, 10, 64, 203 };
    for (size_t c = 0; c < ED_LENGTH(chunks); c++) {
        write_stream(PATH, 203, chunks[c]);
        for (size_t b = 0; b < ED_LENGTH(batches); b++) {
            ed_dataset *data = open_good(PATH, X, &(ed_dataset_options){ .batch = batches[b] });
            assert_int_equal(read_and_check(data, 1000), 203);
            assert_int_equal(read_and_check(data, 1), 0);
            ed_dataset_close(data);
        }
    }
}

static void rewinding_and_closing_anywhere(void **state)
{
    (void)state;
    write_stream(PATH, 50, 8);
    for (int64_t used = 0; used <= 7; used++) {
        ed_dataset *data = open_good(PATH, X, &(ed_dataset_options){ .batch = 10 });
        int64_t seen = used > 5 ? 50 : used * 10;
        assert_int_equal(read_and_check(data, used), seen);
        assert_int_equal(ed_dataset_rewind(data), ED_OK);
        assert_int_equal(read_and_check(data, used), seen);
        ed_dataset_close(data);
    }
}

/* The HDF5 library is used by several threads here, though it has no locks of its own. */
static void several_datasets_at_once(void **state)
{
    (void)state;
    ed_dataset *data[4];
    write_stream(PATH, 200, 16);
    for (int i = 0; i < 4; i++)
        data[i] = open_good(PATH, X, &(ed_dataset_options){ .batch = 5 + i });
    for (int i = 3; i >= 0; i--)
        assert_int_equal(read_and_check(data[i], 1000), 200);
    for (int i = 0; i < 4; i++)
        ed_dataset_close(data[i]);
    ed_dataset_close(NULL);
}

static void write_floats(float bad, int64_t at)
{
    static float x[20 * 2];
    for (int i = 0; i < 40; i++)
        x[i] = (float)i;
    x[at] = x[at + 1] = bad;
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, { 20, 2 }, x, 0 });
    h5_close(file);
}

static void nan_and_infinity(void **state)
{
    (void)state;
    ed_batch batch;
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < ED_LENGTH(bad); i++) {
        write_floats(bad[i], 23); /* the last of sample 11 and the first of 12 */
        ed_dataset *data =
            open_good(PATH, "input x: f32[N, 2]\n", &(ed_dataset_options){ .batch = 8 });
        assert_int_equal(ed_dataset_next(data, &batch), ED_OK);
        assert_int_equal(ed_dataset_next(data, &batch), ED_ENONFINITE);
        assert_non_null(strstr(ed_error_last(), PATH ": dataset 'x'"));
        assert_non_null(strstr(ed_error_last(), "first in sample 11, 2 values"));
        assert_int_equal(batch.size, 0);
        ed_dataset_close(data);

        data = open_good(PATH, "input x: f32[N, 2]\n",
                         &(ed_dataset_options){ .batch = 8, .allow_nonfinite = true });
        for (int pass = 0; pass < 2; pass++) {
            const int64_t counted[] = { 0, 2, 2, 2 };
            for (int b = 0; b < 4; b++) {
                assert_int_equal(ed_dataset_next(data, &batch), ED_OK);
                assert_int_equal(ed_dataset_nonfinite(data), counted[b]);
            }
            ed_dataset_rewind(data);
            assert_int_equal(ed_dataset_nonfinite(data), 0);
        }
        ed_dataset_close(data);
    }
}

static void integers_that_do_not_fit(void **state)
{
    (void)state;
    ed_batch batch;
    const int64_t x[] = { 1, 2, INT64_C(1) << 40, 4 };
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ "x", H5T_STD_I64LE, H5T_NATIVE_INT64, 2, { 4, 1 }, x, 0 });
    h5_close(file);
    ed_dataset *data = open_good(PATH, "input x: i32[N, L]\n", NULL);
    assert_int_equal(ed_dataset_next(data, &batch), ED_EFORMAT);
    assert_non_null(strstr(ed_error_last(), "sample 2 that the model's input of type int32"));
    ed_dataset_close(data);
}

/* Bytes in the middle of the compressed chunks are overwritten. */
static void damage_inside(void **state)
{
    (void)state;
    struct stat st;
    write_stream(PATH, 5000, 1000);
    assert_int_equal(stat(PATH, &st), 0);
    FILE *f = fopen(PATH, "r+b");
    fseek(f, st.st_size / 3, SEEK_SET);
    for (int i = 0; i < 4000; i++)
        fputc(0xa5, f);
    fclose(f);
    ed_dataset *data = open_good(PATH, X, &(ed_dataset_options){ .batch = 100 });
    ed_batch batch;
    int rc = ED_OK, n = 0;
    while (rc == ED_OK && n++ < 51)
        rc = ed_dataset_next(data, &batch);
    assert_int_equal(rc, ED_EIO);
    assert_non_null(strstr(ed_error_last(), "dataset 'x', samples "));
    assert_int_equal(ed_dataset_next(data, &batch), ED_EIO);
    ed_dataset_close(data);
}

static void a_batch_allocates_nothing(void **state)
{
    (void)state;
    write_stream(PATH, 300, 16);
    ed_dataset *data = open_good(PATH, X, &(ed_dataset_options){ .batch = 7 });
    ed_alloc_fail_at(1);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(read_and_check(data, 1000), 300);
        assert_int_equal(ed_dataset_rewind(data), ED_OK);
    }
    ed_dataset_close(data);
    assert_int_equal(ed_alloc_count(), 0);
    ed_alloc_fail_at(0);
}

static void warn(void *ctx, ed_log_level level, const char *text)
{
    if (level == ED_LOG_WARNING && strstr(text, "chunks of 48 MiB"))
        ++*(int *)ctx;
}

static void chunks_beyond_the_cache_are_warned_of(void **state)
{
    (void)state;
    int warnings = 0;
    hid_t file = h5_create(PATH);
    h5_dataset(
        file,
        &(h5_spec){ "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 3, { 1 << 20, 3, 4 }, NULL, 1 << 20 });
    h5_close(file);
    ed_log_set(warn, &warnings);
    ed_dataset *data = open_good(PATH, X, &(ed_dataset_options){ .limit = 3 });
    ed_log_set(NULL, NULL);
    ed_batch batch;
    assert_int_equal(ed_dataset_next(data, &batch), ED_OK);
    assert_int_equal(batch.size, 3); /* never written: HDF5's fill value, zeros */
    assert_true(((const float *)batch.inputs[0]->data)[35] == 0.0f);
    assert_int_equal(warnings, 1);
    ed_dataset_close(data);
}

/* The process's own HDF5 error handler is as it was. */
static herr_t handler(hid_t stack, void *ctx)
{
    (void)stack;
    ++*(int *)ctx;
    return 0;
}

static void the_error_handler_is_kept(void **state)
{
    (void)state;
    int calls = 0;
    char *model;
    H5Eset_auto2(H5E_DEFAULT, handler, &calls);
    FILE *f = fopen(PATH, "wb");
    fwrite("\211HDF\r\n\032\n", 1, 8, f);
    fclose(f);
    assert_int_equal(ed_dataset_model_path(&model, PATH), ED_EFORMAT);
    assert_int_equal(calls, 0);
    assert_true(H5Fopen("absent.h5", H5F_ACC_RDONLY, H5P_DEFAULT) < 0);
    assert_int_equal(calls, 1);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_batch_over_any_chunk),
        cmocka_unit_test(rewinding_and_closing_anywhere),
        cmocka_unit_test(several_datasets_at_once),
        cmocka_unit_test(nan_and_infinity),
        cmocka_unit_test(integers_that_do_not_fit),
        cmocka_unit_test(damage_inside),
        cmocka_unit_test(a_batch_allocates_nothing),
        cmocka_unit_test(chunks_beyond_the_cache_are_warned_of),
        cmocka_unit_test(the_error_handler_is_kept),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
