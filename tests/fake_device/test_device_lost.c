/*
 * A device that is lost at any call, and fails at all that follow: one sentence that says where, no
 * output, nothing left behind, and the next one works.
 */
#include "exec_check.h"
#include "samples.h"

#include "../data/h5write.h"
#include "../qat/toy.h"
#include "qat/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CALLS = 2000, SAMPLES = 7, PICTURE = 3 * 8 * 8 };
static const char path[] = "test_device_lost.h5";
static const char network[] = "graph t opset 17\ninput x: f32[N, 3, 8, 8]\n"
                              "const w1: f32[3, 3, 3, 3] = random(2)\n"
                              "const w2: f32[4, 3, 3, 3] = random(3)\n"
                              "r = Relu(x)\nc = Conv(r, w1) {pads=[1, 1, 1, 1]}\ns = Relu(c)\n"
                              "y = Conv(s, w2) {pads=[1, 1, 1, 1]}\noutput y\n";
/* The device runs all of it: runs are recorded. */
static const char whole[] = "graph t opset 17\ninput x: f32[N, 6]\nr = Relu(x)\ny = Relu(r)\n"
                            "output y\n";

/* The device is lost at call n from now on; 0: never. */
static void lose_at(long n)
{
    char text[32];
    unsetenv("FAKE_LOST");
    const ed_device *device;
    ed_device_open(&device, "cuda", NULL); /* counting starts anew */
    if (device)
        ed_device_use(device);
    if (n == 0)
        return;
    snprintf(text, sizeof text, "%ld", n);
    setenv("FAKE_LOST", text, 1);
}

/* The sentences of all failures, for a look at what they name. */
typedef struct sentences {
    long count;
    bool node, input, output, value; /* was named by one of them */
} sentences;

static void note(sentences *s, int rc)
{
    const char *last = ed_error_last();
    assert_int_equal(rc, ED_EINTERNAL);
    if (!strstr(last, "the fake device was lost") || strstr(last, "lost: "))
        fail_msg("failure %ld: %s", s->count, last);
    if (strstr(last, "running Relu") && !strstr(last, "Relu '"))
        fail_msg("failure %ld names no node: %s", s->count, last);
    s->count++;
    s->node = s->node || strstr(last, "Relu '");
    s->input = s->input || strstr(last, "input '");
    s->output = s->output || strstr(last, "output '");
    s->value = s->value || strstr(last, "value '");
}

/* ---- executors ---- */

static int run_it(ed_exec **out, const ed_graph *g, const ed_exec_options *opts)
{
    const ed_tensor *outputs[1];
    ed_tensor *input = NULL;
    ed_shape shape = g->values[g->inputs[0]].shape;
    double seconds;
    int rc = ED_OK;
    *out = NULL;
    shape.dim[0] = 2;
    assert_int_equal(ed_tensor_new(&input, ED_F32, &shape), ED_OK);
    ED_GOTO(ed_exec_new(out, g, &shape, opts));
    for (int i = 0; i < 3; i++) /* at once, recorded, replayed */
        ED_GOTO(ed_exec_run(*out, (const ed_tensor *const *)&input, outputs));
    ED_GOTO(ed_exec_time(&seconds, *out, 2));
done:
    ed_tensor_free(input);
    return rc;
}

static sentences lose_executors(const char *text, const ed_exec_options *opts)
{
    sentences seen = { 0 };
    ed_graph *g = NULL;
    int rc = ED_EINTERNAL;
    assert_int_equal(ed_graph_parse(&g, text), ED_OK);
    for (long n = 1; rc != ED_OK && n < MOST_CALLS; n++) {
        ed_exec *exec = NULL;
        lose_at(n);
        rc = run_it(&exec, g, opts);
        char sentence[1024];
        snprintf(sentence, sizeof sentence, "%s", ed_error_last());
        ed_exec_free(exec);
        if (rc == ED_OK)
            break;
        assert_string_equal(sentence, ed_error_last()); /* releasing hides nothing */
        note(&seen, rc);
    }
    lose_at(0);
    assert_int_equal(rc, ED_OK);
    ed_graph_free(g);
    return seen;
}

static void executors_on_a_lost_device(void **state)
{
    static const char *const names[] = { "r" };
    ed_exec_options opts = { .device = "cuda" };
    (void)state;
    sentences seen = lose_executors(whole, &opts);
    assert_true(seen.count > 20 && seen.node && seen.input && seen.output);
    seen = lose_executors(network, &opts);
    assert_true(seen.count > 20 && seen.node && seen.input && seen.output);
    opts.profile = true;
    seen = lose_executors(network, &opts);
    assert_true(seen.count > 30 && seen.node);
    opts.profile = false;
    opts.observed = names;
    opts.observed_count = 1;
    seen = lose_executors(whole, &opts);
    assert_true(seen.count > 20 && seen.node);
}

/* ---- calibration and evaluation ---- */

static void write_floats(void)
{
    static float x[SAMPLES * PICTURE];
    fill_numbers(x, SAMPLES * PICTURE, 7);
    write_samples(path, x, 4, (int64_t[]){ SAMPLES, 3, 8, 8 }, NULL);
}

