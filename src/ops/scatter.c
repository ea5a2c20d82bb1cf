/*
 * Writing at indices into a copy of the data; a negative index counts from the end.
 *
 * ScatterND (ONNX opset 11, 13; 16, 18 reduction)         y[indices[j.., :], ..] = updates[j.., ..]
 * ScatterElements (11, 13; 16, 18), Scatter (9)           y[i with its axis replaced by indices[i]]
 *                                                         = updates[i]
 *
 * reduction add, mul, max, min combine what stands there with the update, in order.
 */
#include "ops/gradient.h"
#include "ops/indices.h"
#include "ops/strided.h"

#include <string.h>

typedef struct scatter_params {
    int64_t axis;
    int reduction;
} scatter_params;

static const char *const reductions[] = { "none", "add", "mul", "max", "min", NULL };

static const ed_attr_spec scatter_attrs[] = {
    ED_ATTR_I64_OF("axis", scatter_params, axis, 0),
    ED_ATTR_ENUM_OF("reduction", scatter_params, reduction, reductions),
    { 0 },
};

/* ---- combining n elements ---- */

#define DEFINE_REDUCTIONS(type, wide)                                                              \
    static void add_##type(void *to, const void *from, int64_t n)                                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((type *)to)[i] = (type)((wide)((type *)to)[i] + (wide)((const type *)from)[i]);       \
    }                                                                                              \
    static void mul_##type(void *to, const void *from, int64_t n)                                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((type *)to)[i] = (type)((wide)((type *)to)[i] * (wide)((const type *)from)[i]);       \
    }                                                                                              \
    static void max_##type(void *to, const void *from, int64_t n)                                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            if (((const type *)from)[i] > ((type *)to)[i])                                         \
                ((type *)to)[i] = ((const type *)from)[i];                                         \
    }                                                                                              \
    static void min_##type(void *to, const void *from, int64_t n)                                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            if (((const type *)from)[i] < ((type *)to)[i])                                         \
                ((type *)to)[i] = ((const type *)from)[i];                                         \
    }

/* `wide`: of integers the unsigned sums and products are the same bits, and defined where they
 * overflow. */
DEFINE_REDUCTIONS(float, float)
DEFINE_REDUCTIONS(double, double)
DEFINE_REDUCTIONS(int32_t, uint32_t)
DEFINE_REDUCTIONS(int64_t, uint64_t)

typedef void (*combine_fn)(void *to, const void *from, int64_t n);

static const combine_fn combines[][ED_DTYPE_COUNT] = {
    { NULL },
    { [ED_F32] = add_float, [ED_F64] = add_double, [ED_I32] = add_int32_t, [ED_I64] = add_int64_t },
    { [ED_F32] = mul_float, [ED_F64] = mul_double, [ED_I32] = mul_int32_t, [ED_I64] = mul_int64_t },
    { [ED_F32] = max_float, [ED_F64] = max_double, [ED_I32] = max_int32_t, [ED_I64] = max_int64_t },
    { [ED_F32] = min_float, [ED_F64] = min_double, [ED_I32] = min_int32_t, [ED_I64] = min_int64_t },
};

enum { COMBINED = 1u << ED_F32 | 1u << ED_F64 | 1u << ED_I32 | 1u << ED_I64 };

static void combine(ed_tensor *y, int64_t at, const void *from, int64_t n, int reduction)
{
    char *to = (char *)y->data + (size_t)at * ed_tensor_width(y);

    if (reduction == 0)
        memcpy(to, from, (size_t)n * ed_tensor_width(y));
    else
        combines[reduction][y->dtype](to, from, n);
}

/* ---- inference ---- */

static int check_types(ed_infer *ctx)
{
    const scatter_params *p = ctx->params;

    ED_TRY(ed_infer_dtypes(ctx, 0, p->reduction ? COMBINED : ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64 | 1u << ED_I32));
    ctx->out[0] = ctx->in[0];
    if (ctx->in[0].dtype != ED_DTYPE_NONE && ctx->in[2].dtype != ED_DTYPE_NONE &&
        ctx->in[0].dtype != ctx->in[2].dtype)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the updates are %s, the data %s; they must be of one "
                             "type",
                             ed_dtype_name(ctx->in[2].dtype), ed_dtype_name(ctx->in[0].dtype));
    return ED_OK;
}

static int refuse_updates(const ed_infer *ctx)
{
    char updates[128], indices[128], data[128];

    return ed_infer_fail(ctx, ED_ESHAPE,
                         "updates of the shape %s do not belong to indices of %s "
                         "into data of %s",
                         ed_shape_format(updates, sizeof updates, &ctx->in[2].shape),
                         ed_shape_format(indices, sizeof indices, &ctx->in[1].shape),
                         ed_shape_format(data, sizeof data, &ctx->in[0].shape));
}

static bool differ(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && a != b;
}

static int nd_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape, *list = &ctx->in[1].shape, *u = &ctx->in[2].shape;

    ED_TRY(check_types(ctx));
    if (x->rank < 0 || list->rank < 0 || u->rank < 0)
        return ED_OK;
    if (list->rank == 0)
        return refuse_updates(ctx);
    int64_t length = list->dim[list->rank - 1];
    if (length < 0)
        return ED_OK;
    if (length > x->rank || u->rank != list->rank - 1 + x->rank - length)
        return refuse_updates(ctx);
    for (int i = 0; i < u->rank; i++) {
        int behind = i - (list->rank - 1);
        if (differ(u->dim[i], behind < 0 ? list->dim[i] : x->dim[length + behind]))
            return refuse_updates(ctx);
    }
    return ED_OK;
}

