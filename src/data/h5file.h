/* HDF5 files: open, find, check, read rows and attributes. Knows nothing of graphs. */
#ifndef DATA_H5FILE_H
#define DATA_H5FILE_H

#include "base/error.h"
#include "base/strbuf.h"
#include "ed/tensor.h"

#include <hdf5.h>

/* The HDF5 library keeps global state and is commonly built without locks: every function below is
 * called between these two, from whatever thread. They also keep the library from printing. */
void ed_h5_enter(void);
void ed_h5_leave(void);

/* A dataset [rows, ...] of numbers. */
typedef struct ed_h5_dataset {
    const char *path; /* of the file, for sentences; borrowed */
    char *name;
    hid_t id, space, memory_type;
    ed_dtype dtype; /* an integer or a float of 16, 32 or 64 bits */
    ed_shape shape; /* no axis is empty */
    size_t row_bytes;
} ed_h5_dataset; /* a zeroed struct is a closed one */

/* Open for reading. ED_ENOTFOUND, ED_EIO, ED_EFORMAT. */
int ed_h5_open(hid_t *out, const char *path);
/* Close a file or any other object; 0 is allowed. */
void ed_h5_close(hid_t id);

/* True when the file has a link of that name. */
bool ed_h5_has(hid_t file, const char *name);
/* "'images', 'labels'": the datasets in the root group, at most 16. */
void ed_h5_list(ed_strbuf *out, hid_t file);

/* Open and check a dataset. ED_EFORMAT, ED_EUNSUPPORTED (its type), ED_ESHAPE, ED_ENOMEM. */
int ed_h5_dataset_open(ed_h5_dataset *out, hid_t file, const char *path, const char *name);
/* Copy rows [first, first + count) to `data` (count * row_bytes bytes), in `type`'s format; 0: as
 * they are stored, in the machine's byte order. ED_EIO. */
int ed_h5_read_rows(const ed_h5_dataset *dataset, int64_t first, int64_t count, hid_t type,
                    void *data);
void ed_h5_dataset_close(ed_h5_dataset *dataset);

/* A numeric attribute. *out is NULL when there is none; release with ed_free(). `owner` is the file
 * or dataset as sentences name it. ED_EFORMAT, ED_ENOMEM. */
int ed_h5_attr_numbers(double **out, size_t *count, hid_t object, const char *owner,
                       const char *name);
/* A string attribute of fixed or variable length, likewise. */
int ed_h5_attr_text(char **out, hid_t object, const char *owner, const char *name);

#endif
