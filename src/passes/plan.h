/* A plan inside: matches with their nodes, and quantization points with the inputs they rewire. */
#ifndef PASSES_PLAN_H
#define PASSES_PLAN_H

#include "passes/match.h"
#include "passes/targets.h"

typedef struct ed_plan_edge { /* input `i` of `node` reads the quantized value */
    ed_id node;
    uint32_t i;
} ed_plan_edge;

typedef struct ed_placement {
    ed_id value;
    ed_plan_edge *edges;
    size_t n_edges, edge_capacity;
    float *scales;
    size_t n_scales; /* 0: not given yet */
} ed_placement;

typedef struct ed_plan_match {
    ed_match_info info;
    ed_match match;
} ed_plan_match;

struct ed_plan {
    ed_phase phase;
    ed_arena *arena;
    const ed_graph *graph;
    const ed_target *target;
    ed_plan_match *matches;
    size_t n_matches, match_capacity;
    ed_placement *points;
    ed_qdq_point *infos; /* one per point */
    size_t n_points, point_capacity, info_capacity;
};

/* Append a match; strings are copied. */
int ed_plan_add(ed_plan *plan, const char *pattern, const char *anchor, const char *detail,
                const char *reason, const ed_match *match);

/* True when a name, a kind, or an operator type fits an exclusion (with * and ?). */
bool ed_plan_excludes(const ed_plan_options *opts, const char *name);

/* Fill a QUANTIZE plan (qdq.c); insert its FakeQuantize nodes. */
int ed_qdq_build(ed_plan *plan, const ed_plan_options *opts);
int ed_qdq_apply(const ed_plan *plan, ed_graph *g);

#endif
