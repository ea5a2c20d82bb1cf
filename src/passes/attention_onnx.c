/*
 * ai.onnx Attention (opset 23) becomes explicit nodes (attention_build.c).
 *
 *   Before  y, present_key, present_value, scores =
 *               Attention(q, k, v, mask, past_key, past_value)    [N, S, H D] or [N, H, S, D]
 *   After   bias = mask, Where(mask, 0, -inf) of a bool, padded with -inf to the number of keys,
 *               plus [S, T] of 0 and -inf (query i sees the keys up to i + past) when causal
 *           masked = ReduceMax(bias) == -inf: rows that no key is left for give 0
 *
 *   Conditions  a mask of float32 or bool; as many heads of queries as of keys, or a multiple;
 *               a causal mask knows the lengths; Softmax in float32.
 */
#include "passes/attention_build.h"
#include "passes/convert.h"

#include <math.h>
#include <string.h>

static bool has_input(const ed_node *node, uint32_t i)
{
    return ed_node_in(node, i) != ED_NONE;
}

static const ed_shape *input_shape(const ed_graph *g, const ed_node *node, uint32_t i)
{
    return &g->values[node->in[i]].shape;
}

static bool is_used(const ed_graph *g, const ed_node *node, uint32_t i)
{
    return i < node->n_out && node->out[i] != ED_NONE && ed_value_uses(&g->values[node->out[i]]);
}

/* S of [N, H, S, D] or [N, S, H D]. */
static int64_t length_of(const ed_shape *x)
{
    return x->dim[x->rank - 2];
}

/* ---- conditions ---- */

enum { MAX_SCORES = 4096 * 4096, MAX_HEADS = 65536 }; /* of constants that are made here */

typedef struct lengths {
    int64_t q, past, keys; /* keys with the past; below 0 when not known */
} lengths;

static lengths lengths_of(const ed_graph *g, const ed_node *node)
{
    lengths n = { length_of(input_shape(g, node, 0)), 0, length_of(input_shape(g, node, 1)) };
    if (has_input(node, 4))
        n.past = length_of(input_shape(g, node, 4));
    if (n.past < 0 || n.keys < 0 || __builtin_add_overflow(n.keys, n.past, &n.keys))
        n.keys = ED_DIM_UNKNOWN;
    return n;
}

static const char *ranks_reject(const ed_graph *g, const ed_node *node)
{
    const ed_shape *q = input_shape(g, node, 0);
    if ((q->rank != 3 && q->rank != 4) || q->dim[q->rank - 1] <= 0)
        return "its query is not [N, S, H D] or [N, H, S, D] of known size";
    for (uint32_t i = 1; i < 3; i++)
        if (input_shape(g, node, i)->rank != q->rank)
            return "query, key and value are of different ranks";
    if (has_input(node, 4) != has_input(node, 5))
        return "it has only one of past_key and past_value";
    for (uint32_t i = 4; i < 6; i++)
        if (has_input(node, i) && input_shape(g, node, i)->rank != 4)
            return "past_key and past_value are not [N, H, S, D]";
    return NULL;
}

static int64_t heads_of(const ed_graph *g, const ed_node *node, uint32_t i)
{
    const ed_shape *x = input_shape(g, node, i);
    return x->rank == 4 ? x->dim[1] : ed_node_int(node, i ? "kv_num_heads" : "q_num_heads", 0);
}

static const char *heads_reject(const ed_graph *g, const ed_node *node)
{
    int64_t heads = heads_of(g, node, 0), kv_heads = heads_of(g, node, 1);
    if (heads < 1 || kv_heads < 1 || heads_of(g, node, 2) != kv_heads)
        return "the heads of queries, keys and values are not known, or keys have others than "
               "values";
    if (heads > MAX_HEADS)
        return "it has more than 65536 heads";
    if (heads % kv_heads)
        return "its heads of queries are no multiple of those of keys";
    if (input_shape(g, node, 0)->rank == 3 && input_shape(g, node, 0)->dim[2] % heads)
        return "its heads do not divide the query's channels";
    return NULL;
}

