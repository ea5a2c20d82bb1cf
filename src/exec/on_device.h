/* What calibration asks of an executor on a device. */
#ifndef EXEC_ON_DEVICE_H
#define EXEC_ON_DEVICE_H

#include "backend/backend.h"
#include "ed/exec.h"

/* NULL: it runs on the CPU. */
const ed_device *ed_exec_device(const ed_exec *exec);
/* Where input i lies there. A run that is given a tensor with this address as its data copies
 * nothing: whoever filled it did. */
void *ed_exec_device_input(const ed_exec *exec, size_t i);
/* Feed the observers of the backend from every following run: observed value v (a number of the
 * graph's) to observer_of[v]. Both are borrowed. */
void ed_exec_observe_on_device(ed_exec *exec, void *observers, const uint32_t *observer_of);

#endif
