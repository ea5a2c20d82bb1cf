/**
 * @file ed/plan.h
 * @brief The passes: what patterns matched, a plan to read and edit, and applying it.
 *
 * Three phases, each of which keeps the numbers of a float model (quantization rounds, by design):
 * conversions rewrite structure, fusions group nodes, quantization places FakeQuantize nodes.
 * ed_transform() is the first two in one shot. A plan is the same as a list that can be edited:
 * building one never modifies the graph.
 */
#ifndef ED_PLAN_H
#define ED_PLAN_H

#include "ed/graph.h"

ED_BEGIN_DECL

/** Stages of the pipeline, in running order. */
typedef enum ed_phase {
    ED_PHASE_CONVERT,  /**< structural rewrites; repeated until nothing matches */
    ED_PHASE_FUSE,     /**< groups of nodes; one pass, longest pattern first */
    ED_PHASE_QUANTIZE, /**< which values get QuantizeLinear/DequantizeLinear */
    ED_PHASE_ALL       /**< a plan of all three, from the graph as it was read */
} ed_phase;

/** Groups of patterns, to be joined with |. Quantized patterns stand on the groups that fusions
 * make, and include them. */
enum {
    ED_TENSORRT_CONVERSION_PATTERNS = 1 << 0,
    ED_TENSORRT_FUSION_PATTERNS = 1 << 1,
    ED_TENSORRT_QUANTIZED_PATTERNS = 1 << 2,
    ED_TENSORRT_PATTERNS = (1 << 3) - 1
};

/** One match. The pointers belong to the plan and live until it is changed or released. */
typedef struct ed_match_info {
    const char *pattern; /**< pattern or rule name, e.g. "ConvBNReLU" */
    const char *anchor;  /**< name of the pattern's root node (of the value, for QUANTIZE) */
    const char *detail;  /**< the nodes, e.g. "Conv+Relu conv1, relu1" */
    const char *reason;  /**< why `apply` is false, or NULL */
    bool apply;
    ed_phase phase;
    const char *const *nodes; /**< names of the matched nodes (QUANTIZE: of the readers) */
    size_t node_count;
    const char *const *inputs; /**< names of the values that they read from outside */
    size_t input_count;
} ed_match_info;

/* ---- patterns of your own ---- */

/** What an input of a pattern's node must be. After the last stated one inputs are free. */
enum {
    ED_INPUT_FREE = 0, /**< ends the list */
    ED_INPUT_ANY,      /**< some value */
    ED_INPUT_CONSTANT, /**< an initializer, or FakeQuantize of one */
    ED_INPUT_NODE =
        16 /**< ED_INPUT_NODE + i: the output of node i, an earlier one of the pattern */
};
enum { ED_PATTERN_MAX_NODES = 8, ED_PATTERN_MAX_INPUTS = 6 };

typedef struct ed_pattern_node {
    const char *op; /**< "Conv", "Gemm|MatMul"; NULL ends the pattern */
    uint8_t in[ED_PATTERN_MAX_INPUTS];
    bool optional; /**< may be absent: then its ED_INPUT_NODE input stands for it */
} ed_pattern_node;

/** A fusion of the user's: nodes that become a group of kind `name`. Nothing is rewritten, so that
 * it cannot change what the model computes. */
typedef struct ed_user_pattern {
    const char *name;             /**< of letters, digits and _; not one of the built-in ones */
    const ed_pattern_node *nodes; /**< producers first; the last one is the root */
    /** Why these nodes are better left alone (static text), or NULL; may be NULL itself. */
    const char *(*reject)(void *ctx, const ed_graph *graph, const ed_match_info *match);
    void *ctx;
    const char *before; /**< the fusion before which it is tried; NULL: after all others */
} ed_user_pattern;

/** Options. A zeroed struct, or NULL, means the defaults. */
typedef struct ed_plan_options {
    const char *target;         /**< hardware profile; NULL means "tensorrt" */
    const char *const *exclude; /**< left in float: node names, group or pattern names, op types,
                                     with * and ? */
    size_t exclude_count;
    const char *const *rules; /**< optional rules to switch on ("skip-depthwise", ...) */
    size_t rules_count;
    unsigned patterns;          /**< ED_TENSORRT_..._PATTERNS; 0: all of the phases that run */
    const char *const *disable; /**< "Pattern", or "Pattern@anchor": not to be applied */
    size_t disable_count;
    const ed_user_pattern *user_patterns; /**< outlive the call, and the plan */
    size_t user_pattern_count;
    unsigned weight_bits, activation_bits; /**< 8 (0), or 4: int4, which needs opset 21, to which
                                                the model is raised */
    bool int8_storage; /**< weights of 4 bits in int8 tensors, for runtimes without int4 */
} ed_plan_options;

/* ---- in one shot ---- */

/** Of one pattern: matches that were applied, and matches that were not. */
typedef struct ed_pattern_count {
    const char *pattern; /**< belongs to the plan; of a report: to the library or the user */
    ed_phase phase;
    size_t applied, skipped;
} ed_pattern_count;

