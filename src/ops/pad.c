/*
 * Pad (ONNX opset 2: attributes; 11, 13, 18 to 23: inputs, with axes from 18, wrap from 19), of
 * elements of any type of whole bytes.
 *
 *   y[i] = x[source(i - begin)] along every axis; outside of x by mode:
 *   constant   the value (0 when absent); a negative pad crops
 *   reflect    x mirrored about its first and last element, which are not repeated
 *   edge       the nearest element
 *   wrap       x repeated
 */
#include "ops/gradient.h"

#include "base/parallel.h"

#include <string.h>

enum { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

static const char *const pad_words[] = { "constant", "reflect", "edge", "wrap", NULL };

typedef struct pad_params {
    int mode;
    ed_ints pads; /* before opset 11 */
    float value;
} pad_params;

static const ed_attr_spec pad_attrs_2[] = {
    ED_ATTR_ENUM_OF("mode", pad_params, mode, pad_words),
    { "pads", ED_KIND_INTS, offsetof(pad_params, pads), 0, NULL, true },
    ED_ATTR_F32_OF("value", pad_params, value, 0),
    { 0 },
};

static const ed_attr_spec pad_attrs_11[] = {
    ED_ATTR_ENUM_OF("mode", pad_params, mode, pad_words),
    { 0 },
};

/* ---- from attributes or inputs to a shape ---- */

typedef struct pads {
    int64_t begin[ED_MAX_RANK], end[ED_MAX_RANK];
} pads;

/* What is wrong with the pads, or NULL. `in` holds the node's inputs: constants, or those of a
 * call. */
static const char *resolve_pads(pads *out, const pad_params *p, int rank, uint32_t n_in,
                                const ed_tensor *const *in)
{
    const ed_tensor *list = n_in > 1 ? in[1] : NULL, *axes = n_in > 3 ? in[3] : NULL;
    int64_t n = axes ? axes->numel : rank, count = list ? list->numel : p->pads.n;
    unsigned seen = 0;

    memset(out, 0, sizeof *out);
    if (n > rank || count != 2 * n)
        return "the list of pads must hold a begin and an end for each axis";
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = axes ? ed_tensor_get_i64(axes, i) : i;
        int64_t begin = list ? ed_tensor_get_i64(list, i) : p->pads.v[i];
        int64_t end = list ? ed_tensor_get_i64(list, n + i) : p->pads.v[n + i];

        axis += axis < 0 ? rank : 0;
        if (axis < 0 || axis >= rank || (seen & (1u << axis)))
            return "the axes must be different dimensions of the input";
        seen |= 1u << axis;
        if (begin < -INT32_MAX || begin > INT32_MAX || end < -INT32_MAX || end > INT32_MAX)
            return "a pad is beyond 2^31";
        if (p->mode != PAD_CONSTANT && (begin < 0 || end < 0))
            return "negative pads crop in mode constant only";
        out->begin[axis] = begin;
        out->end[axis] = end;
    }
    return NULL;
}

/* The padded shape, unknown where x is; NULL, or what is wrong. */
static const char *padded_shape(ed_shape *y, const ed_shape *x, const pads *by, int mode)
{
    y->rank = x->rank;
    for (int i = 0; i < x->rank; i++) {
        bool moved = by->begin[i] != 0 || by->end[i] != 0;

        y->dim[i] = !moved ? x->dim[i] : ED_DIM_UNKNOWN;
        if (!moved || x->dim[i] < 0)
            continue;
        y->dim[i] = x->dim[i] + by->begin[i] + by->end[i];
        if (y->dim[i] < 0)
            return "the pads crop more than there is";
        if (x->dim[i] == 0 && mode != PAD_CONSTANT)
            return "an empty dimension has nothing to repeat; use mode constant";
    }
    return NULL;
}

/* An input that must be a constant for the shape to be known: present but not constant. */
static bool is_open(const ed_infer *ctx, uint32_t i)
{
    return ed_node_in(ctx->node, i) != ED_NONE && !ctx->constant[i];
}

/* The value must be one element of x's type; the attribute is a float, 0 fits every type. */
static int check_value(const ed_infer *ctx)
{
    const pad_params *p = ctx->params;
    ed_dtype dtype = ctx->in[0].dtype;

    if (p->value != 0.0f && dtype != ED_F32 && dtype != ED_DTYPE_NONE)
        return ed_infer_fail(
            ctx, ED_EUNSUPPORTED,
            "attribute value is %g for elements of type %s; only 0 is supported there",
            (double)p->value, ed_dtype_name(dtype));
    if (ed_node_in(ctx->node, 2) == ED_NONE)
        return ED_OK;
    if (ctx->in[2].dtype != ED_DTYPE_NONE && dtype != ED_DTYPE_NONE && ctx->in[2].dtype != dtype)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "constant_value is %s, the input %s; they must be the same",
                             ed_dtype_name(ctx->in[2].dtype), ed_dtype_name(dtype));
    if (ctx->constant[2] && ctx->constant[2]->numel != 1)
        return ed_infer_fail(ctx, ED_ESHAPE, "constant_value has %lld elements; it must have one",
                             (long long)ctx->constant[2]->numel);
    return ED_OK;
}

