/* ed_calibrate() and ed_calibrate_apply(): what is observed, how often, and what is refused. */
#include "samples.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

static const char path[] = "test_calibrate.h5";

enum { SAMPLES = 13, PICTURE = 3 * 8 * 8 };

/* x and its Relu feed convolutions: what is observed of them does not depend on the kernels. r1 is
 * read by a convolution and by the residual Add. */
static const char residual[] = "graph t opset 17\n"
                               "input x: f32[N, 3, 8, 8]\n"
                               "const w0: f32[3, 3, 1, 1] = random(1)\n"
                               "const w1: f32[3, 3, 3, 3] = random(2)\n"
                               "const w2: f32[20, 3, 3, 3] = random(3)\n"
                               "const v: f32[20, 5] = random(4)\n"
                               "r1 = Relu(x)\n"
                               "c1 = Conv(r1, w1) {pads=[1, 1, 1, 1]}\n"
                               "a1 = Add(c1, r1)\n"
                               "r2 = Relu(a1)\n"
                               "c0 = Conv(x, w0)\n"
                               "s = Add(r2, c0)\n"
                               "c2 = Conv(s, w2) {pads=[1, 1, 1, 1]}\n"
                               "p = GlobalAveragePool(c2)\n"
                               "f = Flatten(p)\n"
                               "y = MatMul(f, v)\n"
                               "output y\n";

typedef struct job {
    ed_graph *graph;
    ed_plan *plan;
    ed_dataset *data;
} job;

