/* The whole graph inferred, and its small values computed, at several sizes of each symbolic
 * dimension. */
#ifndef PASSES_PROBE_H
#define PASSES_PROBE_H

#include "passes/match.h"

enum { ED_PROBES = 3 };

typedef struct ed_probe {
    ed_type *types;           /* per value */
    const ed_tensor **values; /* per value: what is known of its numbers, or NULL */
    ed_tensor **computed;     /* per value: those of `values` that this probe owns */
    int64_t *sizes;           /* per symbol; ED_DIM_UNKNOWN: no input has it */
} ed_probe;

typedef struct ed_probes {
    ed_graph *g;
    size_t n_values, n_symbols; /* when the probes were made */
    ed_probe at[ED_PROBES];
} ed_probes;

/* The nodes in topological order. Release it also after an error. */
int ed_probes_make(ed_probes *s, ed_graph *g, const ed_id *order, size_t n);
void ed_probes_release(ed_probes *s);

/* The number or symbol that has these sizes; false when it is neither. */
bool ed_probes_settle(const ed_probes *s, const int64_t sizes[ED_PROBES], int64_t *dim);
/* The value's numbers are known, and of one shape, in every probe. */
bool ed_probes_know(const ed_probes *s, ed_id v);
/* They are known, and the same in every probe. */
bool ed_probes_agree(const ed_probes *s, ed_id v);

#endif
