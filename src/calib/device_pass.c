/*
 * The calibration pass on a device. Batches are queued and never waited for: the host's part is
 * reading the file.
 */
#include "calib/device_pass.h"

#include "base/mem.h"
#include "data/device_feed.h"
#include "data/raw.h"
#include "exec/on_device.h"
#include "graph/graph.h"

typedef struct ed_device_running {
    ed_device_pass *pass;
    ed_runner *runner; /* while it runs */
    uint32_t *observer_of;
    size_t n_inputs;
    ed_tensor *views; /* of the executor's inputs */
    const ed_tensor **inputs;
    void **places;        /* where those lie */
    ed_device_feed *feed; /* NULL: batches come converted */
} running;

/* ---- batches ---- */

static int run_batch(running *r, const ed_batch *batch)
{
    ed_exec *exec;
    ED_TRY(ed_runner_exec(&exec, r->runner, batch->size));
    if (!r->feed)
        return ed_exec_run(exec, batch->inputs, r->runner->outputs);
    for (size_t i = 0; i < r->n_inputs; i++) {
        r->places[i] = ed_exec_device_input(exec, i);
        r->views[i] = *batch->inputs[i];
        r->views[i].data = r->places[i];
    }
    ED_TRY(ed_device_feed_batch(r->feed, batch, r->places));
    ED_TRY(ed_exec_run(exec, r->inputs, r->runner->outputs));
    return ed_device_feed_done(r->feed);
}

static int run_batches(running *r)
{
    int64_t done = 0, total = ed_dataset_count(r->pass->data);
    ED_TRY(ed_dataset_rewind(r->pass->data));
    ED_TRY(ed_calib_tell(r->pass->opts, 0, total));
    for (;;) {
        ed_batch batch;
        ED_TRY(ed_dataset_next(r->pass->data, &batch));
        if (!batch.size)
            return ED_OK;
        ED_TRY(run_batch(r, &batch));
        done += batch.size;
        ED_TRY(ed_calib_tell(r->pass->opts, done, total));
    }
}

static int begin_feed(running *r)
{
    ed_dataset *data = r->pass->data;
    if (!ed_dataset_raw_possible(data))
        return ED_OK;
    ED_TRY(ed_device_feed_new(&r->feed, r->pass->device, data));
    return ed_dataset_rewind(data); /* the thread reads from now on */
}

int ed_device_pass_begin(ed_device_pass *p)
{
    const ed_device *d = p->device;
    running *r = p->running = ed_calloc(1, sizeof *r);
    if (!r)
        return ED_ENOMEM;
    r->pass = p;
    ED_TRY(ed_device_use(d));
    r->n_inputs = ed_graph_input_count(p->graph);
    r->views = ed_calloc(r->n_inputs, sizeof *r->views);
    r->inputs = ed_calloc(r->n_inputs, sizeof(ed_tensor *));
    r->places = ed_calloc(r->n_inputs, sizeof(void *));
    r->observer_of = ed_malloc(p->graph->n_values * sizeof *r->observer_of);
    if (!r->views || !r->inputs || !r->places || !r->observer_of)
        return ED_ENOMEM;
    for (size_t i = 0; i < r->n_inputs; i++)
        r->inputs[i] = &r->views[i];
    for (size_t v = 0; v < p->graph->n_values; v++)
        r->observer_of[v] = ED_NONE;
    for (size_t i = 0; i < p->n; i++) {
        ed_id v = ed_graph_find_value(p->graph, p->values[i]);
        ED_FAIL_IF(v == ED_NONE, ED_ENOTFOUND, "the graph has no value '%s' to observe",
                   p->values[i]);
        r->observer_of[v] = (uint32_t)i;
    }
    ED_DEVICE_TRY(d, d->api->observers_new(d->handle, &p->observers, p->n, p->bins, p->ema));
    return begin_feed(r);
}

void ed_device_pass_end(ed_device_pass *p)
{
    running *r = p->running;
    if (!r)
        return;
    ed_error_kept kept = ed_error_keep();    /* a device that was lost fails at everything */
    p->device->api->sync(p->device->handle); /* what is queued uses the observers */
    ed_error_put_back(&kept);
    ed_device_feed_free(r->feed);
    ed_free(r->views);
    ed_free(r->inputs);
    ed_free(r->places);
    ed_free(r->observer_of);
    ed_free(r);
    p->running = NULL;
}

static int read_observers(ed_device_pass *p)
{
    const ed_device *d = p->device;
    int rc = ED_OK;
    ed_seen *seen = ed_calloc(p->n, sizeof *seen);
    p->seen = ed_calloc(p->n, sizeof *p->seen);
    p->counts = ed_calloc(p->n * p->bins, sizeof *p->counts);
    if (!seen || !p->seen || !p->counts)
        ED_GOTO(ED_ENOMEM);
    if (p->n && (rc = d->api->observers_get(p->observers, seen, p->counts)) != ED_OK)
        ED_GOTO(ed_backend_failed(d->api, rc));
    for (size_t i = 0; i < p->n; i++)
        p->seen[i] = (ed_observation){ .bins = p->bins,
                                       .counts = p->counts + i * p->bins,
                                       .range = seen[i].range,
                                       .min = seen[i].min,
                                       .max = seen[i].max,
                                       .ema_min = seen[i].ema_min,
                                       .ema_max = seen[i].ema_max,
                                       .total = seen[i].total,
                                       .nonfinite = seen[i].nonfinite };
done:
    ed_free(seen);
    return rc;
}

int ed_device_pass_run(ed_device_pass *pass, ed_runner *runner)
{
    running *r = pass->running;
    r->runner = runner;
    ed_runner_observe_on_device(runner, pass->observers, r->observer_of);
    ED_TRY(run_batches(r));
    if (r->feed)
        ED_TRY(ed_device_feed_judge(r->feed));
    return read_observers(pass);
}

int ed_device_pass_search(ed_range *ranges, const ed_device_pass *p, const ed_method *method,
                          const ed_method_params *params)
{
    ed_search kind;
    unsigned start, levels;
    const ed_device *d = p->device;
    if (!ed_method_search(&kind, &start, &levels, method, params))
        return ED_EUNSUPPORTED;
    int64_t *answers = ed_calloc(p->n, sizeof *answers);
    if (!answers)
        return ED_ENOMEM;
    int rc = d->api->observers_search(p->observers, kind, start, levels, answers);
    for (size_t i = 0; rc == ED_OK && i < p->n; i++)
        ranges[i] = ed_method_answer(method, &p->seen[i], answers[i]);
    ed_free(answers);
    return rc == ED_OK ? ED_OK : ed_backend_failed(d->api, rc);
}

void ed_device_pass_clear(ed_device_pass *pass)
{
    if (pass->observers)
        pass->device->api->observers_free(pass->observers);
    ed_free(pass->seen);
    ed_free(pass->counts);
}
