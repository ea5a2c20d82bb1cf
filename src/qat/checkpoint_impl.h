/* A checkpoint in memory, shared by checkpoint.c and the files' side. */
#ifndef QAT_CHECKPOINT_IMPL_H
#define QAT_CHECKPOINT_IMPL_H

#include "base/strmap.h"
#include "qat/checkpoint.h"

typedef struct ed_checkpoint_entry {
    char *name;
    ed_tensor *tensor; /* or */
    char *text;
} ed_checkpoint_entry;

struct ed_checkpoint {
    ed_checkpoint_entry *entries;
    size_t count, capacity;
    ed_strmap index;
};

/* True for types that a checkpoint can hold. */
bool ed_checkpoint_holds(ed_dtype dtype);
/* Put a tensor or a text (the other one is NULL) under a name; owned from now on, freed on failure.
 * ED_EINVAL (no name), ED_ENOMEM. */
int ed_checkpoint_put_take(ed_checkpoint *c, const char *name, ed_tensor *tensor, char *text);

/* All entries as an HDF5 file in memory (released with ed_free()) that will lie behind a user block
 * of `ahead` bytes. ED_EINTERNAL (HDF5 fails), ED_ENOMEM. */
int ed_checkpoint_encode(void **out, size_t *size, const ed_checkpoint *c, size_t ahead);
/* The entries of such a file. ED_EIO, ED_EFORMAT, ED_ENOMEM. */
int ed_checkpoint_decode(ed_checkpoint **out, const char *path);

#endif
