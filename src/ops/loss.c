/*
 * Losses of training (domain "ed"): one float32 number [1], times the attribute `weight`.
 *
 *   CrossEntropyLoss(logits z, labels)     mean of -sum_c t_c log softmax(z)_c,
 *                                          t = (1 - e) onehot(label) + e / C, e = label_smoothing
 *   DistillationLoss(logits z, teacher)    mean of T^2 KL(softmax(teacher / T) || softmax(z / T))
 *                                          (Hinton, Vinyals and Dean 2015), T = temperature
 *   MeanSquaredError(y, target)            mean of (y - target)^2
 *
 * Logits are [N, C, d...] with the classes on axis 1; a sample is one of the N * d... positions,
 * over which the mean runs. Samples with the label -100 count nowhere. A mean of nothing is 0.
 *
 *   CrossEntropyLossGrad(dloss, z, labels)   (softmax(z) - t) / samples
 *   DistillationLossGrad(dloss, z, teacher)  T (softmax(z / T) - softmax(teacher / T)) / samples
 *   MeanSquaredErrorGrad(dloss, y, target)   2 (y - target) / elements
 *
 * times dloss * weight.
 */
#include "base/parallel.h"
#include "ops/gradient.h"

#include <math.h>

enum { IGNORED = -100, GRAIN = 4096 };

/* ---- samples: class k of sample r is at (r / inner * classes + k) * inner + r % inner ---- */
typedef struct loss_job {
    const ed_loss_params *params;
    const float *z, *teacher;
    const int64_t *labels;
    int64_t samples, classes, inner;
    double factor; /* of a sample's gradient */
    double *loss;  /* per sample */
    float *dz;
} loss_job;

static void set_shape(loss_job *job, const ed_shape *z)
{
    job->classes = z->dim[1];
    job->inner = 1;
    for (int i = 2; i < z->rank; i++)
        job->inner *= z->dim[i];
    job->samples = z->dim[0] * job->inner;
}

static int64_t start_of(const loss_job *job, int64_t sample)
{
    return sample / job->inner * job->classes * job->inner + sample % job->inner;
}

static int64_t grain_of(const loss_job *job)
{
    return job->classes ? GRAIN / job->classes : GRAIN;
}

/* log sum_k exp(z_k / T) */
static double log_sum_exp(const loss_job *job, const float *z, double temperature)
{
    double max = -INFINITY, sum = 0;
    for (int64_t k = 0; k < job->classes; k++)
        max = z[k * job->inner] > max ? z[k * job->inner] : max;
    for (int64_t k = 0; k < job->classes; k++)
        sum += exp((z[k * job->inner] - max) / temperature);
    return max / temperature + log(sum);
}

/* The mean over `count` samples of what fn writes to job->loss. */
static int mean_loss(float *mean, loss_job *job, int64_t count, ed_range_fn fn)
{
    double sum = 0;
    *mean = 0;
    if (count == 0)
        return ED_OK;
    job->loss = ed_calloc((size_t)job->samples, sizeof *job->loss);
    if (!job->loss)
        return ED_ENOMEM;
    ed_parallel_for(job->samples, grain_of(job), fn, job);
    for (int64_t r = 0; r < job->samples; r++)
        sum += job->loss[r];
    ed_free(job->loss);
    *mean = (float)(sum / (double)count * job->params->weight);
    return ED_OK;
}

/* ---- cross entropy ---- */
static void cross_entropy(void *ctx, int64_t begin, int64_t end, int thread)
{
    const loss_job *job = ctx;
    const double e = job->params->label_smoothing;
    (void)thread;

    for (int64_t r = begin; r < end; r++) {
        const float *z = job->z + start_of(job, r);
        if (job->labels[r] == IGNORED)
            continue;
        double log_sum = log_sum_exp(job, z, 1), sum = 0;
        for (int64_t k = 0; e > 0 && k < job->classes; k++) /* not of 0 * infinity */
            sum += log_sum - z[k * job->inner];
        if (e < 1)
            job->loss[r] = (1 - e) * (log_sum - z[job->labels[r] * job->inner]);
        if (e > 0)
            job->loss[r] += e * sum / (double)job->classes;
    }
}

