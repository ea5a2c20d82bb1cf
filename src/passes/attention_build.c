/*
 * Attention as explicit nodes.
 *
 *   q = Transpose(Reshape(q))     [N, H, S, D], k as [N, H, D, S], v as q
 *   k, v = Concat(past, k, v)     where there is a past
 *   k, v = Gather(heads)          0, 0, 1, 1, ... where queries have more heads
 *   s = c tanh((s q) k / c)       c where scores are capped
 *   y = Reshape(Transpose(Softmax(s + bias) v)), 0 in masked rows
 */
#include "passes/attention_build.h"

#include <math.h>

double ed_attention_scale(const ed_node *node, int64_t size)
{
    const ed_attr *a = ed_node_attr(node, "scale");
    return a && a->f != 0.0F ? (double)a->f : 1 / sqrt((double)size);
}

int ed_build_where(ed_graph *g, ed_id *out, const char *stem, ed_id condition, ed_id yes, ed_id no)
{
    return ed_build_node(g, NULL, out, "Where", stem, (ed_id[]){ condition, yes, no }, 3);
}

static int swap_last(ed_graph *g, ed_id *x)
{
    static const int64_t last_two[] = { 0, 1, 3, 2 };
    return ed_build_transpose(g, x, *x, last_two, 4);
}

/* [N, S, H D] -> [N, H, S, D] or swapped [N, H, D, S] */
static int split_heads(ed_graph *g, ed_id *x, bool split, int64_t heads, bool swapped)
{
    static const int64_t plain[] = { 0, 2, 1, 3 }, turned[] = { 0, 2, 3, 1 };
    const int64_t target[] = { 0, 0, heads, -1 };
    if (split)
        return swapped ? swap_last(g, x) : ED_OK;
    ED_TRY(ed_build_reshape(g, x, *x, target, 4));
    return ed_build_transpose(g, x, *x, swapped ? turned : plain, 4);
}

static int join_heads(ed_graph *g, ed_id *out, const ed_attention *a)
{
    static const int64_t perm[] = { 0, 2, 1, 3 }, target[] = { 0, 0, -1 };
    if (a->split)
        return ED_OK;
    ED_TRY(ed_build_transpose(g, out, *out, perm, 4));
    return ed_build_reshape(g, out, *out, target, 3);
}

/* Each head of keys or values as often as queries share it. */
static int repeat_heads(ed_graph *g, ed_id *x, const ed_attention *a, const char *stem)
{
    ed_tensor *t;
    ed_id in[2] = { *x, ED_NONE }, node;
    if (a->heads == a->kv_heads)
        return ED_OK;
    ED_TRY(ed_tensor_new(&t, ED_I64, &ED_SHAPE(a->heads)));
    for (int64_t h = 0; h < a->heads; h++)
        ((int64_t *)t->data)[h] = h / (a->heads / a->kv_heads);
    ED_TRY(ed_graph_add_constant_take(g, &in[1], stem, t));
    ED_TRY(ed_build_node(g, &node, x, "Gather", stem, in, 2));
    return ed_node_set_int(g, node, "axis", 1);
}

/* k or v, behind its past; *kept is what a later run has as its past. */
static int build_memory(ed_graph *g, ed_id *x, ed_id *kept, const ed_attention *a, ed_id past,
                        bool keys, const char *stem)
{
    bool later = past != ED_NONE || a->keeps_keys; /* the order of dimensions is needed first */
    ed_id node;
    ED_TRY(split_heads(g, x, a->split, a->kv_heads, keys && !later));
    if (past != ED_NONE) {
        ED_TRY(ed_build_node(g, &node, x, "Concat", stem, (ed_id[]){ past, *x }, 2));
        ED_TRY(ed_node_set_int(g, node, "axis", 2));
    }
    *kept = *x;
    ED_TRY(repeat_heads(g, x, a, stem));
    return keys && later ? swap_last(g, x) : ED_OK;
}

static int cap_scores(ed_graph *g, ed_id *s, double cap, const char *stem)
{
    ed_id c;
    if (cap == 0)
        return ED_OK;
    ED_TRY(ed_build_f32(g, &c, stem, (float)cap));
    ED_TRY(ed_build_node(g, NULL, s, "Div", stem, (ed_id[]){ *s, c }, 2));
    ED_TRY(ed_build_node(g, NULL, s, "Tanh", stem, s, 1));
    return ed_build_node(g, NULL, s, "Mul", stem, (ed_id[]){ *s, c }, 2);
}

/* Rows of scores without a key are NaN after Softmax. */
static int clear_masked(ed_graph *g, ed_id *x, const ed_attention *a, const char *stem)
{
    ed_id zero;
    if (a->masked == ED_NONE)
        return ED_OK;
    ED_TRY(ed_build_f32(g, &zero, stem, 0));
    return ed_build_where(g, x, stem, a->masked, zero, *x);
}

int ed_build_attention(ed_graph *g, ed_attention_values *out, const ed_attention *a,
                       const char *stem)
{
    ed_id q = a->q, k = a->k, v = a->v, s, node, in[2];
    ED_TRY(split_heads(g, &q, a->split, a->heads, false));
    ED_TRY(build_memory(g, &k, &out->keys, a, a->past_k, true, stem));
    ED_TRY(build_memory(g, &v, &out->values, a, a->past_v, false, stem));
    in[0] = q;
    ED_TRY(ed_build_f32(g, &in[1], stem, (float)a->scale));
    ED_TRY(ed_build_node(g, NULL, &q, "Mul", stem, in, 2));
    ED_TRY(ed_build_node(g, NULL, &s, "MatMul", stem, (ed_id[]){ q, k }, 2));
    out->scores[ED_SCORES_RAW] = s;
    ED_TRY(cap_scores(g, &s, a->cap, stem));
    out->scores[ED_SCORES_CAPPED] = s;
    if (a->bias != ED_NONE)
        ED_TRY(ed_build_node(g, NULL, &s, "Add", stem, (ed_id[]){ s, a->bias }, 2));
    out->scores[ED_SCORES_BIASED] = s;
    ED_TRY(ed_build_node(g, &node, &s, "Softmax", stem, &s, 1));
    ED_TRY(ed_node_set_int(g, node, "axis", -1));
    out->scores[ED_SCORES_SOFTMAX] = s;
    ED_TRY(ed_build_node(g, NULL, &out->y, "MatMul", stem, (ed_id[]){ s, v }, 2));
    /* behind the product, so that scores, Softmax and product can be one kernel */
    ED_TRY(clear_masked(g, &out->y, a, stem));
    return join_heads(g, &out->y, a);
}
