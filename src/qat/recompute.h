/*
 * Activations that are computed again where gradients read them, instead of being kept from the
 * forward pass: memory for time. What is computed again has the same bits.
 */
#ifndef QAT_RECOMPUTE_H
#define QAT_RECOMPUTE_H

#include "graph/graph.h"

/* Values that can be computed again, the largest first. */
typedef struct ed_recompute {
    ed_id *values;
    int64_t *bytes; /* float32; of each value */
    size_t count;
} ed_recompute;

/* Nodes below n_forward are of the forward pass, the others compute gradients. A value is listed
 * when a gradient reads it and cheap nodes make it of values that stay anyway. */
int ed_recompute_find(ed_recompute *out, const ed_graph *graph, size_t n_forward);
void ed_recompute_clear(ed_recompute *r);
/* Gradients read copies of the first `count` values, each made right before its first reader. */
int ed_recompute_apply(ed_graph *graph, const ed_recompute *r, size_t n_forward, size_t count);

/* "a (12 MiB), b (8 MiB)": the largest values that nodes make. */
void ed_recompute_name_largest(char *out, size_t size, const ed_graph *graph);

/* The bytes that a graph needs for its activations. */
typedef int (*ed_recompute_measure_fn)(void *ctx, int64_t *bytes, const ed_graph *graph);
/* Recompute as few values as keep *graph, which is replaced, within the limit. ED_EINVAL tells what
 * is needed at least. */
int ed_recompute_fit(ed_graph **graph, size_t n_forward, int64_t limit,
                     ed_recompute_measure_fn measure, void *ctx);

#endif
