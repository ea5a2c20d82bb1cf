/*
 * ArgMax, ArgMin (ONNX opset 1, 11, 12, 13): the index (int64) of the largest or least element
 * along `axis` (0); keepdims (1) leaves a 1 in its place. Of equal ones the first, with
 * select_last_index (since 12) the last. A NaN is never larger or less.
 *
 * CumSum (11, 14): y[i] = x[0] + ... + x[i] along the axis that input 1 tells; exclusive: without
 * x[i]; reverse: from the end. Integers wrap around.
 */
#include "base/parallel.h"
#include "ops/gradient.h"

/* The input as [outer, n, inner] over n. */
typedef struct lines {
    int64_t outer, n, inner;
} lines;

static lines lines_of(const ed_shape *x, int64_t axis)
{
    lines l = { 1, 1, 1 };
    axis += axis < 0 ? x->rank : 0;
    for (int i = 0; i < x->rank; i++)
        *(i < axis ? &l.outer : i == axis ? &l.n : &l.inner) *= x->dim[i];
    return l;
}

/* Where line i begins. */
static int64_t line_at(const lines *l, int64_t i)
{
    return i / l->inner * l->n * l->inner + i % l->inner;
}

enum { GRAIN = 4096 };
enum {
    ARG_TYPES = 1u << ED_F32 | 1u << ED_I8 | 1u << ED_U8 | 1u << ED_I16 | 1u << ED_U16 |
                1u << ED_I32 | 1u << ED_U32 | 1u << ED_I64,
    SUM_TYPES = 1u << ED_F32 | 1u << ED_I32 | 1u << ED_I64 | 1u << ED_U32 | 1u << ED_U64,
};

/* ---- ArgMax, ArgMin ---- */
typedef struct arg_params {
    int64_t axis, keepdims, select_last_index;
} arg_params;

typedef struct arg_job {
    const ed_tensor *x;
    int64_t *y;
    lines lines;
    bool least, last;
} arg_job;

/* `better` compares the candidate with the best so far. */
#define FIND_BEST(type, value)                                                                     \
    do {                                                                                           \
        type best = value(0);                                                                      \
        for (int64_t k = 1; k < l->n; k++) {                                                       \
            type v = value(k);                                                                     \
            if ((job->least ? v < best : v > best) || (job->last && v == best)) {                  \
                best = v;                                                                          \
                index = k;                                                                         \
            }                                                                                      \
        }                                                                                          \
    } while (0)
#define AS_FLOAT(k)   (((const float *)job->x->data)[at + (k)*l->inner])
#define AS_INTEGER(k) (ed_tensor_get_i64(job->x, at + (k)*l->inner))

static void arg_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const arg_job *job = ctx;
    const lines *l = &job->lines;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = line_at(l, i), index = 0;
        if (job->x->dtype == ED_F32)
            FIND_BEST(float, AS_FLOAT);
        else
            FIND_BEST(int64_t, AS_INTEGER);
        job->y[i] = index;
    }
}

static int arg_forward(const ed_call *c, bool least)
{
    const arg_params *p = c->params;
    const ed_tensor *x = c->in[0];
    arg_job job = {
        .x = x, .y = c->out[0]->data, .least = least, .last = p->select_last_index != 0
    };
    job.lines = lines_of(&x->shape, p->axis);
    ED_FAIL_IF(c->out[0]->numel && !job.lines.n, ED_ESHAPE,
               "its axis %lld has no elements; it needs one at least", (long long)p->axis);
    if (c->out[0]->numel)
        ed_parallel_for(c->out[0]->numel, GRAIN / job.lines.n, arg_range, &job);
    return ED_OK;
}

static int arg_max_forward(const ed_call *c)
{
    return arg_forward(c, false);
}

static int arg_min_forward(const ed_call *c)
{
    return arg_forward(c, true);
}

static int infer_arg(ed_infer *ctx)
{
    const arg_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape *y = &ctx->out[0].shape;
    int axis = 0;
    ED_TRY(ed_infer_dtypes(ctx, 0, ARG_TYPES));
    ctx->out[0].dtype = ED_I64;
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    y->rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (i != axis || p->keepdims)
            y->dim[y->rank++] = i == axis ? 1 : x->dim[i];
    return ED_OK;
}

/* ---- CumSum ---- */
typedef struct cumsum_params {
    int64_t exclusive, reverse;
} cumsum_params;

