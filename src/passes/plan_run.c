/*
 * Running the pipeline: conversions, fusions, quantization points, each asked for and recorded.
 * One shot (ed_transform) and plans go the same way, so that a plan shows what a run does; ids are
 * given out in the same order on a copy of a graph, which is why a plan fits its source.
 */
#include "passes/plan.h"

#include <string.h>

/* Below opset 13 there is no per-axis DequantizeLinear. */
enum { LOWEST_OPSET = 13, INT4_OPSET = 21 };

/* A node that the user excludes keeps its operator type: the exclusion may be by that type. */
static const char *excluded(const ed_plan *plan, const ed_graph *g, const ed_match *m)
{
    const ed_plan_options *opts = &plan->request.opts;
    for (uint32_t i = 0; m->pattern->retypes && i < m->n_nodes; i++) {
        const ed_node *node = &g->nodes[m->nodes[i]];
        if (ed_plan_excludes(opts, node->name) || ed_plan_excludes(opts, node->op_type))
            return "excluded by the user";
    }
    return NULL;
}

static int record_conversion(void *ctx, const ed_graph *g, const ed_match *m, const char **reason)
{
    ed_plan *plan = ctx;
    const char *anchor = ed_plan_anchor(g, &g->nodes[m->root]);
    if (!*reason)
        *reason = excluded(plan, g, m);
    if (!*reason)
        *reason = ed_plan_switched_off(plan, ED_PHASE_CONVERT, m->pattern->name, anchor);
    const ed_match_info *old = ed_plan_find(plan, ED_PHASE_CONVERT, m->pattern->name, anchor);
    return old ? ed_plan_add(plan, m->pattern->name, anchor, old->detail, *reason, m)
               : ed_plan_record(plan, m, *reason);
}

static int ask_conversion(void *ctx, const ed_graph *g, const ed_match *m, const char **reason)
{
    if (!*reason)
        *reason = excluded(ctx, g, m);
    if (!*reason)
        *reason = ed_plan_switched_off(ctx, ED_PHASE_CONVERT, m->pattern->name,
                                       ed_plan_anchor(g, &g->nodes[m->root]));
    return ED_OK;
}

/* An operator that only a conversion makes run, and that refused: its reason says more than that
 * there is no such operator. */
static int check_expanded(const ed_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ed_op *op;
        ed_match m;
        if (g->nodes[i].dead || ed_op_find(&op, g, &g->nodes[i]) == ED_OK)
            continue;
        for (const ed_pattern *p = ed_conversions; p->name; p++) {
            const char *reason =
                p->reject && ed_match_at(&m, p, 0, g, NULL, (ed_id)i) ? p->reject(g, &m) : NULL;
            ED_FAIL_IF(reason, ED_EUNSUPPORTED,
                       "%s cannot become nodes that run here: %s; export the model in another form "
                       "or cut it before this node",
                       ed_node_label(g, &g->nodes[i]), reason);
        }
    }
    return ED_OK;
}

/* int4 came with opset 21. Nodes are rewritten, so the model is raised before there are groups. */
static int64_t opset_for(const ed_plan_options *o)
{
    bool int4 = (o->weight_bits == 4 && !o->int8_storage) || o->activation_bits == 4;
    return int4 ? INT4_OPSET : LOWEST_OPSET;
}

static int convert(ed_graph *g, unsigned stages, const ed_convert_listener *listener, int64_t opset)
{
    ED_TRY(ed_infer_shapes(g));
    if (stages & (ED_TENSORRT_CONVERSION_PATTERNS | ED_TENSORRT_QUANTIZED_PATTERNS))
        ED_TRY(ed_upgrade_opset(g, opset));
    if (stages & ED_TENSORRT_CONVERSION_PATTERNS) {
        ED_TRY(ed_convert(g, ed_conversions, listener));
        ED_TRY(check_expanded(g));
        ED_TRY(ed_graph_infer(g));
    }
    return ED_OK;
}

static int quantize(ed_plan *plan)
{
    plan->stage = ED_PHASE_QUANTIZE;
    ED_TRY(ed_qdq_build(plan, &plan->request.opts));
    return ed_qdq_edit(plan);
}

int ed_plan_run(ed_plan *plan, ed_graph *g, unsigned stages)
{
    ed_convert_listener listener = { record_conversion, plan };
    plan->graph = g;
    plan->stage = ED_PHASE_CONVERT;
    ED_TRY(convert(g, stages, &listener, opset_for(&plan->request.opts)));
    if (stages & ED_TENSORRT_FUSION_PATTERNS) {
        ed_graph_clear_groups(g);
        ED_TRY(ed_plan_fuse(plan));
        ED_TRY(ed_plan_group(plan, g));
        ED_TRY(ed_graph_verify(g));
    }
    return stages & ED_TENSORRT_QUANTIZED_PATTERNS ? quantize(plan) : ED_OK;
}

/* What a plan of all phases, or of conversions, runs on its copy. */
static unsigned stages_of(const ed_plan *plan)
{
    unsigned stages = plan->request.opts.patterns;
    if (plan->phase == ED_PHASE_CONVERT)
        return ED_TENSORRT_CONVERSION_PATTERNS;
    if (plan->phase == ED_PHASE_QUANTIZE)
        return ED_TENSORRT_QUANTIZED_PATTERNS;
    if (!stages)
        stages = ED_TENSORRT_PATTERNS;
    return stages & ED_TENSORRT_QUANTIZED_PATTERNS ? stages | ED_TENSORRT_FUSION_PATTERNS : stages;
}

