/*
 * Shuffled reading: a permutation for each epoch, rows from memory or from the file.
 *
 * A batch of a file that stays where it is is read in the file's order, neighbours together, and
 * put in its own order afterwards: compressed chunks are then unpacked once a batch.
 */
#include "data/order.h"

#include "base/available.h"
#include "base/mem.h"

#include <string.h>

/* ---- making ---- */

/* A picture as `s` stores it; false when the input is none. */
static bool picture_of(ed_picture *out, const ed_source *s)
{
    const ed_shape *shape = &s->shape;
    size_t element = ed_dtype_bits(s->data.dtype) / 8;
    if (shape->rank != 4)
        return false;
    bool last = s->convert.channels_last;
    *out = (ed_picture){ .planes = last ? 1 : shape->dim[1],
                         .height = shape->dim[2],
                         .width = shape->dim[3],
                         .pixel = last ? element * (size_t)shape->dim[1] : element };
    return true;
}

static int check_augment(const ed_order *o, const ed_dataset *d)
{
    bool pictures = false;
    for (size_t i = 0; i < d->n_sources; i++) {
        ed_picture picture;
        const char *which = NULL;
        if (!picture_of(&picture, &d->sources[i]))
            continue;
        pictures = true;
        ED_FAIL_IF(!ed_augment_fits(&o->augment, &picture, &which), ED_EINVAL,
                   "augment: %s moves by as much as a picture of %lld x %lld in %s: dataset '%s' "
                   "has; choose less",
                   which, (long long)picture.height, (long long)picture.width, d->path,
                   d->sources[i].data.name);
    }
    ED_FAIL_IF(o->augment.count && !pictures, ED_EINVAL,
               "augment: %s has no pictures [samples, channels, height, width], and only those are "
               "augmented; leave the option out",
               d->path);
    return ED_OK;
}

static size_t row_bytes(const ed_dataset *d, size_t i)
{
    return d->sources[i].data.row_bytes;
}

static void free_rows(ed_order *o, const ed_dataset *d)
{
    for (size_t i = 0; o->rows && i < d->n_sources; i++)
        ed_free(o->rows[i]);
    ed_free(o->rows);
    o->rows = NULL;
}

/* True when all samples take at most a quarter of the memory that is left. */
static bool fits_memory(const ed_dataset *d)
{
    size_t total = 0, bytes = 0;
    for (size_t i = 0; i < d->n_sources; i++)
        if (!ed_mul_size(row_bytes(d, i), (size_t)d->count, &bytes) ||
            !ed_add_size(total, bytes, &total))
            return false;
    return total <= (uint64_t)ed_memory_available() / 4;
}

/* Without the memory the samples stay in the file: no error. */
static int load_rows(ed_order *o, const ed_dataset *d)
{
    o->rows = fits_memory(d) ? ed_calloc(d->n_sources, sizeof *o->rows) : NULL;
    for (size_t i = 0; o->rows && i < d->n_sources; i++) {
        o->rows[i] = ed_aligned_alloc(row_bytes(d, i) * (size_t)d->count);
        if (!o->rows[i])
            free_rows(o, d);
    }
    for (size_t i = 0; o->rows && i < d->n_sources; i++)
        ED_TRY(ed_reader_rows(&d->sources[i].data, 0, d->count, 0, o->rows[i]));
    return ED_OK;
}

static int allocate(ed_order *o, const ed_dataset *d)
{
    size_t largest = 0, count = (size_t)d->count;
    for (size_t i = 0; i < d->n_sources; i++)
        largest = row_bytes(d, i) > largest ? row_bytes(d, i) : largest;
    o->samples = ed_calloc(count, sizeof *o->samples);
    o->picks = o->samples ? ed_calloc((size_t)d->batch, sizeof *o->picks) : NULL;
    o->scratch = o->picks ? ed_aligned_alloc(largest) : NULL;
    if (o->scratch && !o->rows) /* the product: checked with the batch's buffers */
        o->run = ed_aligned_alloc(largest * (size_t)d->batch);
    if (!o->scratch || (!o->rows && !o->run))
        return ED_ENOMEM;
    if (!d->has_labels)
        return ED_OK;
    o->labels = ed_calloc(count, sizeof *o->labels);
    return o->labels ? ed_reader_rows(&d->labels, 0, d->count, H5T_NATIVE_INT64, o->labels)
                     : ED_ENOMEM;
}