static void cross_entropy_grad(void *ctx, int64_t begin, int64_t end, int thread)
{
    const loss_job *job = ctx;
    const double e = job->params->label_smoothing;
    (void)thread;

    for (int64_t r = begin; r < end; r++) {
        const float *z = job->z + start_of(job, r);
        float *dz = job->dz + start_of(job, r);
        bool ignored = job->labels[r] == IGNORED;
        double log_sum = ignored ? 0 : log_sum_exp(job, z, 1);
        for (int64_t k = 0; k < job->classes; k++) {
            double t = e / (double)job->classes + (k == job->labels[r] ? 1 - e : 0);
            double d = ignored ? 0 : job->factor * (exp(z[k * job->inner] - log_sum) - t);
            dz[k * job->inner] = (float)d;
        }
    }
}

/* Check the labels; *count is the number of samples that are not ignored. */
static int count_labels(int64_t *count, const loss_job *job)
{
    *count = 0;
    for (int64_t r = 0; r < job->samples; r++) {
        int64_t label = job->labels[r];
        ED_FAIL_IF(label != IGNORED && (label < 0 || label >= job->classes), ED_EFORMAT,
                   "the label of sample %lld is %lld; it must be 0 to %lld, or %d to leave the "
                   "sample out",
                   (long long)r, (long long)label, (long long)(job->classes - 1), IGNORED);
        *count += label != IGNORED;
    }
    return ED_OK;
}

static int cross_entropy_forward(const ed_call *c)
{
    loss_job job = { .params = c->params, .z = c->in[0]->data, .labels = c->in[1]->data };
    int64_t count = 0;
    set_shape(&job, &c->in[0]->shape);
    ED_TRY(count_labels(&count, &job));
    return mean_loss(c->out[0]->data, &job, count, cross_entropy);
}

static int cross_entropy_grad_forward(const ed_call *c)
{
    loss_job job = {
        .params = c->params, .z = c->in[1]->data, .labels = c->in[2]->data, .dz = c->out[0]->data
    };
    int64_t count = 0;
    set_shape(&job, &c->in[1]->shape);
    ED_TRY(count_labels(&count, &job));
    if (count)
        job.factor = *(const float *)c->in[0]->data * (double)job.params->weight / (double)count;
    ed_parallel_for(job.samples, grain_of(&job), cross_entropy_grad, &job);
    return ED_OK;
}

/* ---- distillation ---- */
static void distillation(void *ctx, int64_t begin, int64_t end, int thread)
{
    const loss_job *job = ctx;
    const double t = job->params->temperature;
    (void)thread;

    for (int64_t r = begin; r < end; r++) {
        const float *z = job->z + start_of(job, r), *teacher = job->teacher + start_of(job, r);
        double z_sum = log_sum_exp(job, z, t), teacher_sum = log_sum_exp(job, teacher, t), kl = 0;
        for (int64_t k = 0; k < job->classes; k++) {
            double log_p = teacher[k * job->inner] / t - teacher_sum, p = exp(log_p);
            if (p != 0) /* not of 0 * infinity; NaN passes */
                kl += p * (log_p - (z[k * job->inner] / t - z_sum));
        }
        job->loss[r] = t * t * kl;
    }
}

static void distillation_grad(void *ctx, int64_t begin, int64_t end, int thread)
{
    const loss_job *job = ctx;
    const double t = job->params->temperature;
    (void)thread;

    for (int64_t r = begin; r < end; r++) {
        const int64_t start = start_of(job, r);
        const float *z = job->z + start, *teacher = job->teacher + start;
        double z_sum = log_sum_exp(job, z, t), teacher_sum = log_sum_exp(job, teacher, t);
        for (int64_t k = 0; k < job->classes; k++) {
            int64_t i = k * job->inner;
            double q = exp(z[i] / t - z_sum), p = exp(teacher[i] / t - teacher_sum);
            job->dz[start + i] = (float)(job->factor * t * (q - p));
        }
    }
}

static int distillation_forward(const ed_call *c)
{
    loss_job job = { .params = c->params, .z = c->in[0]->data, .teacher = c->in[1]->data };
    set_shape(&job, &c->in[0]->shape);
    return mean_loss(c->out[0]->data, &job, job.samples, distillation);
}

