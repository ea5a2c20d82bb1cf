/*
 * Operators that keep every element where it lies and change the shape at most.
 *
 * Flatten (ONNX opset 1, 9, 11, 13 to 23)  [d0 * ... * d(axis-1), d(axis) * ... * d(n-1)]
 * Reshape (5, 13, 14 to 23)                to the shape of input 1: 0 copies the dimension at that
 *                                          place (allowzero: is 0), one -1 takes what remains
 * Identity (1 to 23), Dropout (7, 10)      y = x; Dropout of these opsets in inference
 *
 * A symbolic batch passes through where it is the only thing that a dimension can be: [N, 1280, 1,
 * 1] to
 * [-1, 1280] or [0, -1] is [N, 1280].
 */
#include "ops/gradient.h"
#include "ops/strided.h"

/* ---- products of dimensions of which some are not known ---- */

typedef struct product {
    int64_t known;   /* of the known ones */
    int unknowns;    /* number of the others */
    int64_t unknown; /* the last of them: a symbol or ED_DIM_UNKNOWN */
} product;

static int multiply(const ed_infer *ctx, product *p, int64_t dim)
{
    if (dim < 0) {
        p->unknowns++;
        p->unknown = dim;
    } else if (!ed_mul_i64(p->known, dim, &p->known)) {
        return ed_infer_fail(ctx, ED_ESHAPE, "the product of its dimensions overflows");
    }
    return ED_OK;
}

/* The product as one dimension: a lone unknown times 1 is that unknown. */
static int64_t as_dim(const product *p)
{
    if (p->unknowns == 0 || p->known == 0)
        return p->known;
    return p->unknowns == 1 && p->known == 1 ? p->unknown : ED_DIM_UNKNOWN;
}

/* ---- Flatten ---- */

typedef struct flatten_params {
    int64_t axis;
} flatten_params;

static const ed_attr_spec flatten_attrs[] = {
    ED_ATTR_I64_OF("axis", flatten_params, axis, 1),
    { 0 },
};

static int flatten_infer(ed_infer *ctx)
{
    const flatten_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    product rows = { 1, 0, 0 }, columns = { 1, 0, 0 };
    int axis = x->rank;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ctx->out[0].dtype = ctx->in[0].dtype;
    ctx->out[0].shape = ED_SHAPE(ED_DIM_UNKNOWN, ED_DIM_UNKNOWN);
    if (x->rank < 0)
        return ED_OK;
    if (p->axis != x->rank) /* unlike other axes it may stand behind the last dimension */
        ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    for (int i = 0; i < x->rank; i++)
        ED_TRY(multiply(ctx, i < axis ? &rows : &columns, x->dim[i]));
    ctx->out[0].shape = ED_SHAPE(as_dim(&rows), as_dim(&columns));
    return ED_OK;
}

/* ---- Reshape ---- */

typedef struct reshape_params {
    int64_t allowzero;
} reshape_params;

static const ed_attr_spec reshape_attrs[] = {
    ED_ATTR_I64_OF("allowzero", reshape_params, allowzero, 0),
    { 0 },
};

/* The wanted dimensions as they stand; rank and dimensions unknown when the target is no constant.
 */
static int read_target(const ed_infer *ctx, ed_shape *y)
{
    const ed_tensor *target = ctx->constant[1];
    const ed_shape *list = target ? &target->shape : &ctx->in[1].shape;

    *y = ED_SHAPE_UNKNOWN;
    if (list->rank < 0 || (list->rank == 1 && list->dim[0] < 0))
        return ED_OK;
    if (list->rank != 1 || list->dim[0] > ED_MAX_RANK)
        return ed_infer_fail(ctx, list->rank == 1 ? ED_EUNSUPPORTED : ED_ESHAPE,
                             "the target shape must be a list of at most %d dimensions",
                             ED_MAX_RANK);
    y->rank = (int)list->dim[0];
    for (int i = 0; i < y->rank; i++) {
        y->dim[i] = target ? ed_tensor_get_i64(target, i) : ED_DIM_UNKNOWN;
        if (y->dim[i] < -1)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "the target shape holds %lld; dimensions are >= 0, or -1 once",
                                 (long long)y->dim[i]);
    }
    return ED_OK;
}

