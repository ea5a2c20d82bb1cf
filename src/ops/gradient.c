/* What the rows' gradient() functions are written with: looking at a node, emitting nodes. */
#include "ops/gradient.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const ed_shape *ed_grad_shape(const ed_grad *g, ed_id value)
{
    return &g->graph->values[value].shape;
}

const ed_tensor *ed_grad_constant(const ed_grad *g, ed_id value)
{
    return value == ED_NONE ? NULL : g->graph->values[value].constant;
}

int ed_grad_fail(const ed_grad *g, int code, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ed_node_fail(g->graph, &g->graph->nodes[g->node], code, "%s", text);
}

int ed_gradient_none(ed_grad *g)
{
    (void)g;
    return ED_OK;
}

/* ---- emitting ---- */
static int infer_node(ed_graph *graph, ed_id id)
{
    int rc = ED_OK;
    const ed_op *op;
    const ed_node *node = &graph->nodes[id];
    ED_TRY(ed_op_find(&op, graph, node));
    void *params = ed_calloc(1, op->params_size);
    ed_type *in = ed_calloc(node->n_in, sizeof *in), *out = ed_calloc(node->n_out, sizeof *out);
    const ed_tensor **constant = ed_calloc(node->n_in, sizeof(void *));
    if (!params || !in || !out || !constant)
        ED_GOTO(ED_ENOMEM);
    for (uint32_t i = 0; i < node->n_in; i++) {
        const ed_value *v = node->in[i] == ED_NONE ? NULL : &graph->values[node->in[i]];
        in[i] = v ? (ed_type){ v->dtype, v->shape } : (ed_type){ ED_DTYPE_NONE, ED_SHAPE_UNKNOWN };
        constant[i] = v ? v->constant : NULL;
    }
    ED_GOTO(ed_op_params(op, graph, node, params));
    ED_GOTO(ed_op_infer_inputs(op, graph, node, params, in, constant, out));
    for (uint32_t i = 0; i < node->n_out; i++) {
        if (node->out[i] == ED_NONE)
            continue;
        graph->values[node->out[i]].dtype = out[i].dtype;
        graph->values[node->out[i]].shape = out[i].shape;
    }
done:
    ed_free(params);
    ed_free(in);
    ed_free(out);
    ed_free(constant);
    return rc;
}

enum { MAX_OUT = 8 };

int ed_grad_emit_node(ed_grad *g, ed_id *out, uint32_t n_out, const char *type, const ed_id *in,
                      uint32_t n_in, const ed_attr *attrs)
{
    ed_id id, made[MAX_OUT];
    const char *ours = strncmp(type, "ed::", 4) == 0 ? "ed" : "";
    char stem[256];
    if (ours[0])
        type += 4;
    if (ours[0] && ed_graph_opset(g->graph, ours) == 0)
        ED_TRY(ed_graph_set_opset(g->graph, ours, 1));
    for (uint32_t i = 0; i < n_out; i++) {
        snprintf(stem, sizeof stem, "%s/%s", g->graph->values[g->out[0]].name, type);
        made[i] = ED_NONE;
        if (n_out == 1 || out[i] != ED_NONE)
            ED_TRY(ed_graph_add_fresh_value(g->graph, &made[i], stem));
    }
    snprintf(stem, sizeof stem, "%s/gradient", g->graph->nodes[g->node].name);
    ED_TRY(ed_graph_add_node(g->graph, &id, type, stem, in, n_in, made, n_out));
    g->graph->nodes[id].domain = ours;
    for (; attrs && attrs->name; attrs++)
        ED_TRY(ed_node_set_attr(g->graph, id, attrs));
    memcpy(out, made, n_out * sizeof *out);
    return infer_node(g->graph, id);
}

int ed_grad_emit(ed_grad *g, ed_id *out, const char *type, const ed_id *in, uint32_t n_in)
{
    return ed_grad_emit_node(g, out, 1, type, in, n_in, NULL);
}

