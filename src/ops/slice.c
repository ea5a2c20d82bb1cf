/*
 * Slice (ONNX opset 1 attributes; 10, 11, 13 to 25 inputs)  y[i] = x[start + i * step] along each
 * axis; negative starts and ends count from the end, both are clamped to the axis.
 *
 * Of an unknown dimension only the whole of it is known again: start 0, an end beyond any size.
 */
#include "ops/gradient.h"
#include "ops/strided.h"

#include <string.h>

/* ---- Slice ---- */

typedef struct slice_params { /* before opset 10; later inputs 1 to 4 */
    ed_ints axes, starts, ends;
} slice_params;

static const ed_attr_spec slice_attrs[] = {
    ED_ATTR_INTS_OF("axes", slice_params, axes),
    ED_ATTR_INTS_OF("starts", slice_params, starts),
    ED_ATTR_INTS_OF("ends", slice_params, ends),
    { 0 },
};

enum { BEYOND = INT32_MAX }; /* exporters write an end that no axis reaches */

/* One axis of `size` elements cut to `count` ones from `start` on. */
typedef struct cut {
    int64_t start, step, count;
} cut;

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static cut cut_axis(int64_t size, int64_t start, int64_t end, int64_t step)
{
    cut c = { 0, step < -INT64_MAX ? -INT64_MAX : step, 0 };

    start = start < 0 ? start + size : start;
    end = end < 0 ? end + size : end;
    if (size == 0)
        return c;
    if (c.step > 0) {
        start = clamp(start, 0, size);
        end = clamp(end, 0, size);
        c.count = end > start ? (end - start - 1) / c.step + 1 : 0;
    } else {
        start = clamp(start, 0, size - 1);
        end = clamp(end, -1, size - 1);
        c.count = start > end ? (start - end - 1) / -c.step + 1 : 0;
    }
    c.start = start;
    return c;
}

/* Elements of a dimension that is not known. */
static int64_t cut_unknown(int64_t dim, int64_t start, int64_t end, int64_t step)
{
    bool forwards = step == 1 && start == 0 && end >= BEYOND;
    bool backwards = step == -1 && (start == -1 || start >= BEYOND) && end <= -BEYOND;
    return forwards || backwards ? dim : ED_DIM_UNKNOWN;
}

/* The lists by axis: the ones given, defaults in place of the others. */
typedef struct slices {
    ed_ints axes, starts, ends, steps;
} slices;

static void default_lists(slices *s)
{
    if (s->axes.n < 0) {
        s->axes.n = s->starts.n;
        for (int i = 0; i < s->axes.n; i++)
            s->axes.v[i] = i;
    }
    if (s->steps.n < 0) {
        s->steps.n = s->starts.n;
        for (int i = 0; i < s->steps.n; i++)
            s->steps.v[i] = 1;
    }
}

static int slice_axes(ed_infer *ctx, const slices *s)
{
    ed_shape *y = &ctx->out[0].shape;
    unsigned seen = 0;

    for (int i = 0; i < s->starts.n; i++) {
        int axis;
        ED_TRY(ed_infer_axis(ctx, s->axes.v[i], y->rank, &axis));
        if (seen & (1u << axis))
            return ed_infer_fail(ctx, ED_ESHAPE, "axis %d is sliced twice; it may be once", axis);
        if (s->steps.v[i] == 0)
            return ed_infer_fail(ctx, ED_EFORMAT,
                                 "the step along axis %d is 0; it must be another "
                                 "number",
                                 axis);
        seen |= 1u << axis;
        int64_t start = s->starts.v[i], end = s->ends.v[i], step = s->steps.v[i];
        y->dim[axis] = y->dim[axis] < 0 ? cut_unknown(y->dim[axis], start, end, step)
                                        : cut_axis(y->dim[axis], start, end, step).count;
    }
    return ED_OK;
}

static int check_lists(const ed_infer *ctx, const slices *s)
{
    const ed_ints *lists[] = { &s->ends, &s->axes, &s->steps };
    static const char *const names[] = { "ends", "axes", "steps" };

    for (size_t i = 0; i < ED_LENGTH(lists); i++)
        if (lists[i]->n != s->starts.n)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "there are %d starts and %d %s; they must be as "
                                 "many",
                                 s->starts.n, lists[i]->n, names[i]);
    return ED_OK;
}

