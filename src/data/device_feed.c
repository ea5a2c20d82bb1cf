/* See device_feed.h. Bytes are numbers, but a std that is tiny makes infinities of them: they are
 * counted on the device and looked at once. */
#include "data/device_feed.h"

#include "base/mem.h"
#include "data/raw.h"

typedef struct raw_input {
    void *memory, *mean, *std; /* on the device */
} raw_input;

struct ed_device_feed {
    const ed_device *device;
    ed_dataset *data;
    size_t n_inputs;
    raw_input *inputs;
    void *bad; /* u64 on the device */
};

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

static int begin(ed_device_feed *f)
{
    const ed_device *d = f->device;
    const ed_raw_memory memory = { (void *)(uintptr_t)d, alloc_raw, free_raw };
    ED_TRY(ed_dataset_raw_begin(f->data, &memory));
    f->n_inputs = ed_dataset_raw_inputs(f->data);
    f->inputs = ed_calloc(f->n_inputs, sizeof *f->inputs);
    if (!f->inputs)
        return ED_ENOMEM;
    ED_TRY(upload_new(d, &f->bad, NULL, sizeof(uint64_t)));
    ED_DEVICE_TRY(d, d->api->zero(d->handle, f->bad, sizeof(uint64_t)));
    for (size_t i = 0; i < f->n_inputs; i++) {
        const ed_convert *how;
        raw_input *r = &f->inputs[i];
        ed_dataset_raw(f->data, i, &how);
        size_t factors = (size_t)how->channels * sizeof(float);
        ED_TRY(upload_new(d, &r->memory, NULL, ed_dataset_raw_bytes(f->data, i)));
        if (!how->mean)
            continue;
        ED_TRY(upload_new(d, &r->mean, how->mean, factors));
        ED_TRY(upload_new(d, &r->std, how->std, factors));
    }
    return ED_OK;
}

int ed_device_feed_new(ed_device_feed **out, const ed_device *device, ed_dataset *dataset)
{
    ed_device_feed *f = ed_calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        return ED_ENOMEM;
    f->device = device;
    f->data = dataset;
    int rc = begin(f);
    if (rc != ED_OK) {
        ed_device_feed_free(f);
        return rc;
    }
    *out = f;
    return ED_OK;
}

static int decode(ed_device_feed *f, size_t i, int64_t samples, void *to)
{
    const ed_device *d = f->device;
    const raw_input *r = &f->inputs[i];
    const ed_convert *how;
    const void *from = ed_dataset_raw(f->data, i, &how);
    const ed_decode decoding = { .from = how->from,
                                 .channels_last = how->channels_last,
                                 .samples = samples,
                                 .channels = how->channels,
                                 .plane = how->plane,
                                 .mean = r->mean,
                                 .std = r->std };
    size_t nbytes = (size_t)(samples * how->channels * how->plane) * (ed_dtype_bits(how->from) / 8);
    ED_DEVICE_TRY(d, d->api->upload(d->handle, r->memory, from, nbytes));
    ED_DEVICE_TRY(d, d->api->decode(d->handle, to, r->memory, &decoding, f->bad));
    return ED_OK;
}

int ed_device_feed_batch(ed_device_feed *f, const ed_batch *batch, void *const *to)
{
    for (size_t i = 0; i < f->n_inputs; i++)
        ED_TRY(decode(f, i, batch->size, to[i]));
    return ED_OK;
}

int ed_device_feed_done(ed_device_feed *f)
{
    const ed_device *d = f->device;
    ED_DEVICE_TRY(d, d->api->uploaded(d->handle));
    return ED_OK;
}

int ed_device_feed_judge(ed_device_feed *f)
{
    const ed_device *d = f->device;
    uint64_t bad = 0;
    ED_DEVICE_TRY(d, d->api->copy_out(d->handle, &bad, f->bad, sizeof bad));
    ED_DEVICE_TRY(d, d->api->zero(d->handle, f->bad, sizeof bad));
    return ed_dataset_raw_judge(f->data, (int64_t)bad);
}

void ed_device_feed_free(ed_device_feed *f)
{
    if (!f)
        return;
    const ed_device *d = f->device;
    ed_error_kept kept = ed_error_keep(); /* a device that was lost fails at everything */
    d->api->sync(d->handle);              /* what is queued uses the memory */
    ed_dataset_raw_end(f->data);
    for (size_t i = 0; f->inputs && i < f->n_inputs; i++) {
        d->api->free(d->handle, f->inputs[i].memory);
        d->api->free(d->handle, f->inputs[i].mean);
        d->api->free(d->handle, f->inputs[i].std);
    }
    d->api->free(d->handle, f->bad);
    ed_free(f->inputs);
    ed_free(f);
    ed_error_put_back(&kept);
}
