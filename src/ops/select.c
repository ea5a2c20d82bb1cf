/*
 * Operators that decide by position.
 *
 * TopK (ONNX opset 1 attribute k; 10, 11 input k)   the k largest (or smallest) along `axis`, in
 *     order, and their indices; of equal ones the first; NaN counts as the largest
 * Trilu (14)     the upper or lower triangle of the last two dimensions, 0 elsewhere
 * OneHot (9, 11) values[1] where the new axis's index is the one in x, values[0] elsewhere; an
 *     index outside of the depth gives none
 */
#include "ops/gradient.h"
#include "ops/strided.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

/* ---- TopK ---- */

typedef struct topk_params {
    int64_t axis, k, largest, sorted; /* k before opset 10; later input 1 */
} topk_params;

static const ed_attr_spec topk_attrs[] = {
    ED_ATTR_I64_OF("axis", topk_params, axis, -1),
    ED_ATTR_I64_OF("k", topk_params, k, -1),
    ED_ATTR_I64_OF("largest", topk_params, largest, 1),
    ED_ATTR_I64_OF("sorted", topk_params, sorted, 1), /* in order is one of the orders of 0 */
    { 0 },
};

/* Float16 is not ordered here, nor are two elements in one byte. */
enum { TOPK_DTYPES = ED_DTYPES_BYTES & ~(1u << ED_F16 | 1u << ED_BF16 | 1u << ED_BOOL) };

static int topk_infer(ed_infer *ctx)
{
    const topk_params *p = ctx->params;
    const ed_tensor *count = ctx->n_in > 1 ? ctx->constant[1] : NULL;
    ed_shape y = ctx->in[0].shape;
    int64_t k = count && count->numel == 1 ? ed_tensor_get_i64(count, 0) : p->k;
    int axis;

    ED_TRY(ed_infer_dtypes(ctx, 0, TOPK_DTYPES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    if (count ? count->numel != 1 || k < 0 : ctx->n_in < 2 && k < 0)
        return ed_infer_fail(ctx, ED_EFORMAT, "k must be one number, not negative");
    if (y.rank >= 0) {
        ED_TRY(ed_infer_axis(ctx, p->axis, y.rank, &axis));
        if (y.dim[axis] >= 0 && k > y.dim[axis])
            return ed_infer_fail(ctx, ED_ESHAPE, "k is %lld; the axis has %lld elements",
                                 (long long)k, (long long)y.dim[axis]);
        y.dim[axis] = k < 0 ? ED_DIM_UNKNOWN : k;
    }
    ctx->out[0] = (ed_type){ ctx->in[0].dtype, y };
    if (ctx->n_out > 1)
        ctx->out[1] = (ed_type){ ED_I64, y };
    return ED_OK;
}

typedef struct ranked { /* one of real and whole is used */
    double real;
    int64_t whole, index;
} ranked;

static int by_first(const ranked *a, const ranked *b)
{
    return (a->index > b->index) - (a->index < b->index);
}

/* Ascending, NaN last. */
static int compare(const ranked *a, const ranked *b)
{
    int nan = (isnan(a->real) != 0) - (isnan(b->real) != 0);
    int real = (a->real > b->real) - (a->real < b->real);

    return nan ? nan : real ? real : (a->whole > b->whole) - (a->whole < b->whole);
}

static int smallest_first(const void *a, const void *b)
{
    int order = compare(a, b);
    return order ? order : by_first(a, b);
}

static int largest_first(const void *a, const void *b)
{
    int order = compare(b, a);
    return order ? order : by_first(a, b);
}

static ranked rank_of(const ed_tensor *x, int64_t at, int64_t index)
{
    if (x->dtype == ED_F32 || x->dtype == ED_F64)
        return (ranked){ ed_tensor_get_f64(x, at), 0, index };
    /* the upper half of uint64 reads as negative: the sign turned over, the order is right again */
    int64_t flip = x->dtype == ED_U64 ? INT64_MIN : 0;
    return (ranked){ 0, ed_tensor_get_i64(x, at) ^ flip, index };
}

static int topk_forward(const ed_call *c)
{
    const topk_params *p = c->params;
    const ed_tensor *x = c->in[0];
    int64_t axis = p->axis < 0 ? p->axis + x->shape.rank : p->axis, n = x->shape.dim[axis];
    int64_t k = c->n_in > 1 ? ed_tensor_get_i64(c->in[1], 0) : p->k, inner = 1;
    size_t width = ed_tensor_width(x);

    for (int64_t i = axis + 1; i < x->shape.rank; i++)
        inner *= x->shape.dim[i];
    ranked *row = ed_calloc((size_t)n, sizeof *row);
    if (!row)
        return ED_ENOMEM;
    for (int64_t r = 0; n > 0 && r < x->numel / n; r++) {
        int64_t from = r / inner * n * inner + r % inner, to = r / inner * k * inner + r % inner;

        for (int64_t i = 0; i < n; i++)
            row[i] = rank_of(x, from + i * inner, i);
        qsort(row, (size_t)n, sizeof *row, p->largest ? largest_first : smallest_first);
        for (int64_t i = 0; i < k; i++, to += inner) {
            if (c->out[0])
                memcpy((char *)c->out[0]->data + (size_t)to * width,
                       (const char *)x->data + (size_t)(from + row[i].index * inner) * width,
                       width);
            if (c->n_out > 1 && c->out[1])
                ((int64_t *)c->out[1]->data)[to] = row[i].index;
        }
    }
    ed_free(row);
    return ED_OK;
}

/* *indices: the node's own, or those of one like it when the model has no use for them. */
static int topk_indices(ed_grad *g, ed_id *indices)
{
    const topk_params *p = g->params;
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = p->axis },
                              { .name = "largest", .type = ED_ATTR_INT, .i = p->largest },
                              { .name = "sorted", .type = ED_ATTR_INT, .i = p->sorted },
                              { .name = "k", .type = ED_ATTR_INT, .i = p->k },
                              { 0 } };
    ed_id out[2] = { ED_NONE, 0 };
    *indices = g->n_out > 1 ? g->out[1] : ED_NONE;
    if (*indices != ED_NONE)
        return ED_OK;
    ED_TRY(ed_grad_emit_node(g, out, 2, "TopK", g->in, g->n_in, attrs));
    *indices = out[1];
    return ED_OK;
}

