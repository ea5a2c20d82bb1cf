/* Training on the fake device, by the functions of the CPU's training. */
#include "fake_trainer.h"

#include "base/mem.h"
#include "qat/clip.h"
#include "qat/weight_quant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int fake_trainer_new(fake_trainer **out, void *device, ed_device_optimizer optimizer,
                     const ed_device_parameter *list, size_t n)
{
    *out = NULL;
    fake_trainer *t = ed_calloc(1, sizeof *t);
    if (!t)
        return ED_ENOMEM;
    t->device = device;
    t->optimizer = optimizer;
    t->n = n;
    t->done = (ed_device_updated){ .factor = 1, .bad_gradient = -1, .bad_weight = UINT64_MAX };
    t->list = ed_calloc(n + 1, sizeof *list);
    if (!t->list) {
        ed_free(t);
        return ED_ENOMEM;
    }
    if (n)
        memcpy(t->list, list, n * sizeof *list);
    *out = t;
    return ED_OK;
}

void fake_trainer_free(fake_trainer *t)
{
    if (!t)
        return;
    ed_free(t->list);
    ed_free(t);
}

static int64_t numel_of(const ed_device_parameter *p)
{
    return p->outer * p->channels * p->inner;
}

static const float *gradient_of(const ed_device_parameter *p)
{
    return p->gradient && p->sum ? p->sum : p->gradient;
}

static void add(const ed_device_parameter *p, bool first)
{
    for (int64_t i = 0; p->sum && p->gradient && i < numel_of(p); i++)
        p->sum[i] = first ? p->gradient[i] : p->sum[i] + p->gradient[i];
}

static void find_factor(fake_trainer *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        const ed_device_parameter *p = &t->list[i];
        if (!p->gradient)
            continue;
        double part = ed_sum_of_squares(gradient_of(p), numel_of(p));
        double own = t->update.mean * p->gradient_factor;
        if (!isfinite(part) && t->done.bad_gradient < 0)
            t->done.bad_gradient = (int64_t)i;
        sum += isfinite(part) ? part * own * own : part;
    }
    t->done.squares = sum;
    t->done.factor = t->update.mean * ed_clip_factor(sum, t->update.clip);
}

static const ed_optimizer_row *row_of(const fake_trainer *t)
{
    const ed_optimizer_row *row = NULL;
    ed_optimizer_find(&row, t->optimizer == ED_DEVICE_SGD ? "sgd" : "adamw");
    return row;
}

static ed_update update_of(const fake_trainer *t)
{
    const ed_device_update *u = &t->update;
    return (ed_update){ .learning_rate = u->learning_rate,
                        .momentum = u->momentum,
                        .weight_decay = u->weight_decay,
                        .beta1 = u->beta1,
                        .beta2 = u->beta2,
                        .epsilon = u->epsilon,
                        .t = u->t };
}

/* A parameter that is a scale: a factor and a bound of its own. */
static void step_scale(const fake_trainer *t, const ed_device_parameter *p)
{
    ed_update u = update_of(t);
    u.weight_decay = p->decay ? u.weight_decay : 0;
    for (int64_t i = 0; i < numel_of(p); i++) {
        float *slot[ED_OPTIMIZER_SLOTS] = { p->slot[0] + i, p->slot[1] ? p->slot[1] + i : NULL };
        float g = (float)((double)gradient_of(p)[i] * t->done.factor * p->gradient_factor);
        row_of(t)->update(p->master + i, &g, slot, 1, &u);
        p->master[i] = p->master[i] < p->least ? p->least : p->master[i];
        if (p->out)
            p->out[i] = p->master[i];
    }
}

static int step(const fake_trainer *t, const ed_device_parameter *p, const float *gradient)
{
    ed_update u = update_of(t);
    ed_weight w = { .outer = p->outer,
                    .channels = p->channels,
                    .inner = p->inner,
                    .quantized = p->quantized,
                    .scaling = (ed_weight_scaling)p->scaling,
                    .qmin = p->qmin,
                    .qmax = p->qmax,
                    .master = p->master,
                    .quantized_out = p->out,
                    .scale = p->scale,
                    .slot = { p->slot[0], p->slot[1] },
                    .scale_slot = { p->scale_slot[0], p->scale_slot[1] },
                    .decay = p->decay };
    return ed_weight_step(&w, gradient, gradient ? row_of(t) : NULL, gradient ? &u : NULL,
                          t->update.scale_learning_rate, (float)t->done.factor);
}

static void step_all(fake_trainer *t, bool update)
{
    for (size_t i = 0; i < t->n; i++) {
        const ed_device_parameter *p = &t->list[i];
        if (update && !p->gradient)
            continue;
        if (update && !p->quantized && (p->gradient_factor != 1.0 || p->least != 0.0f)) {
            step_scale(t, p);
        } else if (step(t, p, update ? gradient_of(p) : NULL) != ED_OK &&
                   t->done.bad_weight == UINT64_MAX) {
            const char *at = strstr(ed_error_last(), "in channel ");
            uint64_t channel = at ? strtoull(at + strlen("in channel "), NULL, 10) : 0;
            t->done.bad_weight = (uint64_t)i << 32 | channel;
        }
    }
}

void fake_trainer_run(fake_trainer *t, fake_training what)
{
    if (what == FAKE_ADD_FIRST || what == FAKE_ADD) {
        for (size_t i = 0; i < t->n; i++)
            add(&t->list[i], what == FAKE_ADD_FIRST);
        return;
    }
    t->done = (ed_device_updated){ .factor = 1, .bad_gradient = -1, .bad_weight = UINT64_MAX };
    if (what == FAKE_STEP)
        find_factor(t);
    if (t->done.bad_gradient < 0)
        step_all(t, what == FAKE_STEP);
}
