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
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/gradient.h"

enum { GRAIN = 8192, PARTS = 256, CHANNELS = 16 };

/* In exact integers saturate(r + z) - z = clamp(r, qmin - z, qmax - z) = clamp(rne(x / scale), lo,
 * hi), and as lo and hi are integers, clamping may come before rounding. Then |v| < 2^22, and
 * adding 1.5 * 2^23 leaves no bits for the fraction: the sum is rounded half to even. It also turns
 * -0 to 0. */
ED_BODY float fake_quant(float x, float scale, float lo, float hi)
{
    const float magic = 12582912.0f;
    float v = x / scale;
    v = v > lo ? v : lo; /* NaN: lo */
    v = v < hi ? v : hi;
    return ((v + magic) - magic) * scale;
}

/* x / scale within one level of the range, so that it can be rounded as above; NaN is below. */
ED_BODY float near_range(float x, float scale, float lo, float hi)
{
    float v = x / scale;
    v = v > lo - 1.0f ? v : lo - 1.0f;
    return v < hi + 1.0f ? v : hi + 1.0f;
}

ED_BODY float rounded(float v)
{
    const float magic = 12582912.0f;
    return (v + magic) - magic;
}

/* What has one scale. */
typedef struct levels {
    float scale, lo, hi;
} levels;

/* ---- a run of elements with one scale; y may be x or dy ---- */
typedef void (*quant_fn)(float *y, const float *x, const float *dy, int64_t n, levels q);

ED_BODY void quant_run_body(float *y, const float *x, const float *dy, int64_t n, levels q)
{
    (void)dy;
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = fake_quant(x[i], q.scale, q.lo, q.hi);
}
ED_CLONES_VOID(quant_run, (float *y, const float *x, const float *dy, int64_t n, levels q),
               (y, x, dy, n, q))

ED_BODY void grad_run_body(float *dx, const float *x, const float *dy, int64_t n, levels q)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float r = rounded(near_range(x[i], q.scale, q.lo, q.hi));
        dx[i] = (r >= q.lo) & (r <= q.hi) ? dy[i] : 0.0f;
    }
}
ED_CLONES_VOID(grad_run, (float *dx, const float *x, const float *dy, int64_t n, levels q),
               (dx, x, dy, n, q))

/* dy d y / d scale */
ED_BODY double scale_term(float dy, float x, levels q)
{
    float v = near_range(x, q.scale, q.lo, q.hi), r = rounded(v);
    float slope = r < q.lo ? q.lo : r - v;
    slope = r > q.hi ? q.hi : slope;
    return (double)dy * (double)slope;
}

/* The sum in 16 lanes, always in the same order. */
ED_BODY double scale_run_body(const float *dy, const float *x, int64_t n, levels q)
{
    enum { LANES = 16 };
    double lane[LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += scale_term(dy[i + k], x[i + k], q);
    for (; i < n; i++)
        sum += scale_term(dy[i], x[i], q);
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}
ED_CLONES(double, scale_run, (const float *dy, const float *x, int64_t n, levels q), (dy, x, n, q))

/* ---- tensors ---- */
typedef struct quant_job {
    const ed_fake_quant *q;
    quant_fn run;
    float *y;
    const float *x, *dy;
    double *sums; /* of the scale's gradient, per part or channel */
    int64_t part; /* elements */
} quant_job;

static levels levels_of(const ed_fake_quant *q, int64_t channel)
{
    int64_t zero_point = q->zero_point ? q->zero_point[channel] : 0;
    return (levels){ q->scale[channel], (float)(q->qmin - zero_point),
                     (float)(q->qmax - zero_point) };
}

static void run_one(const quant_job *job, int64_t channel, int64_t begin, int64_t end)
{
    const float *dy = job->dy ? job->dy + begin : NULL;
    job->run(job->y + begin, job->x + begin, dy, end - begin, levels_of(job->q, channel));
}

static void quant_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    run_one(ctx, 0, begin, end);
}

