/*
 * Operators that bring elements to other places, whatever their type (8 to 64 bits).
 *
 * Transpose (ONNX opset 1, 13 to 23)  y[i0, i1, ...] = x[j], where j[perm[k]] = i[k]; perm reverses
 *                                     if absent
 * Concat (4, 11, 13)                  the inputs one after the other along `axis`
 */
#include "ops/fast.h"
#include "ops/gradient.h"
#include "ops/strided.h"

#include "base/parallel.h"

#include <string.h>

/* ---- Transpose ---- */

typedef struct transpose_params {
    ed_ints perm;
} transpose_params;

static const ed_attr_spec transpose_attrs[] = {
    ED_ATTR_INTS_OF("perm", transpose_params, perm),
    { 0 },
};

static int perm_at(const transpose_params *p, int rank, int i)
{
    return p->perm.n < 0 ? rank - 1 - i : (int)p->perm.v[i];
}

static int transpose_infer(ed_infer *ctx)
{
    const transpose_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    unsigned seen = 0;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (x->rank < 0)
        return ED_OK;
    if (p->perm.n >= 0 && p->perm.n != x->rank)
        return ed_infer_fail(ctx, ED_ESHAPE, "perm has %d numbers; the input has rank %d",
                             p->perm.n, x->rank);
    ctx->out[0].shape.rank = x->rank;
    for (int i = 0; i < x->rank; i++) {
        int64_t from = p->perm.n < 0 ? x->rank - 1 - i : p->perm.v[i];

        if (from < 0 || from >= x->rank || (seen & (1u << from)))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "perm holds %lld; it must hold each of 0 to %d once",
                                 (long long)from, x->rank - 1);
        seen |= 1u << from;
        ctx->out[0].shape.dim[i] = x->dim[from];
    }
    return ED_OK;
}

static int transpose_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[0], *y = c->out[0];
    ed_strided from = { .rank = y->shape.rank };
    int64_t steps[ED_MAX_RANK];

    ed_steps_of(steps, &x->shape);
    for (int i = 0; i < from.rank; i++) {
        from.size[i] = y->shape.dim[i];
        from.step[i] = steps[perm_at(c->params, from.rank, i)];
    }
    ed_copy_strided(y->data, x->data, ed_tensor_width(x), &from);
    return ED_OK;
}

static int transpose_gradient(ed_grad *g)
{
    const int rank = ed_grad_shape(g, g->in[0])->rank;
    int64_t back[ED_MAX_RANK];
    ed_id dx;

    for (int i = 0; i < rank; i++)
        back[perm_at(g->params, rank, i)] = i;
    ED_TRY(ed_grad_transpose(g, &dx, ed_grad_dy(g), back));
    return ed_grad_give(g, 0, dx);
}

/* ---- Concat ---- */

typedef struct concat_params {
    int64_t axis;
} concat_params;

static const ed_attr_spec concat_attrs[] = {
    { "axis", ED_KIND_I64, offsetof(concat_params, axis), 0, NULL, true },
    { 0 },
};

/* Merge input i into the shape so far. */
static int concat_one(ed_infer *ctx, uint32_t i, int axis)
{
    const ed_shape *x = &ctx->in[i].shape;
    ed_shape *y = &ctx->out[0].shape;

    if (x->rank != y->rank)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "input %u has rank %d, input 0 has %d; they must be the "
                             "same",
                             i, x->rank, y->rank);
    for (int d = 0; d < y->rank; d++) {
        if (d == axis) {
            bool known = y->dim[d] >= 0 && x->dim[d] >= 0;

            if (known && __builtin_add_overflow(y->dim[d], x->dim[d], &y->dim[d]))
                return ed_infer_fail(ctx, ED_ESHAPE, "the sum of the inputs' sizes overflows");
            y->dim[d] = known ? y->dim[d] : ED_DIM_UNKNOWN;
        } else if (!ed_dim_unify(&y->dim[d], y->dim[d], x->dim[d])) {
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "dimension %d of input %u differs from input 0's; "
                                 "only dimension %d may",
                                 d, i, axis);
        }
    }
    return ED_OK;
}

