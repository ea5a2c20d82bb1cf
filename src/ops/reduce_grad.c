/*
 * Gradients of the reductions. dy and y get the reduced axes back, of size 1, and then broadcast to
 * x; with n elements reduced to one:
 *
 *     ReduceSum dy    ReduceMean dy / n    ReduceL1 dy sign(x)    ReduceSumSquare 2 x dy
 *     ReduceL2 x dy / y, 0 where y is 0
 *     ReduceMax, ReduceMin  dy / m for the m elements that are y, else 0
 *
 * ReduceProdGrad(dy, x) of domain "ed": dx[i] = dy times the product of the other elements, over
 * the attribute axes (all); dy has those axes with size 1. A single 0 gets all, of two nobody does.
 */
#include "ops/reduce.h"

#include "base/parallel.h"

/* ---- the shape with the axes ---- */
/* dims: x's, 1 where it is reduced. */
static int kept_shape(ed_grad *g, ed_shape *kept)
{
    const ed_id axes = g->n_in > 1 ? g->in[1] : ED_NONE;
    bool reduced[ED_MAX_RANK];
    *kept = *ed_grad_shape(g, g->in[0]);
    if (axes != ED_NONE && !ed_grad_constant(g, axes))
        return ed_grad_fail(g, ED_EUNSUPPORTED,
                            "its axes are computed while the model runs; fold them into constants "
                            "to differentiate it");
    ed_reduce_axes(reduced, g->params, ed_grad_constant(g, axes), kept->rank);
    for (int i = 0; i < kept->rank; i++)
        kept->dim[i] = reduced[i] ? 1 : kept->dim[i];
    return ED_OK;
}

static int dy_with_axes(ed_grad *g, ed_id *dy)
{
    ed_shape kept;
    ED_TRY(kept_shape(g, &kept));
    return ed_grad_reshape(g, dy, ed_grad_dy(g), &kept);
}

static int y_with_axes(ed_grad *g, ed_id *y)
{
    ed_shape kept;
    ED_TRY(kept_shape(g, &kept));
    return ed_grad_reshape(g, y, g->out[0], &kept);
}

static int give_expanded(ed_grad *g, ed_id dy)
{
    const ed_shape shape = *ed_grad_shape(g, g->in[0]);
    ED_TRY(ed_grad_expand(g, &dy, dy, &shape));
    return ed_grad_give(g, 0, dy);
}

/* ---- gradients ---- */
int ed_reduce_sum_gradient(ed_grad *g)
{
    ed_id dy;
    ED_TRY(dy_with_axes(g, &dy));
    return give_expanded(g, dy);
}

int ed_reduce_mean_gradient(ed_grad *g)
{
    ed_id dy;
    int64_t from = 0, to = 0;
    ED_TRY(ed_shape_numel(&from, ed_grad_shape(g, g->in[0])));
    ED_TRY(ed_shape_numel(&to, ed_grad_shape(g, g->out[0])));
    ED_TRY(dy_with_axes(g, &dy));
    if (from) /* else there is nothing that a gradient would be of */
        ED_TRY(ed_grad_scale(g, &dy, dy, (float)((double)to / (double)from)));
    return give_expanded(g, dy);
}

int ed_reduce_sum_square_gradient(ed_grad *g)
{
    ed_id dy, dx;
    ED_TRY(dy_with_axes(g, &dy));
    ED_TRY(ed_grad_scale(g, &dy, dy, 2.0f));
    ED_TRY(ed_grad_binary(g, &dx, "Mul", g->in[0], dy));
    return ed_grad_give(g, 0, dx);
}

int ed_reduce_l1_gradient(ed_grad *g)
{
    const ed_shape shape = *ed_grad_shape(g, g->in[0]);
    ed_id dy, dx;
    ED_TRY(dy_with_axes(g, &dy));
    ED_TRY(ed_grad_expand(g, &dy, dy, &shape));
    ED_TRY(ed_grad_binary(g, &dx, "ed::AbsGrad", dy, g->in[0]));
    return ed_grad_give(g, 0, dx);
}

/* Where y is 0, so is x: any other divisor gives 0. */
int ed_reduce_l2_gradient(ed_grad *g)
{
    ed_id dy, y, dx, zero, is_zero;
    ED_TRY(dy_with_axes(g, &dy));
    ED_TRY(y_with_axes(g, &y));
    ED_TRY(ed_grad_f32(g, &zero, 0.0f));
    ED_TRY(ed_grad_equal(g, &is_zero, y, zero));
    ED_TRY(ed_grad_binary(g, &y, "Add", y, is_zero));
    ED_TRY(ed_grad_binary(g, &dy, "Div", dy, y));
    ED_TRY(ed_grad_binary(g, &dx, "Mul", g->in[0], dy));
    return ed_grad_give(g, 0, dx);
}