/* Units of `inner` elements with one scale each. */
static void quant_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        run_one(job, i % job->q->channels, i * job->q->inner, (i + 1) * job->q->inner);
}

static void run_all(const quant_job *job)
{
    const ed_fake_quant *q = job->q;
    if (q->channels == 1)
        ed_parallel_for(q->outer * q->inner, GRAIN, quant_range, (void *)job);
    else if (q->inner > 0)
        ed_parallel_for(q->outer * q->channels, GRAIN / q->inner, quant_channels, (void *)job);
}

void ed_fake_quantize(float *y, const float *x, const ed_fake_quant *q)
{
    run_all(&(quant_job){ .q = q, .run = quant_run, .y = y, .x = x });
}

void ed_fake_quantize_grad(float *dx, const float *dy, const float *x, const ed_fake_quant *q)
{
    run_all(&(quant_job){ .q = q, .run = grad_run, .y = dx, .x = x, .dy = dy });
}

static void scale_parts(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    int64_t numel = job->q->outer * job->q->inner;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i * job->part, n = numel - at < job->part ? numel - at : job->part;
        job->sums[i] = scale_run(job->dy + at, job->x + at, n, levels_of(job->q, 0));
    }
}

/* Units of `part` neighbouring channels, whose lines lie next to each other. */
static void scale_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const quant_job *job = ctx;
    const ed_fake_quant *q = job->q;
    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        double sum[CHANNELS] = { 0 };
        int64_t first = unit * job->part, left = q->channels - first;
        int64_t n = left < job->part ? left : job->part;
        for (int64_t o = 0; o < q->outer; o++)
            for (int64_t k = 0; k < n; k++) {
                int64_t at = (o * q->channels + first + k) * q->inner;
                levels l = levels_of(q, first + k);
                sum[k] += q->inner == 1 ? scale_term(job->dy[at], job->x[at], l)
                                        : scale_run(job->dy + at, job->x + at, q->inner, l);
            }
        for (int64_t k = 0; k < n; k++)
            job->y[first + k] = (float)sum[k];
    }
}

void ed_fake_quantize_scale_grad(float *dscale, const float *dy, const float *x,
                                 const ed_fake_quant *q)
{
    double sums[PARTS], sum = 0;
    quant_job job = { .q = q, .y = dscale, .x = x, .dy = dy, .sums = sums };
    if (q->channels != 1) {
        job.part = q->inner < CHANNELS ? CHANNELS : 1;
        ed_parallel_for((q->channels + job.part - 1) / job.part, 1, scale_channels, &job);
        return;
    }
    int64_t numel = q->outer * q->inner;
    job.part = (numel + PARTS - 1) / PARTS;
    job.part = job.part < GRAIN ? GRAIN : job.part;
    int64_t parts = (numel + job.part - 1) / job.part; /* the same for any number of threads */
    ed_parallel_for(parts, 1, scale_parts, &job);
    for (int64_t i = 0; i < parts; i++)
        sum += sums[i];
    dscale[0] = (float)sum;
}

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
      .forward = { ED_FAST_ROW(ed_layout_quant), ED_REFERENCE(fake_quantize_forward) },
      .gradient = fake_quantize_gradient },
    { .type = "FakeQuantizeGrad",
      .domain = "ed",
      .arity = { 3, 4, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .attrs = fake_quantize_attrs,
      .params_size = sizeof(ed_fake_quant_params),
      .infer = infer_grad,
      .forward = { ED_FAST_ROW(ed_quant_grad), ED_REFERENCE(grad_forward) } },
    { .type = "FakeQuantizeScaleGrad",
      .domain = "ed",
      .arity = { 3, 4, 1 },
      .attrs = fake_quantize_attrs,
      .params_size = sizeof(ed_fake_quant_params),
      .infer = infer_scale_grad,
      .forward = { ED_FAST_ROW(ed_scale_grad), ED_REFERENCE(scale_grad_forward) } },
    { 0 },
};
