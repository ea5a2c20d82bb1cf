/*
 * Quantized models of any tool to one operator:
 *
 *     DequantizeLinear(QuantizeLinear(x, s, z), s, z)   ->  FakeQuantize(x, s, z)
 *     DequantizeLinear(integers, s, z)                  ->  FakeQuantize((integers - z) * s, s, z)
 *     DequantizeLinear(int32 integers, s, z)            ->  the constant (integers - z) * s
 *
 * The result keeps the name of DequantizeLinear's output. FakeQuantize gives back the integers
 * exactly: (q * s) / s is nearer to q than a half.
 *
 * Nodes that do not say this stay what they are: those of blocked scales or of scales that are
 * computed, pairs of different scales, and integers that another node or the caller reads.
 */
#include "onnx/read.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Integer types that a FakeQuantize stands for. */
typedef struct grid {
    ed_dtype dtype;
    int64_t bits, is_unsigned, qmin, qmax;
} grid;

static const grid grids[] = {
    { ED_I8, 8, 0, -128, 127 }, { ED_U8, 8, 1, 0, 255 },          { ED_I4, 4, 0, -8, 7 },
    { ED_U4, 4, 1, 0, 15 },     { ED_I16, 16, 0, -32768, 32767 }, { ED_U16, 16, 1, 0, 65535 },
};

static const char advice[] = "quantize the float model with ed-calibrate instead";

/* What a QuantizeLinear or DequantizeLinear says. */
typedef struct quant {
    const char *label;
    ed_id scale, zero_point; /* values; zero_point may be ED_NONE: zeros */
    const ed_tensor *scales, *zeros;
    ed_dtype dtype; /* of the integers; NONE where only the input tells */
    int64_t axis;   /* -1: one scale */
} quant;

static bool is_op(const ed_node *n, const char *type)
{
    return !n->dead && strcmp(n->op_type, type) == 0 &&
           (!n->domain[0] || strcmp(n->domain, "com.microsoft") == 0);
}

static int64_t int_attr(const ed_node *n, const char *name, int64_t preset)
{
    const ed_attr *a = ed_node_attr(n, name);
    return a ? a->i : preset;
}

static const grid *grid_of(ed_dtype dtype)
{
    for (size_t i = 0; i < ED_LENGTH(grids); i++)
        if (grids[i].dtype == dtype)
            return &grids[i];
    return NULL;
}

/* Constants, one scale or one per channel. */
static bool is_plain(const quant *q, const ed_node *n)
{
    return q->scales && (q->zero_point == ED_NONE || q->zeros) && q->scales->shape.rank <= 1 &&
           !int_attr(n, "block_size", 0);
}

static int check_scales(const quant *q)
{
    ED_FAIL_IF(q->scales->dtype != ED_F32, ED_EUNSUPPORTED,
               "%s: its scale is of type %s; only float32 is supported: %s", q->label,
               ed_dtype_name(q->scales->dtype), advice);
    ED_FAIL_IF(q->zeros && q->zeros->numel != q->scales->numel, ED_ESHAPE,
               "%s: it has %" PRId64 " scales, but %" PRId64 " zero points", q->label,
               q->scales->numel, q->zeros->numel);
    for (int64_t i = 0; i < q->scales->numel; i++) {
        double scale = ed_tensor_get_f64(q->scales, i);
        ED_FAIL_IF(!(scale > 0) || isinf(scale), ED_EFORMAT,
                   "%s: scale %" PRId64 " is %g; a scale must be a positive number: %s", q->label,
                   i, scale, advice);
    }
    return ED_OK;
}

