/*
 * Arithmetic on two tensors with numpy broadcasting: Add, Sub, Mul, Div on float32, and on int32
 * and int64 (arithmetic on shapes; it wraps around, Div truncates towards zero, division by 0 is an
 * error).
 *
 *     y[i, j, ...] = a[i or 0, j or 0, ...] op b[i or 0, j or 0, ...]
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/op.h"

#include <string.h>

enum { GRAIN = 4096 };

/* ---- one run of n elements; a step of 0 repeats one element, the other step is 1 then ---- */
typedef void (*run_fn)(void *y, const void *a, const void *b, int64_t n, int step_a, int step_b);

/* The three cases apart, so that each loop vectorizes. */
#define DEFINE_RUN(name, type, EXPR)                                                               \
    static void name(void *py, const void *pa, const void *pb, int64_t n, int step_a, int step_b)  \
    {                                                                                              \
        type *y = py;                                                                              \
        const type *a = pa, *b = pb;                                                               \
        if (step_a && step_b)                                                                      \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = EXPR(a[i], b[i]);                                                           \
        else if (step_a)                                                                           \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = EXPR(a[i], *b);                                                             \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = EXPR(*a, b[i]);                                                             \
    }

#define EXPR_ADD(a, b) ((a) + (b))
#define EXPR_SUB(a, b) ((a) - (b))
#define EXPR_MUL(a, b) ((a) * (b))
#define EXPR_DIV(a, b) ((a) / (b))
/* Signed, without the overflow of the least number / -1; the sign of the unsigned type tells. */
#define EXPR_DIV_I32(a, b) ((b) == UINT32_MAX ? 0u - (a) : (uint32_t)((int32_t)(a) / (int32_t)(b)))
#define EXPR_DIV_I64(a, b)                                                                         \
    ((b) == UINT64_MAX ? UINT64_C(0) - (a) : (uint64_t)((int64_t)(a) / (int64_t)(b)))

DEFINE_RUN(add_f32, float, EXPR_ADD)
DEFINE_RUN(sub_f32, float, EXPR_SUB)
DEFINE_RUN(mul_f32, float, EXPR_MUL)
DEFINE_RUN(div_f32, float, EXPR_DIV)
DEFINE_RUN(add_i32, uint32_t, EXPR_ADD)
DEFINE_RUN(sub_i32, uint32_t, EXPR_SUB)
DEFINE_RUN(mul_i32, uint32_t, EXPR_MUL)
DEFINE_RUN(div_i32, uint32_t, EXPR_DIV_I32)
DEFINE_RUN(add_i64, uint64_t, EXPR_ADD)
DEFINE_RUN(sub_i64, uint64_t, EXPR_SUB)
DEFINE_RUN(mul_i64, uint64_t, EXPR_MUL)
DEFINE_RUN(div_i64, uint64_t, EXPR_DIV_I64)

/* ---- broadcasting: the output as rows of `n` elements ---- */
typedef struct broadcast_job {
    run_fn run;
    char *y;
    const char *a, *b;
    size_t size; /* of an element */
    int rank;    /* after merging neighbours that step alike; at least 1 */
    int64_t dim[ED_MAX_RANK], step_a[ED_MAX_RANK], step_b[ED_MAX_RANK];
} broadcast_job;

