/*
 * Target profiles. tensorrt: explicit quantization as NVIDIA's documentation of QuantizeLinear and
 * DequantizeLinear in TensorRT states it: int8, symmetric, weights per output channel.
 */
#include "passes/targets.h"

#include "ed/plan.h"
#include "passes/match.h"

#include <math.h>
#include <string.h>

static bool is(const ed_node *node, const char *type)
{
    return node && !node->dead && strcmp(node->op_type, type) == 0;
}

static const ed_node *producer_of(const ed_graph *g, ed_id value)
{
    ed_id p = value == ED_NONE ? ED_NONE : g->values[value].producer;
    return p == ED_NONE ? NULL : &g->nodes[p];
}

static int64_t int_attr(const ed_node *node, const char *name, int64_t preset)
{
    const ed_attr *a = ed_node_attr(node, name);
    return a ? a->i : preset;
}

int ed_weight_axis(const ed_graph *g, const ed_node *node)
{
    const ed_tensor *w = NULL;
    if (is(node, "Conv"))
        return 0;
    if (is(node, "Gemm"))
        return int_attr(node, "transB", 0) ? 0 : 1;
    if (is(node, "MatMul") && ed_is_weight(g, node->in[1], &w) && w->shape.rank >= 2)
        return w->shape.rank - 1;
    return -1; /* ConvTranspose; a vector */
}

/* ---- optional rules ---- */

static bool reads_input(const ed_graph *g, const ed_node *node)
{
    return g->values[node->in[0]].is_input;
}

static const char *narrow_conv(const ed_graph *g, const ed_node *node)
{
    const ed_tensor *w = NULL;
    if (!is(node, "Conv") || !ed_is_weight(g, node->in[1], &w) || reads_input(g, node) ||
        int_attr(node, "group", 1) != 1)
        return NULL;
    return w->shape.dim[0] < 16 || w->shape.dim[1] < 16 ? "fewer than 16 input or output channels"
                                                        : NULL;
}

static const char *small_matmul(const ed_graph *g, const ed_node *node)
{
    const ed_tensor *w = NULL;
    if ((!is(node, "MatMul") && !is(node, "Gemm")) || !ed_is_weight(g, node->in[1], &w))
        return NULL;
    for (int i = 0; i < w->shape.rank; i++)
        if (w->shape.dim[i] < 16)
            return "a matrix side below 16";
    return NULL;
}

static const char *depthwise(const ed_graph *g, const ed_node *node)
{
    const ed_tensor *w = NULL;
    if (!is(node, "Conv") || !ed_is_weight(g, node->in[1], &w))
        return NULL;
    int64_t group = int_attr(node, "group", 1);
    return group > 1 && w->shape.dim[1] == 1 ? "depthwise convolutions are bound by memory" : NULL;
}

static const ed_target_skip tensorrt_skips[] = {
    { "skip-narrow-conv",
      "leave convolutions with fewer than 16 input or output channels in float, the first one "
      "excepted",
      narrow_conv },
    { "skip-small-matmul", "leave linear layers with a side below 16 in float", small_matmul },
    { "skip-depthwise", "leave depthwise convolutions in float", depthwise },
    { "skip-attention",
      "leave attention's two matrix products in float (rule attention quantizes their inputs)",
      NULL },
    { 0 },
};

/* ---- checks of a quantized graph ---- */

static bool bad_scale(const ed_graph *g, const ed_node *node)
{
    if (!is(node, "FakeQuantize"))
        return false;
    const ed_tensor *scale = ed_node_constant(g, node, 1);
    bool bad = !scale;
    for (int64_t i = 0; scale && i < scale->numel; i++) {
        double s = ed_tensor_get_f64(scale, i);
        bad = bad || !(s > 0) || !isfinite(s);
    }
    return bad;
}

static bool bad_zero_point(const ed_graph *g, const ed_node *node)
{
    if (!is(node, "FakeQuantize"))
        return false;
    const ed_tensor *zero = ed_node_constant(g, node, 2);
    bool bad = !zero || int_attr(node, "is_unsigned", 0) || int_attr(node, "qmin", -128) >= 0;
    for (int64_t i = 0; zero && i < zero->numel; i++)
        bad = bad || ed_tensor_get_i64(zero, i) != 0;
    return bad;
}

static bool weighted_pair(const ed_graph *g, const ed_node *node, const ed_node **x,
                          const ed_node **w)
{
    *x = *w = NULL;
    if (!(ed_op_traits(g, node) & ED_OP_WEIGHTED))
        return false;
    const ed_node *a = producer_of(g, ed_node_in(node, 0)),
                  *b = producer_of(g, ed_node_in(node, 1));
    *x = is(a, "FakeQuantize") ? a : NULL;
    *w = is(b, "FakeQuantize") ? b : NULL;
    return true;
}

