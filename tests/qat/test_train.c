/* ed_qat_train(): it learns, keeps what it should, stops when asked or when numbers fail, and goes
 * on from a checkpoint bit for bit. On the device that the environment's ED_TEST_DEVICE names. */
#include "toy.h"

#include "base/mem.h"
#include "graph/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char train_path[] = "test_train.h5", val_path[] = "test_val.h5";
static const char check_path[] = "test_train_check.h5";
static const char previous_path[] = "test_train_check.h5.previous";

enum { SAMPLES = 45, BATCH = 8, BATCHES = 6 /* of an epoch: the last one is filled up */ };

static const float initial_scale = 0.05f; /* of the activations, before training */

/* One run: what is given, and what came out. */
typedef struct job {
    ed_graph *graph, *teacher;
    ed_dataset *train, *val;
    ed_qat_options opts;
    ed_qat_result result;
} job;

static job start(void)
{
    job j = { .graph = toy_quantized(toy_mlp, initial_scale),
              .teacher = graph_from(toy_mlp, true) };
    j.train = toy_open(train_path, j.graph, BATCH);
    j.opts = (ed_qat_options){
        .epochs = 4, .loss = "labels", .learning_rate = 0.05, .seed = 1, .schedule = "cosine"
    };
    return j;
}

static void finish(job *j)
{
    ed_dataset_close(j->train);
    ed_dataset_close(j->val);
    ed_graph_free(j->graph);
    ed_graph_free(j->teacher);
}

static int train(job *j)
{
    if (!j->opts.device)
        j->opts.device = getenv("ED_TEST_DEVICE");
    return ed_qat_train(&j->result, j->graph, j->teacher, j->train, j->val, &j->opts);
}

static void train_well(job *j)
{
    if (train(j) != ED_OK)
        fail_msg("%s", ed_error_last());
}

