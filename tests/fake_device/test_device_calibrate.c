/* Calibration on a device: the ranges of the CPU, from floats and from bytes, whole and ragged. */
#include "samples.h"

#include "../data/h5write.h"

#include <math.h>
#include <string.h>

enum { SAMPLES = 13, PICTURE = 3 * 8 * 8 };
static const char path[] = "test_device_calibrate.h5";
static const char network[] = "graph t opset 17\n"
                              "input x: f32[N, 3, 8, 8]\n"
                              "const w1: f32[3, 3, 3, 3] = random(2)\n"
                              "const w2: f32[20, 3, 3, 3] = random(3)\n"
                              "r = Relu(x)\n"
                              "c = Conv(r, w1) {pads=[1, 1, 1, 1]}\n"
                              "s = Relu(c)\n"
                              "y = Conv(s, w2) {pads=[1, 1, 1, 1]}\n"
                              "output y\n";

static void write_floats(void)
{
    static float x[SAMPLES * PICTURE];
    fill_numbers(x, SAMPLES * PICTURE, 7);
    for (int i = 0; i < SAMPLES; i++)
        for (int k = 0; k < PICTURE; k++)
            x[i * PICTURE + k] *= (float)(1 + i * 5 % SAMPLES);
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

static ed_ranges *calibrate(const char *device, const char *method, int64_t batch)
{
    ed_graph *g = graph_from(network, true);
    ed_plan *plan = NULL;
    ed_ranges *ranges = NULL;
    ed_calib_options opts = { .device = device, .method = method };
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL), ED_OK);
    ed_dataset *data = open_samples(path, g, batch, false);
    for (int i = 0; i < 2; i++) { /* the dataset serves again */
        ed_ranges_free(ranges);
        if (ed_calibrate(&ranges, g, plan, data, &opts) != ED_OK)
            fail_msg("%s", ed_error_last());
    }
    ed_dataset_close(data);
    ed_plan_free(plan);
    ed_graph_free(g);
    return ranges;
}

static void compare(void)
{
    static const int64_t batches[] = { 1, 4, 13, 64 };
    const ed_method *method;
    for (size_t m = 0; (method = ed_method_at(m)) != NULL; m++) {
        for (size_t b = 0; b < ED_LENGTH(batches); b++) {
            if (m && batches[b] != 4)
                continue; /* the batches do not depend on the method */
            ed_ranges *want = calibrate("cpu", method->name, batches[b]);
            ed_ranges *got = calibrate("cuda", method->name, batches[b]);
            assert_int_equal(ed_ranges_count(got), ed_ranges_count(want));
            assert_true(ed_ranges_count(want) >= 2);
            for (size_t i = 0; i < ed_ranges_count(want); i++) {
                const ed_range_row *a = ed_ranges_at(got, i), *w = ed_ranges_at(want, i);
                bool given = strcmp(w->value, "r") == 0 || strcmp(w->value, "x") == 0;
                assert_string_equal(a->value, w->value);
                assert_int_equal(a->total, w->total);
                assert_true(fabs(a->max - w->max) <= (given ? 0.0 : 1e-4 * fabs(w->max)));
                assert_true(fabs(a->amax - w->amax) <= (given ? 0.0 : 0.02 * w->amax));
            }
            ed_ranges_free(want);
            ed_ranges_free(got);
        }
    }
}

static void floats_give_the_ranges_of_the_cpu(void **state)
{
    (void)state;
    write_floats();
    compare();
}

static void bytes_are_decoded_there(void **state)
{
    (void)state;
    write_bytes();
    compare();
}

static void one_pass_serves_all_methods(void **state)
{
    static const char *const names[] = { "entropy", "mse", "minmax", "entropy" };
    ed_graph *g = graph_from(network, true);
    ed_plan *plan = NULL;
    ed_ranges *ranges[ED_LENGTH(names)];
    ed_calib_options opts = { .device = "cuda", .keep_observations = true };
    (void)state;
    write_bytes();
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL), ED_OK);
    ed_dataset *data = open_samples(path, g, 4, false);
    if (ed_calibrate_methods(ranges, g, plan, data, &opts, names, ED_LENGTH(names)) != ED_OK)
        fail_msg("%s", ed_error_last());
    for (size_t m = 0; m < ED_LENGTH(names); m++) {
        ed_ranges *alone = calibrate("cuda", names[m], 4);
        for (size_t i = 0; i < ed_ranges_count(alone); i++) {
            const ed_range_row *got = ed_ranges_at(ranges[m], i), *want = ed_ranges_at(alone, i);
            const ed_observation *seen = ed_ranges_seen(ranges[m], i);
            assert_string_equal(got->method, names[m]);
            assert_true(got->amax == want->amax && got->total == want->total);
            assert_true(m ? !seen : seen->total == want->total && seen->max == want->max);
        }
        ed_ranges_free(alone);
        ed_ranges_free(ranges[m]);
    }
    ed_dataset_close(data);
    ed_plan_free(plan);
    ed_graph_free(g);
}

static int stop_after_one(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)ctx;
    (void)what;
    return done > 0 && done < total;
}

static void it_stops_on_request(void **state)
{
    ed_graph *g = graph_from(network, true);
    ed_plan *plan = NULL;
    ed_ranges *ranges = NULL;
    ed_calib_options opts = { .device = "cuda", .progress = stop_after_one };
    (void)state;
    write_bytes();
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL), ED_OK);
    ed_dataset *data = open_samples(path, g, 4, false);
    assert_int_equal(ed_calibrate(&ranges, g, plan, data, &opts), ED_EINTR);
    assert_null(ranges);
    opts.progress = NULL; /* and serves again */
    assert_int_equal(ed_calibrate(&ranges, g, plan, data, &opts), ED_OK);
    ed_ranges_free(ranges);
    ed_dataset_close(data);
    ed_plan_free(plan);
    ed_graph_free(g);
}

static void any_allocation_may_fail(void **state)
{
    ed_graph *g = graph_from(network, true);
    ed_plan *plan = NULL;
    ed_ranges *ranges = NULL;
    ed_calib_options opts = { .device = "cuda" };
    int rc = ED_ENOMEM;
    (void)state;
    write_bytes();
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL), ED_OK);
    ed_dataset *data = open_samples(path, g, 4, false);
    for (long n = 1; rc == ED_ENOMEM && n < 2000; n += 1 + n / 16) {
        ed_alloc_fail_at(n);
        rc = ed_calibrate(&ranges, g, plan, data, &opts);
        ed_alloc_fail_at(0);
        if (rc != ED_OK)
            assert_null(ranges);
    }
    if (rc != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_ranges_free(ranges);
    ed_dataset_close(data);
    ed_plan_free(plan);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_give_the_ranges_of_the_cpu),
        cmocka_unit_test(bytes_are_decoded_there),
        cmocka_unit_test(one_pass_serves_all_methods),
        cmocka_unit_test(it_stops_on_request),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
