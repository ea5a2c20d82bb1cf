/* Shared by the tests of the drivers: graphs from text, data files, whole calibrations. */
#ifndef TESTS_CALIB_SAMPLES_H
#define TESTS_CALIB_SAMPLES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "calib/calib.h"

/* Parse; transformed when asked for. */
ed_graph *graph_from(const char *text, bool transformed);
/* Write dataset "x" of float32 (dims[0] samples) to `path`, and int64 labels unless NULL. */
void write_samples(const char *path, const float *data, int rank, const int64_t *dims,
                   const int64_t *labels);
ed_dataset *open_samples(const char *path, const ed_graph *graph, int64_t batch,
                         bool allow_nonfinite);
/* n numbers between -1 and 1, of that seed. */
void fill_numbers(float *x, int64_t n, uint32_t seed);
/* The sentence of the last error holds this text. */
void assert_says(const char *part);

#endif
