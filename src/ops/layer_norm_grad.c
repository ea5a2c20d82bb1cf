/*
 * Gradients of the normalizations over parts of one sample.
 *
 * ed::LayerNormalizationGrad(dy, x, scale) -> dx, dscale, dbias   {axis, epsilon}; scale omitted: 1
 *
 *     xn = (x - mean) * inverse,  g = dy * scale,  mean() over the dimensions from `axis` on
 *     dx = inverse * (g - mean(g) - xn * mean(g * xn)),  dscale = sum dy * xn,  dbias = sum dy
 *
 * InstanceNormalization and GroupNormalization are that without a scale on [N, groups, elements].
 */
#include "ops/fast.h"
#include "ops/gradient.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

/* ---- LayerNormalizationGrad ---- */

static int64_t product(const ed_shape *shape, int begin)
{
    int64_t n = 1;
    for (int i = begin; i < shape->rank; i++)
        n *= shape->dim[i];
    return n;
}

/* The parameters' gradients have the shape of the scale, or of x from the axis on. */
static int infer_sums(ed_infer *ctx, const ed_shape *x, int axis)
{
    ed_shape sums = { .rank = x->rank - axis };
    int64_t have = 0, want = 0;
    char text[128];

    memcpy(sums.dim, x->dim + axis, (size_t)sums.rank * sizeof *sums.dim);
    if (ed_node_in(ctx->node, 2) != ED_NONE) {
        const ed_shape *scale = &ctx->in[2].shape;
        bool known = ed_shape_known(&sums) && ed_shape_known(scale);
        if (known && (ed_shape_numel(&want, &sums) != ED_OK ||
                      ed_shape_numel(&have, scale) != ED_OK || have != want))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "scale has the shape %s; it must have the %lld elements of the "
                                 "input from dimension %d on",
                                 ed_shape_format(text, sizeof text, scale), (long long)want, axis);
        sums = *scale;
    }
    for (uint32_t i = 1; i < ctx->n_out; i++)
        ctx->out[i].shape = sums;
    return ED_OK;
}

static int norm_grad_infer(ed_infer *ctx)
{
    const ed_layer_norm_params *p = ctx->params;
    const ed_shape *x = &ctx->in[1].shape;
    int axis;

    ED_TRY(ed_infer_f32(ctx));
    ED_TRY(ed_infer_same_as_inputs(ctx, 0, 1));
    for (uint32_t i = 1; i < ctx->n_out; i++)
        ctx->out[i] = (ed_type){ ED_F32, ED_SHAPE_UNKNOWN };
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    return infer_sums(ctx, x, axis);
}

typedef struct row_job {
    float *dx;
    const float *dy, *x, *scale; /* scale NULL: 1 */
    double *dscale, *dbias;      /* summed; NULL: not wanted */
    int64_t n;
    double epsilon;
} row_job;

static void row_gradient(const row_job *j, int64_t row)
{
    const float *x = j->x + row * j->n, *dy = j->dy + row * j->n;
    const double n = (double)j->n;
    double sum = 0, squares = 0, sum_g = 0, sum_gx = 0;

    for (int64_t i = 0; i < j->n; i++)
        sum += (double)x[i];
    const double mean = sum / n;
    for (int64_t i = 0; i < j->n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double inverse = 1.0 / sqrt(squares / n + j->epsilon);
    for (int64_t i = 0; i < j->n; i++) {
        double xn = ((double)x[i] - mean) * inverse, g = dy[i];
        if (j->dscale) {
            j->dscale[i] += g * xn;
            j->dbias[i] += g;
        }
        g *= j->scale ? (double)j->scale[i] : 1.0;
        sum_g += g;
        sum_gx += g * xn;
    }
    for (int64_t i = 0; i < j->n; i++) {
        double xn = ((double)x[i] - mean) * inverse;
        double g = (double)dy[i] * (j->scale ? (double)j->scale[i] : 1.0);
        j->dx[row * j->n + i] = (float)(inverse * (g - sum_g / n - xn * (sum_gx / n)));
    }
}

static void put_sums(const ed_call *c, uint32_t i, const double *sums, int64_t n)
{
    for (int64_t k = 0; i < c->n_out && c->out[i] && k < n; k++)
        ((float *)c->out[i]->data)[k] = (float)sums[k];
}

static int norm_grad_forward(const ed_call *c)
{
    const ed_layer_norm_params *p = c->params;
    const ed_shape *x = &c->in[1]->shape;
    row_job job = { .dx = c->out[0]->data,
                    .dy = c->in[0]->data,
                    .x = c->in[1]->data,
                    .scale = c->n_in > 2 && c->in[2] ? c->in[2]->data : NULL,
                    .epsilon = (double)p->epsilon };
    job.n = product(x, (int)(p->axis < 0 ? p->axis + x->rank : p->axis));
    if (c->n_out > 1) {
        job.dscale = ed_calloc((size_t)job.n, 2 * sizeof *job.dscale);
        if (!job.dscale)
            return ED_ENOMEM;
        job.dbias = job.dscale + job.n;
    }
    for (int64_t row = 0; c->in[1]->numel && row < c->in[1]->numel / job.n; row++)
        row_gradient(&job, row);
    put_sums(c, 1, job.dscale, job.n);
    put_sums(c, 2, job.dbias, job.n);
    ed_free(job.dscale);
    return ED_OK;
}

static const ed_attr_spec norm_grad_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_layer_norm_params, axis, -1),
    ED_ATTR_F32_OF("epsilon", ed_layer_norm_params, epsilon, 1e-5),
    { 0 },
};

