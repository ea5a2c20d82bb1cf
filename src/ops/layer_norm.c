/*
 * Normalization over parts of one sample (float32, sums in double):
 *
 *     y = (x - mean) / sqrt(variance + epsilon) * scale + b
 *
 * LayerNormalization (ONNX opset 17)         over the dimensions from `axis` (-1) on; scale and b
 *                                            have these dimensions; outputs 1 and 2 are the mean
 * and 1 / sqrt(variance + epsilon). stash_type changes nothing. InstanceNormalization (6, 22) over
 * the space of each channel; scale and b [C] GroupNormalization (18; 21)                over
 * num_groups groups of channels and the space; scale and b [num_groups]; since 21 [C]
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/gradient.h"

#include <math.h>

/* ---- rows: the part that shares a mean; a row has `runs` runs of `run` elements ---- */
typedef struct norm_job {
    float *y;
    const float *x, *scale, *add; /* add: NULL for none */
    float *mean, *inverse;        /* per row, NULL: not wanted */
    int64_t runs, run;
    int64_t rows_per_period; /* rows after which the parameters begin again */
    bool per_row;            /* one parameter a row, else see per_run */
    bool per_run;            /* one parameter a run, else one an element (and runs is 1) */
    double epsilon;
} norm_job;

static void normalize_row(const norm_job *job, int64_t row)
{
    const int64_t n = job->runs * job->run, period = row % job->rows_per_period;
    const float *x = job->x + row * n;
    float *y = job->y + row * n;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    double inverse = 1.0 / sqrt(squares / (double)n + job->epsilon);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = job->per_row ? period : job->per_run ? period * job->runs + i / job->run : i;
        double add = job->add ? job->add[k] : 0.0;
        y[i] = (float)((x[i] - mean) * inverse * job->scale[k] + add);
    }
    if (job->mean)
        job->mean[row] = (float)mean;
    if (job->inverse)
        job->inverse[row] = (float)inverse;
}

static void normalize_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm_job *job = ctx;
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        normalize_row(job, row);
}

static void run_job(norm_job *job, const ed_call *c, float epsilon)
{
    enum { GRAIN = 4096 };
    int64_t n = job->runs * job->run;
    job->y = c->out[0]->data;
    job->x = c->in[0]->data;
    job->scale = c->in[1]->data;
    job->add = c->n_in > 2 && c->in[2] ? c->in[2]->data : NULL;
    job->epsilon = (double)epsilon;
    if (c->in[0]->numel)
        ed_parallel_for(c->in[0]->numel / n, GRAIN / n, normalize_rows, job);
}

static float *optional_output(const ed_call *c, uint32_t i)
{
    return i < c->n_out && c->out[i] ? c->out[i]->data : NULL;
}

static int64_t product(const ed_shape *shape, int begin)
{
    int64_t n = 1;
    for (int i = begin; i < shape->rank; i++)
        n *= shape->dim[i];
    return n;
}

/* ---- LayerNormalization ---- */
static int layer_norm_forward(const ed_call *c)
{
    const ed_layer_norm_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape;
    int axis = (int)(p->axis < 0 ? p->axis + x->rank : p->axis);
    norm_job job = { .runs = 1, .run = product(x, axis), .rows_per_period = 1 };
    job.mean = optional_output(c, 1);
    job.inverse = optional_output(c, 2);
    run_job(&job, c, p->epsilon);
    return ED_OK;
}

/* Parameter i must have the shape of x from the axis on (leading dimensions of 1 do not count). */
static int check_normalized(const ed_infer *ctx, uint32_t i, int axis)
{
    const ed_shape *x = &ctx->in[0].shape, *s = &ctx->in[i].shape;
    bool good = true;
    for (int k = 0; good && k < s->rank; k++) {
        int d = k + x->rank - s->rank; /* aligned at the last dimension */
        int64_t want = d < axis ? 1 : x->dim[d];
        good = s->dim[k] < 0 || want < 0 || s->dim[k] == want;
    }
    for (int d = axis; good && s->rank >= 0 && d < x->rank - s->rank; d++)
        good = x->dim[d] == 1 || x->dim[d] < 0;
    if (good)
        return ED_OK;
    char a[128], b[128];
    return ed_infer_fail(ctx, ED_ESHAPE,
                         "%s has the shape %s; it must be the input's %s from dimension %d on",
                         i == 1 ? "scale" : "the bias", ed_shape_format(a, sizeof a, s),
                         ed_shape_format(b, sizeof b, x), axis);
}

static int infer_layer_norm(ed_infer *ctx)
{
    const ed_layer_norm_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    int axis = 0;
    ED_TRY(ed_infer_f32(ctx));
    ED_TRY(ed_infer_same_as_input(ctx));
    for (uint32_t i = 1; i < ctx->n_out; i++)
        ctx->out[i] = (ed_type){ ED_F32, ED_SHAPE_UNKNOWN };
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    for (uint32_t i = 1; i < ctx->n_in; i++)
        if (ed_node_in(ctx->node, i) != ED_NONE)
            ED_TRY(check_normalized(ctx, i, axis));
    for (uint32_t i = 1; i < ctx->n_out; i++) {
        ctx->out[i].shape = *x;
        for (int d = axis; d < x->rank; d++)
            ctx->out[i].shape.dim[d] = 1;
    }
    return ED_OK;
}

/* ---- InstanceNormalization, GroupNormalization ---- */
typedef struct group_norm_params {
    float epsilon;
    int64_t num_groups;
} group_norm_params;

