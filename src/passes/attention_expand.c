/*
 * Attention operators become explicit nodes, so that projections and products are seen.
 *
 *   Before  com.microsoft Attention(x, W, b, , , bias)         W is [E, 3 H D]
 *           com.microsoft MultiHeadAttention(q, k, v, b, , bias)
 *           ai.onnx Attention(q, k, v, mask)                   opset 23; [N, S, H D] or [N, H, S,
 * D] After   q = Transpose(Reshape(x Wq + bq)), k, v likewise   [N, H, S, D], k as [N, H, D, S] y =
 * Reshape(Transpose(Softmax(s q k + bias) v))    s is 1 / sqrt(D) if not stated
 *
 *   Conditions  no padding mask, past, rotation or causal mask; as many heads of keys as of
 *               queries; a mask of float32; W and b are constants.
 */
#include "passes/convert.h"

#include <math.h>
#include <string.h>

typedef struct attention { /* what is common to the three */
    ed_id q, k, v, mask;
    int64_t heads, size; /* of a head */
    double scale;
    bool split; /* q, k and v are [N, H, S, D] already */
} attention;

static bool has_input(const ed_node *node, uint32_t i)
{
    return ed_node_in(node, i) != ED_NONE;
}

static bool has_more_outputs(const ed_graph *g, const ed_node *node)
{
    for (uint32_t i = 1; i < node->n_out; i++)
        if (node->out[i] != ED_NONE && ed_value_uses(&g->values[node->out[i]]))
            return true;
    return false;
}

static double scale_of(const ed_node *node, int64_t size)
{
    const ed_attr *a = ed_node_attr(node, "scale");
    return a && a->f != 0.0F ? (double)a->f : 1 / sqrt((double)size);
}

/* [N, S, H D] -> [N, H, S, D] or, for keys, [N, H, D, S] */
static int split_heads(ed_graph *g, ed_id *out, ed_id x, const attention *a, bool keys)
{
    static const int64_t plain[] = { 0, 2, 1, 3 }, swapped[] = { 0, 2, 3, 1 };
    static const int64_t last_two[] = { 0, 1, 3, 2 };
    const int64_t target[] = { 0, 0, a->heads, -1 };
    if (a->split) {
        *out = x;
        return keys ? ed_build_transpose(g, out, x, last_two, 4) : ED_OK;
    }
    ED_TRY(ed_build_reshape(g, out, x, target, 4));
    return ed_build_transpose(g, out, *out, keys ? swapped : plain, 4);
}

static int join_heads(ed_graph *g, ed_id *out, const attention *a)
{
    static const int64_t perm[] = { 0, 2, 1, 3 }, target[] = { 0, 0, -1 };
    if (a->split)
        return ED_OK;
    ED_TRY(ed_build_transpose(g, out, *out, perm, 4));
    return ed_build_reshape(g, out, *out, target, 3);
}

static int build_attention(ed_graph *g, ed_id root, const attention *a)
{
    const char *stem = g->values[g->nodes[root].out[0]].name;
    ed_id q, k, v, out, node, in[2];
    ED_TRY(split_heads(g, &q, a->q, a, false));
    ED_TRY(split_heads(g, &k, a->k, a, true));
    ED_TRY(split_heads(g, &v, a->v, a, false));
    in[0] = q;
    ED_TRY(ed_build_f32(g, &in[1], stem, (float)a->scale));
    ED_TRY(ed_build_node(g, NULL, &q, "Mul", stem, in, 2));
    ED_TRY(ed_build_node(g, NULL, &out, "MatMul", stem, (ed_id[]){ q, k }, 2));
    if (a->mask != ED_NONE)
        ED_TRY(ed_build_node(g, NULL, &out, "Add", stem, (ed_id[]){ out, a->mask }, 2));
    ED_TRY(ed_build_node(g, &node, &out, "Softmax", stem, (ed_id[]){ out }, 1));
    ED_TRY(ed_node_set_int(g, node, "axis", -1));
    ED_TRY(ed_build_node(g, NULL, &out, "MatMul", stem, (ed_id[]){ out, v }, 2));
    ED_TRY(join_heads(g, &out, a));
    return ed_build_replace(g, root, out);
}

