/*
 * Split (ONNX opset 2, 11 attribute `split`; 13 input; 18 to 25 also num_outputs): consecutive
 * parts along one axis, of the listed sizes or equal ones. With num_outputs the last part may be
 * smaller.
 */
#include "ops/gradient.h"
#include "ops/strided.h"

#include <string.h>

typedef struct split_params {
    int64_t axis, num_outputs;
    ed_ints split;
} split_params;

static const ed_attr_spec split_attrs[] = {
    ED_ATTR_I64_OF("axis", split_params, axis, 0),
    ED_ATTR_I64_OF("num_outputs", split_params, num_outputs, 0),
    ED_ATTR_INTS_OF("split", split_params, split),
    { 0 },
};

/* The sizes as the node has them: a constant input (any number of parts), an attribute, or none. */
typedef struct parts {
    const ed_tensor *list;
    const ed_ints *attr;
    int64_t dim, count; /* of the axis; outputs */
} parts;

static bool are_listed(const parts *p)
{
    return p->list || p->attr->n >= 0;
}

/* Elements of part i. */
static int64_t part_at(const parts *p, int64_t i)
{
    if (p->list)
        return ed_tensor_get_i64(p->list, i);
    if (p->attr->n >= 0)
        return p->attr->v[i];
    if (p->dim < 0)
        return ED_DIM_UNKNOWN;
    int64_t size = (p->dim + p->count - 1) / p->count, left = p->dim - i * size;
    return left >= size ? size : left > 0 ? left : 0;
}

static int check_equal(const ed_infer *ctx, const parts *p)
{
    int64_t wanted = ((const split_params *)ctx->params)->num_outputs;

    if (wanted != 0 && wanted != p->count)
        return ed_infer_fail(ctx, ED_EFORMAT, "num_outputs is %lld; the node has %lld outputs",
                             (long long)wanted, (long long)p->count);
    if (p->dim >= 0 && p->dim % p->count != 0 && wanted == 0)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "its axis has %lld elements, which cannot be split into %lld equal "
                             "parts; give the sizes in 'split'",
                             (long long)p->dim, (long long)p->count);
    return ED_OK;
}

/* The listed parts must make up the axis. */
static int check_listed(const ed_infer *ctx, const parts *p)
{
    int64_t n = p->list ? p->list->numel : p->attr->n, sum = 0;

    if (n != p->count)
        return ed_infer_fail(ctx, ED_EFORMAT, "'split' lists %lld parts; the node has %lld outputs",
                             (long long)n, (long long)p->count);
    for (int64_t i = 0; i < n; i++) {
        int64_t size = part_at(p, i);

        if (size < 0 || __builtin_add_overflow(sum, size, &sum))
            return ed_infer_fail(ctx, ED_ESHAPE, "'split' holds %lld; sizes must not be negative",
                                 (long long)size);
    }
    if (p->dim >= 0 && sum != p->dim)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the parts have %lld elements, the axis %lld; they must be as many",
                             (long long)sum, (long long)p->dim);
    return ED_OK;
}

static int split_infer(ed_infer *ctx)
{
    const split_params *params = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    bool varies = ed_node_in(ctx->node, 1) != ED_NONE && !ctx->constant[1];
    int axis;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    if (ctx->n_in > 1)
        ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    for (uint32_t i = 0; i < ctx->n_out; i++)
        ctx->out[i] = ctx->in[0];
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, params->axis, x->rank, &axis));
    parts p = { ctx->n_in > 1 ? ctx->constant[1] : NULL, &params->split, x->dim[axis], ctx->n_out };
    if (!varies)
        ED_TRY(are_listed(&p) ? check_listed(ctx, &p) : check_equal(ctx, &p));
    for (uint32_t i = 0; i < ctx->n_out; i++)
        ctx->out[i].shape.dim[axis] = varies ? ED_DIM_UNKNOWN : part_at(&p, i);
    return ED_OK;
}

static int split_forward(const ed_call *c)
{
    const split_params *params = c->params;
    const ed_tensor *x = c->in[0];
    int64_t axis = params->axis < 0 ? params->axis + x->shape.rank : params->axis;
    parts p = { c->n_in > 1 ? c->in[1] : NULL, &params->split, x->shape.dim[axis], c->n_out };
    ed_strided from = { .rank = x->shape.rank };
    size_t at = 0, width = ed_tensor_width(x);

    ed_steps_of(from.step, &x->shape);
    for (uint32_t i = 0; i < c->n_out; i++) {
        if (c->out[i] && c->out[i]->numel > 0) {
            memcpy(from.size, c->out[i]->shape.dim, sizeof c->out[i]->shape.dim);
            ed_copy_strided(c->out[i]->data, (const char *)x->data + at, width, &from);
        }
        at += (size_t)(part_at(&p, i) * from.step[axis]) * width;
    }
    return ED_OK;
}

/* The parts again side by side, zeros in place of those that the loss does not depend on. */
static int split_gradient(ed_grad *g)
{
    const split_params *params = g->params;
    ed_shape shape = *ed_grad_shape(g, g->in[0]);
    const int64_t axis = params->axis < 0 ? params->axis + shape.rank : params->axis;
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = axis }, { 0 } };
    const parts p = { g->n_in > 1 ? ed_grad_constant(g, g->in[1]) : NULL, &params->split,
                      shape.dim[axis], g->n_out };
    int rc = ED_OK;
    ed_id dx, *in = ed_calloc(g->n_out, sizeof *in);

    if (!in)
        return ED_ENOMEM;
    for (uint32_t i = 0; i < g->n_out; i++) {
        in[i] = g->dout[i];
        shape.dim[axis] =
            g->out[i] == ED_NONE ? part_at(&p, i) : ed_grad_shape(g, g->out[i])->dim[axis];
        if (in[i] == ED_NONE)
            ED_GOTO(ed_grad_zeros(g, &in[i], &shape));
    }
    ED_GOTO(ed_grad_emit_node(g, &dx, 1, "Concat", in, g->n_out, attrs));
    ED_GOTO(ed_grad_give(g, 0, dx));
done:
    ed_free(in);
    return rc;
}

const ed_op ed_ops_split[] = {
    { .type = "Split",
      .opset = { 2, 12 },
      .arity = { 1, 1, ED_ARITY_ANY },
      .traits = ED_OP_MOVES_DATA,
      .attrs = split_attrs,
      .params_size = sizeof(split_params),
      .infer = split_infer,
      .forward = { ED_REFERENCE(split_forward) },
      .gradient = split_gradient },
    { .type = "Split",
      .opset = { 13, 0 },
      .arity = { 1, 2, ED_ARITY_ANY },
      .traits = ED_OP_MOVES_DATA,
      .attrs = split_attrs,
      .params_size = sizeof(split_params),
      .infer = split_infer,
      .forward = { ED_REFERENCE(split_forward) },
      .gradient = split_gradient },
    { 0 },
};