static job start(const char *text, int64_t batch, bool allow_nonfinite)
{
    job j = { .graph = graph_from(text, true) };
    if (ed_plan_build(&j.plan, j.graph, ED_PHASE_QUANTIZE, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    j.data = open_samples(path, j.graph, batch, allow_nonfinite);
    return j;
}

static void finish(job *j)
{
    ed_dataset_close(j->data);
    ed_plan_free(j->plan);
    ed_graph_free(j->graph);
}

static ed_ranges *calibrate(const job *j, const ed_calib_options *opts)
{
    ed_ranges *ranges = NULL;
    if (ed_calibrate(&ranges, j->graph, j->plan, j->data, opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    return ranges;
}

static void write_pictures(void)
{
    static float x[SAMPLES * PICTURE];
    fill_numbers(x, SAMPLES * PICTURE, 7);
    for (int i = 0; i < SAMPLES; i++) /* the range grows from sample to sample, up and down */
        for (int k = 0; k < PICTURE; k++)
            x[i * PICTURE + k] *= (float)(1 + i * 5 % SAMPLES);
    write_samples(path, x, 4, (int64_t[]){ SAMPLES, 3, 8, 8 }, NULL);
}

/* ---- what is observed ---- */
static void assert_same_row(const ed_range_row *a, const ed_range_row *b, bool bitwise)
{
    double tolerance = bitwise ? 0.0 : 1e-4 * fabs(b->max);
    assert_string_equal(a->value, b->value);
    assert_int_equal(a->total, b->total);
    assert_true(fabs(a->min - b->min) <= tolerance);
    assert_true(fabs(a->max - b->max) <= tolerance);
    /* a bin may change hands behind a kernel of another batch size */
    assert_true(fabs(a->amax - b->amax) <= (bitwise ? 0.0 : 0.02 * b->amax));
}

static void any_batch_size_gives_the_same_ranges(void **state)
{
    static const int64_t batches[] = { 1, 3, 4, 12, 64 };
    const ed_method *method;
    (void)state;
    write_pictures();
    for (size_t m = 0; (method = ed_method_at(m)) != NULL; m++) {
        if (strcmp(method->name, "ema") == 0)
            continue; /* an average over batches, by definition */
        ed_calib_options opts = { .method = method->name };
        job whole = start(residual, SAMPLES, false);
        ed_ranges *want = calibrate(&whole, &opts);
        for (size_t b = 0; b < ED_LENGTH(batches); b++) {
            job j = start(residual, batches[b], false);
            ed_ranges *got = calibrate(&j, &opts);
            assert_int_equal(ed_ranges_count(got), ed_ranges_count(want));
            for (size_t i = 0; i < ed_ranges_count(want); i++) {
                const ed_range_row *row = ed_ranges_at(want, i);
                bool given = strcmp(row->value, "x") == 0 || strcmp(row->value, "r1") == 0;
                assert_same_row(ed_ranges_at(got, i), row, given);
            }
            ed_ranges_free(got);
            finish(&j);
        }
        ed_ranges_free(want);
        finish(&whole);
    }
}

static void every_value_is_observed_once_and_whole(void **state)
{
    static const struct {
        const char *value;
        uint64_t total;
    } want[] = { { "x", SAMPLES * PICTURE },
                 { "r1", SAMPLES * PICTURE }, /* by a convolution and a residual Add */
                 { "s", SAMPLES * PICTURE },
                 { "p", SAMPLES * 20 } };
    (void)state;
    write_pictures();
    job j = start(residual, 4, false);
    ed_ranges *ranges = calibrate(&j, NULL);
    for (size_t i = 0; i < ED_LENGTH(want); i++) {
        size_t rows = 0;
        for (size_t k = 0; k < ed_ranges_count(ranges); k++) {
            const ed_range_row *row = ed_ranges_at(ranges, k);
            if (strcmp(row->value, want[i].value) != 0)
                continue;
            rows++;
            assert_int_equal(row->total, want[i].total);
            assert_int_equal(row->nonfinite, 0);
            assert_true(row->amax > 0 && row->amax < 2 * fmax(-row->min, row->max));
            assert_true(row->scale == ed_scale_of(row->amax, 8, NULL));
            assert_string_equal(row->method, ed_method_at(0)->name);
        }
        if (rows != 1)
            fail_msg("the value '%s' has %zu rows", want[i].value, rows);
    }
    assert_true(ed_ranges_find(ranges, "r1")->min == 0.0);
    assert_int_equal(ranges->samples, SAMPLES);
    assert_string_equal(ranges->data, path);
    assert_true(ranges->model_hash == ed_graph_hash(j.graph));
    ed_ranges_free(ranges);
    finish(&j);
}

/* ---- unusual numbers ---- */
static const char divided[] = "graph t opset 17\ninput x: f32[N, 4]\n"
                              "const v: f32[4, 3] = fill(1)\n"
                              "d = Div(x, x)\ny = MatMul(d, v)\noutput y\n";

static void nan_inside_the_model_is_counted(void **state)
{
    static const float x[3][4] = { { 1, 0, 2, 3 }, { 0, 0, 5, 6 }, { 7, 8, 9, 0 } };
    static const float zeros[3][4];
    ed_ranges *ranges = NULL;
    (void)state;
    write_samples(path, x[0], 2, (int64_t[]){ 3, 4 }, NULL);
    job j = start(divided, 2, false);
    ranges = calibrate(&j, NULL);
    const ed_range_row *row = ed_ranges_find(ranges, "d");
    assert_non_null(row);
    assert_int_equal(row->nonfinite, 4);
    assert_int_equal(row->total, 8);
    assert_true(row->min == 1.0 && row->max == 1.0 && row->amax > 0.99 && row->amax < 1.01);
    assert_int_equal(ranges->nonfinite, 4);
    ed_ranges_free(ranges);
    finish(&j);

    write_samples(path, zeros[0], 2, (int64_t[]){ 3, 4 }, NULL);
    j = start(divided, 2, false);
    assert_int_equal(ed_calibrate(&ranges, j.graph, j.plan, j.data, NULL), ED_ENONFINITE);
    assert_null(ranges);
    assert_says("'d'");
    finish(&j);
}

static void nan_in_the_data_is_counted(void **state)
{
    float x[3][4] = { { 1, NAN, 2, 3 }, { -4, 0, 5, INFINITY }, { 7, 8, -9, 0 } };
    (void)state;
    write_samples(path, x[0], 2, (int64_t[]){ 3, 4 }, NULL);
    job j = start("graph t opset 17\ninput x: f32[N, 4]\nconst v: f32[4, 3] = fill(1)\n"
                  "y = MatMul(x, v)\noutput y\n",
                  2, true);
    ed_ranges *ranges = calibrate(&j, &(ed_calib_options){ .method = "minmax" });
    const ed_range_row *row = ed_ranges_find(ranges, "x");
    assert_int_equal(row->nonfinite, 2);
    assert_int_equal(row->total, 10);
    assert_true(row->min == -9 && row->max == 8 && row->amax == 9);
    ed_ranges_free(ranges);
    finish(&j);
}

static void an_always_zero_value_gets_the_floor_and_a_note(void **state)
{
    float x[2][4];
    (void)state;
    fill_numbers(x[0], 8, 3);
    write_samples(path, x[0], 2, (int64_t[]){ 2, 4 }, NULL);
    job j = start("graph t opset 17\ninput x: f32[N, 4]\nconst z: f32[1] = {0.0}\n"
                  "const v: f32[4, 3] = fill(1)\nm = Mul(x, z)\ny = MatMul(m, v)\noutput y\n",
                  2, false);
    const ed_method *method;
    for (size_t m = 0; (method = ed_method_at(m)) != NULL; m++) {
        ed_ranges *ranges = calibrate(&j, &(ed_calib_options){ .method = method->name });
        const ed_range_row *row = ed_ranges_find(ranges, "m");
        assert_true(row->floored);
        assert_true(row->amax == 0.0);
        assert_true(row->scale > 0.0f && row->scale == (float)(0x1p-24 / 127));
        assert_string_equal(row->note, "only zeros were seen");
        ed_ranges_free(ranges);
    }
    finish(&j);
}

/* ---- applying ---- */
static void ranges_give_the_plan_its_scales(void **state)
{
    ed_graph *quantized = NULL;
    (void)state;
    write_pictures();
    job j = start(residual, 4, false);
    ed_ranges *ranges = calibrate(&j, NULL);
    assert_int_equal(ed_calibrate_apply(j.plan, j.graph, ranges, NULL), ED_OK);
    assert_int_equal(ed_graph_clone(&quantized, j.graph), ED_OK);
    assert_int_equal(ed_plan_apply(j.plan, quantized), ED_OK);
    const ed_tensor *scale = ed_graph_constant(quantized, "r1_scale");
    assert_non_null(scale);
    assert_true(*(const float *)scale->data == ed_ranges_find(ranges, "r1")->scale);
    assert_int_equal(ed_graph_constant(quantized, "w2_scale")->numel, 20);
    assert_int_equal(ed_target_check(quantized, NULL), ED_OK);
    ed_graph_free(quantized);
    ed_ranges_free(ranges);
    finish(&j);
}

static void foreign_or_incomplete_ranges_are_refused(void **state)
{
    char other[sizeof residual];
    (void)state;
    write_pictures();
    memcpy(other, residual, sizeof other);
    memcpy(strstr(other, "random(4)"), "random(5)", 9); /* other weights, all else equal */
    job j = start(residual, 4, false), foreign = start(other, 4, false);
    ed_ranges *ranges = calibrate(&j, NULL);
    assert_int_equal(ed_calibrate_apply(foreign.plan, foreign.graph, ranges, NULL), ED_EMISMATCH);
    assert_says("another model");

    ed_calib_options opts = { .weight_method = "guess" };
    assert_int_equal(ed_calibrate_apply(j.plan, j.graph, ranges, &opts), ED_ENOTFOUND);
    assert_says("'guess'");

    const char *target = ranges->target;
    ranges->target = "other";
    assert_int_equal(ed_calibrate_apply(j.plan, j.graph, ranges, NULL), ED_EMISMATCH);
    assert_says("target other, not tensorrt");
    ranges->target = target;

    ranges->params.bits = 4;
    assert_int_equal(ed_calibrate_apply(j.plan, j.graph, ranges, NULL), ED_EMISMATCH);
    assert_says("signed 4 bits");
    ranges->params.bits = 8;

    char missing[64];
    snprintf(missing, sizeof missing, "'%s'", ranges->rows[ranges->count - 1].value);
    ranges->count--;
    assert_int_equal(ed_calibrate_apply(j.plan, j.graph, ranges, NULL), ED_EMISMATCH);
    assert_says(missing);
    ed_ranges_free(ranges);
    finish(&foreign);
    finish(&j);
}

/* ---- options and stopping ---- */
static void unknown_options_are_refused(void **state)
{
    static const struct {
        ed_calib_options opts;
        int code;
        const char *part;
    } cases[] = {
        { { .method = "guess" }, ED_ENOTFOUND, "'guess'" },
        { { .bins = 1000 }, ED_EINVAL, "1000" },
        { { .params.ema = 1.5 }, ED_EINVAL, "1.5" },
        { { .params.percentile = 101 }, ED_EINVAL, "101" },
        { { .params.percentile = NAN }, ED_EINVAL, "percentile" },
        { { .params.bits = 4 }, ED_EINVAL, "signed 4 bits" },
        { { .params.is_unsigned = true }, ED_EINVAL, "unsigned 8 bits" },
        { { .device = "abacus" }, ED_ENOTFOUND, "'abacus'" },
    };
    ed_ranges *ranges = NULL;
    (void)state;
    write_pictures();
    job j = start(residual, 4, false);
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        assert_int_equal(ed_calibrate(&ranges, j.graph, j.plan, j.data, &cases[i].opts),
                         cases[i].code);
        assert_null(ranges);
        assert_says(cases[i].part);
    }
    finish(&j);
}

typedef struct watch {
    int64_t stop_at, last;
    int calls;
} watch;

static int look(void *ctx, const char *what, int64_t done, int64_t total)
{
    watch *w = ctx;
    assert_string_equal(what, "samples");
    assert_int_equal(total, SAMPLES);
    assert_true(w->calls == 0 ? done == 0 : done > w->last);
    w->last = done;
    w->calls++;
    return done >= w->stop_at;
}

static void progress_is_told_and_can_stop(void **state)
{
    ed_ranges *ranges = NULL;
    (void)state;
    write_pictures();
    job j = start(residual, 4, false);
    for (int64_t at = 0; at <= SAMPLES + 1; at++) {
        watch w = { .stop_at = at };
        ed_calib_options opts = { .progress = look, .progress_ctx = &w };
        int rc = ed_calibrate(&ranges, j.graph, j.plan, j.data, &opts);
        assert_int_equal(rc, at > SAMPLES ? ED_OK : ED_EINTR);
        assert_true((ranges != NULL) == (rc == ED_OK));
        if (rc != ED_OK)
            assert_says("was stopped");
    }
    ed_ranges_free(ranges);
    finish(&j);
}

static void a_failing_allocation_is_reported_and_releases_everything(void **state)
{
    ed_ranges *ranges = NULL;
    int rc = ED_ENOMEM;
    long n = 0;
    (void)state;
    write_pictures();
    job j = start(residual, 8, false);
    while (rc != ED_OK && n < 5000) {
        ed_alloc_fail_at(++n);
        rc = ed_calibrate(&ranges, j.graph, j.plan, j.data, NULL);
        ed_alloc_fail_at(0);
        if (rc == ED_OK)
            break;
        if (rc != ED_ENOMEM)
            fail_msg("allocation %ld: %d, %s", n, rc, ed_error_last());
        assert_null(ranges);
    }
    assert_int_equal(rc, ED_OK);
    assert_true(n > 100);
    ed_ranges_free(ranges);
    finish(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_batch_size_gives_the_same_ranges),
        cmocka_unit_test(every_value_is_observed_once_and_whole),
        cmocka_unit_test(nan_inside_the_model_is_counted),
        cmocka_unit_test(nan_in_the_data_is_counted),
        cmocka_unit_test(an_always_zero_value_gets_the_floor_and_a_note),
        cmocka_unit_test(ranges_give_the_plan_its_scales),
        cmocka_unit_test(foreign_or_incomplete_ranges_are_refused),
        cmocka_unit_test(unknown_options_are_refused),
        cmocka_unit_test(progress_is_told_and_can_stop),
        cmocka_unit_test(a_failing_allocation_is_reported_and_releases_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
