/* The pass over a weight against the same in plain loops. */
#include "weight_sample.h"

#include "ed/calib.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- updates ---- */

/* The weight's own update in plain loops: gradients masked by the scales before it. */
static void plain_step(float *w, float *const *slot, const fixture *f, const char *name,
                       const ed_update *u, float factor)
{
    for (int64_t i = 0; i < f->numel; i++) {
        float q = rintf(f->w.master[i] / f->w.scale[channel_of(&f->w, i)]);
        bool inside = q >= (float)f->w.qmin && q <= (float)f->w.qmax;
        float g = inside || !f->w.quantized ? f->gradient[i] * factor : 0.0f;
        float *at[] = { slot[0] + i, slot[1] + i };
        optimizer(name)->update(&w[i], &g, at, 1, u);
    }
}

static void expect_absmax(const ed_weight *w)
{
    float *amax = floats(w->channels);
    for (int64_t i = 0; i < w->outer * w->channels * w->inner; i++)
        amax[channel_of(w, i)] = fmaxf(amax[channel_of(w, i)], fabsf(w->master[i]));
    for (int64_t c = 0; c < w->channels; c++)
        assert_true(w->scale[c] == ed_scale_of((double)amax[c], 8, NULL));
    free(amax);
}

static void updates_are_plain_loops(void **state)
{
    (void)state;
    for (size_t s = 0; s < 4 * SHAPES; s++) {
        const int64_t *d = shapes[s / 4];
        const char *name = s % 2 ? "adamw" : "sgd";
        fixture f = make(d[0], d[1], d[2], ED_WEIGHTS_ABSMAX);
        f.w.decay = s / 2 % 2;
        float *w = floats(f.numel), *slot[] = { floats(f.numel), floats(f.numel) };
        memcpy(w, f.w.master, (size_t)f.numel * sizeof *w);
        for (int t = 1; t <= 3; t++) {
            ed_update u = { 0.1, 0.9, 0.01, 0.9, 0.999, 1e-8, t }, undecayed = u;
            undecayed.weight_decay = 0.0;
            plain_step(w, slot, &f, name, f.w.decay ? &u : &undecayed, 0.5f);
            step_good(&f, name, &u, 0.0, 0.5f);
            assert_memory_equal(w, f.w.master, (size_t)f.numel * sizeof *w);
            assert_memory_equal(slot[0], f.w.slot[0], (size_t)f.numel * sizeof *w);
            expect_absmax(&f.w);
            expect_quantized(&f.w);
        }
        free(w);
        free(slot[0]);
        free(slot[1]);
        release(&f);
    }
}

/* A weight exactly at a half beyond the last level is outside when it rounds away. */
static void the_gradient_passes_where_the_level_is_inside(void **state)
{
    (void)state;
    const float at[] = { 127.0f,   127.49f, 127.5f,   128.0f, 1e30f, -128.0f,
                         -128.49f, -128.5f, -128.51f, -1e30f, 0.0f };
    const bool passes[] = { 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1 };
    enum { N = 11 };
    float x[N], y[N], g[N], slot[N] = { 0 }, scale = 1.0f;
    memcpy(x, at, sizeof x);
    for (int i = 0; i < N; i++)
        g[i] = 1.0f;
    ed_weight w = { .outer = 1,
                    .channels = 1,
                    .inner = N,
                    .quantized = true,
                    .scaling = ED_WEIGHTS_FIXED,
                    .qmin = -128,
                    .qmax = 127,
                    .master = x,
                    .quantized_out = y,
                    .scale = &scale,
                    .slot = { slot } };
    ed_update u = { .learning_rate = 0.25, .t = 1 };
    assert_int_equal(ed_weight_step(&w, g, optimizer("sgd"), &u, 0, 1), ED_OK);
    for (int i = 0; i < N; i++) {
        assert_true(slot[i] == (passes[i] ? 1.0f : 0.0f));
        assert_true(x[i] == (passes[i] ? at[i] - 0.25f : at[i]));
    }
}

