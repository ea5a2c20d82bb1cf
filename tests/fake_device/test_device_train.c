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

enum { SAMPLES = 32, BATCH = 8 };

static ed_graph *train(const char *device, const char *data_path, const ed_qat_options *given)
{
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f), *teacher = graph_from(toy_mlp, true);
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
static ed_graph *train_there(bool all, const char *data_path, const ed_qat_options *opts)
{
    setenv("FAKE_ALL", all ? "1" : "0", 1);
    ed_graph *graph = train("cuda", data_path, opts);
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

static void compare(const char *data_path, const ed_qat_options *opts)
{
    ed_graph *here = train("cpu", data_path, opts);
    ed_graph *steps = train_there(false, data_path, opts);
    ed_graph *whole = train_there(true, data_path, opts);
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
        compare(path, &cases[i]);
}

static void test_bytes(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        compare(bytes_path, &cases[i]);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_train), cmocka_unit_test(test_bytes),
                                        cmocka_unit_test(test_nonfinite),
                                        cmocka_unit_test(test_teacher),
                                        cmocka_unit_test(test_memory) };
    return cmocka_run_group_tests(tests, write_data, remove_data);
}