static int find_axis(quant *q, const ed_graph *g, const ed_node *n)
{
    const ed_shape *x = &g->values[n->in[0]].shape;
    q->axis = -1;
    if (q->scales->numel == 1)
        return ED_OK;
    q->axis = int_attr(n, "axis", 1);
    if (q->axis < 0 && x->rank >= 0)
        q->axis += x->rank;
    ED_FAIL_IF(q->axis < 0 || (x->rank >= 0 && q->axis >= x->rank), ED_EUNSUPPORTED,
               "%s: its axis %" PRId64 " does not fit a value of %s%d dimensions", q->label,
               int_attr(n, "axis", 1), x->rank < 0 ? "unknown rank, given as " : "", x->rank);
    int64_t size = x->rank >= 0 ? x->dim[q->axis] : ED_DIM_UNKNOWN;
    ED_FAIL_IF(size >= 0 && size != q->scales->numel, ED_ESHAPE,
               "%s: it has %" PRId64 " scales for the %" PRId64 " channels of axis %" PRId64,
               q->label, q->scales->numel, size, q->axis);
    return ED_OK;
}

/* *raises is false when the node stays what it is. */
static int look_at(quant *q, bool *raises, const ed_graph *g, const ed_node *n)
{
    *q = (quant){ .label = ed_node_label(g, n),
                  .scale = ed_node_in(n, 1),
                  .zero_point = ed_node_in(n, 2),
                  .scales = ed_node_constant(g, n, 1),
                  .zeros = ed_node_constant(g, n, 2) };
    ED_FAIL_IF(n->n_in < 2 || n->n_out != 1 || n->in[0] == ED_NONE || n->out[0] == ED_NONE,
               ED_EFORMAT,
               "%s: it has %u inputs and %u outputs; expected x, scale, zero_point and one",
               q->label, (unsigned)n->n_in, (unsigned)n->n_out);
    *raises = is_plain(q, n);
    if (!*raises)
        return ED_OK;
    ED_TRY(check_scales(q));
    bool quantizes = n->op_type[0] == 'Q';
    const ed_wire_type *wanted = ed_wire_type_of((int32_t)int_attr(n, "output_dtype", 0));
    ED_FAIL_IF(!quantizes && wanted && wanted->dtype != ED_F32, ED_EUNSUPPORTED,
               "%s: its output is %s; only float32 is supported: %s", q->label, wanted->name,
               advice);
    if (q->zeros)
        q->dtype = q->zeros->dtype;
    else if (quantizes)
        q->dtype = wanted ? wanted->dtype : ED_U8;
    return find_axis(q, g, n);
}

static bool same_numbers(const ed_tensor *a, const ed_tensor *b)
{
    if (a && b && a->numel != b->numel)
        return false;
    int64_t n = a ? a->numel : b ? b->numel : 0;
    for (int64_t i = 0; i < n; i++)
        if ((a ? ed_tensor_get_f64(a, i) : 0) != (b ? ed_tensor_get_f64(b, i) : 0))
            return false;
    return true;
}

/* The int32 constant of a quant's zero points; one for all nodes that share the value. */
static int int32_zeros(ed_id *out, ed_graph *g, const quant *q, ed_id *known)
{
    if (q->zero_point != ED_NONE && known[q->zero_point] != ED_NONE) {
        *out = known[q->zero_point];
        return ED_OK;
    }
    ed_tensor *t;
    ED_TRY(ed_tensor_new(&t, ED_I32, &q->scales->shape));
    for (int64_t i = 0; q->zeros && i < t->numel; i++)
        ((int32_t *)t->data)[i] = (int32_t)ed_tensor_get_i64(q->zeros, i);
    const char *stem = g->values[q->zero_point != ED_NONE ? q->zero_point : q->scale].name;
    char *name = ed_asprintf("%s%s", stem, q->zero_point != ED_NONE ? "_i32" : "_zero_point");
    if (!name) {
        ed_tensor_free(t);
        return ED_ENOMEM;
    }
    int rc = ed_graph_add_constant_take(g, out, name, t);
    ed_free(name);
    if (rc == ED_OK && q->zero_point != ED_NONE)
        known[q->zero_point] = *out;
    return rc;
}

