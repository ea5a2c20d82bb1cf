/* Files and options that ed_dataset_open() refuses: the code, and the words that a person needs. */
#include "h5write.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH "refused.h5"
#define X    "input x: f32[N, 2, 2, 2]\n"

static const double numbers[64] = { 1, 0, 3 };

static void expect_error(const char *inputs, const ed_dataset_options *opts, int code,
                         const char *words)
{
    ed_graph *graph = graph_of(inputs);
    ed_dataset *data = (ed_dataset *)(void *)graph;
    int rc = ed_dataset_open(&data, PATH, graph, opts);
    if (rc != code || !strstr(ed_error_last(), words))
        fail_msg("%d, not %d with '%s': %s", rc, code, words, ed_error_last());
    assert_null(data);
    ed_graph_free(graph);
}

static void write_bytes(const void *bytes, size_t size)
{
    FILE *f = fopen(PATH, "wb");
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static hid_t with_x(hid_t stored, int rank, const hsize_t *dims, bool write)
{
    h5_spec spec = { .name = "x",
                     .stored = stored,
                     .memory = H5T_NATIVE_DOUBLE,
                     .rank = rank,
                     .data = write ? numbers : NULL };
    memcpy(spec.dims, dims, (size_t)rank * sizeof *dims);
    hid_t file = h5_create(PATH);
    h5_dataset(file, &spec);
    return file;
}

static hid_t good_file(void)
{
    return with_x(H5T_STD_U8LE, 4, (const hsize_t[]){ 3, 2, 2, 2 }, true);
}

static void no_hdf5_file(void **state)
{
    (void)state;
    remove(PATH);
    expect_error(X, NULL, ED_ENOTFOUND, PATH ": cannot open: No such file");
    write_bytes("", 0);
    expect_error(X, NULL, ED_EFORMAT, "not an HDF5 file");
    write_bytes("PK\3\4 an archive", 15);
    expect_error(X, NULL, ED_EFORMAT, "not an HDF5 file");
    ed_graph *graph = graph_of(X);
    ed_dataset *data;
    assert_int_equal(ed_dataset_open(&data, ".", graph, NULL), ED_EIO);
    assert_non_null(strstr(ed_error_last(), "not a regular file"));
    ed_graph_free(graph);
}

/* Cut at many places: a sentence each time, or the same numbers. */
static void truncated_files(void **state)
{
    (void)state;
    static char bytes[1 << 16];
    h5_close(good_file());
    FILE *f = fopen(PATH, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_in_range(size, 100, sizeof bytes - 1);
    ed_graph *graph = graph_of(X);
    for (size_t cut = 8; cut < size; cut += 37) {
        ed_dataset *data;
        write_bytes(bytes, cut);
        int rc = ed_dataset_open(&data, PATH, graph, NULL);
        assert_int_equal(rc, ED_EFORMAT);
        assert_non_null(strstr(ed_error_last(), PATH));
        assert_non_null(strstr(ed_error_last(), "truncated"));
    }
    ed_graph_free(graph);
}

static void datasets_that_are_not_there(void **state)
{
    (void)state;
    hid_t file = h5_create(PATH);
    h5_close(file);
    expect_error(X, NULL, ED_ENOTFOUND, "no dataset for the model's input 'x' (the file has none)");
    h5_close(good_file());
    expect_error("input y: f32[N, 2, 2, 2]\n", NULL, ED_ENOTFOUND,
                 "the file has 'x'); name it 'y', 'input' or 'images'");
    expect_error("input x: f32[N, 2, 2, 2]\ninput \"a/b\": f32[N]\n", NULL, ED_ENOTFOUND,
                 "name it 'a/b' like the input");
    expect_error(X, &(ed_dataset_options){ .need_labels = true }, ED_ENOTFOUND,
                 "there is no dataset 'labels'");
    file = h5_create(PATH);
    H5Gclose(H5Gcreate2(file, "x", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Lcreate_soft("/gone", file, "input", H5P_DEFAULT, H5P_DEFAULT);
    h5_close(file);
    expect_error(X, NULL, ED_EFORMAT, "'x' cannot be opened as a dataset");
    expect_error("input z: f32[N]\n", NULL, ED_EFORMAT, "'input' cannot be opened as a dataset");
    expect_error("", NULL, ED_EUNSUPPORTED, "has no inputs");
}

static void types_that_are_no_numbers(void **state)
{
    (void)state;
    const hsize_t dims[] = { 2, 2 };
    hid_t brain = h5_half(), text = H5Tcopy(H5T_C_S1), pair = H5Tcreate(H5T_COMPOUND, 8);
    hid_t flag = H5Tenum_create(H5T_NATIVE_INT8), odd = H5Tcopy(H5T_STD_I32LE);
    H5Tset_fields(brain, 15, 7, 8, 0, 7);
    H5Tset_ebias(brain, 127);
    H5Tset_size(text, 5);
    H5Tinsert(pair, "re", 0, H5T_NATIVE_FLOAT);
    H5Tinsert(pair, "im", 4, H5T_NATIVE_FLOAT);
    H5Tenum_insert(flag, "FALSE", &(int8_t){ 0 });
    H5Tset_precision(odd, 12);
    const struct {
        hid_t type;
        const char *words;
    } rows[] = {
        { brain, "holds floats of 16 bits" },     { text, "holds strings of 40 bits" },
        { pair, "holds compounds of 64 bits" },   { flag, "holds enumerations of 8 bits" },
        { odd, "holds integers of 32 bits" },     { H5T_NATIVE_LDOUBLE, "floats of 128 bits" },
        { H5T_STD_B8LE, "holds bit fields of 8" }
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        h5_close(with_x(rows[i].type, 2, dims, false));
        expect_error("input x: f32[N, 2]\n", NULL, ED_EUNSUPPORTED, rows[i].words);
    }
    H5Tclose(brain), H5Tclose(text), H5Tclose(pair), H5Tclose(flag), H5Tclose(odd);
    h5_close(with_x(H5T_STD_U64LE, 2, dims, true));
    expect_error("input x: f32[N, 2]\n", NULL, ED_ESHAPE, "holds uint64");
    h5_close(with_x(H5T_IEEE_F32LE, 2, dims, true));
    expect_error("input x: i64[N, 2]\n", NULL, ED_ESHAPE,
                 "holds float32, which the model's input 'x' of type int64");
    expect_error("input x: f16[N, 2]\n", NULL, ED_EUNSUPPORTED,
                 "'x' is float16; only float32 and integer");
}

static void shapes_that_do_not_fit(void **state)
{
    (void)state;
    const struct {
        int rank;
        hsize_t dims[8];
        const char *graph, *words;
        int code;
    } rows[] = {
        { 4,
          { 3, 2, 2, 1 },
          X,
          "samples are [2, 2, 1], but the model's input 'x' takes [2, 2, 2]",
          ED_ESHAPE },
        { 3, { 3, 2, 4 }, X, "samples are [2, 4]", ED_ESHAPE },
        { 5, { 3, 2, 2, 2, 1 }, "input x: f32[N, 2, H, ?]\n", "takes [2, ?, ?]", ED_ESHAPE },
        { 4, { 0, 2, 2, 2 }, X, "'x' is empty", ED_EFORMAT },
        { 4, { 3, 2, 0, 2 }, X, "samples without elements", ED_EFORMAT },
        { 1, { 3 }, "input x: f32[]\n", "a single number", ED_EUNSUPPORTED },
        { 4, { 3, 2, 2, 2 }, "input x: f32[0, 2, 2, 2]\n", "no batch", ED_EUNSUPPORTED },
        { 4, { 3, 2, 2, 2 }, "input x: f32[2, 2, 2, 2]\n", "limit them to 2", ED_ESHAPE },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        h5_close(with_x(H5T_STD_U8LE, rows[i].rank, rows[i].dims, true));
        expect_error(rows[i].graph, NULL, rows[i].code, rows[i].words);
    }
    hid_t file = h5_create(PATH), space = H5Screate(H5S_SCALAR);
    H5Dclose(H5Dcreate2(file, "x", H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    h5_close(file);
    expect_error(X, NULL, ED_ESHAPE, "has no axis");
}

static void absurd_sizes(void **state)
{
    (void)state;
    const hsize_t huge = (hsize_t)1 << 40;
    const struct {
        hsize_t dims[4], chunk[4];
        const char *words;
    } rows[] = { { { huge, huge, 4, 4 }, { 1, 1, 4, 4 }, "more than 64 GiB" },
                 { { 2, huge, 256, 4 }, { 1, 1, 4, 4 }, "absurdly large axes" },
                 { { (hsize_t)1 << 50, 1, 1, 1 }, { 1, 1, 1, 1 }, "absurdly large axes" },
                 { { 1, huge, huge, huge }, { 1, 1, 1, 1 }, "absurdly large axes" } };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        hid_t file = h5_create(PATH), plist = H5Pcreate(H5P_DATASET_CREATE);
        hid_t space = H5Screate_simple(4, rows[i].dims, NULL);
        H5Pset_chunk(plist, 4, rows[i].chunk);
        H5Dclose(H5Dcreate2(file, "x", H5T_STD_U8LE, space, H5P_DEFAULT, plist, H5P_DEFAULT));
        H5Pclose(plist), H5Sclose(space);
        h5_close(file);
        expect_error("input x: f32[N, A, B, C]\n", NULL, ED_ESHAPE, rows[i].words);
    }
}

/* The chunk's last axis, 2, becomes 200 in the file: HDF5 1.10 itself does not notice. */
static void damaged_chunk_sizes(void **state)
{
    (void)state;
    static unsigned char bytes[1 << 16];
    hid_t file = h5_create(PATH);
    h5_dataset(file,
               &(h5_spec){ "x", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 4, { 113, 2, 2, 2 }, NULL, 113 });
    h5_close(file);
    FILE *f = fopen(PATH, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    const unsigned char sizes[] = { 113, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0 };
    unsigned char *found = memmem(bytes, size, sizes, sizeof sizes);
    assert_non_null(found);
    found[12] = 200;
    write_bytes(bytes, size);
    expect_error(X, NULL, ED_EFORMAT, "has chunks of 200 along axis 3 of size 2");
}

static void attributes(void **state)
{
    (void)state;
    const struct {
        const char *name, *text; /* text, or else numbers */
        double numbers[4];
        size_t count;
        const char *words;
        int code;
    } rows[] = {
        { "layout", "nhwc", { 0 }, 0, "layout is 'nhwc'; it must be NCHW or NHWC", ED_EFORMAT },
        { "layout", NULL, { 1 }, 0, "'layout' is not one string", ED_EFORMAT },
        { "mean", "0.5", { 0 }, 0, "'mean' is not a number", ED_EFORMAT },
        { "mean", NULL, { 1, 2, 3 }, 3, "mean has 3 elements for 2 channels", ED_ESHAPE },
        { "std", NULL, { 1, 0 }, 2, "std has 0 for channel 1", ED_EFORMAT },
        { "std", NULL, { -1 }, 1, "above 0", ED_EFORMAT },
        { "std", NULL, { 1e-60 }, 1, "std has 1e-60 for channel 0", ED_EFORMAT },
        { "std", NULL, { __builtin_nan("") }, 0, "must be finite and above 0", ED_EFORMAT },
        { "mean",
          NULL,
          { 1e39, 0 },
          2,
          "mean has 1e+39 for channel 0; it must be finite",
          ED_EFORMAT },
        { "std", NULL, { __builtin_inf() }, 0, "must be finite", ED_EFORMAT },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        hid_t file = good_file();
        if (rows[i].text)
            h5_text(file, "x", rows[i].name, rows[i].text, 0, H5T_STR_NULLTERM);
        else
            h5_numbers(file, "x", rows[i].name, rows[i].count, rows[i].numbers);
        h5_close(file);
        expect_error(X, NULL, rows[i].code, rows[i].words);
    }
    hid_t file = good_file();
    h5_numbers(file, "x", "std", 0, numbers);
    h5_close(file);
    expect_error("input x: u8[N, 2, 2, 2]\n", NULL, ED_EFORMAT, "has mean or std, but");
    file = with_x(H5T_STD_U8LE, 2, (const hsize_t[]){ 3, 2 }, true);
    h5_text(file, "x", "layout", "NHWC", 5, H5T_STR_NULLPAD);
    h5_close(file);
    expect_error("input x: f32[N, 2]\n", NULL, ED_ESHAPE,
                 "is NHWC, but the dataset has only 2 axes");
}

static void labels(void **state)
{
    (void)state;
    const struct {
        hid_t type;
        int rank;
        hsize_t dims[2];
        const char *words;
        int code;
    } rows[] = {
        { H5T_IEEE_F32LE, 1, { 3 }, "'labels' holds float32", ED_EUNSUPPORTED },
        { H5T_STD_I64LE, 1, { 2 }, "'labels' has 2 elements for 3 samples", ED_ESHAPE },
        { H5T_STD_I64LE, 2, { 3, 10 }, "'labels' has the shape [3, 10]", ED_ESHAPE },
        { H5T_STD_I64LE, 1, { 0 }, "'labels' is empty", ED_EFORMAT },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        hid_t file = good_file();
        h5_dataset(file, &(h5_spec){ "labels",
                                     rows[i].type,
                                     H5T_NATIVE_DOUBLE,
                                     rows[i].rank,
                                     { rows[i].dims[0], rows[i].dims[1] },
                                     numbers,
                                     0 });
        h5_close(file);
        expect_error(X, NULL, rows[i].code, rows[i].words);
    }
}

static void inputs_that_contradict_each_other(void **state)
{
    (void)state;
    hid_t file = with_x(H5T_STD_U8LE, 2, (const hsize_t[]){ 3, 2 }, true);
    h5_dataset(file, &(h5_spec){ "few", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 2, { 2, 2 }, numbers, 0 });
    h5_dataset(file,
               &(h5_spec){ "long", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 2, { 3, 5 }, numbers, 0 });
    h5_close(file);
    expect_error("input x: f32[N, L]\ninput few: f32[N, L]\n", NULL, ED_ESHAPE,
                 "dataset 'few' has 2 samples, but 'x' has 3");
    expect_error("input x: f32[N, L]\ninput long: f32[N, L]\n", NULL, ED_ESHAPE,
                 "axis 1 of dataset 'long' has size 5");
    expect_error("input x: f32[1, 2]\ninput long: f32[3, 5]\n", NULL, ED_EUNSUPPORTED,
                 "'long' has 3");
}

static void options(void **state)
{
    (void)state;
    h5_close(good_file());
    expect_error(X, &(ed_dataset_options){ .batch = -1 }, ED_EINVAL, "the batch is -1");
    expect_error(X, &(ed_dataset_options){ .limit = -5 }, ED_EINVAL, "the limit is -5");
    expect_error("input x: f32[3, 2, 2, 2]\n", &(ed_dataset_options){ .batch = 2 }, ED_ESHAPE,
                 "the model's is fixed at 3");
}

static void a_file_that_names_no_model(void **state)
{
    (void)state;
    char *model;
    remove(PATH);
    assert_int_equal(ed_dataset_model_path(&model, PATH), ED_ENOTFOUND);
    h5_close(good_file());
    assert_int_equal(ed_dataset_model_path(&model, PATH), ED_ENOTFOUND);
    assert_non_null(strstr(ed_error_last(), "it names no model"));
    hid_t file = good_file();
    h5_numbers(file, ".", "model", 0, numbers);
    h5_close(file);
    assert_int_equal(ed_dataset_model_path(&model, PATH), ED_EFORMAT);
    assert_null(model);
}

/* Whichever allocation fails: ED_ENOMEM, and nothing is lost (the sanitizers look). */
static void failing_allocations(void **state)
{
    (void)state;
    hid_t file = good_file();
    h5_numbers(file, "x", "mean", 2, numbers);
    h5_numbers(file, "x", "std", 0, numbers);
    h5_text(file, "x", "layout", "NHWC", 0, H5T_STR_NULLTERM);
    h5_text(file, ".", "model", "m.onnx", 6, H5T_STR_NULLPAD);
    h5_dataset(file, &(h5_spec){ "labels", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 1, { 3 }, numbers, 0 });
    h5_close(file);
    ed_graph *graph = graph_of(X);
    int rc = ED_ENOMEM;
    long n = 0;
    while (rc == ED_ENOMEM) {
        ed_dataset *data;
        ed_alloc_fail_at(++n);
        rc = ed_dataset_open(&data, PATH, graph, NULL);
        ed_alloc_fail_at(0);
        assert_true((rc == ED_OK) == (data != NULL));
        ed_dataset_close(data);
    }
    assert_int_equal(rc, ED_OK);
    assert_in_range(n, 15, 100);
    for (n = 1, rc = ED_ENOMEM; rc == ED_ENOMEM; n++) {
        char *model;
        ed_alloc_fail_at(n);
        rc = ed_dataset_model_path(&model, PATH);
        ed_alloc_fail_at(0);
        free(model);
    }
    assert_int_equal(rc, ED_OK);
    ed_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_hdf5_file),
        cmocka_unit_test(truncated_files),
        cmocka_unit_test(datasets_that_are_not_there),
        cmocka_unit_test(types_that_are_no_numbers),
        cmocka_unit_test(shapes_that_do_not_fit),
        cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(damaged_chunk_sizes),
        cmocka_unit_test(attributes),
        cmocka_unit_test(labels),
        cmocka_unit_test(inputs_that_contradict_each_other),
        cmocka_unit_test(options),
        cmocka_unit_test(a_file_that_names_no_model),
        cmocka_unit_test(failing_allocations),
    };
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
