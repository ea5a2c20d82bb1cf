/* The calibration pass on a device: observers, searches and the decoding of samples there. */
#ifndef CALIB_DEVICE_PASS_H
#define CALIB_DEVICE_PASS_H

#include "calib/calib.h"
#include "calib/runner.h"

typedef struct ed_device_pass {
    const ed_device *device;
    const ed_graph *graph;
    ed_dataset *data;
    const char *const *values; /* [n], observed */
    size_t n, bins;            /* bins is not 0 */
    double ema;
    const ed_calib_options *opts;
    struct ed_device_running *running; /* what begin() made */
    /* results */
    ed_observation *seen; /* [n]; they borrow from counts */
    uint64_t *counts;     /* [n][bins] */
    void *observers;      /* of the device; NULL when the pass did not run there */
} ed_device_pass;

/* Before the runner is compiled: allocates all that the run needs; the dataset's thread begins to
 * read for the device meanwhile. Call end() in every case. */
int ed_device_pass_begin(ed_device_pass *pass);
/* Run the data through the runner, whose executors are on the device. */
int ed_device_pass_run(ed_device_pass *pass, ed_runner *runner);
/* The method's answers for all values in one batch of kernels: ED_EUNSUPPORTED, without a sentence,
 * when the method has no search there. */
int ed_device_pass_search(ed_range *ranges, const ed_device_pass *pass, const ed_method *method,
                          const ed_method_params *params);
/* Release it; the dataset is as before. */
void ed_device_pass_end(ed_device_pass *pass);
void ed_device_pass_clear(ed_device_pass *pass);

#endif
