/*
 * The optimizer of a device against the CPU's. The fake device runs the same functions; with
 * ED_BACKEND_DIR where libed-cuda.so is, this tests its kernels: to the bit but for sums.
 */
#include "../qat/weight_sample.h"

#include "backend/backend.h"
#include "qat/clip.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const ed_device *device;

#define GOOD(call)                                                                                 \
    do {                                                                                           \
        if ((call) != ED_OK)                                                                       \
            fail_msg("%s: %s", #call, device->api->error());                                       \
    } while (0)

/* n floats there; n may be 0. */
static float *put(const float *from, int64_t n)
{
    void *to;
    GOOD(device->api->alloc(device->handle, &to, (size_t)n * sizeof *from));
    if (n)
        GOOD(device->api->copy_in(device->handle, to, from, (size_t)n * sizeof *from));
    GOOD(device->api->sync(device->handle));
    return to;
}

static void get(float *to, const float *from, int64_t n)
{
    if (n)
        GOOD(device->api->copy_out(device->handle, to, from, (size_t)n * sizeof *to));
}

/* ---- a weight there ---- */
static ed_device_parameter parameter_of(const fixture *f)
{
    const ed_weight *w = &f->w;
    ed_device_parameter p = { .outer = w->outer,
                              .channels = w->channels,
                              .inner = w->inner,
                              .quantized = w->quantized,
                              .scaling = (ed_device_scaling)w->scaling,
                              .qmin = w->qmin,
                              .qmax = w->qmax,
                              .decay = w->decay,
                              .master = put(w->master, f->numel),
                              .out = put(w->quantized_out, f->numel),
                              .gradient = put(f->gradient, f->numel),
                              .scale = put(w->scale, w->channels),
                              .gradient_factor = 1 };
    for (int k = 0; k < 2; k++) {
        p.slot[k] = put(w->slot[k], f->numel);
        p.scale_slot[k] = put(w->scale_slot[k], w->channels);
    }
    return p;
}

static void drop(ed_device_parameter *p)
{
    void *memory[] = { p->master,  p->out,           (void *)(uintptr_t)p->gradient,
                       p->sum,     p->scale,         p->slot[0],
                       p->slot[1], p->scale_slot[0], p->scale_slot[1] };
    for (size_t i = 0; i < ED_LENGTH(memory); i++)
        device->api->free(device->handle, memory[i]);
}

/* NaN is NaN. */
static void expect_floats(const float *want, const float *there, int64_t n, double tolerance)
{
    float *got = floats(n);
    get(got, there, n);
    for (int64_t i = 0; i < n; i++) {
        if (isnan(want[i]) && isnan(got[i]))
            continue;
        double error = fabs((double)want[i] - (double)got[i]);
        if (!(error <= tolerance * fabs((double)want[i]) + tolerance * 1e-3))
            fail_msg("element %lld of %lld is %.9g, not %.9g", (long long)i, (long long)n,
                     (double)got[i], (double)want[i]);
    }
    free(got);
}

static void expect_weight(const fixture *f, const ed_device_parameter *p, double tolerance)
{
    expect_floats(f->w.master, p->master, f->numel, tolerance);
    expect_floats(f->w.scale, p->scale, f->w.channels, tolerance);
    for (int k = 0; k < 2; k++)
        expect_floats(f->w.slot[k], p->slot[k], f->numel, tolerance);
    if (tolerance == 0) /* else one level may be another */
        expect_floats(f->w.quantized_out, p->out, f->numel, 0);
}

static ed_device_update update_at(int64_t t)
{
    return (ed_device_update){ .learning_rate = 0.01,
                               .scale_learning_rate = 0.001,
                               .momentum = 0.9,
                               .weight_decay = 0.02,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .epsilon = 1e-8,
                               .t = t,
                               .mean = 0.5 };
}

static ed_update here_of(const ed_device_update *u)
{
    return (ed_update){ .learning_rate = u->learning_rate,
                        .momentum = u->momentum,
                        .weight_decay = u->weight_decay,
                        .beta1 = u->beta1,
                        .beta2 = u->beta2,
                        .epsilon = u->epsilon,
                        .t = u->t };
}

static const char *const names[] = { "sgd", "adamw" };

/* ---- all shapes in one trainer ---- */
enum { STEPS = 3 };

static void run(ed_device_optimizer optimizer, ed_weight_scaling scaling, bool quantized)
{
    fixture f[SHAPES];
    ed_device_parameter p[SHAPES];
    ed_device_updated done;
    void *trainer;
    for (size_t i = 0; i < SHAPES; i++) {
        f[i] = make(shapes[i][0], shapes[i][1], shapes[i][2], scaling);
        f[i].w.quantized = quantized;
        f[i].w.decay = i % 2 == 0;
        p[i] = parameter_of(&f[i]);
    }
    GOOD(device->api->trainer_new(device->handle, &trainer, optimizer, p, SHAPES));
    for (int64_t t = 1; t <= STEPS; t++) {
        const ed_device_update u = update_at(t);
        const ed_update here = here_of(&u);
        GOOD(device->api->trainer_set(trainer, &u));
        GOOD(device->api->trainer_step(trainer));
        for (size_t i = 0; i < SHAPES; i++)
            step_good(&f[i], names[optimizer], &here, u.scale_learning_rate, (float)u.mean);
    }
    GOOD(device->api->trainer_get(trainer, &done));
    GOOD(device->api->sync(device->handle));
    assert_int_equal(done.bad_gradient, -1);
    assert_true(done.bad_weight == UINT64_MAX);
    assert_true(done.factor == 0.5);
    for (size_t i = 0; i < SHAPES; i++) {
        expect_weight(&f[i], &p[i], scaling == ED_WEIGHTS_LSQ ? 1e-5 : 0);
        drop(&p[i]);
        release(&f[i]);
    }
    device->api->trainer_free(trainer);
}

static void test_steps(void **unused)
{
    (void)unused;
    for (int o = 0; o < 2; o++) {
        for (int s = ED_WEIGHTS_LSQ; s <= ED_WEIGHTS_FIXED; s++)
            run((ed_device_optimizer)o, (ed_weight_scaling)s, true);
        run((ed_device_optimizer)o, ED_WEIGHTS_FIXED, false);
    }
}

/* ---- channels of every kind of work: warps, blocks, columns ---- */
static void test_large(void **unused)
{
    (void)unused;
    static const int64_t large[][3] = { { 1, 70, 9 },   { 1, 5, 1025 },  { 1, 3, 20000 },
                                        { 300, 65, 1 }, { 129, 10, 31 }, { 40, 6, 33 },
                                        { 2, 1, 9000 }, { 1, 1, 1 },     { 1000, 2, 16 } };
    for (size_t i = 0; i < ED_LENGTH(large); i++) {
        fixture f = make(large[i][0], large[i][1], large[i][2], ED_WEIGHTS_ABSMAX);
        ed_device_parameter p = parameter_of(&f);
        const ed_device_update u = update_at(1);
        const ed_update here = here_of(&u);
        void *trainer;
        GOOD(device->api->trainer_new(device->handle, &trainer, ED_DEVICE_SGD, &p, 1));
        GOOD(device->api->trainer_quantize(trainer));
        quantize_good(&f.w);
        expect_weight(&f, &p, 0);
        GOOD(device->api->trainer_set(trainer, &u));
        GOOD(device->api->trainer_step(trainer));
        step_good(&f, "sgd", &here, 0, 0.5f);
        expect_weight(&f, &p, 0);
        device->api->trainer_free(trainer);
        drop(&p);
        release(&f);
    }
}

/* ---- the norm ---- */
static void test_clip(void **unused)
{
    (void)unused;
    fixture f[2] = { make(1, 3, 7000, ED_WEIGHTS_ABSMAX), make(5, 1, 11, ED_WEIGHTS_FIXED) };
    ed_device_parameter p[2] = { parameter_of(&f[0]), parameter_of(&f[1]) };
    ed_device_update u = update_at(1);
    ed_device_updated done;
    double sum = 0;
    void *trainer;
    u.clip = 0.25;
    p[1].gradient_factor = 0.125;
    p[1].quantized = false;
    p[1].least = 0.5f;
    GOOD(device->api->trainer_new(device->handle, &trainer, ED_DEVICE_SGD, p, 2));
    GOOD(device->api->trainer_set(trainer, &u));
    GOOD(device->api->trainer_step(trainer));
    GOOD(device->api->trainer_get(trainer, &done));
    GOOD(device->api->sync(device->handle));
    sum = ed_sum_of_squares(f[0].gradient, f[0].numel) * 0.25 +
          ed_sum_of_squares(f[1].gradient, f[1].numel) * 0.0625 * 0.0625;
    assert_true(fabs(done.squares - sum) <= 1e-12 * sum);
    assert_true(fabs(done.factor - 0.5 * 0.25 / sqrt(sum)) <= 1e-12);
    const ed_update here = here_of(&u);
    step_good(&f[0], "sgd", &here, 0, (float)done.factor);
    expect_weight(&f[0], &p[0], 0);
    for (int64_t i = 0; i < f[1].numel; i++) {
        float d =
            (float)((double)f[1].gradient[i] * done.factor * 0.125) + 0.02f * f[1].w.master[i];
        f[1].w.master[i] -= 0.01f * (d + 0.9f * d);
        f[1].w.master[i] = fmaxf(f[1].w.master[i], 0.5f);
    }
    expect_floats(f[1].w.master, p[1].master, f[1].numel, 1e-6);
    expect_floats(f[1].w.master, p[1].out, f[1].numel, 1e-6);
    device->api->trainer_free(trainer);
    for (int i = 0; i < 2; i++) {
        drop(&p[i]);
        release(&f[i]);
    }
}

/* ---- numbers that are none ---- */
static void test_nonfinite(void **unused)
{
    (void)unused;
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t k = 0; k < ED_LENGTH(bad); k++) {
        fixture f[3] = { make(1, 4, 30, ED_WEIGHTS_ABSMAX), make(6, 40, 2, ED_WEIGHTS_ABSMAX),
                         make(1, 2, 3000, ED_WEIGHTS_ABSMAX) };
        ed_device_parameter p[3];
        ed_device_updated done;
        const ed_device_update u = update_at(1);
        void *trainer;
        f[1].gradient[77] = bad[k];
        for (int i = 0; i < 3; i++)
            p[i] = parameter_of(&f[i]);
        GOOD(device->api->trainer_new(device->handle, &trainer, ED_DEVICE_ADAMW, p, 3));
        GOOD(device->api->trainer_set(trainer, &u));
        GOOD(device->api->trainer_step(trainer));
        GOOD(device->api->trainer_get(trainer, &done));
        GOOD(device->api->sync(device->handle));
        assert_int_equal(done.bad_gradient, 1);
        for (int i = 0; i < 3; i++)
            expect_weight(&f[i], &p[i], 0); /* nothing changed */
        device->api->trainer_free(trainer);
        f[1].w.master[3] = bad[k]; /* channel 1 of 40 */
        drop(&p[1]);
        p[1] = parameter_of(&f[1]);
        GOOD(device->api->trainer_new(device->handle, &trainer, ED_DEVICE_ADAMW, p, 3));
        GOOD(device->api->trainer_quantize(trainer));
        GOOD(device->api->trainer_get(trainer, &done));
        GOOD(device->api->sync(device->handle));
        assert_int_equal(done.bad_gradient, -1);
        assert_true(done.bad_weight == ((uint64_t)1 << 32 | 1));
        device->api->trainer_free(trainer);
        for (int i = 0; i < 3; i++) {
            drop(&p[i]);
            release(&f[i]);
        }
    }
}

