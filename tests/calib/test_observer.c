/* The observer: golden histograms for any split into batches, and the edges of floats. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "calib/calib.h"
#include "calib/npz.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned seed = 1;

static unsigned draw(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)(seed >> 8) * below >> 24);
}

static ed_observer *observer(size_t bins, double ema)
{
    ed_observer *o;
    assert_int_equal(ed_observer_new(&o, bins, ema), ED_OK);
    return o;
}

static void add(ed_observer *o, const float *data, int64_t n)
{
    assert_int_equal(ed_observer_add(o, data, n, 0), ED_OK);
}

static void assert_same(const ed_observer *a, const ed_observer *b)
{
    ed_observation x = ed_observer_get(a), y = ed_observer_get(b);
    assert_true(x.bins == y.bins && x.range == y.range && x.min == y.min && x.max == y.max);
    assert_true(x.total == y.total && x.nonfinite == y.nonfinite);
    assert_memory_equal(x.counts, y.counts, x.bins * sizeof *x.counts);
}

/* What the definition says, one float after another; R is known beforehand. */
static void check_counts(const ed_observer *o, const float *data, int64_t n)
{
    ed_observation seen = ed_observer_get(o);
    uint64_t *counts = calloc(seen.bins, sizeof *counts), total = 0;
    double min = INFINITY, max = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(data[i]))
            continue;
        double x = fabs((double)data[i]);
        counts[x == 0.0 ? 0 : (size_t)(x * (double)seen.bins / seen.range)]++;
        min = fmin(min, (double)data[i]);
        max = fmax(max, (double)data[i]);
        total++;
    }
    double most = total ? fmax(fabs(min), fabs(max)) : 0.0;
    assert_true(seen.total == total && seen.nonfinite == (uint64_t)n - total);
    if (total)
        assert_true(seen.min == min && seen.max == max);
    assert_true(most < seen.range ? most >= seen.range / 2 : seen.range == 0.0);
    assert_memory_equal(seen.counts, counts, seen.bins * sizeof *counts);
    free(counts);
}

/* ---- goldens ---- */
static npz samples;

static npz_array member(const char *array, const char *what)
{
    char name[128];
    npz_array a;
    snprintf(name, sizeof name, "%s%s", array, what);
    if (npz_find(&a, &samples, name) != 0)
        fail_msg("no %s in calibration_samples.npz", name);
    return a;
}

static double scalar(const char *array, const char *what)
{
    npz_array a = member(array, what);
    float f;
    double d;
    if (strcmp(a.descr, "<f4") == 0) {
        memcpy(&f, a.data, sizeof f);
        return (double)f;
    }
    assert_string_equal(a.descr, "<f8");
    memcpy(&d, a.data, sizeof d);
    return d;
}

static void check_golden(const ed_observer *o, const char *name)
{
    ed_observation seen = ed_observer_get(o);
    assert_true(seen.range == scalar(name, "/range_strict"));
    assert_true(seen.min == scalar(name, "/min") && seen.max == scalar(name, "/max"));
    npz_array hist = member(name, "/hist_strict");
    assert_int_equal(hist.numel, seen.bins);
    assert_memory_equal(hist.data, seen.counts, seen.bins * sizeof *seen.counts);
}

static void add_batches(ed_observer *o, const float *data, int64_t sample, const int64_t *offsets,
                        int n)
{
    for (int b = 0; b + 1 < n; b++)
        add(o, data + offsets[b] * sample, (offsets[b + 1] - offsets[b]) * sample);
}

/* Pieces of any size, in a shuffled order. */
static void add_shuffled(ed_observer *o, const float *data, int64_t n)
{
    struct {
        int64_t begin, n;
    } piece[64];
    int pieces = 0;
    for (int64_t at = 0; at < n; pieces++) {
        int64_t left = n - at, size = 1 + draw((unsigned)(n / 20));
        piece[pieces].begin = at;
        piece[pieces].n = pieces == 63 || size > left ? left : size;
        at += piece[pieces].n;
    }
    for (int i = pieces; i-- > 0;) {
        int j = (int)draw((unsigned)i + 1);
        add(o, data + piece[j].begin, piece[j].n);
        piece[j] = piece[i];
    }
}

static void check_array(const char *name)
{
    npz_array a = member(name, ""), offsets = member(name, "/batch_offsets");
    int64_t edge[5], sample = a.numel / a.dim[0];
    assert_int_equal(offsets.numel, 5);
    memcpy(edge, offsets.data, sizeof edge);
    float *data = malloc((size_t)a.numel * sizeof *data);
    memcpy(data, a.data, (size_t)a.numel * sizeof *data);

    static const struct {
        double c;
        const char *min, *max;
    } ema[] = { { 0.0, "/ema_min_m0.01", "/ema_max_m0.01" },
                { 0.1, "/ema_min_m0.1", "/ema_max_m0.1" } };
    for (int m = 0; m < 2; m++) {
        ed_observer *o = observer(0, ema[m].c);
        add_batches(o, data, sample, edge, 5);
        check_golden(o, name);
        ed_observation seen = ed_observer_get(o);
        assert_true(fabs(seen.ema_min - scalar(name, ema[m].min)) <= 1e-12 * fabs(seen.ema_min));
        assert_true(fabs(seen.ema_max - scalar(name, ema[m].max)) <= 1e-12 * fabs(seen.ema_max));
        ed_observer_free(o);
    }
    for (int trial = 0; trial < 20; trial++) {
        ed_observer *o = observer(0, 0.0);
        add_shuffled(o, data, a.numel);
        check_golden(o, name);
        ed_observer_free(o);
    }
    free(data);
}

