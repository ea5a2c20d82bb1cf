/*
 * The batches of an open dataset: their buffers, allocated once, and filling them.
 *
 * A batch goes from the file to `raw`, as stored, and from there to a slot, as the model takes it.
 */
#include "data/reader.h"

#include "base/mem.h"
#include "data/order.h"
#include "data/shuffle.h"

static const size_t max_batch_bytes = (size_t)1 << 36; /* beyond it a size is a mistake */

/* ---- buffers ---- */

/* Bytes of a full batch of one input as stored and as fed. */
static int batch_bytes(const ed_dataset *d, const ed_source *s, size_t *stored, size_t *fed)
{
    size_t numel = (size_t)d->batch;
    bool fits = ed_mul_size(s->data.row_bytes, (size_t)d->batch, stored);
    for (int i = 1; i < s->shape.rank; i++)
        fits = fits && ed_mul_size(numel, (size_t)s->shape.dim[i], &numel);
    fits = fits && ed_mul_size(numel, ed_dtype_bits(s->convert.to) / 8, fed);
    ED_FAIL_IF(!fits || *stored > max_batch_bytes || *fed > max_batch_bytes, ED_ESHAPE,
               "%s: dataset '%s': a batch of %lld samples takes more than 64 GiB; use a smaller "
               "batch, or check the dataset's shape",
               d->path, s->data.name, (long long)d->batch);
    return ED_OK;
}

static int new_slot(ed_batch_slot *slot, const ed_dataset *d)
{
    size_t n = d->n_sources, stored = 0, fed = 0;
    slot->data = ed_calloc(n, sizeof *slot->data);
    slot->tensors = slot->data ? ed_calloc(n, sizeof *slot->tensors) : NULL;
    slot->views = slot->tensors ? ed_calloc(n, sizeof(ed_tensor *)) : NULL;
    if (!slot->views)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        ED_TRY(batch_bytes(d, &d->sources[i], &stored, &fed));
        slot->data[i] = ed_aligned_alloc(fed);
        if (!slot->data[i])
            return ED_ENOMEM;
        slot->views[i] = &slot->tensors[i];
    }
    if (d->has_labels && !(slot->labels = ed_calloc((size_t)d->batch, sizeof *slot->labels)))
        return ED_ENOMEM;
    return ED_OK;
}

static void free_slot(ed_batch_slot *slot, size_t n)
{
    for (size_t i = 0; slot->data && i < n; i++)
        ed_free(slot->data[i]);
    ed_free(slot->data);
    ed_free(slot->tensors);
    ed_free(slot->views);
    ed_free(slot->labels);
}

int ed_reader_new_buffers(ed_dataset *d)
{
    size_t largest = 0, stored = 0, fed = 0;
    for (size_t i = 0; i < d->n_sources; i++) {
        ED_TRY(batch_bytes(d, &d->sources[i], &stored, &fed));
        largest = stored > largest ? stored : largest;
    }
    d->raw = ed_aligned_alloc(largest);
    if (!d->raw)
        return ED_ENOMEM;
    for (int i = 0; i < ED_PREFETCH_SLOTS; i++)
        ED_TRY(new_slot(&d->slots[i], d));
    return ED_OK;
}

void ed_reader_free_buffers(ed_dataset *d)
{
    for (int i = 0; i < ED_PREFETCH_SLOTS; i++)
        free_slot(&d->slots[i], d->n_sources);
    ed_free(d->raw);
}

/* ---- reading, on the thread ---- */

int ed_reader_rows(const ed_h5_dataset *data, int64_t first, int64_t count, hid_t type, void *to)
{
    ed_h5_enter();
    int rc = ed_h5_read_rows(data, first, count, type, to);
    ed_h5_leave();
    return rc;
}

static int read_input(const ed_dataset *d, size_t i, int64_t first, int64_t count, void *to)
{
    return d->order ? ed_order_read(d->order, d, i, first, count, to)
                    : ed_reader_rows(&d->sources[i].data, first, count, 0, to);
}

static int read_labels(const ed_dataset *d, int64_t first, int64_t count, int64_t *to)
{
    if (!d->has_labels)
        return ED_OK;
    if (!d->order)
        return ed_reader_rows(&d->labels, first, count, H5T_NATIVE_INT64, to);
    ed_order_labels(d->order, d, first, count, to);
    return ED_OK;
}

static int judge(const ed_dataset *d, const ed_source *s, const ed_convert_bad *bad, int64_t first)
{
    int64_t at = first + bad->first_sample;
    long long sample = d->order && bad->count ? ed_order_sample(d->order, d, at) : at;
    ED_FAIL_IF(bad->count && s->convert.to != ED_F32, ED_EFORMAT,
               "%s: dataset '%s' has %lld values in the batch of sample %lld that the model's "
               "input of type %s cannot hold",
               d->path, s->data.name, (long long)bad->count, sample, ed_dtype_name(s->convert.to));
    ED_FAIL_IF(
        bad->count && !d->allow_nonfinite, ED_ENONFINITE,
        "%s: dataset '%s' gives NaN or infinity, first in sample %lld, %lld values in its "
        "batch; repair the data (or see --allow-nonfinite of ed-calibrate, ed-eval, ed-bench)",
        d->path, s->data.name, sample, (long long)bad->count);
    return ED_OK;
}

int ed_reader_fill(void *ctx, int index, int64_t first, int64_t count)
{
    ed_dataset *d = ctx;
    ed_batch_slot *slot = &d->slots[index];
    slot->nonfinite = 0;
    for (size_t i = 0; i < d->n_sources; i++) {
        const ed_source *s = &d->sources[i];
        ed_shape shape = s->shape;
        shape.dim[0] = count;
        if (d->is_raw) {
            ED_TRY(read_input(d, i, first, count, d->raw_slots[index][i]));
            ED_TRY(ed_tensor_view(&slot->tensors[i], s->convert.to, &shape, NULL));
            continue;
        }
        ED_TRY(read_input(d, i, first, count, d->raw));
        ed_convert_bad bad = ed_convert_run(&s->convert, slot->data[i], d->raw, count);
        ED_TRY(judge(d, s, &bad, first));
        slot->nonfinite += bad.count;
        ED_TRY(ed_tensor_view(&slot->tensors[i], s->convert.to, &shape, slot->data[i]));
    }
    return read_labels(d, first, count, slot->labels);
}

/* Samples of one pass: of an epoch, from where it began. */
static int64_t samples_ahead(const ed_dataset *d)
{
    return d->order ? ed_dataset_batches(d) * d->batch - d->order->first : d->count;
}

int ed_reader_start(ed_dataset *d)
{
    return d->prefetch || samples_ahead(d) == 0
               ? ED_OK
               : ed_prefetch_new(&d->prefetch, samples_ahead(d), d->batch, ed_reader_fill, d);
}

void ed_reader_stop(ed_dataset *d)
{
    ed_prefetch_free(d->prefetch);
    d->prefetch = NULL;
}
