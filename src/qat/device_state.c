/*
 * See device_state.h. What the graph reads lies in the executor's inputs: fake-quantized weights
 * and parameters without scales. The rest is one piece of memory. Scales of activations lie side by
 * side, and the executor reads them there.
 */
#include "qat/device_state.h"

#include "base/mem.h"

#include <string.h>

enum { ALIGN = 256 };

struct ed_device_state {
    const ed_device *device;
    ed_train_state *state;
    ed_exec *exec;
    void *memory, *trainer;
    void *recorded;    /* an update, as a graph of the backend */
    bool no_recording; /* one could not be made */
    bool updated;      /* once at least: its kernels are loaded */
    void **at;         /* per field of the state: where it lies there */
    float *qmax;
    ed_exec_largest *largest; /* per quantizer that follows */
    size_t n_largest;
};

/* ---- places ---- */

/* Where the array whose memory here is `data` lies there; NULL for NULL. */
static float *there(const ed_device_state *d, const float *data)
{
    const ed_train_state *s = d->state;
    for (size_t i = 0; data && i < s->n_fields; i++)
        if (s->fields[i].tensor->data == (const void *)data)
            return d->at[i];
    return NULL;
}

static size_t padded(size_t nbytes)
{
    return (nbytes + ALIGN) / ALIGN * ALIGN;
}

/* Fields that the executor reads lie in its inputs. */
static void place_inputs(ed_device_state *d)
{
    const ed_train_state *s = d->state;
    for (size_t i = 0; i < s->plan->n_params; i++)
        for (size_t k = 0; k < s->n_fields; k++)
            if (s->fields[k].tensor == s->inputs[i])
                d->at[k] = ed_exec_device_input(d->exec, s->plan->first_param + i);
}

static int allocate(ed_device_state *d)
{
    const ed_train_state *s = d->state;
    const ed_device *device = d->device;
    size_t qmax = padded(s->plan->n_scales * sizeof *d->qmax), total = qmax;
    for (size_t k = 0; k < s->n_fields; k++)
        total += d->at[k] ? 0 : padded(s->fields[k].tensor->nbytes); /* they all fit here */
    int rc = device->api->alloc(device->handle, &d->memory, total);
    if (rc != ED_OK)
        return ed_error_context(ed_backend_failed(device->api, rc),
                                "%lld MiB for weights, scales and the optimizer's state",
                                (long long)(total >> 20));
    char *next = d->memory;
    d->qmax = (float *)(void *)next;
    next += qmax;
    for (size_t k = 0; k < s->n_fields; k++) {
        if (d->at[k])
            continue;
        d->at[k] = next;
        next += padded(s->fields[k].tensor->nbytes);
    }
    return ED_OK;
}

static void place_scales(ed_device_state *d)
{
    const ed_train_graph *plan = d->state->plan;
    float *scales = there(d, d->state->scales);
    for (size_t i = 0; i < plan->n_scales; i++)
        ed_exec_device_place(d->exec, plan->first_param + plan->n_params + i, scales + i);
}

/* ---- copies ---- */

static int push(ed_device_state *d)
{
    const ed_train_state *s = d->state;
    const ed_device *device = d->device;
    for (size_t k = 0; k < s->n_fields; k++) {
        const ed_tensor *t = s->fields[k].tensor;
        if (t->nbytes)
            ED_DEVICE_TRY(device,
                          device->api->copy_in(device->handle, d->at[k], t->data, t->nbytes));
    }
    for (size_t i = 0; i < s->plan->n_scales; i++) {
        float qmax = (float)s->plan->scales[i].qmax;
        ED_DEVICE_TRY(device,
                      device->api->copy_in(device->handle, d->qmax + i, &qmax, sizeof qmax));
    }
    ED_DEVICE_TRY(device, device->api->sync(device->handle));
    return ED_OK;
}

int ed_device_state_pull(ed_device_state *d)
{
    const ed_train_state *s = d->state;
    const ed_device *device = d->device;
    for (size_t k = 0; k < s->n_fields; k++) {
        const ed_tensor *t = s->fields[k].tensor;
        if (t->nbytes && (s->fields[k].flags & (ED_FIELD_SAVED | ED_FIELD_DEPLOYED)))
            ED_DEVICE_TRY(device,
                          device->api->copy_out(device->handle, t->data, d->at[k], t->nbytes));
    }
    return ED_OK;
}

/* ---- the trainer ---- */

