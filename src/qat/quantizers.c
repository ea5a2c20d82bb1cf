/* See params.h: the quantizers of activations, and whose scales are one. */
#include "qat/params.h"

#include "exec/training.h"

#include <string.h>

/* The value before a FakeQuantize, or the value itself. */
static ed_id before_quantizer(const ed_graph *g, ed_id value)
{
    ed_id producer = value == ED_NONE ? ED_NONE : g->values[value].producer;
    return producer != ED_NONE && ed_is_quantizer(&g->nodes[producer]) ? g->nodes[producer].in[0]
                                                                       : value;
}

static bool is_fixed(const ed_graph *g, const ed_node *node)
{
    const ed_tensor *scale = ed_node_constant(g, node, 1), *zeros = ed_node_constant(g, node, 2);
    ed_id producer = g->values[node->in[0]].producer;
    bool probabilities = producer != ED_NONE && strcmp(g->nodes[producer].op_type, "Softmax") == 0;
    bool asymmetric = zeros && ed_tensor_get_i64(zeros, 0) != 0;
    return !scale || scale->numel != 1 || probabilities || asymmetric ||
           (!zeros && ed_node_in(node, 2) != ED_NONE);
}

typedef struct list {
    const ed_graph *graph;
    ed_quantizer *items;
    size_t count;
} list;

static float scale_of(const list *l, size_t i)
{
    return *(const float *)l->graph->values[l->items[i].scale].constant->data;
}

/* Quantizer i takes the scale of j from now on, where they were equal. */
static void tie(list *l, size_t i, size_t j)
{
    size_t a = l->items[i].tied, b = l->items[j].tied;
    if (a == b || l->items[i].fixed || l->items[j].fixed || scale_of(l, i) != scale_of(l, j))
        return;
    size_t first = a < b ? a : b, other = a < b ? b : a;
    for (size_t k = 0; k < l->count; k++)
        if (l->items[k].tied == other)
            l->items[k].tied = first;
}

static void tie_to_value(list *l, size_t i, ed_id value)
{
    for (size_t k = 0; k < l->count; k++)
        if (k != i && l->items[k].input == value)
            tie(l, i, k);
}

/* As calibration shares ranges: a Concat's operands are written in the scale of its result; what
 * only moves data keeps the scale. */
static void tie_item(list *l, size_t i)
{
    const ed_graph *g = l->graph;
    ed_id value = l->items[i].input;
    for (size_t k = 0; k < i; k++)
        if (l->items[k].scale == l->items[i].scale || l->items[k].input == value)
            tie(l, i, k);
    for (ed_id id = g->values[value].producer; id != ED_NONE;) {
        const ed_node *node = &g->nodes[id];
        bool concat = strcmp(node->op_type, "Concat") == 0;
        for (uint32_t k = 0; concat && k < node->n_in; k++)
            tie_to_value(l, i, before_quantizer(g, node->in[k]));
        if (concat || !ed_training_moves_data(g, node) || ed_node_in(node, 0) == ED_NONE)
            return;
        value = before_quantizer(g, node->in[0]);
        tie_to_value(l, i, value);
        id = g->values[value].producer;
    }
}

int ed_quantizers_find(ed_quantizer **out, size_t *count, const ed_graph *graph)
{
    list l = { graph, ed_calloc(graph->n_nodes, sizeof *l.items), 0 };
    *out = NULL;
    *count = 0;
    if (!l.items)
        return ED_ENOMEM;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const ed_node *node = &graph->nodes[i];
        if (node->dead || !ed_is_quantizer(node) || node->in[0] == ED_NONE ||
            graph->values[node->in[0]].constant)
            continue;
        l.items[l.count] = (ed_quantizer){ (ed_id)i, node->in[0], ed_node_in(node, 1),
                                           is_fixed(graph, node), l.count };
        l.count++;
    }
    for (size_t i = 0; i < l.count; i++)
        tie_item(&l, i);
    *out = l.items;
    *count = l.count;
    return ED_OK;
}

int ed_quantizers_separate(ed_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const ed_node *node = &graph->nodes[i];
        const ed_tensor *scale = ed_node_constant(graph, node, 1);
        if (node->dead || !ed_is_quantizer(node) || node->in[0] == ED_NONE || !scale ||
            ed_value_uses(&graph->values[node->in[1]]) == 1 ||
            !(graph->values[node->in[0]].constant || is_fixed(graph, node)))
            continue;
        ed_tensor *copy;
        ed_id own;
        ED_TRY(ed_tensor_clone(&copy, scale));
        ED_TRY(ed_graph_add_constant_take(graph, &own, graph->values[node->in[1]].name, copy));
        ED_TRY(ed_node_set_input(graph, (ed_id)i, 1, own));
    }
    return ED_OK;
}