static int distillation_grad_forward(const ed_call *c)
{
    loss_job job = {
        .params = c->params, .z = c->in[1]->data, .teacher = c->in[2]->data, .dz = c->out[0]->data
    };
    set_shape(&job, &c->in[1]->shape);
    if (job.samples)
        job.factor =
            *(const float *)c->in[0]->data * (double)job.params->weight / (double)job.samples;
    ed_parallel_for(job.samples, grain_of(&job), distillation_grad, &job);
    return ED_OK;
}

/* ---- squares ---- */
static int squares_forward(const ed_call *c)
{
    const ed_loss_params *p = c->params;
    const float *y = c->in[0]->data, *target = c->in[1]->data;
    int64_t n = c->in[0]->numel;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)y[i] - target[i]) * ((double)y[i] - target[i]);
    *(float *)c->out[0]->data = n ? (float)(sum / (double)n * p->weight) : 0.0f;
    return ED_OK;
}

static int squares_grad_forward(const ed_call *c)
{
    const ed_loss_params *p = c->params;
    const float *y = c->in[1]->data, *target = c->in[2]->data;
    float *dy = c->out[0]->data;
    int64_t n = c->in[1]->numel;
    double factor = 2.0 * *(const float *)c->in[0]->data * p->weight;
    for (int64_t i = 0; i < n; i++)
        dy[i] = (float)(factor / (double)n * ((double)y[i] - target[i]));
    return ED_OK;
}

/* ---- inference ---- */
static int check_params(const ed_infer *ctx)
{
    const ed_loss_params *p = ctx->params;
    if (!isfinite(p->weight))
        return ed_infer_fail(ctx, ED_EFORMAT, "its weight is %g; it must be a finite number",
                             (double)p->weight);
    if (!(p->label_smoothing >= 0 && p->label_smoothing <= 1))
        return ed_infer_fail(ctx, ED_EFORMAT, "its label_smoothing is %g; it must be 0 to 1",
                             (double)p->label_smoothing);
    if (!(p->temperature > 0 && isfinite(p->temperature)))
        return ed_infer_fail(ctx, ED_EFORMAT, "its temperature is %g; it must be positive",
                             (double)p->temperature);
    return ED_OK;
}

/* Inputs a and a + 1 agree: of one shape, or the second without the classes of the first. */
static int check_pair(const ed_infer *ctx, uint32_t a, bool labels)
{
    const ed_shape *z = &ctx->in[a].shape, *t = &ctx->in[a + 1].shape;
    char first[128], second[128];
    ed_shape want = *z;
    int64_t both = 0;

    if (z->rank < 0 || t->rank < 0)
        return ED_OK;
    for (int i = 1; labels && i + 1 < z->rank; i++)
        want.dim[i] = z->dim[i + 1];
    want.rank -= labels;
    bool same = want.rank == t->rank;
    for (int i = 0; same && i < want.rank; i++)
        same = ed_dim_unify(&both, want.dim[i], t->dim[i]);
    if (same)
        return ED_OK;
    return ed_infer_fail(
        ctx, ED_ESHAPE, "its inputs have the shapes %s and %s; the second must be %s",
        ed_shape_format(first, sizeof first, z), ed_shape_format(second, sizeof second, t),
        labels ? "the first without its axis 1, the classes" : "as the first");
}

static int check_logits(const ed_infer *ctx, uint32_t i)
{
    char text[128];
    if (ctx->in[i].shape.rank >= 0 && ctx->in[i].shape.rank < 2)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "its logits have the shape %s; they must be [N, C, ...]",
                             ed_shape_format(text, sizeof text, &ctx->in[i].shape));
    return ED_OK;
}

/* The forward operators have inputs a = 0, 1, the gradients dloss before them: a = 1. */
static int infer_inputs(const ed_infer *ctx, uint32_t a, bool labels, bool logits)
{
    for (uint32_t i = 0; i <= a; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, a + 1, 1u << (labels ? ED_I64 : ED_F32)));
    if (logits)
        ED_TRY(check_logits(ctx, a));
    ED_TRY(check_pair(ctx, a, labels));
    return check_params(ctx);
}

