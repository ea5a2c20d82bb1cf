/*
 * Quantization: which values get a FakeQuantize, by the qdq roles of the fused groups.
 *
 *   input           the data input of a convolution or linear layer: per tensor
 *   weight          its weight: per output channel
 *   residual_input  the operand of the group's Add that comes from outside: the identity branch, or
 * the shallower convolution of a downsample; the long branch then fuses with the Add
 *
 *   attention       both inputs of both products of an attention (qdq_attention.c)
 *
 * A value is quantized once, whoever reads it; readers that no rule names keep the float value.
 * Nothing is placed between a convolution and what it fuses with, on a bias, or on a weight that is
 * computed.
 */
#include "passes/qdq.h"

#include <string.h>

static const char *const role_names[] = {
    [ED_QDQ_INPUT] = "input",
    [ED_QDQ_WEIGHT] = "weight",
    [ED_QDQ_RESIDUAL_INPUT] = "residual_input",
    [ED_QDQ_ATTENTION] = "attention",
};

static const ed_node *weighted_node(const ed_graph *g, const ed_group *group)
{
    for (uint32_t i = 0; i < group->n_nodes; i++)
        if (ed_op_traits(g, &g->nodes[group->nodes[i]]) & ED_OP_WEIGHTED)
            return &g->nodes[group->nodes[i]];
    return NULL;
}

static bool in_group(const ed_group *group, ed_id node)
{
    for (uint32_t i = 0; i < group->n_nodes; i++)
        if (group->nodes[i] == node)
            return true;
    return false;
}

/* The Add that joins an outside value with one of the group, and which operand is outside. */
static bool residual_of(const ed_graph *g, const ed_group *group, ed_plan_edge *edge)
{
    for (uint32_t k = 0; k < group->n_nodes; k++) {
        const ed_node *node = &g->nodes[group->nodes[k]];
        if (strcmp(node->op_type, "Add") != 0)
            continue;
        for (uint32_t i = 0; i < node->n_in; i++) {
            ed_id producer = g->values[node->in[i]].producer;
            if (!in_group(group, producer) && !g->values[node->in[i]].constant) {
                *edge = (ed_plan_edge){ group->nodes[k], i };
                return true;
            }
        }
    }
    return false;
}

static bool edge_of(const ed_graph *g, const ed_group *group, ed_qdq_role role, ed_plan_edge *edge)
{
    if (role == ED_QDQ_RESIDUAL_INPUT)
        return residual_of(g, group, edge);
    const ed_node *node = weighted_node(g, group);
    *edge = (ed_plan_edge){ (ed_id)(node - g->nodes), role == ED_QDQ_WEIGHT };
    return true;
}

static size_t find_point(const ed_plan *plan, ed_id value, int axis)
{
    for (size_t i = 0; i < plan->n_points; i++)
        if (plan->points[i].value == value && plan->infos[i].axis == axis)
            return i;
    return SIZE_MAX;
}

static unsigned bits_of(const ed_plan *plan, bool weight)
{
    const ed_plan_options *o = &plan->request.opts;
    unsigned bits = weight ? o->weight_bits : o->activation_bits;
    return bits ? bits : 8;
}

static int add_point(ed_plan *plan, const ed_group *group, ed_qdq_role role, ed_plan_edge edge)
{
    const ed_graph *g = plan->graph;
    ed_id value = g->nodes[edge.node].in[edge.i];
    const ed_value *v = &g->values[value];
    if (v->producer != ED_NONE && strcmp(g->nodes[v->producer].op_type, "FakeQuantize") == 0)
        return ED_OK; /* quantized already by whoever wrote the model */
    bool weight = role == ED_QDQ_WEIGHT;
    int axis = weight ? ed_weight_axis(g, &g->nodes[edge.node]) : -1;
    size_t i = find_point(plan, value, axis);
    if (i == SIZE_MAX) {
        i = plan->n_points;
        ED_TRY(ed_grow(&plan->points, &plan->point_capacity, i + 1, sizeof *plan->points));
        ED_TRY(ed_grow(&plan->infos, &plan->info_capacity, i + 1, sizeof *plan->infos));
        plan->points[i] = (ed_placement){ .value = value };
        plan->infos[i] = (ed_qdq_point){
            .value = v->name,
            .group = group->name,
            .rule = role_names[role],
            .weight = weight,
            .axis = axis,
            .scale_of = i,
            .bits = bits_of(plan, weight),
        };
        plan->n_points++;
        ED_TRY(ed_plan_add(plan, role_names[role], v->name, group->name, NULL, NULL));
    }
    ed_placement *p = &plan->points[i];
    ED_TRY(ed_grow(&p->edges, &p->edge_capacity, p->n_edges + 1, sizeof *p->edges));
    p->edges[p->n_edges++] = edge;
    return ED_OK;
}