static void without_scales_a_copy(void **state)
{
    (void)state;
    const int64_t sizes[] = { 1, 3, 1024, 1025, 100000 };
    for (size_t s = 0; s < 3 * ED_LENGTH(sizes); s++) {
        fixture f = make(1, 1, sizes[s / 3], ED_WEIGHTS_ABSMAX);
        float *w = floats(f.numel), *slot[] = { floats(f.numel), floats(f.numel) };
        float *copy = f.w.quantized_out;
        memcpy(w, f.w.master, (size_t)f.numel * sizeof *w);
        f.w.quantized = false;
        f.w.quantized_out = s % 3 == 0 ? copy : s % 3 == 1 ? f.w.master : NULL;
        ed_update u = { 0.1, 0.9, 0.01, 0.9, 0.999, 1e-8, 1 };
        plain_step(w, slot, &f, "sgd", &u, 2.0f);
        step_good(&f, "sgd", &u, 0.0, 2.0f);
        assert_memory_equal(w, f.w.master, (size_t)f.numel * sizeof *w);
        if (s % 3 == 0)
            assert_memory_equal(w, copy, (size_t)f.numel * sizeof *w);
        assert_true(f.w.scale[0] == 0.01f);
        f.gradient[f.numel - 1] = INFINITY;
        assert_int_equal(ed_weight_step(&f.w, f.gradient, optimizer("sgd"), &u, 0, 1),
                         ED_ENONFINITE);
        f.w.quantized_out = copy;
        free(w);
        free(slot[0]);
        free(slot[1]);
        release(&f);
    }
    ed_weight empty = { .outer = 1, .channels = 0, .inner = 4, .quantized = true };
    quantize_good(&empty);
}

/* ---- LSQ ---- */

static void learned_scales_follow_their_gradient(void **state)
{
    (void)state;
    for (size_t s = 0; s < 2 * SHAPES; s++) {
        const int64_t *d = shapes[s / 2];
        const char *name = s % 2 ? "adamw" : "sgd";
        fixture f = make(d[0], d[1], d[2], ED_WEIGHTS_LSQ);
        double *sum = calloc((size_t)d[1], sizeof *sum), *size = calloc((size_t)d[1], sizeof *sum);
        float *scale = floats(d[1]), *slot[] = { floats(d[1]), floats(d[1]) };
        memcpy(scale, f.w.scale, (size_t)d[1] * sizeof *scale);
        for (int64_t i = 0; i < f.numel; i++) {
            int64_t c = channel_of(&f.w, i);
            float v = f.w.master[i] / scale[c], q = rintf(v);
            double term = q < -128 ? -128 : q > 127 ? 127 : (double)(q - v);
            sum[c] += (double)f.gradient[i] * term / sqrt((double)(d[0] * d[2]) * 127);
            size[c] += fabs((double)f.gradient[i] * term);
        }
        /* without decay, in spite of `u` */
        ed_update u = { 0.1, 0.9, 0.5, 0.9, 0.999, 1e-8, 1 }, for_scales = u;
        for_scales.weight_decay = 0.0;
        for_scales.learning_rate = 1e-4;
        for (int64_t c = 0; c < d[1]; c++) {
            float g = (float)(sum[c] * 0.5), *at[] = { slot[0] + c, slot[1] + c };
            optimizer(name)->update(&scale[c], &g, at, 1, &for_scales);
        }
        step_good(&f, name, &u, 1e-4, 0.5f);
        for (int64_t c = 0; c < d[1]; c++) {
            assert_true(fabs((double)(f.w.scale_slot[0][c] - slot[0][c])) <= 1e-6 * size[c]);
            if (strcmp(name, "sgd") == 0)
                assert_true(fabs((double)(f.w.scale[c] - scale[c])) <= 1e-9 * (1 + size[c]));
        }
        expect_quantized(&f.w);
        free(sum);
        free(size);
        free(scale);
        free(slot[0]);
        free(slot[1]);
        release(&f);
    }
}

