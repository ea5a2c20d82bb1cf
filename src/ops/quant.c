/*
 * FakeQuantize (domain "ed"): QuantizeLinear and DequantizeLinear as one operator on float32,
 *
 *     y = (saturate(rne(x / scale) + zero_point) - zero_point) * scale
 *
 * with a true division and rounding half to even, bit for bit what ONNX Runtime computes from the
 * pair. Infinity saturates. NaN becomes the lowest level, as in ONNX Runtime on x86: it
 * must have a value, and the data reader refuses NaN long before. Inputs: x, scale (one number, or
 * one per element of `axis`), zero_point (int32, optional: 0).
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/op.h"

enum { GRAIN = 8192 };

/* In exact integers saturate(r + z) - z = clamp(r, qmin - z, qmax - z) = clamp(rne(x / scale), lo,
 * hi), and as lo and hi are integers, clamping may come before rounding. Then |v| < 2^22, and
 * adding 1.5 * 2^23 leaves no bits for the fraction: the sum is rounded half to even. It also turns
 * -0 to 0. */
static inline float fake_quant(float x, float scale, float lo, float hi)
{
    const float magic = 12582912.0f;
    float v = x / scale;
    v = v > lo ? v : lo; /* NaN: lo */
    v = v < hi ? v : hi;
    return ((v + magic) - magic) * scale;
}

typedef struct quant_job {
    float *y;
    const float *x;
    int64_t channels, inner, qmin, qmax;
    const float *scale;
    const int32_t *zero_point; /* NULL: zeros */
} quant_job;

static inline float bound(const quant_job *job, int64_t q, int64_t channel)
{
    return (float)(q - (job->zero_point ? job->zero_point[channel] : 0));
}

/* A range of elements with one scale. */
static void quant_run(const quant_job *job, int64_t channel, int64_t begin, int64_t end)
{
    const float scale = job->scale[channel];
    const float lo = bound(job, job->qmin, channel), hi = bound(job, job->qmax, channel);
    const float *x = job->x;
    float *y = job->y;
    for (int64_t i = begin; i < end; i++)
        y[i] = fake_quant(x[i], scale, lo, hi);
}

static void quant_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    quant_run(ctx, 0, begin, end);
}

/* Units of `inner` elements with one scale each. */
static void quant_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        quant_run(job, i % job->channels, i * job->inner, (i + 1) * job->inner);
}

void ed_fake_quantize(float *y, const float *x, int64_t outer, int64_t channels, int64_t inner,
                      const float *scale, const int32_t *zero_point, int64_t qmin, int64_t qmax)
{
    quant_job job = { y, x, channels, inner, qmin, qmax, scale, zero_point };
    if (channels == 1)
        ed_parallel_for(outer * inner, GRAIN, quant_range, &job);
    else if (inner > 0)
        ed_parallel_for(outer * channels, GRAIN / inner, quant_channels, &job);
}

static int fake_quantize_forward(const ed_call *c)
{
    const ed_fake_quant_params *p = c->params;
    const ed_tensor *x = c->in[0], *zero_point = c->n_in > 2 ? c->in[2] : NULL;
    int64_t outer = 1, channels = 1, inner = 1;

    for (int i = 0; i < x->shape.rank; i++)
        *(i == p->axis ? &channels : i < p->axis ? &outer : &inner) *= x->shape.dim[i];
    ed_fake_quantize(c->out[0]->data, x->data, outer, channels, inner, c->in[1]->data,
                     zero_point ? zero_point->data : NULL, p->qmin, p->qmax);
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
                   ED_REFERENCE(fake_quantize_forward) } },
    { 0 },
};