const char *ed_onnx_attention_reject(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    const ed_attr *cap = ed_node_attr(node, "softcap");
    int64_t precision = ed_node_int(node, "softmax_precision", 1);
    const char *reason = ranks_reject(g, node);
    if (!reason)
        reason = heads_reject(g, node);
    if (reason)
        return reason;
    if (has_input(node, 6))
        return "it has the input nonpad_kv_seqlen of opset 24";
    if (precision != 0 && precision != 1)
        return "its softmax_precision is not float32";
    if (cap && !(cap->f >= 0.0F))
        return "its softcap is negative";
    if (ed_node_int(node, "qk_matmul_output_mode", 0) < 0 ||
        ed_node_int(node, "qk_matmul_output_mode", 0) >= ED_SCORES_STAGES)
        return "its qk_matmul_output_mode is not 0 to 3";
    if (has_input(node, 3) && g->values[node->in[3]].dtype != ED_F32 &&
        g->values[node->in[3]].dtype != ED_BOOL)
        return "its mask is not float32 or bool";
    lengths n = lengths_of(g, node);
    if (ed_node_int(node, "is_causal", 0) && (n.q < 0 || n.keys < 0))
        return "it is causal over lengths that are not known";
    if (ed_node_int(node, "is_causal", 0) &&
        (n.q > MAX_SCORES || n.keys > MAX_SCORES || n.q * n.keys > MAX_SCORES))
        return "it is causal over more than 4096 queries and keys";
    return NULL;
}

/* ---- masks ---- */

/* Whether a constant mask (and causality) leaves every row a key. */
static bool leaves_keys(const ed_tensor *mask, const lengths *n, bool causal)
{
    const ed_shape *s = &mask->shape;
    int64_t columns = s->rank > 0 ? s->dim[s->rank - 1] : 1;
    int64_t rows = s->rank > 1 ? s->dim[s->rank - 2] : 1;
    for (int64_t r = 0; columns > 0 && r < mask->numel / columns; r++) {
        int64_t end = columns, j = 0;
        if (causal && n->past + r % rows + 1 < end)
            end = n->past + r % rows + 1;
        while (j < end &&
               (mask->dtype == ED_BOOL ? !ed_tensor_get_i64(mask, r * columns + j)
                                       : ed_tensor_get_f64(mask, r * columns + j) == -INFINITY))
            j++;
        if (j == end)
            return false;
    }
    return columns > 0;
}

/* The constant [S, T] of 0 and -inf; one for all nodes of these lengths. */
static int causal_bias(ed_graph *g, ed_id *out, const lengths *n)
{
    char name[96];
    ed_tensor *t;
    snprintf(name, sizeof name, "causal_mask_%lldx%lld", (long long)n->q, (long long)n->keys);
    ED_TRY(ed_tensor_new(&t, ED_F32, &ED_SHAPE(n->q, n->keys)));
    for (int64_t i = 0; i < t->numel; i++)
        ((float *)t->data)[i] = i % n->keys <= i / n->keys + n->past ? 0.0F : -INFINITY;
    *out = ed_graph_find_value(g, name);
    const ed_tensor *old = *out == ED_NONE ? NULL : g->values[*out].constant;
    if (!old || old->dtype != ED_F32 || !ed_shape_equal(&old->shape, &t->shape) ||
        memcmp(old->data, t->data, t->nbytes) != 0)
        return ed_graph_add_constant_take(g, out, name, t);
    ed_tensor_free(t);
    return ED_OK;
}

/* Behind the last dimension as many -inf as keys are missing. */
static int pad_mask(ed_graph *g, ed_id *bias, const ed_shape *mask, int64_t keys, ed_id minus,
                    const char *stem)
{
    int64_t pads[2 * ED_MAX_RANK] = { 0 };
    ed_id in[3] = { *bias, ED_NONE, minus };
    if (mask->rank < 1 || keys < 0 || mask->dim[mask->rank - 1] < 0 ||
        mask->dim[mask->rank - 1] >= keys)
        return ED_OK;
    pads[2 * mask->rank - 1] = keys - mask->dim[mask->rank - 1];
    ED_TRY(ed_build_i64(g, &in[1], stem, pads, 2 * (size_t)mask->rank));
    return ed_build_node(g, NULL, bias, "Pad", stem, in, 3);
}

