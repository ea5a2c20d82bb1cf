/* Plans: what matched in one phase, and applying it. */
#include "passes/plan.h"

#include "base/strbuf.h"

#include <fnmatch.h>
#include <string.h>

int ed_plan_add(ed_plan *plan, const char *pattern, const char *anchor, const char *detail,
                const char *reason, const ed_match *match)
{
    ED_TRY(
        ed_grow(&plan->matches, &plan->match_capacity, plan->n_matches + 1, sizeof *plan->matches));
    ed_plan_match *m = &plan->matches[plan->n_matches];
    *m = (ed_plan_match){ .match = match ? *match : (ed_match){ 0 } };
    m->info.pattern = ed_arena_strdup(plan->arena, pattern);
    m->info.anchor = ed_arena_strdup(plan->arena, anchor);
    m->info.detail = ed_arena_strdup(plan->arena, detail);
    m->info.reason = reason ? ed_arena_strdup(plan->arena, reason) : NULL;
    m->info.apply = !reason;
    if (!m->info.pattern || !m->info.anchor || !m->info.detail || (reason && !m->info.reason))
        return ED_ENOMEM;
    plan->n_matches++;
    return ED_OK;
}

bool ed_plan_excludes(const ed_plan_options *opts, const char *name)
{
    for (size_t i = 0; opts && i < opts->exclude_count; i++)
        if (fnmatch(opts->exclude[i], name, 0) == 0)
            return true;
    return false;
}

static const char *node_name(const ed_graph *g, const ed_node *node)
{
    return node->name[0] || !node->n_out ? node->name : g->values[node->out[0]].name;
}

static int add_match(ed_plan *plan, const ed_match *m, const char *reason)
{
    ed_strbuf types = { 0 }, names = { 0 };
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const ed_node *node = &plan->graph->nodes[m->nodes[i]];
        ed_strbuf_printf(&types, "%s%s", i ? "+" : "", node->op_type);
        ed_strbuf_printf(&names, "%s%s", i ? ", " : " ", node_name(plan->graph, node));
    }
    ed_strbuf_printf(&types, "%s", ed_strbuf_text(&names));
    int rc = types.failed || names.failed
                 ? ED_ENOMEM
                 : ed_plan_add(plan, m->pattern->name,
                               node_name(plan->graph, &plan->graph->nodes[m->root]),
                               ed_strbuf_text(&types), reason, m);
    ed_strbuf_free(&types);
    ed_strbuf_free(&names);
    return rc;
}

/* Why a fusion match cannot be applied: its pattern says so, or a node is claimed. */
static const char *refusal(ed_plan *plan, const ed_match *m, const uint32_t *claimed_by)
{
    const ed_graph *g = plan->graph;
    const char *reason = m->pattern->reject ? m->pattern->reject(g, m) : NULL;
    for (uint32_t i = 0; !reason && i < m->n_nodes; i++) {
        uint32_t owner = claimed_by[m->nodes[i]];
        if (owner)
            reason = ed_arena_printf(
                plan->arena, "%s belongs to %s at %s", ed_node_label(g, &g->nodes[m->nodes[i]]),
                plan->matches[owner - 1].info.pattern, plan->matches[owner - 1].info.anchor);
    }
    return reason;
}

static int match_roots(ed_plan *plan, const ed_pattern *pattern, unsigned variant,
                       const ed_id *order, size_t n, const uint32_t *depth, uint32_t *claimed_by)
{
    for (size_t k = 0; k < n; k++) {
        ed_match m;
        if (!ed_match_at(&m, pattern, variant, plan->graph, depth, order[k]))
            continue;
        const char *reason = refusal(plan, &m, claimed_by);
        ED_TRY(add_match(plan, &m, reason));
        for (uint32_t i = 0; !reason && pattern->phase == ED_PHASE_FUSE && i < m.n_nodes; i++)
            claimed_by[m.nodes[i]] = (uint32_t)plan->n_matches;
    }
    return ED_OK;
}

