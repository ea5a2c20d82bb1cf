/* Checkpoints: named tensors and texts in an HDF5 file that is whole or refused. */
#ifndef QAT_CHECKPOINT_H
#define QAT_CHECKPOINT_H

#include "base/error.h"
#include "ed/tensor.h"

typedef struct ed_checkpoint ed_checkpoint;

int ed_checkpoint_new(ed_checkpoint **out);
void ed_checkpoint_free(ed_checkpoint *c); /* NULL is allowed */

/* Copy in numbers or a text under a name, in place of what had that name. '/' in a name makes
 * groups in the file ("last/weights/conv1.weight"); any other characters are allowed too, "" is
 * not. ED_EUNSUPPORTED (a dtype other than float32, float64 and whole bytes of integers),
 * ED_ESHAPE, ED_ENOMEM. */
int ed_checkpoint_set(ed_checkpoint *c, const char *name, ed_dtype dtype, const ed_shape *shape,
                      const void *data);
int ed_checkpoint_set_text(ed_checkpoint *c, const char *name, const char *text);
/* Borrowed; NULL when there is no such name, or the other kind under it. */
const ed_tensor *ed_checkpoint_get(const ed_checkpoint *c, const char *name);
const char *ed_checkpoint_text(const ed_checkpoint *c, const char *name);

/* ED_EFORMAT: <path> or <path>.previous is no checkpoint, and would be lost. */
int ed_checkpoint_check_path(const char *path);
/* Write a file whole or not at all; a sound checkpoint that was there becomes <path>.previous.
 * ED_EIO, ED_EFORMAT (as ed_checkpoint_check_path(): all stays), ED_ENOTFOUND (no such folder),
 * ED_ENOMEM. */
int ed_checkpoint_write(const ed_checkpoint *c, const char *path);
/* Read `path`, or <path>.previous where `path` is missing or damaged: *note is then the sentence
 * that says so (malloced), else NULL. ED_ENOTFOUND, ED_EIO, ED_EFORMAT, ED_ENOMEM. */
int ed_checkpoint_read(ed_checkpoint **out, const char *path, char **note);

#endif