const ed_op ed_ops_layer_norm_grad[] = {
    { .type = "LayerNormalizationGrad",
      .domain = "ed",
      .opset = { 1, 0 },
      .arity = { 2, 3, 3 },
      .attrs = norm_grad_attrs,
      .params_size = sizeof(ed_layer_norm_params),
      .infer = norm_grad_infer,
      .forward = { ED_FAST_ROW(ed_vector_norm_grad), ED_REFERENCE(norm_grad_forward) } },
    { 0 },
};

/* ---- gradients ---- */

static int give_reshaped(ed_grad *g, uint32_t i, ed_id d)
{
    if (!ed_grad_wants(g, i))
        return ED_OK;
    const ed_shape shape = *ed_grad_shape(g, g->in[i]);
    ED_TRY(ed_grad_reshape(g, &d, d, &shape));
    return ed_grad_give(g, i, d);
}

/* What flows back through output 1, the mean: dmean / n; and through output 2, the inverse
 * deviation: -dinverse inverse^3 (x - mean) / n. */
static int give_statistics(ed_grad *g)
{
    const ed_layer_norm_params *p = g->params;
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    const int axis = (int)(p->axis < 0 ? p->axis + x.rank : p->axis);
    const float share = 1.0f / (float)product(&x, axis);
    int64_t axes[ED_MAX_RANK];
    ed_id d, mean;

    for (int i = axis; i < x.rank; i++)
        axes[i - axis] = i;
    if (g->n_out > 1 && g->dout[1] != ED_NONE) {
        ED_TRY(ed_grad_scale(g, &d, g->dout[1], share));
        ED_TRY(ed_grad_expand(g, &d, d, &x));
        ED_TRY(ed_grad_give(g, 0, d));
    }
    if (g->n_out < 3 || g->dout[2] == ED_NONE)
        return ED_OK;
    ED_TRY(ed_grad_reduce_sum(g, &mean, g->in[0], axes, (size_t)(x.rank - axis)));
    ED_TRY(ed_grad_scale(g, &mean, mean, share));
    ED_TRY(ed_grad_scale(g, &d, g->dout[2], -share));
    for (int i = 0; i < 3; i++)
        ED_TRY(ed_grad_binary(g, &d, "Mul", d, g->out[2]));
    ED_TRY(ed_grad_binary(g, &mean, "Sub", g->in[0], mean));
    ED_TRY(ed_grad_binary(g, &d, "Mul", mean, d));
    return ed_grad_give(g, 0, d);
}

int ed_gradient_layer_norm(ed_grad *g)
{
    const ed_layer_norm_params *p = g->params;
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = p->axis },
                              { .name = "epsilon", .type = ED_ATTR_FLOAT, .f = p->epsilon },
                              { 0 } };
    const bool sums = ed_grad_wants(g, 1) || ed_grad_wants(g, 2);
    const ed_id in[3] = { ed_grad_dy(g), g->in[0], g->in[1] };
    ed_id d[3] = { 0 }; /* none of the outputs is omitted */

    ED_TRY(give_statistics(g));
    if (ed_grad_dy(g) == ED_NONE)
        return ED_OK;
    ED_TRY(ed_grad_emit_node(g, d, sums ? 3 : 1, "ed::LayerNormalizationGrad", in, 3, attrs));
    ED_TRY(ed_grad_give(g, 0, d[0]));
    if (!sums)
        return ED_OK;
    ED_TRY(give_reshaped(g, 1, d[1]));
    return give_reshaped(g, 2, d[2]);
}

