/*
 * Conversions: structural rewrites that keep the numbers, repeated until nothing matches. Here are
 * the table, the sweeps, and the two oldest rows; the other files open with their own Before and
 * After.
 *
 *   remove_identity   y = Identity(x), Dropout(x)  ->  x       of inference
 *   fold_bn           y = BatchNormalization(Conv(x, W, b))
 *                     ->  y = Conv(x, W * g, (b - mean) * g + beta),  g = gamma / sqrt(var + eps)
 *                     likewise ConvTranspose and Gemm; computed in double, stored in float32.
 *                     Condition: the parameters and W are float32 initializers.
 *
 * Constants (fold.c) and shapes (shapes.c) are folded before each round of sweeps.
 */
#include "passes/convert.h"

#include <math.h>
#include <string.h>

#define ANY   ED_PAT_ANY
#define CONST ED_PAT_CONST
#define NODE  ED_PAT_NODE

static const ed_pat_node identity[] = { { .op = "Identity|Dropout", .in = { ANY } }, { 0 } };

static bool is_false(const ed_tensor *t)
{
    return t && t->numel == 1 && !ed_tensor_get_i64(t, 0);
}

static const char *name_is_fixed(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    const ed_value *x = &g->values[node->in[0]], *y = &g->values[node->out[0]];
    if (node->n_out > 1 && node->out[1] != ED_NONE && ed_value_uses(&g->values[node->out[1]]))
        return "its second output is used";
    if (ed_node_in(node, 2) != ED_NONE && !is_false(ed_node_constant(g, node, 2)))
        return "it may be in training mode";
    if (y->is_output && (x->is_input || x->is_output || x->constant))
        return "it connects a graph output to a value of another fixed name";
    return NULL;
}

static int remove_identity(ed_graph *g, const ed_match *m)
{
    ed_id from = g->nodes[m->root].out[0], to = g->nodes[m->root].in[0];
    ED_TRY(ed_graph_replace_value(g, from, to));
    ed_graph_remove_node(g, m->root);
    return ED_OK;
}

static const ed_pat_node weighted_bn[] = {
    { .op = "Conv|ConvTranspose|Gemm", .in = { ANY, CONST } },
    { .op = "BatchNormalization", .in = { NODE(0), CONST, CONST, CONST, CONST } },
    { 0 },
};

/* Dimension of W that holds the output channels (before groups, for ConvTranspose), and their
 * number; false when there is none. */
static bool channel_axis(const ed_graph *g, const ed_node *node, int *axis, int64_t *channels)
{
    const ed_shape *w = &g->values[node->in[1]].shape;
    const ed_attr *group = ed_node_attr(node, "group"), *trans_b = ed_node_attr(node, "transB");
    bool transposed = strcmp(node->op_type, "ConvTranspose") == 0;
    bool gemm = strcmp(node->op_type, "Gemm") == 0;
    if (w->rank < 2)
        return false;
    *axis = transposed || (gemm && !(trans_b && trans_b->i)) ? 1 : 0;
    return ed_mul_i64(w->dim[*axis], transposed && group ? group->i : 1, channels) && *channels > 0;
}

static bool is_f32_vector(const ed_tensor *t, int64_t n)
{
    return t && t->dtype == ED_F32 && t->shape.rank == 1 && t->numel == n;
}

static const char *bn_not_foldable(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->at[0]], *bn = &g->nodes[m->at[1]];
    const ed_tensor *w = ed_node_constant(g, node, 1), *b = ed_node_constant(g, node, 2);
    const ed_attr *training = ed_node_attr(bn, "training_mode");
    const ed_attr *alpha = ed_node_attr(node, "alpha"), *beta = ed_node_attr(node, "beta");
    int axis;
    int64_t channels = 0;
    if (!w || w->dtype != ED_F32)
        return "the weight is no float32 initializer";
    if (!channel_axis(g, node, &axis, &channels))
        return "the weight has fewer than two dimensions or no output channel";
    if (ed_node_in(node, 2) != ED_NONE && !is_f32_vector(b, channels))
        return "the bias is no float32 initializer of one number per channel";
    for (uint32_t i = 1; i <= 4; i++)
        if (!is_f32_vector(ed_node_constant(g, bn, i), channels))
            return "a parameter is no float32 initializer of one number per channel";
    if ((training && training->i) || (alpha && alpha->f != 1.0F) || (beta && beta->f != 1.0F))
        return "it is in training mode, or Gemm scales its result";
    for (uint32_t i = 1; i < bn->n_out; i++)
        if (bn->out[i] != ED_NONE && ed_value_uses(&g->values[bn->out[i]]))
            return "its statistics are used as outputs";
    return NULL;
}

/* W and b with the normalization in them. w is [outer, channels / groups, inner] around the axis;
 * `groups` repeats for ConvTranspose, whose first dimension runs over the groups. */
