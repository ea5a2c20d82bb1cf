/*
 * ReduceMean (float32): the mean over some axes; the sum is kept in double, of nothing it is NaN.
 *
 * Axes are an attribute before opset 18 and input 1 since then; negative ones count from the end,
 * none means all (or, with noop_with_empty_axes, y = x). keepdims leaves a 1 in the place of each.
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/op.h"

#include <math.h>
#include <string.h>

/* ---- which axes ---- */
/* Sets reduced[0 .. rank); false when an axis is outside of it. */
static bool axes_of(bool *reduced, const ed_reduce_params *p, const ed_tensor *axes, int rank)
{
    int64_t n = axes ? axes->numel : p->axes.n;
    for (int i = 0; i < rank; i++)
        reduced[i] = n <= 0 && !p->noop_with_empty_axes;
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = axes ? ed_tensor_get_i64(axes, i) : p->axes.v[i];
        if (axis < -rank || axis >= rank)
            return false;
        reduced[axis < 0 ? axis + rank : axis] = true;
    }
    return true;
}

/* ---- kernel ---- */
typedef struct walk { /* a nest of loops over the input: sizes and steps, the fastest last */
    int rank;
    int64_t dim[ED_MAX_RANK], step[ED_MAX_RANK], numel;
} walk;

typedef struct reduce_job {
    float *y;
    const float *x;
    walk kept, reduced;
} reduce_job;

/* Put a loop around the present ones; loops that run on into each other become one. */
static void walk_add(walk *w, int64_t dim, int64_t step)
{
    w->numel *= dim;
    if (w->rank && w->step[0] * w->dim[0] == step) {
        w->dim[0] *= dim;
        return;
    }
    memmove(w->dim + 1, w->dim, (size_t)w->rank * sizeof *w->dim);
    memmove(w->step + 1, w->step, (size_t)w->rank * sizeof *w->step);
    w->dim[0] = dim;
    w->step[0] = step;
    w->rank++;
}

/* Where iteration i of the nest is. */
static int64_t walk_at(const walk *w, int64_t i)
{
    int64_t at = 0;
    for (int k = w->rank - 1; k >= 0; k--) {
        at += i % w->dim[k] * w->step[k];
        i /= w->dim[k];
    }
    return at;
}

static void reduce_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const reduce_job *job = ctx;
    const walk *r = &job->reduced;
    int64_t n = r->rank ? r->dim[r->rank - 1] : 1, step = r->rank ? r->step[r->rank - 1] : 1;
    (void)thread;

    for (int64_t i = begin; i < end; i++) {
        const float *x = job->x + walk_at(&job->kept, i);
        double sum = 0;
        for (int64_t k = 0; k < r->numel; k += n) { /* a run along the fastest reduced loop */
            const float *run = x + walk_at(r, k);
            for (int64_t j = 0; j < n; j++)
                sum += run[j * step];
        }
        job->y[i] = (float)(sum / (double)r->numel);
    }
}

static int reduce_mean_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[0], *axes = c->n_in > 1 ? c->in[1] : NULL;
    ed_tensor *y = c->out[0];
    reduce_job job = { .y = y->data, .x = x->data };
    bool reduced[ED_MAX_RANK];

    ED_FAIL_IF(!axes_of(reduced, c->params, axes, x->shape.rank), ED_ESHAPE,
               "ReduceMean '%s': an axis is outside of the input's %d dimensions", c->node->name,
               x->shape.rank);
    job.kept.numel = job.reduced.numel = 1;
    for (int64_t i = x->shape.rank - 1, step = 1; i >= 0; step *= x->shape.dim[i--])
        walk_add(reduced[i] ? &job.reduced : &job.kept, x->shape.dim[i], step);
    if (!job.reduced.numel) { /* the mean of nothing */
        for (int64_t i = 0; i < y->numel; i++)
            job.y[i] = NAN;
        return ED_OK;
    }
    ed_parallel_for(y->numel, 4096 / job.reduced.numel, reduce_range, &job);
    return ED_OK;
}

/* ---- inference ---- */
/* Axes that come from another node: only with keepdims is even the rank known. */
static void infer_open(ed_shape *y, const ed_shape *x, bool keepdims)
{
    *y = ED_SHAPE_UNKNOWN;
    if (!keepdims || x->rank < 0)
        return;
    y->rank = x->rank;
    for (int i = 0; i < x->rank; i++)
        y->dim[i] = x->dim[i] == 1 ? 1 : ED_DIM_UNKNOWN;
}

static int infer_reduce(ed_infer *ctx)
{
    const ed_reduce_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape *y = &ctx->out[0].shape;
    bool reduced[ED_MAX_RANK];

    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_F32));
    if (ctx->n_in > 1)
        ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    ctx->out[0].dtype = ctx->in[0].dtype;
    bool given = ctx->n_in > 1 && ed_node_in(ctx->node, 1) != ED_NONE;
    const ed_tensor *axes = given ? ctx->constant[1] : NULL;
    if (x->rank < 0 || (given && !axes)) {
        infer_open(y, x, p->keepdims);
        return ED_OK;
    }
    if (!axes_of(reduced, p, axes, x->rank))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "an axis is outside of the input's %d dimensions; it "
                             "must be in %d to %d",
                             x->rank, -x->rank, x->rank - 1);
    y->rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (!reduced[i] || p->keepdims)
            y->dim[y->rank++] = reduced[i] ? 1 : x->dim[i];
    return ED_OK;
}

static const ed_attr_spec reduce1_attrs[] = {
    ED_ATTR_INTS_OF("axes", ed_reduce_params, axes),
    ED_ATTR_I64_OF("keepdims", ed_reduce_params, keepdims, 1),
    { 0 },
};

static const ed_attr_spec reduce18_attrs[] = {
    ED_ATTR_I64_OF("keepdims", ed_reduce_params, keepdims, 1),
    ED_ATTR_I64_OF("noop_with_empty_axes", ed_reduce_params, noop_with_empty_axes, 0),
    { 0 },
};

const ed_op ed_ops_reduce[] = {
    { .type = "ReduceMean",
      .opset = { 1, 17 },
      .arity = { 1, 1, 1 },
      .attrs = reduce1_attrs,
      .params_size = sizeof(ed_reduce_params),
      .infer = infer_reduce,
      .forward = { ED_FAST_ROW(ed_layout_mean), ED_REFERENCE(reduce_mean_forward) } },
    { .type = "ReduceMean",
      .opset = { 18, 0 },
      .arity = { 1, 2, 1 },
      .attrs = reduce18_attrs,
      .params_size = sizeof(ed_reduce_params),
      .infer = infer_reduce,
      .forward = { ED_FAST_ROW(ed_layout_mean), ED_REFERENCE(reduce_mean_forward) } },
    { 0 },
};
