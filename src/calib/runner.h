/* Running a graph over a dataset: one executor for full batches, one for a ragged last batch. */
#ifndef CALIB_RUNNER_H
#define CALIB_RUNNER_H

#include "ed/dataset.h"
#include "ed/exec.h"

typedef struct ed_runner {
    const ed_graph *graph;
    ed_dataset *data;
    ed_exec_options opts;
    ed_observe_fn observe; /* or NULL */
    void *observe_ctx;
    void *observers; /* of the device, instead of `observe`; borrowed, like the next one */
    const uint32_t *observer_of;
    ed_exec *full, *ragged;
    int64_t ragged_size;
    const ed_tensor **outputs; /* one per graph output, of the last run */
} ed_runner;

/* Compile for the dataset's batch size. `opts` is copied; what it points to must live as long. */
int ed_runner_init(ed_runner *r, const ed_graph *graph, ed_dataset *data,
                   const ed_exec_options *opts, ed_observe_fn observe, void *observe_ctx);
int ed_runner_run(ed_runner *r, const ed_batch *batch);
/* The executor for a batch of so many samples. */
int ed_runner_exec(ed_exec **out, ed_runner *r, int64_t samples);
/* Feed the device's observers; see exec/on_device.h. */
void ed_runner_observe_on_device(ed_runner *r, void *observers, const uint32_t *observer_of);
void ed_runner_clear(ed_runner *r);

#endif