int ed_grad_emit_like(ed_grad *g, ed_id *out, const char *type, const ed_id *in, uint32_t n_in)
{
    const ed_node *node = &g->graph->nodes[g->node];
    ed_attr *attrs = ed_calloc(node->n_attrs + 1, sizeof *attrs);
    if (!attrs)
        return ED_ENOMEM;
    for (uint32_t i = 0, n = 0; i < node->n_attrs; i++)
        if (!node->attrs[i].tensor) /* a tensor has one owner; no gradient operator reads one */
            attrs[n++] = node->attrs[i];
    int rc = ed_grad_emit_node(g, out, 1, type, in, n_in, attrs);
    ed_free(attrs);
    return rc;
}

int ed_grad_unary(ed_grad *g, ed_id *out, const char *type, ed_id x)
{
    return ed_grad_emit(g, out, type, &x, 1);
}

int ed_grad_binary(ed_grad *g, ed_id *out, const char *type, ed_id a, ed_id b)
{
    return ed_grad_emit(g, out, type, (ed_id[]){ a, b }, 2);
}

int ed_grad_f32(ed_grad *g, ed_id *out, float value)
{
    ed_tensor *t;
    ED_TRY(ed_tensor_from(&t, ED_F32, &ED_SHAPE_SCALAR, &value));
    return ed_graph_add_constant_take(g->graph, out, "number", t);
}

int ed_grad_i64(ed_grad *g, ed_id *out, const int64_t *v, size_t n)
{
    ed_tensor *t;
    ED_TRY(ed_tensor_from(&t, ED_I64, &ED_SHAPE((int64_t)n), v));
    return ed_graph_add_constant_take(g->graph, out, "integers", t);
}

int ed_grad_scale(ed_grad *g, ed_id *out, ed_id x, float factor)
{
    ed_id number;
    *out = x;
    if (factor == 1.0f)
        return ED_OK;
    ED_TRY(ed_grad_f32(g, &number, factor));
    return ed_grad_binary(g, out, "Mul", x, number);
}

int ed_grad_reshape(ed_grad *g, ed_id *out, ed_id x, const ed_shape *shape)
{
    ed_id target;
    ed_tensor *empty;
    int64_t numel;
    *out = x;
    if (ed_shape_equal(ed_grad_shape(g, x), shape))
        return ED_OK;
    ED_TRY(ed_shape_numel(&numel, shape));
    if (numel == 0) { /* to Reshape, a 0 means the input's dimension */
        ED_TRY(ed_tensor_new(&empty, ED_F32, shape));
        return ed_graph_add_constant_take(g->graph, out, "empty", empty);
    }
    ED_TRY(ed_grad_i64(g, &target, shape->dim, (size_t)shape->rank));
    return ed_grad_binary(g, out, "Reshape", x, target);
}

/* Expand is of opset 8; before it, a sum with zeros of that shape. */
int ed_grad_expand(ed_grad *g, ed_id *out, ed_id x, const ed_shape *shape)
{
    ed_id target;
    ed_tensor *zeros;
    *out = x;
    if (ed_shape_equal(ed_grad_shape(g, x), shape))
        return ED_OK;
    if (ed_graph_opset(g->graph, "") >= 8) {
        ED_TRY(ed_grad_i64(g, &target, shape->dim, (size_t)shape->rank));
        return ed_grad_binary(g, out, "Expand", x, target);
    }
    ED_TRY(ed_tensor_new(&zeros, ED_F32, shape));
    ED_TRY(ed_graph_add_constant_take(g->graph, &target, "zeros", zeros));
    return ed_grad_binary(g, out, "Add", x, target);
}

int ed_grad_transpose(ed_grad *g, ed_id *out, ed_id x, const int64_t *perm)
{
    const ed_attr attrs[] = { { .name = "perm",
                                .type = ED_ATTR_INTS,
                                .ints = perm,
                                .count = (size_t)ed_grad_shape(g, x)->rank },
                              { 0 } };
    return ed_grad_emit_node(g, out, 1, "Transpose", &x, 1, attrs);
}