static int pad_infer(ed_infer *ctx)
{
    const pad_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    const char *problem;
    pads by;

    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_BYTES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    ED_TRY(ed_infer_dtypes(ctx, 3, 1u << ED_I64 | 1u << ED_I32));
    ED_TRY(check_value(ctx));
    ctx->out[0].dtype = ctx->in[0].dtype;
    if (x->rank < 0)
        return ED_OK;
    if (is_open(ctx, 1) || is_open(ctx, 3)) {
        ctx->out[0].shape.rank = x->rank;
        for (int i = 0; i < x->rank; i++)
            ctx->out[0].shape.dim[i] = ED_DIM_UNKNOWN;
        return ED_OK;
    }
    problem = resolve_pads(&by, p, x->rank, ctx->n_in, ctx->constant);
    if (!problem)
        problem = padded_shape(&ctx->out[0].shape, x, &by, p->mode);
    return problem ? ed_infer_fail(ctx, ED_ESHAPE, "%s", problem) : ED_OK;
}

/* ---- reference kernel ---- */

typedef struct pad_job {
    const char *x, *value;
    char *y;
    size_t width;
    int mode, rank;
    const ed_shape *from, *to;
    const pads *by;
} pad_job;

/* The place in [0, n) that position i, counted from x's first element, reads; -1: the value. */
static int64_t source_of(int mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (mode == PAD_CONSTANT)
        return -1;
    if (mode == PAD_EDGE || n == 1)
        return i < 0 ? 0 : n - 1;
    if (mode == PAD_WRAP)
        return (i % n + n) % n;
    int64_t period = 2 * (n - 1), at = (i % period + period) % period;

    return at < n ? at : period - at;
}

static void fill(char *y, int64_t n, const char *value, size_t width)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(y + (size_t)i * width, value, width);
}

/* One row along the last axis from the row at x. */
static void pad_row(const pad_job *j, char *y, const char *x)
{
    int last = j->rank - 1;
    int64_t n = j->from->dim[last], out = j->to->dim[last], begin = j->by->begin[last];
    int64_t lo = begin > 0 ? begin : 0, hi = begin + n < out ? begin + n : out;

    for (int64_t o = 0; o < out; o++) {
        int64_t i = source_of(j->mode, o - begin, n);

        if (o == lo && hi > lo) {
            memcpy(y + (size_t)o * j->width, x + (size_t)i * j->width,
                   (size_t)(hi - lo) * j->width);
            o = hi - 1;
        } else {
            memcpy(y + (size_t)o * j->width, i < 0 ? j->value : x + (size_t)i * j->width, j->width);
        }
    }
}

static void pad_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const pad_job *j = ctx;
    int64_t n = j->from->dim[j->rank - 1], out = j->to->dim[j->rank - 1];

    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        char *y = j->y + (size_t)(row * out) * j->width;
        int64_t rest = row, step = 1, from = 0;
        bool inside = true;

        for (int a = j->rank - 2; a >= 0 && inside; a--) {
            int64_t at =
                source_of(j->mode, rest % j->to->dim[a] - j->by->begin[a], j->from->dim[a]);

            inside = at >= 0;
            from += at * step;
            step *= j->from->dim[a];
            rest /= j->to->dim[a];
        }
        if (inside)
            pad_row(j, y, j->x + (size_t)(from * n) * j->width);
        else
            fill(y, out, j->value, j->width);
    }
}

static int pad_forward(const ed_call *c)
{
    const pad_params *p = c->params;
    const ed_tensor *x = c->in[0], *y = c->out[0], *value = c->n_in > 2 ? c->in[2] : NULL;
    char attribute[sizeof(int64_t)] = { 0 }; /* bytes of 0 are the number 0 of every type */
    ed_shape shape;
    pads by;
    const char *problem = resolve_pads(&by, p, x->shape.rank, c->n_in, c->in);

    if (!problem)
        problem = padded_shape(&shape, &x->shape, &by, p->mode);
    if (!problem && !ed_shape_equal(&shape, &y->shape))
        problem = "the pads do not lead to the shape that the model declares";
    if (!problem && value && (value->numel != 1 || value->dtype != x->dtype))
        problem = "constant_value must be one element of the input's type";
    ED_FAIL_IF(problem, ED_ESHAPE, "%s", problem);
    if (y->numel == 0)
        return ED_OK;
    if (x->dtype == ED_F32)
        memcpy(attribute, &p->value, sizeof p->value);
    pad_job job = { x->data,   value ? value->data : attribute,
                    y->data,   ed_dtype_bits(x->dtype) / 8,
                    p->mode,   x->shape.rank,
                    &x->shape, &y->shape,
                    &by };

    if (job.rank == 0) /* a single number has no axis to pad */
        memcpy(y->data, x->data, y->nbytes);
    else
        ed_parallel_for(y->numel / y->shape.dim[job.rank - 1], 64, pad_rows, &job);
    return ED_OK;
}

