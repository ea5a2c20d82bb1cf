/*
 * What an executor holds on a device: the arena, the inputs (which must keep their place, because a
 * recorded batch knows addresses), and copies of the constants that steps read; and here, copies of
 * the outputs and the operands of steps that run on the host.
 */
#include "exec/exec_impl.h"

enum { ALIGN = 256 };

static int copy_constants(ed_exec *x)
{
    const ed_device *d = x->device;
    x->device_constants = ed_calloc(x->n_buffers, sizeof(void *));
    if (!x->device_constants)
        return ED_ENOMEM;
    for (size_t i = 0; i < x->n_buffers; i++) {
        const ed_buffer *b = &x->buffers[i];
        if (b->home != ED_HOME_CONSTANT)
            continue;
        const ed_tensor *t = x->constants[b->value];
        ED_DEVICE_TRY(d, d->api->alloc(d->handle, &x->device_constants[i], t->nbytes));
        if (t->nbytes)
            ED_DEVICE_TRY(d,
                          d->api->copy_in(d->handle, x->device_constants[i], t->data, t->nbytes));
    }
    return ED_OK;
}

static int place_inputs(ed_exec *x)
{
    const ed_device *d = x->device;
    size_t total = 0;
    for (size_t i = 0; i < x->graph->n_inputs; i++)
        total += (x->buffers[i].tensor.nbytes + ALIGN) / ALIGN * ALIGN;
    ED_DEVICE_TRY(d, d->api->alloc(d->handle, &x->device_inputs, total));
    total = 0;
    for (size_t i = 0; i < x->graph->n_inputs; i++) {
        x->buffers[i].tensor.data = (char *)x->device_inputs + total;
        total += (x->buffers[i].tensor.nbytes + ALIGN) / ALIGN * ALIGN;
    }
    return ED_OK;
}

static int copy_of(ed_tensor **out, const ed_exec *x, uint32_t buffer)
{
    if (buffer == ED_NONE)
        return ED_OK;
    const ed_tensor *t = &x->buffers[buffer].tensor;
    return ed_tensor_new(out, t->dtype, &t->shape);
}

static int make_host_tensors(ed_exec *x)
{
    x->device_outputs = ed_calloc(x->graph->n_outputs, sizeof(ed_tensor *));
    if (!x->device_outputs)
        return ED_ENOMEM;
    for (size_t i = 0; i < x->graph->n_outputs; i++)
        ED_TRY(copy_of(&x->device_outputs[i], x, x->outputs[i]));
    for (size_t i = 0; i < x->n_steps; i++) {
        ed_step *s = &x->steps[i];
        if (!s->on_host)
            continue;
        s->host_in = ed_arena_alloc(x->arena, s->n_in, sizeof(ed_tensor *));
        s->host_out = ed_arena_alloc(x->arena, s->n_out, sizeof(ed_tensor *));
        if (!s->host_in || !s->host_out)
            return ED_ENOMEM;
        for (uint32_t k = 0; k < s->n_in; k++)
            ED_TRY(copy_of(&s->host_in[k], x, s->in[k]));
        for (uint32_t k = 0; k < s->n_out; k++)
            ED_TRY(copy_of(&s->host_out[k], x, s->out[k]));
    }
    return ED_OK;
}

int ed_exec_device_staging(ed_exec *x)
{
    const ed_device *d = x->device;
    int64_t most = 1;
    for (size_t i = 0; i < x->n_buffers; i++)
        if (x->observed[x->buffers[i].value] && x->buffers[i].tensor.numel > most)
            most = x->buffers[i].tensor.numel;
    if (!x->plain)
        x->plain = ed_aligned_alloc((size_t)most * sizeof *x->plain);
    if (!x->plain)
        return ED_ENOMEM;
    if (!x->staging)
        ED_DEVICE_TRY(d, d->api->alloc(d->handle, &x->staging, (size_t)most * sizeof *x->plain));
    return ED_OK;
}

int ed_exec_device_memory(ed_exec *x)
{
    const ed_device *d = x->device;
    void *memory = NULL, *scratch = NULL;
    ED_DEVICE_TRY(d, d->api->alloc(d->handle, &memory, x->memory_bytes));
    x->memory = memory;
    ED_DEVICE_TRY(d, d->api->alloc(d->handle, &scratch, x->scratch_bytes));
    x->scratch = scratch;
    ED_TRY(place_inputs(x));
    ED_TRY(copy_constants(x));
    ED_TRY(make_host_tensors(x));
    ED_DEVICE_TRY(d, d->api->sync(d->handle));
    return ED_OK;
}

static void free_host_tensors(ed_exec *x)
{
    for (size_t i = 0; x->device_outputs && i < x->graph->n_outputs; i++)
        ed_tensor_free(x->device_outputs[i]);
    ed_free(x->device_outputs);
    for (size_t i = 0; i < x->n_steps; i++) {
        ed_step *s = &x->steps[i];
        for (uint32_t k = 0; s->host_in && k < s->n_in; k++)
            ed_tensor_free(s->host_in[k]);
        for (uint32_t k = 0; s->host_out && k < s->n_out; k++)
            ed_tensor_free(s->host_out[k]);
    }
}

void ed_exec_device_free(ed_exec *x)
{
    const ed_device *d = x->device;
    ed_error_kept kept = ed_error_keep(); /* a device that was lost fails at everything */
    d->api->use(d->handle);
    d->api->sync(d->handle); /* nothing that still runs may lose its memory */
    d->api->graph_free(d->handle, x->recorded);
    for (size_t i = 0; i < ED_LENGTH(x->marks); i++)
        d->api->mark_free(d->handle, x->marks[i]);
    free_host_tensors(x);
    for (size_t i = 0; x->device_constants && i < x->n_buffers; i++)
        d->api->free(d->handle, x->device_constants[i]);
    ed_free(x->device_constants);
    void *memory[] = { x->memory, x->scratch, x->device_inputs, x->staging };
    for (size_t i = 0; i < ED_LENGTH(memory); i++)
        d->api->free(d->handle, memory[i]);
    x->memory = x->scratch = NULL;
    ed_error_put_back(&kept);
}
