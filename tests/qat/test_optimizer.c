/* Optimizers against PyTorch's formulas in double, step by step, and against numbers by hand. */
#include "qat/optimizer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

enum { N = 67 }; /* no multiple of a vector */

static const ed_optimizer_row *find(const char *name)
{
    const ed_optimizer_row *row = NULL;
    assert_int_equal(ed_optimizer_find(&row, name), ED_OK);
    return row;
}

static float value(int i, int t)
{
    return sinf((float)(i * 13 + t * 7)) * (float)((i % 5) + 1);
}

static void expect_near(const float *got, const double *want, double tolerance)
{
    for (int i = 0; i < N; i++)
        if (fabs((double)got[i] - want[i]) > tolerance * (1.0 + fabs(want[i])))
            fail_msg("element %d is %.9g, not %.9g", i, (double)got[i], want[i]);
}

static void sgd_is_pytorchs(void **state)
{
    (void)state;
    const double settings[][3] = { /* rate, momentum, weight decay */
                                   { 0.1, 0.9, 1e-2 },
                                   { 0.1, 0.0, 0.0 },
                                   { 1e-3, 0.9, 0.0 },
                                   { 0.5, 0.0, 0.1 }
    };
    for (size_t s = 0; s < ED_LENGTH(settings); s++) {
        double rate = settings[s][0], m = settings[s][1], decay = settings[s][2];
        float w[N], g[N], buf[N] = { 0 }, *slots[] = { buf };
        double want[N], want_buf[N];
        for (int i = 0; i < N; i++)
            want[i] = (double)(w[i] = value(i, 99));
        for (int t = 1; t <= 20; t++) {
            ed_update u = { .learning_rate = rate, .momentum = m, .weight_decay = decay, .t = t };
            for (int i = 0; i < N; i++) {
                g[i] = value(i, t);
                double d = (double)g[i] + decay * want[i];
                want_buf[i] = t == 1 ? d : m * want_buf[i] + d;
                want[i] -= rate * (m > 0 ? d + m * want_buf[i] : d);
            }
            find("sgd")->update(w, g, slots, N, &u);
            expect_near(w, want, 1e-5);
        }
    }
}

static void sgd_by_hand(void **state)
{
    (void)state;
    float w[] = { 1.0f }, g[] = { 2.0f }, buf[] = { 0.0f }, *slots[] = { buf };
    ed_update u = { .learning_rate = 0.25, .momentum = 0.5, .t = 1 };
    find(NULL)->update(w, g, slots, 1, &u); /* buf 2, step 2 + 1 = 3 */
    assert_true(w[0] == 0.25f && buf[0] == 2.0f);
    u.t = 2;
    find("sgd")->update(w, g, slots, 1, &u); /* buf 3, step 2 + 1.5 = 3.5 */
    assert_true(w[0] == -0.625f && buf[0] == 3.0f);
}

static void adamw_is_pytorchs(void **state)
{
    (void)state;
    const double decays[] = { 0.0, 0.05 };
    for (size_t s = 0; s < ED_LENGTH(decays); s++) {
        const double rate = 0.01, b1 = 0.9, b2 = 0.999, eps = 1e-8;
        float w[N], g[N], mean[N] = { 0 }, square[N] = { 0 }, *slots[] = { mean, square };
        double want[N], m[N] = { 0 }, v[N] = { 0 };
        for (int i = 0; i < N; i++)
            want[i] = (double)(w[i] = value(i, 99));
        for (int t = 1; t <= 50; t++) {
            ed_update u = { rate, 0, decays[s], b1, b2, eps, t };
            for (int i = 0; i < N; i++) {
                g[i] = i == 3 ? 0.0f : value(i, t);
                want[i] *= 1 - rate * decays[s];
                m[i] = b1 * m[i] + (1 - b1) * (double)g[i];
                v[i] = b2 * v[i] + (1 - b2) * (double)g[i] * (double)g[i];
                want[i] -= rate / (1 - pow(b1, t)) * m[i] / (sqrt(v[i] / (1 - pow(b2, t))) + eps);
            }
            find("adamw")->update(w, g, slots, N, &u);
            expect_near(w, want, 1e-5);
        }
    }
}

/* The first step of Adam is the rate, whatever the gradient's size. */
static void adamw_at_the_edges(void **state)
{
    (void)state;
    float w[4] = { 0 }, g[] = { 1e-3f, -1e10f, 0.0f, 1e-30f }, m[4] = { 0 }, v[4] = { 0 };
    float *slots[] = { m, v };
    ed_update u = { 0.5, 0, 0, 0.9, 0.999, 1e-8, 1 };
    find("adamw")->update(w, g, slots, 4, &u);
    assert_float_equal(w[0], -0.5f, 1e-4f);
    assert_float_equal(w[1], 0.5f, 1e-4f);
    assert_true(w[2] == 0.0f && fabsf(w[3]) < 1e-6f);
}

static void any_split_gives_the_same_bits(void **state)
{
    (void)state;
    for (size_t r = 0; ed_optimizer_at(r); r++) {
        const ed_optimizer_row *row = find(ed_optimizer_at(r)->name);
        float whole[3][N], parts[3][N], g[N];
        assert_in_range(row->slots, 1, ED_OPTIMIZER_SLOTS);
        for (int i = 0; i < N; i++) {
            g[i] = value(i, 1);
            whole[0][i] = parts[0][i] = value(i, 2);
            whole[1][i] = parts[1][i] = value(i, 3);
            whole[2][i] = parts[2][i] = fabsf(value(i, 4));
        }
        ed_update u = { 0.1, 0.9, 0.01, 0.9, 0.999, 1e-8, 3 };
        float *all[] = { whole[1], whole[2] };
        row->update(whole[0], g, all, N, &u);
        for (int i = 0, n; i < N; i += n) {
            n = i % 7 + 1 < N - i ? i % 7 + 1 : N - i;
            float *some[] = { parts[1] + i, parts[2] + i };
            row->update(parts[0] + i, g + i, some, n, &u);
        }
        assert_memory_equal(whole, parts, sizeof whole);
        row->update(whole[0], g, all, 0, &u);
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

static void unknown_names(void **state)
{
    (void)state;
    const ed_optimizer_row *row;
    assert_int_equal(ed_optimizer_find(&row, "rmsprop"), ED_EINVAL);
    assert_string_equal(ed_error_last(),
                        "optimizer: 'rmsprop' is not known; choose one of sgd, adamw");
    assert_int_equal(ed_optimizer_find(&row, ""), ED_EINVAL);
    assert_null(ed_optimizer_at(2));
    assert_string_equal(ed_optimizer_at(0)->name, "sgd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_is_pytorchs),   cmocka_unit_test(sgd_by_hand),
        cmocka_unit_test(adamw_is_pytorchs), cmocka_unit_test(adamw_at_the_edges),
        cmocka_unit_test(unknown_names),     cmocka_unit_test(any_split_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
