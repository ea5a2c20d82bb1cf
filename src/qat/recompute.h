/* Less memory for more time: backward nodes read values that are made anew. */
#ifndef QAT_RECOMPUTE_H
#define QAT_RECOMPUTE_H

#include "graph/graph.h"

/*
 * Nodes below n_forward are the forward pass, all others the backward one; shapes are known. The
 * forward pass is cut into `segments` (2 and more) of equal memory (Chen et al., 2016). What
 * crosses a cut is stored, and so is the last segment; the rest is computed a second time, right
 * before the first backward node that reads it (the order of execution sees to that).
 */
int ed_recompute(ed_graph *g, size_t n_forward, int64_t segments);

#endif
