/* What calibration and training ask of an executor on a device. */
#ifndef EXEC_ON_DEVICE_H
#define EXEC_ON_DEVICE_H

#include "backend/backend.h"
#include "ed/exec.h"

/* NULL: it runs on the CPU. */
const ed_device *ed_exec_device(const ed_exec *exec);
/* Where input i lies there. A run that is given a tensor with this address as its data copies
 * nothing: whoever filled it did. */
void *ed_exec_device_input(const ed_exec *exec, size_t i);
/* Input i lies elsewhere from now on: in borrowed memory of the device. */
void ed_exec_device_place(ed_exec *exec, size_t i, void *memory);
/* Where output i lies, in row-major order, after each run until the next one. */
void *ed_exec_device_output(const ed_exec *exec, size_t i);
/* Feed the observers of the backend from every following run: observed value v (a number of the
 * graph's) to observer_of[v]. Both are borrowed. */
void ed_exec_observe_on_device(ed_exec *exec, void *observers, const uint32_t *observer_of);

/* The largest |x| of an observed value. */
typedef struct ed_exec_largest {
    uint32_t value; /* a number of the graph's */
    float *largest; /* on the device; see ed_backend's largest() */
} ed_exec_largest;
/* Find them in every following run. The list is borrowed; NULL: none any more. */
void ed_exec_largest_on_device(ed_exec *exec, const ed_exec_largest *list, size_t n);

#endif
