/* The device that a test is run on: ED_TEST_DEVICE=cuda and ED_TEST_PRECISION, without them the
 * CPU. */
#ifndef EXEC_DEVICE_CHOICE_H
#define EXEC_DEVICE_CHOICE_H

#include "ed/exec.h"

/* opts->device and ->precision, and the limit of the normalized mean square error, which stays as
 * it is on the CPU. False, after a line that says why, when there is no such device. */
bool choose_device(ed_exec_options *opts, double *nmse);

#endif
