/* Calibration and training on the fake device: the host's own observers, decoding and updates. */
#include "fake_device.h"
#include "fake_trainer.h"

#include "base/mem.h"
#include "calib/calib.h"
#include "data/convert.h"

#include <math.h>
#include <string.h>

/* ---- calibration ---- */

typedef struct observers {
    fake *device;
    size_t n, bins;
    ed_observer *at[]; /* [n] */
} observers;

void fake_work_observers_free(void *of)
{
    observers *o = of;
    for (size_t i = 0; i < o->n; i++)
        ed_observer_free(o->at[i]);
    ed_free(o);
}

int fake_work_observers_new(void *device, void **out, size_t n, size_t bins, double ema)
{
    *out = NULL;
    LOST_IN("making observers");
    observers *o = ed_calloc(1, sizeof *o + n * sizeof o->at[0]);
    *out = o;
    if (!o)
        return ED_ENOMEM;
    o->device = device;
    o->n = n;
    o->bins = bins;
    int rc = ED_OK;
    for (size_t i = 0; i < n && rc == ED_OK; i++)
        rc = ed_observer_new(&o->at[i], bins, ema);
    if (rc != ED_OK) {
        fake_work_observers_free(o);
        *out = NULL;
    }
    return rc;
}

int fake_work_observers_add(void *of, size_t i, const void *data, ed_layout layout, int64_t numel)
{
    observers *o = of;
    (void)layout;
    LOST_IN("observing");
    return fake_queue(
        o->device,
        (recorded_call){
            .kind = CALL_OBSERVE, .to = o->at, .from = data, .n = (size_t)numel, .index = i });
}

int fake_work_observers_get(void *of, ed_seen *seen, uint64_t *counts)
{
    const observers *o = of;
    LOST_IN("reading the observers");
    for (size_t i = 0; i < o->n; i++) {
        ed_observation s = ed_observer_get(o->at[i]);
        seen[i] = (ed_seen){ s.range, s.min, s.max, s.ema_min, s.ema_max, s.total, s.nonfinite };
        memcpy(counts + i * o->bins, s.counts, o->bins * sizeof *counts);
    }
    return ED_OK;
}

int fake_work_observers_search(void *of, ed_search search, unsigned start, unsigned levels,
                               int64_t *answers)
{
    const observers *o = of;
    LOST_IN("searching");
    for (size_t i = 0; i < o->n; i++) {
        ed_observation s = ed_observer_get(o->at[i]);
        answers[i] = search == ED_SEARCH_KL ? ed_kl_search(s.counts, s.bins, start, levels)
                                            : ed_mse_search(s.counts, s.bins, start, levels);
    }
    return ED_OK;
}

int fake_work_decode(void *device, float *to, const void *from, const ed_decode *how, uint64_t *bad)
{
    ed_convert c = { .from = how->from,
                     .to = ED_F32,
                     .channels = how->channels,
                     .plane = how->plane,
                     .channels_last = how->channels_last,
                     .mean = how->mean,
                     .std = how->std };
    (void)device;
    LOST_IN("decoding");
    *bad += (uint64_t)ed_convert_run(&c, to, from, how->samples).count;
    return ED_OK;
}

/* ---- training ---- */

int fake_work_trainer_new(void *device, void **out, ed_device_optimizer optimizer,
                          const ed_device_parameter *list, size_t n)
{
    fake_trainer *t = NULL;
    *out = NULL;
    LOST_IN("making a trainer");
    ED_TRY(fake_trainer_new(&t, device, optimizer, list, n));
    *out = t;
    return ED_OK;
}

static int train(void *trainer, fake_training what)
{
    LOST_IN("training");
    return fake_queue(((fake_trainer *)trainer)->device,
                      (recorded_call){ .kind = CALL_TRAIN, .to = trainer, .index = (size_t)what });
}

int fake_work_trainer_add(void *trainer, bool first)
{
    return train(trainer, first ? FAKE_ADD_FIRST : FAKE_ADD);
}

int fake_work_trainer_set(void *trainer, const ed_device_update *update)
{
    fake_trainer *t = trainer;
    LOST_IN("training");
    ED_FAIL_IF(((const fake *)t->device)->open, ED_EINTERNAL, "a copy from the host was recorded");
    t->update = *update;
    return ED_OK;
}

int fake_work_trainer_step(void *trainer)
{
    return train(trainer, FAKE_STEP);
}

int fake_work_trainer_quantize(void *trainer)
{
    return train(trainer, FAKE_QUANTIZE);
}

int fake_work_trainer_get(void *trainer, ed_device_updated *out)
{
    const fake_trainer *t = trainer;
    return fake_download(t->device, out, &t->done, sizeof *out);
}

void fake_work_trainer_free(void *trainer)
{
    fake_trainer_free(trainer);
}

int fake_work_largest(void *device, float *to, const void *data, ed_layout layout, int64_t numel)
{
    (void)layout;
    LOST_IN("observing");
    return fake_queue(
        device,
        (recorded_call){ .kind = CALL_LARGEST, .to = to, .from = data, .n = (size_t)numel });
}

int fake_work_follow(void *device, const ed_device_scales *s)
{
    (void)device;
    LOST_IN("training");
    for (size_t i = 0; i < s->n; i++) {
        if (isfinite(s->largest[i])) {
            s->average[i] += (float)(s->weight * ((double)s->largest[i] - (double)s->average[i]));
            s->scale[i] = fmaxf(s->average[i], s->least) / s->qmax[i];
        }
        s->largest[i] = 0;
    }
    return ED_OK;
}
