/*
 * A packed in-projection becomes separate ones.
 *
 *   Before  y = x W + b                         W is [K, C], C = 3 E (or 2 E: keys and values)
 *           e = Transpose / Unsqueeze / Squeeze / Reshape (y), at most one Reshape splits C
 *           q, k, v = Gather(e, i) | Slice(e, i : i + 1) | Split(e), along one axis
 *   After   q = ... (x W[:, those of q] + b[those of q]), k and v likewise: the same moves on less
 *
 *   Conditions  W and b are float32 constants; e is read by these selections alone; the axis of
 *               the selection comes from C; one of the selections leads to a MatMul of two
 *               activations (a gated linear unit stays as it is).
 */
#include "passes/convert.h"

#include <string.h>

enum { MAX_CHAIN = 6, MAX_PARTS = 4 };

typedef struct selection { /* one selection: items [begin, begin + length) of the axis */
    ed_id node, out;
    int64_t begin, length;
    bool drops_axis; /* Gather with a single index */
} selection;

typedef struct packed {
    ed_linear linear;
    ed_id chain[MAX_CHAIN]; /* moves between y and e */
    int n_chain;
    int axis[MAX_CHAIN + 1]; /* of the selection, behind chain[i - 1]; [0] is of y */
    selection parts[MAX_PARTS];
    int n_parts;
    int64_t inner, items; /* channel c belongs to item c / inner % items */
} packed;

static bool is_move(const ed_graph *g, const ed_node *node)
{
    int64_t axes[ED_MAX_RANK];
    int n;
    if (ed_node_is(node, "Reshape"))
        return ed_node_constant(g, node, 1) != NULL;
    if (ed_node_is(node, "Transpose"))
        return ed_transpose_perm(g, node, axes, &n);
    return (ed_node_is(node, "Squeeze") || ed_node_is(node, "Unsqueeze")) &&
           ed_squeeze_axes(g, node, axes, &n);
}

/* ---- the selections ---- */

static bool add_part(packed *p, ed_id node, ed_id out, int64_t begin, int64_t length, bool drops)
{
    if (p->n_parts == MAX_PARTS || out == ED_NONE || begin < 0 || length <= 0)
        return false;
    p->parts[p->n_parts++] = (selection){ node, out, begin, length, drops };
    return true;
}

static bool one_number(const ed_graph *g, const ed_node *node, uint32_t i, int64_t *v)
{
    const ed_tensor *t = ed_node_constant(g, node, i);
    if (t && t->numel == 1)
        *v = ed_tensor_get_i64(t, 0);
    return t && t->numel == 1;
}

static bool add_slice(packed *p, const ed_graph *g, const ed_node *node, int rank, int64_t size,
                      int64_t *axis)
{
    int64_t begin, end, step = 1;
    *axis = 0;
    if (!one_number(g, node, 1, &begin) || !one_number(g, node, 2, &end) ||
        (ed_node_in(node, 3) != ED_NONE && !one_number(g, node, 3, axis)) ||
        (ed_node_in(node, 4) != ED_NONE && !one_number(g, node, 4, &step)) || step != 1)
        return false;
    *axis += *axis < 0 ? rank : 0;
    begin += begin < 0 ? size : 0;
    end = end < 0 ? end + size : end > size ? size : end;
    if (begin < 0 || end < begin)
        return false;
    return add_part(p, (ed_id)(node - g->nodes), node->out[0], begin, end - begin, false);
}

static bool add_gather(packed *p, const ed_graph *g, const ed_node *node, int64_t size)
{
    const ed_tensor *index = ed_node_constant(g, node, 1);
    int64_t at;
    if (!index || index->shape.rank > 1 || !one_number(g, node, 1, &at))
        return false;
    return add_part(p, (ed_id)(node - g->nodes), node->out[0], at < 0 ? at + size : at, 1,
                    index->shape.rank == 0);
}

static bool add_split(packed *p, const ed_graph *g, const ed_node *node, int axis)
{
    int64_t begin = 0;
    for (uint32_t i = 0; i < node->n_out; i++) {
        const ed_shape *y = node->out[i] == ED_NONE ? NULL : &g->values[node->out[i]].shape;
        if (!y || axis >= y->rank ||
            !add_part(p, (ed_id)(node - g->nodes), node->out[i], begin, y->dim[axis], false))
            return false;
        if (__builtin_add_overflow(begin, y->dim[axis], &begin))
            return false;
    }
    return true;
}

