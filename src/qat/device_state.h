/*
 * The state of training on a device: there lie its arrays while it trains, and those of
 * ed_train_state are copies that are brought up to date on request.
 */
#ifndef QAT_DEVICE_STATE_H
#define QAT_DEVICE_STATE_H

#include "qat/state.h"

#include "exec/on_device.h"

typedef struct ed_device_state ed_device_state;

/* For an executor of the training graph on that device: from then on its parameters and moving
 * scales are those of the device. The arrays go there. */
int ed_device_state_new(ed_device_state **out, ed_train_state *state, ed_exec *exec);
void ed_device_state_free(ed_device_state *d);
/* What is saved or deployed comes back; waits for all that is queued. */
int ed_device_state_pull(ed_device_state *d);

/* ---- queued, after a step; ed_train_state counts them ---- */
/* Take the gradients of the step. */
int ed_device_state_add(ed_device_state *d);
/* One update by the gradients so far; *result, page-locked, tells later what came of it. */
int ed_device_state_update(ed_device_state *d, double learning_rate, ed_device_updated *result);
/* Averaged scales follow the step. */
int ed_device_state_follow(ed_device_state *d);
/* They stay from now on: the largest values are not looked for any more. */
void ed_device_state_freeze(ed_device_state *d);
/* The sentence for what an update came to, if it failed: ED_ENONFINITE. */
int ed_device_state_judge(const ed_device_state *d, const ed_device_updated *result,
                          int64_t update);

#endif
