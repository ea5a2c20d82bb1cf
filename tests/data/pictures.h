/* A file of small pictures whose labels are their numbers, and its shuffled dataset. */
#ifndef TESTS_DATA_PICTURES_H
#define TESTS_DATA_PICTURES_H

#include "h5write.h"
#include "data/shuffle.h"

#define PATH     "shuffle.h5"
#define PICTURES "input x: f32[N, 3, 5, 4]\n"

enum { C = 3, H = 5, W = 4, PICTURE = C * H * W, MAX_SAMPLES = 256 };

/* What a pixel of a sample is; never 0, so that zeros are what crop put there. */
uint8_t pixel(int64_t sample, int c, int y, int x);

typedef struct file_spec {
    int64_t samples;
    bool channels_last, labels;
    hid_t stored; /* 0: uint8 */
    hsize_t chunk;
} file_spec;
void write_file(const file_spec *spec);

/* These assert that it works. */
ed_dataset *open_good(const char *inputs, int64_t batch, int64_t limit);
void shuffle_good(ed_dataset *data, uint64_t seed, const char *augment);
ed_batch next_good(ed_dataset *data);

#endif
