/*
 * BatchNormalization (ONNX opsets 7, 9, 14, 15), float32, x is [N, C, ...]:
 *
 *     y = (x - mean[c]) * scale[c] / sqrt(var[c] + epsilon) + b[c]
 *
 * In training mode (14, 15) mean and var are those of x over all but the channels, var divided by
 * their number of elements, summed in double; further outputs are what inference will use:
 *
 *     running_mean = input_mean * momentum + mean * (1 - momentum), running_var likewise
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/gradient.h"
#include "ops/op.h"

#include <math.h>

typedef struct batch_norm_job {
    float *y;
    const float *x, *scale, *b, *mean, *var;
    float epsilon;
    int64_t channels, inner;
} batch_norm_job;

/* One unit is one channel of one sample. */
static void batch_norm_planes(void *ctx, int64_t begin, int64_t end, int thread)
{
    const batch_norm_job *job = ctx;
    (void)thread;

    for (int64_t plane = begin; plane < end; plane++) {
        int64_t c = plane % job->channels;
        const float *x = job->x + plane * job->inner;
        float *y = job->y + plane * job->inner;
        float gain = (float)(job->scale[c] / sqrt((double)job->var[c] + (double)job->epsilon));
        for (int64_t i = 0; i < job->inner; i++)
            y[i] = (x[i] - job->mean[c]) * gain + job->b[c];
    }
}

static batch_norm_job job_of(const ed_call *c)
{
    const ed_batch_norm_params *p = c->params;
    const ed_shape *shape = &c->in[0]->shape;
    batch_norm_job job = { .y = c->out[0]->data,
                           .x = c->in[0]->data,
                           .scale = c->in[1]->data,
                           .b = c->in[2]->data,
                           .mean = c->in[3]->data,
                           .var = c->in[4]->data,
                           .epsilon = p->epsilon,
                           .channels = shape->dim[1],
                           .inner = 1 };
    for (int i = 2; i < shape->rank; i++)
        job.inner *= shape->dim[i];
    return job;
}

static void normalize(batch_norm_job *job, const ed_shape *shape)
{
    if (job->channels && job->inner)
        ed_parallel_for(shape->dim[0] * job->channels, 4096 / job->inner, batch_norm_planes, job);
}

static int batch_norm_forward(const ed_call *c)
{
    batch_norm_job job = job_of(c);
    normalize(&job, &c->in[0]->shape);
    return ED_OK;
}

/* ---- training ---- */

/* Mean and variance of channel c over n samples. */
static void channel_statistics(float *mean, float *var, const batch_norm_job *job, int64_t c,
                               int64_t n)
{
    double sum = 0, squares = 0, count = (double)(n * job->inner);
    for (int64_t s = 0; s < n; s++)
        for (int64_t i = 0; i < job->inner; i++)
            sum += (double)job->x[(s * job->channels + c) * job->inner + i];
    for (int64_t s = 0; s < n; s++) {
        for (int64_t i = 0; i < job->inner; i++) {
            double d = (double)job->x[(s * job->channels + c) * job->inner + i] - sum / count;
            squares += d * d;
        }
    }
    *mean = (float)(sum / count);
    *var = (float)(squares / count);
}

static void put_running(const ed_call *c, uint32_t i, int64_t channel, float now)
{
    const ed_batch_norm_params *p = c->params;
    if (i < c->n_out && c->out[i])
        ((float *)c->out[i]->data)[channel] =
            ((const float *)c->in[2 + i]->data)[channel] * p->momentum + now * (1 - p->momentum);
}

static int batch_norm_train(const ed_call *c)
{
    batch_norm_job job = job_of(c);
    int64_t n = c->in[0]->shape.dim[0];
    float *mean = ed_calloc((size_t)job.channels * 2, sizeof *mean);
    if (!mean)
        return ED_ENOMEM;
    float *var = mean + job.channels;
    for (int64_t i = 0; i < job.channels; i++) {
        channel_statistics(&mean[i], &var[i], &job, i, n);
        put_running(c, 1, i, mean[i]);
        put_running(c, 2, i, var[i]);
    }
    job.mean = mean;
    job.var = var;
    normalize(&job, &c->in[0]->shape);
    ed_free(mean);
    return ED_OK;
}

