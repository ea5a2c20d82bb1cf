/*
 * Plans: the list of what matched, looking at it, and applying it. Resolving is in plan_run.c,
 * switching in plan_edit.c, the file in plan_json.c.
 */
#include "passes/plan.h"

#include "base/strbuf.h"

#include <fnmatch.h>
#include <string.h>

bool ed_plan_excludes(const ed_plan_options *opts, const char *name)
{
    for (size_t i = 0; opts && i < opts->exclude_count; i++)
        if (fnmatch(opts->exclude[i], name, 0) == 0)
            return true;
    return false;
}

const char *ed_plan_anchor(const ed_graph *g, const ed_node *node)
{
    return node->name[0] || !node->n_out ? node->name : g->values[node->out[0]].name;
}

/* ---- matches ---- */

enum { KEY_SIZE = 17 };

/* A key of fixed size, so that looking up needs no memory: a 64-bit hash of the three. */
static void key_of(char *key, ed_phase phase, const char *pattern, const char *anchor)
{
    uint64_t h = ed_hash((uint64_t)phase, pattern, strlen(pattern) + 1);
    snprintf(key, KEY_SIZE, "%016llx", (unsigned long long)ed_hash(h, anchor, strlen(anchor)));
}

ed_match_info *ed_plan_find(const ed_plan *plan, ed_phase phase, const char *pattern,
                            const char *anchor)
{
    char key[KEY_SIZE];
    uint32_t i;
    key_of(key, phase, pattern, anchor);
    if (!ed_strmap_get(&plan->keys, key, &i))
        return NULL;
    ed_match_info *m = &plan->matches[i];
    return strcmp(m->pattern, pattern) == 0 && strcmp(m->anchor, anchor) == 0 ? m : NULL;
}

static bool is_inside(const ed_match *m, ed_id node)
{
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (m->nodes[i] == node)
            return true;
    return false;
}

static bool is_listed(const char **names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] == name)
            return true;
    return false;
}

/* Names of the matched nodes and of the values that they read from outside. */
static int add_names(ed_plan *plan, ed_match_info *info, const ed_match *m)
{
    const ed_graph *g = plan->graph;
    size_t n_inputs = 0, room = 0;
    for (uint32_t k = 0; k < m->n_nodes; k++)
        room += g->nodes[m->nodes[k]].n_in;
    const char **nodes = ed_arena_alloc(plan->arena, m->n_nodes, sizeof *nodes);
    const char **inputs = ed_arena_alloc(plan->arena, room + 1, sizeof *inputs);
    if (!nodes || !inputs)
        return ED_ENOMEM;
    for (uint32_t k = 0; k < m->n_nodes; k++) {
        const ed_node *node = &g->nodes[m->nodes[k]];
        nodes[k] = ed_plan_anchor(g, node);
        for (uint32_t i = 0; i < node->n_in; i++) {
            const ed_value *v = node->in[i] == ED_NONE ? NULL : &g->values[node->in[i]];
            if (v && !is_inside(m, v->producer) && !is_listed(inputs, n_inputs, v->name))
                inputs[n_inputs++] = v->name;
        }
    }
    info->nodes = nodes;
    info->node_count = m->n_nodes;
    info->inputs = inputs;
    info->input_count = n_inputs;
    return ED_OK;
}

/* A conversion is met again in every sweep, and once more when its rewrite fails: what happened
 * last counts. */
static int update(ed_plan *plan, ed_match_info *info, const char *reason)
{
    if (info->reason && reason && strcmp(info->reason, reason) == 0)
        return ED_OK;
    info->reason = reason ? ed_arena_strdup(plan->arena, reason) : NULL;
    info->apply = !reason;
    return reason && !info->reason ? ED_ENOMEM : ED_OK;
}

static int append(ed_plan *plan, const char *key, const ed_match_info *info, const ed_match *match)
{
    size_t i = plan->n_matches;
    ED_TRY(ed_grow(&plan->matches, &plan->match_capacity, i + 1, sizeof *plan->matches));
    if (info->phase == ED_PHASE_FUSE) {
        ED_TRY(ed_grow(&plan->fused, &plan->fused_capacity, i + 1, sizeof *plan->fused));
        plan->fused[i] = *match;
    }
    if (!ed_strmap_get(&plan->keys, key, NULL))
        ED_TRY(ed_strmap_put(&plan->keys, key, (uint32_t)i));
    plan->matches[plan->n_matches++] = *info;
    return ED_OK;
}

