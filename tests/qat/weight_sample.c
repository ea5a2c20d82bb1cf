/* See weight_sample.h. */
#include "weight_sample.h"

#include "ops/op.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

float uniform(ed_random *r)
{
    return (float)((double)(ed_random_next(r) >> 11) * 0x1p-52 - 1.0);
}

float *floats(int64_t n)
{
    return calloc((size_t)n + 1, sizeof(float));
}

fixture make(int64_t outer, int64_t channels, int64_t inner, ed_weight_scaling scaling)
{
    fixture f = { .w = { .outer = outer,
                         .channels = channels,
                         .inner = inner,
                         .quantized = true,
                         .scaling = scaling,
                         .qmin = -128,
                         .qmax = 127,
                         .decay = true },
                  .numel = outer * channels * inner };
    ed_random r = { (uint64_t)f.numel };
    f.w.master = floats(f.numel);
    f.w.quantized_out = floats(f.numel);
    f.w.scale = floats(channels);
    f.gradient = floats(f.numel);
    for (int k = 0; k < ED_OPTIMIZER_SLOTS; k++) {
        f.w.slot[k] = floats(f.numel);
        f.w.scale_slot[k] = floats(channels);
    }
    for (int64_t i = 0; i < f.numel; i++) {
        f.w.master[i] = uniform(&r) * (float)(1 + i / inner % channels);
        f.gradient[i] = uniform(&r);
    }
    for (int64_t c = 0; c < channels; c++)
        f.w.scale[c] = (float)(1 + c) / 100.0f; /* some weights are outside */
    return f;
}

void release(fixture *f)
{
    free(f->w.master);
    free(f->w.quantized_out);
    free(f->w.scale);
    free(f->gradient);
    for (int k = 0; k < ED_OPTIMIZER_SLOTS; k++) {
        free(f->w.slot[k]);
        free(f->w.scale_slot[k]);
    }
}

int64_t channel_of(const ed_weight *w, int64_t i)
{
    return i / w->inner % w->channels;
}

const ed_optimizer_row *optimizer(const char *name)
{
    const ed_optimizer_row *row = NULL;
    assert_int_equal(ed_optimizer_find(&row, name), ED_OK);
    return row;
}

void step_good(fixture *f, const char *name, const ed_update *u, double scale_rate, float factor)
{
    if (ed_weight_step(&f->w, f->gradient, optimizer(name), u, scale_rate, factor) != ED_OK)
        fail_msg("%s", ed_error_last());
}

void quantize_good(ed_weight *w)
{
    if (ed_weight_step(w, NULL, NULL, NULL, 0.0, 1.0f) != ED_OK)
        fail_msg("%s", ed_error_last());
}

void expect_quantized(const ed_weight *w)
{
    int64_t numel = w->outer * w->channels * w->inner;
    float *want = floats(numel);
    ed_fake_quantize(want, w->master,
                     &(ed_fake_quant){ .outer = w->outer,
                                       .channels = w->channels,
                                       .inner = w->inner,
                                       .scale = w->scale,
                                       .qmin = w->qmin,
                                       .qmax = w->qmax });
    assert_memory_equal(want, w->quantized_out, (size_t)numel * sizeof *want);
    free(want);
}

const int64_t shapes[SHAPES][3] = {
    { 1, 1, 1 },   { 1, 1, 5000 }, { 1, 16, 27 },  { 1, 3, 4608 }, { 700, 33, 1 },
    { 64, 10, 1 }, { 5, 129, 7 },  { 1, 1000, 1 }, { 2, 3, 1024 }, { 3, 2, 1025 },
    { 7, 1, 13 },  { 1, 512, 49 }, { 1, 40, 127 }, { 1, 40, 128 }, { 1, 100, 1152 },
};