/* ---- several steps an update, recorded ---- */
static void test_sums(void **unused)
{
    (void)unused;
    fixture f = make(1, 3, 50, ED_WEIGHTS_ABSMAX), still = make(1, 2, 8, ED_WEIGHTS_FIXED);
    ed_device_parameter p[2] = { parameter_of(&f), parameter_of(&still) };
    const ed_device_update u = update_at(1);
    const ed_update here = here_of(&u);
    void *trainer, *graph;
    p[0].sum = put(f.gradient, f.numel);
    device->api->free(device->handle, (void *)(uintptr_t)p[1].gradient);
    p[1].gradient = NULL;
    GOOD(device->api->trainer_new(device->handle, &trainer, ED_DEVICE_SGD, p, 2));
    GOOD(device->api->trainer_set(trainer, &u));
    GOOD(device->api->capture_begin(device->handle));
    GOOD(device->api->trainer_add(trainer, true));
    GOOD(device->api->trainer_add(trainer, false));
    GOOD(device->api->trainer_step(trainer));
    GOOD(device->api->capture_end(device->handle, &graph));
    expect_weight(&f, &p[0], 0);
    GOOD(device->api->replay(device->handle, graph));
    for (int64_t i = 0; i < f.numel; i++)
        f.gradient[i] += f.gradient[i];
    step_good(&f, "sgd", &here, 0, 0.5f);
    expect_weight(&f, &p[0], 0);
    expect_weight(&still, &p[1], 0);
    device->api->graph_free(device->handle, graph);
    device->api->trainer_free(trainer);
    for (int i = 0; i < 2; i++)
        drop(&p[i]);
    release(&f);
    release(&still);
}

static void test_nothing(void **unused)
{
    (void)unused;
    const ed_device_update u = update_at(1);
    ed_device_updated done;
    void *trainer;
    GOOD(device->api->trainer_new(device->handle, &trainer, ED_DEVICE_SGD, NULL, 0));
    GOOD(device->api->trainer_set(trainer, &u));
    GOOD(device->api->trainer_add(trainer, true));
    GOOD(device->api->trainer_step(trainer));
    GOOD(device->api->trainer_quantize(trainer));
    GOOD(device->api->trainer_get(trainer, &done));
    GOOD(device->api->sync(device->handle));
    assert_int_equal(done.bad_gradient, -1);
    assert_true(done.bad_weight == UINT64_MAX);
    device->api->trainer_free(trainer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),     cmocka_unit_test(test_large),
        cmocka_unit_test(test_clip),      cmocka_unit_test(test_sums),
        cmocka_unit_test(test_nonfinite), cmocka_unit_test(test_nothing)
    };
    if (ed_device_open(&device, "cuda", NULL) != ED_OK) {
        print_message("%s\n", ed_error_last());
        return 77; /* skipped */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
