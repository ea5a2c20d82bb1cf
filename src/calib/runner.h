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
    ed_exec *full, *ragged;
    int64_t ragged_size;
    const ed_tensor **outputs; /* one per graph output, of the last run */
} ed_runner;

/* Compile for the dataset's batch size. `opts` is copied; what it points to must live as long. */
int ed_runner_init(ed_runner *r, const ed_graph *graph, ed_dataset *data,
                   const ed_exec_options *opts, ed_observe_fn observe, void *observe_ctx);
int ed_runner_run(ed_runner *r, const ed_batch *batch);
void ed_runner_clear(ed_runner *r);

#endif
