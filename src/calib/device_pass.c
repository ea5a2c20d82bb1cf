/*
 * The calibration pass on a device. Batches are queued and never waited for: the host's part is
 * reading the file. Samples of 8 bits go to the device as the file stores them, four times less to
 * copy, while the batch before runs, and are decoded there.
 */
#include "calib/device_pass.h"

#include "base/mem.h"
#include "data/raw.h"
#include "exec/on_device.h"
#include "graph/graph.h"

typedef struct raw_input {
    void *memory, *mean, *std; /* on the device */
} raw_input;

typedef struct ed_device_feed {
    ed_device_pass *pass;
    ed_runner *runner; /* while it runs */
    uint32_t *observer_of;
    size_t n_inputs;
    ed_tensor *views; /* of the executor's inputs */
    const ed_tensor **inputs;
    bool is_raw;
    raw_input *raw;
    uint64_t *bad; /* on the device */
} feed;

/* ---- samples as stored ---- */

static int upload_new(const ed_device *d, void **out, const void *data, size_t nbytes)
{
    ED_DEVICE_TRY(d, d->api->alloc(d->handle, out, nbytes));
    if (data)
        ED_DEVICE_TRY(d, d->api->copy_in(d->handle, *out, data, nbytes));
    return ED_OK;
}

static int alloc_raw(void *ctx, void **out, size_t nbytes)
{
    const ed_device *d = ctx;
    ED_DEVICE_TRY(d, d->api->alloc_host(d->handle, out, nbytes));
    return ED_OK;
}

static void free_raw(void *ctx, void *memory)
{
    const ed_device *d = ctx;
    d->api->free_host(d->handle, memory);
}

static int begin_raw(feed *f)
{
    const ed_device *d = f->pass->device;
    ed_raw_memory memory = { (void *)(uintptr_t)d, alloc_raw, free_raw };
    void *bad = NULL;
    f->is_raw = ed_dataset_raw_possible(f->pass->data);
    if (!f->is_raw)
        return ED_OK;
    ED_TRY(ed_dataset_raw_begin(f->pass->data, &memory));
    ED_TRY(ed_dataset_rewind(f->pass->data)); /* the thread reads from now on */
    ED_TRY(upload_new(d, &bad, NULL, sizeof *f->bad));
    f->bad = bad;
    ED_DEVICE_TRY(d, d->api->zero(d->handle, bad, sizeof *f->bad));
    for (size_t i = 0; i < f->n_inputs; i++) {
        const ed_convert *how;
        raw_input *r = &f->raw[i];
        ed_dataset_raw(f->pass->data, i, &how);
        size_t factors = (size_t)how->channels * sizeof(float);
        ED_TRY(upload_new(d, &r->memory, NULL, ed_dataset_raw_bytes(f->pass->data, i)));
        if (!how->mean)
            continue;
        ED_TRY(upload_new(d, &r->mean, how->mean, factors));
        ED_TRY(upload_new(d, &r->std, how->std, factors));
    }
    return ED_OK;
}

static int feed_raw(feed *f, const ed_exec *exec, const ed_batch *batch)
{
    const ed_device *d = f->pass->device;
    for (size_t i = 0; i < f->n_inputs; i++) {
        const ed_convert *how;
        const void *from = ed_dataset_raw(f->pass->data, i, &how);
        ed_decode decode = { .from = how->from,
                             .channels_last = how->channels_last,
                             .samples = batch->size,
                             .channels = how->channels,
                             .plane = how->plane,
                             .mean = f->raw[i].mean,
                             .std = f->raw[i].std };
        size_t nbytes =
            (size_t)(batch->size * how->channels * how->plane) * (ed_dtype_bits(how->from) / 8);
        ED_DEVICE_TRY(d, d->api->upload(d->handle, f->raw[i].memory, from, nbytes));
        ED_DEVICE_TRY(d, d->api->decode(d->handle, ed_exec_device_input(exec, i), f->raw[i].memory,
                                        &decode, f->bad));
        f->views[i] = *batch->inputs[i];
        f->views[i].data = ed_exec_device_input(exec, i);
    }
    return ED_OK;
}

/* ---- batches ---- */

