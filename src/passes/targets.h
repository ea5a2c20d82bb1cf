/* Hardware profiles: the rules that place QDQ, and what a quantized graph must fulfil. */
#ifndef PASSES_TARGETS_H
#define PASSES_TARGETS_H

#include "graph/graph.h"
#include "ops/op.h"

/* An optional rule: why this weighted node might better stay in float, or NULL. No function: the
 * rule is about something else than weighted nodes. */
typedef struct ed_target_skip {
    const char *name, *help;
    const char *(*reason)(const ed_graph *g, const ed_node *node);
} ed_target_skip;

typedef struct ed_target_rule_check {
    const char *rule; /* what the target accepts, a clause for messages */
    const char *advice;
    bool (*breaks)(const ed_graph *g, const ed_node *node);
} ed_target_rule_check;

typedef struct ed_target {
    const char *name, *help;
    const ed_target_skip *skips;        /* off by default; ends with a zeroed row */
    const ed_target_rule_check *checks; /* ends with a zeroed row */
} ed_target;

/* NULL: the default. ED_ENOTFOUND lists the targets. */
int ed_target_find(const ed_target **out, const char *name);

/* Output-channel axis of a weighted node's weight, -1 for per-tensor. */
int ed_weight_axis(const ed_graph *g, const ed_node *node);

#endif
