/*
 * Operators around shapes as tensors.
 *
 * Shape (ONNX opset 1, 13, 15 to 25)   y = the dimensions from `start` to `end`, of int64
 * Size (1, 13 to 25)                   y = the number of elements
 * ConstantOfShape (9, 20 to 25)        y = `value` everywhere, of the shape that x holds
 * Range (11)                           y[i] = start + i * delta for i < ceil((limit - start) /
 *                                      delta)
 *
 * Shape and Size read no element: where the executor knows the shapes, they are constants.
 */
#include "ops/gradient.h"
#include "ops/strided.h"

#include <math.h>
#include <string.h>

/* ---- Shape, Size ---- */

typedef struct shape_params {
    int64_t start, end;
} shape_params;

static const ed_attr_spec shape_attrs[] = {
    ED_ATTR_I64_OF("start", shape_params, start, 0),
    ED_ATTR_I64_OF("end", shape_params, end, ED_MAX_RANK),
    { 0 },
};

static int64_t clamp_dim(int64_t i, int rank)
{
    i = i < 0 ? i + rank : i;
    return i < 0 ? 0 : i > rank ? rank : i;
}

static int shape_infer(ed_infer *ctx)
{
    const shape_params *p = ctx->params;
    int rank = ctx->in[0].shape.rank;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ctx->out[0] = (ed_type){ ED_I64, ED_SHAPE(ED_DIM_UNKNOWN) };
    if (rank < 0)
        return ED_OK;
    int64_t begin = clamp_dim(p->start, rank), end = clamp_dim(p->end, rank);
    ctx->out[0].shape.dim[0] = end > begin ? end - begin : 0;
    return ED_OK;
}

static int shape_forward(const ed_call *c)
{
    const shape_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape;
    int64_t *y = c->out[0]->data, begin = clamp_dim(p->start, x->rank);

    for (int64_t i = 0; i < c->out[0]->numel; i++)
        y[i] = x->dim[begin + i];
    return ED_OK;
}

static int size_infer(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ctx->out[0] = (ed_type){ ED_I64, ED_SHAPE_SCALAR };
    return ED_OK;
}

static int size_forward(const ed_call *c)
{
    *(int64_t *)c->out[0]->data = c->in[0]->numel;
    return ED_OK;
}

/* ---- ConstantOfShape ---- */

static int fill_infer(ed_infer *ctx)
{
    const ed_attr *value = ed_node_attr(ctx->node, "value");
    const ed_shape *list = &ctx->in[0].shape;
    ed_ints dims;

    ctx->out[0].dtype = value && value->type == ED_ATTR_TENSOR ? value->tensor->dtype : ED_F32;
    if (value && (value->type != ED_ATTR_TENSOR || value->tensor->numel != 1))
        return ed_infer_fail(ctx, ED_EFORMAT, "attribute 'value' must be a tensor of one element");
    if (ed_dtype_bits(ctx->out[0].dtype) < 8)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "attribute 'value' is %s; types of 8 to 64 bits "
                             "run here",
                             ed_dtype_name(ctx->out[0].dtype));
    ED_TRY(ed_infer_list(ctx, 0, &dims));
    if (dims.n > ED_MAX_RANK || (list->rank == 1 && list->dim[0] > ED_MAX_RANK))
        return ed_infer_fail(ctx, ED_EUNSUPPORTED, "the output would have more than %d dimensions",
                             ED_MAX_RANK);
    if (dims.n < 0) {
        ctx->out[0].shape.rank = list->rank == 1 ? (int)list->dim[0] : -1;
        for (int i = 0; i < ctx->out[0].shape.rank; i++)
            ctx->out[0].shape.dim[i] = ED_DIM_UNKNOWN;
        return ED_OK;
    }
    ctx->out[0].shape.rank = dims.n;
    for (int i = 0; i < dims.n; i++) {
        if (dims.v[i] < 0)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "dimension %d of the output would be %lld; it "
                                 "must not be negative",
                                 i, (long long)dims.v[i]);
        ctx->out[0].shape.dim[i] = dims.v[i];
    }
    return ED_OK;
}

static int fill_forward(const ed_call *c)
{
    static const int64_t zero = 0;
    const ed_attr *value = ed_node_attr(c->node, "value");
    ed_tensor *y = c->out[0];
    ed_strided from = { 1, { y->numel }, { 0 } };

    ed_copy_strided(y->data, value ? value->tensor->data : &zero, ed_tensor_width(y), &from);
    return ED_OK;
}

/* ---- Range ---- */

enum { RANGE_DTYPES = 1u << ED_F32 | 1u << ED_F64 | 1u << ED_I16 | 1u << ED_I32 | 1u << ED_I64 };

static bool is_float(ed_dtype dtype)
{
    return dtype == ED_F32 || dtype == ED_F64;
}