static void write_bytes(void)
{
    static uint8_t x[SAMPLES * PICTURE];
    static const double mean[] = { 100, 120, 140 }, std[] = { 50, 60, 70 };
    for (int i = 0; i < SAMPLES * PICTURE; i++)
        x[i] = (uint8_t)(i * 37 % 251);
    hid_t file = h5_create(path);
    h5_dataset(file, &(h5_spec){ .name = "x",
                                 .stored = H5T_STD_U8LE,
                                 .memory = H5T_NATIVE_UINT8,
                                 .rank = 4,
                                 .dims = { SAMPLES, 8, 8, 3 },
                                 .data = x });
    h5_text(file, "x", "layout", "NHWC", 0, H5T_STR_NULLTERM);
    h5_numbers(file, "x", "mean", 3, mean);
    h5_numbers(file, "x", "std", 3, std);
    h5_close(file);
}

static sentences lose_calibrations(const char *method)
{
    sentences seen = { 0 };
    ed_graph *g = graph_from(network, true);
    ed_plan *plan = NULL;
    ed_ranges *ranges = NULL;
    ed_calib_options opts = { .device = "cuda", .method = method };
    int rc = ED_EINTERNAL;
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL), ED_OK);
    ed_dataset *data = open_samples(path, g, 3, false);
    for (long n = 1; rc != ED_OK && n < MOST_CALLS; n++) {
        lose_at(n);
        rc = ed_calibrate(&ranges, g, plan, data, &opts);
        if (rc == ED_OK)
            break;
        assert_null(ranges);
        note(&seen, rc);
    }
    lose_at(0);
    assert_int_equal(rc, ED_OK);
    ed_ranges_free(ranges);
    assert_int_equal(ed_calibrate(&ranges, g, plan, data, &opts), ED_OK);
    ed_ranges_free(ranges);
    ed_dataset_close(data);
    ed_plan_free(plan);
    ed_graph_free(g);
    return seen;
}

static void calibration_on_a_lost_device(void **state)
{
    (void)state;
    write_floats();
    sentences seen = lose_calibrations("entropy"); /* searched on the device */
    assert_true(seen.count > 40 && seen.node && seen.input && seen.value);
    write_bytes();
    seen = lose_calibrations("minmax");
    assert_true(seen.count > 40 && seen.node && seen.value);
}

static void evaluation_on_a_lost_device(void **state)
{
    sentences seen = { 0 };
    ed_graph *graphs[2] = { graph_from(network, true), graph_from(network, true) };
    ed_eval_group *groups = NULL;
    size_t count = 0;
    ed_eval_options opts = { .device = "cuda", .groups = &groups, .group_count = &count };
    ed_eval_result results[2];
    int rc = ED_EINTERNAL;
    (void)state;
    write_floats();
    ed_dataset *data = open_samples(path, graphs[0], 3, false);
    for (long n = 1; rc != ED_OK && n < MOST_CALLS; n++) {
        lose_at(n);
        rc = ed_evaluate(results, (const ed_graph *const *)graphs, 2, data, &opts);
        if (rc == ED_OK)
            break;
        assert_null(groups);
        note(&seen, rc);
    }
    lose_at(0);
    assert_int_equal(rc, ED_OK);
    assert_true(seen.count > 60 && seen.node && seen.input && seen.output && seen.value);
    free(groups);
    ed_dataset_close(data);
    for (int i = 0; i < 2; i++)
        ed_graph_free(graphs[i]);
}

/* ---- training ---- */

static const char check_path[] = "test_device_lost_check.h5";

static int train(ed_dataset *data, ed_dataset *val, const char *scales)
{
    ed_graph *g = toy_quantized(toy_mlp, 0.05f), *teacher = graph_from(toy_mlp, true);
    ed_qat_result result;
    const ed_qat_options opts = { .epochs = 2,
                                  .loss = "both",
                                  .scales = scales,
                                  .accumulate = 2,
                                  .device = "cuda",
                                  .checkpoint = check_path,
                                  .checkpoint_every = 2 };
    int rc = ed_qat_train(&result, g, teacher, data, val, &opts);
    ed_graph_free(g);
    ed_graph_free(teacher);
    return rc;
}

/* The checkpoint is there and whole. */
static void assert_checkpoint(void)
{
    ed_checkpoint *c = NULL;
    char *note_of = NULL;
    assert_int_equal(ed_checkpoint_read(&c, check_path, &note_of), ED_OK);
    assert_null(note_of);
    assert_non_null(ed_checkpoint_get(c, "position"));
    ed_checkpoint_free(c);
}

static void lose_training(const char *scales)
{
    sentences seen = { 0 };
    ed_graph *g = toy_quantized(toy_mlp, 0.05f);
    ed_dataset *data = toy_open(path, g, 3), *val = toy_open(path, g, 4);
    assert_int_equal(train(data, val, scales), ED_OK); /* writes the checkpoint that has to stay */
    int rc = ED_EINTERNAL;
    for (long n = 1; rc != ED_OK && n < 100 * MOST_CALLS; n += 1 + n / 10) {
        lose_at(n);
        rc = train(data, val, scales);
        if (rc != ED_OK)
            note(&seen, rc);
        assert_checkpoint();
    }
    lose_at(0);
    assert_int_equal(rc, ED_OK);
    assert_true(seen.count > 40);
    ed_dataset_close(data);
    ed_dataset_close(val);
    ed_graph_free(g);
}

static void training_on_a_lost_device(void **state)
{
    (void)state;
    toy_write(path, SAMPLES, 3);
    lose_training("frozen");
    setenv("FAKE_ALL", "1", 1);
    lose_training("ema");
    unsetenv("FAKE_ALL");
    unlink(check_path);
    unlink("test_device_lost_check.h5.previous");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executors_on_a_lost_device),
        cmocka_unit_test(calibration_on_a_lost_device),
        cmocka_unit_test(evaluation_on_a_lost_device),
        cmocka_unit_test(training_on_a_lost_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
