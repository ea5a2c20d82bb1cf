/*
 * Moves of data that can be fewer.
 *
 *   merge_transposes      Transpose(Transpose(x, p), r)       ->  Transpose(x, p[r])
 *   merge_reshapes        Reshape(Reshape(x)), also Squeeze, Unsqueeze, Flatten, a Transpose that
 *                         moves dimensions of size 1 only, and a Gather of all elements of an axis
 *                         in their order (as_strided of torch)  ->  Reshape(x)
 *   unfold_transpose      Reshape(Transpose(Reshape(x [.., M, N]) [L, M, N], 0 2 1)) [.., N, M]
 *                         ->  Transpose(x) of the last two dimensions
 *   remove_idle           what gives its input: Transpose to the same order, Reshape and Expand to
 *                         the same shape, Cast to the same type, x * 1, x / 1, x + 0, x - 0
 *
 *   Conditions  inner values have no other reader; the new target can be said with numbers, 0 and
 *               one -1.
 */
#include "passes/convert.h"

#include <math.h>
#include <string.h>

/* Of an omitted input nothing is known. */
static const ed_shape *shape_of(const ed_graph *g, ed_id value)
{
    static const ed_shape unknown = { -1, { 0 } };
    return value == ED_NONE ? &unknown : &g->values[value].shape;
}

/* ---- merge_transposes ---- */

static bool composed(int64_t *perm, int *rank, const ed_graph *g, const ed_match *m)
{
    int64_t first[ED_MAX_RANK], second[ED_MAX_RANK];
    int n;
    if (!ed_transpose_perm(g, &g->nodes[m->at[0]], first, rank) ||
        !ed_transpose_perm(g, &g->nodes[m->at[1]], second, &n) || n != *rank)
        return false;
    for (int i = 0; i < n; i++)
        perm[i] = first[second[i]];
    return true;
}

bool ed_transposes_fit(const ed_graph *g, const ed_match *m)
{
    int64_t perm[ED_MAX_RANK];
    int rank;
    return composed(perm, &rank, g, m);
}

int ed_transposes_merge(ed_graph *g, const ed_match *m)
{
    int64_t perm[ED_MAX_RANK];
    int rank;
    ed_id out;
    composed(perm, &rank, g, m);
    ED_TRY(ed_build_transpose(g, &out, g->nodes[m->at[0]].in[0], perm, (size_t)rank));
    ED_TRY(ed_build_replace(g, m->at[1], out));
    ed_graph_remove_node(g, m->at[0]);
    return ED_OK;
}

/* ---- remove_idle ---- */

static bool is_same_shape(const ed_shape *x, const ed_shape *y)
{
    return x->rank >= 0 && ed_shape_equal(x, y);
}

static bool is_identity_transpose(const ed_graph *g, const ed_node *node)
{
    int64_t perm[ED_MAX_RANK];
    int rank;
    if (!ed_transpose_perm(g, node, perm, &rank))
        return false;
    for (int i = 0; i < rank; i++)
        if (perm[i] != i)
            return false;
    return true;
}

/* x op number = x, for the input that is not the number: 0 or 1; -1: no. */
static int neutral_input(const ed_graph *g, const ed_node *node)
{
    static const struct {
        const char *op;
        double neutral;
        bool commutes;
    } rows[] = { { "Mul", 1, true }, { "Div", 1, false }, { "Add", 0, true }, { "Sub", 0, false } };
    for (size_t r = 0; r < ED_LENGTH(rows); r++) {
        double number;
        if (!ed_node_is(node, rows[r].op))
            continue;
        for (uint32_t i = 0; i < 2; i++)
            if ((i == 1 || rows[r].commutes) && ed_scalar_input(g, node, i, &number) &&
                number == rows[r].neutral &&
                is_same_shape(shape_of(g, ed_node_in(node, 1 - i)), shape_of(g, node->out[0])))
                return (int)(1 - i);
    }
    return -1;
}

static int idle_input(const ed_graph *g, const ed_node *node)
{
    ed_id x = ed_node_in(node, 0), y = node->out[0];
    bool same = is_same_shape(shape_of(g, x), shape_of(g, y));
    if (x == ED_NONE)
        return -1; /* the executor names it */
    if (ed_node_is(node, "Transpose"))
        return is_identity_transpose(g, node) ? 0 : -1;
    if (ed_node_is(node, "Reshape") || ed_node_is(node, "Expand"))
        return same ? 0 : -1;
    if (ed_node_is(node, "Cast"))
        return g->values[x].dtype != ED_DTYPE_NONE && g->values[x].dtype == g->values[y].dtype ? 0
                                                                                               : -1;
    return neutral_input(g, node);
}

bool ed_idle_move_fits(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    int i = idle_input(g, node);
    if (i < 0)
        return false;
    const ed_value *x = &g->values[node->in[i]];
    return !(g->values[node->out[0]].is_output && (x->is_input || x->is_output || x->constant));
}

