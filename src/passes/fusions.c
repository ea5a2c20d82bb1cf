/*
 * Fusions: groups of nodes that run as one kernel, the longest first. Nothing is rewritten: the
 * nodes get a common group. BatchNormalization is optional: where it could be folded, it is gone
 * already.
 *
 * "ReLU" stands for the activations that fuse: Relu, Clip (ReLU6), HardSwish, LeakyRelu, Sigmoid,
 * Tanh, HardSigmoid, and SiLU as x * Sigmoid(x).
 */
#include "passes/match.h"

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

#define CONV_POINTS                                                                                \
    {                                                                                              \
        ED_QDQ_INPUT, ED_QDQ_WEIGHT                                                                \
    }
#define ADD_POINTS                                                                                 \
    {                                                                                              \
        ED_QDQ_INPUT, ED_QDQ_WEIGHT, ED_QDQ_RESIDUAL_INPUT                                         \
    }

const ed_pattern ed_fusions[] = {
    { "StemConvBNReLUMaxPool", ED_PHASE_FUSE, stem, not_a_stem, NULL, CONV_POINTS },
    { "ConvBNAddReLU", ED_PHASE_FUSE, conv_add_relu, not_a_residual, NULL, ADD_POINTS },
    { "ConvBNAdd", ED_PHASE_FUSE, conv_add, not_a_residual, NULL, ADD_POINTS },
    { "ConvBNReLU", ED_PHASE_FUSE, conv_relu, NULL, NULL, CONV_POINTS },
    { "ConvTransposeBNReLU", ED_PHASE_FUSE, transposed_relu, NULL, NULL, CONV_POINTS },
    { "LinearReLU", ED_PHASE_FUSE, linear_relu, not_a_matrix, NULL, CONV_POINTS },
    { "ConvBN", ED_PHASE_FUSE, conv_bn, NULL, NULL, CONV_POINTS },
    { "Conv", ED_PHASE_FUSE, conv_alone, NULL, NULL, CONV_POINTS },
    { "Linear", ED_PHASE_FUSE, linear, not_a_matrix, NULL, CONV_POINTS },
    { "AdaptiveAvgPool", ED_PHASE_FUSE, average_pool, not_whole_plane, NULL, { ED_QDQ_NONE } },
    { 0 },
};

const ed_pattern *ed_fusion_find(const char *name)
{
    for (const ed_pattern *p = ed_fusions; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}
