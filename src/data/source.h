/* A graph input and the HDF5 dataset that feeds it. */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include "data/convert.h"
#include "data/h5file.h"
#include "ed/graph.h"

typedef struct ed_source {
    char *input; /* the graph input's name */
    ed_h5_dataset data;
    ed_shape shape; /* of the input, with the file's number of samples first */
    ed_convert convert;
    float *factors; /* mean and std of each channel, behind `convert`; or NULL */
} ed_source;        /* a zeroed struct is a closed one */

/* Find and check the dataset of an input. `only`: it is the graph's only input, which may also be
 * called "input" or "images" in the file. Between ed_h5_enter() and ed_h5_leave().
 * ED_ENOTFOUND, ED_ESHAPE, ED_EFORMAT, ED_EUNSUPPORTED, ED_EIO, ED_ENOMEM. */
int ed_source_open(ed_source *out, hid_t file, const char *path, const ed_value_info *input,
                   bool only);
void ed_source_close(ed_source *source);

#endif
