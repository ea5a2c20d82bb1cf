/* Changing a graph: links, replacing values, removing what is unused, groups. */
#include "graph/graph.h"

#include <string.h>

static void drop_use(ed_graph *g, ed_id value, ed_id node)
{
    if (value == ED_NONE)
        return;
    ed_value *v = &g->values[value];
    for (size_t i = 0; i < v->use_count; i++) {
        if (v->uses[i] == node) {
            memmove(v->uses + i, v->uses + i + 1, (v->use_count - i - 1) * sizeof *v->uses);
            v->use_count--;
            return;
        }
    }
}

int ed_node_set_input(ed_graph *g, ed_id id, uint32_t i, ed_id value)
{
    ed_node *node = &g->nodes[id];
    if (node->in[i] == value)
        return ED_OK;
    if (value != ED_NONE) {
        ed_value *v = &g->values[value];
        ED_TRY(ed_grow(&v->uses, &v->use_capacity, v->use_count + 1, sizeof *v->uses));
        v->uses[v->use_count++] = id;
    }
    drop_use(g, node->in[i], id);
    node->in[i] = value;
    return ED_OK;
}

static int swap_names(ed_graph *g, ed_id a, ed_id b)
{
    const char *name = g->values[a].name;
    g->values[a].name = g->values[b].name;
    g->values[b].name = name;
    ED_TRY(ed_strmap_put(&g->value_ids, g->values[a].name, a));
    return ed_strmap_put(&g->value_ids, g->values[b].name, b);
}

int ed_graph_replace_value(ed_graph *g, ed_id from, ed_id to)
{
    bool fixed = g->values[to].is_input || g->values[to].is_output || g->values[to].constant;
    ED_FAIL_IF(g->values[from].is_output && fixed, ED_EUNSUPPORTED,
               "the output '%s' cannot be replaced by '%s', which has a fixed name",
               g->values[from].name, g->values[to].name);
    while (g->values[from].use_count) {
        ed_id node = g->values[from].uses[0];
        for (uint32_t i = 0; i < g->nodes[node].n_in; i++)
            if (g->nodes[node].in[i] == from)
                ED_TRY(ed_node_set_input(g, node, i, to));
    }
    if (!g->values[from].is_output)
        return ED_OK;
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from)
            g->outputs[i] = to;
    g->values[from].is_output = false;
    g->values[to].is_output = true;
    return swap_names(g, from, to);
}

void ed_graph_remove_node(ed_graph *g, ed_id id)
{
    ed_node *node = &g->nodes[id];
    for (uint32_t i = 0; i < node->n_in; i++)
        drop_use(g, node->in[i], id);
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE)
            g->values[node->out[i]].producer = ED_NONE;
    node->dead = true;
}

static bool is_unused(const ed_graph *g, const ed_node *node)
{
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE && ed_value_uses(&g->values[node->out[i]]))
            return false;
    return true;
}

int ed_graph_remove_unused(ed_graph *g)
{
    ed_id *order;
    size_t n;
    ED_TRY(ed_graph_topological(g, &order, &n));
    while (n--) /* consumers first: one walk is enough */
        if (is_unused(g, &g->nodes[order[n]]))
            ed_graph_remove_node(g, order[n]);
    ed_free(order);
    for (size_t i = 0; i < g->n_values; i++) {
        ed_value *v = &g->values[i];
        if (v->constant && !ed_value_uses(v)) {
            ed_tensor_free(v->constant);
            v->constant = NULL;
        }
    }
    return ED_OK;
}

int ed_graph_add_group(ed_graph *g, ed_id *out, const char *kind, const ed_id *nodes, size_t n)
{
    size_t same = 0;
    for (size_t i = 0; i < g->n_groups; i++)
        same += strcmp(g->groups[i].kind, kind) == 0;
    for (size_t i = 0; i < n; i++)
        ED_FAIL_IF(g->nodes[nodes[i]].group != ED_NONE, ED_EINVAL, "%s is in a group already",
                   ed_node_label(g, &g->nodes[nodes[i]]));
    ED_TRY(ed_grow(&g->groups, &g->group_capacity, g->n_groups + 1, sizeof *g->groups));
    ed_group group = { .n_nodes = (uint32_t)n };
    group.kind = ed_arena_strdup(g->arena, kind);
    group.name = ed_arena_printf(g->arena, "%s_%zu", kind, same);
    group.nodes = ed_arena_memdup(g->arena, nodes, n * sizeof *nodes);
    if (!group.kind || !group.name || !group.nodes)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++)
        g->nodes[nodes[i]].group = (ed_id)g->n_groups;
    if (out)
        *out = (ed_id)g->n_groups;
    g->groups[g->n_groups++] = group;
    return ED_OK;
}

void ed_graph_clear_groups(ed_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        g->nodes[i].group = ED_NONE;
    g->n_groups = 0;
}