static void learned_scales_stay_above_zero(void **state)
{
    (void)state;
    fixture f = make(1, 8, 16, ED_WEIGHTS_LSQ);
    ed_update u = { .learning_rate = 0.0, .t = 1 };
    for (int64_t i = 0; i < f.numel; i++) {
        f.w.master[i] = 100.0f;
        f.gradient[i] = 1.0f;
    }
    step_good(&f, "sgd", &u, 1e6, 1.0f); /* outside above: the scale falls without end */
    for (int64_t c = 0; c < 8; c++)
        assert_true(f.w.scale[c] == ed_scale_of(0.0, 8, NULL));
    expect_quantized(&f.w);
    f.gradient[5 * 16] = NAN;
    f.w.master[5 * 16] = 0.0f;
    assert_int_equal(ed_weight_step(&f.w, f.gradient, optimizer("sgd"), &u, 1e-3, 1),
                     ED_ENONFINITE);
    assert_non_null(strstr(ed_error_last(), "channel 5"));
    assert_true(f.w.scale[5] == ed_scale_of(0.0, 8, NULL));
    release(&f);
}

/* Steps of gradient descent on the scale alone find one with less error than absmax. */
static void learned_scales_lessen_the_error(void **state)
{
    (void)state;
    fixture f = make(1, 1, 4000, ED_WEIGHTS_ABSMAX);
    ed_random r = { 7 };
    f.w.qmin = -8;
    f.w.qmax = 7;
    for (int i = 0; i < 4000; i++) /* a bell: absmax is too large a scale for 4 bits */
        f.w.master[i] = uniform(&r) + uniform(&r) + uniform(&r) + uniform(&r) + uniform(&r);
    quantize_good(&f.w);
    double before = 0.0, after = 0.0;
    for (int i = 0; i < 4000; i++)
        before += pow((double)(f.w.quantized_out[i] - f.w.master[i]), 2);
    f.w.scaling = ED_WEIGHTS_LSQ;
    ed_update u = { .learning_rate = 0.0, .momentum = 0.0, .t = 1 };
    for (int t = 0; t < 300; t++) {
        for (int i = 0; i < 4000; i++)
            f.gradient[i] = f.w.quantized_out[i] - f.w.master[i];
        step_good(&f, "sgd", &u, 0.01, 1.0f);
    }
    for (int i = 0; i < 4000; i++)
        after += pow((double)(f.w.quantized_out[i] - f.w.master[i]), 2);
    assert_true(after < 0.8 * before);
    release(&f);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    const int threads[] = { 1, 2, 5 };
    for (size_t s = 0; s < SHAPES; s++) {
        const int64_t *d = shapes[s];
        fixture first = { 0 };
        for (size_t k = 0; k < ED_LENGTH(threads); k++) {
            fixture f = make(d[0], d[1], d[2], ED_WEIGHTS_LSQ);
            ed_update u = { 0.1, 0.9, 0.01, 0.9, 0.999, 1e-8, 1 };
            ed_threads_set(threads[k]);
            step_good(&f, "sgd", &u, 1e-3, 0.3f);
            if (k == 0) {
                first = f;
                continue;
            }
            size_t bytes = (size_t)f.numel * sizeof(float), few = (size_t)d[1] * sizeof(float);
            assert_memory_equal(f.w.master, first.w.master, bytes);
            assert_memory_equal(f.w.quantized_out, first.w.quantized_out, bytes);
            assert_memory_equal(f.w.slot[0], first.w.slot[0], bytes);
            assert_memory_equal(f.w.scale, first.w.scale, few);
            assert_memory_equal(f.w.scale_slot[0], first.w.scale_slot[0], few);
            release(&f);
        }
        release(&first);
    }
    ed_threads_set(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_are_plain_loops),
        cmocka_unit_test(the_gradient_passes_where_the_level_is_inside),
        cmocka_unit_test(without_scales_a_copy),
        cmocka_unit_test(learned_scales_follow_their_gradient),
        cmocka_unit_test(learned_scales_stay_above_zero),
        cmocka_unit_test(learned_scales_lessen_the_error),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