static int elements_infer(ed_infer *ctx)
{
    const scatter_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *list = &ctx->in[1].shape, *u = &ctx->in[2].shape;
    int axis;

    ED_TRY(check_types(ctx));
    if (x->rank < 0 || list->rank < 0 || u->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    if (x->rank != list->rank || x->rank != u->rank)
        return refuse_updates(ctx);
    for (int i = 0; i < x->rank; i++)
        if (differ(u->dim[i], list->dim[i]) ||
            (i != axis && x->dim[i] >= 0 && list->dim[i] > x->dim[i]))
            return refuse_updates(ctx);
    return ED_OK;
}

/* ---- kernels ---- */

static int nd_forward(const ed_call *c)
{
    const scatter_params *p = c->params;
    const ed_tensor *indices = c->in[1], *updates = c->in[2];
    ed_tensor *y = c->out[0];
    int length = (int)indices->shape.dim[indices->shape.rank - 1];
    int64_t tuples = 1, inner = 1, place;

    ED_TRY(ed_copy_forward(c));
    for (int i = 0; i < indices->shape.rank - 1; i++)
        tuples *= indices->shape.dim[i];
    for (int i = length; i < y->shape.rank; i++)
        inner *= y->shape.dim[i];
    size_t bytes = (size_t)inner * ed_tensor_width(y);
    for (int64_t t = 0; t < tuples && inner > 0; t++) {
        ED_TRY(ed_tuple_place(&place, indices, t, &y->shape, 0));
        combine(y, place * inner, (const char *)updates->data + (size_t)t * bytes, inner,
                p->reduction);
    }
    return ED_OK;
}

static int elements_forward(const ed_call *c)
{
    const scatter_params *p = c->params;
    const ed_tensor *indices = c->in[1], *updates = c->in[2];
    ed_tensor *y = c->out[0];
    int axis = (int)(p->axis < 0 ? p->axis + y->shape.rank : p->axis);
    int64_t steps[ED_MAX_RANK], size = y->shape.dim[axis];
    size_t width = ed_tensor_width(y);
    ed_element_place place = { 0 };

    ED_TRY(ed_copy_forward(c));
    ED_TRY(ed_indices_check(indices, size));
    ed_steps_of(steps, &y->shape);
    for (int64_t i = 0; i < indices->numel; i++) {
        int64_t index = ed_tensor_get_i64(indices, i);

        combine(y, place.at + (index < 0 ? index + size : index) * steps[axis],
                (const char *)updates->data + (size_t)i * width, 1, p->reduction);
        ed_element_next(&place, &indices->shape, steps, axis);
    }
    return ED_OK;
}

/* ---- gradients: of the data dy without what was written over, of the updates dy read there ----
 */

static int scatter_gradient(ed_grad *g, const char *scatter, const char *gather)
{
    const scatter_params *p = g->params;
    const ed_shape shape = *ed_grad_shape(g, g->in[2]);
    ed_id dx = ed_grad_dy(g), zeros;

    if (p->reduction > 1)
        return ed_grad_fail(g, ED_EUNSUPPORTED,
                            "the reduction %s has no gradient; only none and add have one",
                            reductions[p->reduction]);
    if (ed_grad_wants(g, 0) && p->reduction == 0) {
        ED_TRY(ed_grad_zeros(g, &zeros, &shape));
        ED_TRY(ed_grad_emit_like(g, &dx, scatter, (ed_id[]){ dx, g->in[1], zeros }, 3));
    }
    ED_TRY(ed_grad_give(g, 0, dx));
    if (!ed_grad_wants(g, 2))
        return ED_OK;
    if (!gather)
        return ed_grad_fail(g, ED_EUNSUPPORTED,
                            "the updates have no gradient before opset 11; convert the model to "
                            "opset 11 or later");
    ED_TRY(ed_grad_emit_like(g, &dx, gather, (ed_id[]){ ed_grad_dy(g), g->in[1] }, 2));
    return ed_grad_give(g, 2, dx);
}

static int scatter_nd_gradient(ed_grad *g)
{
    return scatter_gradient(g, "ScatterND", "GatherND");
}

static int scatter_elements_gradient(ed_grad *g)
{
    return scatter_gradient(g, "ScatterElements", "GatherElements");
}

static int early_scatter_gradient(ed_grad *g)
{
    return scatter_gradient(g, "Scatter", NULL);
}

#define SCATTER_ROW(name, first, last, infer_fn, forward_fn, gradient_fn)                          \
    {                                                                                              \
        .type = name, .opset = { first, last }, .arity = { 3, 3, 1 }, .attrs = scatter_attrs,      \
        .params_size = sizeof(scatter_params), .infer = infer_fn,                                  \
        .forward = { ED_REFERENCE(forward_fn) }, .gradient = gradient_fn                           \
    }

const ed_op ed_ops_scatter[] = {
    SCATTER_ROW("ScatterND", 11, 0, nd_infer, nd_forward, scatter_nd_gradient),
    SCATTER_ROW("ScatterElements", 11, 0, elements_infer, elements_forward,
                scatter_elements_gradient),
    SCATTER_ROW("Scatter", 9, 10, elements_infer, elements_forward, early_scatter_gradient),
    { 0 },
};
