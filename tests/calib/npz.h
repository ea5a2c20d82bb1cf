/* Arrays of an uncompressed .npz file, for tests. */
#ifndef CALIB_NPZ_H
#define CALIB_NPZ_H

#include <stddef.h>
#include <stdint.h>

typedef struct npz {
    char *data;
    size_t size;
} npz;

typedef struct npz_array {
    const void *data; /* little-endian, row-major; unaligned */
    char descr[8];    /* "<f4", "<u8", ... */
    int64_t dim[8];
    int rank;
    int64_t numel;
} npz_array;

/* 0 when the file was read; npz->data is released with free(). */
int npz_open(npz *file, const char *path);
/* 0 when the member "<name>.npy" is there and stored without compression. */
int npz_find(npz_array *array, const npz *file, const char *name);

#endif
