/*
 * Steps of training on a device. A step is queued while the one before it runs, and its loss and
 * logits are looked at when they have come back: nothing that is queued depends on them.
 */
#ifndef QAT_DEVICE_STEP_H
#define QAT_DEVICE_STEP_H

#include "qat/device_state.h"

#include "ed/dataset.h"

typedef struct ed_device_steps ed_device_steps;

/* What a step came to. */
typedef struct ed_device_answer {
    ed_qat_report report; /* as it was queued */
    float loss;
    ed_tensor logits;      /* here, until two further steps are queued */
    const int64_t *labels; /* likewise; NULL: none */
} ed_device_answer;

/* What a step needs; everything is borrowed. The executors are on one device. */
typedef struct ed_device_steps_spec {
    ed_train_state *state;
    ed_exec *exec, *teacher; /* teacher NULL: none */
    ed_dataset *data;
} ed_device_steps_spec;

/* The state goes to the device. */
int ed_device_steps_new(ed_device_steps **out, const ed_device_steps_spec *spec);
void ed_device_steps_free(ed_device_steps *s);
ed_device_state *ed_device_steps_state(const ed_device_steps *s);

/* Queue the step of a batch, with an update behind it when `update`. At most one step may be
 * without its answer. */
int ed_device_steps_queue(ed_device_steps *s, const ed_batch *batch, const ed_qat_report *report,
                          bool update);
/* Steps that wait for their answer. */
size_t ed_device_steps_pending(const ed_device_steps *s);
/* Wait for the oldest one. ED_ENONFINITE: a gradient or a weight; *out is valid all the same. */
int ed_device_steps_answer(ed_device_steps *s, ed_device_answer *out);
/* At an epoch's end: were the samples numbers? */
int ed_device_steps_judge(ed_device_steps *s);

#endif