/* ---- com.microsoft Attention ---- */

static const char *common_reject(const ed_graph *g, const ed_node *node, uint32_t bias)
{
    const ed_tensor *b = ed_node_constant(g, node, bias);
    if (ed_node_int(node, "num_heads", 0) < 1)
        return "it does not state its number of heads";
    if (has_more_outputs(g, node) || ed_node_int(node, "unidirectional", 0) ||
        ed_node_int(node, "do_rotary", 0))
        return "it is causal, rotates, or keeps its keys";
    if (has_input(node, bias) && (!b || b->dtype != ED_F32 || b->shape.rank != 1))
        return "its bias is no float32 initializer";
    return NULL;
}

const char *ed_ms_attention_reject(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    const ed_tensor *w = ed_node_constant(g, node, 1), *b = ed_node_constant(g, node, 2);
    int64_t heads = ed_node_int(node, "num_heads", 0);
    const char *reason = common_reject(g, node, 2);
    if (reason)
        return reason;
    if (has_input(node, 3) || has_input(node, 4) || ed_node_attr(node, "qkv_hidden_sizes"))
        return "it has a padding mask, past keys, or heads of several sizes";
    if (!w || w->dtype != ED_F32 || w->shape.rank != 2 || w->shape.dim[1] < 1 ||
        w->shape.dim[1] % 3 || w->shape.dim[1] / 3 % heads)
        return "its weight is no float32 matrix of three projections";
    if (b && b->numel != w->shape.dim[1])
        return "its bias does not fit its weight";
    return NULL;
}

/* Columns [begin, begin + n) of a matrix or vector. */
static int columns(ed_tensor **out, const ed_tensor *t, int64_t begin, int64_t n)
{
    int64_t width = t->shape.dim[t->shape.rank - 1];
    ed_shape shape = t->shape;
    shape.dim[shape.rank - 1] = n;
    ED_TRY(ed_tensor_new(out, ED_F32, &shape));
    for (int64_t r = 0; r < t->numel / width; r++)
        memcpy((float *)(*out)->data + r * n, (const float *)t->data + r * width + begin,
               (size_t)n * sizeof(float));
    return ED_OK;
}

static int add_columns(ed_graph *g, ed_id *out, const ed_tensor *from, const char *op, ed_id x,
                       int64_t begin, int64_t n, const char *stem)
{
    ed_tensor *t;
    ed_id in[2] = { x, ED_NONE };
    ED_TRY(columns(&t, from, begin, n));
    ED_TRY(ed_graph_add_constant_take(g, &in[1], stem, t));
    return ed_build_node(g, NULL, out, op, stem, in, 2);
}

int ed_ms_attention_expand(ed_graph *g, const ed_match *m)
{
    static const char *const names[] = { "q", "k", "v" };
    const ed_node node = g->nodes[m->root];
    const ed_tensor *w = ed_node_constant(g, &node, 1), *b = ed_node_constant(g, &node, 2);
    int64_t width = w->shape.dim[1] / 3;
    attention a = { .mask = ed_node_in(&node, 5), .heads = ed_node_int(&node, "num_heads", 1) };
    ed_id *parts[] = { &a.q, &a.k, &a.v };
    a.size = width / a.heads;
    a.scale = scale_of(&node, a.size);
    for (int i = 0; i < 3; i++) {
        char stem[512];
        snprintf(stem, sizeof stem, "%.490s_%s", g->values[node.out[0]].name, names[i]);
        ED_TRY(add_columns(g, parts[i], w, "MatMul", node.in[0], i * width, width, stem));
        if (b)
            ED_TRY(add_columns(g, parts[i], b, "Add", *parts[i], i * width, width, stem));
    }
    return build_attention(g, m->root, &a);
}