/* Replace the DequantizeLinear `dq` by FakeQuantize(x). */
static int put_fake_quantize(ed_graph *g, ed_id dq, ed_id x, const quant *q, ed_id *known)
{
    const grid *r = grid_of(q->dtype);
    ED_FAIL_IF(!r, ED_EUNSUPPORTED,
               "%s: it quantizes to %s; int8, uint8, and 4 and 16 bits are supported: %s", q->label,
               ed_dtype_name(q->dtype), advice);
    ed_id zeros, node, out = g->nodes[dq].out[0];
    ED_TRY(int32_zeros(&zeros, g, q, known));
    const char *name = g->nodes[dq].name;
    ed_graph_remove_node(g, dq);
    ED_TRY(ed_graph_add_node(g, &node, "FakeQuantize", name, (ed_id[]){ x, q->scale, zeros }, 3,
                             &out, 1));
    g->nodes[node].domain = "ed";
    ED_TRY(ed_node_set_int(g, node, "axis", q->axis));
    ED_TRY(ed_node_set_int(g, node, "qmin", r->qmin));
    ED_TRY(ed_node_set_int(g, node, "qmax", r->qmax));
    ED_TRY(ed_node_set_int(g, node, "bits", r->bits));
    return ed_node_set_int(g, node, "is_unsigned", r->is_unsigned);
}

/* Whether node `dq` undoes what q does. */
static int undoes(bool *same, const ed_graph *g, ed_id dq, const quant *q, ed_id integers)
{
    const ed_node *n = &g->nodes[dq];
    quant d;
    *same = is_op(n, "DequantizeLinear") && ed_node_in(n, 0) == integers;
    if (*same)
        ED_TRY(look_at(&d, same, g, n));
    *same = *same && same_numbers(q->scales, d.scales) && same_numbers(q->zeros, d.zeros) &&
            q->axis == d.axis && (!d.dtype || d.dtype == q->dtype);
    return ED_OK;
}

static int raise_pairs(ed_graph *g, ed_id id, ed_id *known)
{
    quant q;
    bool raises;
    ED_TRY(look_at(&q, &raises, g, &g->nodes[id]));
    ed_id x = g->nodes[id].in[0], between = g->nodes[id].out[0];
    const ed_value *v = &g->values[between];
    raises = raises && v->use_count && !v->is_output;
    for (uint32_t i = 0; raises && i < v->use_count; i++)
        ED_TRY(undoes(&raises, g, v->uses[i], &q, between));
    if (!raises)
        return ED_OK;
    while (g->values[between].use_count)
        ED_TRY(put_fake_quantize(g, g->values[between].uses[0], x, &q, known));
    ed_graph_remove_node(g, id);
    return ED_OK;
}

/* (q - zero_point) * scale in float32, as DequantizeLinear computes it. */
static int dequantize(ed_tensor **out, const ed_tensor *x, const quant *q)
{
    ed_tensor *t;
    ED_TRY(ed_tensor_new(&t, ED_F32, &x->shape));
    int64_t inner = 1, channels = q->axis < 0 ? 1 : x->shape.dim[q->axis];
    for (int i = (int)q->axis + 1; q->axis >= 0 && i < x->shape.rank; i++)
        inner *= x->shape.dim[i];
    for (int64_t i = 0; i < t->numel; i++) {
        int64_t channel = i / inner % channels;
        int64_t zero = q->zeros ? ed_tensor_get_i64(q->zeros, channel) : 0;
        float scale = ((const float *)q->scales->data)[channel];
        ((float *)t->data)[i] = (float)(ed_tensor_get_i64(x, i) - zero) * scale;
    }
    *out = t;
    return ED_OK;
}

/* "w" for "w_quantized". */
static char *float_name(const char *name)
{
    static const char suffix[] = "_quantized";
    size_t n = strlen(name), k = sizeof suffix - 1;
    bool ends = n > k && strcmp(name + n - k, suffix) == 0;
    return ed_asprintf("%.*s", (int)(ends ? n - k : n), name);
}