static bool half_quantized(const ed_graph *g, const ed_node *node)
{
    const ed_node *x, *w;
    return weighted_pair(g, node, &x, &w) && !x != !w;
}

static bool bad_activation_axis(const ed_graph *g, const ed_node *node)
{
    const ed_node *x, *w;
    return weighted_pair(g, node, &x, &w) && x && int_attr(x, "axis", -1) >= 0;
}

static bool bad_weight_axis(const ed_graph *g, const ed_node *node)
{
    const ed_node *x, *w;
    if (!weighted_pair(g, node, &x, &w) || !w || !ed_is_weight(g, node->in[1], NULL))
        return false;
    int64_t axis = int_attr(w, "axis", -1);
    const ed_shape *shape = &g->values[w->in[0]].shape;
    int want = ed_weight_axis(g, node);
    return axis != want && !(axis < 0 && want >= 0 && shape->dim[want] == 1);
}

static bool quantized_bias(const ed_graph *g, const ed_node *node)
{
    return (ed_op_traits(g, node) & ED_OP_WEIGHTED) &&
           is(producer_of(g, ed_node_in(node, 2)), "FakeQuantize");
}

static bool splits_fusion(const ed_graph *g, const ed_node *node)
{
    static const char *const followers[] = { "Relu", "Clip", "BatchNormalization" };
    if (!is(node, "FakeQuantize") || !is(producer_of(g, node->in[0]), "Conv"))
        return false;
    const ed_value *y = &g->values[node->out[0]];
    for (size_t i = 0; i < y->use_count; i++)
        for (size_t k = 0; k < ED_LENGTH(followers); k++)
            if (is(&g->nodes[y->uses[i]], followers[k]))
                return true;
    return false;
}

static bool wrong_residual(const ed_graph *g, const ed_node *node)
{
    if (!is(node, "Add") || ed_node_constant(g, node, 0) || ed_node_constant(g, node, 1))
        return false;
    const ed_node *a = producer_of(g, node->in[0]), *b = producer_of(g, node->in[1]);
    bool qa = is(a, "FakeQuantize"), qb = is(b, "FakeQuantize");
    if (qa && qb)
        return true;
    if (!qa && !qb)
        return false;
    const ed_node *side = producer_of(g, (qa ? a : b)->in[0]), *main = qa ? b : a;
    return is(side, "Conv") && !is(main, "Conv");
}

static const ed_target_rule_check tensorrt_checks[] = {
    { "a scale is a positive finite constant", "calibrate it again", bad_scale },
    { "quantization is symmetric int8 (a constant zero_point of 0)",
      "quantize the model symmetrically", bad_zero_point },
    { "input and weight are both quantized or both float", "exclude the node", half_quantized },
    { "activations are quantized per tensor", "quantize the input per tensor",
      bad_activation_axis },
    { "weights are quantized per output channel (per tensor for ConvTranspose)",
      "quantize the weight again", bad_weight_axis },
    { "the bias stays float", "leave the bias out of quantization", quantized_bias },
    { "nothing stands between a Conv and what it fuses with", "move the pair behind the activation",
      splits_fusion },
    { "only the identity branch of a residual Add is quantized",
      "quantize the shorter branch alone", wrong_residual },
    { 0 },
};

static const ed_target targets[] = {
    { "tensorrt", "NVIDIA TensorRT, explicit quantization", tensorrt_skips, tensorrt_checks },
};

int ed_target_find(const ed_target **out, const char *name)
{
    *out = &targets[0];
    for (size_t i = 0; name && i < ED_LENGTH(targets); i++) {
        if (strcmp(targets[i].name, name) == 0) {
            *out = &targets[i];
            return ED_OK;
        }
    }
    ED_FAIL_IF(name, ED_ENOTFOUND, "there is no target '%s'; use tensorrt", name);
    return ED_OK;
}

const ed_rule_info *ed_target_rule(const char *target, size_t i)
{
    static _Thread_local ed_rule_info info;
    const ed_target *t;
    if (ed_target_find(&t, target) != ED_OK)
        return NULL;
    for (size_t k = 0; t->skips[k].name; k++) {
        if (k == i) {
            info = (ed_rule_info){ t->skips[k].name, t->skips[k].help };
            return &info;
        }
    }
    return NULL;
}

int ed_target_check(const ed_graph *g, const char *target)
{
    const ed_target *t;
    ED_TRY(ed_target_find(&t, target));
    for (const ed_target_rule_check *c = t->checks; c->rule; c++) {
        for (size_t i = 0; i < g->n_nodes; i++)
            ED_FAIL_IF(!g->nodes[i].dead && c->breaks(g, &g->nodes[i]), ED_EUNSUPPORTED,
                       "%s breaks a rule of target %s: %s; %s", ed_node_label(g, &g->nodes[i]),
                       t->name, c->rule, c->advice);
    }
    return ED_OK;
}
