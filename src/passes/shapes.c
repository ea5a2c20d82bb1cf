/*
 * Shapes, and the arithmetic around them.
 *
 * Exporters compute the targets of Reshape and Expand from Shape, Gather, Concat, Mod, Where and
 * the like, with a symbolic batch in the middle. Here the whole graph is inferred at three sizes of
 * each symbol (probe.c). Then
 *
 *   a dimension    the same number in all probes is that number; the symbol's size in all of them
 *                  is the symbol
 *   a small value  that is the same in all probes becomes a constant
 *   Reshape        gets a constant target: numbers, 0 where it copies the dimension at that place,
 *                  -1 for one other dimension that varies
 *   other readers  of a shape that varies (Expand) get Shape(input) -> Gather -> Concat, no more
 */
#include "passes/probe.h"

#include <string.h>

static void set_types(const ed_probes *s)
{
    for (size_t v = 0; v < s->n_values; v++) {
        ed_value *value = &s->g->values[v];
        const ed_type *t[ED_PROBES];
        for (int k = 0; k < ED_PROBES; k++)
            t[k] = &s->at[k].types[v];
        if (value->constant || value->is_input || t[0]->shape.rank < 0 ||
            t[0]->shape.rank != t[1]->shape.rank || t[0]->shape.rank != t[2]->shape.rank)
            continue;
        value->dtype = t[0]->dtype;
        value->shape.rank = t[0]->shape.rank;
        for (int d = 0; d < value->shape.rank; d++) {
            int64_t sizes[ED_PROBES];
            for (int k = 0; k < ED_PROBES; k++)
                sizes[k] = t[k]->shape.dim[d];
            if (!ed_probes_settle(s, sizes, &value->shape.dim[d]))
                value->shape.dim[d] = ED_DIM_UNKNOWN;
        }
    }
}

/* ---- rewriting ---- */

static int fold_node(ed_probes *s, ed_id id, bool *changed)
{
    ed_graph *g = s->g;
    const ed_node *node = &g->nodes[id];
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE &&
            (!ed_probes_agree(s, node->out[i]) || g->values[node->out[i]].is_output))
            return ED_OK;
    ed_graph_remove_node(g, id);
    *changed = true;
    for (uint32_t i = 0; i < node->n_out; i++) {
        ed_id v = node->out[i];
        if (v == ED_NONE)
            continue;
        ed_tensor *t = s->at[0].computed[v];
        s->at[0].computed[v] = NULL; /* the graph's from here on */
        ED_TRY(ed_graph_set_constant_take(g, v, t));
    }
    return ED_OK;
}

/* The target of a Reshape with numbers, 0 and at most one -1. */
static bool reshape_target(const ed_probes *s, const ed_node *node, int64_t *target, int *rank)
{
    const ed_shape *y = &s->at[0].types[node->out[0]].shape;
    int holes = 0;
    *rank = y->rank;
    for (int i = 0; i < y->rank; i++) {
        bool same = true, copies = true;
        for (int k = 0; k < ED_PROBES; k++) {
            const ed_shape *in = &s->at[k].types[node->in[0]].shape;
            const ed_shape *out = &s->at[k].types[node->out[0]].shape;
            if (in->rank < 0 || out->rank != y->rank || out->dim[i] <= 0)
                return false;
            same = same && out->dim[i] == y->dim[i];
            copies = copies && i < in->rank && in->dim[i] == out->dim[i];
        }
        target[i] = same ? y->dim[i] : copies ? 0 : -1;
        holes += target[i] == -1;
    }
    return y->rank >= 0 && holes <= 1;
}

static int settle_reshape(ed_probes *s, ed_id id, bool *changed)
{
    ed_graph *g = s->g;
    const ed_node *node = &g->nodes[id];
    const ed_attr *allow_zero = ed_node_attr(node, "allowzero");
    int64_t target[ED_MAX_RANK];
    int rank;
    char stem[512];
    ed_tensor *t;
    ed_id constant;
    if (strcmp(node->op_type, "Reshape") != 0 || node->domain[0] || ed_node_constant(g, node, 1) ||
        !reshape_target(s, node, target, &rank))
        return ED_OK;
    snprintf(stem, sizeof stem, "%.500s_shape", g->values[node->out[0]].name);
    ED_TRY(ed_tensor_from(&t, ED_I64, &ED_SHAPE(rank), target));
    ED_TRY(ed_graph_add_constant_take(g, &constant, stem, t));
    ED_TRY(ed_node_set_input(g, id, 1, constant));
    *changed = true;
    return allow_zero && allow_zero->i ? ed_node_set_int(g, id, "allowzero", 0) : ED_OK;
}

