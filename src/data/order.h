/* The order of shuffled reading, inside of an open dataset. */
#ifndef DATA_ORDER_H
#define DATA_ORDER_H

#include "data/augment.h"
#include "data/reader.h"

typedef struct ed_order {
    uint64_t seed, epoch_seed;
    ed_augment augment;
    int64_t first;         /* position in the epoch where reading began */
    int64_t *samples;      /* [count], the epoch's permutation */
    struct ed_order_pick { /* [batch]: a batch in the file's order */
        int64_t sample, at;
    } * picks;
    void **rows;     /* per input: all samples as stored, or NULL: they stay in the file */
    int64_t *labels; /* [count] or NULL */
    void *run;       /* a batch of rows as they lie in the file */
    void *scratch;   /* a row, for augmentation */
} ed_order;

/* For d->count samples and d->batch. ED_EINVAL, ED_EIO, ED_ENOMEM; `out` is NULL then. */
int ed_order_new(ed_order **out, const ed_dataset *d, uint64_t seed, const char *augment);
void ed_order_free(ed_order *o, const ed_dataset *d);
/* The permutation of an epoch. */
void ed_order_begin(ed_order *o, const ed_dataset *d, int64_t epoch, int64_t first);
/* The sample at a position counted from o->first. */
int64_t ed_order_sample(const ed_order *o, const ed_dataset *d, int64_t position);
/* Rows of input i for positions [first, first + count), augmented. ED_EIO. */
int ed_order_read(const ed_order *o, const ed_dataset *d, size_t i, int64_t first, int64_t count,
                  void *to);
void ed_order_labels(const ed_order *o, const ed_dataset *d, int64_t first, int64_t count,
                     int64_t *to);

#endif
