/* The learning rate at every step, and clipping. */
#include "qat/clip.h"
#include "qat/schedule.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

static double rate(const char *name, double warmup, int64_t step, int64_t steps)
{
    const ed_schedule_row *row = NULL;
    assert_int_equal(ed_schedule_find(&row, name), ED_OK);
    return ed_schedule_rate(row, 2.0, warmup, step, steps);
}

static void expect(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-12 * fabs(want));
}

static void begin_middle_and_end(void **state)
{
    (void)state;
    expect(rate("cosine", 0, 0, 101), 2.0);
    expect(rate("cosine", 0, 50, 101), 2.0 * 0.505);
    expect(rate("cosine", 0, 100, 101), 0.02);
    expect(rate(NULL, 0, 100, 101), 0.02);
    expect(rate("step", 0, 0, 101), 2.0);
    expect(rate("step", 0, 49, 101), 2.0);
    expect(rate("step", 0, 50, 101), 0.2);
    expect(rate("step", 0, 74, 101), 0.2);
    expect(rate("step", 0, 75, 101), 0.02);
    expect(rate("step", 0, 100, 101), 0.02);
    for (int64_t i = 0; i < 10; i++)
        expect(rate("constant", 0, i, 10), 2.0);
}

static void warmup_rises_in_equal_steps(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 10; i++)
        expect(rate("cosine", 0.1, i, 100), 2.0 * (double)(i + 1) / 10);
    expect(rate("cosine", 0.1, 10, 100), 2.0);
    expect(rate("cosine", 0.1, 99, 100), 0.02);
    for (int64_t i = 0; i < 4; i++)
        expect(rate("step", 1.0, i, 4), 2.0 * (double)(i + 1) / 4);
}

static void few_steps(void **state)
{
    (void)state;
    for (size_t i = 0; ed_schedule_at(i); i++) {
        const char *name = ed_schedule_at(i)->name;
        expect(rate(name, 0, 0, 1), 2.0);
        expect(rate(name, 0.5, 0, 1), 2.0);
        expect(rate(name, 1, 0, 1), 2.0);
        expect(rate(name, 0, 0, 2), 2.0);
    }
    expect(rate("cosine", 0, 1, 2), 0.02);
}

static void unknown_names(void **state)
{
    (void)state;
    const ed_schedule_row *row;
    assert_int_equal(ed_schedule_find(&row, "linear"), ED_EINVAL);
    assert_string_equal(ed_error_last(),
                        "schedule: 'linear' is not known; choose one of cosine, step, constant");
}

/* ---- clipping ---- */

static void sums_of_any_size(void **state)
{
    (void)state;
    enum { MOST = 600000 };
    const int64_t sizes[] = { 0, 1, 15, 16, 17, 4096, 4097, 262144, 262145, MOST };
    float *x = malloc(MOST * sizeof *x);
    for (int i = 0; i < MOST; i++)
        x[i] = sinf((float)i);
    for (size_t s = 0; s < ED_LENGTH(sizes); s++) {
        double want = 0.0, got[3];
        for (int64_t i = 0; i < sizes[s]; i++)
            want += (double)x[i] * (double)x[i];
        for (int t = 0; t < 3; t++) {
            ed_threads_set(t == 2 ? 7 : t + 1);
            got[t] = ed_sum_of_squares(x, sizes[s]);
        }
        assert_true(fabs(got[0] - want) <= 1e-12 * want);
        assert_true(got[0] == got[1] && got[0] == got[2]);
    }
    ed_threads_set(0);
    free(x);
}

static void sums_of_odd_numbers(void **state)
{
    (void)state;
    float x[20] = { 0 };
    assert_true(ed_sum_of_squares(x, 20) == 0.0);
    x[19] = 3e38f;
    assert_true(isfinite(ed_sum_of_squares(x, 20))); /* a float's square is no float */
    x[18] = NAN;
    assert_true(isnan(ed_sum_of_squares(x, 20)));
    x[18] = -INFINITY;
    assert_true(isinf(ed_sum_of_squares(x, 20)));
}

static void the_norm_is_at_most_the_limit(void **state)
{
    (void)state;
    expect(ed_clip_factor(25.0, 1.0), 0.2);
    expect(ed_clip_factor(25.0, 5.0), 1.0);
    expect(ed_clip_factor(25.0, 6.0), 1.0);
    expect(ed_clip_factor(25.0, 0.0), 1.0);
    expect(ed_clip_factor(0.0, 1.0), 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_middle_and_end),
        cmocka_unit_test(warmup_rises_in_equal_steps),
        cmocka_unit_test(few_steps),
        cmocka_unit_test(unknown_names),
        cmocka_unit_test(sums_of_any_size),
        cmocka_unit_test(sums_of_odd_numbers),
        cmocka_unit_test(the_norm_is_at_most_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