/* An input that is there, but not a constant. */
static bool varies(const ed_infer *ctx, uint32_t i)
{
    return ed_node_in(ctx->node, i) != ED_NONE && !ctx->constant[i];
}

/* Axes that are not constant: every dimension may change; else only theirs. */
static void open_axes(ed_infer *ctx, const ed_ints *axes)
{
    ed_shape *y = &ctx->out[0].shape;

    for (int i = 0; i < (axes->n < 0 ? y->rank : axes->n); i++) {
        int64_t axis = axes->n < 0 ? i : axes->v[i] < 0 ? axes->v[i] + y->rank : axes->v[i];
        if (axis >= 0 && axis < y->rank)
            y->dim[axis] = ED_DIM_UNKNOWN;
    }
}

static int slice_infer_lists(ed_infer *ctx, slices *s)
{
    ctx->out[0] = ctx->in[0];
    if (ctx->in[0].shape.rank < 0)
        return ED_OK;
    default_lists(s);
    ED_TRY(check_lists(ctx, s));
    return slice_axes(ctx, s);
}

static int slice_infer_attrs(ed_infer *ctx)
{
    const slice_params *p = ctx->params;
    slices s = { p->axes, p->starts, p->ends, { .n = -1 } };

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    if (p->starts.n < 0)
        return ed_infer_fail(ctx, ED_EFORMAT,
                             "the attribute 'starts' is missing; before opset 10 "
                             "this operator requires it");
    return slice_infer_lists(ctx, &s);
}

static int slice_infer(ed_infer *ctx)
{
    slices s;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_list(ctx, 1, &s.starts));
    ED_TRY(ed_infer_list(ctx, 2, &s.ends));
    ED_TRY(ed_infer_list(ctx, 3, &s.axes));
    ED_TRY(ed_infer_list(ctx, 4, &s.steps));
    if (!varies(ctx, 1) && !varies(ctx, 2) && !varies(ctx, 3) && !varies(ctx, 4))
        return slice_infer_lists(ctx, &s);
    ctx->out[0] = ctx->in[0];
    open_axes(ctx, &s.axes);
    return ED_OK;
}

static void copy_slices(const ed_call *c, slices *s)
{
    const ed_tensor *x = c->in[0];
    ed_strided from = { .rank = x->shape.rank };
    size_t width = ed_tensor_width(x);
    int64_t first = 0;

    default_lists(s);
    ed_steps_of(from.step, &x->shape);
    memcpy(from.size, x->shape.dim, sizeof x->shape.dim);
    for (int i = 0; i < s->starts.n; i++) {
        int64_t axis = s->axes.v[i] < 0 ? s->axes.v[i] + x->shape.rank : s->axes.v[i];
        cut k = cut_axis(x->shape.dim[axis], s->starts.v[i], s->ends.v[i], s->steps.v[i]);

        first += k.start * from.step[axis];
        from.size[axis] = k.count;
        from.step[axis] *= k.count > 1 ? k.step : 0;
    }
    if (c->out[0]->numel > 0)
        ed_copy_strided(c->out[0]->data, (const char *)x->data + (size_t)first * width, width,
                        &from);
}

static int slice_forward_attrs(const ed_call *c)
{
    const slice_params *p = c->params;
    slices s = { p->axes, p->starts, p->ends, { .n = -1 } };

    copy_slices(c, &s);
    return ED_OK;
}

static int slice_forward(const ed_call *c)
{
    slices s;

    ed_list_read(&s.starts, c->in[1]);
    ed_list_read(&s.ends, c->in[2]);
    ed_list_read(&s.axes, c->n_in > 3 ? c->in[3] : NULL);
    ed_list_read(&s.steps, c->n_in > 4 ? c->in[4] : NULL);
    copy_slices(c, &s);
    return ED_OK;
}

/* ---- gradient: dy put back where it was read, zeros in between and around ---- */

