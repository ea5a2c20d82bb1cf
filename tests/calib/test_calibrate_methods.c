/* ed_calibrate_methods(): several methods from one pass, each as if it had been alone; what is
 * kept of the observations. */
#include "samples.h"

#include "base/mem.h"

#include <string.h>

static const char path[] = "test_calibrate_methods.h5";
enum { SAMPLES = 11, WIDTH = 12, MAX_METHODS = 16 };

static const char network[] = "graph t opset 17\n"
                              "input x: f32[N, 12]\n"
                              "const v: f32[12, 9] = random(1)\n"
                              "const w: f32[9, 4] = random(2)\n"
                              "a = MatMul(x, v)\nr = Relu(a)\ny = MatMul(r, w)\noutput y\n";

typedef struct job {
    ed_graph *graph;
    ed_plan *plan;
    ed_dataset *data;
} job;

static job start(float factor)
{
    static float x[SAMPLES * WIDTH];
    fill_numbers(x, SAMPLES * WIDTH, 3);
    for (int i = 0; i < SAMPLES * WIDTH; i++)
        x[i] *= factor * (float)(1 + i % 7);
    write_samples(path, x, 2, (int64_t[]){ SAMPLES, WIDTH }, NULL);
    job j = { .graph = graph_from(network, true) };
    if (ed_plan_build(&j.plan, j.graph, ED_PHASE_QUANTIZE, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    j.data = open_samples(path, j.graph, 4, false);
    return j;
}

static void finish(job *j)
{
    ed_dataset_close(j->data);
    ed_plan_free(j->plan);
    ed_graph_free(j->graph);
}

static size_t all_methods(const char **names)
{
    size_t n = 0;
    for (; ed_method_at(n); n++)
        names[n] = ed_method_at(n)->name;
    assert_in_range(n, 2, MAX_METHODS);
    return n;
}

static void assert_same(const ed_ranges *got, const ed_ranges *want)
{
    assert_string_equal(got->method, want->method);
    assert_int_equal(got->samples, want->samples);
    assert_int_equal(ed_ranges_count(got), ed_ranges_count(want));
    for (size_t i = 0; i < ed_ranges_count(want); i++) {
        const ed_range_row *a = ed_ranges_at(got, i), *b = ed_ranges_at(want, i);
        assert_string_equal(a->value, b->value);
        assert_string_equal(a->method, b->method);
        assert_true(a->amax == b->amax && a->scale == b->scale && a->min == b->min);
        assert_true(a->total == b->total && a->floored == b->floored);
    }
}

static void compare_with_single_passes(float factor)
{
    const char *names[MAX_METHODS];
    ed_ranges *ranges[MAX_METHODS];
    size_t n = all_methods(names);
    job j = start(factor);
    assert_int_equal(ed_calibrate_methods(ranges, j.graph, j.plan, j.data, NULL, names, n), ED_OK);
    for (size_t i = 0; i < n; i++) {
        ed_ranges *alone = NULL;
        const ed_calib_options opts = { .method = names[i] };
        assert_int_equal(ed_calibrate(&alone, j.graph, j.plan, j.data, &opts), ED_OK);
        assert_same(ranges[i], alone);
        assert_null(ed_ranges_seen(ranges[i], 0)); /* nobody asked for them */
        ed_ranges_free(alone);
        ed_ranges_free(ranges[i]);
    }
    finish(&j);
}

static void each_method_answers_as_if_it_were_alone(void **state)
{
    (void)state;
    compare_with_single_passes(1);
    compare_with_single_passes(1e-20F);
    compare_with_single_passes(1e20F);
    compare_with_single_passes(0);
}

static int count_calls(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)what;
    (void)total;
    *(int *)ctx += done > 0;
    return 0;
}

static void the_data_is_read_once(void **state)
{
    const char *names[MAX_METHODS];
    ed_ranges *ranges[MAX_METHODS];
    ed_calib_times times[MAX_METHODS];
    size_t n = all_methods(names);
    int calls = 0;
    const ed_calib_options opts = { .progress = count_calls,
                                    .progress_ctx = &calls,
                                    .times = times };
    (void)state;
    job j = start(1);
    assert_int_equal(ed_calibrate_methods(ranges, j.graph, j.plan, j.data, &opts, names, n), ED_OK);
    assert_int_equal(calls, (SAMPLES + 3) / 4);
    for (size_t i = 0; i < n; i++) {
        assert_true(times[i].pass == times[0].pass && times[i].compile == times[0].compile);
        assert_true(times[i].search >= 0);
        ed_ranges_free(ranges[i]);
    }
    finish(&j);
}

static void observations_are_kept_on_request(void **state)
{
    static const char *const names[] = { "minmax", NULL, "minmax" };
    ed_ranges *ranges[3];
    const ed_calib_options opts = { .keep_observations = true, .bins = 256 };
    (void)state;
    job j = start(1);
    assert_int_equal(ed_calibrate_methods(ranges, j.graph, j.plan, j.data, &opts, names, 3), ED_OK);
    assert_string_equal(ranges[1]->method, ed_method_at(0)->name);
    for (size_t i = 0; i < ed_ranges_count(ranges[0]); i++) {
        const ed_range_row *row = ed_ranges_at(ranges[0], i);
        const ed_observation *seen = ed_ranges_seen(ranges[0], i);
        uint64_t total = 0;
        assert_non_null(seen);
        assert_int_equal(seen->bins, 256);
        for (size_t k = 0; k < seen->bins; k++)
            total += seen->counts[k];
        assert_int_equal(total, row->total);
        assert_int_equal(seen->total, row->total);
        assert_true(seen->min == row->min && seen->max == row->max && seen->range > row->amax);
        /* the methods are pure: asked again, they answer the same */
        const ed_method_params params = { .bits = 8 };
        assert_true(ed_method_at(0)->range(seen, &params).amax == ed_ranges_at(ranges[1], i)->amax);
    }
    assert_null(ed_ranges_seen(ranges[0], ed_ranges_count(ranges[0])));
    assert_null(ed_ranges_seen(ranges[1], 0)); /* the first one has them */
    for (size_t i = 0; i < 3; i++)
        ed_ranges_free(ranges[i]);
    finish(&j);
}

static void an_unknown_method_is_refused_before_the_pass(void **state)
{
    static const char *const names[] = { "mse", "guess" };
    ed_ranges *ranges[2] = { (ed_ranges *)&path, (ed_ranges *)&path };
    int calls = 0;
    const ed_calib_options opts = { .progress = count_calls, .progress_ctx = &calls };
    (void)state;
    job j = start(1);
    assert_int_equal(ed_calibrate_methods(ranges, j.graph, j.plan, j.data, &opts, names, 2),
                     ED_ENOTFOUND);
    assert_says("'guess'");
    assert_true(!ranges[0] && !ranges[1] && !calls);
    finish(&j);
}

static void a_failing_allocation_leaves_nothing(void **state)
{
    static const char *const names[] = { "minmax", "mse" };
    const ed_calib_options opts = { .keep_observations = true };
    ed_ranges *ranges[2];
    int rc = ED_ENOMEM;
    long n = 0;
    (void)state;
    job j = start(1);
    while (rc != ED_OK && n < 5000) {
        ed_alloc_fail_at(++n);
        rc = ed_calibrate_methods(ranges, j.graph, j.plan, j.data, &opts, names, 2);
        ed_alloc_fail_at(0);
        assert_true(rc == ED_OK || rc == ED_ENOMEM);
        assert_true((ranges[0] != NULL) == (rc == ED_OK) && (ranges[1] != NULL) == (rc == ED_OK));
    }
    assert_int_equal(rc, ED_OK);
    ed_ranges_free(ranges[0]);
    ed_ranges_free(ranges[1]);
    finish(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_method_answers_as_if_it_were_alone),
        cmocka_unit_test(the_data_is_read_once),
        cmocka_unit_test(observations_are_kept_on_request),
        cmocka_unit_test(an_unknown_method_is_refused_before_the_pass),
        cmocka_unit_test(a_failing_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
