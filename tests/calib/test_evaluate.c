/* ed_evaluate(): figures worked out by hand, groups, refusals. */
#include "samples.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char path[] = "test_evaluate.h5";

enum { CLASSES = 6 };

/* The data are the logits: the first model hands them through. */
static const char identity[] = "graph t opset 17\ninput x: f32[N, 6]\ny = Identity(x)\noutput y\n";
static const char raised[] = "graph t opset 17\ninput x: f32[N, 6]\n"
                             "const c: f32[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 2.0}\n"
                             "y = Add(x, c)\noutput y\n";

static const float logits[5][CLASSES] = {
    { 9, 1, 2, 3, 4, 5 }, { 1, 2, 3, 4, 5, 6 }, { 0 }, { 0 }, { 0 },
};
static const int64_t labels[5] = { 0, 0, 5, 0, 4 };

static void write_logits(const float *x, int64_t n, const int64_t *classes)
{
    write_samples(path, x, 2, (int64_t[]){ n, CLASSES }, classes);
}

/* Evaluate models of `count` texts; returns the code. */
static int evaluate(ed_eval_result *results, const char *const *texts, size_t count, int64_t batch,
                    const ed_eval_options *opts)
{
    ed_graph *graphs[4] = { NULL };
    for (size_t i = 0; i < count; i++)
        graphs[i] = graph_from(texts[i], false);
    ed_dataset *data = open_samples(path, graphs[0], batch, true);
    int rc = ed_evaluate(results, (const ed_graph *const *)graphs, count, data, opts);
    ed_dataset_close(data);
    for (size_t i = 0; i < count; i++)
        ed_graph_free(graphs[i]);
    return rc;
}

static void assert_near(double got, double want)
{
    if (!(got == want || fabs(got - want) <= 1e-9 * fabs(want)))
        fail_msg("%.12g, expected %.12g", got, want);
}

/* ---- scores ---- */
static void scores_are_those_worked_out_by_hand(void **state)
{
    const char *const texts[] = { identity, raised, identity };
    ed_eval_result r[3];
    (void)state;
    write_logits(logits[0], 5, labels);
    for (int64_t batch = 1; batch <= 6; batch++) {
        assert_int_equal(evaluate(r, texts, 3, batch, NULL), ED_OK);
        for (int m = 0; m < 3; m += 2) { /* the first, and its equal */
            assert_int_equal(r[m].samples, 5);
            /* of equal scores the lower class is first: row 2 misses, 3 hits, 4 is fifth */
            assert_near(r[m].top1, 40);
            assert_near(r[m].top5, 60);
            assert_near(r[m].agreement, 100);
            assert_true(isinf(r[m].sqnr_db) && r[m].sqnr_db > 0);
            assert_true(r[m].max_rel == 0.0);
        }
        assert_near(r[1].top1, 40); /* rows 0 and 2 */
        assert_near(r[1].top5, 60); /* rows 0, 2, 3: row 4 has five before it now */
        assert_near(r[1].agreement, 40);
        assert_near(r[1].sqnr_db, 10 * log10((136.0 + 91.0) / (5 * 4.0)));
        assert_near(r[1].max_rel, 2.0 / 9.0);
    }
}

static void without_labels_there_is_no_accuracy(void **state)
{
    const char *const texts[] = { identity, raised };
    ed_eval_result r[2];
    (void)state;
    write_logits(logits[0], 5, NULL);
    assert_int_equal(evaluate(r, texts, 2, 2, NULL), ED_OK);
    for (int m = 0; m < 2; m++)
        assert_true(r[m].top1 == -1 && r[m].top5 == -1);
    assert_near(r[1].agreement, 40);
}

