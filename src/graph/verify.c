/* Every invariant of a graph; run after each rewrite. */
#include "graph/graph.h"

#include <string.h>

static int verify_value(const ed_graph *g, ed_id id)
{
    const ed_value *v = &g->values[id];
    ED_FAIL_IF(v->producer != ED_NONE && (v->constant || v->is_input), ED_EFORMAT,
               "the value '%s' is both computed and given; it needs one source", v->name);
    ED_FAIL_IF(v->producer != ED_NONE && g->nodes[v->producer].dead, ED_EFORMAT,
               "the producer of '%s' was removed", v->name);
    ED_FAIL_IF(ed_value_uses(v) && v->producer == ED_NONE && !v->constant && !v->is_input,
               ED_EFORMAT,
               "the value '%s' is used%s%s, but nothing computes it; it should be an input, an "
               "initializer or a node's output",
               v->name, v->use_count ? " by " : "",
               v->use_count ? ed_node_label(g, &g->nodes[v->uses[0]]) : "");
    ED_FAIL_IF(ed_graph_find_value(g, v->name) != id, ED_EFORMAT,
               "the value '%s' is not found by its name", v->name);
    return ED_OK;
}

static size_t count_uses(const ed_graph *g, ed_id value, ed_id node)
{
    size_t n = 0;
    for (size_t i = 0; i < g->values[value].use_count; i++)
        n += g->values[value].uses[i] == node;
    return n;
}

static size_t count_inputs(const ed_node *node, ed_id value)
{
    size_t n = 0;
    for (uint32_t i = 0; i < node->n_in; i++)
        n += node->in[i] == value;
    return n;
}

static int verify_node(const ed_graph *g, ed_id id)
{
    const ed_node *node = &g->nodes[id];
    for (uint32_t i = 0; i < node->n_in; i++)
        ED_FAIL_IF(node->in[i] != ED_NONE &&
                       count_uses(g, node->in[i], id) != count_inputs(node, node->in[i]),
                   ED_EFORMAT, "%s: its input '%s' does not list it as a consumer",
                   ed_node_label(g, node), g->values[node->in[i]].name);
    for (uint32_t i = 0; i < node->n_out; i++)
        ED_FAIL_IF(node->out[i] != ED_NONE && g->values[node->out[i]].producer != id, ED_EFORMAT,
                   "%s: its output '%s' names another producer", ed_node_label(g, node),
                   g->values[node->out[i]].name);
    if (node->group == ED_NONE)
        return ED_OK;
    ED_FAIL_IF(node->group >= g->n_groups, ED_EFORMAT, "%s: its group does not exist",
               ed_node_label(g, node));
    const ed_group *group = &g->groups[node->group];
    for (uint32_t i = 0; i < group->n_nodes; i++)
        if (group->nodes[i] == id)
            return ED_OK;
    return ed_error_set(ED_EFORMAT, "%s: its group %s does not list it", ed_node_label(g, node),
                        group->name);
}

int ed_graph_verify(const ed_graph *g)
{
    for (size_t i = 0; i < g->n_values; i++)
        ED_TRY(verify_value(g, (ed_id)i));
    for (size_t i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead)
            ED_TRY(verify_node(g, (ed_id)i));
    ED_FAIL_IF(!g->n_outputs, ED_EFORMAT, "the graph '%s' has no output", g->name);
    ed_id *order;
    size_t n;
    ED_TRY(ed_graph_topological(g, &order, &n));
    ed_free(order);
    return ED_OK;
}