static int batch_norm_forward_14(const ed_call *c)
{
    const ed_batch_norm_params *p = c->params;
    return p->training_mode ? batch_norm_train(c) : batch_norm_forward(c);
}

static int infer_batch_norm(ed_infer *ctx)
{
    static const char *const names[] = { "x", "scale", "B", "mean", "var" };
    const ed_batch_norm_params *p = ctx->params;

    ED_TRY(ed_infer_f32(ctx));
    if (!p->spatial)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "the attribute spatial is 0; export the model with one mean per "
                             "channel");
    ED_TRY(ed_infer_same_as_input(ctx));
    ed_shape *y = &ctx->out[0].shape;
    if (y->rank >= 0 && y->rank < 2)
        return ed_infer_fail(ctx, ED_ESHAPE, "its input has %d dimensions; at least 2 are required",
                             y->rank);

    for (uint32_t i = 1; i < 5; i++) { /* each of the size C, which x may leave open */
        const ed_shape *s = &ctx->in[i].shape;
        int64_t channels = y->rank < 0 || s->rank != 1 ? ED_DIM_UNKNOWN : y->dim[1];
        char text[128];
        if (s->rank >= 0 && (s->rank != 1 || !ed_dim_unify(&channels, channels, s->dim[0])))
            return ed_infer_fail(
                ctx, ED_ESHAPE,
                "%s has the shape %s; it must have one number for each channel of x", names[i],
                ed_shape_format(text, sizeof text, s));
        if (y->rank >= 0 && s->rank == 1)
            y->dim[1] = channels;
    }
    return ED_OK;
}

static int infer_batch_norm_14(ed_infer *ctx)
{
    static const char *const names[] = { "y", "running_mean", "running_var" };
    const ed_batch_norm_params *p = ctx->params;

    ED_TRY(infer_batch_norm(ctx));
    for (uint32_t i = 1; i < ctx->n_out; i++) {
        if (!p->training_mode)
            ED_TRY(ed_infer_unused_output(ctx, i, ED_F32, names[i]));
        ctx->out[i] = (ed_type){ ED_F32, ctx->in[2 + i].shape };
    }
    return ED_OK;
}

static const ed_attr_spec batch_norm_attrs[] = {
    ED_ATTR_F32_OF("epsilon", ed_batch_norm_params, epsilon, 1e-5),
    ED_ATTR_F32_OF("momentum", ed_batch_norm_params, momentum, 0.9),
    ED_ATTR_I64_OF("spatial", ed_batch_norm_params, spatial, 1),
    { 0 },
};

static const ed_attr_spec batch_norm_attrs_14[] = {
    ED_ATTR_F32_OF("epsilon", ed_batch_norm_params, epsilon, 1e-5),
    ED_ATTR_F32_OF("momentum", ed_batch_norm_params, momentum, 0.9),
    ED_ATTR_I64_OF("spatial", ed_batch_norm_params, spatial, 1),
    ED_ATTR_I64_OF("training_mode", ed_batch_norm_params, training_mode, 0),
    { 0 },
};

const ed_op ed_ops_norm[] = {
    { .type = "BatchNormalization",
      .opset = { 7, 13 },
      .arity = { 5, 5, 1 },
      .attrs = batch_norm_attrs,
      .params_size = sizeof(ed_batch_norm_params),
      .infer = infer_batch_norm,
      .forward = { ED_FAST_ROW(ed_layout_norm), ED_REFERENCE(batch_norm_forward) },
      .gradient = ed_gradient_batch_norm },
    { .type = "BatchNormalization",
      .opset = { 14, 0 },
      .arity = { 5, 5, 3 },
      .attrs = batch_norm_attrs_14,
      .params_size = sizeof(ed_batch_norm_params),
      .infer = infer_batch_norm_14,
      .forward = { ED_FAST_ROW(ed_layout_norm), ED_REFERENCE(batch_norm_forward_14) },
      .gradient = ed_gradient_batch_norm },
    { 0 },
};