/* ---- gradient ---- */

static int read_pads(ed_grad *g, pads *by)
{
    const ed_tensor *in[4] = { NULL };

    for (uint32_t i = 1; i < g->n_in && i < 4; i += 2) {
        in[i] = ed_grad_constant(g, g->in[i]);
        if (g->in[i] != ED_NONE && !in[i])
            return ed_grad_fail(g, ED_EUNSUPPORTED,
                                "input %u is computed; its gradient needs constant pads", i);
    }
    const char *problem =
        resolve_pads(by, g->params, ed_grad_shape(g, g->in[0])->rank, g->n_in, in);
    return problem ? ed_grad_fail(g, ED_ESHAPE, "%s", problem) : ED_OK;
}

/* The modes that repeat elements read each axis at indices. */
static int read_back(ed_grad *g, ed_id *dx, const pads *by, int axis)
{
    const int mode = ((const pad_params *)g->params)->mode;
    const int64_t n = ed_grad_shape(g, g->in[0])->dim[axis];
    ed_shape shape = *ed_grad_shape(g, *dx);
    ed_tensor *t;
    ed_id indices;

    ED_TRY(ed_tensor_new(&t, ED_I64, &ED_SHAPE(shape.dim[axis])));
    for (int64_t i = 0; i < t->numel; i++)
        ((int64_t *)t->data)[i] = source_of(mode, i - by->begin[axis], n);
    ED_TRY(ed_graph_add_constant_take(g->graph, &indices, "sources", t));
    shape.dim[axis] = n;
    return ed_grad_ungather(g, dx, *dx, indices, axis, &shape);
}

/* The sum of dy where the value stands: 1 there is what Pad makes of zeros. */
static int give_value(ed_grad *g)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    ed_id in[4] = { ED_NONE, g->in[1], ED_NONE, g->n_in > 3 ? g->in[3] : ED_NONE }, d;

    ED_TRY(ed_grad_zeros(g, &in[0], &x));
    ED_TRY(ed_grad_f32(g, &in[2], 1.0f));
    ED_TRY(ed_grad_emit_like(g, &d, "Pad", in, g->n_in));
    ED_TRY(ed_grad_binary(g, &d, "Mul", d, ed_grad_dy(g)));
    const ed_shape value = *ed_grad_shape(g, g->in[2]);
    ED_TRY(ed_grad_sum_to(g, &d, d, &value));
    return ed_grad_give(g, 2, d);
}

static int pad_gradient(ed_grad *g)
{
    const pad_params *p = g->params;
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    int64_t begin[ED_MAX_RANK], end[ED_MAX_RANK];
    ed_id dx = ed_grad_dy(g);
    pads by;

    ED_TRY(read_pads(g, &by));
    for (int i = 0; i < x.rank; i++) {
        begin[i] = -by.begin[i];
        end[i] = -by.end[i];
        if (p->mode != PAD_CONSTANT && (begin[i] || end[i]))
            ED_TRY(read_back(g, &dx, &by, i));
    }
    if (p->mode == PAD_CONSTANT)
        ED_TRY(ed_grad_pad(g, &dx, dx, begin, end));
    ED_TRY(ed_grad_give(g, 0, dx));
    return ed_grad_wants(g, 2) ? give_value(g) : ED_OK;
}

const ed_op ed_ops_pad[] = {
    { .type = "Pad",
      .opset = { 2, 10 },
      .arity = { 1, 1, 1 },
      .attrs = pad_attrs_2,
      .params_size = sizeof(pad_params),
      .infer = pad_infer,
      .forward = { ED_REFERENCE(pad_forward) },
      .gradient = pad_gradient },
    { .type = "Pad",
      .opset = { 11, 0 },
      .arity = { 2, 4, 1 },
      .attrs = pad_attrs_11,
      .params_size = sizeof(pad_params),
      .infer = pad_infer,
      .forward = { ED_REFERENCE(pad_forward) },
      .gradient = pad_gradient },
    { 0 },
};