static void test_golden_samples(void **state)
{
    (void)state;
    static const char *const arrays[] = { "gauss",
                                          "relu",
                                          "growing",
                                          "zero_first_batch",
                                          "power_of_two_max",
                                          "gelu_tokens_outlier_last" };
    if (npz_open(&samples, ED_SHARED_DIR "/referee/calibration_samples.npz") != 0) {
        print_message("no " ED_SHARED_DIR "/referee/calibration_samples.npz: skipped\n");
        skip();
    }
    for (size_t i = 0; i < ED_LENGTH(arrays); i++)
        check_array(arrays[i]);
    free(samples.data);
}

/* ---- any split, any number of threads ---- */
static float random_float(unsigned kind)
{
    float x = ((float)draw(1u << 24) / (float)(1u << 23) - 1.0f);
    switch (kind) {
    case 0: /* around a power of two, where the range decides */
        return ldexpf(1.0f, (int)draw(9) - 4) * (draw(2) ? 1.0f : -1.0f);
    case 1:
        return ldexpf(x, (int)draw(250) - 125);
    case 2:
        return draw(2) ? x : 0.0f;
    case 3:
        return draw(50) ? x : draw(2) ? (float)INFINITY : (float)NAN;
    default:
        return x;
    }
}

static void test_any_split_gives_the_same_counts(void **state)
{
    (void)state;
    enum { N = 100000 };
    float *data = malloc(N * sizeof *data);
    static const size_t bins[] = { 256, 2048, 65536 };
    int threads = ed_threads_get();
    for (unsigned kind = 0; kind < 5; kind++) {
        for (int i = 0; i < N; i++)
            data[i] = random_float(kind);
        for (size_t b = 0; b < ED_LENGTH(bins); b++) {
            ed_threads_set(1);
            ed_observer *whole = observer(bins[b], 0.0), *split = observer(bins[b], 0.0);
            add(whole, data, N);
            check_counts(whole, data, N);
            add_shuffled(split, data, N);
            assert_same(whole, split);
            ed_observer_free(split);
            for (int t = 2; t <= 4; t += 2) {
                ed_threads_set(t);
                split = observer(bins[b], 0.0);
                add(split, data, N / 3);
                add(split, data + N / 3, N - N / 3);
                assert_same(whole, split);
                ed_observer_free(split);
            }
            ed_threads_set(threads);
            ed_observer_free(whole);
        }
    }
    free(data);
}

/* ---- edges ---- */
static void test_lengths_around_the_chunks(void **state)
{
    (void)state;
    static const int lengths[] = { 0, 1, 2, 3, 5, 17, 1023, 1024, 1025, 16383, 16385, 40001 };
    float *data = malloc(40001 * sizeof *data);
    for (int i = 0; i < 40001; i++)
        data[i] = random_float(4);
    for (size_t i = 0; i < ED_LENGTH(lengths); i++) {
        ed_observer *o = observer(0, 0.0);
        add(o, data, lengths[i]);
        check_counts(o, data, lengths[i]);
        ed_observer_free(o);
    }
    free(data);
}

static void test_the_range_is_strictly_greater(void **state)
{
    (void)state;
    static const struct {
        float x;
        double range;
        size_t bin;
    } cases[] = {
        { 1.0f, 2.0, 1024 },
        { -1.0f, 2.0, 1024 },
        { 0x1.fffffep-1f, 1.0, 2047 },
        { 3.5f, 4.0, 1792 },
        { FLT_MAX, 0x1p128, 2047 },
        { -FLT_MIN, 0x1p-125, 1024 },
        { 0x1p-149f, 0x1p-148, 1024 },
        { 0x1.8p-140f, 0x1p-139, 1536 },
        { 0x1.004p-120f, 0x1p-119, 1025 },
    };
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        ed_observer *o = observer(0, 0.0);
        add(o, &cases[i].x, 1);
        ed_observation seen = ed_observer_get(o);
        assert_true(seen.range == cases[i].range);
        assert_true(seen.min == (double)cases[i].x && seen.max == (double)cases[i].x);
        assert_int_equal(seen.counts[cases[i].bin], 1);
        assert_int_equal(seen.total, 1);
        ed_observer_free(o);
    }
}

