/*
 * Shapes, and the arithmetic around them.
 *
 * Exporters compute the targets of Reshape and Expand from Shape, Gather, Concat, Mod, Where and
 * the like, with a symbolic batch in the middle. Here the whole graph is inferred at three sizes of
 * each symbol ("probes"), with the operators' own infer functions and reference kernels, so that no
 * operator needs a second, symbolic implementation. Then
 *
 *   a dimension    the same number in all probes is that number; the symbol's size in all of them
 *                  is the symbol
 *   a small value  that is the same in all probes becomes a constant
 *   Reshape        gets a constant target: numbers, 0 where it copies the dimension at that place,
 *                  -1 for one other dimension that varies
 *   other readers  of a shape that varies (Expand) get Shape(input) -> Gather -> Concat, no more
 *
 * The sizes have different residues for small divisors and a large one among them, so that
 * N % 4, min(N, 8) or max(N, 100) are not mistaken for constants. A node that cannot be inferred
 * stays as it is; whoever needs it will name it.
 */
#include "passes/match.h"

#include <string.h>

enum { PROBES = 3, MAX_ELEMENTS = 4096 };

typedef struct probe {
    ed_type *types;           /* per value */
    const ed_tensor **values; /* per value: what is known of its numbers, or NULL */
    ed_tensor **computed;     /* per value: those of `values` that this probe owns */
    int64_t *sizes;           /* per symbol; ED_DIM_UNKNOWN: no input has it */
} probe;

typedef struct shapes {
    ed_graph *g;
    size_t n_values, n_symbols; /* when the probes were made */
    probe probes[PROBES];
} shapes;

static int64_t probe_size(int p, size_t symbol)
{
    static const int64_t first[PROBES] = { 5, 12, 1009 }, step[PROBES] = { 2, 7, 20 };
    return first[p] + step[p] * (int64_t)symbol;
}

/* ---- one probe ---- */

static ed_shape concrete(const probe *p, const ed_shape *shape)
{
    ed_shape s = *shape;
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] < ED_DIM_UNKNOWN)
            s.dim[i] = p->sizes[-2 - s.dim[i]];
    return s;
}

static void set_inputs(shapes *s, int k)
{
    const ed_graph *g = s->g;
    probe *p = &s->probes[k];
    size_t unnamed = g->n_symbols;
    for (size_t i = 0; i < g->n_symbols; i++)
        p->sizes[i] = ED_DIM_UNKNOWN;
    for (size_t i = 0; i < g->n_inputs; i++) {
        const ed_shape *shape = &g->values[g->inputs[i]].shape;
        for (int d = 0; d < shape->rank; d++)
            if (shape->dim[d] < ED_DIM_UNKNOWN)
                p->sizes[-2 - shape->dim[d]] = probe_size(k, (size_t)(-2 - shape->dim[d]));
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const ed_value *v = &g->values[i];
        p->values[i] = v->constant;
        p->types[i] = (ed_type){ v->dtype, concrete(p, &v->shape) };
        for (int d = 0; v->is_input && d < v->shape.rank; d++)
            if (p->types[i].shape.dim[d] == ED_DIM_UNKNOWN)
                p->types[i].shape.dim[d] = probe_size(k, unnamed++);
    }
}

/* Compute a node's small outputs where its inputs are known. */
static int evaluate(const ed_graph *g, probe *p, const ed_node *node)
{
    const ed_tensor *in[ED_CALL_MAX];
    ed_tensor *outs[ED_CALL_MAX], view = { 0 };
    bool shape_only = (ed_op_traits(g, node) & ED_OP_READS_SHAPE) != 0;
    if (node->n_in > ED_CALL_MAX || node->n_out > ED_CALL_MAX ||
        strcmp(node->op_type, "FakeQuantize") == 0)
        return ED_OK;
    for (uint32_t i = 0; i < node->n_in; i++) {
        in[i] = node->in[i] == ED_NONE ? NULL : p->values[node->in[i]];
        if (!in[i] && node->in[i] != ED_NONE && !shape_only)
            return ED_OK;
    }
    for (uint32_t i = 0; i < node->n_out; i++) {
        int64_t numel;
        if (node->out[i] == ED_NONE || !ed_shape_known(&p->types[node->out[i]].shape) ||
            ed_shape_numel(&numel, &p->types[node->out[i]].shape) != ED_OK || numel > MAX_ELEMENTS)
            return ED_OK;
    }
    if (shape_only) { /* its kernel looks at the shape alone: no data is needed */
        view.dtype = p->types[node->in[0]].dtype;
        view.shape = p->types[node->in[0]].shape;
        if (!ed_shape_known(&view.shape) || ed_shape_numel(&view.numel, &view.shape) != ED_OK)
            return ED_OK;
        in[0] = &view;
    }
    int rc = ed_op_evaluate(g, node, in, outs);
    for (uint32_t i = 0; rc == ED_OK && i < node->n_out; i++)
        p->values[node->out[i]] = p->computed[node->out[i]] = outs[i];
    return rc == ED_ENOMEM ? rc : ED_OK;
}