static int raise_constant(ed_graph *g, ed_id dq, ed_id *known)
{
    quant q;
    bool raises;
    ED_TRY(look_at(&q, &raises, g, &g->nodes[dq]));
    ed_id integers = g->nodes[dq].in[0], x;
    const ed_tensor *from = g->values[integers].constant;
    if (!raises || !from)
        return ED_OK;
    ED_FAIL_IF((from->dtype != ED_I32 && !grid_of(from->dtype)) ||
                   (q.dtype && q.dtype != from->dtype),
               ED_EUNSUPPORTED, "%s: it dequantizes %s with a zero_point of type %s: %s", q.label,
               ed_dtype_name(from->dtype), ed_dtype_name(q.dtype), advice);
    q.dtype = from->dtype;
    ed_tensor *t;
    ED_TRY(dequantize(&t, from, &q));
    if (from->dtype == ED_I32) { /* a bias */
        ed_id out = g->nodes[dq].out[0];
        ed_graph_remove_node(g, dq);
        return ed_graph_set_constant_take(g, out, t);
    }
    char *name = float_name(g->values[integers].name);
    if (!name) {
        ed_tensor_free(t);
        return ED_ENOMEM;
    }
    int rc = ed_graph_add_constant_take(g, &x, name, t);
    ed_free(name);
    return rc == ED_OK ? put_fake_quantize(g, dq, x, &q, known) : rc;
}

/* The integers that nothing reads any more; an int32 zero_point takes the place and name of its
 * own. */
static int drop_unused_constants(ed_graph *g, const bool *used, const ed_id *known, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!used[i] || !g->values[i].constant || ed_value_uses(&g->values[i]))
            continue;
        ed_tensor_free(g->values[i].constant);
        g->values[i].constant = NULL;
        if (known[i] == ED_NONE)
            continue;
        ed_value *from = &g->values[known[i]], *to = &g->values[i];
        to->constant = from->constant;
        to->dtype = from->dtype;
        to->shape = from->shape;
        from->constant = NULL;
        ED_TRY(ed_graph_replace_value(g, known[i], (ed_id)i));
    }
    return ED_OK;
}

static int raise_all(ed_graph *g, size_t n_nodes, ed_id *known)
{
    for (size_t i = 0; i < n_nodes; i++)
        if (is_op(&g->nodes[i], "QuantizeLinear"))
            ED_TRY(raise_pairs(g, (ed_id)i, known));
    for (size_t i = 0; i < n_nodes; i++)
        if (is_op(&g->nodes[i], "DequantizeLinear"))
            ED_TRY(raise_constant(g, (ed_id)i, known));
    return ED_OK;
}

int ed_onnx_raise(ed_graph *g)
{
    size_t n = g->n_values, n_nodes = g->n_nodes, found = 0;
    for (size_t i = 0; i < n_nodes; i++)
        found += is_op(&g->nodes[i], "QuantizeLinear") || is_op(&g->nodes[i], "DequantizeLinear");
    if (!found)
        return ED_OK;
    ed_id *known = ed_malloc(n * sizeof *known); /* zero_point value -> its int32 constant */
    bool *used = ed_calloc(n, sizeof *used);
    int rc = known && used ? ed_graph_set_opset(g, "ed", 1) : ED_ENOMEM;
    for (size_t i = 0; rc == ED_OK && i < n; i++) {
        known[i] = ED_NONE;
        used[i] = g->values[i].use_count > 0;
    }
    if (rc == ED_OK)
        rc = raise_all(g, n_nodes, known);
    if (rc == ED_OK)
        rc = drop_unused_constants(g, used, known, n);
    ed_free(known);
    ed_free(used);
    return rc == ED_OK ? ed_graph_verify(g) : rc;
}
