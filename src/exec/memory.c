/*
 * Stage 4: one arena for all values. Each buffer lives from the step that writes it to the last one
 * that reads it; the largest are placed first, each at the tightest gap between those placed before
 * that live at the same time.
 */
#include "exec/exec_impl.h"

enum { ALIGN = 256 }; /* what kernels on a device like */

static void extend(ed_exec *x, uint32_t buffer, uint32_t step, bool write)
{
    if (buffer == ED_NONE)
        return;
    ed_buffer *b = &x->buffers[x->buffers[buffer].root];
    if (write && b->first == UINT32_MAX)
        b->first = step;
    if (b->last < step)
        b->last = step;
}

static void find_lifetimes(ed_exec *x)
{
    for (size_t i = 0; i < x->n_buffers; i++)
        x->buffers[i].first = UINT32_MAX;
    for (uint32_t i = 0; i < x->n_steps; i++) {
        const ed_step *s = &x->steps[i];
        for (uint32_t k = 0; k < s->n_in; k++)
            extend(x, s->in[k], i, false);
        for (uint32_t k = 0; k < s->n_out; k++)
            extend(x, s->out[k], i, true);
    }
    for (size_t i = 0; i < x->graph->n_outputs; i++)
        extend(x, x->outputs[i], (uint32_t)x->n_steps, false);
}

static bool in_arena(const ed_buffer *b, const ed_exec *x)
{
    return b->home == ED_HOME_ARENA && b == &x->buffers[b->root];
}

static int by_size(const void *pa, const void *pb)
{
    const ed_buffer *a = *(ed_buffer *const *)pa, *b = *(ed_buffer *const *)pb;
    if (a->nbytes != b->nbytes)
        return a->nbytes < b->nbytes ? 1 : -1;
    return a < b ? -1 : 1;
}

static int by_offset(const void *pa, const void *pb)
{
    const ed_buffer *a = *(ed_buffer *const *)pa, *b = *(ed_buffer *const *)pb;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a < b ? -1 : 1;
}

/* Offset for `b` among `placed` (sorted by offset): the smallest gap that fits, else behind all. */
static size_t find_gap(const ed_buffer *b, ed_buffer *const *placed, size_t n)
{
    size_t end = 0, best = SIZE_MAX, best_size = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const ed_buffer *p = placed[i];
        if (p->last < b->first || b->last < p->first)
            continue;
        if (p->offset > end && p->offset - end >= b->nbytes && p->offset - end < best_size) {
            best = end;
            best_size = p->offset - end;
        }
        if (p->offset + p->nbytes > end)
            end = p->offset + p->nbytes;
    }
    return best != SIZE_MAX ? best : end;
}

static int place(ed_exec *x)
{
    size_t n = 0, total = 0;
    ed_buffer **list = ed_malloc(x->n_buffers * sizeof(ed_buffer *));
    if (!list)
        return ED_ENOMEM;
    for (size_t i = 0; i < x->n_buffers; i++) {
        ed_buffer *b = &x->buffers[i];
        b->nbytes = (b->nbytes + ALIGN) / ALIGN * ALIGN;
        if (in_arena(b, x))
            list[n++] = b;
    }
    qsort(list, n, sizeof(ed_buffer *), by_size);
    for (size_t i = 0; i < n; i++) {
        list[i]->offset = find_gap(list[i], list, i);
        size_t end = list[i]->offset + list[i]->nbytes;
        total = end > total ? end : total;
        qsort(list, i + 1, sizeof(ed_buffer *), by_offset);
    }
    x->memory_bytes = total;
    ed_free(list);
    return ED_OK;
}

static void point(ed_exec *x)
{
    for (size_t i = 0; i < x->n_buffers; i++) {
        ed_buffer *b = &x->buffers[i];
        if (b->home == ED_HOME_ARENA)
            b->tensor.data = x->memory + x->buffers[b->root].offset;
        else if (b->home == ED_HOME_CONSTANT)
            b->tensor.data = x->device ? x->device_constants[i] : x->constants[b->value]->data;
    }
    for (size_t i = 0; i < x->n_steps; i++) {
        ed_step *s = &x->steps[i];
        for (uint32_t k = 0; k < s->n_in; k++)
            s->in_tensors[k] = s->in[k] == ED_NONE ? NULL : &x->buffers[s->in[k]].tensor;
        for (uint32_t k = 0; k < s->n_out; k++)
            s->out_tensors[k] = s->out[k] == ED_NONE ? NULL : &x->buffers[s->out[k]].tensor;
    }
}

/* Room for the largest observed value that lies in another layout than observers ask for. */
static int make_plain(ed_exec *x)
{
    int64_t most = 0;
    for (size_t i = 0; i < x->n_buffers && x->observe_plain; i++) {
        const ed_buffer *b = &x->buffers[i];
        if (x->observed[b->value] && b->layout != ED_LAYOUT_PLAIN && b->tensor.numel > most)
            most = b->tensor.numel;
    }
    if (most && !(x->plain = ed_aligned_alloc((size_t)most * sizeof *x->plain)))
        return ED_ENOMEM;
    return ED_OK;
}

int ed_exec_memory(ed_exec *x)
{
    find_lifetimes(x);
    ED_TRY(place(x));
    for (size_t i = 0; i < x->n_steps; i++)
        if (x->steps[i].scratch > x->scratch_bytes)
            x->scratch_bytes = x->steps[i].scratch;
    if (x->plan_only)
        return ED_OK;
    if (x->device) {
        ED_TRY(ed_exec_device_memory(x));
    } else {
        x->memory = ed_aligned_alloc(x->memory_bytes);
        x->scratch = x->memory ? ed_aligned_alloc(x->scratch_bytes) : NULL;
        if (!x->scratch)
            return ED_ENOMEM;
    }
    point(x);
    return x->device ? ED_OK : make_plain(x);
}
