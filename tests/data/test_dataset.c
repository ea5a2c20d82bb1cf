/* ed/dataset.h on files of every type, layout and attribute: the numbers that come out. */
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
#include <unistd.h>
#include <utime.h>

#define PATH "dataset.h5"

static ed_dataset *open_good(const char *inputs, const ed_dataset_options *opts)
{
    ed_graph *graph = graph_of(inputs);
    ed_dataset *data = NULL;
    if (ed_dataset_open(&data, PATH, graph, opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_graph_free(graph); /* a dataset does not keep it */
    return data;
}

static ed_batch next_good(ed_dataset *data)
{
    ed_batch batch;
    if (ed_dataset_next(data, &batch) != ED_OK)
        fail_msg("%s", ed_error_last());
    return batch;
}

/* 3 samples [2, 2, 2] with the values 0 to 23 */
static void write_small(const char *name, hid_t stored, hsize_t chunk)
{
    double x[24];
    for (int i = 0; i < 24; i++)
        x[i] = i;
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ name, stored, H5T_NATIVE_DOUBLE, 4, { 3, 2, 2, 2 }, x, chunk });
    h5_close(file);
}

static void expect_counting(const ed_batch *batch, int64_t size, float first)
{
    assert_int_equal(batch->size, size);
    assert_int_equal(batch->inputs[0]->dtype, ED_F32);
    assert_int_equal(batch->inputs[0]->numel, 8 * size);
    assert_int_equal(batch->inputs[0]->nbytes, 32 * size);
    assert_int_equal(batch->inputs[0]->shape.dim[0], size);
    for (int64_t i = 0; i < 8 * size; i++)
        assert_true(((const float *)batch->inputs[0]->data)[i] == first + (float)i);
}

static void every_stored_type(void **state)
{
    (void)state;
    hid_t half = h5_half();
    const hid_t types[] = {
        H5T_STD_U8LE,   H5T_STD_I8LE,   H5T_STD_I16LE,  H5T_STD_I16BE,
        H5T_STD_I32LE,  H5T_STD_I32BE,  H5T_STD_I64LE,  H5T_STD_I64BE,
        H5T_STD_U16LE,  H5T_STD_U16BE,  H5T_STD_U32LE,  H5T_IEEE_F32LE,
        H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_IEEE_F64BE, half,
    };
    for (size_t i = 0; i < ED_LENGTH(types); i++) {
        write_small("x", types[i], i % 2 ? 2 : 0);
        ed_dataset *data =
            open_good("input x: f32[N, 2, 2, 2]\n", &(ed_dataset_options){ .batch = 2 });
        ed_batch batch = next_good(data);
        expect_counting(&batch, 2, 0);
        assert_null(batch.labels);
        batch = next_good(data);
        expect_counting(&batch, 1, 16);
        batch = next_good(data);
        assert_int_equal(batch.size, 0);
        ed_dataset_close(data);
    }
    H5Tclose(half);
}

static void the_only_input_has_other_names(void **state)
{
    (void)state;
    const char *const names[] = { "data:0", "input", "images" };
    for (size_t i = 0; i < ED_LENGTH(names); i++) {
        write_small(names[i], H5T_STD_U8LE, 0);
        ed_dataset *data = open_good("input \"data:0\": f32[N, 2, 2, 2]\n", NULL);
        ed_batch batch = next_good(data);
        expect_counting(&batch, 3, 0);
        ed_dataset_close(data);
    }
}

static void counts_limits_and_shapes(void **state)
{
    (void)state;
    write_small("x", H5T_STD_U8LE, 0);
    const struct {
        ed_dataset_options opts;
        const char *graph;
        int64_t count, batch;
    } rows[] = {
        { { 0 }, "input x: f32[N, 2, 2, 2]\n", 3, 3 },
        { { .batch = 2 }, "input x: f32[N, 2, 2, 2]\n", 3, 2 },
        { { .batch = 1, .limit = 2 }, "input x: f32[N, 2, H, W]\n", 2, 1 },
        { { .limit = 100 }, "input x: f32\n", 3, 3 },
        { { 0 }, "input x: f32[1, 2, 2, 2]\n", 3, 1 },
        { { .batch = 3 }, "input x: f32[3, ?, 2, 2]\n", 3, 3 },
        { { .limit = 2 }, "input x: f32[2, 2, 2, 2]\n", 2, 2 },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        ed_dataset *data = open_good(rows[i].graph, &rows[i].opts);
        assert_int_equal(ed_dataset_count(data), rows[i].count);
        assert_int_equal(ed_dataset_batch_size(data), rows[i].batch);
        ed_shape shape;
        assert_int_equal(ed_dataset_shapes(&shape, data, 5), ED_OK);
        assert_true(ed_shape_equal(&shape, &ED_SHAPE(5, 2, 2, 2)));
        assert_int_equal(ed_dataset_shapes(&shape, data, 0), ED_EINVAL);
        int64_t seen = 0;
        for (ed_batch batch = next_good(data); batch.size; batch = next_good(data))
            seen += batch.size;
        assert_int_equal(seen, rows[i].count);
        ed_dataset_close(data);
    }
}

