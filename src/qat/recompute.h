/* Less memory for more time: backward nodes read values that are made anew. */
#ifndef QAT_RECOMPUTE_H
#define QAT_RECOMPUTE_H

#include "graph/graph.h"

enum {
    ED_RECOMPUTE_NOTHING = 0,
    ED_RECOMPUTE_QUANTIZED = 1 /* only what FakeQuantize makes: it costs next to nothing */
};

/*
 * Nodes below n_forward are the forward pass, all others the backward one; shapes are known. The
 * forward pass is cut into `segments` (from 2 on) of equal memory (Chen et al., 2016). What crosses
 * a cut is stored, and so is the last segment; the rest is computed a second time, right before the
 * first backward node that reads it (the order of execution sees to that).
 */
int ed_recompute(ed_graph *g, size_t n_forward, int64_t segments);

#endif
