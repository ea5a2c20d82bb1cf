/* Fusions of the user's: rows made of the public form, checked first. */
#include "passes/plan.h"

#include <string.h>

static bool is_word(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_", *c))
            return false;
    return *text != 0;
}

static const ed_pattern *built_in(const char *name)
{
    for (const ed_pattern *p = ed_conversions; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return ed_fusion_find(name);
}

static int check_names(const ed_plan_options *opts, size_t i)
{
    const ed_user_pattern *row = &opts->user_patterns[i];
    ED_FAIL_IF(!row->name || !is_word(row->name), ED_EINVAL,
               "pattern %zu of the user's is named '%s'; a name of letters, digits and _ was "
               "expected",
               i, row->name ? row->name : "");
    bool taken = built_in(row->name) != NULL;
    for (size_t k = 0; k < i; k++)
        taken = taken || strcmp(opts->user_patterns[k].name, row->name) == 0;
    ED_FAIL_IF(taken, ED_EINVAL, "there is a pattern '%s' already; choose another name", row->name);
    ED_FAIL_IF(row->before && !ed_fusion_find(row->before), ED_EINVAL,
               "pattern '%s' is to be tried before '%s', which is no fusion", row->name,
               row->before);
    return ED_OK;
}

/* Node k reads earlier nodes only, and an optional one stands for the node that it reads. */
static int check_node(const ed_user_pattern *row, size_t k)
{
    const ed_pattern_node *node = &row->nodes[k];
    bool reads_node = false;
    for (size_t i = 0; i < ED_PATTERN_MAX_INPUTS && node->in[i]; i++) {
        bool is_node = node->in[i] >= ED_INPUT_NODE;
        ED_FAIL_IF(is_node ? node->in[i] - ED_INPUT_NODE >= (int)k
                           : node->in[i] > ED_INPUT_CONSTANT,
                   ED_EINVAL,
                   "pattern '%s': input %zu of node %zu is %d; an earlier node, "
                   "ED_INPUT_ANY or ED_INPUT_CONSTANT was expected",
                   row->name, i, k, node->in[i]);
        reads_node = reads_node || is_node;
    }
    ED_FAIL_IF(node->optional && !reads_node, ED_EINVAL,
               "pattern '%s': node %zu is optional, but reads no node that could stand for it",
               row->name, k);
    return ED_OK;
}

static int convert(ed_plan *plan, size_t i)
{
    const ed_user_pattern *row = &plan->request.opts.user_patterns[i];
    ed_pat_node *nodes = ed_arena_alloc(plan->arena, ED_PATTERN_MAX_NODES + 1, sizeof *nodes);
    size_t n = 0;
    bool required = false;
    if (!nodes)
        return ED_ENOMEM;
    for (; row->nodes && row->nodes[n].op; n++) {
        ED_FAIL_IF(n == ED_PATTERN_MAX_NODES, ED_EINVAL,
                   "pattern '%s' has more than %d nodes; a zeroed one ends it", row->name,
                   ED_PATTERN_MAX_NODES);
        ED_TRY(check_node(row, n));
        nodes[n] = (ed_pat_node){ .op = row->nodes[n].op, .optional = row->nodes[n].optional };
        memcpy(nodes[n].in, row->nodes[n].in, sizeof row->nodes[n].in);
        required = required || !row->nodes[n].optional;
    }
    ED_FAIL_IF(!required, ED_EINVAL, "pattern '%s' has no node that must be there", row->name);
    plan->user[i] = (ed_pattern){ .name = row->name,
                                  .phase = ED_PHASE_FUSE,
                                  .nodes = nodes,
                                  .qdq = { ED_QDQ_INPUT, ED_QDQ_WEIGHT } };
    return ED_OK;
}

_Static_assert((int)ED_PATTERN_MAX_NODES <= (int)ED_PAT_MAX_NODES &&
                   (int)ED_PATTERN_MAX_INPUTS <= (int)ED_PAT_MAX_INPUTS &&
                   (int)ED_INPUT_ANY == (int)ED_PAT_ANY &&
                   (int)ED_INPUT_CONSTANT == (int)ED_PAT_CONST &&
                   (int)ED_INPUT_NODE == (int)ED_PAT_NODE0,
               "the public form is the matcher's");

int ed_user_patterns_read(ed_plan *plan)
{
    const ed_plan_options *opts = &plan->request.opts;
    plan->user = ed_arena_alloc(plan->arena, opts->user_pattern_count + 1, sizeof *plan->user);
    if (!plan->user)
        return ED_ENOMEM;
    for (size_t i = 0; i < opts->user_pattern_count; i++) {
        ED_TRY(check_names(opts, i));
        ED_TRY(convert(plan, i));
    }
    return ED_OK;
}

int ed_user_pattern_ask(ed_plan *plan, ed_match_info *info)
{
    const ed_plan_options *opts = &plan->request.opts;
    for (size_t i = 0; i < opts->user_pattern_count; i++) {
        const ed_user_pattern *row = &opts->user_patterns[i];
        if (!row->reject || strcmp(row->name, info->pattern) != 0)
            continue;
        const char *reason = row->reject(row->ctx, plan->graph, info);
        info->reason = reason ? ed_arena_strdup(plan->arena, reason) : NULL;
        info->apply = !reason;
        return reason && !info->reason ? ED_ENOMEM : ED_OK;
    }
    return ED_OK;
}

const ed_pattern *ed_plan_fusion(const ed_plan *plan, const char *name)
{
    for (size_t i = 0; plan->user && i < plan->request.opts.user_pattern_count; i++)
        if (strcmp(plan->user[i].name, name) == 0)
            return &plan->user[i];
    return ed_fusion_find(name);
}