int ed_order_new(ed_order **out, const ed_dataset *d, uint64_t seed, const char *augment)
{
    *out = NULL;
    ed_order *o = ed_calloc(1, sizeof *o);
    if (!o)
        return ED_ENOMEM;
    o->seed = seed;
    int rc = ED_OK;
    ED_GOTO(ed_augment_parse(&o->augment, augment));
    ED_GOTO(check_augment(o, d));
    ED_GOTO(load_rows(o, d));
    ED_GOTO(allocate(o, d));
    ed_order_begin(o, d, 0, 0);
done:
    if (rc != ED_OK)
        ed_order_free(o, d);
    else
        *out = o;
    return rc;
}

void ed_order_free(ed_order *o, const ed_dataset *d)
{
    if (!o)
        return;
    free_rows(o, d);
    ed_free(o->samples);
    ed_free(o->picks);
    ed_free(o->labels);
    ed_free(o->run);
    ed_free(o->scratch);
    ed_free(o);
}

/* ---- the order ---- */

/* Fisher and Yates, from the file's order. */
void ed_order_begin(ed_order *o, const ed_dataset *d, int64_t epoch, int64_t first)
{
    o->epoch_seed = ed_random_seed(o->seed, (uint64_t)epoch);
    o->first = first;
    ed_random random = { o->epoch_seed };
    for (int64_t i = 0; i < d->count; i++)
        o->samples[i] = i;
    for (int64_t i = d->count - 1; i > 0; i--) {
        int64_t j = (int64_t)ed_random_below(&random, (uint64_t)i + 1), kept = o->samples[i];
        o->samples[i] = o->samples[j];
        o->samples[j] = kept;
    }
}

int64_t ed_order_sample(const ed_order *o, const ed_dataset *d, int64_t position)
{
    return o->samples[(o->first + position) % d->count];
}

void ed_order_labels(const ed_order *o, const ed_dataset *d, int64_t first, int64_t count,
                     int64_t *to)
{
    for (int64_t k = 0; k < count; k++)
        to[k] = o->labels[ed_order_sample(o, d, first + k)];
}

/* ---- rows ---- */

static int compare_picks(const void *a, const void *b)
{
    const struct ed_order_pick *x = a, *y = b;
    return x->sample != y->sample ? (x->sample > y->sample) - (x->sample < y->sample)
                                  : (x->at > y->at) - (x->at < y->at);
}

/* Samples of the batch from the file; a sample may come twice. */
static int read_runs(const ed_order *o, const ed_dataset *d, size_t i, int64_t first, int64_t count,
                     char *to)
{
    size_t bytes = row_bytes(d, i);
    for (int64_t k = 0; k < count; k++)
        o->picks[k] = (struct ed_order_pick){ ed_order_sample(o, d, first + k), k };
    qsort(o->picks, (size_t)count, sizeof *o->picks, compare_picks);
    for (int64_t begin = 0, end; begin < count; begin = end) {
        const struct ed_order_pick *p = &o->picks[begin];
        for (end = begin + 1; end < count && o->picks[end].sample <= o->picks[end - 1].sample + 1;)
            end++;
        int64_t length = o->picks[end - 1].sample - p->sample + 1;
        ED_TRY(ed_reader_rows(&d->sources[i].data, p->sample, length, 0, o->run));
        for (int64_t k = begin; k < end; k++)
            memcpy(to + (size_t)o->picks[k].at * bytes,
                   (char *)o->run + (size_t)(o->picks[k].sample - p->sample) * bytes, bytes);
    }
    return ED_OK;
}

int ed_order_read(const ed_order *o, const ed_dataset *d, size_t i, int64_t first, int64_t count,
                  void *to)
{
    size_t bytes = row_bytes(d, i);
    ed_picture picture;
    char *rows = to;
    if (!o->rows)
        ED_TRY(read_runs(o, d, i, first, count, rows));
    for (int64_t k = 0; o->rows && k < count; k++)
        memcpy(rows + (size_t)k * bytes,
               (char *)o->rows[i] + (size_t)ed_order_sample(o, d, first + k) * bytes, bytes);
    if (!o->augment.count || !picture_of(&picture, &d->sources[i]))
        return ED_OK;
    for (int64_t k = 0; k < count; k++) {
        ed_random random = { ed_random_seed(~o->epoch_seed, (uint64_t)(o->first + first + k)) };
        ed_augment_run(&o->augment, &picture, rows + (size_t)k * bytes, o->scratch, random);
    }
    return ED_OK;
}