static bool is_excluded(const ed_graph *g, const ed_group *group, const ed_plan_options *opts)
{
    for (uint32_t i = 0; i < group->n_nodes; i++) {
        const ed_node *member = &g->nodes[group->nodes[i]];
        if (ed_plan_excludes(opts, member->name) || ed_plan_excludes(opts, member->op_type))
            return true;
    }
    return ed_plan_excludes(opts, group->name) || ed_plan_excludes(opts, group->kind);
}

static bool rule_is_on(const ed_plan_options *opts, const char *name)
{
    for (size_t i = 0; opts && i < opts->rules_count; i++)
        if (strcmp(opts->rules[i], name) == 0)
            return true;
    return false;
}

/* Why a weighted group stays in float, or NULL; *hint when only an optional rule would say so. */
static const char *float_reason(ed_plan *plan, const ed_group *group, const ed_plan_options *opts,
                                const char **hint)
{
    const ed_graph *g = plan->graph;
    const ed_node *node = weighted_node(g, group);
    const ed_tensor *w = NULL;
    if (!node)
        return "it has no weighted operator";
    if (!ed_is_weight(g, ed_node_in(node, 1), &w))
        return "its weight is computed, not an initializer";
    if (w->dtype != ED_F32)
        return "its weight is not float32";
    if (!w->numel)
        return "its weight is empty";
    for (const ed_target_skip *s = plan->target->skips; s->name; s++) {
        const char *reason = s->reason ? s->reason(g, node) : NULL;
        if (!reason)
            continue;
        if (rule_is_on(opts, s->name))
            return ed_arena_printf(plan->arena, "%s: %s", s->name, reason);
        if (!*hint)
            *hint = ed_arena_printf(plan->arena, "hint: --rule %s would leave it in float: %s",
                                    s->name, reason);
    }
    return NULL;
}

static const char *attention_reason(ed_plan *plan, const ed_group *group,
                                    const ed_plan_options *opts)
{
    if (rule_is_on(opts, "skip-attention"))
        return "skip-attention: the user wants attention in float";
    return ed_qdq_attention_reason(plan->arena, plan->graph, group);
}

/* Every exclusion names something, every rule exists. */
static int check_options(const ed_plan *plan, const ed_plan_options *opts)
{
    const ed_graph *g = plan->graph;
    for (size_t k = 0; opts && k < opts->exclude_count; k++) {
        ed_plan_options one = { .exclude = &opts->exclude[k], .exclude_count = 1 };
        bool found = false;
        for (size_t i = 0; !found && i < g->n_nodes; i++)
            found = !g->nodes[i].dead && (ed_plan_excludes(&one, g->nodes[i].name) ||
                                          ed_plan_excludes(&one, g->nodes[i].op_type));
        for (size_t i = 0; !found && i < g->n_groups; i++)
            found = ed_plan_excludes(&one, g->groups[i].name) ||
                    ed_plan_excludes(&one, g->groups[i].kind);
        ED_FAIL_IF(
            !found, ED_ENOTFOUND,
            "no node, operator, group or pattern of the model is named '%s'; --verbose lists "
            "them, and * and ? stand for other characters",
            opts->exclude[k]);
    }
    const unsigned bits[] = { bits_of(plan, true), bits_of(plan, false) };
    for (size_t k = 0; k < ED_LENGTH(bits); k++)
        ED_FAIL_IF(bits[k] != 8 && bits[k] != 4, ED_EINVAL,
                   "%s of %u bits; they are quantized to 8 or 4", k ? "activations" : "weights",
                   bits[k]);
    for (size_t k = 0; opts && k < opts->rules_count; k++) {
        bool found = false;
        for (const ed_target_skip *s = plan->target->skips; s->name; s++)
            found = found || strcmp(s->name, opts->rules[k]) == 0;
        ED_FAIL_IF(!found, ED_ENOTFOUND, "target %s has no rule '%s'; --help lists its rules",
                   plan->target->name, opts->rules[k]);
    }
    return ED_OK;
}

static int quantize_attention(ed_plan *plan, const ed_group *group)
{
    ed_plan_edge edges[4];
    ed_qdq_attention_edges(plan->graph, group, edges);
    for (size_t i = 0; i < ED_LENGTH(edges); i++) {
        size_t before = plan->n_points;
        ED_TRY(add_point(plan, group, ED_QDQ_ATTENTION, edges[i]));
        if (i == 2 && plan->n_points > before) /* of Softmax: in [0, 1] */
            plan->infos[before].fixed_scale = 1.0 / ((1 << (plan->infos[before].bits - 1)) - 1);
    }
    return ED_OK;
}