static int infer_node(const ed_graph *g, probe *p, const ed_node *node)
{
    int rc = ED_OK;
    const ed_op *op;
    if (ed_op_find(&op, g, node) != ED_OK)
        return ED_OK;
    void *params = ed_calloc(1, op->params_size + 1);
    ed_type *out = ed_calloc(node->n_out + 1, sizeof *out);
    if (!params || !out)
        ED_GOTO(ED_ENOMEM);
    rc = ed_op_params(op, g, node, params);
    if (rc == ED_OK)
        rc = ed_op_infer(op, g, node, params, p->types, p->values, out);
    for (uint32_t i = 0; rc == ED_OK && i < node->n_out; i++)
        if (node->out[i] != ED_NONE && out[i].shape.rank >= 0)
            p->types[node->out[i]] = out[i];
    if (rc == ED_OK)
        rc = evaluate(g, p, node);
done:
    ed_free(params);
    ed_free(out);
    return rc == ED_ENOMEM ? rc : ED_OK;
}

static int make_probe(shapes *s, int k, const ed_id *order, size_t n)
{
    probe *p = &s->probes[k];
    p->types = ed_calloc(s->n_values + 1, sizeof *p->types);
    p->values = ed_calloc(s->n_values + 1, sizeof *p->values);
    p->computed = ed_calloc(s->n_values + 1, sizeof *p->computed);
    p->sizes = ed_calloc(s->n_symbols + 1, sizeof *p->sizes);
    if (!p->types || !p->values || !p->computed || !p->sizes)
        return ED_ENOMEM;
    set_inputs(s, k);
    for (size_t i = 0; i < n; i++)
        ED_TRY(infer_node(s->g, p, &s->g->nodes[order[i]]));
    return ED_OK;
}

static void release(shapes *s)
{
    for (int k = 0; k < PROBES; k++) {
        probe *p = &s->probes[k];
        for (size_t i = 0; p->computed && i < s->n_values; i++)
            ed_tensor_free(p->computed[i]);
        ed_free(p->types);
        ed_free(p->values);
        ed_free(p->computed);
        ed_free(p->sizes);
    }
}

/* ---- what the probes say ---- */

/* The number or symbol that has these sizes; false when it is neither. */
static bool settle(const shapes *s, const int64_t sizes[PROBES], int64_t *dim)
{
    *dim = sizes[0];
    if (sizes[0] == sizes[1] && sizes[0] == sizes[2])
        return sizes[0] >= 0;
    for (size_t i = 0; i < s->n_symbols; i++) {
        bool same = true;
        for (int k = 0; k < PROBES; k++)
            same = same && s->probes[k].sizes[i] == sizes[k];
        *dim = -2 - (int64_t)i;
        if (same)
            return true;
    }
    return false;
}

static void set_types(const shapes *s)
{
    for (size_t v = 0; v < s->n_values; v++) {
        ed_value *value = &s->g->values[v];
        const ed_type *t[PROBES];
        for (int k = 0; k < PROBES; k++)
            t[k] = &s->probes[k].types[v];
        if (value->constant || value->is_input || t[0]->shape.rank < 0 ||
            t[0]->shape.rank != t[1]->shape.rank || t[0]->shape.rank != t[2]->shape.rank)
            continue;
        value->dtype = t[0]->dtype;
        value->shape.rank = t[0]->shape.rank;
        for (int d = 0; d < value->shape.rank; d++) {
            int64_t sizes[PROBES];
            for (int k = 0; k < PROBES; k++)
                sizes[k] = t[k]->shape.dim[d];
            if (!settle(s, sizes, &value->shape.dim[d]))
                value->shape.dim[d] = ED_DIM_UNKNOWN;
        }
    }
}

/* The value's numbers are known, and of one shape, in every probe. */
static bool is_known(const shapes *s, ed_id v)
{
    if (v >= s->n_values || !s->probes[0].computed[v])
        return false;
    for (int k = 1; k < PROBES; k++)
        if (!s->probes[k].computed[v] ||
            !ed_shape_equal(&s->probes[k].computed[v]->shape, &s->probes[0].computed[v]->shape))
            return false;
    return true;
}