/* All readers of e select along one axis. */
static bool find_parts(packed *p, const ed_graph *g, ed_id e)
{
    const ed_value *v = &g->values[e];
    int rank = v->shape.rank, *axis = &p->axis[p->n_chain];
    *axis = -1;
    for (size_t i = 0; i < v->use_count; i++) {
        const ed_node *node = &g->nodes[v->uses[i]];
        int64_t at = ed_node_int(node, "axis", 0), size;
        at += at < 0 ? rank : 0;
        bool slice = ed_node_is(node, "Slice");
        if (slice && (!one_number(g, node, 3, &at) || (at += at < 0 ? rank : 0) < 0))
            return false;
        if (at < 0 || at >= rank || (*axis >= 0 && at != *axis))
            return false;
        *axis = (int)at;
        size = v->shape.dim[at];
        if (size < 2)
            return false;
        bool good = slice                        ? add_slice(p, g, node, rank, size, &at)
                    : ed_node_is(node, "Gather") ? add_gather(p, g, node, size)
                    : ed_node_is(node, "Split")  ? add_split(p, g, node, *axis)
                                                 : false;
        if (!good)
            return false;
        p->items = size;
    }
    for (int i = 0; i < p->n_parts; i++)
        if (p->parts[i].begin > p->items || p->parts[i].length > p->items - p->parts[i].begin ||
            g->values[p->parts[i].out].is_output)
            return false;
    return p->n_parts >= 2;
}

/* ---- where the axis comes from ---- */

/* The axis before a move, given the one behind it; -1: it is not an axis of its input. */
static int axis_before(packed *p, const ed_graph *g, const ed_node *node, int axis)
{
    int64_t list[ED_MAX_RANK];
    int n, at = axis;
    if (ed_node_is(node, "Transpose"))
        return ed_transpose_perm(g, node, list, &n) && axis < n ? (int)list[axis] : -1;
    if (!ed_node_is(node, "Reshape")) {
        ed_squeeze_axes(g, node, list, &n);
        for (int i = 0; i < n; i++) {
            if (ed_node_is(node, "Squeeze"))
                at += list[i] <= at; /* sorted: each one before shifts it */
            else if (list[i] == axis)
                return -1;
            else
                at -= list[i] < axis;
        }
        return at;
    }
    /* the last dimensions of the Reshape are the channels, split; the axis is one of them */
    const ed_shape *y = &g->values[node->out[0]].shape;
    int64_t product = 1;
    int first = y->rank;
    while (first > 0 && product < p->linear.channels && y->dim[first - 1] > 0 &&
           y->dim[first - 1] <= p->linear.channels / product)
        product *= y->dim[--first];
    if (product != p->linear.channels || axis < first || p->inner)
        return -1;
    p->inner = 1;
    for (int i = axis + 1; i < y->rank; i++)
        p->inner *= y->dim[i];
    return g->values[node->in[0]].shape.rank - 1;
}

static bool leads_to_attention(const ed_graph *g, ed_id value)
{
    for (int step = 0; step < 12 && g->values[value].use_count; step++) {
        const ed_node *node = &g->nodes[g->values[value].uses[0]];
        if (ed_node_is(node, "MatMul"))
            return !ed_node_constant(g, node, 0) && !ed_node_constant(g, node, 1);
        double s;
        bool scale = (ed_node_is(node, "Mul") || ed_node_is(node, "Div")) &&
                     (ed_scalar_input(g, node, 0, &s) || ed_scalar_input(g, node, 1, &s));
        if (!scale && !is_move(g, node))
            return false;
        value = node->out[0];
    }
    return false;
}

static bool find_packed(packed *p, const ed_graph *g, const ed_match *m)
{
    ed_id e = g->nodes[m->root].out[0];
    *p = (packed){ 0 };
    if (!ed_linear_of(g, e, &p->linear) || g->values[e].is_output)
        return false;
    for (;;) {
        const ed_node *next = ed_only_reader(g, e);
        if (!next || !is_move(g, next))
            break;
        if (p->n_chain == MAX_CHAIN)
            return false;
        p->chain[p->n_chain++] = (ed_id)(next - g->nodes);
        e = next->out[0];
    }
    if (g->values[e].is_output || g->values[e].shape.rank < 1 || !find_parts(p, g, e))
        return false;
    for (int i = p->n_chain; i > 0; i--) {
        p->axis[i - 1] = axis_before(p, g, &g->nodes[p->chain[i - 1]], p->axis[i]);
        if (p->axis[i - 1] < 0)
            return false;
    }
    if (!p->inner) /* no Reshape: the channels themselves are selected */
        p->inner = 1;
    bool attention = false;
    for (int i = 0; i < p->n_parts; i++)
        attention = attention || leads_to_attention(g, p->parts[i].out);
    return attention && p->axis[0] == g->values[p->linear.out].shape.rank - 1 &&
           p->linear.channels / p->inner % p->items == 0;
}

