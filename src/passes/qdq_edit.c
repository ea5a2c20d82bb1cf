/*
 * Points that the user switched off leave the plan. A convolution or matrix product with one
 * quantized operand is what no target runs: where one operand's point goes, the node's other edge
 * goes too, and a point without edges with it.
 */
#include "passes/plan.h"

static ed_match_info *info_of(const ed_plan *plan, size_t i)
{
    return ed_plan_find(plan, ED_PHASE_QUANTIZE, plan->infos[i].rule, plan->infos[i].value);
}

/* Readers and value of a point, for whoever reads the plan. */
static int name_readers(ed_plan *plan, size_t i)
{
    const ed_placement *p = &plan->points[i];
    ed_match_info *info = info_of(plan, i);
    const char **names = ed_arena_alloc(plan->arena, p->n_edges + 1, sizeof *names);
    if (!names)
        return ED_ENOMEM;
    for (size_t k = 0; k < p->n_edges; k++)
        names[k] = ed_plan_anchor(plan->graph, &plan->graph->nodes[p->edges[k].node]);
    names[p->n_edges] = plan->infos[i].value;
    if (!info)
        return ED_OK;
    info->nodes = names;
    info->node_count = p->n_edges;
    info->inputs = names + p->n_edges;
    info->input_count = 1;
    return ED_OK;
}

static void switch_off(ed_plan *plan, size_t i, const char *reason)
{
    ed_match_info *info = info_of(plan, i);
    if (info && info->apply) {
        info->apply = false;
        info->reason = reason;
    }
    plan->points[i].n_edges = 0;
}

static bool remove_edge(ed_placement *p, ed_plan_edge edge)
{
    for (size_t k = 0; k < p->n_edges; k++) {
        if (p->edges[k].node == edge.node && p->edges[k].i == edge.i) {
            p->edges[k] = p->edges[--p->n_edges];
            return true;
        }
    }
    return false;
}

/* Take the other operand's edge of each weighted node that reads point i. */
static int drop_partners(ed_plan *plan, const ed_placement *gone, const char *value)
{
    const ed_graph *g = plan->graph;
    for (size_t k = 0; k < gone->n_edges; k++) {
        ed_plan_edge e = gone->edges[k];
        if (e.i > 1 || !(ed_op_traits(g, &g->nodes[e.node]) & ED_OP_WEIGHTED))
            continue;
        for (size_t i = 0; i < plan->n_points; i++) {
            if (!remove_edge(&plan->points[i], (ed_plan_edge){ e.node, 1 - e.i }) ||
                plan->points[i].n_edges)
                continue;
            const char *reason =
                ed_arena_printf(plan->arena, "the other operand of %s, '%s', stays in float",
                                ed_node_label(g, &g->nodes[e.node]), value);
            if (!reason)
                return ED_ENOMEM;
            switch_off(plan, i, reason);
        }
    }
    return ED_OK;
}

/* Ranges shared with a point that left are led by the first follower that stayed. */
static void pass_on_lead(ed_plan *plan, size_t gone)
{
    size_t heir = SIZE_MAX;
    for (size_t k = 0; k < plan->n_points; k++) {
        if (plan->infos[k].scale_of != gone || k == gone)
            continue;
        if (heir == SIZE_MAX && plan->points[k].n_edges)
            heir = k;
        plan->infos[k].scale_of = heir == SIZE_MAX ? k : heir;
    }
}

/* Close the gaps. */
static int compact(ed_plan *plan)
{
    size_t *place = ed_arena_alloc(plan->arena, plan->n_points + 1, sizeof *place), n = 0;
    if (!place)
        return ED_ENOMEM;
    for (size_t i = 0; i < plan->n_points; i++) {
        place[i] = n;
        n += plan->points[i].n_edges != 0;
        if (!plan->points[i].n_edges)
            pass_on_lead(plan, i);
    }
    for (size_t i = 0; i < plan->n_points; i++) {
        if (!plan->points[i].n_edges) {
            ed_free(plan->points[i].edges);
            continue;
        }
        plan->points[place[i]] = plan->points[i];
        plan->infos[place[i]] = plan->infos[i];
        plan->infos[place[i]].scale_of = place[plan->infos[i].scale_of];
    }
    plan->n_points = n;
    return ED_OK;
}

int ed_qdq_edit(ed_plan *plan)
{
    bool edited = false;
    for (size_t i = 0; i < plan->n_points; i++)
        ED_TRY(name_readers(plan, i));
    for (size_t i = 0; i < plan->n_points; i++) {
        const ed_qdq_point *point = &plan->infos[i];
        const char *off = ed_plan_switched_off(plan, ED_PHASE_QUANTIZE, point->rule, point->value);
        if (!off)
            continue;
        ED_TRY(drop_partners(plan, &plan->points[i], point->value));
        switch_off(plan, i, off);
        edited = true;
    }
    return edited ? compact(plan) : ED_OK;
}