/* dy goes back to where the elements came from. */
static int topk_gradient(ed_grad *g)
{
    const topk_params *p = g->params;
    const ed_shape shape = *ed_grad_shape(g, g->in[0]);
    const int64_t opset = ed_graph_opset(g->graph, "");
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = p->axis }, { 0 } };
    ed_id indices, zeros, dx = ED_NONE;
    if (opset < 9)
        return ed_grad_fail(g, ED_EUNSUPPORTED,
                            "opset %lld has no operator for its gradient; convert the model to "
                            "opset 13 or later",
                            (long long)opset);
    ED_TRY(topk_indices(g, &indices));
    ED_TRY(ed_grad_f32(g, &zeros, 0.0f));
    ED_TRY(ed_grad_expand(g, &zeros, zeros, &shape));
    ED_TRY(ed_grad_emit_node(g, &dx, 1, opset < 11 ? "Scatter" : "ScatterElements",
                             (ed_id[]){ zeros, indices, ed_grad_dy(g) }, 3, attrs));
    return ed_grad_give(g, 0, dx);
}

/* ---- Trilu ---- */

typedef struct trilu_params {
    int64_t upper;
} trilu_params;

static const ed_attr_spec trilu_attrs[] = {
    ED_ATTR_I64_OF("upper", trilu_params, upper, 1),
    { 0 },
};

static int trilu_infer(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    if (ctx->in[0].shape.rank == 0 || ctx->in[0].shape.rank == 1)
        return ed_infer_fail(ctx, ED_ESHAPE, "the input has rank %d; it must have two dimensions",
                             ctx->in[0].shape.rank);
    return ed_infer_same_as_input(ctx);
}

static int trilu_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[0];
    bool upper = ((const trilu_params *)c->params)->upper != 0;
    int64_t columns = x->shape.dim[x->shape.rank - 1], rows = x->shape.dim[x->shape.rank - 2];
    int64_t k = c->n_in > 1 && c->in[1] ? ed_tensor_get_i64(c->in[1], 0) : 0;
    size_t width = ed_tensor_width(x);

    k = k < -rows ? -rows : k > columns ? columns : k;
    for (int64_t r = 0; columns > 0 && r < x->numel / columns; r++) {
        /* the upper triangle begins at this column, the lower one ends behind it */
        int64_t edge = r % rows + k + (upper ? 0 : 1);
        char *y = (char *)c->out[0]->data + (size_t)(r * columns) * width;

        edge = edge < 0 ? 0 : edge > columns ? columns : edge;
        size_t cut = (size_t)edge * width, whole = (size_t)columns * width;
        memcpy(y, (const char *)x->data + (size_t)(r * columns) * width, whole);
        memset(y + (upper ? 0 : cut), 0, upper ? cut : whole - cut);
    }
    return ED_OK;
}

/* The same triangle of dy. */
static int trilu_gradient(ed_grad *g)
{
    const ed_id in[2] = { ed_grad_dy(g), g->n_in > 1 ? g->in[1] : ED_NONE };
    ed_id dx;
    ED_TRY(ed_grad_emit_like(g, &dx, "Trilu", in, g->n_in));
    return ed_grad_give(g, 0, dx);
}

/* ---- OneHot ---- */

typedef struct one_hot_params {
    int64_t axis;
} one_hot_params;

static const ed_attr_spec one_hot_attrs[] = {
    ED_ATTR_I64_OF("axis", one_hot_params, axis, -1),
    { 0 },
};

