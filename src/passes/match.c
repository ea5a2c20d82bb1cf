/*
 * Matching a pattern backwards from its root. Deterministic: inputs in order; where both operands
 * of a commutative node fit, the deeper branch (longest path from an input) is the pattern's node,
 * so that a residual Add claims the convolution of the long branch.
 */
#include "passes/match.h"

#include <string.h>

typedef struct matcher {
    const ed_graph *g;
    const uint32_t *depth;
    const ed_pat_node *pattern;
} matcher;

static bool type_is_one_of(const char *type, const char *list)
{
    size_t n = strlen(type);
    for (const char *p = list; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, type, n) == 0 && (p[n] == '|' || p[n] == 0))
            return true;
    }
    return false;
}

static bool node_is_one_of(const ed_node *node, const char *list)
{
    char type[128];
    if (!node->domain[0])
        return type_is_one_of(node->op_type, list);
    snprintf(type, sizeof type, "%s::%s", node->domain, node->op_type);
    return type_is_one_of(type, list);
}

bool ed_is_weight(const ed_graph *g, ed_id value, const ed_tensor **constant)
{
    if (value == ED_NONE)
        return false;
    const ed_value *v = &g->values[value];
    if (v->producer != ED_NONE && strcmp(g->nodes[v->producer].op_type, "FakeQuantize") == 0)
        v = &g->values[g->nodes[v->producer].in[0]];
    if (v->constant && constant)
        *constant = v->constant;
    return v->constant != NULL;
}

static bool add_node(ed_match *m, ed_id node)
{
    if (m->n_nodes == ED_MATCH_MAX_NODES)
        return false;
    m->nodes[m->n_nodes++] = node;
    return true;
}

/* Every reader of the value is one of the users, and it is no graph output. */
static bool only_read_by(const ed_value *v, const ed_id *users, size_t n)
{
    for (size_t i = 0; i < v->use_count; i++) {
        bool found = false;
        for (size_t k = 0; k < n; k++)
            found = found || v->uses[i] == users[k];
        if (!found)
            return false;
    }
    return !v->is_output;
}

static bool match_value(const matcher *x, ed_match *m, unsigned idx, ed_id value,
                        const ed_id *users, size_t n_users);

/* The pattern node that an absent optional one stands for. */
static unsigned stands_for(const ed_pat_node *p)
{
    for (unsigned i = 0; i < ED_PAT_MAX_INPUTS; i++)
        if (p->in[i] >= ED_PAT_NODE0)
            return p->in[i] - ED_PAT_NODE0;
    return 0;
}

static bool match_input(const matcher *x, ed_match *m, unsigned spec, ed_id value, ed_id user)
{
    if (spec >= ED_PAT_NODE0)
        return match_value(x, m, spec - ED_PAT_NODE0, value, &user, 1);
    return spec == ED_PAT_CONST ? ed_is_weight(x->g, value, NULL) : value != ED_NONE;
}

static bool match_inputs(const matcher *x, ed_match *m, const ed_pat_node *p, ed_id id, bool swap)
{
    const ed_node *node = &x->g->nodes[id];
    for (uint32_t i = 0; i < ED_PAT_MAX_INPUTS && p->in[i]; i++)
        if (!match_input(x, m, p->in[i], ed_node_in(node, swap ? 1 - i : i), id))
            return false;
    return add_node(m, id);
}

static uint32_t depth_of(const matcher *x, ed_id value)
{
    ed_id producer = value == ED_NONE ? ED_NONE : x->g->values[value].producer;
    return producer == ED_NONE || !x->depth ? 0 : x->depth[producer];
}

