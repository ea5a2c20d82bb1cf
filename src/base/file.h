/* Files: replace one whole or not at all, read one whole, JSON through both. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/error.h"

#include <stdio.h>

/* A file being written aside; the old one stays until ed_atomic_commit(). */
typedef struct ed_atomic_file ed_atomic_file;
/* Opens "<path>.tmp-<pid>-<number>" beside the target; those that a killed process left go. @return
 * ED_OK, ED_EIO, ED_ENOMEM */
ED_PLUGIN int ed_atomic_open(ed_atomic_file **out, const char *path);
ED_PLUGIN FILE *ed_atomic_stream(ed_atomic_file *file);
/* Flush, fsync, rename over the target; frees `file` in every case. ED_EIO: the old file stays. */
ED_PLUGIN int ed_atomic_commit(ed_atomic_file *file);
/* Drop the temporary; NULL is allowed. */
ED_PLUGIN void ed_atomic_abort(ed_atomic_file *file);
/* Remove what killed processes left of writing `path`: temporaries that nobody has locked. */
void ed_atomic_clean(const char *path);
/* (ed_atomic_abort_all(), for signal handlers, is in ed/error.h.) */

/* The whole of a regular file; *data is released with ed_free(). ED_EIO, ED_ENOTFOUND, ED_ENOMEM.
 */
ED_PLUGIN int ed_file_read(void **data, size_t *size, const char *path);

/* "<dir of path>/<name>", malloced; NULL and ED_ENOMEM's sentence on failure. */
char *ed_path_beside(const char *path, const char *name);

#endif