static int concat_infer(ed_infer *ctx)
{
    const concat_params *p = ctx->params;
    int axis;

    for (uint32_t i = 0; i < ctx->n_in; i++) {
        ED_TRY(ed_infer_dtypes(ctx, i, ED_DTYPES_BYTES));
        if (ed_node_in(ctx->node, i) == ED_NONE)
            return ed_infer_fail(ctx, ED_EFORMAT, "input %u is omitted; Concat requires it", i);
        if (ctx->out[0].dtype == ED_DTYPE_NONE)
            ctx->out[0].dtype = ctx->in[i].dtype;
        if (ctx->in[i].dtype != ED_DTYPE_NONE && ctx->in[i].dtype != ctx->out[0].dtype)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "input %u is %s, others are %s; they must be of one "
                                 "type",
                                 i, ed_dtype_name(ctx->in[i].dtype),
                                 ed_dtype_name(ctx->out[0].dtype));
    }
    for (uint32_t i = 0; i < ctx->n_in; i++)
        if (ctx->in[i].shape.rank < 0)
            return ED_OK;
    ctx->out[0].shape = ctx->in[0].shape;
    ED_TRY(ed_infer_axis(ctx, p->axis, ctx->in[0].shape.rank, &axis));
    for (uint32_t i = 1; i < ctx->n_in; i++)
        ED_TRY(concat_one(ctx, i, axis));
    return ED_OK;
}

typedef struct concat_job {
    const ed_call *call;
    int64_t outer; /* product of the dimensions before the axis */
} concat_job;

static void concat_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const concat_job *j = ctx;
    ed_tensor *y = j->call->out[0];
    size_t row = y->nbytes / (size_t)j->outer, at = 0;

    (void)thread;
    for (uint32_t i = 0; i < j->call->n_in; i++) {
        const ed_tensor *x = j->call->in[i];
        size_t part = x->nbytes / (size_t)j->outer;

        for (int64_t o = begin; o < end && part > 0; o++)
            memcpy((char *)y->data + (size_t)o * row + at, (const char *)x->data + (size_t)o * part,
                   part);
        at += part;
    }
}

static int concat_forward(const ed_call *c)
{
    const concat_params *p = c->params;
    const ed_shape *y = &c->out[0]->shape;
    concat_job job = { c, 1 };
    int64_t axis = p->axis < 0 ? p->axis + y->rank : p->axis;

    for (int64_t i = 0; i < axis; i++)
        job.outer *= y->dim[i];
    if (c->out[0]->numel > 0)
        ed_parallel_for(job.outer, 32768 / ((int64_t)c->out[0]->nbytes / job.outer) + 1,
                        concat_rows, &job);
    return ED_OK;
}

static int concat_gradient(ed_grad *g)
{
    const int rank = ed_grad_shape(g, g->out[0])->rank;
    const int64_t axis = ((const concat_params *)g->params)->axis;
    const int at = (int)(axis < 0 ? axis + rank : axis);
    int64_t begin = 0;

    for (uint32_t i = 0; i < g->n_in; i++) {
        int64_t end = begin + ed_grad_shape(g, g->in[i])->dim[at];
        ed_id part;

        if (ed_grad_wants(g, i)) {
            ED_TRY(ed_grad_slice(g, &part, ed_grad_dy(g), at, begin, end));
            ED_TRY(ed_grad_give(g, i, part));
        }
        begin = end;
    }
    return ED_OK;
}

const ed_op ed_ops_move[] = {
    { .type = "Transpose",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA,
      .attrs = transpose_attrs,
      .params_size = sizeof(transpose_params),
      .infer = transpose_infer,
      .forward = { ED_REFERENCE(transpose_forward) },
      .gradient = transpose_gradient },
    { .type = "Concat",
      .opset = { 4, 0 },
      .arity = { 1, ED_ARITY_ANY, 1 },
      .attrs = concat_attrs,
      .params_size = sizeof(concat_params),
      .infer = concat_infer,
      .forward = { ED_FAST_ROW(ed_layout_concat), ED_REFERENCE(concat_forward) },
      .gradient = concat_gradient },
    { 0 },
};
