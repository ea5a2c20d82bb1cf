/*
 * Attention as a graph of cuDNN 9, in the form that its flash attention engines know:
 *
 *   s = q k^T              matmul
 *   t = s * scale          multiply by a number
 *   u = t [+ bias]         add
 *   e = exp(u - max(u))    reduction, subtract, exp
 *   p = e / sum(e)         reduction, divide
 *   o = p v                matmul
 *
 * All values between are virtual float32 tensors, but for p, which has the type of v.
 */
#include "attention_plan.h"
#include "plan_graph.h"

#include <stdio.h>
#include <string.h>

enum { MAX_OPERATIONS = 11 };

typedef struct maker {
    ed_cudnn_builder *b;
    const ed_cuda_sdpa *problem;
    cudnnBackendDescriptor_t operations[MAX_OPERATIONS];
    int64_t n, next; /* operations so far; the id of the next virtual tensor */
} maker;

static cudnnBackendDescriptor_t operand(maker *m, int i)
{
    bool f32 = i == ED_SDPA_BIAS && m->problem->bias_f32;
    ed_cudnn_tensor t = { .uid = i + 1,
                          .type = f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16,
                          .rank = 4 };
    memcpy(t.dim, m->problem->at[i].dim, sizeof m->problem->at[i].dim);
    memcpy(t.step, m->problem->at[i].step, sizeof m->problem->at[i].step);
    return ed_cudnn_tensor_new(m->b, &t);
}

/* A value between: of the scores' rows, and columns of them. */
static cudnnBackendDescriptor_t between(maker *m, int64_t columns, cudnnDataType_t type)
{
    const int64_t *q = m->problem->at[ED_SDPA_Q].dim;
    ed_cudnn_tensor t = { .uid = m->next++,
                          .type = type,
                          .rank = 4,
                          .dim = { q[0], q[1], q[2], columns },
                          .step = { q[1] * q[2] * columns, q[2] * columns, columns, 1 } };
    return ed_cudnn_tensor_new(m->b, &t);
}

static cudnnBackendDescriptor_t number(maker *m)
{
    ed_cudnn_tensor t = { .uid = ED_SDPA_SCALE + 1,
                          .type = CUDNN_DATA_FLOAT,
                          .rank = 4,
                          .dim = { 1, 1, 1, 1 },
                          .step = { 1, 1, 1, 1 },
                          .number = true };
    return ed_cudnn_tensor_new(m->b, &t);
}

static void product(maker *m, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                    cudnnBackendDescriptor_t y)
{
    ed_cudnn_builder *b = m->b;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = ed_cudnn_make(b, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    ed_cudnn_set(b, d, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    ed_cudnn_finish(b, d);
    cudnnBackendDescriptor_t op = ed_cudnn_make(b, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, x);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, w);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, y);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, d);
    ed_cudnn_finish(b, op);
    m->operations[m->n++] = op;
}