static void test_everything_in_one_batch_of_extremes(void **state)
{
    (void)state;
    static const float data[] = { 0x1p-149f, -0.0f, FLT_MAX, -FLT_MAX, 1.0f, 0.0f };
    ed_observer *o = observer(0, 0.0), *p = observer(0, 0.0);
    add(o, data, ED_LENGTH(data));
    for (size_t i = 0; i < ED_LENGTH(data); i++)
        add(p, data + i, 1);
    check_counts(o, data, ED_LENGTH(data));
    assert_same(o, p);
    ed_observer_free(o);
    ed_observer_free(p);
}

static void test_zeros_first_keep_the_range_open(void **state)
{
    (void)state;
    static const float zeros[5] = { 0.0f, -0.0f }, later[2] = { 0.3f, -0.7f };
    ed_observer *o = observer(256, 0.5);
    add(o, zeros, 5);
    ed_observation seen = ed_observer_get(o);
    assert_true(seen.range == 0.0 && seen.total == 5 && seen.counts[0] == 5);
    assert_true(seen.min == 0.0 && seen.max == 0.0 && !signbit(seen.min));
    add(o, later, 2);
    seen = ed_observer_get(o);
    assert_true(seen.range == 1.0 && seen.total == 7 && seen.counts[0] == 5);
    assert_int_equal(seen.counts[76] + seen.counts[179], 2);
    assert_true(seen.ema_max == 0.5 * (double)0.3f && seen.ema_min == 0.5 * (double)-0.7f);
    ed_observer_free(o);
}

static void test_nonfinite_values_are_counted_apart(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, -INFINITY, -NAN },
                       mixed[] = { NAN, 2.0f, 3.0f, INFINITY };
    ed_observer *o = observer(0, 0.1);
    add(o, bad, 4);
    ed_observation seen = ed_observer_get(o);
    assert_true(seen.total == 0 && seen.nonfinite == 4 && seen.range == 0.0);
    assert_true(seen.min == 0.0 && seen.max == 0.0);
    add(o, mixed, 4);
    seen = ed_observer_get(o);
    assert_true(seen.total == 2 && seen.nonfinite == 6 && seen.min == 2.0 && seen.max == 3.0);
    assert_true(seen.ema_min == 2.0 && seen.ema_max == 3.0); /* the first batch with a value */
    ed_observer_free(o);
}

static void test_padding_does_not_count(void **state)
{
    (void)state;
    static const float padded[] = { 2.0f, 0.0f, 3.0f, 0.0f, 0.0f }, values[] = { 2.0f, 3.0f };
    static const float zero[] = { 2.0f, 3.0f, 0.0f }, only[] = { 0.0f, 0.0f };
    ed_observer *o = observer(0, 0.0), *p = observer(0, 0.0);
    assert_int_equal(ed_observer_add(o, padded, 5, 3), ED_OK);
    add(p, values, 2);
    assert_same(o, p);
    assert_int_equal(ed_observer_add(o, padded, 5, 2), ED_OK); /* one zero is real */
    add(p, zero, 3);
    assert_same(o, p);
    assert_int_equal(ed_observer_add(o, only, 2, 2), ED_OK);
    assert_same(o, p);
    assert_int_equal(ed_observer_add(o, padded, 5, 4), ED_EINTERNAL);
    ed_observer_free(o);
    ed_observer_free(p);
}

static void test_arguments(void **state)
{
    (void)state;
    static const size_t bad[] = { 1, 128, 257, 3000, 131072, SIZE_MAX };
    ed_observer *o;
    for (size_t i = 0; i < ED_LENGTH(bad); i++)
        assert_int_equal(ed_observer_new(&o, bad[i], 0.0), ED_EINVAL);
    assert_int_equal(ed_observer_new(&o, 0, -0.1), ED_EINVAL);
    assert_int_equal(ed_observer_new(&o, 0, 1.5), ED_EINVAL);
    assert_int_equal(ed_observer_new(&o, 0, NAN), ED_EINVAL);
    assert_null(o);
    ed_observer_free(NULL);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    static const float data[3] = { 1.0f, -2.0f, 0.0f };
    ed_observer *o = NULL;
    for (long n = 1; n <= 2; n++) {
        ed_alloc_fail_at(n);
        assert_int_equal(ed_observer_new(&o, 0, 0.0), ED_ENOMEM);
        assert_null(o);
    }
    ed_alloc_fail_at(0);
    o = observer(0, 0.0);
    for (long n = 1; n <= 2; n++) {
        ed_alloc_fail_at(n);
        assert_int_equal(ed_observer_add(o, data, 3, 0), ED_ENOMEM);
        ed_alloc_fail_at(0);
        assert_int_equal(ed_observer_get(o).total, 0);
    }
    add(o, data, 3);
    check_counts(o, data, 3);
    ed_observer_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_samples),
        cmocka_unit_test(test_any_split_gives_the_same_counts),
        cmocka_unit_test(test_lengths_around_the_chunks),
        cmocka_unit_test(test_the_range_is_strictly_greater),
        cmocka_unit_test(test_everything_in_one_batch_of_extremes),
        cmocka_unit_test(test_zeros_first_keep_the_range_open),
        cmocka_unit_test(test_nonfinite_values_are_counted_apart),
        cmocka_unit_test(test_padding_does_not_count),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
