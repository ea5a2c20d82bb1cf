/*
 * FakeQuantize(x, scale, zero_point) to
 *
 *     x_quantized = QuantizeLinear(x, scale, zero_point)
 *     y           = DequantizeLinear(x_quantized, scale, zero_point)
 *
 * with a zero_point of the stored type, which is always written (left out, it would mean uint8). A
 * constant x is stored as integers q = saturate(rne(x / scale) + zero_point) behind
 * DequantizeLinear alone, unless float weights are wanted.
 */
#include "onnx/write.h"

#include <math.h>
#include <string.h>

/* Stored types: width, sign, the opset that QuantizeLinear has them from. */
typedef struct storage {
    ed_dtype dtype;
    int64_t bits, is_unsigned, qmin, qmax, opset;
} storage;

static const storage storages[] = {
    { ED_I8, 8, 0, -128, 127, 10 },       { ED_U8, 8, 1, 0, 255, 10 },
    { ED_I4, 4, 0, -8, 7, 21 },           { ED_U4, 4, 1, 0, 15, 21 },
    { ED_I16, 16, 0, -32768, 32767, 21 }, { ED_U16, 16, 1, 0, 65535, 21 },
};

/* A FakeQuantize node, looked at once. */
typedef struct fake_quant {
    const ed_node *node;
    const char *label;
    const storage *storage;
    int64_t axis, qmin, qmax;
    const ed_tensor *x, *scale, *zero_point; /* x: NULL unless it is a constant */
} fake_quant;

bool ed_is_fake_quantize(const ed_node *node)
{
    return strcmp(node->domain, "ed") == 0 && strcmp(node->op_type, "FakeQuantize") == 0;
}

static int64_t int_attr(const ed_node *node, const char *name, int64_t preset)
{
    const ed_attr *a = ed_node_attr(node, name);
    return a ? a->i : preset;
}

static int check_storage(fake_quant *f, const ed_writer *w)
{
    int64_t bits = int_attr(f->node, "bits", 8), is_unsigned = int_attr(f->node, "is_unsigned", 0);
    for (size_t i = 0; i < ED_LENGTH(storages) && !f->storage; i++)
        if (storages[i].bits == bits && storages[i].is_unsigned == is_unsigned)
            f->storage = &storages[i];
    const storage *s = f->storage;
    ED_FAIL_IF(!s, ED_EUNSUPPORTED, "%s: %s has %lld bits; 4, 8 and 16 can be written", w->path,
               f->label, (long long)bits);
    f->qmin = int_attr(f->node, "qmin", s->qmin);
    f->qmax = int_attr(f->node, "qmax", s->qmax);
    bool full = f->qmin == s->qmin && f->qmax == s->qmax;
    ED_FAIL_IF(f->qmin < s->qmin || f->qmax > s->qmax || f->qmin >= f->qmax ||
                   (!full && (!f->x || w->weights == ED_WEIGHTS_FLOAT)),
               ED_EUNSUPPORTED,
               "%s: %s quantizes to [%lld, %lld]; QuantizeLinear knows only the whole range [%lld, "
               "%lld] of %s",
               w->path, f->label, (long long)f->qmin, (long long)f->qmax, (long long)s->qmin,
               (long long)s->qmax, ed_dtype_name(s->dtype));
    int64_t opset = ed_graph_opset(w->g, ""), need = f->axis >= 0 && s->opset < 13 ? 13 : s->opset;
    ED_FAIL_IF(opset < need, ED_EUNSUPPORTED,
               "%s: %s (%s, %s) needs opset %lld, but the model has %lld; convert it with "
               "onnx.version_converter",
               w->path, f->label, ed_dtype_name(s->dtype), f->axis >= 0 ? "per axis" : "per tensor",
               (long long)need, (long long)opset);
    return ED_OK;
}

