/*
 * A run on a device: inputs in, steps, outputs out. Steps are only queued; where all of them are
 * the device's own, the second run records them as a graph and further ones replay it, which costs
 * one call instead of one a kernel. Steps for which the device has no kernel run here, with copies
 * around them.
 */
#include "exec/exec_impl.h"

void ed_exec_device_forget(ed_exec *x)
{
    const ed_device *d = x->device;
    if (!x->recorded)
        return;
    ed_error_kept kept = ed_error_keep();
    d->api->sync(d->handle);
    d->api->graph_free(d->handle, x->recorded);
    x->recorded = NULL;
    ed_error_put_back(&kept);
}

/* ---- observers ---- */

const ed_device *ed_exec_device(const ed_exec *x)
{
    return x->device;
}

void *ed_exec_device_input(const ed_exec *x, size_t i)
{
    return x->buffers[i].tensor.data;
}

void ed_exec_device_place(ed_exec *x, size_t i, void *memory)
{
    ed_exec_device_forget(x);
    x->buffers[i].tensor.data = memory;
}

void *ed_exec_device_output(const ed_exec *x, size_t i)
{
    return x->buffers[x->outputs[i]].tensor.data;
}

void ed_exec_largest_on_device(ed_exec *x, const ed_exec_largest *list, size_t n)
{
    ed_exec_device_forget(x);
    x->largest = list;
    x->n_largest = list ? n : 0;
}

void ed_exec_observe_on_device(ed_exec *x, void *observers, const uint32_t *observer_of)
{
    ed_exec_device_forget(x);
    x->observers = observers;
    x->observer_of = observer_of;
}

/* Puts the name of a value before the backend's sentence. */
static int value_failed(const ed_exec *x, int rc, const char *what, ed_id value)
{
    return ed_error_context(ed_backend_failed(x->device->api, rc), "%s '%s'", what,
                            x->graph->values[value].name);
}

/* Hand an observed value to the caller's function, in row-major order. */
static int show(ed_exec *x, const ed_buffer *b)
{
    const ed_device *d = x->device;
    const void *data = b->tensor.data;
    int rc = ED_OK;
    ED_TRY(ed_exec_device_staging(x));
    if (b->layout != ED_LAYOUT_PLAIN && b->tensor.numel) {
        rc = d->api->convert(d->handle, x->staging, ED_LAYOUT_PLAIN, data, b->layout,
                             &b->tensor.shape);
        data = x->staging;
    }
    if (rc == ED_OK && b->tensor.numel)
        rc = d->api->copy_out(d->handle, x->plain, data, b->tensor.nbytes);
    if (rc != ED_OK)
        return value_failed(x, rc, "value", b->value);
    return x->observe(x->observe_ctx, x->graph->values[b->value].name, x->plain, b->tensor.numel,
                      0);
}

static int observe(ed_exec *x, uint32_t buffer)
{
    const ed_device *d = x->device;
    if (buffer == ED_NONE || !x->observed[x->buffers[buffer].value])
        return ED_OK;
    const ed_buffer *b = &x->buffers[buffer];
    uint32_t index = x->observers ? x->observer_of[b->value] : ED_NONE;
    int rc = index == ED_NONE ? ED_OK
                              : d->api->observers_add(x->observers, index, b->tensor.data,
                                                      b->layout, b->tensor.numel);
    for (size_t i = 0; rc == ED_OK && i < x->n_largest; i++)
        if (x->largest[i].value == b->value)
            rc = d->api->largest(d->handle, x->largest[i].largest, b->tensor.data, b->layout,
                                 b->tensor.numel);
    if (rc != ED_OK)
        return value_failed(x, rc, "value", b->value);
    return x->observe ? show(x, b) : ED_OK;
}

/* Inputs, and constants that a step reads: no step computes them. */
static int observe_given(ed_exec *x)
{
    for (uint32_t i = 0; i < x->n_buffers; i++)
        if (x->buffers[i].home != ED_HOME_ARENA && x->where[x->buffers[i].value] == i)
            ED_TRY(observe(x, i));
    return ED_OK;
}

