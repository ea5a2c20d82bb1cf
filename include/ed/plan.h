/**
 * @file ed/plan.h
 * @brief The passes: what patterns matched, and applying it.
 *
 * Three phases, each of which keeps the numbers of a float model (quantization rounds, by design):
 * conversions rewrite structure, fusions group nodes, quantization places FakeQuantize nodes.
 * Matching never modifies a graph.
 */
#ifndef ED_PLAN_H
#define ED_PLAN_H

#include "ed/graph.h"

ED_BEGIN_DECL

/** Stages of the pipeline, in running order. */
typedef enum ed_phase {
    ED_PHASE_CONVERT, /**< structural rewrites; repeated until nothing matches */
    ED_PHASE_FUSE,    /**< groups of nodes; one pass, longest pattern first */
    ED_PHASE_QUANTIZE /**< which values get QuantizeLinear/DequantizeLinear */
} ed_phase;

/** One match. The pointers belong to the plan and live as long as it does. */
typedef struct ed_match_info {
    const char *pattern; /**< pattern or rule name, e.g. "ConvBNReLU" */
    const char *anchor;  /**< name of the pattern's root node (of the value, for QUANTIZE) */
    const char *detail;  /**< the nodes, e.g. "Conv+Relu conv1, relu1" */
    const char *reason;  /**< why `apply` is false, or NULL */
    bool apply;
} ed_match_info;

/** Options. A zeroed struct, or NULL, means the defaults. */
typedef struct ed_plan_options {
    const char *target;         /**< hardware profile; NULL means "tensorrt" */
    const char *const *exclude; /**< node names, group or pattern names, op types, with * and ? */
    size_t exclude_count;
    const char *const *rules; /**< optional rules to switch on ("skip-depthwise", ...) */
    size_t rules_count;
} ed_plan_options;

typedef struct ed_plan ed_plan;

/**
 * Match the patterns of one phase.
 * @param[out] out  the plan; the caller releases it with ed_plan_free()
 * @param graph     only read; must outlive the plan
 * @return ED_OK, ED_ENOTFOUND (no such target, exclusion or rule) or ED_ENOMEM
 */
ED_API int ed_plan_build(ed_plan **out, const ed_graph *graph, ed_phase phase,
                         const ed_plan_options *opts);
/** Number of matches, whether or not they will be applied. */
ED_API size_t ed_plan_count(const ed_plan *plan);
/** Borrow match i; NULL when out of range. */
ED_API const ed_match_info *ed_plan_at(const ed_plan *plan, size_t i);
/** Apply to `graph`: the one that the plan was built from, or a clone of it. */
ED_API int ed_plan_apply(const ed_plan *plan, ed_graph *graph);
/** Name of the plan's target. */
ED_API const char *ed_plan_target(const ed_plan *plan);
/** Release; NULL is allowed. */
ED_API void ed_plan_free(ed_plan *plan);

/** Conversions to a fixed point, then fusions: what calibration, evaluation and export start from.
 */
ED_API int ed_transform(ed_graph *graph, const ed_plan_options *opts);

/** A value that gets a FakeQuantize. Strings belong to the plan or the graph. */
typedef struct ed_qdq_point {
    const char *value; /**< the quantized value */
    const char *group; /**< name of the consuming group, or of the node outside of groups */
    const char *rule;  /**< "input", "weight", "residual_input", "concat", ... */
    bool weight;       /**< a constant, quantized per `axis` (-1: per tensor) */
    int axis;
    double fixed_scale; /**< > 0: the scale is given (Softmax), nothing is calibrated */
    size_t scale_of; /**< index of the point whose range this one shares (Concat); itself if none */
} ed_qdq_point;
/** Points of a QUANTIZE plan that will be applied. */
ED_API size_t ed_plan_point_count(const ed_plan *plan);
ED_API const ed_qdq_point *ed_plan_point(const ed_plan *plan, size_t i);
/** Give point i its scales before ed_plan_apply(): count is 1, or the size of the axis. All > 0. */
ED_API int ed_plan_set_scales(ed_plan *plan, size_t i, const float *scales, size_t count);

/** Optional rules and hints of a target as a table to print; NULL at the end. */
typedef struct ed_rule_info {
    const char *name, *help;
} ed_rule_info;
ED_API const ed_rule_info *ed_target_rule(const char *target, size_t i);

/** Check a quantized graph against what the target accepts. @return ED_OK, or ED_EUNSUPPORTED with
 *  the rule, the node and what to do */
ED_API int ed_target_check(const ed_graph *graph, const char *target);

ED_END_DECL

#endif
