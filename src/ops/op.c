/* The operator rows of all families: finding one by (domain, type, opset). */
#include "ops/op.h"

#include <string.h>

static const ed_op *const tables[] = {
    ed_ops_activation,
    ed_ops_elementwise,
    ed_ops_conv,
    ed_ops_gemm,
    ed_ops_pool,
    ed_ops_norm,
    ed_ops_softmax,
    ed_ops_reduce,
    ed_ops_shape,
    ed_ops_quant,
    ed_ops_move,
    ed_ops_pad,
    ed_ops_shape_value,
    ed_ops_axes,
    ed_ops_slice,
    ed_ops_split,
    ed_ops_expand,
    ed_ops_gather,
    ed_ops_scatter,
    ed_ops_space,
    ed_ops_select,
    ed_ops_resize,
    ed_ops_einsum,
    ed_ops_compare,
    ed_ops_cast,
    ed_ops_unary,
    ed_ops_power,
    ed_ops_layer_norm,
    ed_ops_argreduce,
    ed_ops_dropout,
    ed_ops_quantize_linear,
    ed_ops_activation_grad,
    ed_ops_reduce_grad,
};

const ed_op *ed_op_at(size_t i)
{
    for (size_t t = 0; t < ED_LENGTH(tables); t++)
        for (const ed_op *op = tables[t]; op->type; op++)
            if (i-- == 0)
                return op;
    return NULL;
}

/* "" and "ai.onnx" are the same domain. */
static const char *domain_of(const char *domain)
{
    return !domain || !*domain ? "ai.onnx" : domain;
}

/* The row whose opset range holds `version`; *nearest is any row of that type. */
static const ed_op *find_row(const ed_op **nearest, const ed_node *node, int64_t version)
{
    *nearest = NULL;
    for (size_t t = 0; t < ED_LENGTH(tables); t++) {
        for (const ed_op *op = tables[t]; op->type; op++) {
            if (strcmp(op->type, node->op_type) != 0 ||
                strcmp(domain_of(op->domain), domain_of(node->domain)) != 0)
                continue;
            if (version >= op->opset.since && (!op->opset.until || version <= op->opset.until))
                return op;
            if (!*nearest || op->opset.since < (*nearest)->opset.since)
                *nearest = op;
        }
    }
    return NULL;
}

int ed_op_find(const ed_op **out, const ed_graph *g, const ed_node *node)
{
    const ed_op *nearest = NULL;
    const char *domain = domain_of(node->domain);
    int64_t version = ed_graph_opset(g, node->domain);

    *out = find_row(&nearest, node, version);
    if (*out)
        return ED_OK;
    if (nearest)
        return ed_node_fail(g, node, ED_EUNSUPPORTED,
                            "%s opset %lld has no form of %s that runs here, the first one is of "
                            "opset %d; convert the model to opset 13 or later",
                            domain, (long long)version, node->op_type, nearest->opset.since);
    return ed_node_fail(
        g, node, ED_EUNSUPPORTED,
        "the operator %s of domain %s is not one that runs here; simplify the model "
        "(fold constants, expand functions) or cut it before this node",
        node->op_type, domain);
}

unsigned ed_op_traits(const ed_graph *g, const ed_node *node)
{
    const ed_op *nearest = NULL;
    const ed_op *op = find_row(&nearest, node, ed_graph_opset(g, node->domain));
    return op ? op->traits : 0;
}

const ed_kernel *ed_op_reference(const ed_op *op)
{
    for (size_t i = 0; i < ED_OP_MAX_KERNELS && op->forward[i].name; i++)
        if (!op->forward[i].plan)
            return &op->forward[i];
    return NULL;
}
