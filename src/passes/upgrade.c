/*
 * Raising a model's ai.onnx opset: from 7 to 12 to 13, the first with per-axis DequantizeLinear; to
 * 21, the first with int4. Operators whose form changed on the way are rewritten by the rows below;
 * up to 13 the listed others only grew, behind it all others did.
 *
 *   Clip (11)      attributes min, max           -> inputs
 *   Pad (11)       attributes pads, value        -> inputs
 *   Slice (10), Squeeze, Unsqueeze, ReduceSum, Split (13)   lists in attributes -> inputs
 *   Upsample (10), Resize (11)                   -> Resize of today: asymmetric, floor
 *   Softmax (13)   flattened at `axis` (1)       -> along one axis: the same where it is the last
 *   Scatter (11)                                 -> ScatterElements
 *   Dropout (12)   attribute ratio               -> Identity (inference)
 *   ReduceMax, ... (18)      attribute axes      -> input
 *   Split (18)     equal parts                   -> their number as an attribute
 */
#include "passes/build.h"

#include <string.h>

/* Attributes that became inputs. */
static bool is_input_now(const char *name)
{
    static const char *const names[] = { "min",   "max",    "pads", "value", "axes",
                                         "split", "starts", "ends", "scales" };
    for (size_t i = 0; i < ED_LENGTH(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int append_inputs(ed_graph *g, ed_id id, const ed_id *more, size_t n)
{
    ed_node old = g->nodes[id];
    ed_id ids[8], out = old.out[0], fresh;
    memcpy(ids, old.in, sizeof(ed_id));
    memcpy(ids + 1, more, n * sizeof *more);
    ed_graph_remove_node(g, id);
    ED_TRY(ed_graph_add_node(g, &fresh, old.op_type, old.name, ids, n + 1, &out, 1));
    ed_node *node = &g->nodes[fresh];
    for (uint32_t i = 0; i < old.n_attrs; i++)
        if (!is_input_now(old.attrs[i].name))
            ED_TRY(ed_node_set_attr(g, fresh, &old.attrs[i]));
    node->doc = old.doc;
    return ED_OK;
}

static int add_scalar(ed_graph *g, ed_id *out, const ed_node *node, const char *what, float value)
{
    char stem[256];
    ed_tensor *t;
    snprintf(stem, sizeof stem, "%s_%s", g->values[node->out[0]].name, what);
    ED_TRY(ed_tensor_from(&t, ED_F32, &ED_SHAPE_SCALAR, &value));
    return ed_graph_add_constant_take(g, out, stem, t);
}

static int upgrade_clip(ed_graph *g, ed_id id)
{
    const ed_node *node = &g->nodes[id];
    const ed_attr *low = ed_node_attr(node, "min"), *high = ed_node_attr(node, "max");
    ed_id bounds[2] = { ED_NONE, ED_NONE };
    if (low)
        ED_TRY(add_scalar(g, &bounds[0], node, "min", low->f));
    if (high)
        ED_TRY(add_scalar(g, &bounds[1], &g->nodes[id], "max", high->f));
    return append_inputs(g, id, bounds, high ? 2 : low ? 1 : 0);
}

static int upgrade_pad(ed_graph *g, ed_id id)
{
    const ed_node *node = &g->nodes[id];
    const ed_attr *pads = ed_node_attr(node, "pads"), *value = ed_node_attr(node, "value");
    ed_id more[2];
    ed_tensor *t;
    char stem[256];
    ED_FAIL_IF(!pads || pads->type != ED_ATTR_INTS, ED_EFORMAT,
               "%s has no list of pads; Pad needs one before opset 11", ed_node_label(g, node));
    snprintf(stem, sizeof stem, "%s_pads", g->values[node->out[0]].name);
    ED_TRY(ed_tensor_from(&t, ED_I64, &ED_SHAPE((int64_t)pads->count), pads->ints));
    ED_TRY(ed_graph_add_constant_take(g, &more[0], stem, t));
    ED_TRY(add_scalar(g, &more[1], &g->nodes[id], "value", value ? value->f : 0.0F));
    return append_inputs(g, id, more, 2);
}

static int upgrade_softmax(ed_graph *g, ed_id id)
{
    const ed_node *node = &g->nodes[id];
    const ed_attr *a = ed_node_attr(node, "axis");
    int64_t axis = a ? a->i : 1;
    const ed_shape *x = &g->values[node->in[0]].shape;
    bool last = axis == -1 || (x->rank >= 0 && axis == x->rank - 1);
    for (int64_t i = axis + 1; !last && x->rank >= 0 && axis >= 0; i++) {
        if (i >= x->rank)
            last = true; /* only ones behind the axis */
        else if (x->dim[i] != 1)
            break;
    }
    ED_FAIL_IF(!last, ED_EUNSUPPORTED,
               "%s normalizes over several axes, which opset 13 cannot say; export the model again "
               "with opset 13 or later",
               ed_node_label(g, node));
    return ed_node_set_int(g, id, "axis", axis);
}

/* Lists of integers, in the order of their inputs; ED_NONE where an optional one is missing. */
static int upgrade_lists(ed_graph *g, ed_id id, const char *const *names, size_t n)
{
    ed_id more[3] = { ED_NONE, ED_NONE, ED_NONE };
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        const ed_attr *a = ed_node_attr(&g->nodes[id], names[i]);
        if (!a || a->type != ED_ATTR_INTS)
            continue;
        ED_TRY(ed_build_i64(g, &more[i], g->values[g->nodes[id].out[0]].name, a->ints, a->count));
        last = i + 1;
    }
    return last ? append_inputs(g, id, more, last) : ED_OK;
}

static int upgrade_axes(ed_graph *g, ed_id id)
{
    static const char *const names[] = { "axes" };
    return upgrade_lists(g, id, names, 1);
}

static int upgrade_slice(ed_graph *g, ed_id id)
{
    static const char *const names[] = { "starts", "ends", "axes" };
    return upgrade_lists(g, id, names, 3);
}

static int upgrade_split(ed_graph *g, ed_id id)
{
    static const char *const names[] = { "split" };
    const ed_node old = g->nodes[id];
    const ed_attr *a = ed_node_attr(&old, names[0]), *axis = ed_node_attr(&old, "axis");
    ed_id in[2] = { old.in[0], ED_NONE }, fresh;
    if (!a)
        return ED_OK; /* equal parts, as today */
    ED_TRY(ed_build_i64(g, &in[1], g->values[old.out[0]].name, a->ints, a->count));
    ed_graph_remove_node(g, id);
    ED_TRY(ed_graph_add_node(g, &fresh, "Split", old.name, in, 2, old.out, old.n_out));
    return axis ? ed_node_set_attr(g, fresh, axis) : ED_OK;
}

static int set_text(ed_graph *g, ed_id id, const char *name, const char *text)
{
    return ed_node_set_attr(
        g, id, &(ed_attr){ .name = name, .type = ED_ATTR_STRING, .s = { text, strlen(text) } });
}

/* Upsample and the first Resize take every pixel from floor(x / scale). */
static int upgrade_resize(ed_graph *g, ed_id id)
{
    const ed_node old = g->nodes[id];
    const ed_attr *scales = ed_node_attr(&old, "scales"), *mode = ed_node_attr(&old, "mode");
    ed_id in[3] = { old.in[0], ED_NONE, ed_node_in(&old, 1) }, fresh;
    ED_FAIL_IF(in[2] == ED_NONE && (!scales || scales->type != ED_ATTR_FLOATS), ED_EFORMAT,
               "%s has no scales; it needs one for each dimension", ed_node_label(g, &old));
    if (in[2] == ED_NONE) {
        ed_tensor *t;
        ED_TRY(ed_tensor_from(&t, ED_F32, &ED_SHAPE((int64_t)scales->count), scales->floats));
        ED_TRY(ed_graph_add_constant_take(g, &in[2], g->values[old.out[0]].name, t));
    }
    ed_graph_remove_node(g, id);
    ED_TRY(ed_graph_add_node(g, &fresh, "Resize", old.name, in, 3, old.out, 1));
    if (mode)
        ED_TRY(ed_node_set_attr(g, fresh, mode));
    ED_TRY(set_text(g, fresh, "coordinate_transformation_mode", "asymmetric"));
    return set_text(g, fresh, "nearest_mode", "floor");
}

static int upgrade_dropout(ed_graph *g, ed_id id)
{
    ed_node *node = &g->nodes[id];
    ED_FAIL_IF(node->n_out > 1 && node->out[1] != ED_NONE &&
                   ed_value_uses(&g->values[node->out[1]]),
               ED_EUNSUPPORTED, "%s: its mask is used; export the model for inference",
               ed_node_label(g, node));
    const char *name = node->name;
    ed_id in = node->in[0], out = node->out[0];
    ed_graph_remove_node(g, id);
    return ed_graph_add_node(g, NULL, "Identity", name, &in, 1, &out, 1);
}

static int upgrade_scatter(ed_graph *g, ed_id id)
{
    const ed_node old = g->nodes[id];
    const ed_attr *axis = ed_node_attr(&old, "axis");
    ed_id fresh;
    ed_graph_remove_node(g, id);
    ED_TRY(ed_graph_add_node(g, &fresh, "ScatterElements", old.name, old.in, old.n_in, old.out, 1));
    return axis ? ed_node_set_attr(g, fresh, axis) : ED_OK;
}

static const struct upgrade_row {
    const char *op_type;
    int64_t changed; /* opset of the new form; 0: nothing to do */
    int (*upgrade)(ed_graph *g, ed_id id);
} rows[] = {
    { "Clip", 11, upgrade_clip },
    { "Pad", 11, upgrade_pad },
    { "Softmax", 13, upgrade_softmax },
    { "Conv", 0, NULL },
    { "ConvTranspose", 0, NULL },
    { "BatchNormalization", 0, NULL },
    { "Gemm", 0, NULL },
    { "MatMul", 0, NULL },
    { "Add", 0, NULL },
    { "Sub", 0, NULL },
    { "Mul", 0, NULL },
    { "Div", 0, NULL },
    { "Relu", 0, NULL },
    { "LeakyRelu", 0, NULL },
    { "Sigmoid", 0, NULL },
    { "HardSigmoid", 0, NULL },
    { "Tanh", 0, NULL },
    { "MaxPool", 0, NULL },
    { "AveragePool", 0, NULL },
    { "GlobalAveragePool", 0, NULL },
    { "GlobalMaxPool", 0, NULL },
    { "ReduceMean", 0, NULL },
    { "Flatten", 0, NULL },
    { "Reshape", 0, NULL },
    { "Transpose", 0, NULL },
    { "Concat", 0, NULL },
    { "Identity", 0, NULL },
    { "Dropout", 12, upgrade_dropout },
    { "LogSoftmax", 13, upgrade_softmax },
    { "Squeeze", 13, upgrade_axes },
    { "Unsqueeze", 13, upgrade_axes },
    { "ReduceSum", 13, upgrade_axes },
    { "Split", 13, upgrade_split },
    { "Slice", 10, upgrade_slice },
    { "Upsample", 10, upgrade_resize },
    { "Resize", 11, upgrade_resize },
    { "Shape", 0, NULL },
    { "Size", 0, NULL },
    { "Gather", 0, NULL },
    { "GatherElements", 0, NULL },
    { "GatherND", 0, NULL },
    { "Cast", 0, NULL },
    { "Expand", 0, NULL },
    { "Where", 0, NULL },
    { "Equal", 0, NULL },
    { "Not", 0, NULL },
    { "And", 0, NULL },
    { "Or", 0, NULL },
    { "Xor", 0, NULL },
    { "Greater", 0, NULL },
    { "Less", 0, NULL },
    { "Erf", 0, NULL },
    { "Exp", 0, NULL },
    { "Log", 0, NULL },
    { "Sqrt", 0, NULL },
    { "Pow", 0, NULL },
    { "Abs", 0, NULL },
    { "Neg", 0, NULL },
    { "Reciprocal", 0, NULL },
    { "Floor", 0, NULL },
    { "Ceil", 0, NULL },
    { "Min", 0, NULL },
    { "Max", 0, NULL },
    { "Mod", 0, NULL },
    { "Sum", 0, NULL },
    { "Range", 0, NULL },
    { "ConstantOfShape", 0, NULL },
    { "Tile", 0, NULL },
    { "Scatter", 11, upgrade_scatter },
    { "ScatterND", 0, NULL },
    { "ScatterElements", 0, NULL },
    { "ReduceMax", 0, NULL },
    { "ReduceMin", 0, NULL },
    { "ReduceProd", 0, NULL },
    { "ReduceL2", 0, NULL },
    { "Elu", 0, NULL },
    { "PRelu", 0, NULL },
    { "Softplus", 0, NULL },
    { "InstanceNormalization", 0, NULL },
    { "DepthToSpace", 0, NULL },
    { "SpaceToDepth", 0, NULL },
    { "ArgMax", 0, NULL },
    { "ArgMin", 0, NULL },
    { "Einsum", 0, NULL },
    { "CumSum", 0, NULL },
    { "Round", 0, NULL },
    { "QuantizeLinear", 0, NULL },
    { "DequantizeLinear", 0, NULL },
};

static const struct upgrade_row *row_of(const ed_node *node)
{
    for (size_t i = 0; i < ED_LENGTH(rows); i++)
        if (strcmp(rows[i].op_type, node->op_type) == 0)
            return &rows[i];
    return NULL;
}

static bool is_foreign(const ed_graph *g, ed_id id)
{
    return g->nodes[id].dead || g->nodes[id].domain[0];
}

static int upgrade_to_13(ed_graph *g, int64_t opset)
{
    int64_t now = ed_graph_opset(g, "");
    size_t n = g->n_nodes;
    for (size_t i = 0; i < n; i++)
        ED_FAIL_IF(!is_foreign(g, (ed_id)i) && !row_of(&g->nodes[i]), ED_EUNSUPPORTED,
                   "%s: this operator cannot be raised from opset %lld to %lld; export the model "
                   "again with opset %lld or later",
                   ed_node_label(g, &g->nodes[i]), (long long)now, (long long)opset,
                   (long long)opset);
    for (size_t i = 0; i < n; i++) {
        const struct upgrade_row *row = is_foreign(g, (ed_id)i) ? NULL : row_of(&g->nodes[i]);
        if (row && row->upgrade && now < row->changed)
            ED_TRY(row->upgrade(g, (ed_id)i));
    }
    return ED_OK;
}

/* ---- behind 13 ---- */

static int upgrade_equal_parts(ed_graph *g, ed_id id)
{
    const ed_node *node = &g->nodes[id];
    return ed_node_in(node, 1) == ED_NONE ? ed_node_set_int(g, id, "num_outputs", node->n_out)
                                          : ED_OK;
}

static int refuse(ed_graph *g, ed_id id)
{
    return ed_error_set(ED_EUNSUPPORTED,
                        "%s: this operator means something else in opset 21, which int4 needs; "
                        "export the model again with opset 21, or keep the integers in int8 "
                        "tensors",
                        ed_node_label(g, &g->nodes[id]));
}

static const struct upgrade_row later_rows[] = {
    { "ReduceMean", 18, upgrade_axes },
    { "ReduceMax", 18, upgrade_axes },
    { "ReduceMin", 18, upgrade_axes },
    { "ReduceProd", 18, upgrade_axes },
    { "ReduceL1", 18, upgrade_axes },
    { "ReduceL2", 18, upgrade_axes },
    { "ReduceLogSum", 18, upgrade_axes },
    { "ReduceLogSumExp", 18, upgrade_axes },
    { "ReduceSumSquare", 18, upgrade_axes },
    { "Split", 18, upgrade_equal_parts },
    { "GridSample", 20, refuse },
    { "GroupNormalization", 21, refuse },
};

static int upgrade_behind_13(ed_graph *g, int64_t opset)
{
    int64_t now = ed_graph_opset(g, "");
    size_t n = g->n_nodes;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < ED_LENGTH(later_rows) && !is_foreign(g, (ed_id)i); k++) {
            const struct upgrade_row *row = &later_rows[k];
            if (now < row->changed && row->changed <= opset &&
                strcmp(row->op_type, g->nodes[i].op_type) == 0)
                ED_TRY(row->upgrade(g, (ed_id)i));
        }
    }
    return ED_OK;
}

int ed_upgrade_opset(ed_graph *g, int64_t opset)
{
    int64_t now = ed_graph_opset(g, "");
    if (now >= opset || !now)
        return ED_OK;
    if (now < 13)
        ED_TRY(upgrade_to_13(g, opset));
    if (opset > 13)
        ED_TRY(upgrade_behind_13(g, opset));
    ED_TRY(ed_graph_set_opset(g, "", opset));
    return ed_graph_verify(g);
}
