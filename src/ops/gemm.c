/*
 * Matrix products, summed in float32 along k in order.
 *
 * Gemm (ONNX opset 7, 9, 11, 13)   y = alpha * A' B' + beta * C,  A' is A or its transpose [M, K],
 *                                  B' likewise [K, N]; C broadcasts to [M, N]; none from opset 11
 * on MatMul (1, 9, 13)                numpy.matmul: matrices in the last two dimensions, the others
 *                                  broadcast; a 1-D operand is a row (left) or a column (right)
 */
#include "ops/fast.h"
#include "ops/gradient.h"
#include "ops/op.h"

#include "base/parallel.h"

#include <string.h>

static const ed_attr_spec gemm_attrs[] = {
    ED_ATTR_F32_OF("alpha", ed_gemm_params, alpha, 1),
    ED_ATTR_F32_OF("beta", ed_gemm_params, beta, 1),
    ED_ATTR_I64_OF("transA", ed_gemm_params, trans_a, 0),
    ED_ATTR_I64_OF("transB", ed_gemm_params, trans_b, 0),
    { 0 },
};

/* ---- inference ---- */

static bool differ(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && a != b;
}

static int check_inner(const ed_infer *ctx, int64_t ka, int64_t kb)
{
    if (differ(ka, kb))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the inner dimensions of the product are %lld and %lld; they must be "
                             "the same",
                             (long long)ka, (long long)kb);
    return ED_OK;
}

static int gemm_infer(ed_infer *ctx)
{
    const ed_gemm_params *p = ctx->params;
    const ed_shape *a = &ctx->in[0].shape, *b = &ctx->in[1].shape;
    const ed_shape *c = ctx->n_in > 2 ? &ctx->in[2].shape : &ED_SHAPE_UNKNOWN;
    ed_shape *y = &ctx->out[0].shape;

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    for (int i = 0; i < 2; i++)
        if (ctx->in[i].shape.rank >= 0 && ctx->in[i].shape.rank != 2)
            return ed_infer_fail(ctx, ED_ESHAPE, "input %d has rank %d; Gemm wants matrices", i,
                                 ctx->in[i].shape.rank);
    *y = ED_SHAPE(ED_DIM_UNKNOWN, ED_DIM_UNKNOWN);
    if (a->rank == 2)
        y->dim[0] = a->dim[p->trans_a ? 1 : 0];
    if (b->rank == 2)
        y->dim[1] = b->dim[p->trans_b ? 0 : 1];
    if (a->rank == 2 && b->rank == 2)
        ED_TRY(check_inner(ctx, a->dim[p->trans_a ? 0 : 1], b->dim[p->trans_b ? 1 : 0]));
    if (c->rank > 2)
        return ed_infer_fail(ctx, ED_ESHAPE, "C has rank %d; at most 2 broadcasts", c->rank);
    for (int i = 0; i < c->rank; i++) {
        int64_t size = c->dim[i], want = y->dim[2 - c->rank + i];

        if (size != 1 && differ(size, want))
            return ed_infer_fail(ctx, ED_ESHAPE, "C is %lld wide where the product is %lld",
                                 (long long)size, (long long)want);
    }
    return ED_OK;
}

/* One broadcast dimension of the batch; sizes that cannot meet give false. */
static bool broadcast_dim(int64_t a, int64_t b, int64_t *out)
{
    if (a == 1 || a == b)
        *out = b;
    else if (b == 1)
        *out = a;
    else if (a >= 0 && b >= 0)
        return false;
    else
        *out = a > 1 ? a : b > 1 ? b : ED_DIM_UNKNOWN;
    return true;
}

/* Dimension i of a shape as the operand of a product of batch rank `batch`: missing ones are 1. */
static int64_t batch_dim(const ed_shape *s, int batch, int i)
{
    int at = i - (batch - (s->rank - 2));

    return s->rank > 2 && at >= 0 ? s->dim[at] : 1;
}

static int matmul_infer(ed_infer *ctx)
{
    const ed_shape *a = &ctx->in[0].shape, *b = &ctx->in[1].shape;
    ed_shape *y = &ctx->out[0].shape;
    int rank, batch;

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    if (a->rank == 0 || b->rank == 0)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "input %d is a single number; MatMul wants vectors or "
                             "matrices",
                             a->rank == 0 ? 0 : 1);
    if (a->rank < 0 || b->rank < 0)
        return ED_OK;
    ED_TRY(check_inner(ctx, a->dim[a->rank - 1], b->dim[b->rank == 1 ? 0 : b->rank - 2]));
    rank = a->rank > b->rank ? a->rank : b->rank;
    batch = rank > 2 ? rank - 2 : 0;
    y->rank = 0;
    for (int i = 0; i < batch; i++)
        if (!broadcast_dim(batch_dim(a, batch, i), batch_dim(b, batch, i), &y->dim[y->rank++]))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "batch dimension %d is %lld and %lld; equal sizes "
                                 "or 1 broadcast",
                                 i, (long long)batch_dim(a, batch, i),
                                 (long long)batch_dim(b, batch, i));
    if (a->rank > 1)
        y->dim[y->rank++] = a->dim[a->rank - 2];
    if (b->rank > 1)
        y->dim[y->rank++] = b->dim[b->rank - 1];
    return ED_OK;
}

/* ---- reference kernels ---- */

/* y[0..n) = sum over k of a[k * a_step] * b[k, 0..n) (rows of b), or of b[0..n, k] when transposed.
 */
