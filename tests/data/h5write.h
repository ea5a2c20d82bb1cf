/* Writing the HDF5 files that the dataset tests read, and the graphs that they feed. */
#ifndef TESTS_DATA_H5WRITE_H
#define TESTS_DATA_H5WRITE_H

#include "ed/dataset.h"

#include <hdf5.h>

/* Everything below asserts that it works. A file of a fixed name is made in the working directory.
 */
hid_t h5_create(const char *path);
void h5_close(hid_t file);

/* A dataset of `stored` type from elements of `memory` type; chunk > 0: so many samples, gzip. */
typedef struct h5_spec {
    const char *name;
    hid_t stored, memory;
    int rank;
    hsize_t dims[8];
    const void *data; /* NULL: nothing is written */
    hsize_t chunk;
} h5_spec;
void h5_dataset(hid_t file, const h5_spec *spec);

/* Numbers as float64; count 0: one scalar. */
void h5_numbers(hid_t file, const char *dataset, const char *name, size_t count,
                const double *numbers);
/* size 0: of variable length; else fixed, padded as `pad` says. dataset "." is the file. */
void h5_text(hid_t file, const char *dataset, const char *name, const char *text, size_t size,
             H5T_str_t pad);

/* An IEEE half type, little endian. */
hid_t h5_half(void);

/* A graph with such inputs (and an output that does not use them), from declarations like "input x:
 * f32[N, 3, 8, 8]\n". */
ed_graph *graph_of(const char *inputs);

#endif
