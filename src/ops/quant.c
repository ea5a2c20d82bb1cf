/*
 * FakeQuantize (domain "ed"): QuantizeLinear and DequantizeLinear as one operator on float32,
 *
 *     y = (saturate(rne(x / scale) + zero_point) - zero_point) * scale
 *
 * with a true division and rounding half to even, bit for bit what ONNX Runtime computes from the
 * pair. Infinity saturates. NaN becomes the lowest level, as in ONNX Runtime on x86: it
 * must have a value, and the data reader refuses NaN long before. Inputs: x, scale (one number, or
 * one per element of `axis`), zero_point (int32, optional: 0).
 *
 * Its gradients, with r = rne(x / scale), lo = qmin - zero_point, hi = qmax - zero_point:
 *
 * FakeQuantizeGrad(dy, x, scale, zero_point)       dx = lo <= r <= hi ? dy : 0 (straight-through)
 * FakeQuantizeScaleGrad(dy, x, scale, zero_point)  of the scale's shape, summed in double (LSQ;
 *     Esser et al. 2019, without their factor): sum dy (r < lo ? lo : r > hi ? hi : r - x / scale)
 *
 * There too NaN is the lowest level.
 */
#include "ops/fast.h"
#include "ops/gradient.h"

/* ---- reference kernels: scale and zero_point follow input `x` ---- */
static ed_fake_quant quant_of(const ed_call *c, uint32_t x)
{
    const ed_fake_quant_params *p = c->params;
    const ed_tensor *zero_point = c->n_in > x + 2 ? c->in[x + 2] : NULL;
    const ed_shape *shape = &c->in[x]->shape;
    ed_fake_quant q = {
        1, 1, 1, c->in[x + 1]->data, zero_point ? zero_point->data : NULL, p->qmin, p->qmax
    };

    for (int i = 0; i < shape->rank; i++)
        *(i == p->axis ? &q.channels : i < p->axis ? &q.outer : &q.inner) *= shape->dim[i];
    return q;
}

static int fake_quantize_forward(const ed_call *c)
{
    ed_fake_quant q = quant_of(c, 0);
    ed_fake_quantize(c->out[0]->data, c->in[0]->data, &q);
    return ED_OK;
}

static int grad_forward(const ed_call *c)
{
    ed_fake_quant q = quant_of(c, 1);
    ed_fake_quantize_grad(c->out[0]->data, c->in[0]->data, c->in[1]->data, &q);
    return ED_OK;
}

static int scale_grad_forward(const ed_call *c)
{
    ed_fake_quant q = quant_of(c, 1);
    ed_fake_quantize_scale_grad(c->out[0]->data, c->in[0]->data, c->in[1]->data, &q);
    return ED_OK;
}

/* ---- inference ---- */
static int check_params(const ed_infer *ctx, const ed_fake_quant_params *p)
{
    if (p->qmin >= p->qmax || p->qmin < -32768 || p->qmax > 65535)
        return ed_infer_fail(ctx, ED_EFORMAT,
                             "the integers go from %lld to %lld; they must lie in 16 bits, the "
                             "lowest first",
                             (long long)p->qmin, (long long)p->qmax);
    if (p->axis < -1 || (ctx->in[0].shape.rank >= 0 && p->axis >= ctx->in[0].shape.rank))
        return ed_infer_fail(
            ctx, ED_ESHAPE,
            "axis %lld is not one of the input's %d dimensions (or -1 for a single "
            "scale)",
            (long long)p->axis, ctx->in[0].shape.rank);
    return ED_OK;
}

/* Shape of scale or zero_point: one number, or one for each element of the axis. */
static int check_count(const ed_infer *ctx, uint32_t i, const char *name, int64_t axis)
{
    const ed_shape *s = &ctx->in[i].shape, *x = &ctx->in[0].shape;
    int64_t want = axis < 0 ? 1 : x->rank < 0 ? ED_DIM_UNKNOWN : x->dim[axis], both = 0;
    char text[128];

    bool ok = s->rank < 0 || (s->rank == 0 && axis < 0) ||
              (s->rank == 1 && ed_dim_unify(&both, s->dim[0], want));
    if (ok)
        return ED_OK;
    return ed_infer_fail(ctx, ED_ESHAPE, "%s has the shape %s; it must have %lld number%s", name,
                         ed_shape_format(text, sizeof text, s), (long long)want,
                         want == 1 ? "" : "s along its axis");
}

