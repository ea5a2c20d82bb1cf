/* Switching a dataset between the file's order and shuffled epochs. */
#include "data/shuffle.h"

#include "data/order.h"

#include <assert.h>
#include <string.h>

/* Buffers for another size of the batch. */
static int set_batch(ed_dataset *d, int64_t batch)
{
    if (batch == d->batch)
        return ED_OK;
    ed_dataset before = *d;
    d->batch = batch;
    d->raw = NULL;
    memset(d->slots, 0, sizeof d->slots);
    int rc = ed_reader_new_buffers(d);
    if (rc != ED_OK) {
        ed_reader_free_buffers(d);
        *d = before;
        return rc;
    }
    ed_reader_free_buffers(&before);
    return ED_OK;
}

int ed_dataset_shuffle(ed_dataset *d, const ed_shuffle *how)
{
    assert(!d->is_raw);
    ed_reader_stop(d);
    ed_order_free(d->order, d);
    d->order = NULL;
    int64_t largest = d->batch < d->count ? d->batch : d->count;
    ED_TRY(set_batch(d, how && d->asked_batch > d->count ? d->asked_batch : largest));
    int rc = how ? ed_order_new(&d->order, d, how->seed, how->augment) : ED_OK;
    if (rc != ED_OK)
        (void)set_batch(d, largest); /* a large batch does no harm either */
    return rc;
}

int ed_dataset_epoch(ed_dataset *d, int64_t epoch, int64_t first_batch)
{
    assert(d->order && epoch >= 0 && first_batch >= 0 && first_batch <= ed_dataset_batches(d));
    ed_reader_stop(d);
    ed_order_begin(d->order, d, epoch, first_batch * d->batch);
    d->nonfinite = 0;
    return ed_reader_start(d);
}

int64_t ed_dataset_batches(const ed_dataset *d)
{
    return (d->count - 1) / d->batch + 1;
}