static int build_matches(ed_plan *plan, const ed_pattern *table)
{
    ed_id *order;
    uint32_t *depth = NULL, *claimed_by = NULL;
    size_t n;
    ED_TRY(ed_graph_topological(plan->graph, &order, &n));
    int rc = ed_match_depths(&depth, plan->graph, order, n);
    if (rc == ED_OK && !(claimed_by = ed_calloc(plan->graph->n_nodes, sizeof *claimed_by)))
        rc = ED_ENOMEM;
    for (const ed_pattern *p = table; rc == ED_OK && p->name; p++)
        for (unsigned variant = 0; rc == ED_OK && variant < ed_pattern_roots(p); variant++)
            rc = match_roots(plan, p, variant, order, n, depth, claimed_by);
    ed_free(order);
    ed_free(depth);
    ed_free(claimed_by);
    return rc;
}

int ed_plan_build(ed_plan **out, const ed_graph *graph, ed_phase phase, const ed_plan_options *opts)
{
    *out = NULL;
    ed_plan *plan = ed_calloc(1, sizeof *plan);
    if (!plan)
        return ED_ENOMEM;
    plan->phase = phase;
    plan->graph = graph;
    plan->arena = ed_arena_new();
    int rc = plan->arena ? ed_target_find(&plan->target, opts ? opts->target : NULL) : ED_ENOMEM;
    if (rc == ED_OK)
        rc = phase == ED_PHASE_QUANTIZE
                 ? ed_qdq_build(plan, opts)
                 : build_matches(plan, phase == ED_PHASE_FUSE ? ed_fusions : ed_conversions);
    if (rc != ED_OK) {
        ed_plan_free(plan);
        return rc;
    }
    *out = plan;
    return ED_OK;
}

size_t ed_plan_count(const ed_plan *plan)
{
    return plan->n_matches;
}

const ed_match_info *ed_plan_at(const ed_plan *plan, size_t i)
{
    return i < plan->n_matches ? &plan->matches[i].info : NULL;
}

size_t ed_plan_point_count(const ed_plan *plan)
{
    return plan->n_points;
}

const ed_qdq_point *ed_plan_point(const ed_plan *plan, size_t i)
{
    return i < plan->n_points ? &plan->infos[i] : NULL;
}

const char *ed_plan_target(const ed_plan *plan)
{
    return plan->target->name;
}

int ed_plan_apply(const ed_plan *plan, ed_graph *graph)
{
    ED_FAIL_IF(graph->n_nodes != plan->graph->n_nodes || graph->n_values != plan->graph->n_values,
               ED_EMISMATCH, "the plan was built from another graph than '%s'; build it again",
               graph->name);
    if (plan->phase == ED_PHASE_QUANTIZE)
        return ed_qdq_apply(plan, graph);
    if (plan->phase == ED_PHASE_CONVERT)
        return ed_convert(graph);
    for (size_t i = 0; i < plan->n_matches; i++) {
        const ed_plan_match *m = &plan->matches[i];
        if (m->info.apply)
            ED_TRY(
                ed_graph_add_group(graph, NULL, m->info.pattern, m->match.nodes, m->match.n_nodes));
    }
    return ed_graph_verify(graph);
}

void ed_plan_free(ed_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_points; i++) {
        ed_free(plan->points[i].edges);
        ed_free(plan->points[i].scales);
    }
    ed_free(plan->points);
    ed_free(plan->infos);
    ed_free(plan->matches);
    ed_arena_free(plan->arena);
    ed_free(plan);
}

/* Below opset 13 there is no per-axis DequantizeLinear. */
enum { LOWEST_OPSET = 13 };

int ed_transform(ed_graph *graph, const ed_plan_options *opts)
{
    ed_plan *plan;
    ED_TRY(ed_graph_infer(graph));
    ED_TRY(ed_upgrade_opset(graph, LOWEST_OPSET));
    ED_TRY(ed_convert(graph));
    ED_TRY(ed_graph_infer(graph));
    ed_graph_clear_groups(graph);
    ED_TRY(ed_plan_build(&plan, graph, ED_PHASE_FUSE, opts));
    int rc = ed_plan_apply(plan, graph);
    ed_plan_free(plan);
    return rc;
}