/* Copied dimensions (0) in place of their zeros, taken off both sides; returns the place of -1 or
 * -2. */
static int settle_copies(const ed_infer *ctx, ed_shape *y, product *from, product *to, int *hole)
{
    const ed_shape *x = &ctx->in[0].shape;
    bool copy = ((const reshape_params *)ctx->params)->allowzero == 0;
    bool copied[ED_MAX_RANK] = { false };

    *hole = -1;
    for (int i = 0; i < y->rank; i++) {
        if (y->dim[i] == 0 && copy && i >= x->rank)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "the target shape copies dimension %d; the input has %d", i,
                                 x->rank);
        if (y->dim[i] == -1 && *hole >= 0)
            return ed_infer_fail(ctx, ED_ESHAPE, "the target shape holds -1 twice; it may once");
        if (y->dim[i] == 0 && copy) {
            copied[i] = true;
            y->dim[i] = x->dim[i];
        } else if (y->dim[i] == -1) {
            *hole = i;
        } else {
            ED_TRY(multiply(ctx, to, y->dim[i]));
        }
    }
    for (int i = 0; i < x->rank; i++)
        if (!copied[i])
            ED_TRY(multiply(ctx, from, x->dim[i]));
    return ED_OK;
}

static int refuse_sizes(const ed_infer *ctx, const ed_shape *y)
{
    char from[128], to[128];

    return ed_infer_fail(ctx, ED_ESHAPE, "the input %s does not have the elements of %s",
                         ed_shape_format(from, sizeof from, &ctx->in[0].shape),
                         ed_shape_format(to, sizeof to, y));
}

static int reshape_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape *y = &ctx->out[0].shape;
    product from = { 1, 0, 0 }, to = { 1, 0, 0 };
    int hole;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    ctx->out[0].dtype = ctx->in[0].dtype;
    ED_TRY(read_target(ctx, y));
    if (!ctx->constant[1])
        return ED_OK;
    if (x->rank < 0) {
        for (int i = 0; i < y->rank; i++)
            if (y->dim[i] == 0 && ((const reshape_params *)ctx->params)->allowzero == 0)
                y->dim[i] = ED_DIM_UNKNOWN;
        return ED_OK;
    }
    ED_TRY(settle_copies(ctx, y, &from, &to, &hole));
    if (hole >= 0 && from.unknowns == 1 && from.known == to.known && to.known != 0)
        y->dim[hole] = from.unknown;
    else if (hole >= 0 && from.unknowns == 0 && to.known != 0 && from.known % to.known == 0)
        y->dim[hole] = from.known / to.known;
    else if (from.unknowns == 0 && (hole >= 0 || from.known != to.known))
        return refuse_sizes(ctx, y);
    return ED_OK;
}

/* ---- Identity and Dropout ---- */

static int identity_infer(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    return ed_infer_same_as_input(ctx);
}

static int dropout_infer(ed_infer *ctx)
{
    ED_TRY(identity_infer(ctx));
    return ed_infer_unused_output(ctx, 1, ED_BOOL, "mask");
}

const ed_op ed_ops_shape[] = {
    { .type = "Flatten",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA | ED_OP_ALIAS,
      .attrs = flatten_attrs,
      .params_size = sizeof(flatten_params),
      .infer = flatten_infer,
      .forward = { ED_REFERENCE(ed_copy_forward) },
      .gradient = ed_gradient_reshape },
    { .type = "Reshape",
      .opset = { 5, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_MOVES_DATA | ED_OP_ALIAS,
      .attrs = reshape_attrs,
      .params_size = sizeof(reshape_params),
      .infer = reshape_infer,
      .forward = { ED_REFERENCE(ed_copy_forward) },
      .gradient = ed_gradient_reshape },
    { .type = "Identity",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA | ED_OP_ALIAS,
      .infer = identity_infer,
      .forward = { ED_REFERENCE(ed_copy_forward) },
      .gradient = ed_gradient_reshape },
    { .type = "Dropout",
      .opset = { 7, 11 },
      .arity = { 1, 1, 2 },
      .traits = ED_OP_MOVES_DATA | ED_OP_ALIAS,
      .infer = dropout_infer,
      .forward = { ED_REFERENCE(ed_copy_forward) },
      .gradient = ed_gradient_reshape },
    { 0 },
};