static int quantize_group(ed_plan *plan, const ed_group *group, const ed_plan_options *opts)
{
    const ed_pattern *pattern = ed_plan_fusion(plan, group->kind);
    const char *hint = NULL, *reason = NULL;
    if (!pattern || pattern->qdq[0] == ED_QDQ_NONE)
        return ED_OK;
    bool attention = pattern->qdq[0] == ED_QDQ_ATTENTION;
    if (is_excluded(plan->graph, group, opts))
        reason = "excluded by the user";
    else
        reason = attention ? attention_reason(plan, group, opts)
                           : float_reason(plan, group, opts, &hint);
    if (reason)
        return ed_plan_add(plan, "group", group->name, group->kind, reason, NULL);
    if (attention)
        return quantize_attention(plan, group);
    if (hint)
        ED_TRY(ed_plan_add(plan, "hint", group->name, group->kind, hint, NULL));
    for (size_t r = 0; r < ED_LENGTH(pattern->qdq) && pattern->qdq[r]; r++) {
        ed_plan_edge edge;
        if (edge_of(plan->graph, group, pattern->qdq[r], &edge))
            ED_TRY(add_point(plan, group, pattern->qdq[r], edge));
    }
    return ED_OK;
}

int ed_qdq_build(ed_plan *plan, const ed_plan_options *opts)
{
    ED_TRY(check_options(plan, opts));
    for (size_t i = 0; i < plan->graph->n_groups; i++)
        ED_TRY(quantize_group(plan, &plan->graph->groups[i], opts));
    ed_qdq_share(plan);
    return ED_OK;
}

int ed_plan_set_scales(ed_plan *plan, size_t i, const float *scales, size_t count)
{
    const ed_value *v = &plan->graph->values[plan->points[i].value];
    int axis = plan->infos[i].axis;
    size_t want = axis < 0 ? 1 : (size_t)v->shape.dim[axis];
    ED_FAIL_IF(count != want, ED_EINVAL, "the value '%s' needs %zu scales, %zu were given", v->name,
               want, count);
    for (size_t k = 0; k < count; k++)
        ED_FAIL_IF(!(scales[k] > 0.0F) || scales[k] > 3.4e38F, ED_EINVAL,
                   "the value '%s': scale %zu is %g; a scale must be positive and finite", v->name,
                   k, (double)scales[k]);
    float *copy = ed_malloc(count * sizeof *copy);
    if (!copy)
        return ED_ENOMEM;
    memcpy(copy, scales, count * sizeof *copy);
    ed_free(plan->points[i].scales);
    plan->points[i].scales = copy;
    plan->points[i].n_scales = count;
    return ED_OK;
}

static int insert_point(ed_graph *g, const ed_placement *p, const ed_qdq_point *info,
                        bool int8_storage)
{
    const char *name = g->values[p->value].name;
    ed_id ids[3] = { p->value, ED_NONE, ED_NONE }, out = ED_NONE, node;
    ed_tensor *scale, *zero;
    const char *stem;
    ED_FAIL_IF(!p->n_scales, ED_EINVAL, "the value '%s' has no scale yet; calibrate first", name);
    ed_shape shape = info->axis < 0 ? ED_SHAPE_SCALAR : ED_SHAPE((int64_t)p->n_scales);
    if (!(stem = ed_arena_printf(g->arena, "%s_scale", name)))
        return ED_ENOMEM;
    ED_TRY(ed_tensor_from(&scale, ED_F32, &shape, p->scales));
    ED_TRY(ed_graph_add_constant_take(g, &ids[1], stem, scale));
    if (!(stem = ed_arena_printf(g->arena, "%s_zero_point", name)))
        return ED_ENOMEM;
    ED_TRY(ed_tensor_new(&zero, ED_I32, &shape));
    ED_TRY(ed_graph_add_constant_take(g, &ids[2], stem, zero));
    if (!(stem = ed_arena_printf(g->arena, "%s_DequantizeLinear", name)))
        return ED_ENOMEM;
    ED_TRY(ed_graph_add_fresh_value(g, &out, stem));
    g->values[out].dtype = g->values[p->value].dtype;
    g->values[out].shape = g->values[p->value].shape;
    if (!(stem = ed_arena_printf(g->arena, "%s_FakeQuantize", g->values[p->value].name)))
        return ED_ENOMEM;
    ED_TRY(ed_graph_add_node(g, &node, "FakeQuantize", stem, ids, 3, &out, 1));
    g->nodes[node].domain = "ed";
    const struct {
        const char *name;
        int64_t value;
    } attrs[] = { { "axis", info->axis },
                  { "qmin", -(1 << (info->bits - 1)) },
                  { "qmax", (1 << (info->bits - 1)) - 1 },
                  { "bits", int8_storage ? 8 : info->bits },
                  { "is_unsigned", 0 } };
    for (size_t i = 0; i < ED_LENGTH(attrs); i++)
        ED_TRY(ed_node_set_int(g, node, attrs[i].name, attrs[i].value));
    for (size_t i = 0; i < p->n_edges; i++)
        ED_TRY(ed_node_set_input(g, p->edges[i].node, p->edges[i].i, out));
    return ED_OK;
}

int ed_qdq_apply(const ed_plan *plan, ed_graph *g)
{
    if (!ed_graph_opset(g, "ed"))
        ED_TRY(ed_graph_set_opset(g, "ed", 1));
    for (size_t i = 0; i < plan->n_points; i++)
        ED_TRY(insert_point(g, &plan->points[i], &plan->infos[i],
                            plan->request.opts.int8_storage && plan->infos[i].weight));
    return ed_graph_verify(g);
}