#define DEFINE_CUMSUM(name, type)                                                                  \
    static void name(void *py, const void *px, const lines *l, const cumsum_params *p)             \
    {                                                                                              \
        for (int64_t i = 0; i < l->outer * l->inner; i++) {                                        \
            const int64_t first = p->reverse ? l->n - 1 : 0;                                       \
            const int64_t step = p->reverse ? -l->inner : l->inner;                                \
            int64_t at = line_at(l, i) + first * l->inner;                                         \
            type sum = 0;                                                                          \
            for (int64_t k = 0; k < l->n; k++, at += step) {                                       \
                const type x = ((const type *)px)[at];                                             \
                ((type *)py)[at] = p->exclusive ? sum : sum + x;                                   \
                sum += x;                                                                          \
            }                                                                                      \
        }                                                                                          \
    }
DEFINE_CUMSUM(cumsum_f32, float)
DEFINE_CUMSUM(cumsum_u32, uint32_t)
DEFINE_CUMSUM(cumsum_u64, uint64_t)

static int cumsum_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[0];
    int64_t axis = ed_tensor_get_i64(c->in[1], 0);
    ED_FAIL_IF(axis < -x->shape.rank || axis >= x->shape.rank, ED_ESHAPE,
               "axis %lld is outside of the input's %d dimensions", (long long)axis, x->shape.rank);
    lines l = lines_of(&x->shape, axis);
    if (x->dtype == ED_F32)
        cumsum_f32(c->out[0]->data, x->data, &l, c->params);
    else if (ed_dtype_bits(x->dtype) == 32)
        cumsum_u32(c->out[0]->data, x->data, &l, c->params);
    else
        cumsum_u64(c->out[0]->data, x->data, &l, c->params);
    return ED_OK;
}

static int infer_cumsum(ed_infer *ctx)
{
    const ed_shape *s = &ctx->in[1].shape;
    ED_TRY(ed_infer_dtypes(ctx, 0, SUM_TYPES));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I32 | 1u << ED_I64));
    if (s->rank > 1 || (s->rank == 1 && s->dim[0] >= 0 && s->dim[0] != 1))
        return ed_infer_fail(ctx, ED_ESHAPE, "the axis is not a single number");
    return ed_infer_same_as_input(ctx);
}

/* The sums run the other way. */
static int cumsum_gradient(ed_grad *g)
{
    const cumsum_params *p = g->params;
    const ed_attr attrs[] = { { .name = "exclusive", .type = ED_ATTR_INT, .i = p->exclusive },
                              { .name = "reverse", .type = ED_ATTR_INT, .i = !p->reverse },
                              { 0 } };
    ed_id dx = ED_NONE;
    ED_TRY(ed_grad_emit_node(g, &dx, 1, "CumSum", (ed_id[]){ ed_grad_dy(g), g->in[1] }, 2, attrs));
    return ed_grad_give(g, 0, dx);
}

/* ---- rows ---- */
static const ed_attr_spec arg1_attrs[] = {
    ED_ATTR_I64_OF("axis", arg_params, axis, 0),
    ED_ATTR_I64_OF("keepdims", arg_params, keepdims, 1),
    { 0 },
};

static const ed_attr_spec arg12_attrs[] = {
    ED_ATTR_I64_OF("axis", arg_params, axis, 0),
    ED_ATTR_I64_OF("keepdims", arg_params, keepdims, 1),
    ED_ATTR_I64_OF("select_last_index", arg_params, select_last_index, 0),
    { 0 },
};

static const ed_attr_spec cumsum_attrs[] = {
    ED_ATTR_I64_OF("exclusive", cumsum_params, exclusive, 0),
    ED_ATTR_I64_OF("reverse", cumsum_params, reverse, 0),
    { 0 },
};

#define ARG_ROW(op, since, until, table, fn)                                                       \
    {                                                                                              \
        .type = op, .opset = { since, until }, .arity = { 1, 1, 1 }, .attrs = table,               \
        .params_size = sizeof(arg_params), .infer = infer_arg, .gradient = ed_gradient_none,       \
        .forward = {                                                                               \
            ED_REFERENCE(fn)                                                                       \
        }                                                                                          \
    }
const ed_op ed_ops_argreduce[] = {
    ARG_ROW("ArgMax", 1, 11, arg1_attrs, arg_max_forward),
    ARG_ROW("ArgMax", 12, 0, arg12_attrs, arg_max_forward),
    ARG_ROW("ArgMin", 1, 11, arg1_attrs, arg_min_forward),
    ARG_ROW("ArgMin", 12, 0, arg12_attrs, arg_min_forward),
    { .type = "CumSum",
      .opset = { 11, 0 },
      .arity = { 2, 2, 1 },
      .attrs = cumsum_attrs,
      .params_size = sizeof(cumsum_params),
      .infer = infer_cumsum,
      .forward = { ED_REFERENCE(cumsum_forward) },
      .gradient = cumsum_gradient },
    { 0 },
};
