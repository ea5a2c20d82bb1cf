/*
 * Fusions: every match, the longest pattern first. A node belongs to the first match that takes
 * it; a later match of it is listed with the reason, and free again when that one is switched off.
 */
#include "passes/plan.h"

#include "base/strbuf.h"

#include <string.h>

typedef struct fuser {
    ed_plan *plan;
    ed_id *order;
    size_t n;
    uint32_t *depth;
    uint32_t *claimed_by; /* per node: 1 + index of a match; 0: free */
} fuser;

/* Why a match cannot be applied: it is switched off, its pattern says so, or a node is claimed. */
static const char *refusal(const fuser *f, const ed_match *m)
{
    const ed_plan *plan = f->plan;
    const ed_graph *g = plan->graph;
    const char *reason = m->pattern->reject ? m->pattern->reject(g, m) : NULL;
    if (!reason)
        reason = ed_plan_switched_off(plan, ED_PHASE_FUSE, m->pattern->name,
                                      ed_plan_anchor(g, &g->nodes[m->root]));
    for (uint32_t i = 0; !reason && i < m->n_nodes; i++) {
        uint32_t owner = f->claimed_by[m->nodes[i]];
        if (owner)
            reason = ed_arena_printf(
                plan->arena, "%s belongs to %s at %s", ed_node_label(g, &g->nodes[m->nodes[i]]),
                plan->matches[owner - 1].pattern, plan->matches[owner - 1].anchor);
    }
    return reason;
}

int ed_plan_record(ed_plan *plan, const ed_match *m, const char *reason)
{
    const ed_graph *g = plan->graph;
    ed_strbuf types = { 0 }, names = { 0 };
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const ed_node *node = &g->nodes[m->nodes[i]];
        ed_strbuf_printf(&types, "%s%s", i ? "+" : "", node->op_type);
        ed_strbuf_printf(&names, "%s%s", i ? ", " : " ", ed_plan_anchor(g, node));
    }
    ed_strbuf_printf(&types, "%s", ed_strbuf_text(&names));
    int rc = types.failed || names.failed
                 ? ED_ENOMEM
                 : ed_plan_add(plan, m->pattern->name, ed_plan_anchor(g, &g->nodes[m->root]),
                               ed_strbuf_text(&types), reason, m);
    ed_strbuf_free(&types);
    ed_strbuf_free(&names);
    return rc;
}

static int match_roots(fuser *f, const ed_pattern *pattern, unsigned variant)
{
    ed_plan *plan = f->plan;
    for (size_t k = 0; k < f->n; k++) {
        ed_match m;
        if (!ed_match_at(&m, pattern, variant, plan->graph, f->depth, f->order[k]))
            continue;
        const char *reason = refusal(f, &m);
        ED_TRY(ed_plan_record(plan, &m, reason));
        ed_match_info *info = &plan->matches[plan->n_matches - 1];
        if (info->apply)
            ED_TRY(ed_user_pattern_ask(plan, info));
        for (uint32_t i = 0; info->apply && i < m.n_nodes; i++)
            f->claimed_by[m.nodes[i]] = (uint32_t)plan->n_matches;
    }
    return ED_OK;
}

static int match_pattern(fuser *f, const ed_pattern *pattern)
{
    for (unsigned variant = 0; variant < ed_pattern_roots(pattern); variant++)
        ED_TRY(match_roots(f, pattern, variant));
    return ED_OK;
}

/* The user's patterns that come before `name` (NULL: after all). */
static int match_user(fuser *f, const char *name)
{
    const ed_plan_options *opts = &f->plan->request.opts;
    for (size_t i = 0; i < opts->user_pattern_count; i++) {
        const char *before = opts->user_patterns[i].before;
        if (name && before ? strcmp(before, name) == 0 : name == before)
            ED_TRY(match_pattern(f, &f->plan->user[i]));
    }
    return ED_OK;
}

int ed_plan_fuse(ed_plan *plan)
{
    fuser f = { .plan = plan };
    const ed_graph *g = plan->graph;
    int rc;
    plan->stage = ED_PHASE_FUSE;
    ED_GOTO(ed_graph_topological(g, &f.order, &f.n));
    ED_GOTO(ed_match_depths(&f.depth, g, f.order, f.n));
    f.claimed_by = ed_calloc(g->n_nodes, sizeof *f.claimed_by);
    if (!f.claimed_by)
        ED_GOTO(ED_ENOMEM);
    for (const ed_pattern *p = ed_fusions; p->name; p++) {
        ED_GOTO(match_user(&f, p->name));
        ED_GOTO(match_pattern(&f, p));
    }
    ED_GOTO(match_user(&f, NULL));
done:
    ed_free(f.order);
    ed_free(f.depth);
    ed_free(f.claimed_by);
    return rc;
}

int ed_plan_group(const ed_plan *plan, ed_graph *g)
{
    for (size_t i = 0; i < plan->n_matches; i++) {
        const ed_match_info *m = &plan->matches[i];
        if (m->phase == ED_PHASE_FUSE && m->apply)
            ED_TRY(ed_graph_add_group(g, NULL, m->pattern, plan->fused[i].nodes,
                                      plan->fused[i].n_nodes));
    }
    return ED_OK;
}
