/*
 * Fusions: groups of nodes that run as one kernel, the longest first. Nothing is rewritten: the
 * nodes get a common group. BatchNormalization is optional: where it could be folded, it is gone
 * already.
 *
 * "ReLU" stands for the activations that fuse, "GELU" for both ways to write it (match_class.c).
 * ScaledDotProductAttention may add several masks, between Reshapes where attention has windows.
 */
#include "passes/convert.h"

#include <string.h>

#define ANY   ED_PAT_ANY
#define CONST ED_PAT_CONST
#define NODE  ED_PAT_NODE

#define CONV_BN                                                                                    \
    { .op = "Conv", .in = { ANY, CONST } },                                                        \
    {                                                                                              \
        .op = "BatchNormalization", .in = { NODE(0) }, .optional = true                            \
    }
#define LINEAR                                                                                     \
    { .op = "Gemm|MatMul", .in = { ANY, CONST } },                                                 \
    {                                                                                              \
        .op = "Add", .in = { NODE(0), CONST }, .optional = true                                    \
    }

static const ed_pat_node stem[] = {
    CONV_BN,
    { .op = "@activation", .in = { NODE(1) } },
    { .op = "MaxPool", .in = { NODE(2) } },
    { 0 },
};
static const ed_pat_node conv_add_relu[] = {
    CONV_BN,
    { .op = "Add", .in = { NODE(1), ANY } },
    { .op = "@activation", .in = { NODE(2) } },
    { 0 },
};
static const ed_pat_node conv_add[] = { CONV_BN, { .op = "Add", .in = { NODE(1), ANY } }, { 0 } };
static const ed_pat_node conv_relu[] = { CONV_BN,
                                         { .op = "@activation", .in = { NODE(1) } },
                                         { 0 } };
static const ed_pat_node conv_bn[] = { CONV_BN, { 0 } };
static const ed_pat_node conv_alone[] = { { .op = "Conv|ConvTranspose", .in = { ANY, ANY } },
                                          { 0 } };
static const ed_pat_node transposed_relu[] = {
    { .op = "ConvTranspose", .in = { ANY, CONST } },
    { .op = "BatchNormalization", .in = { NODE(0) }, .optional = true },
    { .op = "@activation", .in = { NODE(1) } },
    { 0 },
};
static const ed_pat_node linear_relu[] = { LINEAR,
                                           { .op = "@activation", .in = { NODE(1) } },
                                           { 0 } };
static const ed_pat_node linear[] = { LINEAR, { 0 } };
static const ed_pat_node average_pool[] = {
    { .op = "GlobalAveragePool|ReduceMean|AveragePool", .in = { ANY } },
    { 0 },
};

static const ed_pat_node linear_gelu[] = { LINEAR, { .op = "@gelu", .in = { NODE(1) } }, { 0 } };
static const ed_pat_node layer_norm[] = { { .op = "LayerNormalization", .in = { ANY } }, { 0 } };
static const ed_pat_node in_projection[] = {
    { .op = "Reshape", .in = { ANY, CONST } },
    { .op = "Transpose", .in = { NODE(0) } },
    { 0 },
};
static const ed_pat_node attention[] = {
    { .op = "MatMul", .in = { ANY, ANY } },
    { .op = "Mul|Div", .in = { NODE(0), CONST }, .optional = true },
    { .op = "Add", .in = { NODE(1), ANY }, .optional = true },
    { .op = "Reshape", .in = { NODE(2), CONST }, .optional = true },
    { .op = "Add", .in = { NODE(3), ANY }, .optional = true },
    { .op = "Reshape", .in = { NODE(4), CONST }, .optional = true },
    { .op = "Softmax", .in = { NODE(5) } },
    { .op = "MatMul", .in = { NODE(6), ANY } },
    { 0 },
};

static const char *not_a_stem(const ed_graph *g, const ed_match *m)
{
    ed_id x = g->nodes[m->at[0]].in[0];
    ed_id producer = g->values[x].producer;
    if (producer != ED_NONE && strcmp(g->nodes[producer].op_type, "FakeQuantize") == 0)
        x = g->nodes[producer].in[0];
    return g->values[x].is_input ? NULL : "its convolution does not read a graph input";
}

static const char *not_a_residual(const ed_graph *g, const ed_match *m)
{
    const ed_node *add = &g->nodes[m->at[2]];
    for (uint32_t i = 0; i < 2; i++)
        if (ed_is_weight(g, add->in[i], NULL))
            return "the Add's other operand is a constant";
    const ed_shape *a = &g->values[add->in[0]].shape, *b = &g->values[add->in[1]].shape;
    bool known = a->rank >= 0 && b->rank >= 0;
    for (int i = 0; known && a->rank == b->rank && i < a->rank; i++)
        if (a->dim[i] != b->dim[i] && a->dim[i] >= 0 && b->dim[i] >= 0)
            return "the Add broadcasts";
    return known && a->rank != b->rank ? "the Add broadcasts" : NULL;
}

/* A 1x1 convolution that was a linear layer behind an average pool (head.c): no BatchNormalization
 * was there to fold. */
static const char *is_head(const ed_graph *g, const ed_match *m)
{
    const ed_node *conv = &g->nodes[m->at[0]], *pool = ed_producer(g, conv->in[0]);
    const ed_shape *plane = &g->values[conv->in[0]].shape;
    return m->at[1] == ED_NONE && plane->rank == 4 && plane->dim[2] == 1 && plane->dim[3] == 1 &&
                   (ed_node_is(pool, "GlobalAveragePool") || ed_node_is(pool, "ReduceMean") ||
                    ed_node_is(pool, "AveragePool"))
               ? "it is the head behind an average pool"
               : NULL;
}

