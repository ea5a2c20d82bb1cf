/* Augmentations of pictures as they are stored, before mean and std. */
#ifndef DATA_AUGMENT_H
#define DATA_AUGMENT_H

#include "base/error.h"
#include "base/random.h"

#include <stddef.h>

/* How a stored picture lies: [planes][height][width] pixels of `pixel` bytes. */
typedef struct ed_picture {
    int64_t planes, height, width;
    size_t pixel;
} ed_picture;

struct ed_augment_row;
enum { ED_AUGMENT_MAX = 8 };

/* Rows with their arguments, in the order in which they are applied. */
typedef struct ed_augment {
    size_t count;
    struct ed_augment_step {
        const struct ed_augment_row *row;
        int64_t argument;
    } steps[ED_AUGMENT_MAX];
} ed_augment; /* a zeroed struct is none */

/* From "flip,crop=4"; NULL or "": none. ED_EINVAL, with a list of the rows. */
int ed_augment_parse(ed_augment *out, const char *text);
/* False when a picture is too small for an argument: *which is the name of that row. */
bool ed_augment_fits(const ed_augment *a, const ed_picture *picture, const char **which);
/* Apply all of them to one picture at `data`, which changes in place; scratch is of its size. The
 * numbers that `random` gives do not depend on the picture. */
void ed_augment_run(const ed_augment *a, const ed_picture *picture, void *data, void *scratch,
                    ed_random random);

#endif
