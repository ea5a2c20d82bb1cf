/*
 * Repeating elements.
 *
 * Expand (ONNX opset 8, 13)   x broadcast with the shape in input 1: sizes of 1 on either side give
 *                             way
 * Tile (6, 13)                x repeated `repeats[axis]` times along each axis
 */
#include "ops/gradient.h"
#include "ops/strided.h"

/* Dimension i of a shape aligned at the last of `rank` dimensions; missing ones are 1. */
static int64_t aligned(const int64_t *dims, int n, int rank, int i)
{
    int at = i - (rank - n);

    return at < 0 ? 1 : dims[at];
}

static int expand_dim(const ed_infer *ctx, int64_t *y, int64_t x, int64_t wanted)
{
    *y = wanted == 1 ? x : wanted;
    if (wanted < 0)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the wanted shape holds %lld; sizes must not be "
                             "negative",
                             (long long)wanted);
    if (x >= 0 && x != 1 && wanted != 1 && x != wanted)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "a dimension of %lld does not expand to %lld; only "
                             "one of size 1 does",
                             (long long)x, (long long)wanted);
    return ED_OK;
}

/* The wanted sizes are not known: dimensions greater than 1 stay, as far as the rank is known. */
static void expand_open(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape, *list = &ctx->in[1].shape;
    ed_shape *y = &ctx->out[0].shape;

    if (x->rank < 0 || list->rank != 1 || list->dim[0] < 0 || list->dim[0] > ED_MAX_RANK)
        return;
    y->rank = x->rank > list->dim[0] ? x->rank : (int)list->dim[0];
    for (int i = 0; i < y->rank; i++) {
        y->dim[i] = aligned(x->dim, x->rank, y->rank, i);
        if (y->dim[i] <= 1)
            y->dim[i] = ED_DIM_UNKNOWN;
    }
}

static int expand_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape *y = &ctx->out[0].shape;
    ed_ints wanted;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    ED_TRY(ed_infer_list(ctx, 1, &wanted));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (wanted.n > ED_MAX_RANK)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "the output would have %d dimensions; up to %d are supported",
                             wanted.n, ED_MAX_RANK);
    if (wanted.n < 0 || x->rank < 0) {
        expand_open(ctx);
        return ED_OK;
    }
    y->rank = x->rank > wanted.n ? x->rank : wanted.n;
    for (int i = 0; i < y->rank; i++)
        ED_TRY(expand_dim(ctx, &y->dim[i], aligned(x->dim, x->rank, y->rank, i),
                          aligned(wanted.v, wanted.n, y->rank, i)));
    return ED_OK;
}

static int expand_forward(const ed_call *c)
{
    const ed_shape *x = &c->in[0]->shape, *y = &c->out[0]->shape;
    ed_strided from = { .rank = y->rank };
    int64_t steps[ED_MAX_RANK];

    ed_steps_of(steps, x);
    for (int i = 0; i < y->rank; i++) {
        int at = i - (y->rank - x->rank);

        from.size[i] = y->dim[i];
        from.step[i] = at < 0 || x->dim[at] == 1 ? 0 : steps[at];
    }
    ed_copy_strided(c->out[0]->data, c->in[0]->data, ed_tensor_width(c->in[0]), &from);
    return ED_OK;
}

static int tile_infer(ed_infer *ctx)
{
    const ed_shape *x = &ctx->in[0].shape;
    ed_ints repeats;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    ED_TRY(ed_infer_list(ctx, 1, &repeats));
    ctx->out[0] = ctx->in[0];
    if (repeats.n >= 0 && x->rank >= 0 && repeats.n != x->rank)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "there are %d repeats for %d dimensions; they must be "
                             "as many",
                             repeats.n, x->rank);
    for (int i = 0; i < x->rank; i++) {
        int64_t times = repeats.n < 0 ? ED_DIM_UNKNOWN : repeats.v[i];
        int64_t *dim = &ctx->out[0].shape.dim[i];

        if (repeats.n >= 0 && times < 0)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "axis %d is to be repeated %lld times; it must "
                                 "not be negative",
                                 i, (long long)times);
        if (*dim >= 0 && times >= 0 && !ed_mul_i64(*dim, times, dim))
            return ed_infer_fail(ctx, ED_ESHAPE, "axis %d repeated %lld times is too long", i,
                                 (long long)times);
        if ((*dim < 0 && times != 1) || times < 0)
            *dim = times == 0 ? 0 : ED_DIM_UNKNOWN;
    }
    return ED_OK;
}

static int tile_forward(const ed_call *c)
{
    const ed_shape *x = &c->in[0]->shape;
    ed_strided from = { .rank = 2 * x->rank };
    int64_t steps[ED_MAX_RANK];

    ed_steps_of(steps, x);
    for (int i = 0; i < x->rank; i++) {
        from.size[2 * i] = ed_tensor_get_i64(c->in[1], i); /* the repeats, standing still */
        from.size[2 * i + 1] = x->dim[i];
        from.step[2 * i + 1] = steps[i];
    }
    ed_copy_strided(c->out[0]->data, c->in[0]->data, ed_tensor_width(c->in[0]), &from);
    return ED_OK;
}

static int expand_gradient(ed_grad *g)
{
    return ed_grad_give_broadcast(g, 0, ed_grad_dy(g));
}

/* dy [.., times, size, ..] summed over the times, one axis after the other. */
static int tile_gradient(ed_grad *g)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    ed_id dx = ed_grad_dy(g);
    bool empty;

    ED_TRY(ed_grad_empty(g, 0, &empty));
    if (empty)
        return ED_OK;
    for (int axis = 0; axis < x.rank; axis++) {
        ed_shape shape = *ed_grad_shape(g, dx);
        int64_t inner = x.dim[axis], outer = 1;

        if (shape.dim[axis] == x.dim[axis])
            continue;
        for (int i = 0; i < x.rank; i++)
            *(i < axis ? &outer : &inner) *= i == axis ? 1 : shape.dim[i];
        ED_TRY(ed_grad_reshape(g, &dx, dx, &ED_SHAPE(outer, shape.dim[axis] / x.dim[axis], inner)));
        ED_TRY(ed_grad_reduce_sum(g, &dx, dx, &(int64_t){ 1 }, 1));
        shape.dim[axis] = x.dim[axis];
        ED_TRY(ed_grad_reshape(g, &dx, dx, &shape));
    }
    return ed_grad_give(g, 0, dx);
}

const ed_op ed_ops_expand[] = {
    { .type = "Expand",
      .opset = { 8, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_MOVES_DATA,
      .infer = expand_infer,
      .forward = { ED_REFERENCE(expand_forward) },
      .gradient = expand_gradient },
    { .type = "Tile",
      .opset = { 6, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_MOVES_DATA,
      .infer = tile_infer,
      .forward = { ED_REFERENCE(tile_forward) },
      .gradient = tile_gradient },
    { 0 },
};
