/*
 * Switching matches on and off. A plan keeps what was asked for; each switch is added to that and
 * everything is resolved anew, so that what depends on a match follows, and a plan never describes
 * a graph that cannot be.
 */
#include "passes/plan.h"

#include <string.h>

const char *const ed_plan_disabled = "disabled by the user";

/* ---- what was asked for ---- */

static int copy_list(ed_arena *arena, const char *const **list, size_t n)
{
    const char **copy = ed_arena_alloc(arena, n + 1, sizeof *copy);
    if (!copy)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!(copy[i] = ed_arena_strdup(arena, (*list)[i])))
            return ED_ENOMEM;
    *list = copy;
    return ED_OK;
}

int ed_plan_copy_request(ed_plan_request *to, const ed_plan_options *opts)
{
    to->arena = ed_arena_new();
    if (!to->arena)
        return ED_ENOMEM;
    if (!opts)
        return ED_OK;
    to->opts = *opts;
    ED_TRY(copy_list(to->arena, &to->opts.exclude, opts->exclude_count));
    ED_TRY(copy_list(to->arena, &to->opts.rules, opts->rules_count));
    ED_TRY(copy_list(to->arena, &to->opts.disable, opts->disable_count));
    to->opts.target = opts->target ? ed_arena_strdup(to->arena, opts->target) : NULL;
    return opts->target && !to->opts.target ? ED_ENOMEM : ED_OK;
}

int ed_plan_decide(ed_plan *plan, ed_phase phase, const char *pattern, const char *anchor,
                   bool apply)
{
    ed_plan_request *r = &plan->request;
    ed_plan_decision d = { phase, ed_arena_strdup(r->arena, pattern),
                           ed_arena_strdup(r->arena, anchor), apply };
    if (!d.pattern || !d.anchor)
        return ED_ENOMEM;
    ED_TRY(ed_grow(&r->decisions, &r->capacity, r->n_decisions + 1, sizeof *r->decisions));
    r->decisions[r->n_decisions++] = d;
    return ED_OK;
}

/* "Pattern" or "Pattern@anchor" */
static bool names_match(const char *text, const char *pattern, const char *anchor)
{
    size_t n = strlen(pattern);
    return strncmp(text, pattern, n) == 0 &&
           (!text[n] || (text[n] == '@' && strcmp(text + n + 1, anchor) == 0));
}

const char *ed_plan_switched_off(const ed_plan *plan, ed_phase phase, const char *pattern,
                                 const char *anchor)
{
    const ed_plan_request *r = &plan->request;
    for (size_t i = r->n_decisions; i-- > 0;) {
        const ed_plan_decision *d = &r->decisions[i];
        if (d->phase == phase && strcmp(d->pattern, pattern) == 0 && strcmp(d->anchor, anchor) == 0)
            return d->apply ? NULL : ed_plan_disabled;
    }
    for (size_t i = 0; i < r->opts.disable_count; i++)
        if (names_match(r->opts.disable[i], pattern, anchor))
            return ed_plan_disabled;
    return NULL;
}

/* ---- names that lead nowhere ---- */

static bool is_pattern(const ed_plan *plan, const char *name)
{
    for (const ed_pattern *p = ed_conversions; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return true;
    for (size_t i = 0; i < plan->n_matches; i++)
        if (strcmp(plan->matches[i].pattern, name) == 0)
            return true;
    return ed_plan_fusion(plan, name) != NULL;
}

int ed_plan_no_match(const ed_plan *plan, const char *pattern, const char *anchor)
{
    const char *elsewhere = NULL;
    ED_FAIL_IF(!is_pattern(plan, pattern), ED_ENOTFOUND,
               "no pattern or rule that the model matches is named '%s'; ed-transform --plan-out "
               "lists them",
               pattern);
    for (size_t i = 0; i < plan->n_matches && !elsewhere; i++)
        if (strcmp(plan->matches[i].anchor, anchor) == 0)
            elsewhere = plan->matches[i].pattern;
    ED_FAIL_IF(elsewhere, ED_ENOTFOUND, "%s does not match at '%s', where %s does", pattern, anchor,
               elsewhere);
    return ed_error_set(ED_ENOTFOUND,
                        "%s does not match at '%s', and no other pattern does; ed-transform "
                        "--plan-out lists the nodes and values where patterns match",
                        pattern, anchor);
}

static ed_match_info *find_in_any(const ed_plan *plan, const char *pattern, const char *anchor)
{
    ed_match_info *m = NULL;
    for (int phase = 0; !m && phase < ED_PHASE_ALL; phase++)
        m = ed_plan_find(plan, (ed_phase)phase, pattern, anchor);
    return m;
}

int ed_plan_check_disabled(const ed_plan *plan)
{
    const ed_plan_options *opts = &plan->request.opts;
    for (size_t i = 0; i < opts->disable_count; i++) {
        const char *at = strchr(opts->disable[i], '@');
        char *pattern =
            ed_asprintf("%.*s", (int)(at ? at - opts->disable[i] : 1000), opts->disable[i]);
        if (!pattern)
            return ED_ENOMEM;
        bool found = at ? find_in_any(plan, pattern, at + 1) != NULL : is_pattern(plan, pattern);
        int rc = found ? ED_OK : ed_plan_no_match(plan, pattern, at ? at + 1 : "");
        ed_free(pattern);
        ED_TRY(rc);
    }
    return ED_OK;
}

/* ---- resolving anew ---- */

int ed_plan_check_on(const ed_match_info *m)
{
    ED_FAIL_IF(!m->apply, ED_EINVAL,
               "%s at '%s' cannot be switched on: %s; a match that holds its nodes has to be "
               "switched off first",
               m->pattern, m->anchor, m->reason);
    return ED_OK;
}

int ed_plan_fresh(ed_plan **out, const ed_plan *plan)
{
    ed_plan *fresh = ed_calloc(1, sizeof *fresh);
    *out = fresh;
    if (!fresh)
        return ED_ENOMEM;
    fresh->phase = plan->phase;
    fresh->source = plan->source;
    fresh->graph = plan->source;
    fresh->request = plan->request; /* lent */
    fresh->arena = ed_arena_new();
    return fresh->arena ? ed_plan_resolve(fresh) : ED_ENOMEM;
}

void ed_plan_free_fresh(ed_plan *fresh)
{
    if (fresh)
        fresh->request = (ed_plan_request){ 0 };
    ed_plan_free(fresh);
}

void ed_plan_swap(ed_plan *a, ed_plan *b)
{
    ed_plan old = *a;
    *a = *b;
    *b = old;
}

int ed_plan_set_apply(ed_plan *plan, const char *pattern, const char *anchor, bool apply)
{
    const ed_match_info *m = find_in_any(plan, pattern, anchor);
    size_t before = plan->request.n_decisions;
    ed_plan *fresh = NULL;
    int rc;
    if (!m)
        return ed_plan_no_match(plan, pattern, anchor);
    if (apply && m->apply)
        return ED_OK;
    ED_TRY(ed_plan_decide(plan, m->phase, pattern, anchor, apply));
    const ed_plan_decision *d = &plan->request.decisions[before];
    ED_GOTO(ed_plan_fresh(&fresh, plan));
    if (apply) {
        m = ed_plan_find(fresh, d->phase, d->pattern, d->anchor);
        ED_GOTO(m ? ed_plan_check_on(m) : ed_plan_no_match(fresh, d->pattern, d->anchor));
    }
    ed_plan_swap(plan, fresh);
done:
    if (rc != ED_OK)
        plan->request.n_decisions = before;
    ed_plan_free_fresh(fresh);
    return rc;
}
