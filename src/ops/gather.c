/*
 * Reading at indices; a negative index counts from the end, one outside is an error.
 *
 * Gather (ONNX opset 1, 11, 13)    y[.., j.., ..] = x[.., indices[j..], ..] along `axis`
 * GatherElements (11, 13)          y[i] = x[i with its axis replaced by indices[i]]
 * GatherND (11, 12, 13)            y[b.., j.., ..] = x[b.., indices[b.., j.., :], ..]
 *
 * Embeddings are a Gather from a weight: rows are copied whole.
 */
#include "ops/gradient.h"
#include "ops/indices.h"
#include "ops/strided.h"

#include "base/parallel.h"

#include <string.h>

typedef struct gather_params {
    int64_t axis;
} gather_params;

static const ed_attr_spec gather_attrs[] = {
    ED_ATTR_I64_OF("axis", gather_params, axis, 0),
    { 0 },
};

typedef struct gather_nd_params {
    int64_t batch_dims;
} gather_nd_params;

static const ed_attr_spec gather_nd_attrs[] = {
    ED_ATTR_I64_OF("batch_dims", gather_nd_params, batch_dims, 0),
    { 0 },
};

int ed_index_fail(int64_t index, int64_t size)
{
    return ed_error_set(ED_ESHAPE,
                        "index %lld is outside of the %lld elements of its axis (%lld to %lld)",
                        (long long)index, (long long)size, (long long)-size, (long long)size - 1);
}

/* ---- Gather ---- */

static int check_types(const ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64 | 1u << ED_I32));
    ctx->out[0].dtype = ctx->in[0].dtype;
    return ED_OK;
}

static int add_dim(const ed_infer *ctx, int64_t dim)
{
    ed_shape *y = &ctx->out[0].shape;

    if (y->rank == ED_MAX_RANK)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED, "the output would have more than %d dimensions",
                             ED_MAX_RANK);
    y->dim[y->rank++] = dim;
    return ED_OK;
}

static int gather_infer(ed_infer *ctx)
{
    const gather_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *list = &ctx->in[1].shape;
    int axis;

    ED_TRY(check_types(ctx));
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    if (list->rank < 0)
        return ED_OK;
    ctx->out[0].shape.rank = 0;
    for (int i = 0; i < axis; i++)
        ED_TRY(add_dim(ctx, x->dim[i]));
    for (int i = 0; i < list->rank; i++)
        ED_TRY(add_dim(ctx, list->dim[i]));
    for (int i = axis + 1; i < x->rank; i++)
        ED_TRY(add_dim(ctx, x->dim[i]));
    return ED_OK;
}

typedef struct gather_job {
    const ed_tensor *indices;
    const char *x;
    char *y;
    int64_t size;  /* of the axis */
    int64_t count; /* indices */
    size_t bytes;  /* of one row behind the axis */
} gather_job;

static void gather_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const gather_job *j = ctx;

    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        int64_t from = ed_tensor_get_i64(j->indices, row % j->count);

        from = row / j->count * j->size + (from < 0 ? from + j->size : from);
        memcpy(j->y + (size_t)row * j->bytes, j->x + (size_t)from * j->bytes, j->bytes);
    }
}

int ed_indices_check(const ed_tensor *indices, int64_t size)
{
    for (int64_t i = 0; i < indices->numel; i++) {
        int64_t index = ed_tensor_get_i64(indices, i);

        if (index < -size || index >= size)
            return ed_index_fail(index, size);
    }
    return ED_OK;
}

static int gather_forward(const ed_call *c)
{
    const gather_params *p = c->params;
    const ed_tensor *x = c->in[0];
    int64_t axis = p->axis < 0 ? p->axis + x->shape.rank : p->axis, outer = 1, inner = 1;

    if (c->out[0]->numel == 0)
        return ED_OK;
    for (int64_t i = 0; i < axis; i++)
        outer *= x->shape.dim[i];
    for (int64_t i = axis + 1; i < x->shape.rank; i++)
        inner *= x->shape.dim[i];
    gather_job job = { c->in[1],           x->data,         c->out[0]->data,
                       x->shape.dim[axis], c->in[1]->numel, (size_t)inner * ed_tensor_width(x) };
    ED_TRY(ed_indices_check(c->in[1], job.size));
    ed_parallel_for(outer * job.count, (int64_t)(32768 / job.bytes) + 1, gather_rows, &job);
    return ED_OK;
}

/* ---- GatherElements ---- */

static int elements_infer(ed_infer *ctx)
{
    const gather_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *list = &ctx->in[1].shape;
    int axis;

    ED_TRY(check_types(ctx));
    ctx->out[0].shape = *list;
    if (x->rank < 0 || list->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    if (x->rank != list->rank)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the indices have rank %d, the data %d; they must be "
                             "the same",
                             list->rank, x->rank);
    for (int i = 0; i < x->rank; i++)
        if (i != axis && x->dim[i] >= 0 && list->dim[i] > x->dim[i])
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "dimension %d of the indices is %lld, the data's "
                                 "%lld; it must not be larger",
                                 i, (long long)list->dim[i], (long long)x->dim[i]);
    return ED_OK;
}