/* Elements between neighbours along each output dimension; 0 where the input repeats. */
static void steps_of(int64_t *step, const ed_shape *in, const ed_shape *out)
{
    int64_t stride = 1;
    for (int i = out->rank - 1; i >= 0; i--) {
        int k = i - (out->rank - in->rank);
        int64_t dim = k < 0 ? 1 : in->dim[k];
        step[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
}

/* Drop dimensions of 1 and merge a dimension into the one before it where both inputs run on. */
static void collapse(broadcast_job *job, const ed_shape *out, const int64_t *step_a,
                     const int64_t *step_b)
{
    int r = 0;
    for (int i = 0; i < out->rank; i++) {
        int64_t n = out->dim[i];
        if (n == 1)
            continue;
        if (r && job->step_a[r - 1] == n * step_a[i] && job->step_b[r - 1] == n * step_b[i]) {
            r--;
            n *= job->dim[r];
        }
        job->dim[r] = n;
        job->step_a[r] = step_a[i];
        job->step_b[r] = step_b[i];
        r++;
    }
    if (!r) { /* one element */
        job->dim[0] = job->step_a[0] = job->step_b[0] = 1;
        r = 1;
    }
    job->rank = r;
}

static void broadcast_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const broadcast_job *job = ctx;
    const int last = job->rank - 1;
    (void)thread;

    while (begin < end) {
        int64_t row = begin / job->dim[last], column = begin % job->dim[last];
        int64_t n = job->dim[last] - column < end - begin ? job->dim[last] - column : end - begin;
        int64_t at_a = column * job->step_a[last], at_b = column * job->step_b[last];
        for (int i = last - 1; i >= 0; i--) {
            at_a += row % job->dim[i] * job->step_a[i];
            at_b += row % job->dim[i] * job->step_b[i];
            row /= job->dim[i];
        }
        size_t y = (size_t)begin * job->size;
        job->run(job->y + y, job->a + (size_t)at_a * job->size, job->b + (size_t)at_b * job->size,
                 n, job->step_a[last] != 0, job->step_b[last] != 0);
        begin += n;
    }
}

/* ---- kernels ---- */
typedef struct arithmetic { /* of one operator */
    run_fn f32, i32, i64;
} arithmetic;

static int arithmetic_forward(const ed_call *c, const arithmetic *op)
{
    const ed_tensor *a = c->in[0], *b = c->in[1];
    ed_tensor *y = c->out[0];
    broadcast_job job = { .y = y->data, .a = a->data, .b = b->data };
    int64_t step_a[ED_MAX_RANK], step_b[ED_MAX_RANK];

    job.run = y->dtype == ED_F32 ? op->f32 : y->dtype == ED_I32 ? op->i32 : op->i64;
    job.size = ed_dtype_bits(y->dtype) / 8;
    steps_of(step_a, &a->shape, &y->shape);
    steps_of(step_b, &b->shape, &y->shape);
    collapse(&job, &y->shape, step_a, step_b);
    ed_parallel_for(y->numel, GRAIN, broadcast_range, &job);
    return ED_OK;
}

static int add_forward(const ed_call *c)
{
    return arithmetic_forward(c, &(arithmetic){ add_f32, add_i32, add_i64 });
}

static int sub_forward(const ed_call *c)
{
    return arithmetic_forward(c, &(arithmetic){ sub_f32, sub_i32, sub_i64 });
}

static int mul_forward(const ed_call *c)
{
    return arithmetic_forward(c, &(arithmetic){ mul_f32, mul_i32, mul_i64 });
}

static int div_forward(const ed_call *c)
{
    const ed_tensor *b = c->in[1];
    if (b->dtype != ED_F32 && c->out[0]->numel)
        for (int64_t i = 0; i < b->numel; i++)
            ED_FAIL_IF(
                ed_tensor_get_i64(b, i) == 0, ED_EINVAL,
                "Div '%s': element %lld of its integer divisor is 0; divide by another number",
                c->node->name, (long long)i);
    return arithmetic_forward(c, &(arithmetic){ div_f32, div_i32, div_i64 });
}

/* ---- inference and rows ---- */
static int infer_arithmetic(ed_infer *ctx)
{
    for (uint32_t i = 0; i < ctx->n_in; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, 1u << ED_F32 | 1u << ED_I32 | 1u << ED_I64));
    return ed_infer_broadcast(ctx);
}

const ed_op ed_ops_elementwise[] = {
    { .type = "Add",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_COMMUTATIVE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_binary), ED_REFERENCE(add_forward) } },
    { .type = "Sub",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_binary), ED_REFERENCE(sub_forward) } },
    { .type = "Mul",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE | ED_OP_COMMUTATIVE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_binary), ED_REFERENCE(mul_forward) } },
    { .type = "Div",
      .opset = { 7, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .infer = infer_arithmetic,
      .forward = { ED_FAST_ROW(ed_layout_binary), ED_REFERENCE(div_forward) } },
    { 0 },
};