static void samples_without_a_label_are_left_out_of_accuracy(void **state)
{
    const char *const texts[] = { identity };
    ed_eval_result r;
    (void)state;
    write_logits(logits[0], 5, (int64_t[]){ 0, -100, 5, 0, 4 });
    for (int64_t batch = 1; batch <= 6; batch++) {
        assert_int_equal(evaluate(&r, texts, 1, batch, NULL), ED_OK);
        assert_int_equal(r.samples, 5);
        assert_near(r.top1, 50);
        assert_near(r.top5, 75);
        assert_near(r.agreement, 100);
    }
    write_logits(logits[0], 2, (int64_t[]){ -100, -100 });
    assert_int_equal(evaluate(&r, texts, 1, 2, NULL), ED_OK);
    assert_true(r.top1 == -1 && r.top5 == -1);
    write_logits(logits[0], 5, (int64_t[]){ 0, 0, -1, 0, 4 });
    assert_int_equal(evaluate(&r, texts, 1, 2, NULL), ED_EFORMAT);
    assert_non_null(strstr(ed_error_last(), "label -1 of sample 2"));
}

static void rows_with_nan_have_no_class(void **state)
{
    static const float x[3][CLASSES] = { { 1, 2, 3, 4, 5, NAN },
                                         { 1, 2, 3, 4, INFINITY, 5 },
                                         { 1, 2, 3, 4, 5, 6 } };
    const char *const texts[] = { identity, identity };
    ed_eval_result r[2];
    (void)state;
    write_logits(x[0], 3, (int64_t[]){ 4, 4, 5 });
    assert_int_equal(evaluate(r, texts, 2, 2, NULL), ED_OK);
    for (int m = 0; m < 2; m++) {
        assert_near(r[m].top1, 200.0 / 3);
        assert_near(r[m].top5, 200.0 / 3);
        assert_near(r[m].agreement, 100);
        assert_true(isinf(r[m].sqnr_db) && r[m].sqnr_db > 0); /* equal, NaN and all */
        assert_true(r[m].max_rel == 0.0);
    }
}

static void nan_in_the_second_model_alone_is_the_worst_there_is(void **state)
{
    const char *const texts[] = {
        "graph t opset 17\ninput x: f32[N, 6]\ny = Identity(x) @A_0\noutput y\n",
        "graph t opset 17\ninput x: f32[N, 6]\ny = Div(x, x) @A_0\noutput y\n"
    };
    ed_eval_result r[2];
    ed_eval_group *groups = NULL;
    size_t count = 0;
    ed_eval_options opts = { .groups = &groups, .group_count = &count };
    (void)state;
    write_logits(logits[0], 5, labels); /* the zeros become NaN */
    assert_int_equal(evaluate(r, texts, 2, 2, &opts), ED_OK);
    assert_true(isinf(r[1].sqnr_db) && r[1].sqnr_db < 0);
    assert_true(isinf(r[1].max_rel));
    assert_near(r[1].top1, 40); /* rows 0 and 1: all ones, the first class; the others: NaN */
    assert_near(r[1].agreement, 20);
    assert_int_equal(count, 1);
    assert_true(isinf(groups[0].sqnr_db) && groups[0].sqnr_db < 0);
    free(groups);
}