void ed_element_next(ed_element_place *p, const ed_shape *indices, const int64_t *steps, int axis)
{
    for (int i = indices->rank - 1; i >= 0; i--) {
        int64_t step = i == axis ? 0 : steps[i];

        p->at += step;
        if (++p->index[i] < indices->dim[i])
            return;
        p->index[i] = 0;
        p->at -= step * indices->dim[i];
    }
}

static int elements_forward(const ed_call *c)
{
    const gather_params *p = c->params;
    const ed_tensor *x = c->in[0], *indices = c->in[1];
    int axis = (int)(p->axis < 0 ? p->axis + x->shape.rank : p->axis);
    int64_t steps[ED_MAX_RANK], size = x->shape.dim[axis];
    size_t width = ed_tensor_width(x);
    ed_element_place place = { 0 };

    ed_steps_of(steps, &x->shape);
    ED_TRY(ed_indices_check(indices, size));
    for (int64_t i = 0; i < indices->numel; i++) {
        int64_t index = ed_tensor_get_i64(indices, i);
        int64_t from = place.at + (index < 0 ? index + size : index) * steps[axis];

        memcpy((char *)c->out[0]->data + (size_t)i * width,
               (const char *)x->data + (size_t)from * width, width);
        ed_element_next(&place, &indices->shape, steps, axis);
    }
    return ED_OK;
}

/* ---- GatherND ---- */

static int nd_infer(ed_infer *ctx)
{
    const gather_nd_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape, *list = &ctx->in[1].shape;

    ED_TRY(check_types(ctx));
    if (x->rank < 0 || list->rank < 0 || (list->rank > 0 && list->dim[list->rank - 1] < 0))
        return ED_OK;
    int64_t length = list->rank > 0 ? list->dim[list->rank - 1] : 0, batch = p->batch_dims;
    if (list->rank < 1 || x->rank < 1 || batch < 0 || batch >= list->rank || batch >= x->rank ||
        length < 1 || length > x->rank - batch)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "batch_dims %lld and tuples of %lld indices do not "
                             "fit data of rank %d and indices of rank %d",
                             (long long)batch, (long long)length, x->rank, list->rank);
    ctx->out[0].shape.rank = 0;
    for (int i = 0; i < list->rank - 1; i++) {
        int64_t dim = list->dim[i];
        if (i < batch && !ed_dim_unify(&dim, list->dim[i], x->dim[i]))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "batch dimension %d is %lld and %lld; it must be "
                                 "the same",
                                 i, (long long)x->dim[i], (long long)list->dim[i]);
        ED_TRY(add_dim(ctx, dim));
    }
    for (int64_t i = batch + length; i < x->rank; i++)
        ED_TRY(add_dim(ctx, x->dim[i]));
    return ED_OK;
}

int ed_tuple_place(int64_t *place, const ed_tensor *indices, int64_t tuple, const ed_shape *shape,
                   int first)
{
    int length = (int)indices->shape.dim[indices->shape.rank - 1];

    *place = 0;
    for (int i = 0; i < length; i++) {
        int64_t index = ed_tensor_get_i64(indices, tuple * length + i);
        int64_t size = shape->dim[first + i];

        if (index < -size || index >= size)
            return ed_index_fail(index, size);
        *place = *place * size + (index < 0 ? index + size : index);
    }
    return ED_OK;
}

static int nd_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[0], *indices = c->in[1];
    int batch = (int)((const gather_nd_params *)c->params)->batch_dims;
    int length = (int)indices->shape.dim[indices->shape.rank - 1];
    int64_t batches = 1, inner = 1, range = 1;

    if (c->out[0]->numel == 0)
        return ED_OK;
    for (int i = 0; i < x->shape.rank; i++)
        *(i < batch ? &batches : i < batch + length ? &range : &inner) *= x->shape.dim[i];
    int64_t tuples = indices->numel / length;
    size_t bytes = (size_t)inner * ed_tensor_width(x);
    for (int64_t t = 0; t < tuples; t++) {
        int64_t place;

        ED_TRY(ed_tuple_place(&place, indices, t, &x->shape, batch));
        place += t / (tuples / batches) * range;
        memcpy((char *)c->out[0]->data + (size_t)t * bytes,
               (const char *)x->data + (size_t)place * bytes, bytes);
    }
    return ED_OK;
}

#define GATHER_ROW(name, first, attributes, size, infer_fn, forward_fn, gradient_fn)               \
    {                                                                                              \
        .type = name, .opset = { first, 0 }, .arity = { 2, 2, 1 }, .traits = ED_OP_MOVES_DATA,     \
        .attrs = attributes, .params_size = size, .infer = infer_fn,                               \
        .forward = { ED_REFERENCE(forward_fn) }, .gradient = gradient_fn                           \
    }

const ed_op ed_ops_gather[] = {
    GATHER_ROW("Gather", 1, gather_attrs, sizeof(gather_params), gather_infer, gather_forward,
               ed_gradient_gather),
    GATHER_ROW("GatherElements", 11, gather_attrs, sizeof(gather_params), elements_infer,
               elements_forward, ed_gradient_gather_elements),
    GATHER_ROW("GatherND", 11, gather_nd_attrs, sizeof(gather_nd_params), nd_infer, nd_forward,
               ed_gradient_gather_nd),
    { 0 },
};
