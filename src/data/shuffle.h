/* Training data: a new order for each epoch, full batches, augmented pictures. */
#ifndef DATA_SHUFFLE_H
#define DATA_SHUFFLE_H

#include "base/error.h"
#include "ed/dataset.h"

/*
 * What an epoch reads is a function of (seed, epoch) alone: a permutation of the samples, repeated
 * until the last batch is full; and what happens to the sample at position k of an epoch one of
 * (seed, epoch, k). No other state is random: going on at (epoch, batch) is bit for bit the
 * straight run.
 */
typedef struct ed_shuffle {
    uint64_t seed;
    const char *augment; /* "flip,crop=4": rows of augment.c, in this order; NULL or "": none */
} ed_shuffle;

/* Read shuffled from now on, beginning with epoch 0; NULL: in the file's order again. The batch is
 * then the one that was asked for, even of a file with fewer samples. Not between
 * ed_dataset_raw_begin() and ed_dataset_raw_end(). What fits well into memory is read once.
 * ED_EINVAL (augment: the sentence lists what there is), ED_EIO, ED_ESHAPE (batch too large),
 * ED_ENOMEM. */
int ed_dataset_shuffle(ed_dataset *d, const ed_shuffle *how);
/* Begin an epoch (>= 0) of a shuffled dataset at a batch of 0 to ed_dataset_batches(), which is the
 * epoch's end. Reading ahead begins at once; ed_dataset_rewind() comes back to there. ED_ENOMEM. */
int ed_dataset_epoch(ed_dataset *d, int64_t epoch, int64_t first_batch);
/* Batches of an epoch, ceil(samples / batch); all of them are full when shuffled. */
int64_t ed_dataset_batches(const ed_dataset *d);

#endif