static const float *gradient_of(const ed_device_state *d, size_t i)
{
    size_t output = d->state->plan->gradients[i];
    return output == SIZE_MAX ? NULL : ed_exec_device_output(d->exec, output);
}

static ed_device_parameter weight_of(const ed_device_state *d, size_t i)
{
    const ed_train_state *s = d->state;
    const ed_weight *w = &s->weights[i];
    return (ed_device_parameter){
        .outer = w->outer,
        .channels = w->channels,
        .inner = w->inner,
        .quantized = w->quantized,
        .scaling = w->scaling == ED_WEIGHTS_ABSMAX ? ED_DEVICE_ABSMAX
                   : w->scaling == ED_WEIGHTS_LSQ  ? ED_DEVICE_LSQ
                                                   : ED_DEVICE_FIXED,
        .qmin = w->qmin,
        .qmax = w->qmax,
        .decay = w->decay,
        .master = there(d, w->master),
        .out = there(d, w->quantized_out),
        .gradient = gradient_of(d, i),
        .sum = s->sums ? there(d, s->sums[i]) : NULL,
        .scale = there(d, w->scale),
        .slot = { there(d, w->slot[0]), there(d, w->slot[1]) },
        .scale_slot = { there(d, w->scale_slot[0]), there(d, w->scale_slot[1]) },
        .gradient_factor = 1,
    };
}

/* Scale i of an activation, when it is learned. */
static ed_device_parameter scale_of(const ed_device_state *d, size_t i)
{
    const ed_train_state *s = d->state;
    const ed_train_scale *scale = &s->plan->scales[i];
    const size_t at = s->plan->n_params + i;
    ed_device_parameter p = { .outer = 1,
                              .channels = 1,
                              .inner = 1,
                              .master = there(d, s->scales) + i,
                              .gradient = gradient_of(d, at),
                              .sum = s->sums ? there(d, s->sums[at]) : NULL,
                              .gradient_factor = ed_lsq_factor(scale),
                              .least = ED_LEAST_AMAX / (float)scale->qmax };
    for (size_t k = 0; k < s->settings->optimizer->slots; k++)
        p.slot[k] = there(d, s->scale_slots[k]) + i;
    return p;
}

static int make_trainer(ed_device_state *d)
{
    const ed_train_graph *plan = d->state->plan;
    const ed_device *device = d->device;
    size_t n = plan->n_params + plan->n_scales;
    ed_device_parameter *list = ed_calloc(n, sizeof *list);
    if (!list)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++)
        list[i] = i < plan->n_params ? weight_of(d, i) : scale_of(d, i - plan->n_params);
    int rc = device->api->trainer_new(device->handle, &d->trainer,
                                      d->state->settings->optimizer->device, list, n);
    ed_free(list);
    return rc == ED_OK ? rc : ed_backend_failed(device->api, rc);
}

/* ---- averages ---- */

static int look_for_largest(ed_device_state *d)
{
    const ed_train_graph *plan = d->state->plan;
    float *largest = there(d, d->state->largest);
    if (d->state->settings->scales != ED_SCALES_EMA)
        return ED_OK;
    d->largest = ed_calloc(plan->n_quantizers, sizeof *d->largest);
    if (!d->largest)
        return ED_ENOMEM;
    for (size_t i = 0; i < plan->n_quantizers; i++)
        if (plan->scale_of[i] != SIZE_MAX)
            d->largest[d->n_largest++] =
                (ed_exec_largest){ plan->quantizers[i].input, largest + plan->scale_of[i] };
    ed_exec_largest_on_device(d->exec, d->largest, d->n_largest);
    return ED_OK;
}

void ed_device_state_freeze(ed_device_state *d)
{
    if (d->n_largest)
        ed_exec_largest_on_device(d->exec, NULL, 0);
    d->n_largest = 0;
}

int ed_device_state_follow(ed_device_state *d)
{
    const ed_train_state *s = d->state;
    const ed_device_scales scales = { .n = s->plan->n_scales,
                                      .scale = there(d, s->scales),
                                      .average = there(d, s->averages),
                                      .largest = there(d, s->largest),
                                      .qmax = d->qmax,
                                      .weight = ED_EMA_WEIGHT,
                                      .least = ED_LEAST_AMAX };
    ED_DEVICE_TRY(d->device, d->device->api->follow(d->device->handle, &scales));
    return ED_OK;
}

/* ---- updates ---- */

int ed_device_state_add(ed_device_state *d)
{
    ed_train_state *s = d->state;
    if (s->sums)
        ED_DEVICE_TRY(d->device, d->device->api->trainer_add(d->trainer, s->summed == 0));
    s->summed++;
    return ED_OK;
}

