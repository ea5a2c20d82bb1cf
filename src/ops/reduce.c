/*
 * Reductions over some axes; float32 is summed in double.
 *
 * ReduceMean, ReduceSum, ReduceProd, ReduceMax, ReduceMin (NaN wins), ReduceL1 (sum |x|), ReduceL2
 * (sqrt sum x^2), ReduceSumSquare (sum x^2). All but the mean and L2 on integers too, which wrap
 * around. Of nothing: the mean is NaN, the product 1, the largest -infinity or the least integer,
 * the least the opposite, the others 0.
 *
 * Axes are an attribute before opset 18 (ReduceSum: 13) and input 1 since then; negative ones count
 * from the end, none means all (or, with noop_with_empty_axes, each element alone). keepdims leaves
 * a 1 in the place of each.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/reduce.h"

#include <math.h>
#include <string.h>

/* ---- which axes ---- */
bool ed_reduce_axes(bool *reduced, const ed_reduce_params *p, const ed_tensor *axes, int rank)
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

/* ---- the functions ---- */
/* acc and the n elements at x, `step` apart, as one number. */
typedef double (*fold_fn)(double acc, const float *x, int64_t n, int64_t step);
typedef int64_t (*fold_int_fn)(int64_t acc, int64_t x);

typedef struct reduction {
    double start; /* of nothing */
    fold_fn fold;
    double (*finish)(double acc, double count); /* NULL: acc */
    fold_int_fn fold_int;
    int64_t start_int; /* INT64_MIN, INT64_MAX: the least and largest of the type */
} reduction;

/* In 16 lanes, always in the same order. */
ED_BODY double sum_row_body(const float *x, int64_t n)
{
    enum { LANES = 16 };
    double lane[LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += (double)x[i + k];
    for (; i < n; i++)
        sum += (double)x[i];
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}
ED_CLONES(double, sum_row, (const float *x, int64_t n), (x, n))

static double fold_sum(double acc, const float *x, int64_t n, int64_t step)
{
    if (step == 1)
        return acc + sum_row(x, n);
    for (int64_t i = 0; i < n; i++)
        acc += (double)x[i * step];
    return acc;
}

#define DEFINE_FOLD(name, EXPR)                                                                    \
    static double name(double acc, const float *x, int64_t n, int64_t step)                        \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            double v = (double)x[i * step];                                                        \
            acc = EXPR;                                                                            \
        }                                                                                          \
        return acc;                                                                                \
    }
DEFINE_FOLD(fold_prod, acc *v)
DEFINE_FOLD(fold_max, v > acc || isnan(v) ? v : acc)
DEFINE_FOLD(fold_min, v < acc || isnan(v) ? v : acc)
DEFINE_FOLD(fold_magnitude, acc + fabs(v))
DEFINE_FOLD(fold_square, acc + v * v)

#define DEFINE_FOLD_INT(name, EXPR)                                                                \
    static int64_t name(int64_t acc, int64_t v)                                                    \
    {                                                                                              \
        return (int64_t)(EXPR);                                                                    \
    }
DEFINE_FOLD_INT(add_int, (uint64_t)acc + (uint64_t)v)
DEFINE_FOLD_INT(multiply_int, (uint64_t)acc *(uint64_t)v)
DEFINE_FOLD_INT(larger_int, v > acc ? v : acc)
DEFINE_FOLD_INT(lesser_int, v < acc ? v : acc)
DEFINE_FOLD_INT(add_magnitude_int, (uint64_t)acc + (v < 0 ? 0 - (uint64_t)v : (uint64_t)v))
DEFINE_FOLD_INT(add_square_int, (uint64_t)acc + (uint64_t)v * (uint64_t)v)

static double mean_of(double acc, double count)
{
    return acc / count;
}

static double root_of(double acc, double count)
{
    (void)count;
    return sqrt(acc);
}

/* ---- kernel ---- */
enum { COLUMNS = 64 };

typedef struct walk { /* a nest of loops over the input: sizes and steps, the fastest last */
    int rank;
    int64_t dim[ED_MAX_RANK], step[ED_MAX_RANK], numel;
} walk;

typedef struct reduce_job {
    const reduction *op;
    ed_tensor *y;
    const ed_tensor *x;
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

static void reduce_floats(void *ctx, int64_t begin, int64_t end, int thread)
{
    const reduce_job *job = ctx;
    const walk *r = &job->reduced;
    int64_t n = r->rank ? r->dim[r->rank - 1] : 1, step = r->rank ? r->step[r->rank - 1] : 1;
    (void)thread;

    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)job->x->data + walk_at(&job->kept, i);
        double acc = job->op->start;
        for (int64_t k = 0; k < r->numel; k += n) /* a run along the fastest reduced loop */
            acc = job->op->fold(acc, x + walk_at(r, k), n, step);
        if (job->op->finish)
            acc = job->op->finish(acc, (double)r->numel);
        ((float *)job->y->data)[i] = (float)acc;
    }
}