static int check_scale(const fake_quant *f, const ed_writer *w)
{
    ED_FAIL_IF(
        !f->scale || f->scale->dtype != ED_F32 || !f->zero_point ||
            f->zero_point->dtype != ED_I32 || f->zero_point->numel != f->scale->numel,
        ED_EUNSUPPORTED,
        "%s: %s needs a constant float32 scale and an int32 zero_point of the same size to be "
        "written",
        w->path, f->label);
    ED_FAIL_IF(f->axis < 0 && f->scale->numel != 1, ED_ESHAPE, "%s: %s has %lld scales but no axis",
               w->path, f->label, (long long)f->scale->numel);
    for (int64_t i = 0; i < f->scale->numel; i++) {
        float scale = ((const float *)f->scale->data)[i];
        int32_t zero_point = ((const int32_t *)f->zero_point->data)[i];
        ED_FAIL_IF(!(scale > 0.0F) || isinf(scale), ED_ENONFINITE,
                   "%s: scale %lld of %s is %g; it must be a positive number", w->path,
                   (long long)i, f->label, (double)scale);
        ED_FAIL_IF(zero_point < f->storage->qmin || zero_point > f->storage->qmax, ED_EINVAL,
                   "%s: zero_point %lld of %s is %d, which %s cannot hold", w->path, (long long)i,
                   f->label, (int)zero_point, ed_dtype_name(f->storage->dtype));
    }
    if (!f->x)
        return ED_OK;
    bool fits = f->x->dtype == ED_F32 && f->axis < f->x->shape.rank &&
                (f->axis < 0 || f->x->shape.dim[f->axis] == f->scale->numel);
    ED_FAIL_IF(!fits, ED_ESHAPE,
               "%s: %s has %lld scales on axis %lld, which its constant does not have", w->path,
               f->label, (long long)f->scale->numel, (long long)f->axis);
    return ED_OK;
}

static void store(void *data, ed_dtype dtype, int64_t i, int32_t q)
{
    switch (ed_dtype_bits(dtype)) {
    case 4:
        ((uint8_t *)data)[i / 2] |= (uint8_t)((q & 15) << (i % 2 * 4));
        break;
    case 8:
        ((uint8_t *)data)[i] = (uint8_t)q;
        break;
    default:
        ((uint16_t *)data)[i] = (uint16_t)q;
    }
}

/* n elements of one scale. Saturating before rounding is the same: the limits are integers. */
static void quantize(const fake_quant *f, void *data, int64_t begin, int64_t n, int64_t channel)
{
    float scale = ((const float *)f->scale->data)[channel];
    int32_t zero_point = ((const int32_t *)f->zero_point->data)[channel];
    float low = (float)(f->qmin - zero_point), high = (float)(f->qmax - zero_point);
    const float *x = f->x->data;
    for (int64_t i = begin; i < begin + n; i++) {
        float v = x[i] / scale;
        v = v > low ? v : low; /* NaN becomes the lowest */
        v = v < high ? v : high;
        store(data, f->storage->dtype, i, (int32_t)lrintf(v) + zero_point);
    }
}

static int quantized_tensor(ed_tensor **out, ed_writer *w, const fake_quant *f)
{
    ed_tensor *t = ed_writer_alloc(w, 1, sizeof *t);
    if (!t)
        return ED_ENOMEM;
    ED_TRY(ed_tensor_view(t, f->storage->dtype, &f->x->shape, NULL));
    t->data = ed_writer_alloc(w, t->nbytes, 1);
    if (!t->data)
        return ED_ENOMEM;
    int64_t inner = 1, channels = f->axis < 0 ? 1 : f->x->shape.dim[f->axis];
    for (int i = (int)f->axis + 1; i < f->x->shape.rank; i++)
        inner *= f->x->shape.dim[i];
    for (int64_t at = 0; inner && at < t->numel; at += inner)
        quantize(f, t->data, at, inner, f->axis < 0 ? 0 : at / inner % channels);
    *out = t;
    return ED_OK;
}

/* True when every reader of a constant takes it as a FakeQuantize's zero_point. */
static bool is_only_zero_point(const ed_graph *g, ed_id id)
{
    const ed_value *v = &g->values[id];
    for (size_t i = 0; i < v->use_count; i++) {
        const ed_node *n = &g->nodes[v->uses[i]];
        if (!ed_is_fake_quantize(n) || ed_node_in(n, 0) == id || ed_node_in(n, 1) == id)
            return false;
    }
    return !v->is_output;
}