/* Both operand orders; where both fit, the one whose pattern node is deeper. */
static bool match_commutative(const matcher *x, ed_match *m, const ed_pat_node *p, ed_id id)
{
    const ed_node *node = &x->g->nodes[id];
    ed_match straight = *m, swapped = *m;
    bool a = match_inputs(x, &straight, p, id, false);
    bool b = match_inputs(x, &swapped, p, id, true);
    if (a && b) {
        bool first_is_node = p->in[0] >= ED_PAT_NODE0;
        uint32_t d0 = depth_of(x, node->in[0]), d1 = depth_of(x, node->in[1]);
        a = first_is_node ? d0 >= d1 : d1 >= d0;
    }
    if (a || b)
        *m = a ? straight : swapped;
    return a || b;
}

/* A class of nodes: its data input goes on with the pattern. */
static bool match_class(const matcher *x, ed_match *m, const ed_pat_node *p, ed_id id)
{
    ed_class_hit hit;
    if (!ed_class_match(&hit, p->op, x->g, id) ||
        !match_value(x, m, stands_for(p), hit.data, hit.users, hit.n_users))
        return false;
    for (size_t i = 0; i < hit.n_nodes; i++)
        if (!add_node(m, hit.nodes[i]))
            return false;
    return true;
}

static bool match_node(const matcher *x, ed_match *m, unsigned idx, ed_id id)
{
    const ed_pat_node *p = &x->pattern[idx];
    const ed_node *node = &x->g->nodes[id];
    m->at[idx] = id;
    if (p->op[0] == '@')
        return !node->domain[0] && match_class(x, m, p, id);
    if (!node_is_one_of(node, p->op))
        return false;
    if (node->n_in == 2 && (ed_op_traits(x->g, node) & ED_OP_COMMUTATIVE))
        return match_commutative(x, m, p, id);
    return match_inputs(x, m, p, id, false);
}

static bool match_value(const matcher *x, ed_match *m, unsigned idx, ed_id value,
                        const ed_id *users, size_t n_users)
{
    const ed_pat_node *p = &x->pattern[idx];
    ed_id producer = value == ED_NONE ? ED_NONE : x->g->values[value].producer;
    if (producer != ED_NONE && only_read_by(&x->g->values[value], users, n_users)) {
        ed_match attempt = *m;
        if (match_node(x, &attempt, idx, producer)) {
            *m = attempt;
            return true;
        }
    }
    return p->optional && match_value(x, m, stands_for(p), value, users, n_users);
}

unsigned ed_pattern_roots(const ed_pattern *pattern)
{
    unsigned last = 0, roots = 1;
    while (pattern->nodes[last + 1].op)
        last++;
    for (; pattern->nodes[last].optional; last = stands_for(&pattern->nodes[last]))
        roots++;
    return roots;
}

bool ed_match_at(ed_match *m, const ed_pattern *pattern, unsigned variant, const ed_graph *g,
                 const uint32_t *depth, ed_id root)
{
    matcher x = { g, depth, pattern->nodes };
    unsigned idx = 0;
    while (pattern->nodes[idx + 1].op)
        idx++;
    while (variant--)
        idx = stands_for(&pattern->nodes[idx]);
    *m = (ed_match){ .pattern = pattern, .root = root };
    for (unsigned i = 0; i < ED_PAT_MAX_NODES; i++)
        m->at[i] = ED_NONE;
    return match_node(&x, m, idx, root) && (!pattern->fits || pattern->fits(g, m));
}

int ed_match_depths(uint32_t **depth, const ed_graph *g, const ed_id *order, size_t n)
{
    *depth = ed_calloc(g->n_nodes, sizeof **depth);
    if (!*depth)
        return ED_ENOMEM;
    for (size_t k = 0; k < n; k++) {
        const ed_node *node = &g->nodes[order[k]];
        uint32_t longest = 0;
        for (uint32_t i = 0; i < node->n_in; i++) {
            ed_id p = node->in[i] == ED_NONE ? ED_NONE : g->values[node->in[i]].producer;
            if (p != ED_NONE && (*depth)[p] > longest)
                longest = (*depth)[p];
        }
        (*depth)[order[k]] = longest + 1;
    }
    return ED_OK;
}
