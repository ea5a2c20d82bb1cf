/* What the fuzz targets and the program that replays their corpora share. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* libFuzzer's entry: one input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Inputs that were read and went all the way: a corpus in which none does tests nothing. */
extern size_t fuzz_accepted;

/* A property of the library's that no input may break. */
#define FUZZ_ASSERT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, ed_error_last());   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