static float rounded(float x, float mean, float std)
{
    volatile float difference = x - mean;
    return difference / std;
}

static void mean_std_and_layout(void **state)
{
    (void)state;
    const double mean[] = { 3.3, 5.7 }, std[] = { 1.1, 0.3 };
    for (int variant = 0; variant < 12; variant++) {
        size_t count = variant % 3 == 2 ? 2 : (size_t)(variant % 3); /* scalar, [1], per channel */
        bool last = variant / 3 % 2, variable = variant / 6;
        write_small("x", H5T_STD_U8LE, 0);
        hid_t file = H5Fopen(PATH, H5F_ACC_RDWR, H5P_DEFAULT);
        h5_numbers(file, "x", "mean", count, mean);
        h5_numbers(file, "x", "std", count, std);
        h5_text(file, "x", "layout", last ? "NHWC" : "NCHW",
                variable      ? 0
                : variant % 3 ? 4
                              : 9,
                variant % 2 ? H5T_STR_SPACEPAD : H5T_STR_NULLPAD);
        h5_close(file);
        ed_dataset *data = open_good("input x: f32[N, 2, 2, 2]\n", NULL);
        ed_batch batch = next_good(data);
        const float *y = batch.inputs[0]->data;
        for (int n = 0; n < 3; n++) {
            for (int c = 0; c < 2; c++) {
                for (int p = 0; p < 4; p++) {
                    int k = count == 2 ? c : 0, from = last ? p * 2 + c : c * 4 + p;
                    float want = rounded((float)(n * 8 + from), (float)mean[k], (float)std[k]);
                    assert_memory_equal(&y[n * 8 + c * 4 + p], &want, sizeof want);
                }
            }
        }
        ed_dataset_close(data);
    }
}

static void one_of_mean_and_std(void **state)
{
    (void)state;
    const double two = 2;
    for (int i = 0; i < 2; i++) {
        write_small("x", H5T_STD_U8LE, 0);
        hid_t file = H5Fopen(PATH, H5F_ACC_RDWR, H5P_DEFAULT);
        h5_numbers(file, "x", i ? "mean" : "std", 0, &two);
        h5_close(file);
        ed_dataset *data = open_good("input x: f32[N, 2, 2, 2]\n", NULL);
        ed_batch batch = next_good(data);
        assert_true(((const float *)batch.inputs[0]->data)[23] == (i ? 21.0f : 11.5f));
        ed_dataset_close(data);
    }
}

static void grey_pictures_without_a_channel_axis(void **state)
{
    (void)state;
    uint8_t x[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    const char *const layouts[] = { NULL, "NCHW", "NHWC" };
    for (size_t i = 0; i < ED_LENGTH(layouts); i++) {
        hid_t file = h5_create(PATH);
        h5_dataset(file,
                   &(h5_spec){ "images", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, { 2, 3, 2 }, x, 0 });
        if (layouts[i])
            h5_text(file, "images", "layout", layouts[i], 0, H5T_STR_NULLTERM);
        h5_close(file);
        ed_dataset *data = open_good("input x: f32[N, 1, H, W]\n", NULL);
        ed_batch batch = next_good(data);
        assert_true(ed_shape_equal(&batch.inputs[0]->shape, &ED_SHAPE(2, 1, 3, 2)));
        for (int k = 0; k < 12; k++)
            assert_true(((const float *)batch.inputs[0]->data)[k] == (float)k);
        ed_dataset_close(data);
    }
}

static void several_inputs_and_token_ids(void **state)
{
    (void)state;
    const int64_t ids[] = { 101, 2023, 102, 0, 101, 7, 8, 102 };
    const uint8_t mask[] = { 1, 1, 1, 0, 1, 1, 1, 1 };
    const float age[] = { 0.5f, -2 };
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ "mask", H5T_STD_U8LE, H5T_NATIVE_UINT8, 2, { 2, 4 }, mask, 0 });
    h5_dataset(file, &(h5_spec){ "ids", H5T_STD_I64LE, H5T_NATIVE_INT64, 2, { 2, 4 }, ids, 0 });
    h5_dataset(file, &(h5_spec){ "age", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, { 2 }, age, 0 });
    h5_close(file);
    ed_dataset *data = open_good("input ids: i32[N, L]\ninput mask: i64[N, L]\ninput age: f32[N]\n",
                                 &(ed_dataset_options){ .batch = 1 });
    for (int n = 0; n < 2; n++) {
        ed_batch batch = next_good(data);
        assert_int_equal(batch.size, 1);
        assert_int_equal(batch.inputs[0]->dtype, ED_I32);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(((const int32_t *)batch.inputs[0]->data)[i], ids[n * 4 + i]);
            assert_int_equal(((const int64_t *)batch.inputs[1]->data)[i], mask[n * 4 + i]);
        }
        assert_true(((const float *)batch.inputs[2]->data)[0] == age[n]);
    }
    ed_dataset_close(data);
}