int ed_plan_add(ed_plan *plan, const char *pattern, const char *anchor, const char *detail,
                const char *reason, const ed_match *match)
{
    ed_match_info *old =
        plan->stage == ED_PHASE_CONVERT ? ed_plan_find(plan, plan->stage, pattern, anchor) : NULL;
    if (old)
        return update(plan, old, reason);
    ed_match_info info = {
        .pattern = match ? pattern : ed_arena_strdup(plan->arena, pattern), /* a table's */
        .anchor = ed_arena_strdup(plan->arena, anchor),
        .detail = ed_arena_strdup(plan->arena, detail),
        .reason = reason ? ed_arena_strdup(plan->arena, reason) : NULL,
        .apply = !reason,
        .phase = plan->stage,
    };
    char *key = ed_arena_alloc(plan->arena, KEY_SIZE, 1);
    if (!info.pattern || !info.anchor || !info.detail || (reason && !info.reason) || !key)
        return ED_ENOMEM;
    key_of(key, plan->stage, pattern, anchor);
    if (match)
        ED_TRY(add_names(plan, &info, match));
    return append(plan, key, &info, match);
}

/* ---- life ---- */

int ed_plan_new(ed_plan **out, const ed_graph *source, ed_phase phase, const ed_plan_options *opts)
{
    *out = NULL;
    ed_plan *plan = ed_calloc(1, sizeof *plan);
    if (!plan)
        return ED_ENOMEM;
    plan->phase = phase;
    plan->source = plan->graph = source;
    plan->arena = ed_arena_new();
    int rc = plan->arena ? ed_plan_copy_request(&plan->request, opts) : ED_ENOMEM;
    if (rc != ED_OK) {
        ed_plan_free(plan);
        return rc;
    }
    *out = plan;
    return ED_OK;
}

int ed_plan_build(ed_plan **out, const ed_graph *graph, ed_phase phase, const ed_plan_options *opts)
{
    ed_plan *plan;
    *out = NULL;
    ED_TRY(ed_plan_new(&plan, graph, phase, opts));
    int rc = ed_plan_resolve(plan);
    if (rc != ED_OK) {
        ed_plan_free(plan);
        return rc;
    }
    *out = plan;
    return ED_OK;
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
    ed_free(plan->fused);
    ed_strmap_clear(&plan->keys);
    ed_graph_free(plan->work);
    ed_arena_free(plan->arena);
    ed_arena_free(plan->request.arena);
    ed_free(plan->request.decisions);
    ed_free(plan);
}

/* ---- looking ---- */

size_t ed_plan_count(const ed_plan *plan)
{
    return plan->n_matches;
}

const ed_match_info *ed_plan_at(const ed_plan *plan, size_t i)
{
    return i < plan->n_matches ? &plan->matches[i] : NULL;
}

/* A hint of the target's is no match: its group is quantized all the same. */
static bool is_hint(const ed_match_info *m)
{
    return m->phase == ED_PHASE_QUANTIZE && strcmp(m->pattern, "hint") == 0;
}

static bool same_pattern(const ed_match_info *a, const ed_match_info *b)
{
    return a->phase == b->phase && strcmp(a->pattern, b->pattern) == 0;
}

bool ed_plan_pattern_count(ed_pattern_count *out, const ed_plan *plan, size_t i)
{
    const ed_match_info *first = NULL;
    for (size_t k = 0; k < plan->n_matches && !first; k++) {
        size_t before = 0;
        while (before < k && !same_pattern(&plan->matches[before], &plan->matches[k]))
            before++;
        if (before == k && !is_hint(&plan->matches[k]) && i-- == 0)
            first = &plan->matches[k];
    }
    if (!first)
        return false;
    *out = (ed_pattern_count){ .pattern = first->pattern, .phase = first->phase };
    for (const ed_match_info *m = first; m < plan->matches + plan->n_matches; m++) {
        out->applied += same_pattern(m, first) && m->apply;
        out->skipped += same_pattern(m, first) && !m->apply;
    }
    return true;
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
