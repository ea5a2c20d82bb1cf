/* Linear layers as exporters write them: Gemm, MatMul, MatMul and Add. */
#include "passes/build.h"

#include <string.h>

static const ed_tensor *f32_constant(const ed_graph *g, const ed_node *node, uint32_t i)
{
    const ed_tensor *t = ed_node_constant(g, node, i);
    return t && t->dtype == ED_F32 ? t : NULL;
}

/* The Add of a constant vector to a MatMul that nobody else reads. */
static bool with_bias(const ed_graph *g, const ed_node *add, ed_linear *l)
{
    for (uint32_t i = 0; i < 2; i++) {
        const ed_node *matmul = ed_producer(g, add->in[1 - i]);
        const ed_tensor *bias = f32_constant(g, add, i);
        if (!bias || bias->shape.rank != 1 || !ed_node_is(matmul, "MatMul") ||
            ed_only_reader(g, add->in[1 - i]) != add)
            continue;
        l->add = (ed_id)(add - g->nodes);
        l->matmul = (ed_id)(matmul - g->nodes);
        l->bias = bias;
        return true;
    }
    return false;
}

static bool with_gemm(const ed_graph *g, const ed_node *gemm, ed_linear *l)
{
    const ed_attr *alpha = ed_node_attr(gemm, "alpha"), *beta = ed_node_attr(gemm, "beta");
    l->bias = f32_constant(g, gemm, 2);
    l->axis = ed_node_int(gemm, "transB", 0) ? 0 : 1;
    return !(alpha && alpha->f != 1.0F) && !(beta && beta->f != 1.0F) &&
           !ed_node_int(gemm, "transA", 0) &&
           (ed_node_in(gemm, 2) == ED_NONE || (l->bias && l->bias->shape.rank == 1));
}

bool ed_linear_of(const ed_graph *g, ed_id value, ed_linear *l)
{
    const ed_node *node = ed_producer(g, value);
    *l = (ed_linear){ .add = ED_NONE, .out = value, .axis = 1 };
    if (!node)
        return false;
    l->matmul = (ed_id)(node - g->nodes);
    if (ed_node_is(node, "Add")    ? !with_bias(g, node, l)
        : ed_node_is(node, "Gemm") ? !with_gemm(g, node, l)
                                   : !ed_node_is(node, "MatMul"))
        return false;
    l->weight = f32_constant(g, &g->nodes[l->matmul], 1);
    if (!l->weight || l->weight->shape.rank != 2)
        return false;
    l->channels = l->weight->shape.dim[l->axis];
    return !l->bias || l->bias->numel == l->channels;
}

int ed_linear_copy(ed_graph *g, ed_id *out, const ed_linear *l, const char *stem, ed_tensor *weight,
                   ed_tensor *bias)
{
    const ed_node old = g->nodes[l->matmul];
    bool gemm = strcmp(old.op_type, "Gemm") == 0;
    ed_id in[3] = { old.in[0], ED_NONE, ED_NONE }, pair[2], node;
    char name[512];
    snprintf(name, sizeof name, "%.490s_weight", stem);
    int rc = ed_graph_add_constant_take(g, &in[1], name, weight);
    if (rc != ED_OK) {
        ed_tensor_free(bias);
        return rc;
    }
    snprintf(name, sizeof name, "%.490s_bias", stem);
    if (bias)
        ED_TRY(ed_graph_add_constant_take(g, &in[2], name, bias));
    ED_TRY(ed_build_node(g, &node, out, old.op_type, stem, in, gemm && bias ? 3 : 2));
    g->nodes[node].attrs = old.attrs; /* in the arena: shared is fine */
    g->nodes[node].n_attrs = old.n_attrs;
    if (gemm || !bias)
        return ED_OK;
    pair[0] = *out;
    pair[1] = in[2];
    snprintf(name, sizeof name, "%.490s_biased", stem);
    return ed_build_node(g, NULL, out, "Add", name, pair, 2);
}

static int scaled(ed_tensor **out, const ed_tensor *t, double factor)
{
    ED_TRY(ed_tensor_clone(out, t));
    float *x = (*out)->data;
    for (int64_t i = 0; i < t->numel; i++)
        x[i] = (float)((double)x[i] * factor);
    return ED_OK;
}

int ed_linear_scale(ed_graph *g, const ed_linear *l, double factor)
{
    ed_tensor *w, *b = NULL;
    ed_id matmul = l->matmul, add = l->add, id;
    ED_TRY(scaled(&w, l->weight, factor));
    int rc = l->bias ? scaled(&b, l->bias, factor) : ED_OK;
    if (rc != ED_OK) {
        ed_tensor_free(w);
        return rc;
    }
    bool has_bias = b != NULL;
    ed_id node = add == ED_NONE ? matmul : add;
    uint32_t at = add == ED_NONE ? 2 : g->values[g->nodes[add].in[0]].constant ? 0 : 1;
    ed_id old_w = g->nodes[matmul].in[1];
    rc = ed_build_new_constant(g, &id, old_w, g->values[old_w].name, w);
    if (rc == ED_OK)
        rc = ed_node_set_input(g, matmul, 1, id);
    if (rc != ED_OK || !has_bias) {
        ed_tensor_free(b);
        return rc;
    }
    ed_id old_b = g->nodes[node].in[at];
    ED_TRY(ed_build_new_constant(g, &id, old_b, g->values[old_b].name, b));
    return ed_node_set_input(g, node, at, id);
}