static void labels_of_any_integer_type(void **state)
{
    (void)state;
    const int64_t labels[] = { 2, 0, 9 };
    const hid_t types[] = { H5T_STD_U8LE, H5T_STD_I16BE, H5T_STD_I64LE, H5T_STD_U64LE };
    for (size_t i = 0; i < 2 * ED_LENGTH(types); i++) {
        write_small("x", H5T_STD_U8LE, 0);
        hid_t file = H5Fopen(PATH, H5F_ACC_RDWR, H5P_DEFAULT);
        h5_dataset(
            file,
            &(h5_spec){
                "labels", types[i / 2], H5T_NATIVE_INT64, i % 2 ? 2 : 1, { 3, 1 }, labels, 0 });
        h5_close(file);
        ed_dataset *data = open_good("input x: f32[N, 2, 2, 2]\n",
                                     &(ed_dataset_options){ .batch = 2, .need_labels = true });
        ed_batch batch = next_good(data);
        assert_memory_equal(batch.labels, labels, 2 * sizeof *labels);
        batch = next_good(data);
        assert_int_equal(batch.labels[0], 9);
        ed_dataset_close(data);
    }
}

static uint64_t hash_of(const char *inputs)
{
    ed_dataset *data = open_good(inputs, NULL);
    uint64_t hash = ed_dataset_hash(data);
    ed_dataset_close(data);
    return hash;
}

static void the_hash_tells_files_apart(void **state)
{
    (void)state;
    const struct utimbuf then = { 1000000000, 1000000000 }, later = { 1000000001, 1000000001 };
    write_small("x", H5T_STD_U8LE, 0);
    utime(PATH, &then);
    uint64_t first = hash_of("input x: f32[N, 2, 2, 2]\n");
    assert_true(first == hash_of("input x: f32[N, 2, 2, 2]\n"));
    utime(PATH, &later);
    assert_true(first != hash_of("input x: f32[N, 2, 2, 2]\n"));
    write_small("x", H5T_STD_I16LE, 0);
    utime(PATH, &then);
    assert_true(first != hash_of("input x: f32[N, 2, 2, 2]\n"));
}

static void the_model_that_a_file_names(void **state)
{
    (void)state;
    char *model;
    const struct {
        const char *text;
        size_t size;
    } rows[] = { { "tiny.onnx", 0 }, { "tiny.onnx", 9 }, { "/data/tiny.onnx", 32 } };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        hid_t file = h5_create(PATH);
        h5_text(file, ".", "model", rows[i].text, rows[i].size, H5T_STR_NULLPAD);
        h5_close(file);
        assert_int_equal(ed_dataset_model_path(&model, PATH), ED_OK);
        assert_string_equal(model, rows[i].text);
        free(model);
        assert_int_equal(ed_dataset_model_path(&model, "./" PATH), ED_OK);
        assert_string_equal(model, i < 2 ? "./tiny.onnx" : rows[i].text);
        free(model);
    }
}

/* The files of the embedded demo: sizes, range, labels, and a model that is there. */
static void the_demo(void **state)
{
    (void)state;
    const struct {
        const char *path;
        int64_t count;
    } rows[] = { { ED_SOURCE_DIR "/datasets/digits_calib.h5", 200 },
                 { ED_SOURCE_DIR "/datasets/digits_train.h5", 1197 },
                 { ED_SOURCE_DIR "/datasets/digits_test.h5", 600 } };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        ed_graph *graph = graph_of("input input: f32[N, 1, 8, 8]\n");
        ed_dataset *data = NULL;
        char *model = NULL;
        assert_int_equal(ed_dataset_open(&data, rows[i].path, graph, NULL), ED_OK);
        assert_int_equal(ed_dataset_count(data), rows[i].count);
        double sum = 0, squares = 0;
        for (ed_batch batch = next_good(data); batch.size; batch = next_good(data)) {
            for (int64_t k = 0; k < batch.size; k++)
                assert_in_range(batch.labels[k], 0, 9);
            for (int64_t k = 0; k < batch.inputs[0]->numel; k++) {
                float x = ((const float *)batch.inputs[0]->data)[k];
                sum += x;
                squares += x * x;
            }
        }
        double n = 64.0 * (double)rows[i].count;
        assert_true(fabs(sum / n) < 0.05 && fabs(squares / n - 1) < 0.05);
        assert_int_equal(ed_dataset_model_path(&model, rows[i].path), ED_OK);
        assert_string_equal(model, ED_SOURCE_DIR "/datasets/digits.onnx");
        assert_int_equal(access(model, R_OK), 0);
        free(model);
        ed_dataset_close(data);
        ed_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stored_type),
        cmocka_unit_test(the_only_input_has_other_names),
        cmocka_unit_test(counts_limits_and_shapes),
        cmocka_unit_test(mean_std_and_layout),
        cmocka_unit_test(one_of_mean_and_std),
        cmocka_unit_test(grey_pictures_without_a_channel_axis),
        cmocka_unit_test(several_inputs_and_token_ids),
        cmocka_unit_test(labels_of_any_integer_type),
        cmocka_unit_test(the_hash_tells_files_apart),
        cmocka_unit_test(the_model_that_a_file_names),
        cmocka_unit_test(the_demo),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