static int run_batch(feed *f, const ed_batch *batch)
{
    const ed_device *d = f->pass->device;
    ed_exec *exec;
    ED_TRY(ed_runner_exec(&exec, f->runner, batch->size));
    if (!f->is_raw)
        return ed_exec_run(exec, batch->inputs, f->runner->outputs);
    ED_TRY(feed_raw(f, exec, batch));
    ED_TRY(ed_exec_run(exec, f->inputs, f->runner->outputs));
    ED_DEVICE_TRY(d, d->api->uploaded(d->handle)); /* the thread may fill this slot again */
    return ED_OK;
}

/* Bytes are numbers, but a std that is tiny makes infinities of them. */
static int judge_raw(const feed *f)
{
    const ed_device *d = f->pass->device;
    uint64_t bad = 0;
    if (!f->is_raw)
        return ED_OK;
    ED_DEVICE_TRY(d, d->api->copy_out(d->handle, &bad, f->bad, sizeof bad));
    return ed_dataset_raw_judge(f->pass->data, (int64_t)bad);
}

static int run_batches(feed *f)
{
    int64_t done = 0, total = ed_dataset_count(f->pass->data);
    ED_TRY(ed_dataset_rewind(f->pass->data));
    ED_TRY(ed_calib_tell(f->pass->opts, 0, total));
    for (;;) {
        ed_batch batch;
        ED_TRY(ed_dataset_next(f->pass->data, &batch));
        if (!batch.size)
            return ED_OK;
        ED_TRY(run_batch(f, &batch));
        done += batch.size;
        ED_TRY(ed_calib_tell(f->pass->opts, done, total));
    }
}

int ed_device_pass_begin(ed_device_pass *p)
{
    const ed_device *d = p->device;
    feed *f = p->feed = ed_calloc(1, sizeof *f);
    if (!f)
        return ED_ENOMEM;
    f->pass = p;
    ED_TRY(ed_device_use(d));
    f->n_inputs = ed_graph_input_count(p->graph);
    f->views = ed_calloc(f->n_inputs, sizeof *f->views);
    f->inputs = ed_calloc(f->n_inputs, sizeof(ed_tensor *));
    f->raw = ed_calloc(f->n_inputs, sizeof *f->raw);
    f->observer_of = ed_malloc(p->graph->n_values * sizeof *f->observer_of);
    if (!f->views || !f->inputs || !f->raw || !f->observer_of)
        return ED_ENOMEM;
    for (size_t i = 0; i < f->n_inputs; i++)
        f->inputs[i] = &f->views[i];
    for (size_t v = 0; v < p->graph->n_values; v++)
        f->observer_of[v] = ED_NONE;
    for (size_t i = 0; i < p->n; i++) {
        ed_id v = ed_graph_find_value(p->graph, p->values[i]);
        ED_FAIL_IF(v == ED_NONE, ED_ENOTFOUND, "the graph has no value '%s' to observe",
                   p->values[i]);
        f->observer_of[v] = (uint32_t)i;
    }
    ED_DEVICE_TRY(d, d->api->observers_new(d->handle, &p->observers, p->n, p->bins, p->ema));
    return begin_raw(f);
}

void ed_device_pass_end(ed_device_pass *p)
{
    const ed_device *d = p->device;
    feed *f = p->feed;
    if (!f)
        return;
    ed_error_kept kept = ed_error_keep(); /* a device that was lost fails at everything */
    d->api->sync(d->handle);              /* what is queued uses the memory */
    ed_dataset_raw_end(p->data);
    for (size_t i = 0; f->raw && i < f->n_inputs; i++) {
        d->api->free(d->handle, f->raw[i].memory);
        d->api->free(d->handle, f->raw[i].mean);
        d->api->free(d->handle, f->raw[i].std);
    }
    d->api->free(d->handle, f->bad);
    ed_free(f->raw);
    ed_free(f->views);
    ed_free(f->inputs);
    ed_free(f->observer_of);
    ed_free(f);
    p->feed = NULL;
    ed_error_put_back(&kept);
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
    pass->feed->runner = runner;
    ed_runner_observe_on_device(runner, pass->observers, pass->feed->observer_of);
    ED_TRY(run_batches(pass->feed));
    ED_TRY(judge_raw(pass->feed));
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