/* As executors record their steps: where it cannot be made, updates go on without one. */
static int record(ed_device_state *d)
{
    const ed_backend *api = d->device->api;
    void *handle = d->device->handle, *graph = NULL;
    int rc = api->capture_begin(handle);
    d->no_recording = rc == ED_EUNSUPPORTED;
    if (rc != ED_OK)
        return d->no_recording ? ED_OK : ed_backend_failed(api, rc);
    rc = api->trainer_step(d->trainer);
    if (rc == ED_OK) {
        d->no_recording = api->capture_end(handle, &graph) != ED_OK;
        d->recorded = graph;
        return ED_OK;
    }
    ed_backend_failed(api, rc);
    ed_error_kept kept = ed_error_keep();
    api->capture_end(handle, &graph);
    api->graph_free(handle, graph);
    ed_error_put_back(&kept);
    return rc;
}

static int queue_update(ed_device_state *d)
{
    const ed_device *device = d->device;
    if (d->updated && !d->recorded && !d->no_recording)
        ED_TRY(record(d));
    d->updated = true;
    ED_DEVICE_TRY(device, d->recorded ? device->api->replay(device->handle, d->recorded)
                                      : device->api->trainer_step(d->trainer));
    return ED_OK;
}

int ed_device_state_update(ed_device_state *d, double learning_rate, ed_device_updated *result)
{
    ed_train_state *s = d->state;
    const ed_backend *api = d->device->api;
    const ed_update u = ed_state_numbers(s, learning_rate);
    const ed_device_update update = { .learning_rate = u.learning_rate,
                                      .scale_learning_rate = u.learning_rate,
                                      .momentum = u.momentum,
                                      .weight_decay = u.weight_decay,
                                      .beta1 = u.beta1,
                                      .beta2 = u.beta2,
                                      .epsilon = u.epsilon,
                                      .t = u.t,
                                      .mean = 1.0 / (double)s->summed,
                                      .clip = s->settings->opts.clip };
    ED_DEVICE_TRY(d->device, api->trainer_set(d->trainer, &update));
    ED_TRY(queue_update(d));
    ED_DEVICE_TRY(d->device, api->trainer_get(d->trainer, result));
    s->updates++;
    s->summed = 0;
    return ED_OK;
}

int ed_device_state_judge(const ed_device_state *d, const ed_device_updated *result, int64_t update)
{
    const ed_train_graph *plan = d->state->plan;
    if (result->bad_gradient >= 0)
        return ed_state_fail_gradient(d->state, (size_t)result->bad_gradient);
    size_t i = (size_t)(result->bad_weight >> 32);
    ED_FAIL_IF(result->bad_weight != UINT64_MAX, ED_ENONFINITE,
               "the parameter '%s' after update %lld: there is NaN or infinity in channel %lld "
               "after the update; use a smaller learning rate, or clip the gradients",
               plan->graph->values[plan->graph->inputs[plan->first_param + i]].name,
               (long long)update, (long long)(result->bad_weight & 0xffffffffu));
    return ED_OK;
}

/* ---- the whole ---- */

static int make(ed_device_state *d)
{
    d->at = ed_calloc(d->state->n_fields, sizeof *d->at);
    if (!d->at)
        return ED_ENOMEM;
    place_inputs(d);
    ED_TRY(allocate(d));
    place_scales(d);
    ED_TRY(push(d));
    ED_TRY(make_trainer(d));
    return look_for_largest(d);
}

int ed_device_state_new(ed_device_state **out, ed_train_state *state, ed_exec *exec)
{
    ed_device_state *d = ed_calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return ED_ENOMEM;
    d->device = ed_exec_device(exec);
    d->state = state;
    d->exec = exec;
    int rc = make(d);
    if (rc != ED_OK) {
        ed_device_state_free(d);
        return rc;
    }
    *out = d;
    return ED_OK;
}

void ed_device_state_free(ed_device_state *d)
{
    if (!d)
        return;
    const ed_device *device = d->device;
    ed_error_kept kept = ed_error_keep(); /* a device that was lost fails at everything */
    device->api->sync(device->handle);    /* what is queued uses the memory */
    device->api->graph_free(device->handle, d->recorded);
    if (d->trainer)
        device->api->trainer_free(d->trainer);
    device->api->free(device->handle, d->memory);
    ed_error_put_back(&kept);
    ed_free(d->at);
    ed_free(d->largest);
    ed_free(d);
}