static bool is_same(const shapes *s, ed_id v)
{
    if (!is_known(s, v))
        return false;
    const ed_tensor *t = s->probes[0].computed[v];
    for (int k = 1; k < PROBES; k++)
        if (t->nbytes && memcmp(t->data, s->probes[k].computed[v]->data, t->nbytes) != 0)
            return false;
    return true;
}

/* ---- rewriting ---- */

static int fold_node(shapes *s, ed_id id, bool *changed)
{
    ed_graph *g = s->g;
    const ed_node *node = &g->nodes[id];
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE &&
            (!is_same(s, node->out[i]) || g->values[node->out[i]].is_output))
            return ED_OK;
    ed_graph_remove_node(g, id);
    *changed = true;
    for (uint32_t i = 0; i < node->n_out; i++) {
        ed_id v = node->out[i];
        if (v == ED_NONE)
            continue;
        ed_tensor *t = s->probes[0].computed[v];
        s->probes[0].computed[v] = NULL; /* the graph's from here on */
        ED_TRY(ed_graph_set_constant_take(g, v, t));
    }
    return ED_OK;
}

/* The target of a Reshape with numbers, 0 and at most one -1. */
static bool reshape_target(const shapes *s, const ed_node *node, int64_t *target, int *rank)
{
    const ed_shape *y = &s->probes[0].types[node->out[0]].shape;
    int holes = 0;
    *rank = y->rank;
    for (int i = 0; i < y->rank; i++) {
        bool same = true, copies = true;
        for (int k = 0; k < PROBES; k++) {
            const ed_shape *in = &s->probes[k].types[node->in[0]].shape;
            const ed_shape *out = &s->probes[k].types[node->out[0]].shape;
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

static int settle_reshape(shapes *s, ed_id id, bool *changed)
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
static bool read_list(const shapes *s, ed_id v, int64_t *items, int *n)
{
    const ed_tensor *t = s->probes[0].computed[v];
    if (t->dtype != ED_I64 || t->shape.rank != 1 || t->numel > ED_MAX_RANK)
        return false;
    *n = (int)t->numel;
    for (int i = 0; i < *n; i++) {
        int64_t sizes[PROBES];
        for (int k = 0; k < PROBES; k++)
            sizes[k] = ed_tensor_get_i64(s->probes[k].computed[v], i);
        if (!settle(s, sizes, &items[i]))
            return false;
    }
    return true;
}

/* Give the readers of input `i` of a node that stays the short form of a list that varies. */
static int shorten_input(shapes *s, ed_id id, uint32_t i, bool *changed)
{
    ed_graph *g = s->g;
    ed_id v = g->nodes[id].in[i], parts[ED_MAX_RANK], out, node;
    int64_t items[ED_MAX_RANK];
    int n;
    char stem[512];
    if (g->values[v].constant || !is_known(s, v) || !read_list(s, v, items, &n))
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

static int rewrite(shapes *s, const ed_id *order, size_t n, bool *changed)
{
    ed_graph *g = s->g;
    for (size_t k = 0; k < n; k++)
        ED_TRY(fold_node(s, order[k], changed));
    for (size_t k = 0; k < n; k++)
        if (!g->nodes[order[k]].dead)
            ED_TRY(settle_reshape(s, order[k], changed));
    for (size_t k = 0; k < n; k++) {
        const ed_node *node = &g->nodes[order[k]];
        if (node->dead || !node->n_out || node->out[0] == ED_NONE || is_known(s, node->out[0]))
            continue;
        for (uint32_t i = 0; i < g->nodes[order[k]].n_in; i++)
            if (g->nodes[order[k]].in[i] != ED_NONE)
                ED_TRY(shorten_input(s, order[k], i, changed));
    }
    return ED_OK;
}

static int infer(ed_graph *g, bool fold)
{
    shapes s = { .g = g, .n_values = g->n_values, .n_symbols = g->n_symbols };
    ed_id *order;
    size_t n;
    bool changed = false;
    ED_TRY(ed_graph_topological(g, &order, &n));
    int rc = ED_OK;
    for (int k = 0; rc == ED_OK && k < PROBES; k++)
        rc = make_probe(&s, k, order, n);
    if (rc == ED_OK) {
        set_types(&s);
        rc = fold ? rewrite(&s, order, n, &changed) : ED_OK;
    }
    release(&s);
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