/* ceil((limit - start) / delta), or 0; of floats as a quotient in double. */
static int count_steps(const ed_infer *ctx, int64_t *count)
{
    const ed_tensor *const *t = ctx->constant;

    *count = 0;
    if (ed_tensor_get_f64(t[2], 0) == 0)
        return ed_infer_fail(ctx, ED_EFORMAT, "delta is 0; it must be another number");
    if (is_float(t[0]->dtype)) {
        double span = ed_tensor_get_f64(t[1], 0) - ed_tensor_get_f64(t[0], 0);
        double steps = ceil(span / ed_tensor_get_f64(t[2], 0));
        if (!(steps < 1e15))
            return ed_infer_fail(ctx, ED_ESHAPE, "the range would have %g numbers", steps);
        *count = steps > 0 ? (int64_t)steps : 0;
        return ED_OK;
    }
    int64_t start = ed_tensor_get_i64(t[0], 0), limit = ed_tensor_get_i64(t[1], 0);
    int64_t delta = ed_tensor_get_i64(t[2], 0), span;
    if (__builtin_sub_overflow(limit, start, &span) || delta == INT64_MIN)
        return ed_infer_fail(ctx, ED_ESHAPE, "the range's limits are too far apart");
    if ((span > 0) == (delta > 0) && span != 0)
        *count = (span > 0 ? span - 1 : span + 1) / delta + 1;
    return ED_OK;
}

static int range_infer(ed_infer *ctx)
{
    bool known = true;

    ctx->out[0] = (ed_type){ ctx->in[0].dtype, ED_SHAPE(ED_DIM_UNKNOWN) };
    for (uint32_t i = 0; i < 3; i++) {
        const ed_shape *s = &ctx->in[i].shape;
        ED_TRY(ed_infer_dtypes(ctx, i, RANGE_DTYPES));
        if (s->rank > 1 || (s->rank == 1 && s->dim[0] >= 0 && s->dim[0] != 1))
            return ed_infer_fail(ctx, ED_ESHAPE, "input %u is a tensor; it must be one number", i);
        if (ctx->in[i].dtype != ED_DTYPE_NONE && ctx->out[0].dtype != ED_DTYPE_NONE &&
            ctx->in[i].dtype != ctx->out[0].dtype)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "input %u is %s, input 0 is %s; they must be of "
                                 "one type",
                                 i, ed_dtype_name(ctx->in[i].dtype),
                                 ed_dtype_name(ctx->out[0].dtype));
        known = known && ctx->constant[i];
    }
    return known ? count_steps(ctx, &ctx->out[0].shape.dim[0]) : ED_OK;
}

static int range_forward(const ed_call *c)
{
    ed_tensor *y = c->out[0];
    double start = ed_tensor_get_f64(c->in[0], 0), delta = ed_tensor_get_f64(c->in[2], 0);
    int64_t whole = ed_tensor_get_i64(c->in[0], 0), step = ed_tensor_get_i64(c->in[2], 0);

    for (int64_t i = 0; i < y->numel; i++) {
        if (y->dtype == ED_F32)
            ((float *)y->data)[i] = (float)(start + (double)i * delta);
        else if (y->dtype == ED_F64)
            ((double *)y->data)[i] = start + (double)i * delta;
        else if (y->dtype == ED_I16)
            ((int16_t *)y->data)[i] = (int16_t)(whole + i * step);
        else if (y->dtype == ED_I32)
            ((int32_t *)y->data)[i] = (int32_t)(whole + i * step);
        else
            ((int64_t *)y->data)[i] = whole + i * step;
    }
    return ED_OK;
}

/* start + i delta: the limit only says how many. */
static int range_gradient(ed_grad *g)
{
    const ed_shape y = *ed_grad_shape(g, g->out[0]);
    ed_tensor *t;
    ed_id i, d;

    ED_TRY(ed_grad_give_broadcast(g, 0, ed_grad_dy(g)));
    if (!ed_grad_wants(g, 2))
        return ED_OK;
    ED_TRY(ed_tensor_new(&t, ED_F32, &y));
    for (int64_t k = 0; k < t->numel; k++)
        ((float *)t->data)[k] = (float)k;
    ED_TRY(ed_graph_add_constant_take(g->graph, &i, "steps", t));
    ED_TRY(ed_grad_binary(g, &d, "Mul", ed_grad_dy(g), i));
    return ed_grad_give_broadcast(g, 2, d);
}

const ed_op ed_ops_shape_value[] = {
    { .type = "Shape",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_READS_SHAPE,
      .attrs = shape_attrs,
      .params_size = sizeof(shape_params),
      .infer = shape_infer,
      .forward = { ED_REFERENCE(shape_forward) },
      .gradient = ed_gradient_none },
    { .type = "Size",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_READS_SHAPE,
      .infer = size_infer,
      .forward = { ED_REFERENCE(size_forward) },
      .gradient = ed_gradient_none },
    { .type = "ConstantOfShape",
      .opset = { 9, 0 },
      .arity = { 1, 1, 1 },
      .infer = fill_infer,
      .forward = { ED_REFERENCE(fill_forward) },
      .gradient = ed_gradient_none },
    { .type = "Range",
      .opset = { 11, 0 },
      .arity = { 3, 3, 1 },
      .infer = range_infer,
      .forward = { ED_REFERENCE(range_forward) },
      .gradient = range_gradient },
    { 0 },
};