/* ---- groups ---- */
static void groups_are_sorted_worst_first(void **state)
{
    /* a: equal; b: off by 0.5; c = 2 a against 3 (a + 0.5); d is a group of the first model only */
    const char *const texts[] = {
        "graph t opset 17\ninput x: f32[N, 6]\nconst z: f32[1] = {0.0}\n"
        "const k: f32[1] = {2.0}\na = Identity(x) @A_0\nb = Add(a, z) @B_0\nd = Relu(b) @D_0\n"
        "c = Mul(b, k) @C_0\noutput c\noutput d\n",
        "graph t opset 17\ninput x: f32[N, 6]\nconst z: f32[1] = {0.5}\n"
        "const k: f32[1] = {3.0}\na = Identity(x) @A_0\nb = Add(a, z) @B_0\nd = Relu(b)\n"
        "c = Mul(b, k) @C_0\noutput c\noutput d\n"
    };
    static const char *const names[] = { "C_0 c", "B_0 b", "A_0 a" };
    static const size_t indices[] = { 3, 1, 0 }; /* D_0 is between */
    double a2 = 0, c2 = 0, want[3];
    ed_eval_result r[2];
    ed_eval_group *groups = NULL;
    size_t count = 0;
    ed_eval_options opts = { .groups = &groups, .group_count = &count };
    (void)state;
    for (int i = 0; i < 5 * CLASSES; i++) {
        double a = logits[i / CLASSES][i % CLASSES];
        a2 += a * a;
        c2 += (a + 1.5) * (a + 1.5);
    }
    want[0] = 10 * log10(4 * a2 / c2);
    want[1] = 10 * log10(a2 / (5 * CLASSES * 0.25));
    want[2] = INFINITY;
    write_logits(logits[0], 5, NULL);
    for (int64_t batch = 1; batch <= 5; batch++) {
        assert_int_equal(evaluate(r, texts, 2, batch, &opts), ED_OK);
        assert_int_equal(count, 3);
        for (int i = 0; i < 3; i++) {
            assert_string_equal(groups[i].name, names[i]);
            assert_int_equal(groups[i].group, indices[i]);
            assert_near(groups[i].sqnr_db, want[i]);
        }
        assert_near(r[1].sqnr_db, groups[0].sqnr_db);
        free(groups);
        groups = NULL;
    }
}

/* Two executors whose kernels like different layouts: a fused one with 20 channels, which blocks
 * of 8 or 16 pad, and one whose neighbour is a plain reference kernel. */
static void groups_are_compared_whatever_their_layouts(void **state)
{
    static float x[3 * 4 * 36];
    const char *const texts[] = {
        "graph t opset 17\ninput x: f32[N, 4, 6, 6]\nconst w: f32[20, 4, 3, 3] = random(1)\n"
        "c = Conv(x, w) @A_0\ny = Relu(c) @A_0\noutput y\n",
        "graph t opset 17\ninput x: f32[N, 4, 6, 6]\nconst w: f32[20, 4, 3, 3] = random(1)\n"
        "const e: f32[1, 1, 1, 4] = fill(0.001)\n"
        "c = Conv(x, w)\nr = Relu(c)\ny = Add(r, e) @A_0\noutput y\n"
    };
    ed_eval_result r[2];
    ed_eval_group *groups = NULL;
    size_t count = 0;
    ed_eval_options opts = { .groups = &groups, .group_count = &count };
    (void)state;
    fill_numbers(x, 3 * 4 * 36, 5);
    write_samples(path, x, 4, (int64_t[]){ 3, 4, 6, 6 }, NULL);
    assert_int_equal(evaluate(r, texts, 2, 2, &opts), ED_OK);
    assert_int_equal(count, 1);
    assert_true(fabs(groups[0].sqnr_db - r[1].sqnr_db) < 1e-3);
    assert_true(groups[0].sqnr_db > 50);
    free(groups);
}

/* ---- refusals ---- */
static void labels_out_of_range_are_named(void **state)
{
    const char *const texts[] = { identity };
    ed_eval_result r[1];
    (void)state;
    write_logits(logits[0], 5, (int64_t[]){ 0, 0, 0, 6, 0 });
    assert_int_equal(evaluate(r, texts, 1, 2, NULL), ED_EFORMAT);
    assert_says("test_evaluate.h5: label 6 of sample 3");
    write_logits(logits[0], 5, (int64_t[]){ 0, -1, 0, 0, 0 });
    assert_int_equal(evaluate(r, texts, 1, 2, NULL), ED_EFORMAT);
    assert_says("label -1 of sample 1");
}