static int instance_norm_forward(const ed_call *c)
{
    const group_norm_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape;
    norm_job job = {
        .runs = 1, .run = product(x, 2), .rows_per_period = x->dim[1], .per_row = true
    };
    run_job(&job, c, p->epsilon);
    return ED_OK;
}

static int group_norm_forward(const ed_call *c)
{
    const group_norm_params *p = c->params;
    const ed_shape *x = &c->in[0]->shape;
    norm_job job = { .runs = x->dim[1] / p->num_groups,
                     .run = product(x, 2),
                     .rows_per_period = p->num_groups,
                     .per_run = true };
    job.per_row = c->in[1]->numel == p->num_groups;
    run_job(&job, c, p->epsilon);
    return ED_OK;
}

/* Inputs 1 and 2 are lists of `n` numbers (negative: not known). */
static int check_lists(const ed_infer *ctx, int64_t n)
{
    for (uint32_t i = 1; i < ctx->n_in; i++) {
        const ed_shape *s = &ctx->in[i].shape;
        char text[128];
        if (s->rank < 0 || (s->rank == 1 && (s->dim[0] < 0 || n < 0 || s->dim[0] == n)))
            continue;
        return ed_infer_fail(
            ctx, ED_ESHAPE, "%s has the shape %s; it must be a list of %lld numbers",
            i == 1 ? "scale" : "the bias", ed_shape_format(text, sizeof text, s), (long long)n);
    }
    return ED_OK;
}

static int check_rank(const ed_infer *ctx)
{
    int rank = ctx->in[0].shape.rank;
    if (rank >= 0 && rank < 2)
        return ed_infer_fail(ctx, ED_ESHAPE, "the input has rank %d; it must be [N, C, ...]", rank);
    return ED_OK;
}

static int infer_instance_norm(ed_infer *ctx)
{
    ED_TRY(ed_infer_f32(ctx));
    ED_TRY(check_rank(ctx));
    ED_TRY(check_lists(ctx, ctx->in[0].shape.rank < 0 ? -1 : ctx->in[0].shape.dim[1]));
    return ed_infer_same_as_input(ctx);
}

static int infer_group_norm(ed_infer *ctx, bool per_channel)
{
    const group_norm_params *p = ctx->params;
    ED_TRY(ed_infer_f32(ctx));
    ED_TRY(check_rank(ctx));
    int64_t channels = ctx->in[0].shape.rank < 0 ? -1 : ctx->in[0].shape.dim[1];
    if (p->num_groups < 1 || (channels >= 0 && channels % p->num_groups != 0))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "num_groups is %lld; it must divide the %lld channels of the input",
                             (long long)p->num_groups, (long long)channels);
    ED_TRY(check_lists(ctx, per_channel ? channels : p->num_groups));
    return ed_infer_same_as_input(ctx);
}

static int infer_group_norm18(ed_infer *ctx)
{
    return infer_group_norm(ctx, false);
}

static int infer_group_norm21(ed_infer *ctx)
{
    return infer_group_norm(ctx, true);
}

static int instance_norm_gradient(ed_grad *g)
{
    const group_norm_params *p = g->params;
    return ed_gradient_group_norm(g, ed_grad_shape(g, g->in[0])->dim[1], p->epsilon);
}

static int group_norm_gradient(ed_grad *g)
{
    const group_norm_params *p = g->params;
    return ed_gradient_group_norm(g, p->num_groups, p->epsilon);
}

/* ---- rows ---- */
static const ed_attr_spec layer_norm_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_layer_norm_params, axis, -1),
    ED_ATTR_F32_OF("epsilon", ed_layer_norm_params, epsilon, 1e-5),
    { 0 },
};

static const ed_attr_spec instance_norm_attrs[] = {
    ED_ATTR_F32_OF("epsilon", group_norm_params, epsilon, 1e-5),
    { 0 },
};

static const ed_attr_spec group_norm_attrs[] = {
    ED_ATTR_F32_OF("epsilon", group_norm_params, epsilon, 1e-5),
    { "num_groups", ED_KIND_I64, offsetof(group_norm_params, num_groups), 0, NULL, true },
    { 0 },
};

const ed_op ed_ops_layer_norm[] = {
    { .type = "LayerNormalization",
      .opset = { 17, 0 },
      .arity = { 2, 3, 3 },
      .attrs = layer_norm_attrs,
      .params_size = sizeof(ed_layer_norm_params),
      .infer = infer_layer_norm,
      .forward = { ED_FAST_ROW(ed_vector_norm), ED_REFERENCE(layer_norm_forward) },
      .gradient = ed_gradient_layer_norm },
    { .type = "InstanceNormalization",
      .opset = { 6, 0 },
      .arity = { 3, 3, 1 },
      .attrs = instance_norm_attrs,
      .params_size = sizeof(group_norm_params),
      .infer = infer_instance_norm,
      .forward = { ED_REFERENCE(instance_norm_forward) },
      .gradient = instance_norm_gradient },
    { .type = "GroupNormalization",
      .opset = { 18, 20 },
      .arity = { 3, 3, 1 },
      .attrs = group_norm_attrs,
      .params_size = sizeof(group_norm_params),
      .infer = infer_group_norm18,
      .forward = { ED_REFERENCE(group_norm_forward) },
      .gradient = group_norm_gradient },
    { .type = "GroupNormalization",
      .opset = { 21, 0 },
      .arity = { 3, 3, 1 },
      .attrs = group_norm_attrs,
      .params_size = sizeof(group_norm_params),
      .infer = infer_group_norm21,
      .forward = { ED_REFERENCE(group_norm_forward) },
      .gradient = group_norm_gradient },
    { 0 },
};