/* acc[c] += the n elements x[c], x[c + step], ... of each of the neighbouring columns. */
ED_BODY void add_columns_body(double *acc, const float *x, int64_t n, int64_t step, int64_t columns)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < columns; c++)
            acc[c] += (double)x[i * step + c];
}
ED_CLONES_VOID(add_columns, (double *acc, const float *x, int64_t n, int64_t step, int64_t columns),
               (acc, x, n, step, columns))

/* Sums whose fastest loop is one that stays: COLUMNS neighbours at once, each in its order. */
static void sum_columns(void *ctx, int64_t begin, int64_t end, int thread)
{
    const reduce_job *job = ctx;
    const walk *kept = &job->kept, *r = &job->reduced;
    const int64_t row = kept->dim[kept->rank - 1], n = r->dim[r->rank - 1];
    (void)thread;

    for (int64_t i = begin, columns; i < end; i += columns) {
        const float *x = (const float *)job->x->data + walk_at(kept, i);
        double acc[COLUMNS] = { 0 };
        columns = row - i % row < end - i ? row - i % row : end - i;
        columns = columns < COLUMNS ? columns : COLUMNS;
        for (int64_t k = 0; k < r->numel; k += n)
            add_columns(acc, x + walk_at(r, k), n, r->step[r->rank - 1], columns);
        for (int64_t c = 0; c < columns; c++) {
            double sum = job->op->finish ? job->op->finish(acc[c], (double)r->numel) : acc[c];
            ((float *)job->y->data)[i + c] = (float)sum;
        }
    }
}

/* The least or largest number of a type in place of INT64_MIN or INT64_MAX. */
static int64_t within(int64_t v, ed_dtype dtype)
{
    unsigned bits = dtype == ED_BOOL ? 1 : ed_dtype_bits(dtype);
    bool is_signed = dtype == ED_I8 || dtype == ED_I16 || dtype == ED_I32 || dtype == ED_I64;
    if (bits == 64 || (v != INT64_MIN && v != INT64_MAX))
        return v;
    int64_t largest = ((int64_t)1 << (is_signed ? bits - 1 : bits)) - 1;
    return v == INT64_MAX ? largest : is_signed ? -largest - 1 : 0;
}

static void reduce_integers(void *ctx, int64_t begin, int64_t end, int thread)
{
    const reduce_job *job = ctx;
    size_t width = ed_dtype_bits(job->y->dtype) / 8;
    (void)thread;

    for (int64_t i = begin; i < end; i++) {
        int64_t at = walk_at(&job->kept, i);
        int64_t acc = within(job->op->start_int, job->y->dtype);
        for (int64_t k = 0; k < job->reduced.numel; k++)
            acc = job->op->fold_int(acc, ed_tensor_get_i64(job->x, at + walk_at(&job->reduced, k)));
        memcpy((char *)job->y->data + (size_t)i * width, &acc, width); /* the low bytes are first */
    }
}

static bool sums_columns(const reduce_job *job)
{
    const walk *kept = &job->kept;
    return job->op->fold == fold_sum && job->reduced.rank && kept->rank &&
           kept->step[kept->rank - 1] == 1 && kept->dim[kept->rank - 1] > 1;
}

static int reduce_forward(const ed_call *c, const reduction *op)
{
    enum { GRAIN = 4096 };
    const ed_tensor *x = c->in[0], *axes = c->n_in > 1 ? c->in[1] : NULL;
    reduce_job job = { .op = op, .y = c->out[0], .x = x };
    bool reduced[ED_MAX_RANK];

    ED_FAIL_IF(!ed_reduce_axes(reduced, c->params, axes, x->shape.rank), ED_ESHAPE,
               "an axis is outside of the input's %d dimensions", x->shape.rank);
    job.kept.numel = job.reduced.numel = 1;
    for (int64_t i = x->shape.rank - 1, step = 1; i >= 0; step *= x->shape.dim[i--])
        walk_add(reduced[i] ? &job.reduced : &job.kept, x->shape.dim[i], step);
    int64_t grain = job.reduced.numel ? GRAIN / job.reduced.numel : GRAIN;
    if (x->dtype == ED_F32 && sums_columns(&job))
        ed_parallel_for(job.y->numel, grain > COLUMNS ? grain : COLUMNS, sum_columns, &job);
    else
        ed_parallel_for(job.y->numel, grain, x->dtype == ED_F32 ? reduce_floats : reduce_integers,
                        &job);
    return ED_OK;
}