/* dy along an axis of `outer` x [count] x `inner`, with step - 1 zeros behind each element. */
static int spread_axis(ed_grad *g, ed_id *dy, int axis, int64_t step)
{
    static const int64_t none[4] = { 0 };
    ed_shape shape = *ed_grad_shape(g, *dy), four = ED_SHAPE(1, shape.dim[axis], 1, 1);

    for (int i = 0; i < shape.rank; i++)
        if (i != axis)
            four.dim[i < axis ? 0 : 3] *= shape.dim[i];
    ED_TRY(ed_grad_reshape(g, dy, *dy, &four));
    ED_TRY(ed_grad_pad(g, dy, *dy, none, (int64_t[]){ 0, 0, step - 1, 0 }));
    shape.dim[axis] *= step;
    return ed_grad_reshape(g, dy, *dy, &shape);
}

/* The order along an axis turned around; only where Slice has steps. */
static int turn_axis(ed_grad *g, ed_id *x, int axis)
{
    ed_id in[5] = { *x };

    ED_TRY(ed_grad_i64(g, &in[1], &(int64_t){ -1 }, 1));
    ED_TRY(ed_grad_i64(g, &in[2], &(int64_t){ INT64_MIN }, 1));
    ED_TRY(ed_grad_i64(g, &in[3], &(int64_t){ axis }, 1));
    ED_TRY(ed_grad_i64(g, &in[4], &(int64_t){ -1 }, 1));
    return ed_grad_emit(g, x, "Slice", in, 5);
}

static int put_back(ed_grad *g, slices *s)
{
    const ed_shape shape = *ed_grad_shape(g, g->in[0]);
    int64_t begin[ED_MAX_RANK] = { 0 }, end[ED_MAX_RANK] = { 0 };
    ed_id dx = ed_grad_dy(g);
    bool empty;

    ED_TRY(ed_grad_empty(g, 0, &empty));
    if (empty)
        return ED_OK;
    default_lists(s);
    for (int i = 0; i < s->starts.n; i++) {
        int axis = (int)(s->axes.v[i] < 0 ? s->axes.v[i] + shape.rank : s->axes.v[i]);
        int64_t size = shape.dim[axis];
        cut k = cut_axis(size, s->starts.v[i], s->ends.v[i], s->steps.v[i]);

        if (k.count > 1 && k.step < 0) {
            ED_TRY(turn_axis(g, &dx, axis));
            k.start += (k.count - 1) * k.step;
            k.step = -k.step;
        }
        if (k.count > 1 && k.step > 1)
            ED_TRY(spread_axis(g, &dx, axis, k.step));
        begin[axis] = k.start;
        end[axis] = size - k.start - ed_grad_shape(g, dx)->dim[axis]; /* may cut zeros off */
    }
    ED_TRY(ed_grad_pad(g, &dx, dx, begin, end));
    return ed_grad_give(g, 0, dx);
}

static int slice_gradient_attrs(ed_grad *g)
{
    const slice_params *p = g->params;
    slices s = { p->axes, p->starts, p->ends, { .n = -1 } };

    return put_back(g, &s);
}

static int slice_gradient(ed_grad *g)
{
    ed_ints lists[4];
    slices s;

    for (uint32_t i = 1; i < 5; i++) {
        ed_id id = i < g->n_in ? g->in[i] : ED_NONE;
        if (id != ED_NONE && !ed_grad_constant(g, id))
            return ed_grad_fail(g, ED_EUNSUPPORTED,
                                "input %u is computed; its gradient needs constant bounds", i);
        ed_list_read(&lists[i - 1], ed_grad_constant(g, id));
    }
    s = (slices){ lists[2], lists[0], lists[1], lists[3] };
    return put_back(g, &s);
}

const ed_op ed_ops_slice[] = {
    { .type = "Slice",
      .opset = { 1, 9 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_MOVES_DATA,
      .attrs = slice_attrs,
      .params_size = sizeof(slice_params),
      .infer = slice_infer_attrs,
      .forward = { ED_REFERENCE(slice_forward_attrs) },
      .gradient = slice_gradient_attrs },
    { .type = "Slice",
      .opset = { 10, 0 },
      .arity = { 3, 5, 1 },
      .traits = ED_OP_MOVES_DATA,
      .infer = slice_infer,
      .forward = { ED_REFERENCE(slice_forward) },
      .gradient = slice_gradient },
    { 0 },
};