static int infer_loss(ed_infer *ctx, bool labels, bool logits)
{
    ctx->out[0] = (ed_type){ ED_F32, ED_SHAPE(1) };
    return infer_inputs(ctx, 0, labels, logits);
}

static int infer_grad(ed_infer *ctx, bool labels, bool logits)
{
    const ed_shape *dloss = &ctx->in[0].shape;
    char text[128];
    if (dloss->rank > 1 || (dloss->rank == 1 && dloss->dim[0] >= 0 && dloss->dim[0] != 1))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "its first input has the shape %s; it must be one number",
                             ed_shape_format(text, sizeof text, dloss));
    ctx->out[0] = ctx->in[1];
    return infer_inputs(ctx, 1, labels, logits);
}

static int infer_cross_entropy(ed_infer *ctx)
{
    return infer_loss(ctx, true, true);
}

static int infer_cross_entropy_grad(ed_infer *ctx)
{
    return infer_grad(ctx, true, true);
}

static int infer_distillation(ed_infer *ctx)
{
    return infer_loss(ctx, false, true);
}

static int infer_distillation_grad(ed_infer *ctx)
{
    return infer_grad(ctx, false, true);
}

static int infer_squares(ed_infer *ctx)
{
    return infer_loss(ctx, false, false);
}

static int infer_squares_grad(ed_infer *ctx)
{
    return infer_grad(ctx, false, false);
}

/* ---- gradients as nodes ---- */
static int emit_grad(ed_grad *g, const char *type)
{
    ed_id dz, in[3] = { ed_grad_dy(g), g->in[0], g->in[1] };
    ED_TRY(ed_grad_emit_like(g, &dz, type, in, 3));
    return ed_grad_give(g, 0, dz);
}

static int cross_entropy_gradient(ed_grad *g)
{
    return emit_grad(g, "ed::CrossEntropyLossGrad");
}

static int distillation_gradient(ed_grad *g)
{
    if (ed_grad_wants(g, 1))
        return ed_grad_fail(g, ED_EUNSUPPORTED,
                            "its teacher's logits have no gradient; freeze the teacher");
    return emit_grad(g, "ed::DistillationLossGrad");
}

static int squares_gradient(ed_grad *g)
{
    ed_id dy, negative, in[3] = { ed_grad_dy(g), g->in[0], g->in[1] };
    ED_TRY(ed_grad_emit_like(g, &dy, "ed::MeanSquaredErrorGrad", in, 3));
    ED_TRY(ed_grad_give(g, 0, dy));
    if (!ed_grad_wants(g, 1))
        return ED_OK;
    ED_TRY(ed_grad_unary(g, &negative, "Neg", dy));
    return ed_grad_give(g, 1, negative);
}

/* ---- rows ---- */
static const ed_attr_spec attrs[] = {
    ED_ATTR_F32_OF("weight", ed_loss_params, weight, 1),
    ED_ATTR_F32_OF("label_smoothing", ed_loss_params, label_smoothing, 0),
    ED_ATTR_F32_OF("temperature", ed_loss_params, temperature, 1),
    { 0 },
};

#define ROW(name, inputs, infer_fn, forward_fn, gradient_fn)                                       \
    {                                                                                              \
        .type = name, .domain = "ed", .opset = { 1, 0 }, .arity = { inputs, inputs, 1 },           \
        .attrs = attrs, .params_size = sizeof(ed_loss_params), .infer = infer_fn,                  \
        .forward = { ED_REFERENCE(forward_fn) }, .gradient = gradient_fn                           \
    }
const ed_op ed_ops_loss[] = {
    ROW("CrossEntropyLoss", 2, infer_cross_entropy, cross_entropy_forward, cross_entropy_gradient),
    ROW("CrossEntropyLossGrad", 3, infer_cross_entropy_grad, cross_entropy_grad_forward, NULL),
    ROW("DistillationLoss", 2, infer_distillation, distillation_forward, distillation_gradient),
    ROW("DistillationLossGrad", 3, infer_distillation_grad, distillation_grad_forward, NULL),
    ROW("MeanSquaredError", 2, infer_squares, squares_forward, squares_gradient),
    ROW("MeanSquaredErrorGrad", 3, infer_squares_grad, squares_grad_forward, NULL),
    { 0 },
};
