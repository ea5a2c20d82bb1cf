/* How much is computed again, so that a graph's activations fit into memory. */
#ifndef QAT_RECOMPUTE_FIT_H
#define QAT_RECOMPUTE_FIT_H

#include "graph/graph.h"

/* The bytes that a graph needs for its activations. */
typedef int (*ed_recompute_measure_fn)(void *ctx, int64_t *bytes, const ed_graph *graph);
/*
 * Keep *graph, which is replaced, within the limit: as few cheap values as that takes are computed
 * again, the largest first; where all of them are too few, whole segments of the forward pass are.
 * ED_EINVAL tells what is needed at least.
 */
int ed_recompute_fit(ed_graph **graph, size_t n_forward, int64_t limit,
                     ed_recompute_measure_fn measure, void *ctx);

#endif
