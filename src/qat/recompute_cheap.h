/*
 * Activations of little work that are computed again where gradients read them, instead of being
 * kept from the forward pass. They have the same bits.
 */
#ifndef QAT_RECOMPUTE_CHEAP_H
#define QAT_RECOMPUTE_CHEAP_H

#include "graph/graph.h"

/* Values that can be computed again, the largest first. */
typedef struct ed_cheap {
    ed_id *values;
    int64_t *bytes; /* float32; of each value */
    size_t count;
} ed_cheap;

/* Nodes below n_forward are of the forward pass, the others compute gradients. A value is listed
 * when a gradient reads it and cheap nodes make it of values that stay anyway. */
int ed_cheap_find(ed_cheap *out, const ed_graph *graph, size_t n_forward);
void ed_cheap_clear(ed_cheap *r);
/* Gradients read copies of the first `count` values, each made right before its first reader. */
int ed_cheap_apply(ed_graph *graph, const ed_cheap *r, size_t n_forward, size_t count);
/* "a (12 MiB), b (8 MiB)": the largest values that nodes make. */
void ed_name_largest(char *out, size_t size, const ed_graph *graph);

#endif
