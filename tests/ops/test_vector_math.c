/* The functions of ops/vector_math.h against double precision over their whole range. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/vector_math.h"

#include <float.h>

enum { STEPS = 400000 };

/* The i-th of STEPS numbers from low to high. */
static float at(double low, double high, int i)
{
    return (float)(low + (high - low) * i / STEPS);
}

static void test_erf(void **state)
{
    (void)state;
    double absolute = 0, relative = 0;
    for (int i = 0; i <= STEPS; i++) {
        float x = at(0, 8, i), got;
        double complement = (double)ed_vector_erfc(x, &got), want = erf((double)x);
        absolute = fmax(absolute, fabs((double)got - want));
        absolute = fmax(absolute, fabs(complement - erfc((double)x)));
        if (x > 0)
            relative = fmax(relative, fabs((double)got - want) / want);
    }
    assert_true(absolute < 5e-7);
    assert_true(relative < 6e-7);
}

static void test_erf_edges(void **state)
{
    (void)state;
    float got;
    assert_true(ed_vector_erfc(0.0f, &got) == 1.0f && got == 0.0f);
    assert_true(ed_vector_erfc(INFINITY, &got) == 0.0f && got == 1.0f);
    assert_true(ed_vector_erfc(FLT_MAX, &got) == 0.0f && got == 1.0f);
    assert_true(isnan(ed_vector_erfc(NAN, &got)) && isnan(got));
    ed_vector_erfc(1e-40f, &got); /* subnormal */
    assert_true(got > 1.1e-40f && got < 1.2e-40f);
}

static void test_exp(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = 0; i <= STEPS; i++) {
        float x = at(-87.3, 88.7, i);
        double want = exp((double)x);
        worst = fmax(worst, fabs((double)ed_vector_exp(x) - want) / want);
    }
    assert_true(worst < 2.4e-7); /* two units in the last place */
}

static void test_exp_edges(void **state)
{
    (void)state;
    assert_true(ed_vector_exp(0.0f) == 1.0f);
    assert_true(ed_vector_exp(-0.0f) == 1.0f);
    assert_true(ed_vector_exp(INFINITY) == INFINITY);
    assert_true(ed_vector_exp(-INFINITY) == 0.0f);
    assert_true(isnan(ed_vector_exp(NAN)));
    assert_true(isfinite(ed_vector_exp(88.72283f)));
    assert_true(ed_vector_exp(88.7229f) == INFINITY);
    assert_true(ed_vector_exp(-104.5f) == 0.0f);
    for (float x = -103.0f; x < -87.0f; x += 0.25f) /* subnormal results: to one unit of 2^-149 */
        assert_true(fabs((double)ed_vector_exp(x) - exp((double)x)) <= 0x1p-149 + 2.4e-7 * exp(x));
}

static void test_tanh(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = 0; i <= STEPS; i++) {
        float x = at(-10, 10, i);
        double want = tanh((double)x);
        if (x != 0.0f)
            worst = fmax(worst, fabs(((double)ed_vector_tanh(x) - want) / want));
    }
    assert_true(worst < 2e-7);
    assert_true(ed_vector_tanh(INFINITY) == 1.0f && ed_vector_tanh(-FLT_MAX) == -1.0f);
    assert_true(ed_vector_tanh(1e-40f) == 1e-40f && isnan(ed_vector_tanh(NAN)));
    assert_true(ed_vector_tanh(-0.0f) == 0.0f && signbit(ed_vector_tanh(-0.0f)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_erf),  cmocka_unit_test(test_erf_edges),
        cmocka_unit_test(test_exp),  cmocka_unit_test(test_exp_edges),
        cmocka_unit_test(test_tanh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