static void outputs_that_cannot_be_compared_are_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "graph t opset 17\ninput x: f32[N, 6]\ny = ReduceMean(x) {axes=[1]}\noutput y\n",
          "model 2's first output is [2, 1], the first model's is [2, 6]" },
        { "graph t opset 17\ninput x: f32[N, 6]\nconst s: i64[1] = {-1}\ny = Reshape(x, s)\n"
          "output y\n",
          "model 2's first output is float32[12]" },
        { "graph t opset 17\ninput x: f32[N, 6]\nconst k: i64[2, 6] = fill(1)\n"
          "k2 = Identity(k)\noutput k2\n",
          "model 2's first output is int64[2, 6]" },
    };
    (void)state;
    write_logits(logits[0], 4, NULL);
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        const char *const texts[] = { identity, cases[i].text };
        ed_eval_result r[2];
        assert_int_equal(evaluate(r, texts, 2, 2, NULL), ED_ESHAPE);
        assert_says(cases[i].part);
    }
}

static void groups_of_other_sizes_are_refused(void **state)
{
    const char *const texts[] = {
        "graph t opset 17\ninput x: f32[N, 6]\na = Identity(x) @A_0\ny = Relu(a)\noutput y\n",
        "graph t opset 17\ninput x: f32[N, 6]\na = ReduceMean(x) {axes=[1]} @A_0\n"
        "y = Add(x, a)\noutput y\n"
    };
    ed_eval_result r[2];
    ed_eval_group *groups = NULL;
    size_t count = 0;
    ed_eval_options opts = { .groups = &groups, .group_count = &count };
    (void)state;
    write_logits(logits[0], 5, NULL);
    assert_int_equal(evaluate(r, texts, 2, 2, &opts), ED_ESHAPE);
    assert_says("'a' has 12 numbers in the first model and 2 in the second");
    assert_null(groups);
}

static int stop_at_four(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)what;
    assert_int_equal(total, 5);
    *(int64_t *)ctx = done;
    return done == 4;
}

static void progress_can_stop(void **state)
{
    const char *const texts[] = { identity };
    ed_eval_result r[1];
    int64_t done = -1;
    ed_eval_options opts = { .progress = stop_at_four, .progress_ctx = &done };
    (void)state;
    write_logits(logits[0], 5, labels);
    assert_int_equal(evaluate(r, texts, 1, 2, &opts), ED_EINTR);
    assert_int_equal(done, 4);
    assert_says("stopped after 4 of 5 samples");
}

static void a_failing_allocation_is_reported_and_releases_everything(void **state)
{
    ed_graph *graphs[2] = { graph_from(identity, true), graph_from(raised, true) };
    ed_eval_result r[2];
    ed_eval_group *groups = NULL;
    size_t count = 0;
    ed_eval_options opts = { .groups = &groups, .group_count = &count };
    int rc = ED_ENOMEM;
    long n = 0;
    (void)state;
    write_logits(logits[0], 5, labels);
    ed_dataset *data = open_samples(path, graphs[0], 2, false);
    while (rc != ED_OK && n < 2000) {
        ed_alloc_fail_at(++n);
        rc = ed_evaluate(r, (const ed_graph *const *)graphs, 2, data, &opts);
        ed_alloc_fail_at(0);
        if (rc != ED_OK) {
            assert_int_equal(rc, ED_ENOMEM);
            assert_null(groups);
        }
    }
    assert_int_equal(rc, ED_OK);
    assert_true(n > 40);
    free(groups);
    ed_dataset_close(data);
    ed_graph_free(graphs[0]);
    ed_graph_free(graphs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_worked_out_by_hand),
        cmocka_unit_test(without_labels_there_is_no_accuracy),
        cmocka_unit_test(samples_without_a_label_are_left_out_of_accuracy),
        cmocka_unit_test(rows_with_nan_have_no_class),
        cmocka_unit_test(nan_in_the_second_model_alone_is_the_worst_there_is),
        cmocka_unit_test(groups_are_sorted_worst_first),
        cmocka_unit_test(groups_are_compared_whatever_their_layouts),
        cmocka_unit_test(labels_out_of_range_are_named),
        cmocka_unit_test(outputs_that_cannot_be_compared_are_refused),
        cmocka_unit_test(groups_of_other_sizes_are_refused),
        cmocka_unit_test(progress_can_stop),
        cmocka_unit_test(a_failing_allocation_is_reported_and_releases_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
