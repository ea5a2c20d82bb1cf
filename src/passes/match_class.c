/*
 * Classes of nodes: one function of one value, written as one node or several.
 *
 *   @activation   Relu, Clip (ReLU6), HardSwish, LeakyRelu, Sigmoid, Tanh, HardSigmoid,
 *                 x * Sigmoid(x) (SiLU)
 *   @gelu         Gelu, or x * (1 + Erf(x / sqrt(2))) * 0.5 with the factors in any order
 *
 * The decomposed Gelu stays in its nodes, as a group: the operator Gelu needs opset 20, and raising
 * an older model that far would rewrite what has nothing to do with it.
 */
#include "passes/build.h"

#include <math.h>
#include <string.h>

static bool is_one_of(const ed_node *node, const char *const *types)
{
    for (; *types; types++)
        if (ed_node_is(node, *types))
            return true;
    return false;
}

static bool single_node(ed_class_hit *hit, const ed_node *node, ed_id id)
{
    *hit = (ed_class_hit){ node->in[0], { id }, 1, { id }, 1 };
    return true;
}

static bool match_activation(ed_class_hit *hit, const ed_graph *g, ed_id id)
{
    static const char *const types[] = { "Relu",    "Clip", "HardSwish",   "LeakyRelu",
                                         "Sigmoid", "Tanh", "HardSigmoid", NULL };
    const ed_node *node = &g->nodes[id];
    if (is_one_of(node, types)) {
        for (uint32_t i = 1; i < node->n_in; i++) /* Clip's bounds */
            if (node->in[i] != ED_NONE && !g->values[node->in[i]].constant)
                return false;
        return single_node(hit, node, id);
    }
    if (!ed_node_is(node, "Mul") || node->n_in != 2)
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        const ed_node *gate = ed_producer(g, node->in[i]);
        if (!ed_node_is(gate, "Sigmoid") || gate->in[0] != node->in[1 - i] ||
            ed_only_reader(g, node->in[i]) != node)
            continue;
        ed_id sigmoid = (ed_id)(gate - g->nodes);
        *hit = (ed_class_hit){ gate->in[0], { sigmoid, id }, 2, { sigmoid, id }, 2 };
        return true;
    }
    return false;
}

/* ---- Gelu ---- */

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

/* The operand of a node that is not the constant `number`; ED_NONE when neither is. */
static ed_id other_than(const ed_graph *g, const ed_node *node, double number)
{
    double c;
    for (uint32_t i = 0; i < 2; i++)
        if (ed_scalar_input(g, node, i, &c) && is_near(c, number))
            return node->in[1 - i];
    return ED_NONE;
}

static ed_id node_id(const ed_graph *g, const ed_node *node)
{
    return (ed_id)(node - g->nodes);
}

/* 1 + Erf(x / sqrt(2)): appends its three nodes. */
static bool match_erf(ed_class_hit *hit, const ed_graph *g, ed_id value)
{
    const ed_node *add = ed_producer(g, value);
    if (!ed_node_is(add, "Add") || !ed_only_reader(g, value))
        return false;
    ed_id inner = other_than(g, add, 1);
    const ed_node *erf = ed_producer(g, inner);
    if (inner == ED_NONE || !ed_node_is(erf, "Erf") || ed_only_reader(g, inner) != add)
        return false;
    const ed_node *scale = ed_producer(g, erf->in[0]);
    if (!scale || ed_only_reader(g, erf->in[0]) != erf)
        return false;
    double root;
    bool div = ed_node_is(scale, "Div") && ed_scalar_input(g, scale, 1, &root) &&
               is_near(root, 1.4142135623730951);
    hit->data = div                        ? scale->in[0]
                : ed_node_is(scale, "Mul") ? other_than(g, scale, 0.7071067811865476)
                                           : ED_NONE;
    hit->users[0] = node_id(g, scale);
    hit->n_users = 1;
    hit->nodes[0] = node_id(g, scale);
    hit->nodes[1] = node_id(g, erf);
    hit->nodes[2] = node_id(g, add);
    hit->n_nodes = 3;
    return hit->data != ED_NONE;
}

/* Root * inner, three factors together: the one of Erf, x, and 0.5. */
static bool match_factors(ed_class_hit *hit, const ed_graph *g, const ed_node *root, uint32_t side)
{
    const ed_node *inner = ed_producer(g, root->in[side]);
    if (!ed_node_is(inner, "Mul") || ed_only_reader(g, root->in[side]) != root)
        return false;
    const ed_id factor[3] = { inner->in[0], inner->in[1], root->in[1 - side] };
    const ed_node *const reader[3] = { inner, inner, root };
    for (int e = 0; e < 3; e++) {
        if (!match_erf(hit, g, factor[e]))
            continue;
        for (int x = 0; x < 3; x++) {
            double half;
            int h = 3 - e - x;
            const ed_node *node = h < 0 || h > 2 ? NULL : reader[h];
            if (x == e || !node || factor[x] != hit->data ||
                !ed_scalar_input(g, node, node->in[0] == factor[h] ? 0 : 1, &half) || half != 0.5)
                continue;
            hit->users[hit->n_users++] = node_id(g, reader[x]);
            hit->nodes[hit->n_nodes++] = node_id(g, inner);
            hit->nodes[hit->n_nodes++] = node_id(g, root);
            return true;
        }
    }
    return false;
}

static bool match_gelu(ed_class_hit *hit, const ed_graph *g, ed_id id)
{
    const ed_node *node = &g->nodes[id];
    if (ed_node_is(node, "Gelu"))
        return single_node(hit, node, id);
    if (!ed_node_is(node, "Mul") || node->n_in != 2)
        return false;
    return match_factors(hit, g, node, 0) || match_factors(hit, g, node, 1);
}

bool ed_class_match(ed_class_hit *hit, const char *class_name, const ed_graph *g, ed_id id)
{
    *hit = (ed_class_hit){ .data = ED_NONE };
    return strcmp(class_name, "@gelu") == 0 ? match_gelu(hit, g, id) : match_activation(hit, g, id);
}
