/*
 * Training on a device: what its own kernels do, recorded, is what single steps with copies around
 * them do, to the bit; both are the CPU's but for the order of sums. Bytes, memory that runs out,
 * numbers that are none. test_train runs there too.
 */
#include "../qat/toy.h"

#include "../data/h5write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char path[] = "test_device_train.h5", bytes_path[] = "test_device_train_u8.h5";
static const char pair_path[] = "test_device_train_pair.h5";
static const char two_inputs[] = "graph t opset 17\ninput x: f32[N, 6]\ninput z: f32[N, 4]\n"
                                 "const w1: f32[6, 16] = random(1)\nconst b1: f32[16] = random(2)\n"
                                 "const w2: f32[4, 16] = random(3)\nconst b2: f32[16] = random(4)\n"
                                 "const w3: f32[16, 3] = random(5)\n"
                                 "a = Gemm(x, w1, b1)\nb = Gemm(z, w2, b2)\nc = Add(a, b)\n"
                                 "d = Relu(c)\ny = MatMul(d, w3)\noutput y\n";

enum { SAMPLES = 32, BATCH = 8 };

/* What is trained, on which data. */
typedef struct task {
    const char *model, *data_path;
} task;

static ed_graph *train(const char *device, const task *of, const ed_qat_options *given)
{
    const char *data_path = of->data_path;
    ed_graph *graph = toy_quantized(of->model, 0.05f), *teacher = graph_from(of->model, true);
    ed_dataset *data = toy_open(data_path, graph, BATCH), *val = toy_open(data_path, graph, 5);
    ed_qat_result result;
    ed_qat_options opts = *given;
    opts.epochs = 2;
    opts.learning_rate = 0.02;
    opts.device = device;
    if (ed_qat_train(&result, graph, teacher, data, val, &opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_true(result.val_accuracy > 0);
    ed_dataset_close(data);
    ed_dataset_close(val);
    ed_graph_free(teacher);
    return graph;
}

/* Kernels of the device for all nodes, or for Relu alone. */
static ed_graph *train_there(bool all, const task *of, const ed_qat_options *opts)
{
    setenv("FAKE_ALL", all ? "1" : "0", 1);
    ed_graph *graph = train("cuda", of, opts);
    unsetenv("FAKE_ALL");
    return graph;
}

static void assert_near(const ed_graph *here, const ed_graph *there)
{
    static const char *const names[] = { "w1", "b1", "w2", "b2" };
    for (int k = 0; k < 4; k++) {
        const ed_tensor *a = ed_graph_constant(here, names[k]);
        const ed_tensor *b = ed_graph_constant(there, names[k]);
        for (int64_t j = 0; j < a->numel; j++)
            assert_true(fabsf(((const float *)a->data)[j] - ((const float *)b->data)[j]) < 2e-3f);
    }
}

static const char *const frozen[] = { "w1" };
static const ed_qat_options cases[] = {
    { .loss = "both" },
    { .loss = "both", .scales = "ema", .accumulate = 3 },
    { .loss = "distill", .scales = "ema", .freeze_observers = 0.3, .optimizer = "adamw" },
    { .loss = "labels", .scales = "lsq", .weight_scales = "lsq", .clip = 0.5 },
    { .loss = "labels", .scales = "lsq", .optimizer = "adamw", .accumulate = 2, .clip = 0.1 },
    { .loss = "both", .freeze = frozen, .freeze_count = 1, .momentum = ED_QAT_NONE },
};

static void compare(const char *model, const char *data_path, const ed_qat_options *opts)
{
    const task of = { model, data_path };
    ed_graph *here = train("cpu", &of, opts);
    ed_graph *steps = train_there(false, &of, opts);
    ed_graph *whole = train_there(true, &of, opts);
    assert_near(here, steps);
    assert_true(toy_hash(whole) == toy_hash(steps));
    ed_graph_free(here);
    ed_graph_free(steps);
    ed_graph_free(whole);
}

static void test_train(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        compare(toy_mlp, path, &cases[i]);
}

static void test_bytes(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        compare(toy_mlp, bytes_path, &cases[i]);
}

/* As numbers, which wait in page-locked memory, and as bytes. */
static void write_pair(bool bytes)
{
    float x[SAMPLES * (TOY_FEATURES + 4)];
    uint8_t u8[SAMPLES * (TOY_FEATURES + 4)];
    int64_t labels[SAMPLES];
    fill_numbers(x, (int64_t)(sizeof x / sizeof x[0]), 3);
    for (size_t i = 0; i < sizeof u8; i++)
        u8[i] = (uint8_t)(i * 37 % 11);
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i % TOY_CLASSES;
    hid_t file = h5_create(pair_path), f32 = H5T_NATIVE_FLOAT, byte = H5T_NATIVE_UINT8;
    const hid_t type = bytes ? byte : f32;
    const void *first = bytes ? (const void *)u8 : x;
    const void *second = bytes ? (const void *)(u8 + SAMPLES * TOY_FEATURES)
                               : (const void *)(x + SAMPLES * TOY_FEATURES);
    h5_dataset(file, &(h5_spec){ "x", type, type, 2, { SAMPLES, TOY_FEATURES }, first, 0 });
    h5_dataset(file, &(h5_spec){ "z", type, type, 2, { SAMPLES, 4 }, second, 0 });
    h5_dataset(file, &(h5_spec){
                         "labels", H5T_NATIVE_INT64, H5T_NATIVE_INT64, 1, { SAMPLES }, labels, 0 });
    h5_close(file);
}

static void test_two_inputs(void **unused)
{
    (void)unused;
    for (int bytes = 0; bytes < 2; bytes++) {
        write_pair(bytes);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            compare(two_inputs, pair_path, &cases[i]);
    }
    unlink(pair_path);
}

/* ---- failures ---- */

static int fail_there(ed_qat_options opts, int64_t batch)
{
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f);
    ed_dataset *data = toy_open(path, graph, batch);
    ed_qat_result result;
    opts.loss = "labels";
    setenv("FAKE_ALL", "1", 1);
    int rc = ed_qat_train(&result, graph, NULL, data, NULL, &opts);
    unsetenv("FAKE_ALL");
    ed_dataset_close(data);
    ed_graph_free(graph);
    return rc;
}

/* The step that is named does not depend on where it ran. */
static void test_nonfinite(void **unused)
{
    (void)unused;
    static const ed_qat_options bad[] = {
        { .epochs = 50, .schedule = "constant", .learning_rate = 1e6 },
        { .epochs = 50, .schedule = "constant", .learning_rate = 1e6, .accumulate = 3 },
        { .epochs = 9, .schedule = "constant", .learning_rate = 1e5, .weight_decay = 1e5 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char here[64];
        ed_qat_options opts = bad[i];
        assert_int_equal(fail_there(opts, BATCH), ED_ENONFINITE);
        snprintf(here, sizeof here, "%.*s", (int)strcspn(ed_error_last(), ":"), ed_error_last());
        assert_memory_equal(here, "step ", 5);
        opts.device = "cuda";
        assert_int_equal(fail_there(opts, BATCH), ED_ENONFINITE);
        assert_says(here);
    }
}

/* A teacher of other classes. */
static void test_teacher(void **unused)
{
    (void)unused;
    static const char other[] = "graph t opset 17\ninput x: f32[N, 6]\n"
                                "const w: f32[6, 5] = random(1)\ny = MatMul(x, w)\noutput y\n";
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f), *teacher = graph_from(other, true);
    ed_dataset *data = toy_open(path, graph, BATCH);
    ed_qat_result result;
    const ed_qat_options opts = { .epochs = 1, .device = "cuda" };
    assert_int_equal(ed_qat_train(&result, graph, teacher, data, NULL, &opts), ED_ESHAPE);
    assert_says("[8, 5]");
    ed_dataset_close(data);
    ed_graph_free(teacher);
    ed_graph_free(graph);
}

/* Wherever it runs out. */
static void test_memory(void **unused)
{
    (void)unused;
    int64_t explained = 0;
    int rc = ED_ENOMEM, all = 1000;
    for (int k = 1; rc != ED_OK && k < 40; k++, all += all / 4) {
        char bytes[32], name[32];
        const ed_qat_options opts = { .epochs = 1, .device = name };
        snprintf(bytes, sizeof bytes, "%d", all);
        snprintf(name, sizeof name, "cuda:%d", k);
        setenv("FAKE_DEVICES", "40", 1);
        setenv("FAKE_BYTES", bytes, 1); /* read when the device is opened */
        rc = fail_there(opts, 64);
        if (rc == ED_OK)
            break;
        assert_int_equal(rc, ED_ENOMEM);
        assert_says("--batch");
        assert_says("--memory");
        explained += strstr(ed_error_last(), "a batch of 64 needs") != NULL;
    }
    unsetenv("FAKE_BYTES");
    unsetenv("FAKE_DEVICES");
    assert_int_equal(rc, ED_OK);
    assert_true(explained > 2);
}

/* ---- data ---- */

static void write_bytes(void)
{
    static const double mean[] = { 128 }, std[] = { 64 };
    uint8_t x[SAMPLES * TOY_FEATURES];
    int64_t labels[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        labels[i] = i % TOY_CLASSES;
        for (int k = 0; k < TOY_FEATURES; k++)
            x[i * TOY_FEATURES + k] =
                (uint8_t)(60 + (i * 37 + k * 11) % 90 + 100 * (k / 2 == labels[i]));
    }
    hid_t file = h5_create(bytes_path);
    h5_dataset(file, &(h5_spec){ .name = "x",
                                 .stored = H5T_STD_U8LE,
                                 .memory = H5T_NATIVE_UINT8,
                                 .rank = 2,
                                 .dims = { SAMPLES, TOY_FEATURES },
                                 .data = x });
    h5_numbers(file, "x", "mean", 1, mean);
    h5_numbers(file, "x", "std", 1, std);
    h5_dataset(file, &(h5_spec){ .name = "labels",
                                 .stored = H5T_STD_I64LE,
                                 .memory = H5T_NATIVE_INT64,
                                 .rank = 1,
                                 .dims = { SAMPLES },
                                 .data = labels });
    h5_close(file);
}

static int write_data(void **unused)
{
    (void)unused;
    toy_write(path, SAMPLES, 5);
    write_bytes();
    return 0;
}

static int remove_data(void **unused)
{
    (void)unused;
    return unlink(path) | unlink(bytes_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train),      cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_two_inputs), cmocka_unit_test(test_nonfinite),
        cmocka_unit_test(test_teacher),    cmocka_unit_test(test_memory)
    };
    return cmocka_run_group_tests(tests, write_data, remove_data);
}
