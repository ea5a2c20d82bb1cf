/*
 * com.microsoft's attention operators become explicit nodes (attention_build.c), so that
 * projections and products are seen.
 *
 *   Before  com.microsoft Attention(x, W, b, , , bias)         W is [E, 3 H D]
 *           com.microsoft MultiHeadAttention(q, k, v, b, , bias)
 *   After   q = x Wq + bq, k and v likewise, then scaled dot product attention
 *
 *   Conditions  no padding mask, past, rotation or causal mask; as many heads of keys as of
 *               queries; a mask of float32; W and b are constants.
 */
#include "passes/attention_build.h"
#include "passes/convert.h"

#include <string.h>

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

static int replace(ed_graph *g, ed_id root, const ed_attention *a)
{
    ed_attention_values built;
    ED_TRY(ed_build_attention(g, &built, a, g->values[g->nodes[root].out[0]].name));
    return ed_build_replace(g, root, built.y);
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
    int64_t heads = ed_node_int(&node, "num_heads", 1);
    ed_attention a = { .bias = ed_node_in(&node, 5),
                       .masked = ED_NONE,
                       .past_k = ED_NONE,
                       .past_v = ED_NONE,
                       .heads = heads,
                       .kv_heads = heads,
                       .scale = ed_attention_scale(&node, width / heads) };
    ed_id *parts[] = { &a.q, &a.k, &a.v };
    for (int i = 0; i < 3; i++) {
        char stem[512];
        snprintf(stem, sizeof stem, "%.490s_%s", g->values[node.out[0]].name, names[i]);
        ED_TRY(add_columns(g, parts[i], w, "MatMul", node.in[0], i * width, width, stem));
        if (b)
            ED_TRY(add_columns(g, parts[i], b, "Add", *parts[i], i * width, width, stem));
    }
    return replace(g, m->root, &a);
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
    int64_t heads = ed_node_int(&node, "num_heads", 1);
    ed_attention a = { .q = node.in[0],
                       .k = node.in[1],
                       .v = node.in[2],
                       .bias = ed_node_in(&node, 5),
                       .masked = ED_NONE,
                       .past_k = ED_NONE,
                       .past_v = ED_NONE,
                       .heads = heads,
                       .kv_heads = heads };
    ed_id *parts[] = { &a.q, &a.k, &a.v };
    int64_t begin = 0;
    a.scale = ed_attention_scale(&node, g->values[a.q].shape.dim[2] / heads);
    for (int i = 0; b && i < 3; i++) {
        int64_t width = g->values[*parts[i]].shape.dim[2];
        ED_TRY(
            add_columns(g, parts[i], b, "Add", *parts[i], begin, width, g->values[*parts[i]].name));
        begin += width;
    }
    return replace(g, m->root, &a);
}