/* Shape(input) -> Gather: the size of a symbol as a list of one. */
static int symbol_size(ed_graph *g, ed_id *out, int64_t symbol, const char *stem)
{
    for (size_t i = 0; i < g->n_inputs; i++) {
        ed_id x = g->inputs[i], in[2], shape, node;
        for (int64_t d = 0; d < g->values[x].shape.rank; d++) {
            ed_tensor *index;
            if (g->values[x].shape.dim[d] != symbol)
                continue;
            ED_TRY(ed_graph_add_fresh_value(g, &shape, stem));
            ED_TRY(ed_graph_add_node(g, NULL, "Shape", NULL, &x, 1, &shape, 1));
            ED_TRY(ed_tensor_from(&index, ED_I64, &ED_SHAPE(1), &d));
            in[0] = shape;
            ED_TRY(ed_graph_add_constant_take(g, &in[1], stem, index));
            ED_TRY(ed_graph_add_fresh_value(g, out, stem));
            ED_TRY(ed_graph_add_node(g, &node, "Gather", NULL, in, 2, out, 1));
            return ed_node_set_int(g, node, "axis", 0);
        }
    }
    return ed_error_set(ED_EINVAL, "no input has the symbolic dimension '%s'",
                        g->symbols[-2 - symbol]);
}

/* The numbers and symbols of a list that varies; false when it is something else. */
static bool read_list(const ed_probes *s, ed_id v, int64_t *items, int *n)
{
    const ed_tensor *t = s->at[0].computed[v];
    if (t->dtype != ED_I64 || t->shape.rank != 1 || t->numel > ED_MAX_RANK)
        return false;
    *n = (int)t->numel;
    for (int i = 0; i < *n; i++) {
        int64_t sizes[ED_PROBES];
        for (int k = 0; k < ED_PROBES; k++)
            sizes[k] = ed_tensor_get_i64(s->at[k].computed[v], i);
        if (!ed_probes_settle(s, sizes, &items[i]))
            return false;
    }
    return true;
}

/* Give the readers of input `i` of a node that stays the short form of a list that varies. */
static int shorten_input(ed_probes *s, ed_id id, uint32_t i, bool *changed)
{
    ed_graph *g = s->g;
    ed_id v = g->nodes[id].in[i], parts[ED_MAX_RANK], out, node;
    int64_t items[ED_MAX_RANK];
    int n;
    char stem[512];
    if (g->values[v].constant || !ed_probes_know(s, v) || !read_list(s, v, items, &n))
        return ED_OK;
    const ed_node *producer = &g->nodes[g->values[v].producer];
    if (strcmp(producer->op_type, "Shape") == 0 ||
        (strcmp(producer->op_type, "Concat") == 0 && producer->n_in == (uint32_t)n))
        return ED_OK; /* short enough */
    snprintf(stem, sizeof stem, "%.500s_size", g->values[v].name);
    for (int k = 0; k < n; k++) {
        ed_tensor *t;
        if (items[k] < 0) {
            ED_TRY(symbol_size(g, &parts[k], items[k], stem));
        } else {
            ED_TRY(ed_tensor_from(&t, ED_I64, &ED_SHAPE(1), &items[k]));
            ED_TRY(ed_graph_add_constant_take(g, &parts[k], stem, t));
        }
    }
    ED_TRY(ed_graph_add_fresh_value(g, &out, stem));
    ED_TRY(ed_graph_add_node(g, &node, "Concat", NULL, parts, (size_t)n, &out, 1));
    ED_TRY(ed_node_set_int(g, node, "axis", 0));
    *changed = true;
    return ed_node_set_input(g, id, i, out);
}

static int rewrite(ed_probes *s, const ed_id *order, size_t n, bool *changed)
{
    ed_graph *g = s->g;
    for (size_t k = 0; k < n; k++)
        ED_TRY(fold_node(s, order[k], changed));
    for (size_t k = 0; k < n; k++)
        if (!g->nodes[order[k]].dead)
            ED_TRY(settle_reshape(s, order[k], changed));
    for (size_t k = 0; k < n; k++) {
        const ed_node *node = &g->nodes[order[k]];
        if (node->dead || !node->n_out || node->out[0] == ED_NONE ||
            ed_probes_know(s, node->out[0]))
            continue;
        for (uint32_t i = 0; i < g->nodes[order[k]].n_in; i++)
            if (g->nodes[order[k]].in[i] != ED_NONE)
                ED_TRY(shorten_input(s, order[k], i, changed));
    }
    return ED_OK;
}

static int infer(ed_graph *g, bool fold)
{
    ed_probes s;
    ed_id *order;
    size_t n;
    bool changed = false;
    ED_TRY(ed_graph_topological(g, &order, &n));
    int rc = ed_probes_make(&s, g, order, n);
    if (rc == ED_OK) {
        set_types(&s);
        rc = fold ? rewrite(&s, order, n, &changed) : ED_OK;
    }
    ed_probes_release(&s);
    ed_free(order);
    return rc == ED_OK && changed ? ed_graph_remove_unused(g) : rc;
}

int ed_infer_shapes(ed_graph *g)
{
    return infer(g, false);
}

int ed_fold_shapes(ed_graph *g)
{
    return infer(g, true);
}