/* ---- com.microsoft MultiHeadAttention ---- */

const char *ed_ms_multi_head_reject(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    const ed_tensor *b = ed_node_constant(g, node, 3);
    const char *reason = common_reject(g, node, 3);
    if (reason)
        return reason;
    for (uint32_t i = 4; i < node->n_in; i++)
        if (i != 5 && has_input(node, i))
            return "it has a padding mask or past keys";
    for (uint32_t i = 0; i < 3; i++)
        if (!has_input(node, i) || g->values[node->in[i]].shape.rank != 3 ||
            g->values[node->in[i]].shape.dim[2] <= 0)
            return "query, key and value are not three tensors [N, S, H D]";
    int64_t sizes = 0;
    for (uint32_t i = 0; i < 3; i++)
        if (__builtin_add_overflow(sizes, g->values[node->in[i]].shape.dim[2], &sizes))
            return "query, key and value are too large";
    return b && b->numel != sizes ? "its bias does not fit query, key and value" : NULL;
}

int ed_ms_multi_head_expand(ed_graph *g, const ed_match *m)
{
    const ed_node node = g->nodes[m->root];
    const ed_tensor *b = ed_node_constant(g, &node, 3);
    attention a = { node.in[0],
                    node.in[1],
                    node.in[2],
                    ed_node_in(&node, 5),
                    ed_node_int(&node, "num_heads", 1),
                    0,
                    0,
                    false };
    ed_id *parts[] = { &a.q, &a.k, &a.v };
    int64_t begin = 0;
    a.size = g->values[a.q].shape.dim[2] / a.heads;
    a.scale = scale_of(&node, a.size);
    for (int i = 0; b && i < 3; i++) {
        int64_t width = g->values[*parts[i]].shape.dim[2];
        ED_TRY(
            add_columns(g, parts[i], b, "Add", *parts[i], begin, width, g->values[*parts[i]].name));
        begin += width;
    }
    return build_attention(g, m->root, &a);
}

/* ---- ai.onnx Attention ---- */

const char *ed_onnx_attention_reject(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    const ed_attr *cap = ed_node_attr(node, "softcap");
    const ed_shape *q = &g->values[node->in[0]].shape;
    if (has_input(node, 4) || has_input(node, 5) || has_more_outputs(g, node) ||
        ed_node_int(node, "is_causal", 0) || (cap && cap->f != 0.0F))
        return "it is causal, caps its scores, or keeps its keys";
    if (has_input(node, 3) && g->values[node->in[3]].dtype != ED_F32)
        return "its mask is not float32";
    for (uint32_t i = 0; i < 3; i++)
        if (g->values[node->in[i]].shape.rank != q->rank)
            return "query, key and value are of different ranks";
    if ((q->rank != 3 && q->rank != 4) || q->dim[q->rank - 1] <= 0)
        return "its query is not [N, S, H D] or [N, H, S, D] of known size";
    int64_t heads = ed_node_int(node, "q_num_heads", 0);
    if (q->rank == 3 && (heads < 1 || ed_node_int(node, "kv_num_heads", 0) != heads))
        return "keys have other heads than queries";
    if (q->rank == 4 && (q->dim[1] < 1 || g->values[node->in[1]].shape.dim[1] != q->dim[1]))
        return "keys have other heads than queries";
    return NULL;
}

int ed_onnx_attention_expand(ed_graph *g, const ed_match *m)
{
    const ed_node node = g->nodes[m->root];
    const ed_shape *q = &g->values[node.in[0]].shape;
    attention a = {
        node.in[0], node.in[1], node.in[2], ed_node_in(&node, 3), 0, 0, 0, q->rank == 4
    };
    a.heads = a.split ? q->dim[1] : ed_node_int(&node, "q_num_heads", 1);
    a.size = a.split ? q->dim[3] : q->dim[2] / a.heads;
    a.scale = scale_of(&node, a.size);
    return build_attention(g, m->root, &a);
}
