/* Making nodes and constants in rewrites, and looking at nodes. */
#include "passes/build.h"

#include <string.h>

int ed_build_node(ed_graph *g, ed_id *id, ed_id *out, const char *op_type, const char *stem,
                  const ed_id *in, size_t n_in)
{
    ed_id value, node;
    ED_TRY(ed_graph_add_fresh_value(g, &value, stem));
    ED_TRY(ed_graph_add_node(g, &node, op_type, g->values[value].name, in, n_in, &value, 1));
    if (id)
        *id = node;
    if (out)
        *out = value;
    return ED_OK;
}

int ed_build_i64(ed_graph *g, ed_id *out, const char *stem, const int64_t *v, size_t n)
{
    ed_tensor *t;
    ED_TRY(ed_tensor_from(&t, ED_I64, &ED_SHAPE((int64_t)n), v));
    return ed_graph_add_constant_take(g, out, stem, t);
}

int ed_build_f32(ed_graph *g, ed_id *out, const char *stem, float v)
{
    ed_tensor *t;
    ED_TRY(ed_tensor_from(&t, ED_F32, &ED_SHAPE_SCALAR, &v));
    return ed_graph_add_constant_take(g, out, stem, t);
}

int ed_build_transpose(ed_graph *g, ed_id *out, ed_id x, const int64_t *perm, size_t n)
{
    char stem[512];
    ed_id node;
    snprintf(stem, sizeof stem, "%.490s_transposed", g->values[x].name);
    ED_TRY(ed_build_node(g, &node, out, "Transpose", stem, &x, 1));
    return ed_node_set_ints(g, node, "perm", perm, n);
}

int ed_build_reshape(ed_graph *g, ed_id *out, ed_id x, const int64_t *target, size_t n)
{
    char stem[512];
    ed_id in[2] = { x, ED_NONE };
    snprintf(stem, sizeof stem, "%.490s_shape", g->values[x].name);
    ED_TRY(ed_build_i64(g, &in[1], stem, target, n));
    snprintf(stem, sizeof stem, "%.490s_reshaped", g->values[x].name);
    return ed_build_node(g, NULL, out, "Reshape", stem, in, 2);
}

int ed_build_new_constant(ed_graph *g, ed_id *id, ed_id old, const char *stem, ed_tensor *tensor)
{
    if (old == ED_NONE || ed_value_uses(&g->values[old]) > 1)
        return ed_graph_add_constant_take(g, id, stem, tensor);
    ed_tensor_free(g->values[old].constant);
    g->values[old].constant = tensor;
    *id = old;
    return ED_OK;
}

int ed_build_replace(ed_graph *g, ed_id node, ed_id to)
{
    ed_id from = g->nodes[node].out[0];
    g->values[to].shape = g->values[from].shape;
    g->values[to].dtype = g->values[from].dtype;
    ED_TRY(ed_graph_replace_value(g, from, to));
    ed_graph_remove_node(g, node);
    return ED_OK;
}

bool ed_reshape_target(int64_t *target, const ed_shape *x, const ed_shape *y)
{
    int holes = 0;
    for (int i = 0; i < y->rank; i++) {
        bool copies = i < x->rank && x->dim[i] == y->dim[i] && y->dim[i] != ED_DIM_UNKNOWN;
        target[i] = y->dim[i] >= 0 ? y->dim[i] : copies ? 0 : -1;
        holes += target[i] == -1;
        if (y->dim[i] == 0)
            return false;
    }
    return x->rank >= 0 && y->rank >= 0 && holes <= 1;
}

const ed_node *ed_only_reader(const ed_graph *g, ed_id value)
{
    const ed_value *v = &g->values[value];
    return v->use_count == 1 && !v->is_output ? &g->nodes[v->uses[0]] : NULL;
}

const ed_node *ed_producer(const ed_graph *g, ed_id value)
{
    ed_id p = value == ED_NONE ? ED_NONE : g->values[value].producer;
    return p == ED_NONE ? NULL : &g->nodes[p];
}

bool ed_node_is(const ed_node *node, const char *type)
{
    return node && !node->dead && !node->domain[0] && strcmp(node->op_type, type) == 0;
}

int64_t ed_node_int(const ed_node *node, const char *name, int64_t preset)
{
    const ed_attr *a = ed_node_attr(node, name);
    return a ? a->i : preset;
}

bool ed_scalar_input(const ed_graph *g, const ed_node *node, uint32_t i, double *out)
{
    const ed_tensor *t = ed_node_constant(g, node, i);
    if (!t || t->numel != 1 || t->dtype != ED_F32)
        return false;
    *out = ed_tensor_get_f64(t, 0);
    return true;
}

bool ed_transpose_perm(const ed_graph *g, const ed_node *node, int64_t *perm, int *rank)
{
    const ed_attr *a = ed_node_attr(node, "perm");
    *rank = a ? (int)a->count : g->values[node->in[0]].shape.rank;
    if (*rank < 0 || *rank > ED_MAX_RANK || (a && a->type != ED_ATTR_INTS))
        return false;
    for (int i = 0; i < *rank; i++) {
        perm[i] = a ? a->ints[i] : *rank - 1 - i;
        if (perm[i] < 0 || perm[i] >= *rank)
            return false;
    }
    return true;
}

bool ed_squeeze_axes(const ed_graph *g, const ed_node *node, int64_t *axes, int *n)
{
    const ed_attr *a = ed_node_attr(node, "axes");
    const ed_tensor *t = ed_node_constant(g, node, 1);
    bool squeeze = ed_node_is(node, "Squeeze");
    int64_t count = a ? (int64_t)a->count : t ? t->numel : -1;
    int rank = g->values[node->in[0]].shape.rank;
    if (rank < 0 || count < 0 || count > ED_MAX_RANK || (a && a->type != ED_ATTR_INTS))
        return false;
    rank += squeeze ? 0 : (int)count;
    *n = (int)count;
    for (int i = 0; i < *n; i++) {
        int64_t axis = a ? a->ints[i] : ed_tensor_get_i64(t, i);
        axis += axis < 0 ? rank : 0;
        int at = i;
        for (; at > 0 && axes[at - 1] > axis; at--)
            axes[at] = axes[at - 1];
        axes[at] = axis;
    }
    return true;
}