int ed_reduce_choice_gradient(ed_grad *g)
{
    ed_id dy, y, chosen, count, dx;
    ED_TRY(dy_with_axes(g, &dy));
    ED_TRY(y_with_axes(g, &y));
    ED_TRY(ed_grad_equal(g, &chosen, g->in[0], y));
    const ed_shape kept = *ed_grad_shape(g, y);
    ED_TRY(ed_grad_sum_to(g, &count, chosen, &kept));
    ED_TRY(ed_grad_binary(g, &dy, "Div", dy, count));
    ED_TRY(ed_grad_binary(g, &dx, "Mul", chosen, dy));
    return ed_grad_give(g, 0, dx);
}

int ed_reduce_prod_gradient(ed_grad *g)
{
    const ed_shape *x = ed_grad_shape(g, g->in[0]);
    int64_t axes[ED_MAX_RANK];
    size_t n = 0;
    ed_shape kept;
    ed_id dy, dx = ED_NONE;
    ED_TRY(kept_shape(g, &kept));
    for (int i = 0; i < x->rank; i++)
        if (kept.dim[i] != x->dim[i])
            axes[n++] = i;
    ED_TRY(dy_with_axes(g, &dy));
    if (n == 0) /* each element is its own product; to the operator, no axes means all */
        return ed_grad_give(g, 0, dy);
    const ed_attr attrs[] = { { .name = "axes", .type = ED_ATTR_INTS, .ints = axes, .count = n },
                              { 0 } };
    ED_TRY(ed_grad_emit_node(g, &dx, 1, "ed::ReduceProdGrad", (ed_id[]){ dy, g->in[0] }, 2, attrs));
    return ed_grad_give(g, 0, dx);
}

/* ---- ReduceProdGrad ---- */
typedef struct prod_job {
    float *dx;
    const float *dy, *x;
    int rank;
    bool reduced[ED_MAX_RANK];
    int64_t dim[ED_MAX_RANK], step[ED_MAX_RANK], n; /* n: elements of one product */
} prod_job;

/* Where element i of the reduced dimensions, or of the others, lies. */
static int64_t place(const prod_job *job, bool reduced, int64_t i)
{
    int64_t at = 0;
    for (int k = job->rank - 1; k >= 0; k--) {
        if (job->reduced[k] != reduced)
            continue;
        at += i % job->dim[k] * job->step[k];
        i /= job->dim[k];
    }
    return at;
}

static void prod_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const prod_job *job = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = place(job, false, i);
        double product = (double)job->dy[i]; /* of the elements that are not 0 */
        int64_t zeros = 0;
        for (int64_t k = 0; k < job->n; k++) {
            double x = (double)job->x[first + place(job, true, k)];
            zeros += x == 0;
            product *= x == 0 ? 1 : x;
        }
        for (int64_t k = 0; k < job->n; k++) {
            int64_t at = first + place(job, true, k);
            double x = (double)job->x[at];
            job->dx[at] = (float)(x == 0 ? (zeros == 1 ? product : 0) : zeros ? 0 : product / x);
        }
    }
}

static int prod_grad_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[1];
    prod_job job = { .dx = c->out[0]->data, .dy = c->in[0]->data, .x = x->data, .n = 1 };
    job.rank = x->shape.rank;
    ed_reduce_axes(job.reduced, c->params, NULL, job.rank);
    for (int64_t i = job.rank - 1, step = 1; i >= 0; step *= x->shape.dim[i--]) {
        job.dim[i] = x->shape.dim[i];
        job.step[i] = step;
        job.n *= job.reduced[i] ? job.dim[i] : 1;
    }
    if (x->numel)
        ed_parallel_for(x->numel / job.n, 4096 / job.n, prod_range, &job);
    return ED_OK;
}

static int infer_prod_grad(ed_infer *ctx)
{
    const ed_shape *dy = &ctx->in[0].shape, *x = &ctx->in[1].shape;
    bool reduced[ED_MAX_RANK], fits = dy->rank < 0 || dy->rank == x->rank;
    int64_t both;
    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0] = ctx->in[1];
    if (x->rank < 0)
        return ED_OK;
    if (!ed_reduce_axes(reduced, ctx->params, NULL, x->rank))
        return ed_infer_fail(ctx, ED_ESHAPE, "an axis is outside of the input's %d dimensions",
                             x->rank);
    for (int i = 0; fits && i < dy->rank; i++)
        fits = ed_dim_unify(&both, dy->dim[i], reduced[i] ? 1 : x->dim[i]);
    char text[128];
    return fits ? ED_OK
                : ed_infer_fail(ctx, ED_ESHAPE,
                                "dy has the shape %s; it must be that of x with size 1 along the "
                                "axes",
                                ed_shape_format(text, sizeof text, dy));
}

static const ed_attr_spec prod_grad_attrs[] = {
    ED_ATTR_INTS_OF("axes", ed_reduce_params, axes),
    { 0 },
};

const ed_op ed_ops_reduce_grad[] = {
    { .type = "ReduceProdGrad",
      .domain = "ed",
      .arity = { 2, 2, 1 },
      .attrs = prod_grad_attrs,
      .params_size = sizeof(ed_reduce_params),
      .infer = infer_prod_grad,
      .forward = { ED_REFERENCE(prod_grad_forward) } },
    { 0 },
};
