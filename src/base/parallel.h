/* Data parallelism on the threads that oneDNN uses too (OpenMP), so that they never compete. */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include "base/error.h"

/* Runs fn(ctx, begin, end, thread) over disjoint parts of [0, n); thread < ed_threads_get(). Parts
 * begin at multiples of `grain` (elements; at least 1); a small n runs on the caller's thread. */
typedef void (*ed_range_fn)(void *ctx, int64_t begin, int64_t end, int thread);
ED_PLUGIN void ed_parallel_for(int64_t n, int64_t grain, ed_range_fn fn, void *ctx);

#endif