static void product_row(float *y, const float *a, int64_t a_step, const float *b, int64_t k,
                        int64_t n, bool transposed)
{
    if (transposed) {
        for (int64_t j = 0; j < n; j++) {
            float sum = 0.0f;

            for (int64_t i = 0; i < k; i++)
                sum += a[i * a_step] * b[j * k + i];
            y[j] = sum;
        }
        return;
    }
    for (int64_t j = 0; j < n; j++)
        y[j] = 0.0f;
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            y[j] += a[i * a_step] * b[i * n + j];
}

typedef struct gemm_job {
    const ed_gemm_params *p;
    const float *a, *b, *c; /* c NULL: none */
    float *y;
    int64_t m, n, k;
    int64_t c_row, c_column; /* steps of c, 0 where it broadcasts */
} gemm_job;

static void gemm_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const gemm_job *g = ctx;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float *y = g->y + i * g->n;

        product_row(y, g->p->trans_a ? g->a + i : g->a + i * g->k, g->p->trans_a ? g->m : 1, g->b,
                    g->k, g->n, g->p->trans_b != 0);
        for (int64_t j = 0; j < g->n; j++) {
            y[j] *= g->p->alpha;
            if (g->c)
                y[j] += g->p->beta * g->c[i * g->c_row + j * g->c_column];
        }
    }
}

static int gemm_forward(const ed_call *c)
{
    const ed_gemm_params *p = c->params;
    const ed_tensor *bias = c->n_in > 2 ? c->in[2] : NULL;
    gemm_job job = { p, c->in[0]->data, c->in[1]->data, NULL, c->out[0]->data, 0, 0, 0, 0, 0 };

    job.m = c->out[0]->shape.dim[0];
    job.n = c->out[0]->shape.dim[1];
    job.k = c->in[0]->shape.dim[p->trans_a ? 0 : 1];
    if (bias && p->beta != 0.0f) { /* beta 0: C is not read, as in BLAS */
        const ed_shape *s = &bias->shape;

        job.c = bias->data;
        job.c_column = s->rank > 0 && s->dim[s->rank - 1] != 1;
        job.c_row = s->rank == 2 && s->dim[0] != 1 ? s->dim[1] : 0;
    }
    ed_parallel_for(job.m, 1, gemm_rows, &job);
    return ED_OK;
}

typedef struct matmul_job {
    const float *a, *b;
    float *y;
    int64_t m, n, k;
    int batch;                                        /* batch dimensions */
    int64_t size[ED_MAX_RANK];                        /* of each */
    int64_t a_step[ED_MAX_RANK], b_step[ED_MAX_RANK]; /* in matrices; 0 where it broadcasts */
} matmul_job;

static void matmul_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const matmul_job *j = ctx;

    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        int64_t rest = row / j->m, a = 0, b = 0;

        for (int i = j->batch - 1; i >= 0; i--) {
            a += rest % j->size[i] * j->a_step[i];
            b += rest % j->size[i] * j->b_step[i];
            rest /= j->size[i];
        }
        product_row(j->y + row * j->n, j->a + (a * j->m + row % j->m) * j->k, 1,
                    j->b + b * j->k * j->n, j->k, j->n, false);
    }
}

/* Steps, counted in matrices, of an operand along the product's batch dimensions. */
static void batch_steps(const matmul_job *j, const ed_shape *s, int64_t *steps)
{
    int64_t step = 1;

    for (int i = j->batch - 1; i >= 0; i--) {
        int64_t size = batch_dim(s, j->batch, i);

        steps[i] = size == 1 ? 0 : step;
        step *= size;
    }
}

static int matmul_forward(const ed_call *c)
{
    const ed_shape *a = &c->in[0]->shape, *b = &c->in[1]->shape;
    int rank = a->rank > b->rank ? a->rank : b->rank;
    matmul_job job;

    memset(&job, 0, sizeof job);
    job.a = c->in[0]->data;
    job.b = c->in[1]->data;
    job.y = c->out[0]->data;
    job.m = a->rank > 1 ? a->dim[a->rank - 2] : 1;
    job.k = a->dim[a->rank - 1];
    job.n = b->rank > 1 ? b->dim[b->rank - 1] : 1;
    job.batch = rank > 2 ? rank - 2 : 0;
    memcpy(job.size, c->out[0]->shape.dim, (size_t)job.batch * sizeof *job.size);
    batch_steps(&job, a, job.a_step);
    batch_steps(&job, b, job.b_step);
    if (c->out[0]->numel > 0)
        ed_parallel_for(c->out[0]->numel / job.n, 1, matmul_rows, &job);
    return ED_OK;
}

#define GEMM_ROW(first, last, least)                                                               \
    {                                                                                              \
        .type = "Gemm", .opset = { first, last }, .arity = { least, 3, 1 },                        \
        .traits = ED_OP_WEIGHTED, .attrs = gemm_attrs, .params_size = sizeof(ed_gemm_params),      \
        .infer = gemm_infer,                                                                       \
        .forward = { ED_FAST_ROW(ed_onednn_gemm), ED_REFERENCE(gemm_forward) },                    \
        .gradient = ed_gradient_gemm                                                               \
    }

const ed_op ed_ops_gemm[] = {
    GEMM_ROW(7, 10, 3),
    GEMM_ROW(11, 0, 2),
    { .type = "MatMul",
      .opset = { 1, 0 },
      .arity = { 2, 2, 1 },
      .traits = ED_OP_WEIGHTED,
      .infer = matmul_infer,
      .forward = { ED_FAST_ROW(ed_attention), ED_FAST_ROW(ed_onednn_gemm),
                   ED_REFERENCE(matmul_forward) },
      .gradient = ed_gradient_matmul },
    { 0 },
};