static int check_values(const ed_infer *ctx, const ed_fake_quant_params *p)
{
    const ed_tensor *zero_point = ctx->n_in > 2 ? ctx->constant[2] : NULL;
    ED_TRY(ed_infer_scales(ctx, 1));
    for (int64_t i = 0; zero_point && i < zero_point->numel; i++) {
        int64_t z = ed_tensor_get_i64(zero_point, i);
        if (z < p->qmin || z > p->qmax)
            return ed_infer_fail(
                ctx, ED_EFORMAT, "zero_point %lld is %lld; it must lie in %lld to %lld",
                (long long)i, (long long)z, (long long)p->qmin, (long long)p->qmax);
    }
    return ED_OK;
}

static int infer_fake_quantize(ed_infer *ctx)
{
    const ed_fake_quant_params *p = ctx->params;
    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_F32));
    ED_TRY(check_params(ctx, p));
    ED_TRY(check_count(ctx, 1, "scale", p->axis));
    if (ctx->n_in > 2) {
        ED_TRY(ed_infer_dtypes(ctx, 2, 1u << ED_I32));
        ED_TRY(check_count(ctx, 2, "zero_point", p->axis));
    }
    ED_TRY(check_values(ctx, p));
    return ed_infer_same_as_input(ctx);
}

/* The inputs after dy are those of FakeQuantize. */
static int infer_grad(ed_infer *ctx)
{
    ed_infer forward = *ctx;
    forward.in++;
    forward.constant++;
    forward.n_in--;
    for (uint32_t i = 0; i < 3; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 3, 1u << ED_I32));
    ED_TRY(infer_fake_quantize(&forward));
    return ed_infer_same_as_inputs(ctx, 0, 1);
}

static int infer_scale_grad(ed_infer *ctx)
{
    ED_TRY(infer_grad(ctx));
    ctx->out[0] = ctx->in[2];
    return ED_OK;
}

/* ---- rows ---- */
static int fake_quantize_gradient(ed_grad *g)
{
    const ed_id in[4] = { ed_grad_dy(g), g->in[0], g->in[1], g->n_in > 2 ? g->in[2] : ED_NONE };
    ed_id gradient;
    if (ed_grad_wants(g, 0)) {
        ED_TRY(ed_grad_emit_like(g, &gradient, "ed::FakeQuantizeGrad", in, g->n_in + 1));
        ED_TRY(ed_grad_give(g, 0, gradient));
    }
    if (ed_grad_wants(g, 1)) {
        ED_TRY(ed_grad_emit_like(g, &gradient, "ed::FakeQuantizeScaleGrad", in, g->n_in + 1));
        ED_TRY(ed_grad_give(g, 1, gradient));
    }
    return ED_OK;
}

static const ed_attr_spec fake_quantize_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_fake_quant_params, axis, -1),
    ED_ATTR_I64_OF("qmin", ed_fake_quant_params, qmin, -128),
    ED_ATTR_I64_OF("qmax", ed_fake_quant_params, qmax, 127),
    ED_ATTR_I64_OF("bits", ed_fake_quant_params, bits, 8),
    ED_ATTR_I64_OF("is_unsigned", ed_fake_quant_params, is_unsigned, 0),
    { 0 },
};

const ed_op ed_ops_quant[] = {
    { .type = "FakeQuantize",
      .domain = "ed",
      .arity = { 2, 3, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .attrs = fake_quantize_attrs,
      .params_size = sizeof(ed_fake_quant_params),
      .infer = infer_fake_quantize,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_layout_quant),
                   ED_REFERENCE(fake_quantize_forward) },
      .gradient = fake_quantize_gradient },
    { .type = "FakeQuantizeGrad",
      .domain = "ed",
      .arity = { 3, 4, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .attrs = fake_quantize_attrs,
      .params_size = sizeof(ed_fake_quant_params),
      .infer = infer_grad,
      .forward = { ED_FAST_ROW(ed_layout_chain), ED_FAST_ROW(ed_quant_grad),
                   ED_REFERENCE(grad_forward) } },
    { .type = "FakeQuantizeScaleGrad",
      .domain = "ed",
      .arity = { 3, 4, 1 },
      .attrs = fake_quantize_attrs,
      .params_size = sizeof(ed_fake_quant_params),
      .infer = infer_scale_grad,
      .forward = { ED_FAST_ROW(ed_scale_grad), ED_REFERENCE(scale_grad_forward) } },
    { 0 },
};