static int one_hot_infer(ed_infer *ctx)
{
    const one_hot_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    const ed_tensor *depth = ctx->constant[1];
    int axis;

    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_I64 | 1u << ED_I32 | 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64 | 1u << ED_I32 | 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 2, ED_DTYPES_BYTES));
    ctx->out[0].dtype = ctx->in[2].dtype;
    if (depth && (depth->numel != 1 || ed_tensor_get_i64(depth, 0) < 1))
        return ed_infer_fail(ctx, ED_EFORMAT, "the depth must be one number, at least 1");
    if (x->rank < 0)
        return ED_OK;
    if (x->rank == ED_MAX_RANK)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED, "the output would have more than %d dimensions",
                             ED_MAX_RANK);
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank + 1, &axis));
    ctx->out[0].shape.rank = x->rank + 1;
    for (int i = 0; i <= x->rank; i++)
        ctx->out[0].shape.dim[i] = i < axis ? x->dim[i] : i > axis ? x->dim[i - 1] : -1;
    ctx->out[0].shape.dim[axis] = depth ? ed_tensor_get_i64(depth, 0) : ED_DIM_UNKNOWN;
    return ED_OK;
}

static int one_hot_forward(const ed_call *c)
{
    const one_hot_params *p = c->params;
    const ed_tensor *x = c->in[0], *values = c->in[2];
    ed_tensor *y = c->out[0];
    int64_t axis = p->axis < 0 ? p->axis + y->shape.rank : p->axis, depth = y->shape.dim[axis];
    size_t width = ed_tensor_width(y);
    ed_strided off = { 1, { y->numel }, { 0 } };
    int64_t inner = 1;

    ED_FAIL_IF(values->numel != 2, ED_ESHAPE,
               "it has %lld values; they must be the one for off and the one for on",
               (long long)values->numel);
    ed_copy_strided(y->data, values->data, width, &off);
    for (int64_t i = axis + 1; i < y->shape.rank; i++)
        inner *= y->shape.dim[i];
    for (int64_t i = 0; i < x->numel; i++) {
        int64_t index = ed_tensor_get_i64(x, i);

        index = index < 0 ? index + depth : index;
        if (index >= 0 && index < depth)
            memcpy((char *)y->data +
                       (size_t)((i / inner * depth + index) * inner + i % inner) * width,
                   (const char *)values->data + width, width);
    }
    return ED_OK;
}

/* values[1] gets the sum of dy where it stands, values[0] the rest. */
static int one_hot_gradient(ed_grad *g)
{
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = 0 }, { 0 } };
    const ed_shape one = ED_SHAPE(1);
    ed_tensor *t;
    ed_id values, mask, on, off, both = ED_NONE;
    if (!ed_grad_wants(g, 2))
        return ED_OK;
    ED_TRY(ed_tensor_from(&t, ED_F32, &ED_SHAPE(2), (const float[]){ 0.0f, 1.0f }));
    ED_TRY(ed_graph_add_constant_take(g->graph, &values, "off_on", t));
    ED_TRY(ed_grad_emit_like(g, &mask, "OneHot", (ed_id[]){ g->in[0], g->in[1], values }, 3));
    ED_TRY(ed_grad_binary(g, &on, "Mul", ed_grad_dy(g), mask));
    ED_TRY(ed_grad_sum_to(g, &on, on, &one));
    ED_TRY(ed_grad_sum_to(g, &off, ed_grad_dy(g), &one));
    ED_TRY(ed_grad_binary(g, &off, "Sub", off, on));
    ED_TRY(ed_grad_emit_node(g, &both, 1, "Concat", (ed_id[]){ off, on }, 2, attrs));
    return ed_grad_give(g, 2, both);
}

/* ---- rows ---- */

#define TOPK_ROW(first, last, inputs)                                                              \
    {                                                                                              \
        .type = "TopK", .opset = { first, last }, .arity = { inputs, inputs, 2 },                  \
        .attrs = topk_attrs, .params_size = sizeof(topk_params), .infer = topk_infer,              \
        .gradient = topk_gradient, .forward = {                                                    \
            ED_REFERENCE(topk_forward)                                                             \
        }                                                                                          \
    }

const ed_op ed_ops_select[] = {
    TOPK_ROW(1, 9, 1),
    TOPK_ROW(10, 0, 2),
    { .type = "Trilu",
      .opset = { 14, 0 },
      .arity = { 1, 2, 1 },
      .attrs = trilu_attrs,
      .params_size = sizeof(trilu_params),
      .infer = trilu_infer,
      .forward = { ED_REFERENCE(trilu_forward) },
      .gradient = trilu_gradient },
    { .type = "OneHot",
      .opset = { 9, 0 },
      .arity = { 3, 3, 1 },
      .attrs = one_hot_attrs,
      .params_size = sizeof(one_hot_params),
      .infer = one_hot_infer,
      .forward = { ED_REFERENCE(one_hot_forward) },
      .gradient = one_hot_gradient },
    { 0 },
};