#define DEFINE_REDUCTION(name, ...)                                                                \
    static int name##_forward(const ed_call *c)                                                    \
    {                                                                                              \
        static const reduction op = { __VA_ARGS__ };                                               \
        return reduce_forward(c, &op);                                                             \
    }
DEFINE_REDUCTION(mean, 0, fold_sum, mean_of, NULL, 0)
DEFINE_REDUCTION(sum, 0, fold_sum, NULL, add_int, 0)
DEFINE_REDUCTION(prod, 1, fold_prod, NULL, multiply_int, 1)
DEFINE_REDUCTION(max, -INFINITY, fold_max, NULL, larger_int, INT64_MIN)
DEFINE_REDUCTION(min, INFINITY, fold_min, NULL, lesser_int, INT64_MAX)
DEFINE_REDUCTION(l1, 0, fold_magnitude, NULL, add_magnitude_int, 0)
DEFINE_REDUCTION(l2, 0, fold_square, root_of, NULL, 0)
DEFINE_REDUCTION(sum_square, 0, fold_square, NULL, add_square_int, 0)

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

static int infer_reduce(ed_infer *ctx, unsigned dtypes)
{
    const ed_reduce_params *p = ctx->params;
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape *y = &ctx->out[0].shape;
    bool reduced[ED_MAX_RANK];

    ED_TRY(ed_infer_dtypes(ctx, 0, dtypes));
    if (ctx->n_in > 1)
        ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64));
    ctx->out[0].dtype = ctx->in[0].dtype;
    bool given = ctx->n_in > 1 && ed_node_in(ctx->node, 1) != ED_NONE;
    const ed_tensor *axes = given ? ctx->constant[1] : NULL;
    if (x->rank < 0 || (given && !axes)) {
        infer_open(y, x, p->keepdims);
        return ED_OK;
    }
    if (!ed_reduce_axes(reduced, p, axes, x->rank))
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

enum {
    INTEGERS = 1u << ED_I8 | 1u << ED_U8 | 1u << ED_I16 | 1u << ED_U16 | 1u << ED_I32 |
               1u << ED_U32 | 1u << ED_I64,
};

static int infer_float(ed_infer *ctx)
{
    return infer_reduce(ctx, 1u << ED_F32);
}

static int infer_number(ed_infer *ctx)
{
    return infer_reduce(ctx, 1u << ED_F32 | INTEGERS);
}

/* Of truth values the largest is "any", the least "all". */
static int infer_ordered(ed_infer *ctx)
{
    return infer_reduce(ctx, 1u << ED_F32 | INTEGERS | 1u << ED_BOOL);
}

/* ---- rows ---- */
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

/* The form with the attribute `axes`, and the one where it is input 1. */
#define ROWS(op, input_since, infer_fn, gradient_fn, ...)                                          \
    { .type = op,                                                                                  \
      .opset = { 1, (input_since)-1 },                                                             \
      .arity = { 1, 1, 1 },                                                                        \
      .attrs = reduce1_attrs,                                                                      \
      .params_size = sizeof(ed_reduce_params),                                                     \
      .infer = infer_fn,                                                                           \
      .gradient = gradient_fn,                                                                     \
      .forward = { __VA_ARGS__ } },                                                                \
    {                                                                                              \
        .type = op, .opset = { input_since, 0 }, .arity = { 1, 2, 1 }, .attrs = reduce18_attrs,    \
        .params_size = sizeof(ed_reduce_params), .infer = infer_fn, .gradient = gradient_fn,       \
        .forward = {                                                                               \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
const ed_op ed_ops_reduce[] = {
    ROWS("ReduceMean", 18, infer_float, ed_reduce_mean_gradient, ED_FAST_ROW(ed_layout_mean),
         ED_REFERENCE(mean_forward)),
    ROWS("ReduceSum", 13, infer_number, ed_reduce_sum_gradient, ED_FAST_ROW(ed_layout_mean),
         ED_REFERENCE(sum_forward)),
    ROWS("ReduceProd", 18, infer_number, ed_reduce_prod_gradient, ED_REFERENCE(prod_forward)),
    ROWS("ReduceMax", 18, infer_ordered, ed_reduce_choice_gradient, ED_REFERENCE(max_forward)),
    ROWS("ReduceMin", 18, infer_ordered, ed_reduce_choice_gradient, ED_REFERENCE(min_forward)),
    ROWS("ReduceL1", 18, infer_number, ed_reduce_l1_gradient, ED_REFERENCE(l1_forward)),
    ROWS("ReduceL2", 18, infer_float, ed_reduce_l2_gradient, ED_REFERENCE(l2_forward)),
    ROWS("ReduceSumSquare", 18, infer_number, ed_reduce_sum_square_gradient,
         ED_REFERENCE(sum_square_forward)),
    { 0 },
};