static const char *not_a_matrix(const ed_graph *g, const ed_match *m)
{
    const ed_tensor *w = NULL;
    ed_is_weight(g, g->nodes[m->at[0]].in[1], &w);
    return w->shape.rank == 2 ? NULL : "its weight is not a matrix";
}

/* Pools the whole plane to one number per channel. */
static const char *not_whole_plane(const ed_graph *g, const ed_match *m)
{
    const ed_node *node = &g->nodes[m->root];
    const ed_shape *x = &g->values[node->in[0]].shape, *y = &g->values[node->out[0]].shape;
    if (strcmp(node->op_type, "GlobalAveragePool") == 0)
        return NULL;
    if (x->rank != 4 || y->rank < 2)
        return "its input is not a batch of planes of known shape";
    if (strcmp(node->op_type, "AveragePool") == 0)
        return y->dim[2] == 1 && y->dim[3] == 1 && x->dim[2] >= 0 && x->dim[3] >= 0
                   ? NULL
                   : "it does not pool the whole plane";
    /* ReduceMean over axes 2 and 3: with keepdims [N, C, 1, 1], without [N, C] */
    bool kept = y->rank == 4 && y->dim[2] == 1 && y->dim[3] == 1;
    return (kept || y->rank == 2) && y->dim[0] == x->dim[0] && y->dim[1] == x->dim[1]
               ? NULL
               : "it does not average over the two plane axes";
}

static const char *not_attention(const ed_graph *g, const ed_match *m)
{
    const ed_node *scores = &g->nodes[m->at[0]], *softmax = &g->nodes[m->at[6]];
    const ed_node *product = &g->nodes[m->at[7]];
    int64_t rank = g->values[softmax->in[0]].shape.rank, axis = ed_node_int(softmax, "axis", -1);
    if (ed_is_weight(g, scores->in[0], NULL) || ed_is_weight(g, scores->in[1], NULL) ||
        ed_is_weight(g, product->in[1], NULL))
        return "a factor is a weight, not an activation";
    if (rank >= 0 && (rank < 3 || rank > 5))
        return "its scores have not 3 to 5 dimensions";
    return axis == -1 || axis == rank - 1 ? NULL : "its Softmax is not over the keys";
}

/* A linear layer's output, split into heads for the product of two activations. */
static bool splits_heads(const ed_graph *g, const ed_match *m)
{
    ed_linear l;
    ed_id heads = g->nodes[m->root].out[0];
    if (!ed_linear_of(g, g->nodes[m->at[0]].in[0], &l))
        return false;
    for (size_t i = 0; i < g->values[heads].use_count; i++) {
        const ed_node *reader = &g->nodes[g->values[heads].uses[i]];
        if (ed_node_is(reader, "MatMul") && !ed_is_weight(g, reader->in[0], NULL) &&
            !ed_is_weight(g, reader->in[1], NULL))
            return true;
    }
    return false;
}

#define CONV_POINTS                                                                                \
    {                                                                                              \
        ED_QDQ_INPUT, ED_QDQ_WEIGHT                                                                \
    }
#define ADD_POINTS                                                                                 \
    {                                                                                              \
        ED_QDQ_INPUT, ED_QDQ_WEIGHT, ED_QDQ_RESIDUAL_INPUT                                         \
    }

#define ATTENTION_POINTS                                                                           \
    {                                                                                              \
        ED_QDQ_ATTENTION                                                                           \
    }
#define NO_POINTS                                                                                  \
    {                                                                                              \
        ED_QDQ_NONE                                                                                \
    }
#define FUSION(title, list, no, points, fit)                                                       \
    {                                                                                              \
        .name = title, .phase = ED_PHASE_FUSE, .nodes = list, .reject = no, .qdq = points,         \
        .fits = fit                                                                                \
    }

const ed_pattern ed_fusions[] = {
    FUSION("StemConvBNReLUMaxPool", stem, not_a_stem, CONV_POINTS, NULL),
    FUSION("ConvBNAddReLU", conv_add_relu, not_a_residual, ADD_POINTS, NULL),
    FUSION("ConvBNAdd", conv_add, not_a_residual, ADD_POINTS, NULL),
    FUSION("ConvBNReLU", conv_relu, NULL, CONV_POINTS, NULL),
    FUSION("ConvTransposeBNReLU", transposed_relu, NULL, CONV_POINTS, NULL),
    FUSION("LinearReLU", linear_relu, not_a_matrix, CONV_POINTS, NULL),
    FUSION("LinearGELU", linear_gelu, not_a_matrix, CONV_POINTS, NULL),
    FUSION("ConvBN", conv_bn, is_head, CONV_POINTS, NULL),
    FUSION("Conv", conv_alone, NULL, CONV_POINTS, NULL),
    FUSION("Linear", linear, not_a_matrix, CONV_POINTS, NULL),
    FUSION("LayerNorm", layer_norm, NULL, NO_POINTS, NULL),
    FUSION("AdaptiveAvgPool", average_pool, not_whole_plane, NO_POINTS, NULL),
    FUSION("MHAInProjection", in_projection, NULL, NO_POINTS, splits_heads),
    FUSION("ScaledDotProductAttention", attention, not_attention, ATTENTION_POINTS, NULL),
    { 0 },
};

const ed_pattern *ed_fusion_find(const char *name)
{
    for (const ed_pattern *p = ed_fusions; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}
