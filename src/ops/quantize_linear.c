/*
 * Integers of quantized models as the file states them, where the reader makes no FakeQuantize of
 * them: blocked scales, scales computed while the model runs, integers that are an output.
 *
 * QuantizeLinear (ONNX opset 10, 13, 19, 21, 23)   q = saturate(rne(x / scale) + zero_point)
 * DequantizeLinear (10, 13, 19, 21, 23)            y = (q - zero_point) * scale
 *
 * scale and zero_point are one number, one for each element of `axis`, or with block_size B one for
 * each B neighbours along it (the last block may be smaller). NaN becomes the lowest level, as in
 * FakeQuantize. The type of q is zero_point's, else output_dtype (a number of ONNX), else uint8.
 *
 * They have no gradients: what trains is FakeQuantize; integers in between carry none.
 */
#include "base/parallel.h"
#include "ops/op.h"
#include "tensor/dtype.h"

#include <math.h>

typedef struct linear_params {
    int64_t axis, block_size, output_dtype;
} linear_params;

enum {
    LEVELS = 1u << ED_I8 | 1u << ED_U8 | 1u << ED_I16 | 1u << ED_U16 | 1u << ED_I4 | 1u << ED_U4
};

/* ---- kernels ---- */

/* Which scale an element has. */
typedef struct scale_map {
    int64_t inner, size, block; /* elements behind the axis, along it, and of a block */
    bool single, blocked;
} scale_map;

static scale_map scales_of(const ed_call *c)
{
    const linear_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape;
    scale_map s = { 1, 1, p->block_size ? p->block_size : 1, c->in[1]->numel == 1,
                    p->block_size > 0 };
    int axis = (int)(p->axis < 0 ? p->axis + x->rank : p->axis);

    for (int i = axis; !s.single && i < x->rank; i++)
        *(i == axis ? &s.size : &s.inner) *= x->dim[i];
    return s;
}

static int64_t scale_at(const scale_map *s, int64_t i)
{
    int64_t along = i / s->inner % s->size, blocks = (s->size + s->block - 1) / s->block;

    if (s->single)
        return 0;
    if (!s->blocked)
        return along;
    return (i / s->inner / s->size * blocks + along / s->block) * s->inner + i % s->inner;
}

static int64_t zero_at(const ed_call *c, int64_t k)
{
    return c->n_in > 2 && c->in[2] ? ed_tensor_get_i64(c->in[2], k) : 0;
}

/* The nearest integer of 32 bits, of NaN the lowest. */
static int64_t nearest(float x)
{
    double r = rint((double)x);
    return r >= INT32_MAX ? INT32_MAX : r > INT32_MIN ? (int64_t)r : INT32_MIN;
}

static int quantize_forward(const ed_call *c)
{
    const float *x = c->in[0]->data, *scale = c->in[1]->data;
    const scale_map s = scales_of(c);

    for (int64_t i = 0; i < c->in[0]->numel; i++) {
        int64_t k = scale_at(&s, i);
        ed_tensor_put_i64(c->out[0], i, nearest(x[i] / scale[k]) + zero_at(c, k));
    }
    return ED_OK;
}

static void dequantize_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const ed_call *c = ctx;
    const float *scale = c->in[1]->data;
    const scale_map s = scales_of(c);

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t k = scale_at(&s, i);
        ((float *)c->out[0]->data)[i] =
            (float)(ed_tensor_get_i64(c->in[0], i) - zero_at(c, k)) * scale[k];
    }
}

static int dequantize_forward(const ed_call *c)
{
    enum { GRAIN = 4096 };
    ed_call call = *c;
    ed_parallel_for(c->in[0]->numel, GRAIN, dequantize_range, &call);
    return ED_OK;
}

/* ---- inference ---- */

/* Whether the scale's shape fits x; sizes that are not known yet do. */
static bool fits(const ed_shape *scale, const ed_shape *x, int axis, int64_t block)
{
    int64_t both;

    if (scale->rank < 0 || x->rank < 0)
        return true;
    if (!block)
        return scale->rank == 1 && ed_dim_unify(&both, scale->dim[0], x->dim[axis]);
    if (scale->rank != x->rank)
        return false;
    for (int i = 0; i < x->rank; i++) {
        int64_t size = x->dim[i];
        if (i == axis && size > 0)
            size = size / block + (size % block != 0);
        if (!ed_dim_unify(&both, scale->dim[i], size))
            return false;
    }
    return true;
}

