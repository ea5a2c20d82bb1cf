/* Switching a dataset between converted batches and those as stored. */
#include "data/raw.h"

#include "base/mem.h"
#include "data/reader.h"

bool ed_dataset_raw_possible(const ed_dataset *d)
{
    for (size_t i = 0; i < d->n_sources; i++) {
        const ed_convert *c = &d->sources[i].convert;
        if (c->to != ED_F32 || (c->from != ED_U8 && c->from != ED_I8))
            return false;
    }
    return d->n_sources > 0;
}

size_t ed_dataset_raw_inputs(const ed_dataset *d)
{
    return d->n_sources;
}

size_t ed_dataset_raw_bytes(const ed_dataset *d, size_t i)
{
    return d->sources[i].data.row_bytes * (size_t)d->batch; /* checked when it was opened */
}

static void release(ed_dataset *d)
{
    for (int k = 0; k < ED_PREFETCH_SLOTS; k++) {
        for (size_t i = 0; d->raw_slots[k] && i < d->n_sources; i++)
            if (d->raw_slots[k][i])
                d->raw_memory.free(d->raw_memory.ctx, d->raw_slots[k][i]);
        ed_free(d->raw_slots[k]);
        d->raw_slots[k] = NULL;
    }
    d->is_raw = false;
}

static int allocate(ed_dataset *d)
{
    for (int k = 0; k < ED_PREFETCH_SLOTS; k++) {
        d->raw_slots[k] = ed_calloc(d->n_sources, sizeof(void *));
        if (!d->raw_slots[k])
            return ED_ENOMEM;
        for (size_t i = 0; i < d->n_sources; i++)
            ED_TRY(d->raw_memory.alloc(d->raw_memory.ctx, &d->raw_slots[k][i],
                                       ed_dataset_raw_bytes(d, i)));
    }
    d->is_raw = true;
    return ED_OK;
}

int ed_dataset_raw_begin(ed_dataset *d, const ed_raw_memory *memory)
{
    ed_reader_stop(d); /* what the thread read ahead is of the other kind */
    d->raw_memory = *memory;
    int rc = allocate(d);
    if (rc != ED_OK)
        release(d);
    return rc;
}

void ed_dataset_raw_end(ed_dataset *d)
{
    if (!d->is_raw)
        return;
    ed_reader_stop(d);
    release(d);
}

const void *ed_dataset_raw(const ed_dataset *d, size_t i, const ed_convert **how)
{
    *how = &d->sources[i].convert;
    return d->raw_slots[d->current][i];
}

int ed_dataset_raw_judge(ed_dataset *d, int64_t nonfinite)
{
    ED_FAIL_IF(nonfinite && !d->allow_nonfinite, ED_ENONFINITE,
               "%s: %lld values of the samples are NaN or infinite after mean and std; repair them "
               "(or see --allow-nonfinite of ed-calibrate, ed-eval, ed-bench)",
               d->path, (long long)nonfinite);
    d->nonfinite += nonfinite;
    return ED_OK;
}
