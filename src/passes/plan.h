/* A plan inside: what was asked for, matches with their nodes, and quantization points with the
 * inputs they rewire. */
#ifndef PASSES_PLAN_H
#define PASSES_PLAN_H

#include "base/strmap.h"
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

/* A switch set by hand, on one match. */
typedef struct ed_plan_decision {
    ed_phase phase;
    const char *pattern, *anchor;
    bool apply;
} ed_plan_decision;

/* What was asked for: resolving it anew gives the plan. */
typedef struct ed_plan_request {
    ed_arena *arena; /* of the copies below */
    ed_plan_options opts;
    ed_plan_decision *decisions;
    size_t n_decisions, capacity;
} ed_plan_request;

struct ed_plan {
    ed_phase phase;
    ed_plan_request request;
    const ed_graph *source; /* what the plan was built from */
    ed_graph *work;         /* a transformed copy of it, or NULL: owned */
    const ed_graph *graph;  /* what is matched: source or work */
    /* the result */
    ed_arena *arena;
    const ed_target *target;
    ed_pattern *user; /* request.opts.user_patterns as rows */
    ed_phase stage;   /* the phase being matched */
    ed_match_info *matches;
    size_t n_matches, match_capacity;
    ed_match *fused; /* nodes of the matches of phase FUSE, by their index */
    size_t fused_capacity;
    ed_strmap keys; /* phase, pattern and anchor -> index of the first such match */
    ed_placement *points;
    ed_qdq_point *infos; /* one per point */
    size_t n_points, point_capacity, info_capacity;
};

/* ---- plan.c ---- */

/* Append a match; strings are copied. A conversion that matched before is updated instead. */
int ed_plan_add(ed_plan *plan, const char *pattern, const char *anchor, const char *detail,
                const char *reason, const ed_match *match);
/* The first match of that phase, pattern and anchor; NULL. */
ed_match_info *ed_plan_find(const ed_plan *plan, ed_phase phase, const char *pattern,
                            const char *anchor);
/* An empty plan for what was asked; the request is copied. */
int ed_plan_new(ed_plan **out, const ed_graph *source, ed_phase phase, const ed_plan_options *opts);
/* A node's name, or that of its first output. */
const char *ed_plan_anchor(const ed_graph *g, const ed_node *node);

/* ---- plan_run.c ---- */

/* Fill in a plan that is new, but for its request. */
int ed_plan_resolve(ed_plan *plan);
/* Conversions and fusions (ED_TENSORRT_ bits of `stages`) rewrite `g` and are recorded;
 * quantization is only recorded. */
int ed_plan_run(ed_plan *plan, ed_graph *g, unsigned stages);

/* ---- plan_match.c ---- */

/* Match all fusions, the longest first; nodes belong to the first match that takes them. */
int ed_plan_fuse(ed_plan *plan);
/* Append a match with the names of its nodes. */
int ed_plan_record(ed_plan *plan, const ed_match *m, const char *reason);
/* Groups of all matches of phase FUSE that are to be applied. */
int ed_plan_group(const ed_plan *plan, ed_graph *g);

/* ---- plan_edit.c ---- */

extern const char *const ed_plan_disabled; /* the reason of a match that was switched off */
int ed_plan_copy_request(ed_plan_request *to, const ed_plan_options *opts);
/* Note a switch; it replaces an older one. */
int ed_plan_decide(ed_plan *plan, ed_phase phase, const char *pattern, const char *anchor,
                   bool apply);
/* ed_plan_disabled when options or a decision say so, else NULL. */
const char *ed_plan_switched_off(const ed_plan *plan, ed_phase phase, const char *pattern,
                                 const char *anchor);
/* ED_ENOTFOUND when the options disable something that is not there. */
int ed_plan_check_disabled(const ed_plan *plan);
/* Why there is no such match: returns ED_ENOTFOUND. */
int ed_plan_no_match(const ed_plan *plan, const char *pattern, const char *anchor);
/* ED_EINVAL with the reason when a match that should be on is off. */
int ed_plan_check_on(const ed_match_info *m);
/* Resolve the plan's present request into another plan, which borrows the request; *out is released
 * with ed_plan_free_fresh(), also after an error. */
int ed_plan_fresh(ed_plan **out, const ed_plan *plan);
void ed_plan_free_fresh(ed_plan *fresh);
void ed_plan_swap(ed_plan *a, ed_plan *b);

/* ---- user_patterns.c ---- */

/* Check them and make rows of them: plan->user. */
int ed_user_patterns_read(ed_plan *plan);
/* Let the user's row refuse a match of its pattern. */
int ed_user_pattern_ask(ed_plan *plan, ed_match_info *info);
/* The fusion of that name, built in or the user's, or NULL. */
const ed_pattern *ed_plan_fusion(const ed_plan *plan, const char *name);

/* True when a name, a kind, or an operator type fits an exclusion (with * and ?). */
bool ed_plan_excludes(const ed_plan_options *opts, const char *name);

/* Fill a QUANTIZE plan (qdq.c); insert its FakeQuantize nodes. */
int ed_qdq_build(ed_plan *plan, const ed_plan_options *opts);
int ed_qdq_apply(const ed_plan *plan, ed_graph *g);
/* Take away the points that were switched off, and the other operand's where only both count
 * (qdq_edit.c). */
int ed_qdq_edit(ed_plan *plan);

#endif