static void scale_weights(float *w, float *bias, int64_t outer, int64_t channels, int64_t groups,
                          int64_t inner, const float *const *bn, float epsilon)
{
    int64_t per_group = channels / groups, outer_per_group = outer / groups;
    for (int64_t c = 0; c < channels; c++) {
        double g = (double)bn[0][c] / sqrt((double)bn[3][c] + (double)epsilon);
        int64_t first = c / per_group * outer_per_group;
        for (int64_t o = first; o < first + outer_per_group; o++) {
            float *row = w + (o * per_group + c % per_group) * inner;
            for (int64_t i = 0; i < inner; i++)
                row[i] = (float)((double)row[i] * g);
        }
        bias[c] = (float)(((double)bias[c] - (double)bn[2][c]) * g + (double)bn[1][c]);
    }
}

static int64_t product(const ed_shape *shape, int begin, int end)
{
    int64_t n = 1;
    for (int i = begin; i < end; i++)
        if (!ed_mul_i64(n, shape->dim[i], &n))
            return 0; /* of an empty tensor: there is nothing to fold into */
    return n;
}

/* Make the folded tensors; the graph is not touched. */
static int fold_tensors(const ed_graph *g, const ed_match *m, ed_tensor **w, ed_tensor **b)
{
    const ed_node *node = &g->nodes[m->at[0]], *bn = &g->nodes[m->at[1]];
    const ed_tensor *old_b = ed_node_constant(g, node, 2);
    const ed_attr *eps = ed_node_attr(bn, "epsilon");
    const float *params[4];
    int axis;
    int64_t channels;
    channel_axis(g, node, &axis, &channels);
    for (uint32_t i = 0; i < 4; i++)
        params[i] = ed_node_constant(g, bn, i + 1)->data;
    ED_TRY(ed_tensor_clone(w, ed_node_constant(g, node, 1)));
    int rc = old_b ? ed_tensor_clone(b, old_b) : ed_tensor_new(b, ED_F32, &ED_SHAPE(channels));
    if (rc != ED_OK) {
        ed_tensor_free(*w);
        return rc;
    }
    const ed_shape *shape = &(*w)->shape;
    scale_weights((*w)->data, (*b)->data, product(shape, 0, axis), channels,
                  channels / shape->dim[axis], product(shape, axis + 1, shape->rank), params,
                  eps ? eps->f : 1e-5F);
    return ED_OK;
}

static int fold_bn(ed_graph *g, const ed_match *m)
{
    const ed_node old = g->nodes[m->at[0]];
    ed_id ids[3] = { old.in[0], ED_NONE, ED_NONE }, out = g->nodes[m->at[1]].out[0], fresh;
    const char *weight = g->values[old.in[1]].name;
    char stem[512];
    ed_tensor *w, *b;
    snprintf(stem, sizeof stem, "%.500s_bias", g->values[out].name);
    ED_TRY(fold_tensors(g, m, &w, &b));
    int rc = ed_build_new_constant(g, &ids[1], old.in[1], weight, w);
    if (rc != ED_OK) {
        ed_tensor_free(b);
        return rc;
    }
    ED_TRY(ed_build_new_constant(g, &ids[2], ed_node_in(&old, 2), stem, b));
    ed_graph_remove_node(g, m->at[1]);
    ed_graph_remove_node(g, m->at[0]);
    ED_TRY(ed_graph_add_node(g, &fresh, old.op_type, old.name, ids, 3, &out, 1));
    g->nodes[fresh].attrs = old.attrs; /* in the arena: shared is fine */
    g->nodes[fresh].n_attrs = old.n_attrs;
    g->nodes[fresh].doc = old.doc;
    return ED_OK;
}

static const ed_pat_node ms_attention[] = {
    { .op = "com.microsoft::Attention", .in = { ANY, CONST } },
    { 0 },
};
static const ed_pat_node ms_multi_head[] = {
    { .op = "com.microsoft::MultiHeadAttention", .in = { ANY, ANY, ANY } },
    { 0 },
};
static const ed_pat_node onnx_attention[] = { { .op = "Attention", .in = { ANY, ANY, ANY } },
                                              { 0 } };
static const ed_pat_node linear[] = { { .op = "Add|Gemm|MatMul", .in = { ANY, ANY } }, { 0 } };
static const ed_pat_node matmul[] = { { .op = "MatMul", .in = { ANY, ANY } }, { 0 } };
static const ed_pat_node shifted[] = { { .op = "Add", .in = { ANY, ANY } }, { 0 } };
static const ed_pat_node transposes[] = {
    { .op = "Transpose", .in = { ANY } },
    { .op = "Transpose", .in = { NODE(0) } },
    { 0 },
};
static const ed_pat_node reshapes[] = {
    { .op = "Reshape|Squeeze|Unsqueeze|Flatten|Transpose|Gather", .in = { ANY } },
    { .op = "Reshape|Squeeze|Unsqueeze|Transpose|Gather", .in = { NODE(0) } },
    { 0 },
};
static const ed_pat_node folded_transpose[] = {
    { .op = "Reshape", .in = { ANY } },
    { .op = "Transpose", .in = { NODE(0) } },
    { .op = "Reshape", .in = { NODE(1) } },
    { 0 },
};
static const ed_pat_node late_split[] = {
    { .op = "Reshape", .in = { ANY } },
    { .op = "Transpose", .in = { NODE(0) } },
    { .op = "Reshape|Squeeze", .in = { NODE(1) } },
    { 0 },
};
static const ed_pat_node idle[] = {
    { .op = "Transpose|Reshape|Expand|Cast|Mul|Div|Add|Sub", .in = { ANY } },
    { 0 },
};