static double accuracy_of(const ed_graph *graph, const char *path)
{
    ed_dataset *data = toy_open(path, graph, 7);
    ed_eval_result r;
    if (ed_evaluate(&r, &graph, 1, data, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_dataset_close(data);
    return r.top1;
}

static float scale_of(const ed_graph *graph, const char *input)
{
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (!graph->nodes[i].dead && strcmp(graph->nodes[i].op_type, "FakeQuantize") == 0 &&
            strcmp(graph->values[graph->nodes[i].in[0]].name, input) == 0)
            return *(const float *)ed_node_constant(graph, &graph->nodes[i], 1)->data;
    fail_msg("nothing quantizes %s", input);
    return 0;
}

static bool same_constant(const ed_graph *a, const ed_graph *b, const char *name)
{
    const ed_tensor *x = ed_graph_constant(a, name), *y = ed_graph_constant(b, name);
    return memcmp(x->data, y->data, x->nbytes) == 0;
}

/* ---- learning ---- */

typedef struct seen {
    double first, last;
    int64_t steps, epochs, stop_at;
    double val_accuracy[16];
} seen;

static int watch(void *ctx, const ed_qat_report *r)
{
    seen *s = ctx;
    if (r->epoch_end) {
        s->first = r->epoch == 0 ? r->loss : s->first;
        s->last = r->loss;
        s->val_accuracy[r->epoch] = r->val_accuracy;
        s->epochs++;
    } else {
        s->steps++;
        assert_int_equal(r->step, s->steps);
        assert_int_equal(r->steps, r->epochs * BATCHES);
        assert_true(r->learning_rate > 0);
    }
    return s->stop_at && r->step >= s->stop_at;
}

static void test_learns(void **unused)
{
    (void)unused;
    static const char *const losses[] = { "labels", "distill", "both" };
    static const char *const optimizers[] = { "sgd", "adamw" };
    for (size_t i = 0; i < 6; i++) {
        job j = start();
        seen s = { 0 };
        j.opts.loss = losses[i / 2];
        j.opts.optimizer = optimizers[i % 2];
        j.opts.learning_rate = i < 2 ? 0.05 : 0.005; /* the teacher is close at the start */
        j.opts.report = watch;
        j.opts.report_ctx = &s;
        j.opts.epochs = 8;
        train_well(&j);
        assert_int_equal(s.epochs, 8);
        assert_int_equal(s.steps, 8 * BATCHES);
        assert_int_equal(j.result.steps, s.steps);
        assert_int_equal(j.result.best_epoch, ED_QAT_NOT_VALIDATED);
        assert_true(j.result.loss == s.last);
        if (i < 2) { /* labels: from chance to nearly all */
            assert_true(s.last < 0.5 * s.first);
            assert_true(accuracy_of(j.graph, train_path) > 85);
        } else {
            assert_true(s.last < s.first);
        }
        assert_int_equal(ed_graph_verify(j.graph), ED_OK);
        finish(&j);
    }
}

static void test_scales(void **unused)
{
    (void)unused;
    static const char *const names[] = { "frozen", "ema", "lsq" };
    for (size_t i = 0; i < 3; i++) {
        job j = start();
        j.opts.scales = names[i];
        train_well(&j);
        assert_int_equal(scale_of(j.graph, "x") != initial_scale, i > 0);
        assert_true(scale_of(j.graph, "r") > 0);
        if (i == 1) /* towards the largest |x| / 127 */
            assert_true(scale_of(j.graph, "x") < initial_scale && scale_of(j.graph, "x") > 0.013f);
        finish(&j);
    }
    for (size_t i = 0; i < 2; i++) {
        job j = start();
        j.opts.weight_scales = i ? "lsq" : "absmax";
        train_well(&j);
        const ed_tensor *w = ed_graph_constant(j.graph, "w1");
        float most = 0;
        for (int k = 0; k < TOY_FEATURES; k++)
            most = fmaxf(most, fabsf(((const float *)w->data)[k]));
        bool absmax = scale_of(j.graph, "w1") == (float)((double)most / 127);
        assert_int_equal(absmax, i == 0);
        finish(&j);
    }
}

static void test_freeze(void **unused)
{
    (void)unused;
    job j = start(), k = start();
    const char *freeze[] = { "w1", "b*" };
    j.opts.freeze = freeze;
    j.opts.freeze_count = 2;
    train_well(&j);
    assert_true(same_constant(j.graph, k.graph, "w1"));
    assert_true(same_constant(j.graph, k.graph, "b1"));
    assert_true(same_constant(j.graph, k.graph, "b2"));
    assert_false(same_constant(j.graph, k.graph, "w2"));
    finish(&j);
    finish(&k);
}

/* Two steps of 8 are one of 16, but for the order of sums. */
static void test_accumulate(void **unused)
{
    (void)unused;
    job a = start(), b = start();
    const char *const names[] = { "w1", "b1", "w2", "b2" };
    ed_dataset_close(b.train);
    b.train = toy_open(train_path, b.graph, 2 * BATCH);
    a.opts.accumulate = 2;
    a.opts.epochs = b.opts.epochs = 2;
    a.opts.clip = b.opts.clip = 0.5;
    train_well(&a);
    train_well(&b);
    assert_int_equal(a.result.steps, 12);
    assert_int_equal(b.result.steps, 6);
    for (size_t i = 0; i < ED_LENGTH(names); i++) {
        const ed_tensor *x = ed_graph_constant(a.graph, names[i]);
        const ed_tensor *y = ed_graph_constant(b.graph, names[i]);
        for (int64_t k = 0; k < x->numel; k++)
            assert_true(fabsf(((const float *)x->data)[k] - ((const float *)y->data)[k]) < 2e-4f);
    }
    finish(&a);
    finish(&b);
}

/* ---- validation ---- */

static void test_best_epoch(void **unused)
{
    (void)unused;
    job j = start();
    seen s = { 0 };
    j.opts.report = watch;
    j.opts.report_ctx = &s;
    j.opts.epochs = 8;
    j.opts.schedule = "constant";
    j.opts.learning_rate = 0.3; /* too fast: it goes up and down */
    j.val = toy_open(val_path, j.graph, 10);
    train_well(&j);
    assert_in_range(j.result.best_epoch + 1, 0, 8);
    for (int i = 0; i < 8; i++)
        assert_true(s.val_accuracy[i] <= j.result.val_accuracy);
    if (j.result.best_epoch != ED_QAT_START)
        assert_true(j.result.val_accuracy == s.val_accuracy[j.result.best_epoch]);
    /* the graph that was given back is the one that was measured */
    assert_true(fabs(accuracy_of(j.graph, val_path) - j.result.val_accuracy) < 1e-9);
    finish(&j);
}

static void test_patience(void **unused)
{
    (void)unused;
    job j = start();
    seen s = { 0 };
    j.opts.report = watch;
    j.opts.report_ctx = &s;
    j.opts.epochs = 12;
    j.opts.patience = 2;
    j.opts.learning_rate = 1e-12; /* nothing gets better after the first epoch */
    j.val = toy_open(val_path, j.graph, 10);
    train_well(&j);
    assert_int_equal(s.epochs, j.result.best_epoch + 3);
    assert_true(s.epochs < 12);
    assert_false(j.result.interrupted);
    finish(&j);
}

/* ---- stops ---- */

static void test_nonfinite(void **unused)
{
    (void)unused;
    job j = start();
    j.opts.learning_rate = 1e6;
    j.opts.schedule = "constant";
    j.opts.epochs = 50;
    assert_int_equal(train(&j), ED_ENONFINITE);
    assert_says("step ");
    finish(&j);
}

static void test_interrupted(void **unused)
{
    (void)unused;
    job j = start();
    seen s = { .stop_at = 4 };
    uint64_t before = toy_hash(j.graph);
    j.opts.report = watch;
    j.opts.report_ctx = &s;
    train_well(&j);
    assert_true(j.result.interrupted);
    /* a device has the next step under way */
    assert_int_equal(j.result.steps, getenv("ED_TEST_DEVICE") ? 5 : 4);
    assert_true(toy_hash(j.graph) != before);
    finish(&j);
}

/* A run that is stopped after `at` steps and goes on is the straight run. */
static uint64_t run_to_end(const ed_qat_options *opts, bool with_val, int64_t at)
{
    uint64_t hash = 0;
    for (int part = at ? 0 : 1; part < 2; part++) {
        job j = start();
        seen s = { .stop_at = part ? 0 : at };
        j.opts = *opts;
        j.opts.report = part ? NULL : watch;
        j.opts.report_ctx = &s;
        j.opts.checkpoint = part ? NULL : check_path;
        j.opts.resume = part && at ? check_path : NULL;
        if (with_val)
            j.val = toy_open(val_path, j.graph, 10);
        train_well(&j);
        assert_int_equal(j.result.interrupted, part == 0);
        hash = toy_hash(j.graph);
        if (part)
            assert_int_equal(j.result.steps, 2 * BATCHES);
        finish(&j);
    }
    return hash;
}

static void test_resume(void **unused)
{
    (void)unused;
    static const ed_qat_options cases[] = {
        { .epochs = 2, .loss = "labels", .learning_rate = 0.05, .seed = 3 },
        { .epochs = 2,
          .loss = "both",
          .learning_rate = 0.01,
          .optimizer = "adamw",
          .seed = 4,
          .accumulate = 4,
          .scales = "lsq",
          .weight_scales = "lsq",
          .clip = 1 },
        { .epochs = 2,
          .loss = "distill",
          .learning_rate = 0.05,
          .scales = "ema",
          .seed = 5,
          .warmup = 0.2 },
    };
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        uint64_t straight = run_to_end(&cases[i], i == 1, 0);
        for (int64_t at = 1; at <= 2 * BATCHES; at++)
            assert_true(run_to_end(&cases[i], i == 1, at) == straight);
    }
    unlink(check_path);
    unlink(previous_path);
}

/* Checkpoints of other runs are refused with what differs. */
static void test_mismatch(void **unused)
{
    (void)unused;
    job j = start();
    j.opts.checkpoint = check_path;
    train_well(&j);
    finish(&j);

    j = start();
    j.opts.resume = check_path;
    j.opts.learning_rate = 0.01;
    assert_int_equal(train(&j), ED_EMISMATCH);
    assert_says("learning_rate 0.05");
    finish(&j);

    j = start();
    j.opts.resume = check_path;
    ((float *)ed_graph_constant(j.graph, "b2")->data)[1] = 7;
    assert_int_equal(train(&j), ED_EMISMATCH);
    assert_says("model");
    finish(&j);

    j = start(); /* a finished run: nothing is left to do, and the graph is its result */
    j.opts.resume = check_path;
    train_well(&j);
    assert_int_equal(j.result.steps, 4 * BATCHES);
    finish(&j);
    unlink(check_path);
    unlink(previous_path);
}

/* ---- options ---- */

static void test_options(void **unused)
{
    (void)unused;
    static const struct {
        ed_qat_options opts;
        const char *says;
    } cases[] = {
        { { .epochs = -1 }, "epochs" },         { { .batch = 9 }, "batch" },
        { { .accumulate = -2 }, "accumulate" }, { { .learning_rate = NAN }, "learning_rate" },
        { { .momentum = 1.5 }, "momentum" },    { { .optimizer = "x" }, "optimizer" },
        { { .schedule = "x" }, "schedule" },    { { .loss = "x" }, "loss" },
        { { .scales = "x" }, "scales" },        { { .augment = "x" }, "x" },
        { { .memory = 1 }, "--batch" },
    };
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        job j = start();
        j.opts = cases[i].opts;
        assert_int_equal(train(&j), ED_EINVAL);
        assert_says(cases[i].says);
        finish(&j);
    }
    job j = start();
    ed_graph_free(j.teacher);
    j.teacher = NULL;
    j.opts.loss = NULL;
    assert_int_equal(train(&j), ED_EINVAL);
    assert_says("teacher");
    finish(&j);
    ed_qat_options standard = { .weight_decay = ED_QAT_NONE };
    ed_qat_defaults(&standard);
    assert_string_equal(standard.optimizer, "sgd");
    assert_string_equal(standard.loss, "distill");
    assert_int_equal(standard.batch, 128);
    assert_true(standard.weight_decay == ED_QAT_NONE && standard.momentum == 0.9);
}

static int write_data(void **unused)
{
    (void)unused;
    toy_write(train_path, SAMPLES, 11);
    toy_write(val_path, 24, 12);
    return 0;
}

static int remove_data(void **unused)
{
    (void)unused;
    unlink(train_path);
    unlink(val_path);
    unlink("test_train_check.h5.previous");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),     cmocka_unit_test(test_scales),
        cmocka_unit_test(test_freeze),     cmocka_unit_test(test_accumulate),
        cmocka_unit_test(test_best_epoch), cmocka_unit_test(test_patience),
        cmocka_unit_test(test_nonfinite),  cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_resume),     cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, write_data, remove_data);
}