/* The name of the zero_point's initializer of the stored type, written at its first use. */
static int zero_point_name(const char **out, ed_writer *w, const fake_quant *f)
{
    ed_id id = f->node->in[2];
    ed_zero_point *seen = &w->zero_points[id];
    if (seen->name && seen->dtype == f->storage->dtype) {
        *out = seen->name;
        return ED_OK;
    }
    const char *name = w->g->values[id].name;
    if (seen->name || !is_only_zero_point(w->g, id))
        name = ed_writer_unique(w, &w->value_names, name, f->storage->is_unsigned ? "_u" : "_i");
    ed_tensor *t = ed_writer_alloc(w, 1, sizeof *t);
    if (!name || !t)
        return ED_ENOMEM;
    ED_TRY(ed_tensor_view(t, f->storage->dtype, &f->zero_point->shape, NULL));
    t->data = ed_writer_alloc(w, t->nbytes, 1);
    if (!t->data)
        return ED_ENOMEM;
    for (int64_t i = 0; i < t->numel; i++)
        store(t->data, t->dtype, i, ((const int32_t *)f->zero_point->data)[i]);
    *seen = (ed_zero_point){ name, t->dtype };
    *out = name;
    return ed_write_initializer(w, name, t);
}

static int write_half(ed_writer *w, const fake_quant *f, const char *op_type, const char *in,
                      const char *zero_point, const char *out)
{
    const char *stem = w->g->values[f->node->in[0]].name;
    const char *suffix = op_type[0] == 'Q' ? "_QuantizeLinear" : "_DequantizeLinear";
    const char *name = ed_writer_unique(w, &w->node_names, stem, suffix);
    Onnx__NodeProto *node;
    if (!name)
        return ED_ENOMEM;
    ED_TRY(ed_write_new_node(&node, w, op_type, name, 3, 1));
    node->input[0] = (char *)in;
    node->input[1] = (char *)w->g->values[f->node->in[1]].name;
    node->input[2] = (char *)zero_point;
    node->output[0] = (char *)out;
    if (f->axis < 0)
        return ED_OK;
    ed_attr axis = { .name = "axis", .type = ED_ATTR_INT, .i = f->axis };
    return ed_write_attribute(w, node, &axis, 1);
}

static int write_pair(ed_writer *w, const fake_quant *f)
{
    ed_id x = f->node->in[0];
    const char *zero_point;
    ED_TRY(zero_point_name(&zero_point, w, f));
    const char *stem = w->g->values[x].name;
    const char *quantized = ed_writer_unique(w, &w->value_names, stem, "_quantized");
    if (!quantized)
        return ED_ENOMEM;
    w->needed[f->node->in[1]] = true;
    if (f->x && w->weights == ED_WEIGHTS_INT8) {
        ed_tensor *t;
        ED_TRY(quantized_tensor(&t, w, f));
        ED_TRY(ed_write_initializer(w, quantized, t));
    } else {
        w->needed[x] = true;
        ED_TRY(write_half(w, f, "QuantizeLinear", stem, zero_point, quantized));
    }
    const char *out = w->g->values[f->node->out[0]].name;
    return write_half(w, f, "DequantizeLinear", quantized, zero_point, out);
}

int ed_onnx_lower(ed_writer *w, const ed_node *node)
{
    fake_quant f = { .node = node,
                     .label = ed_node_label(w->g, node),
                     .axis = int_attr(node, "axis", -1),
                     .x = ed_node_constant(w->g, node, 0),
                     .scale = ed_node_constant(w->g, node, 1),
                     .zero_point = ed_node_constant(w->g, node, 2) };
    ED_FAIL_IF(
        node->n_in != 3 || node->n_out != 1 || node->in[0] == ED_NONE || node->out[0] == ED_NONE,
        ED_EINVAL, "%s: %s needs the inputs x, scale, zero_point and one output", w->path, f.label);
    ED_TRY(check_storage(&f, w));
    ED_TRY(check_scale(&f, w));
    return write_pair(w, &f);
}