static int check_shapes(const ed_infer *ctx, const linear_params *p)
{
    const ed_shape *x = &ctx->in[0].shape, *scale = &ctx->in[1].shape;
    char text[2][128];
    int axis = 0;
    bool may_be_one = scale->rank == 0 || (scale->rank == 1 && scale->dim[0] <= 1 &&
                                           scale->dim[0] != 0 && !p->block_size);

    if (p->block_size < 0)
        return ed_infer_fail(ctx, ED_EFORMAT, "block_size is %lld; it must not be negative",
                             (long long)p->block_size);
    if (may_be_one || x->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    if (fits(scale, x, axis, p->block_size))
        return ED_OK;
    return ed_infer_fail(ctx, ED_ESHAPE,
                         "scale has the shape %s, x %s; with axis %d and block_size %lld it must "
                         "have one number for each %s",
                         ed_shape_format(text[0], sizeof text[0], scale),
                         ed_shape_format(text[1], sizeof text[1], x), axis,
                         (long long)p->block_size, p->block_size ? "block" : "element of the axis");
}

static int check_scales(const ed_infer *ctx)
{
    const linear_params *p = ctx->params;
    int64_t scales = 0, zeros = 0;

    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_F32));
    ED_TRY(check_shapes(ctx, p));
    if (ed_node_in(ctx->node, 2) != ED_NONE && ed_shape_known(&ctx->in[1].shape) &&
        ed_shape_known(&ctx->in[2].shape)) {
        ED_TRY(ed_shape_numel(&scales, &ctx->in[1].shape));
        ED_TRY(ed_shape_numel(&zeros, &ctx->in[2].shape));
    }
    if (scales != zeros)
        return ed_infer_fail(ctx, ED_ESHAPE, "it has %lld scales, but %lld zero points",
                             (long long)scales, (long long)zeros);
    return ed_infer_scales(ctx, 1);
}

static int infer_quantize(ed_infer *ctx)
{
    const linear_params *p = ctx->params;
    ed_dtype zeros = ctx->n_in > 2 ? ctx->in[2].dtype : ED_DTYPE_NONE, wanted = ED_U8;

    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 2, LEVELS));
    ED_TRY(check_scales(ctx));
    if (p->output_dtype)
        wanted = ed_dtype_of_number(p->output_dtype);
    else if (zeros != ED_DTYPE_NONE)
        wanted = zeros;
    if (!(LEVELS & 1u << wanted) || (zeros != ED_DTYPE_NONE && zeros != wanted))
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "output_dtype is the type number %lld, zero_point is %s; both must be "
                             "one integer type of 4, 8 or 16 bits",
                             (long long)p->output_dtype, ed_dtype_name(zeros));
    ctx->out[0] = (ed_type){ wanted, ctx->in[0].shape };
    return ED_OK;
}

static int infer_dequantize(ed_infer *ctx)
{
    const linear_params *p = ctx->params;

    ED_TRY(ed_infer_dtypes(ctx, 0, LEVELS | 1u << ED_I32));
    ED_TRY(check_scales(ctx));
    if (ed_node_in(ctx->node, 2) != ED_NONE && ctx->in[2].dtype != ctx->in[0].dtype)
        return ed_infer_fail(ctx, ED_EFORMAT, "x is %s, zero_point %s; they must be of one type",
                             ed_dtype_name(ctx->in[0].dtype), ed_dtype_name(ctx->in[2].dtype));
    if (p->output_dtype && ed_dtype_of_number(p->output_dtype) != ED_F32)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "output_dtype is the type number %lld; only float32 (1) is computed",
                             (long long)p->output_dtype);
    ctx->out[0] = (ed_type){ ED_F32, ctx->in[0].shape };
    return ED_OK;
}

static const ed_attr_spec linear_attrs[] = {
    ED_ATTR_I64_OF("axis", linear_params, axis, 1),
    ED_ATTR_I64_OF("block_size", linear_params, block_size, 0),
    ED_ATTR_I64_OF("output_dtype", linear_params, output_dtype, 0),
    { 0 },
};

const ed_op ed_ops_quantize_linear[] = {
    { .type = "QuantizeLinear",
      .opset = { 10, 0 },
      .arity = { 2, 3, 1 },
      .attrs = linear_attrs,
      .params_size = sizeof(linear_params),
      .infer = infer_quantize,
      .forward = { ED_REFERENCE(quantize_forward) } },
    { .type = "DequantizeLinear",
      .opset = { 10, 0 },
      .arity = { 2, 3, 1 },
      .attrs = linear_attrs,
      .params_size = sizeof(linear_params),
      .infer = infer_dequantize,
      .forward = { ED_REFERENCE(dequantize_forward) } },
    { 0 },
};