bool ed_packed_projection_fits(const ed_graph *g, const ed_match *m)
{
    packed p;
    return find_packed(&p, g, m);
}

/* ---- rewriting ---- */

/* The channels of a part, of a weight (axis 0 or 1 of a matrix) or of a bias (axis 0). */
static int select_channels(ed_tensor **out, const ed_tensor *t, int axis, const packed *p,
                           const selection *part)
{
    ed_shape shape = t->shape;
    int64_t channels = shape.dim[axis];
    int64_t rows = axis == 1 ? shape.dim[0] : 1, width = t->numel / (rows * channels);
    const float *x = t->data;
    shape.dim[axis] = channels / p->items * part->length;
    ED_TRY(ed_tensor_new(out, ED_F32, &shape));
    float *y = (*out)->data;
    int64_t block = p->inner * p->items * width; /* the items once around */
    size_t run = (size_t)(p->inner * part->length * width);
    for (int64_t at = p->inner * part->begin * width; at < t->numel; at += block, y += run)
        memcpy(y, x + at, run * sizeof *y);
    return ED_OK;
}

static int copy_linear(ed_graph *g, ed_id *out, const packed *p, const selection *part)
{
    ed_tensor *w, *b = NULL;
    ED_TRY(select_channels(&w, p->linear.weight, p->linear.axis, p, part));
    int rc = p->linear.bias ? select_channels(&b, p->linear.bias, 0, p, part) : ED_OK;
    if (rc != ED_OK) {
        ed_tensor_free(w);
        return rc;
    }
    return ed_linear_copy(g, out, &p->linear, g->values[part->out].name, w, b);
}

/* The i-th move again, on a part. */
static int copy_move(ed_graph *g, ed_id *value, const packed *p, int i, const selection *part)
{
    const ed_node old = g->nodes[p->chain[i]];
    const char *stem = g->values[old.out[0]].name;
    ed_id in[2] = { *value, ed_node_in(&old, 1) }, node;
    if (strcmp(old.op_type, "Reshape") == 0) {
        const ed_tensor *t = g->values[in[1]].constant;
        int64_t target[ED_MAX_RANK];
        for (int64_t k = 0; k < t->numel; k++)
            target[k] = k == p->axis[i + 1] ? part->length : ed_tensor_get_i64(t, k);
        ED_TRY(ed_build_i64(g, &in[1], g->values[in[1]].name, target, (size_t)t->numel));
    }
    ED_TRY(ed_build_node(g, &node, value, old.op_type, stem, in, in[1] == ED_NONE ? 1 : 2));
    g->nodes[node].attrs = old.attrs;
    g->nodes[node].n_attrs = old.n_attrs;
    return ED_OK;
}

static int copy_part(ed_graph *g, const packed *p, const selection *part)
{
    ed_id value, in[2];
    ED_TRY(copy_linear(g, &value, p, part));
    for (int i = 0; i < p->n_chain; i++)
        ED_TRY(copy_move(g, &value, p, i, part));
    if (part->drops_axis) {
        int64_t axis = p->axis[p->n_chain];
        in[0] = value;
        ED_TRY(ed_build_i64(g, &in[1], g->values[part->out].name, &axis, 1));
        ED_TRY(ed_build_node(g, NULL, &value, "Squeeze", g->values[part->out].name, in, 2));
    }
    g->values[value].shape = g->values[part->out].shape;
    g->values[value].dtype = g->values[part->out].dtype;
    return ed_graph_replace_value(g, part->out, value);
}

int ed_packed_projection_split(ed_graph *g, const ed_match *m)
{
    packed p;
    find_packed(&p, g, m);
    for (int i = 0; i < p.n_parts; i++)
        ED_TRY(copy_part(g, &p, &p.parts[i]));
    for (int i = 0; i < p.n_parts; i++)
        if (!g->nodes[p.parts[i].node].dead)
            ed_graph_remove_node(g, p.parts[i].node);
    while (p.n_chain--)
        ed_graph_remove_node(g, p.chain[p.n_chain]);
    if (p.linear.add != ED_NONE)
        ed_graph_remove_node(g, p.linear.add);
    ed_graph_remove_node(g, p.linear.matmul);
    return ED_OK;
}