int ed_idle_move_remove(ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    ed_id x = node->in[idle_input(g, node)];
    ED_TRY(ed_graph_replace_value(g, node->out[0], x));
    ed_graph_remove_node(g, m->root);
    return ED_OK;
}

/* ---- merge_reshapes ---- */

/* Indices 0, 1, ... to the end of the axis. */
static bool gathers_all(const ed_graph *g, const ed_node *node)
{
    const ed_shape *x = shape_of(g, node->in[0]);
    const ed_tensor *indices = ed_node_constant(g, node, 1);
    int64_t axis = ed_node_int(node, "axis", 0);
    axis += axis < 0 ? x->rank : 0;
    if (!indices || axis < 0 || axis >= x->rank || x->dim[axis] != indices->numel)
        return false;
    for (int64_t i = 0; i < indices->numel; i++)
        if (ed_tensor_get_i64(indices, i) != i)
            return false;
    return true;
}

/* The order in memory stays: Reshape and its kin, a Transpose of ones, a Gather of everything. */
static bool keeps_order(const ed_graph *g, const ed_node *node)
{
    static const char *const kin[] = { "Reshape", "Squeeze", "Unsqueeze", "Flatten" };
    int64_t perm[ED_MAX_RANK], last = -1;
    int rank;
    for (size_t i = 0; i < ED_LENGTH(kin); i++)
        if (ed_node_is(node, kin[i]))
            return true;
    const ed_shape *x = shape_of(g, node->in[0]);
    if (ed_node_is(node, "Gather"))
        return gathers_all(g, node);
    if (!ed_node_is(node, "Transpose") || !ed_transpose_perm(g, node, perm, &rank) ||
        x->rank != rank)
        return false;
    for (int i = 0; i < rank; i++) {
        if (x->dim[perm[i]] == 1)
            continue;
        if (perm[i] < last)
            return false;
        last = perm[i];
    }
    return true;
}

bool ed_reshapes_fit(const ed_graph *g, const ed_match *m)
{
    int64_t target[ED_MAX_RANK];
    const ed_node *inner = &g->nodes[m->at[0]], *outer = &g->nodes[m->at[1]];
    return keeps_order(g, inner) && keeps_order(g, outer) &&
           ed_reshape_target(target, shape_of(g, inner->in[0]), shape_of(g, outer->out[0]));
}

int ed_reshapes_merge(ed_graph *g, const ed_match *m)
{
    int64_t target[ED_MAX_RANK];
    ed_id x = g->nodes[m->at[0]].in[0], out;
    const ed_shape *y = shape_of(g, g->nodes[m->at[1]].out[0]);
    ed_reshape_target(target, shape_of(g, x), y);
    ED_TRY(ed_build_reshape(g, &out, x, target, (size_t)y->rank));
    ED_TRY(ed_build_replace(g, m->at[1], out));
    ed_graph_remove_node(g, m->at[0]);
    return ED_OK;
}

/* ---- unfold_transpose ---- */

bool ed_folded_transpose_fits(const ed_graph *g, const ed_match *m)
{
    int64_t perm[ED_MAX_RANK];
    int rank;
    const ed_node *fold = &g->nodes[m->at[0]], *transpose = &g->nodes[m->at[1]];
    const ed_shape *x = shape_of(g, fold->in[0]), *a = shape_of(g, fold->out[0]);
    const ed_shape *y = shape_of(g, g->nodes[m->at[2]].out[0]);
    int r = x->rank;
    if (!ed_transpose_perm(g, transpose, perm, &rank) || rank != 3 || perm[0] != 0 ||
        perm[1] != 2 || a->rank != 3 || r < 3 || y->rank != r)
        return false;
    for (int i = 0; i < r - 2; i++)
        if (x->dim[i] != y->dim[i] || x->dim[i] == ED_DIM_UNKNOWN)
            return false;
    return a->dim[1] > 0 && a->dim[2] > 0 && x->dim[r - 2] == a->dim[1] &&
           x->dim[r - 1] == a->dim[2] && y->dim[r - 2] == a->dim[2] && y->dim[r - 1] == a->dim[1];
}

int ed_folded_transpose_unfold(ed_graph *g, const ed_match *m)
{
    int64_t perm[ED_MAX_RANK];
    ed_id x = g->nodes[m->at[0]].in[0], out;
    int r = shape_of(g, x)->rank;
    for (int i = 0; i < r; i++)
        perm[i] = i < r - 2 ? i : i == r - 2 ? r - 1 : r - 2;
    ED_TRY(ed_build_transpose(g, &out, x, perm, (size_t)r));
    ED_TRY(ed_build_replace(g, m->at[2], out));
    ed_graph_remove_node(g, m->at[1]);
    ed_graph_remove_node(g, m->at[0]);
    return ED_OK;
}