/* ---- steps ---- */

static int run_on_host(ed_exec *x, const ed_step *s)
{
    const ed_device *d = x->device;
    for (uint32_t k = 0; k < s->n_in; k++)
        if (s->host_in[k] && s->host_in[k]->nbytes)
            ED_DEVICE_TRY(d, d->api->copy_out(d->handle, s->host_in[k]->data,
                                              s->in_tensors[k]->data, s->host_in[k]->nbytes));
    ed_call call = { .node = s->node,
                     .params = x->order_params[s->position],
                     .n_in = s->n_in,
                     .n_out = s->n_out,
                     .in = (const ed_tensor *const *)s->host_in,
                     .out = s->host_out };
    ED_TRY(s->kernel->run(&call));
    for (uint32_t k = 0; k < s->n_out; k++)
        if (s->host_out[k] && s->host_out[k]->nbytes)
            ED_DEVICE_TRY(d, d->api->copy_in(d->handle, s->out_tensors[k]->data,
                                             s->host_out[k]->data, s->host_out[k]->nbytes));
    ED_DEVICE_TRY(d, d->api->sync(d->handle)); /* the next run writes the operands anew */
    return ED_OK;
}

static int copy_value(const ed_exec *x, const ed_step *s)
{
    const ed_device *d = x->device;
    const ed_buffer *from = &x->buffers[s->in[0]], *to = &x->buffers[s->out[0]];
    if (to->tensor.data == from->tensor.data || !to->tensor.numel)
        return ED_OK;
    if (s->node || ed_layout_same_storage(from->layout, to->layout, &to->tensor.shape))
        ED_DEVICE_TRY(d, d->api->copy(d->handle, to->tensor.data, from->tensor.data,
                                      to->layout == ED_LAYOUT_PLAIN
                                          ? to->tensor.nbytes
                                          : (size_t)to->numel * ed_layout_element(to->layout)));
    else
        ED_DEVICE_TRY(d, d->api->convert(d->handle, to->tensor.data, to->layout, from->tensor.data,
                                         from->layout, &to->tensor.shape));
    return ED_OK;
}

static int run_step(ed_exec *x, const ed_step *s)
{
    if (s->on_host)
        return run_on_host(x, s);
    if (!s->kernel)
        return copy_value(x, s);
    ed_call call = { .node = s->node,
                     .params = x->order_params[s->position],
                     .state = s->state,
                     .scratch = x->scratch,
                     .device = x->device->handle,
                     .n_in = s->n_in,
                     .n_out = s->n_out,
                     .in = s->in_tensors,
                     .out = s->out_tensors };
    int rc = s->kernel->run(&call);
    return rc == ED_OK ? ED_OK : ed_backend_failed(x->device->api, rc);
}

/* Puts the step's node, or the value that changes its layout, before the sentence. */
static int step_failed(const ed_exec *x, int rc, const ed_step *s)
{
    const ed_graph *g = x->graph;
    if (s->node)
        return ed_error_context(rc, "%s", ed_node_label(g, s->node));
    return ed_error_context(rc, "value '%s'", g->values[x->buffers[s->in[0]].value].name);
}

static int measure(ed_exec *x, ed_step *s)
{
    const ed_device *d = x->device;
    double seconds = 0;
    ED_DEVICE_TRY(d, d->api->mark(d->handle, &x->marks[0]));
    ED_TRY(run_step(x, s));
    ED_DEVICE_TRY(d, d->api->mark(d->handle, &x->marks[1]));
    ED_DEVICE_TRY(d, d->api->seconds(d->handle, &seconds, x->marks[0], x->marks[1]));
    s->seconds += seconds;
    return ED_OK;
}

static int run_steps(ed_exec *x)
{
    ED_TRY(observe_given(x));
    for (size_t i = 0; i < x->n_steps; i++) {
        ed_step *s = &x->steps[i];
        int rc = x->profile ? measure(x, s) : run_step(x, s);
        if (rc != ED_OK)
            return step_failed(x, rc, s);
        for (uint32_t k = 0; s->node && k < s->n_out; k++)
            ED_TRY(observe(x, s->out[k]));
    }
    return ED_OK;
}

