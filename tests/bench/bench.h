/* What the benchmarks share: a clock, and an end with a sentence when something fails. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <ed/ed.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double bench_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void bench_check(int rc)
{
    if (rc == ED_OK)
        return;
    fprintf(stderr, "%s\n", ed_error_last());
    exit(1);
}

#endif
