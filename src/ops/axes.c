/*
 * Operators that add and take away dimensions of one element; every element keeps its place.
 *
 * Squeeze (ONNX opset 1, 11 attribute; 13 to 25 input)    without the axes (all of size 1 if none
 *                                                         are listed)
 * Unsqueeze (1, 11 attribute; 13 to 25 input)             with axes of size 1 there, counted in the
 *                                                         output
 */
#include "ops/gradient.h"
#include "ops/strided.h"

typedef struct axes_params {
    ed_ints axes; /* before opset 13 */
} axes_params;

static const ed_attr_spec axes_attrs[] = {
    ED_ATTR_INTS_OF("axes", axes_params, axes),
    { 0 },
};

/* The axes of either form; n is -1 when there are none, *varies when they are not constant. */
static int read_axes(const ed_infer *ctx, ed_ints *axes, bool *varies)
{
    *axes = ((const axes_params *)ctx->params)->axes;
    *varies = ed_node_in(ctx->node, 1) != ED_NONE && !ctx->constant[1];
    return ctx->n_in > 1 ? ed_infer_list(ctx, 1, axes) : ED_OK;
}

/* A bit for each axis. */
static int axes_mask(const ed_infer *ctx, const ed_ints *axes, int rank, unsigned *mask)
{
    *mask = 0;
    for (int i = 0; i < axes->n; i++) {
        int axis;

        ED_TRY(ed_infer_axis(ctx, axes->v[i], rank, &axis));
        if (*mask & (1u << axis))
            return ed_infer_fail(ctx, ED_ESHAPE, "axis %d is listed twice; it may be once", axis);
        *mask |= 1u << axis;
    }
    return ED_OK;
}

static int squeeze_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape y = { 0, { 0 } };
    ed_ints axes;
    unsigned mask;
    bool varies;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ED_TRY(read_axes(ctx, &axes, &varies));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (x->rank < 0 || varies)
        return ED_OK;
    ED_TRY(axes_mask(ctx, &axes, x->rank, &mask));
    for (int i = 0; i < x->rank; i++) {
        if (axes.n < 0 && x->dim[i] < 0)
            return ED_OK; /* it may be 1, or not: the rank stays open */
        if (axes.n < 0 ? x->dim[i] != 1 : !(mask & (1u << i)))
            y.dim[y.rank++] = x->dim[i];
        else if (x->dim[i] >= 0 && x->dim[i] != 1)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "axis %d has %lld elements; only one of size 1 can be squeezed", i,
                                 (long long)x->dim[i]);
    }
    ctx->out[0].shape = y;
    return ED_OK;
}

static int unsqueeze_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape y;
    ed_ints axes;
    unsigned mask;
    bool varies;
    int from = 0;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ED_TRY(read_axes(ctx, &axes, &varies));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (axes.n < 0 && !varies)
        return ed_infer_fail(ctx, ED_EFORMAT,
                             "the attribute 'axes' is missing; Unsqueeze requires it");
    if (x->rank < 0 || varies)
        return ED_OK;
    y.rank = x->rank + axes.n;
    if (y.rank > ED_MAX_RANK)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "the output would have %d dimensions; up to %d are supported", y.rank,
                             ED_MAX_RANK);
    ED_TRY(axes_mask(ctx, &axes, y.rank, &mask));
    for (int i = 0; i < y.rank; i++)
        y.dim[i] = mask & (1u << i) ? 1 : x->dim[from++];
    ctx->out[0].shape = y;
    return ED_OK;
}

#define AXES_ROW(name, first, last, least, most, fn)                                               \
    {                                                                                              \
        .type = name, .opset = { first, last }, .arity = { least, most, 1 },                       \
        .traits = ED_OP_MOVES_DATA | ED_OP_ALIAS, .attrs = axes_attrs,                             \
        .params_size = sizeof(axes_params), .infer = fn,                                           \
        .forward = { ED_REFERENCE(ed_copy_forward) }, .gradient = ed_gradient_reshape              \
    }

const ed_op ed_ops_axes[] = {
    AXES_ROW("Squeeze", 1, 12, 1, 1, squeeze_infer),
    AXES_ROW("Squeeze", 13, 0, 1, 2, squeeze_infer),
    AXES_ROW("Unsqueeze", 1, 12, 1, 1, unsqueeze_infer),
    AXES_ROW("Unsqueeze", 13, 0, 2, 2, unsqueeze_infer),
    { 0 },
};