/* The largest, or the sum, of each row. */
static cudnnBackendDescriptor_t reduce(maker *m, cudnnReduceTensorOp_t how,
                                       cudnnBackendDescriptor_t x)
{
    ed_cudnn_builder *b = m->b;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t y = between(m, 1, CUDNN_DATA_FLOAT);
    cudnnBackendDescriptor_t d = ed_cudnn_make(b, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    ed_cudnn_set(b, d, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &how);
    ed_cudnn_set(b, d, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    ed_cudnn_finish(b, d);
    cudnnBackendDescriptor_t op = ed_cudnn_make(b, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, d);
    ed_cudnn_finish(b, op);
    m->operations[m->n++] = op;
    return y;
}

static cudnnBackendDescriptor_t apply(maker *m, cudnnPointwiseMode_t mode,
                                      cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t other,
                                      cudnnDataType_t type)
{
    cudnnBackendDescriptor_t y = between(m, m->problem->at[ED_SDPA_K].dim[3], type);
    m->operations[m->n++] =
        ed_cudnn_pointwise(m->b, &(ed_cudnn_function){ .mode = mode }, x, other, y);
    return y;
}

/* max + log(sum), which nobody reads: without it the engines take the scale for a dropout. */
static void statistics(maker *m, cudnnBackendDescriptor_t most, cudnnBackendDescriptor_t sum)
{
    cudnnBackendDescriptor_t log = between(m, 1, CUDNN_DATA_FLOAT);
    cudnnBackendDescriptor_t y = between(m, 1, CUDNN_DATA_FLOAT);
    m->operations[m->n++] = ed_cudnn_pointwise(
        m->b, &(ed_cudnn_function){ .mode = CUDNN_POINTWISE_LOG }, sum, NULL, log);
    m->operations[m->n++] =
        ed_cudnn_pointwise(m->b, &(ed_cudnn_function){ .mode = CUDNN_POINTWISE_ADD }, most, log, y);
}

static cudnnBackendDescriptor_t sdpa_graph(ed_cudnn_builder *b)
{
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const ed_cuda_sdpa *problem = b->plan->problem;
    maker m = { .b = b, .problem = problem, .next = ED_UID_VIRTUAL };
    cudnnBackendDescriptor_t q = operand(&m, ED_SDPA_Q), k = operand(&m, ED_SDPA_K);
    cudnnBackendDescriptor_t v = operand(&m, ED_SDPA_V), o = operand(&m, ED_SDPA_O);
    cudnnBackendDescriptor_t most, sum, x = between(&m, problem->at[ED_SDPA_K].dim[3], f32);
    product(&m, q, k, x);
    x = apply(&m, CUDNN_POINTWISE_MUL, x, number(&m), f32);
    if (problem->bias)
        x = apply(&m, CUDNN_POINTWISE_ADD, x, operand(&m, ED_SDPA_BIAS), f32);
    most = reduce(&m, CUDNN_REDUCE_TENSOR_MAX, x);
    x = apply(&m, CUDNN_POINTWISE_SUB, x, most, f32);
    x = apply(&m, CUDNN_POINTWISE_EXP, x, NULL, f32);
    sum = reduce(&m, CUDNN_REDUCE_TENSOR_ADD, x);
    statistics(&m, most, sum);
    x = apply(&m, CUDNN_POINTWISE_DIV, x, sum, CUDNN_DATA_BFLOAT16);
    product(&m, x, v, o);
    return ed_cudnn_graph(b, m.operations, m.n);
}

static void sdpa_bytes(size_t bytes[ED_PLAN_OPERANDS], const void *problem)
{
    const ed_cuda_sdpa *p = problem;
    for (int i = ED_SDPA_Q; i < (p->bias ? ED_SDPA_SCALE : ED_SDPA_BIAS); i++) {
        bytes[i] = 1;
        for (int d = 0; d < 4; d++)
            bytes[i] += (size_t)((p->at[i].dim[d] - 1) * p->at[i].step[d]);
        bytes[i] *= i == ED_SDPA_BIAS && p->bias_f32 ? 4 : 2;
    }
}

static void sdpa_numbers(const void *operands[ED_PLAN_OPERANDS], const void *problem)
{
    operands[ED_SDPA_SCALE] = &((const ed_cuda_sdpa *)problem)->scale;
}

static void sdpa_describe(char *text, size_t size, const void *problem)
{
    const ed_cuda_sdpa *p = problem;
    const int64_t *q = p->at[ED_SDPA_Q].dim, *v = p->at[ED_SDPA_V].dim;
    snprintf(text, size, "attention of %lldx%lld heads, %lldx%lld to %lldx%lld%s", (long long)q[0],
             (long long)q[1], (long long)q[2], (long long)q[3], (long long)v[2], (long long)v[3],
             p->bias ? ", masked" : "");
}

const ed_cuda_kind ed_cuda_sdpa_kind = {
    .name = "attention",
    .what = "attention",
    .label = "cudnn attention",
    .size = sizeof(ed_cuda_sdpa),
    .describe = sdpa_describe,
    .graph = sdpa_graph,
    .bytes = sdpa_bytes,
    .numbers = sdpa_numbers,
};