/* The passes read the first output of whatever they match; no operator that runs here omits it. */
static int check_first_outputs(const ed_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ed_node *node = &g->nodes[i];
        ED_FAIL_IF(
            !node->dead && (!node->n_out || node->out[0] == ED_NONE), ED_EUNSUPPORTED,
            "%s '%s' has no first output; models with such nodes do not run here, cut the model "
            "before it",
            node->op_type, node->name);
    }
    return ED_OK;
}

static int prepare(ed_plan *plan)
{
    ED_FAIL_IF(plan->request.opts.patterns & ~(unsigned)ED_TENSORRT_PATTERNS, ED_EINVAL,
               "the pattern groups are 0x%x; join ED_TENSORRT_..._PATTERNS with |",
               plan->request.opts.patterns);
    ED_TRY(ed_target_find(&plan->target, plan->request.opts.target));
    ED_TRY(check_first_outputs(plan->source));
    return ed_user_patterns_read(plan);
}

int ed_plan_resolve(ed_plan *plan)
{
    ED_TRY(prepare(plan));
    if (plan->phase == ED_PHASE_FUSE)
        return ed_plan_fuse(plan);
    if (plan->phase == ED_PHASE_QUANTIZE)
        return quantize(plan);
    ED_TRY(ed_graph_clone(&plan->work, plan->source));
    ED_TRY(ed_plan_run(plan, plan->work, stages_of(plan)));
    return plan->phase == ED_PHASE_ALL ? ed_plan_check_disabled(plan) : ED_OK;
}

/* ---- applying ---- */

static bool same_ids(const ed_id *a, uint32_t n_a, const ed_id *b, uint32_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof *a) == 0);
}

/* A clone keeps no links of dead nodes. */
static bool same_node(const ed_node *a, const ed_node *b)
{
    if (a->dead || b->dead)
        return a->dead == b->dead;
    return strcmp(a->op_type, b->op_type) == 0 && strcmp(a->domain, b->domain) == 0 &&
           same_ids(a->in, a->n_in, b->in, b->n_in) && same_ids(a->out, a->n_out, b->out, b->n_out);
}

/* The plan's ids mean the same nodes and values in both. */
static int check_graph(const ed_graph *graph, const ed_graph *expected)
{
    bool same = graph->n_nodes == expected->n_nodes && graph->n_values == expected->n_values;
    for (size_t i = 0; same && i < graph->n_nodes; i++)
        same = same_node(&graph->nodes[i], &expected->nodes[i]);
    ED_FAIL_IF(!same, ED_EMISMATCH,
               "the plan was built from another graph than '%s'; build it again", graph->name);
    return ED_OK;
}

int ed_plan_apply_phases(const ed_plan *plan, ed_graph *graph, ed_phase first, ed_phase last)
{
    const ed_convert_listener listener = { ask_conversion, (void *)plan };
    unsigned stages = stages_of(plan);
    ED_TRY(check_graph(graph, first == ED_PHASE_CONVERT ? plan->source : plan->graph));
    if (first == ED_PHASE_CONVERT) {
        ED_TRY(convert(graph, stages, &listener, opset_for(&plan->request.opts)));
        ED_TRY(check_graph(graph, plan->graph));
    }
    if (first <= ED_PHASE_FUSE && last >= ED_PHASE_FUSE && stages & ED_TENSORRT_FUSION_PATTERNS) {
        ed_graph_clear_groups(graph);
        ED_TRY(ed_plan_group(plan, graph));
    }
    if (last >= ED_PHASE_QUANTIZE && stages & ED_TENSORRT_QUANTIZED_PATTERNS)
        return ed_qdq_apply(plan, graph);
    return ed_graph_verify(graph);
}

int ed_plan_apply(const ed_plan *plan, ed_graph *graph)
{
    if (plan->phase == ED_PHASE_ALL || plan->phase == ED_PHASE_CONVERT)
        return ed_plan_apply_phases(plan, graph, ED_PHASE_CONVERT, plan->phase);
    ED_TRY(check_graph(graph, plan->graph));
    if (plan->phase == ED_PHASE_QUANTIZE)
        return ed_qdq_apply(plan, graph);
    ED_TRY(ed_plan_group(plan, graph));
    return ed_graph_verify(graph);
}

/* ---- in one shot ---- */

int ed_transform_report(ed_report *report, ed_graph *graph, const ed_plan_options *opts)
{
    const unsigned both = ED_TENSORRT_CONVERSION_PATTERNS | ED_TENSORRT_FUSION_PATTERNS;
    ed_plan *plan;
    ED_TRY(ed_plan_new(&plan, graph, ED_PHASE_ALL, opts));
    unsigned stages = stages_of(plan) & both;
    int rc = prepare(plan);
    if (rc == ED_OK)
        rc = ed_plan_run(plan, graph, stages);
    if (rc == ED_OK)
        rc = ed_plan_check_disabled(plan);
    if (report) {
        report->count = 0;
        while (rc == ED_OK && report->count < ED_REPORT_MAX &&
               ed_plan_pattern_count(&report->rows[report->count], plan, report->count))
            report->count++;
    }
    ed_plan_free(plan);
    return rc;
}

int ed_transform(ed_graph *graph, const ed_plan_options *opts)
{
    return ed_transform_report(NULL, graph, opts);
}
