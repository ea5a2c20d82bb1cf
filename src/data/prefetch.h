/* A thread that fills one of two slots with the next batch while the other one is used. */
#ifndef DATA_PREFETCH_H
#define DATA_PREFETCH_H

#include "base/error.h"

enum { ED_PREFETCH_SLOTS = 2 };

/* Fill `slot` with samples [first, first + count). Runs on the thread, never twice at a time. */
typedef int (*ed_prefetch_fn)(void *ctx, int slot, int64_t first, int64_t count);

typedef struct ed_prefetch ed_prefetch;
/* Begins to fill at once. total and batch are at least 1. ED_ENOMEM */
int ed_prefetch_new(ed_prefetch **out, int64_t total, int64_t batch, ed_prefetch_fn fill,
                    void *ctx);
/* Give back the last slot and wait for the next one; *count is 0 behind the last sample. What
 * `fill` failed with comes here in its place, with its sentence, and again at each further call. */
int ed_prefetch_next(ed_prefetch *p, int *slot, int64_t *count);
/* Begin again with sample 0; the last slot is given back. */
void ed_prefetch_rewind(ed_prefetch *p);
/* Ends the thread, waiting for the batch that it reads. NULL is allowed. */
void ed_prefetch_free(ed_prefetch *p);

#endif
