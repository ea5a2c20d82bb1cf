/* Running a graph over a dataset. */
#include "calib/runner.h"

#include "base/mem.h"
#include "exec/on_device.h"

static int compile(ed_runner *r, ed_exec **out, int64_t size, ed_exec *share)
{
    ed_exec_options opts = r->opts;
    opts.share = share;
    ed_shape *shapes = ed_calloc(ed_graph_input_count(r->graph), sizeof *shapes);
    if (!shapes)
        return ED_ENOMEM;
    int rc = ed_dataset_shapes(shapes, r->data, size);
    if (rc == ED_OK)
        rc = ed_exec_new(out, r->graph, shapes, &opts);
    ed_free(shapes);
    if (rc == ED_OK && r->observe)
        ed_exec_set_observer(*out, r->observe, r->observe_ctx);
    if (rc == ED_OK && r->observers)
        ed_exec_observe_on_device(*out, r->observers, r->observer_of);
    return rc;
}

int ed_runner_init(ed_runner *r, const ed_graph *graph, ed_dataset *data,
                   const ed_exec_options *opts, ed_observe_fn observe, void *observe_ctx)
{
    *r =
        (ed_runner){ .graph = graph, .data = data, .observe = observe, .observe_ctx = observe_ctx };
    if (opts)
        r->opts = *opts;
    int64_t size = ed_dataset_batch_size(data), count = ed_dataset_count(data);
    r->outputs = ed_calloc(ed_graph_output_count(graph), sizeof(const ed_tensor *));
    int rc = r->outputs ? compile(r, &r->full, size < count ? size : count, NULL) : ED_ENOMEM;
    if (rc != ED_OK)
        ed_runner_clear(r);
    return rc;
}

int ed_runner_exec(ed_exec **out, ed_runner *r, int64_t samples)
{
    int64_t size = ed_dataset_batch_size(r->data), count = ed_dataset_count(r->data);
    *out = r->full;
    if (samples == (size < count ? size : count))
        return ED_OK;
    if (r->ragged && r->ragged_size != samples) {
        ed_exec_free(r->ragged);
        r->ragged = NULL;
    }
    if (!r->ragged)
        ED_TRY(compile(r, &r->ragged, samples, r->full));
    r->ragged_size = samples;
    *out = r->ragged;
    return ED_OK;
}

int ed_runner_run(ed_runner *r, const ed_batch *batch)
{
    ed_exec *exec;
    ED_TRY(ed_runner_exec(&exec, r, batch->size));
    return ed_exec_run(exec, batch->inputs, r->outputs);
}

void ed_runner_observe_on_device(ed_runner *r, void *observers, const uint32_t *observer_of)
{
    r->observers = observers;
    r->observer_of = observer_of;
    ed_exec_observe_on_device(r->full, observers, observer_of);
}

void ed_runner_clear(ed_runner *r)
{
    ed_exec_free(r->ragged);
    ed_exec_free(r->full);
    ed_free(r->outputs);
    *r = (ed_runner){ 0 };
}
