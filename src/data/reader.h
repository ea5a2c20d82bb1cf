/* An open dataset inside, and the reading of its batches. */
#ifndef DATA_READER_H
#define DATA_READER_H

#include "data/prefetch.h"
#include "data/raw.h"
#include "data/source.h"
#include "ed/dataset.h"

/* What the thread fills and the caller sees: one batch. */
typedef struct ed_batch_slot {
    void **data;        /* per input, room for a full batch */
    ed_tensor *tensors; /* views of `data` of the batch's size */
    const ed_tensor **views;
    int64_t *labels;
    int64_t nonfinite;
} ed_batch_slot;

struct ed_dataset {
    char *path;
    hid_t file;
    size_t n_sources;
    ed_source *sources; /* per graph input */
    ed_h5_dataset labels;
    bool has_labels, allow_nonfinite;
    int64_t samples, count, batch; /* in the file; to be read; per batch */
    int64_t asked_batch;           /* may be more than `count`; 0: none was asked for */
    uint64_t hash;
    int64_t nonfinite;
    void *raw; /* stored rows of one input, before conversion: the thread's */
    ed_batch_slot slots[ED_PREFETCH_SLOTS];
    ed_prefetch *prefetch;
    int current;            /* slot of the batch that the caller has */
    struct ed_order *order; /* order.h; NULL: the file's */
    /* raw.c */
    bool is_raw;
    ed_raw_memory raw_memory;
    void **raw_slots[ED_PREFETCH_SLOTS]; /* per input */
};

/* Allocate raw and slots for d->batch samples. ED_ESHAPE (too large), ED_ENOMEM; what was allocated
 * is released by ed_reader_free_buffers() in every case. */
int ed_reader_new_buffers(ed_dataset *d);
void ed_reader_free_buffers(ed_dataset *d);
/* An ed_prefetch_fn: read and convert a batch; ctx is the dataset. ED_EIO, ED_EFORMAT (an integer
 * that the input cannot hold), ED_ENONFINITE. */
int ed_reader_fill(void *ctx, int index, int64_t first, int64_t count);

/* Copy rows as ed_h5_read_rows(), from any thread. */
int ed_reader_rows(const ed_h5_dataset *data, int64_t first, int64_t count, hid_t type, void *to);
/* Read ahead, unless it is done already or there is nothing to read. ED_ENOMEM. */
int ed_reader_start(ed_dataset *d);
/* End the thread; the next batch starts it anew. */
void ed_reader_stop(ed_dataset *d);

#endif