#define CONVERSION(title, list, no, change, fit)                                                   \
    {                                                                                              \
        .name = title, .phase = ED_PHASE_CONVERT, .nodes = list, .reject = no, .rewrite = change,  \
        .fits = fit                                                                                \
    }

const ed_pattern ed_conversions[] = {
    CONVERSION("remove_identity", identity, name_is_fixed, remove_identity, NULL),
    CONVERSION("remove_idle", idle, NULL, ed_idle_move_remove, ed_idle_move_fits),
    CONVERSION("merge_transposes", transposes, NULL, ed_transposes_merge, ed_transposes_fit),
    CONVERSION("merge_reshapes", reshapes, NULL, ed_reshapes_merge, ed_reshapes_fit),
    CONVERSION("unfold_transpose", folded_transpose, NULL, ed_folded_transpose_unfold,
               ed_folded_transpose_fits),
    CONVERSION("split_before_transpose", late_split, NULL, ed_late_split_move, ed_late_split_fits),
    CONVERSION("join_layer_norm", shifted, NULL, ed_decomposed_norm_join, ed_decomposed_norm_fits),
    { .name = "linear_head_to_conv",
      .phase = ED_PHASE_CONVERT,
      .nodes = linear,
      .rewrite = ed_linear_head_convert,
      .fits = ed_linear_head_fits,
      .retypes = true },
    CONVERSION("fold_bn", weighted_bn, bn_not_foldable, fold_bn, NULL),
    CONVERSION("expand_ms_attention", ms_attention, ed_ms_attention_reject, ed_ms_attention_expand,
               NULL),
    CONVERSION("expand_multi_head_attention", ms_multi_head, ed_ms_multi_head_reject,
               ed_ms_multi_head_expand, NULL),
    CONVERSION("expand_attention", onnx_attention, ed_onnx_attention_reject,
               ed_onnx_attention_expand, NULL),
    CONVERSION("split_packed_projection", linear, NULL, ed_packed_projection_split,
               ed_packed_projection_fits),
    CONVERSION("move_attention_scale", matmul, NULL, ed_attention_scale_move,
               ed_attention_scale_fits),
    { 0 },
};

/* Rewrite one match. A rewrite that refuses has changed nothing: the match is skipped, and the
 * listener hears why. One that fails after it edited is a defect of the row, and ends the sweep. */
static int rewrite(ed_graph *g, const ed_match *m, const ed_convert_listener *listener,
                   size_t *applied)
{
    size_t n_nodes = g->n_nodes, n_values = g->n_values;
    int rc = m->pattern->rewrite(g, m);
    bool edited = g->n_nodes != n_nodes || g->n_values != n_values;
    for (uint32_t i = 0; i < m->n_nodes; i++)
        edited = edited || g->nodes[m->nodes[i]].dead;
    *applied += rc == ED_OK;
    if (rc == ED_OK || rc == ED_ENOMEM || edited)
        return rc;
    const char *reason = ed_error_last();
    return listener ? listener->matched(listener->ctx, g, m, &reason) : ED_OK;
}

/* One sweep of one row over the graph; *applied is increased. */
static int sweep(ed_graph *g, const ed_pattern *pattern, const ed_convert_listener *listener,
                 size_t *applied)
{
    ed_id *order;
    size_t n;
    ED_TRY(ed_graph_topological(g, &order, &n));
    int rc = ED_OK;
    for (size_t k = 0; rc == ED_OK && k < n; k++) {
        ed_match m;
        if (g->nodes[order[k]].dead || !ed_match_at(&m, pattern, 0, g, NULL, order[k]))
            continue;
        const char *reason = pattern->reject ? pattern->reject(g, &m) : NULL;
        rc = listener ? listener->matched(listener->ctx, g, &m, &reason) : ED_OK;
        if (reason || rc != ED_OK)
            continue;
        rc = rewrite(g, &m, listener, applied);
#ifndef NDEBUG
        if (rc == ED_OK)
            rc = ed_graph_verify(g);
#endif
    }
    ed_free(order);
    return rc == ED_OK ? ed_graph_verify(g) : rc;
}

int ed_convert(ed_graph *g, const ed_pattern *rows, const ed_convert_listener *listener)
{
    size_t applied = 0, limit = ed_fold_limit(g);
    do {
        ED_TRY(ed_fold_constants(g, limit, &applied));
        ED_TRY(ed_fold_shapes(g));
        for (const ed_pattern *p = rows; p->name; p++)
            ED_TRY(sweep(g, p, listener, &applied));
    } while (applied);
    return ed_graph_remove_unused(g);
}
