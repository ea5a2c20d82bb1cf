/*
 * DepthToSpace (ONNX opset 1; 11, 13 mode)   [N, C, H, W] -> [N, C / b^2, H b, W b]: channel
 *     (i, j, c) of DCR, or (c, i, j) of CRD, goes to row h b + i and column w b + j
 * SpaceToDepth (1, 13)                       the way back of DCR
 */
#include "ops/gradient.h"
#include "ops/strided.h"

typedef struct space_params {
    int64_t blocksize;
    int mode;
} space_params;

enum { MODE_DCR, MODE_CRD };
static const char *const modes[] = { "DCR", "CRD", NULL };

static const ed_attr_spec space_attrs[] = {
    { "blocksize", ED_KIND_I64, offsetof(space_params, blocksize), 0, NULL, true },
    ED_ATTR_ENUM_OF("mode", space_params, mode, modes),
    { 0 },
};

static int check(ed_infer *ctx)
{
    const space_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (p->blocksize < 1 || p->blocksize > 1 << 15)
        return ed_infer_fail(ctx, ED_EFORMAT, "blocksize is %lld; it must be 1 to 32768",
                             (long long)p->blocksize);
    if (x->rank >= 0 && x->rank != 4)
        return ed_infer_fail(ctx, ED_ESHAPE, "the input has rank %d; it must be [N, C, H, W]",
                             x->rank);
    return ED_OK;
}

static int times(const ed_infer *ctx, int64_t *dim, int64_t factor)
{
    if (*dim >= 0 && !ed_mul_i64(*dim, factor, dim))
        return ed_infer_fail(ctx, ED_ESHAPE, "a dimension times %lld overflows", (long long)factor);
    *dim = *dim < 0 && factor != 1 ? ED_DIM_UNKNOWN : *dim;
    return ED_OK;
}

static int divided(const ed_infer *ctx, int64_t *dim, int64_t factor)
{
    if (*dim >= 0 && *dim % factor != 0)
        return ed_infer_fail(ctx, ED_ESHAPE, "a dimension of %lld is no multiple of %lld",
                             (long long)*dim, (long long)factor);
    *dim = *dim >= 0 ? *dim / factor : factor == 1 ? *dim : ED_DIM_UNKNOWN;
    return ED_OK;
}

static int to_space_infer(ed_infer *ctx)
{
    int64_t b = ((const space_params *)ctx->params)->blocksize;
    ed_shape *y = &ctx->out[0].shape;

    ED_TRY(check(ctx));
    *y = ctx->in[0].shape;
    if (y->rank < 0)
        return ED_OK;
    ED_TRY(divided(ctx, &y->dim[1], b * b));
    ED_TRY(times(ctx, &y->dim[2], b));
    return times(ctx, &y->dim[3], b);
}

static int to_depth_infer(ed_infer *ctx)
{
    int64_t b = ((const space_params *)ctx->params)->blocksize;
    ed_shape *y = &ctx->out[0].shape;

    ED_TRY(check(ctx));
    *y = ctx->in[0].shape;
    if (y->rank < 0)
        return ED_OK;
    ED_TRY(times(ctx, &y->dim[1], b * b));
    ED_TRY(divided(ctx, &y->dim[2], b));
    return divided(ctx, &y->dim[3], b);
}

static int to_space_forward(const ed_call *c)
{
    const space_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape, *y = &c->out[0]->shape;
    int64_t b = p->blocksize, plane = x->dim[2] * x->dim[3], channels = y->dim[1];
    bool crd = p->mode == MODE_CRD;
    int64_t i_step = crd ? b * plane : b * channels * plane,
            j_step = crd ? plane : channels * plane;
    ed_strided from = { 6,
                        { x->dim[0], channels, x->dim[2], b, x->dim[3], b },
                        { x->dim[1] * plane, crd ? b * b * plane : plane, x->dim[3], i_step, 1,
                          j_step } };

    ed_copy_strided(c->out[0]->data, c->in[0]->data, ed_tensor_width(c->in[0]), &from);
    return ED_OK;
}

static int to_depth_forward(const ed_call *c)
{
    int64_t b = ((const space_params *)c->params)->blocksize;
    const ed_shape *x = &c->in[0]->shape, *y = &c->out[0]->shape;
    int64_t row = x->dim[3], plane = x->dim[2] * row;
    ed_strided from = { 6,
                        { x->dim[0], b, b, x->dim[1], y->dim[2], y->dim[3] },
                        { x->dim[1] * plane, row, 1, plane, b * row, b } };

    ed_copy_strided(c->out[0]->data, c->in[0]->data, ed_tensor_width(c->in[0]), &from);
    return ED_OK;
}

static int to_space_gradient(ed_grad *g)
{
    const space_params *p = g->params;
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    const int64_t b = p->blocksize;
    const ed_attr attrs[] = { { .name = "blocksize", .type = ED_ATTR_INT, .i = b }, { 0 } };
    ed_id dx = ed_grad_dy(g);

    if (p->mode == MODE_DCR) {
        ED_TRY(ed_grad_emit_node(g, &dx, 1, "SpaceToDepth", &dx, 1, attrs));
        return ed_grad_give(g, 0, dx);
    }
    ED_TRY(ed_grad_reshape(g, &dx, dx,
                           &ED_SHAPE(x.dim[0], x.dim[1] / (b * b), x.dim[2], b, x.dim[3], b)));
    ED_TRY(ed_grad_transpose(g, &dx, dx, (int64_t[]){ 0, 1, 3, 5, 2, 4 }));
    ED_TRY(ed_grad_reshape(g, &dx, dx, &x));
    return ed_grad_give(g, 0, dx);
}

static int to_depth_gradient(ed_grad *g)
{
    const space_params *p = g->params;
    const ed_attr attrs[] = { { .name = "blocksize", .type = ED_ATTR_INT, .i = p->blocksize },
                              { 0 } };
    ed_id dx = ed_grad_dy(g);

    ED_TRY(ed_grad_emit_node(g, &dx, 1, "DepthToSpace", &dx, 1, attrs));
    return ed_grad_give(g, 0, dx);
}

const ed_op ed_ops_space[] = {
    { .type = "DepthToSpace",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA,
      .attrs = space_attrs,
      .params_size = sizeof(space_params),
      .infer = to_space_infer,
      .forward = { ED_REFERENCE(to_space_forward) },
      .gradient = to_space_gradient },
    { .type = "SpaceToDepth",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA,
      .attrs = space_attrs,
      .params_size = sizeof(space_params),
      .infer = to_depth_infer,
      .forward = { ED_REFERENCE(to_depth_forward) },
      .gradient = to_depth_gradient },
    { 0 },
};