/* ---- the run ---- */

static bool may_record(const ed_exec *x)
{
    if (x->profile || x->observe || x->no_recording)
        return false;
    for (size_t i = 0; i < x->n_steps; i++)
        if (x->steps[i].on_host)
            return false;
    return true;
}

int ed_exec_device_warm(ed_exec *x)
{
    const ed_device *d = x->device;
    for (size_t i = 0; i < x->n_steps; i++)
        if (x->steps[i].on_host)
            return ED_OK; /* zeros may be no sound input of what runs here */
    for (size_t i = 0; i < x->graph->n_inputs; i++)
        if (x->buffers[i].tensor.nbytes)
            ED_DEVICE_TRY(
                d, d->api->zero(d->handle, x->buffers[i].tensor.data, x->buffers[i].tensor.nbytes));
    for (size_t i = 0; i < x->n_steps; i++) { /* one at a time: a kernel that fails has a name */
        int rc = run_step(x, &x->steps[i]);
        if (rc == ED_OK && (rc = d->api->sync(d->handle)) != ED_OK)
            ed_backend_failed(d->api, rc);
        if (rc != ED_OK)
            return step_failed(x, rc, &x->steps[i]);
    }
    return ED_OK;
}

/* Where the recording cannot be made, runs go on without one. */
static int record(ed_exec *x)
{
    const ed_device *d = x->device;
    void *graph = NULL;
    int rc = d->api->capture_begin(d->handle);
    x->no_recording = rc == ED_EUNSUPPORTED;
    if (rc != ED_OK)
        return x->no_recording ? ED_OK : ed_backend_failed(d->api, rc);
    rc = run_steps(x);
    if (rc == ED_OK) {
        x->no_recording = d->api->capture_end(d->handle, &graph) != ED_OK;
        x->recorded = graph;
        return ED_OK;
    }
    ed_error_kept kept = ed_error_keep();
    d->api->capture_end(d->handle, &graph);
    d->api->graph_free(d->handle, graph);
    ed_error_put_back(&kept);
    return rc;
}

static int copy_inputs(ed_exec *x, const ed_tensor *const *inputs)
{
    const ed_device *d = x->device;
    for (size_t i = 0; i < x->graph->n_inputs; i++) {
        void *to = x->buffers[i].tensor.data;
        int rc = ED_OK;
        if (inputs[i]->nbytes && inputs[i]->data != to)
            rc = d->api->copy_in(d->handle, to, inputs[i]->data, inputs[i]->nbytes);
        if (rc != ED_OK)
            return value_failed(x, rc, "input", x->graph->inputs[i]);
    }
    return ED_OK;
}

static int copy_outputs(ed_exec *x)
{
    const ed_device *d = x->device;
    for (size_t i = 0; i < x->graph->n_outputs; i++) {
        const ed_tensor *t = &x->buffers[x->outputs[i]].tensor;
        int rc = ED_OK;
        if (t->nbytes)
            rc = d->api->copy_out(d->handle, x->device_outputs[i]->data, t->data, t->nbytes);
        if (rc != ED_OK)
            return value_failed(x, rc, "output", x->graph->outputs[i]);
    }
    return ED_OK;
}

int ed_exec_device_steps(ed_exec *x)
{
    const ed_device *d = x->device;
    if (!x->recorded && x->runs > 0 && may_record(x))
        ED_TRY(record(x));
    if (x->recorded)
        ED_DEVICE_TRY(d, d->api->replay(d->handle, x->recorded));
    else
        ED_TRY(run_steps(x));
    return ED_OK;
}

int ed_exec_device_run(ed_exec *x, const ed_tensor *const *inputs)
{
    ED_TRY(copy_inputs(x, inputs));
    ED_TRY(ed_exec_device_steps(x));
    return x->no_outputs ? ED_OK : copy_outputs(x);
}
