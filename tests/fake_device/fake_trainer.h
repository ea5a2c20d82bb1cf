/* Training on the fake device: loops over the parameters on the host. */
#ifndef TESTS_FAKE_TRAINER_H
#define TESTS_FAKE_TRAINER_H

#include "backend/backend.h"

typedef struct fake_trainer {
    void *device;
    ed_device_optimizer optimizer;
    ed_device_parameter *list;
    size_t n;
    ed_device_update update;
    ed_device_updated done;
} fake_trainer;

typedef enum fake_training { FAKE_ADD_FIRST, FAKE_ADD, FAKE_STEP, FAKE_QUANTIZE } fake_training;

int fake_trainer_new(fake_trainer **out, void *device, ed_device_optimizer optimizer,
                     const ed_device_parameter *list, size_t n);
void fake_trainer_run(fake_trainer *t, fake_training what);
void fake_trainer_free(fake_trainer *t);

#endif