static int find_masked(ed_graph *g, ed_id *out, ed_id bias, ed_id minus, const char *stem)
{
    ed_id in[2] = { bias, ED_NONE };
    ED_TRY(ed_build_i64(g, &in[1], stem, (const int64_t[]){ -1 }, 1));
    ED_TRY(ed_build_node(g, NULL, &in[0], "ReduceMax", stem, in, 2));
    in[1] = minus;
    return ed_build_node(g, NULL, out, "Equal", stem, in, 2);
}

/* bias and masked of a. */
static int build_masks(ed_graph *g, ed_attention *a, const ed_node *node, const char *stem)
{
    const lengths n = lengths_of(g, node);
    bool causal = ed_node_int(node, "is_causal", 0) != 0;
    ed_id mask = ed_node_in(node, 3), minus, zero, both[2];
    if (causal)
        ED_TRY(causal_bias(g, &a->bias, &n));
    if (mask == ED_NONE)
        return ED_OK;
    both[0] = a->bias;
    both[1] = mask;
    ED_TRY(ed_build_f32(g, &minus, stem, -INFINITY));
    if (g->values[mask].dtype == ED_BOOL) {
        ED_TRY(ed_build_f32(g, &zero, stem, 0));
        ED_TRY(ed_build_where(g, &both[1], stem, mask, zero, minus));
    }
    ED_TRY(pad_mask(g, &both[1], &g->values[mask].shape, n.keys, minus, stem));
    a->bias = both[1];
    if (causal)
        ED_TRY(ed_build_node(g, NULL, &a->bias, "Add", stem, both, 2));
    const ed_tensor *known = g->values[mask].constant;
    if (known && leaves_keys(known, &n, causal))
        return ED_OK;
    return find_masked(g, &a->masked, a->bias, minus, stem);
}

/* ---- the rewrite ---- */

int ed_onnx_attention_expand(ed_graph *g, const ed_match *m)
{
    const ed_node node = g->nodes[m->root];
    const ed_shape *q = input_shape(g, &node, 0);
    const ed_attr *cap = ed_node_attr(&node, "softcap");
    const char *stem = g->values[node.out[0]].name;
    ed_attention_values built;
    ed_attention a = { .q = node.in[0],
                       .k = node.in[1],
                       .v = node.in[2],
                       .bias = ED_NONE,
                       .masked = ED_NONE,
                       .past_k = ed_node_in(&node, 4),
                       .past_v = ed_node_in(&node, 5),
                       .heads = heads_of(g, &node, 0),
                       .kv_heads = heads_of(g, &node, 1),
                       .cap = cap ? (double)cap->f : 0,
                       .split = q->rank == 4,
                       .keeps_keys = is_used(g, &node, 1) || is_used(g, &node, 2) };
    int64_t mode = ed_node_int(&node, "qk_matmul_output_mode", 0);
    a.scale = ed_attention_scale(&node, a.split ? q->dim[3] : q->dim[2] / a.heads);
    ED_TRY(build_masks(g, &a, &node, stem));
    ED_TRY(ed_build_attention(g, &built, &a, stem));
    if (mode == ED_SCORES_SOFTMAX && is_used(g, &node, 3) && a.masked != ED_NONE) {
        ed_id zero, *s = &built.scores[mode];
        ED_TRY(ed_build_f32(g, &zero, stem, 0));
        ED_TRY(ed_build_where(g, s, stem, a.masked, zero, *s));
    }
    const ed_id more[] = { ED_NONE, built.keys, built.values, built.scores[mode] };
    bool used[ED_LENGTH(more)];
    for (uint32_t i = 1; i < ED_LENGTH(more); i++)
        used[i] = is_used(g, &node, i);
    ED_TRY(ed_build_replace(g, m->root, built.y));
    for (uint32_t i = 1; i < ED_LENGTH(more); i++)
        if (used[i])
            ED_TRY(ed_graph_add_node(g, NULL, "Identity", g->values[node.out[i]].name, &more[i], 1,
                                     &node.out[i], 1));
    return ED_OK;
}