enum { ED_REPORT_MAX = 96 };
/** What ed_transform_report() did, in the order in which the patterns first matched. */
typedef struct ed_report {
    size_t count;
    ed_pattern_count rows[ED_REPORT_MAX];
} ed_report;

/** Conversions to a fixed point, then fusions: what calibration, evaluation and export start from.
 *  @return ED_OK, ED_ENOTFOUND (a target, or something to disable, that is not there), ED_EINVAL (a
 *  bad pattern of the user's), ED_ENOMEM, and what shape inference finds */
ED_API int ed_transform(ed_graph *graph, const ed_plan_options *opts);
/** The same, and tell how often each pattern was applied and skipped. */
ED_API int ed_transform_report(ed_report *report, ed_graph *graph, const ed_plan_options *opts);

/* ---- as a plan ---- */

typedef struct ed_plan ed_plan;

/**
 * Match the patterns of one phase, or of all.
 *
 * ED_PHASE_FUSE and ED_PHASE_QUANTIZE look at `graph` as it is (after conversions, or with its
 * groups); ED_PHASE_CONVERT and ED_PHASE_ALL run on a copy that belongs to the plan.
 *
 * @param[out] out  the plan; the caller releases it with ed_plan_free()
 * @param graph     only read; must outlive the plan
 * @return ED_OK, ED_ENOTFOUND (no such target, exclusion, rule or disabled match), ED_EINVAL,
 * ED_ENOMEM
 */
ED_API int ed_plan_build(ed_plan **out, const ed_graph *graph, ed_phase phase,
                         const ed_plan_options *opts);
/** Number of matches, whether or not they will be applied. */
ED_API size_t ed_plan_count(const ed_plan *plan);
/** Borrow match i; NULL when out of range. */
ED_API const ed_match_info *ed_plan_at(const ed_plan *plan, size_t i);
/** Counts per pattern: row i; false at the end. */
ED_API bool ed_plan_pattern_count(ed_pattern_count *out, const ed_plan *plan, size_t i);

/**
 * Switch one match and resolve the plan again: switching a long match off frees its nodes for
 * shorter ones, switching a conversion off changes what matches after it. A match that another
 * one has claimed cannot be switched on before that one is switched off; one that its pattern
 * refuses cannot at all. After an error the plan is as before. Matches, points and scales that were
 * borrowed or set before are void.
 *
 * @return ED_OK, ED_ENOTFOUND (no such match), ED_EINVAL (refused: names both matches), ED_ENOMEM
 */
ED_API int ed_plan_set_apply(ed_plan *plan, const char *pattern, const char *anchor, bool apply);

/** Apply to `graph`: the one that the plan was built from, or a clone of it. @return ED_OK,
 * ED_EMISMATCH (another graph), ED_EINVAL (a point without scales) */
ED_API int ed_plan_apply(const ed_plan *plan, ed_graph *graph);
/** Apply the phases from `first` to `last` of a plan of ED_PHASE_ALL: conversions and fusions now,
 * say, and quantization once the points have their scales. Phases before `first` have been applied
 * to `graph`. */
ED_API int ed_plan_apply_phases(const ed_plan *plan, ed_graph *graph, ed_phase first,
                                ed_phase last);
/** Name of the plan's target. */
ED_API const char *ed_plan_target(const ed_plan *plan);
/** Release; NULL is allowed. */
ED_API void ed_plan_free(ed_plan *plan);

/**
 * Write a plan as JSON: phase -> node -> pattern -> {apply, reason, nodes, inputs}, with the hash
 * of its model. The file is replaced whole or not at all.
 */
ED_API int ed_plan_write_json(const ed_plan *plan, const char *path);
/**
 * Build a plan of ED_PHASE_ALL and edit it as the file says. `"apply": false` without a reason of
 * the matcher's, switches a match off; `"apply": true` beside a reason switches it on, by the rules
 * of ed_plan_set_apply(). What the file does not mention is resolved as always.
 *
 * @return ED_OK, ED_EMISMATCH (made for another model or target), ED_EFORMAT (line, or the field
 * and what it should be), ED_ENOTFOUND (a pattern or node that is not there), ED_EINVAL (a match
 *         that cannot be switched on), ED_EIO, ED_ENOMEM
 */
ED_API int ed_plan_read_json(ed_plan **out, const ed_graph *graph, const char *path,
                             const ed_plan_options *opts);
/** The same from memory; `name` is used in messages. */
ED_API int ed_plan_read_json_memory(ed_plan **out, const ed_graph *graph, const void *text,
                                    size_t size, const char *name, const ed_plan_options *opts);

/* ---- quantization points ---- */

/** A value that gets a FakeQuantize. Strings belong to the plan or the graph. */
typedef struct ed_qdq_point {
    const char *value; /**< the quantized value */
    const char *group; /**< name of the consuming group, or of the node outside of groups */
    const char *rule;  /**< "input", "weight", "residual_input", "concat", ... */
    bool weight;       /**< a constant, quantized per `axis` (-1: per tensor) */
    int axis;
    double fixed_scale; /**< > 0: the scale is given (Softmax), nothing is calibrated */
    size_t scale_of; /**< index of the point whose range this one shares (Concat); itself if none */
    unsigned bits;   /**< of its integers: 8 or 4 */
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