int ed_grad_reduce_sum(ed_grad *g, ed_id *out, ed_id x, const int64_t *axes, size_t n)
{
    const ed_attr attrs[] = { { .name = "axes", .type = ED_ATTR_INTS, .ints = axes, .count = n },
                              { 0 } };
    ed_id in[2] = { x, ED_NONE };
    *out = x;
    if (n == 0) /* to the operator, no axes means all of them */
        return ED_OK;
    if (ed_graph_opset(g->graph, "") < 13)
        return ed_grad_emit_node(g, out, 1, "ReduceSum", in, 1, attrs);
    ED_TRY(ed_grad_i64(g, &in[1], axes, n));
    return ed_grad_emit(g, out, "ReduceSum", in, 2);
}

int ed_grad_to_f32(ed_grad *g, ed_id *out, ed_id x)
{
    enum { FLOAT = 1 }; /* ONNX's number of the type */
    const ed_attr attrs[] = { { .name = "to", .type = ED_ATTR_INT, .i = FLOAT }, { 0 } };
    *out = x;
    if (g->graph->values[x].dtype == ED_F32)
        return ED_OK;
    return ed_grad_emit_node(g, out, 1, "Cast", &x, 1, attrs);
}

int ed_grad_equal(ed_grad *g, ed_id *out, ed_id a, ed_id b)
{
    ed_id equal;
    ED_TRY(ed_grad_binary(g, &equal, "Equal", a, b));
    return ed_grad_to_f32(g, out, equal);
}

int ed_grad_sum_to(ed_grad *g, ed_id *out, ed_id x, const ed_shape *shape)
{
    ed_shape from = *ed_grad_shape(g, x);
    int64_t axes[ED_MAX_RANK];
    size_t n = 0;
    int lead = from.rank - shape->rank;
    for (int i = 0; i < from.rank; i++)
        if (from.dim[i] != 1 && (i < lead || shape->dim[i - lead] == 1))
            axes[n++] = i;
    ED_TRY(ed_grad_reduce_sum(g, out, x, axes, n));
    return ed_grad_reshape(g, out, *out, shape);
}

int ed_grad_sum_channels(ed_grad *g, ed_id *out, ed_id x)
{
    int64_t axes[ED_MAX_RANK], channels = ed_grad_shape(g, x)->dim[1];
    size_t n = 0;
    for (int i = 0; i < ed_grad_shape(g, x)->rank; i++)
        if (i != 1)
            axes[n++] = i;
    ED_TRY(ed_grad_reduce_sum(g, out, x, axes, n));
    return ed_grad_reshape(g, out, *out, &ED_SHAPE(channels));
}

/* ---- answering ---- */
int ed_grad_give(ed_grad *g, uint32_t i, ed_id value)
{
    if (!ed_grad_wants(g, i) || value == ED_NONE)
        return ED_OK;
    if (g->din[i] == ED_NONE) {
        g->din[i] = value;
        return ED_OK;
    }
    return ed_grad_binary(g, &g->din[i], "Add", g->din[i], value);
}

int ed_grad_give_broadcast(ed_grad *g, uint32_t i, ed_id value)
{
    ed_id sum;
    if (!ed_grad_wants(g, i) || value == ED_NONE)
        return ED_OK;
    const ed_shape shape = *ed_grad_shape(g, g->in[i]);
    ED_TRY(ed_grad_sum_to(g, &sum, value, &shape));
    return ed_grad_give(g, i, sum);
}

/* ---- rows of one node ---- */
static int give_like(ed_grad *g, const ed_id *in, uint32_t n_in)
{
    char type[64];
    ed_id dx;
    snprintf(type, sizeof type, "ed::%sGrad", g->op->type);
    ED_TRY(ed_grad_emit_like(g, &dx, type, in, n_in));
    return ed_grad_give(g, 0, dx);
}

int ed_gradient_of_output(ed_grad *g)
{
    return give_like(g, (ed_id[]){ ed_grad_dy(g), g->out[0] }, 2);
}

int ed_gradient_of_inputs(ed_grad *g)
{
    ed_id in[ED_CALL_MAX] = { ed_grad_dy(g) };
    uint32_t n = 1;
    for (uint32_t i = 0; i < g->n_in && n < ED_LENGTH(in); i++)
        in[n++] = g->in[i];
    return ed_grad_wants(g, 0) ? give_like(g, in, n) : ED_OK;
}