/* x as [N, groups, channels of a group, space]. */
typedef struct grouped {
    ed_shape four, three; /* three: the last two as one */
    float epsilon;
    ed_id x, dy; /* three, four */
} grouped;

static int group(ed_grad *g, grouped *v, int64_t groups)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    v->four = ED_SHAPE(x.dim[0], groups, x.dim[1] / groups, product(&x, 2));
    v->three = ED_SHAPE(x.dim[0], groups, v->four.dim[2] * v->four.dim[3]);
    ED_TRY(ed_grad_reshape(g, &v->x, g->in[0], &v->three));
    return ed_grad_reshape(g, &v->dy, ed_grad_dy(g), &v->four);
}

/* Parameter i as [groups, 1 or channels of a group, 1]. */
static ed_shape parameter_shape(const ed_grad *g, const grouped *v, uint32_t i)
{
    int64_t n = ed_grad_shape(g, g->in[i])->dim[0], groups = v->four.dim[1];
    return ED_SHAPE(groups, n / groups, 1);
}

static int give_group_input(ed_grad *g, const grouped *v)
{
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = 2 },
                              { .name = "epsilon", .type = ED_ATTR_FLOAT, .f = v->epsilon },
                              { 0 } };
    const ed_shape spread = parameter_shape(g, v, 1);
    ed_id scale, in[2] = { ED_NONE, v->x }, dx;

    ED_TRY(ed_grad_reshape(g, &scale, g->in[1], &spread));
    ED_TRY(ed_grad_binary(g, &in[0], "Mul", v->dy, scale));
    ED_TRY(ed_grad_reshape(g, &in[0], in[0], &v->three));
    ED_TRY(ed_grad_emit_node(g, &dx, 1, "ed::LayerNormalizationGrad", in, 2, attrs));
    return give_reshaped(g, 0, dx);
}

/* sum of dy, times the normalized input for the scale. */
static int give_group_parameter(ed_grad *g, const grouped *v, uint32_t i)
{
    const ed_attr attrs[] = { { .name = "epsilon", .type = ED_ATTR_FLOAT, .f = v->epsilon },
                              { 0 } };
    const ed_shape spread = parameter_shape(g, v, i), shape = *ed_grad_shape(g, g->in[i]);
    ed_id term = v->dy, in[3] = { v->x, ED_NONE, ED_NONE };

    if (i == 1) {
        ed_tensor *ones;
        ED_TRY(ed_tensor_new(&ones, ED_F32, &ED_SHAPE(v->four.dim[1])));
        for (int64_t k = 0; k < ones->numel; k++)
            ((float *)ones->data)[k] = 1.0f;
        ED_TRY(ed_graph_add_constant_take(g->graph, &in[1], "ones", ones));
        ED_TRY(ed_grad_zeros(g, &in[2], &ED_SHAPE(v->four.dim[1])));
        ED_TRY(ed_grad_emit_node(g, &term, 1, "InstanceNormalization", in, 3, attrs));
        ED_TRY(ed_grad_reshape(g, &term, term, &v->four));
        ED_TRY(ed_grad_binary(g, &term, "Mul", term, v->dy));
    }
    ED_TRY(ed_grad_sum_to(g, &term, term, &spread));
    ED_TRY(ed_grad_reshape(g, &term, term, &shape));
    return ed_grad_give(g, i, term);
}

int ed_gradient_group_norm(ed_grad *g, int64_t groups, float epsilon)
{
    grouped v = { .epsilon = epsilon };
    bool empty;

    ED_TRY(ed_grad_empty(g, 0, &empty));
    if (empty) {
        ED_TRY(ed_grad_empty(g, 1, &empty));
        return ed_grad_empty(g, 2, &empty);
    }
    ED_TRY(group(g, &v, groups));
    if (ed_grad_wants(g, 0))
        ED_TRY(give_group_input(g, &v));
    for (uint32_t i = 1; i < 3; i++)
        if (ed_grad_wants(g, i))
            ED_TRY(give_group_parameter(g, &v, i));
    return ED_OK;
}
