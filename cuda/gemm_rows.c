/*
 * Gemm and MatMul by cuBLASLt, with a bias, a residual and ReLU or GELU in its epilogue; other
 * functions behind it run as one kernel of ours (elementwise.h: ed_cuda_epilogue).
 *
 * Products in batches: the batch dimensions behind which both operands advance by one step are one
 * call; a loop over calls runs through the others (numpy broadcasting of several dimensions).
 * Operands are read through a Transpose before them where that needs no loop.
 */
#include "attention_rows.h"
#include "gemm.h"
#include "kernels.h"
#include "ops/view.h"
#include "rows.h"
#include "walk.h"

#include <string.h>

typedef struct gemm_state {
    ed_cuda_product *product;
    void *weights, *bias; /* constants on the device; NULL: inputs, or none */
    bool borrowed;        /* both belong to another executor's state */
    bool bf16;
    ed_walk calls;                        /* the loop over calls: steps of y, x, w in elements */
    int x_at, w_at, bias_at, residual_at; /* positions in call->in; -1: constant, or none */
    bool bias_apart, apart;               /* the bias, the posts in a kernel of ours */
    ed_cuda_posts posts;
    int c_at; /* Gemm's C that is no row: copied into y first */
    ed_walk c_walk;
    int64_t rows, n;
} gemm_state;

/* ---- what the two operators come down to ---- */

typedef struct problem {
    ed_cuda_gemm g;
    ed_walk calls;
    ed_id x, w; /* whose memory is read */
    ed_id bias; /* [n]; ED_NONE */
    ed_id c;    /* added, broadcast to y; ED_NONE */
} problem;

static bool is_row(const ed_kernel_plan *p, ed_id id, int64_t n)
{
    const ed_shape *s = id == ED_NONE ? NULL : &p->types[id].shape;
    bool row = s && p->types[id].dtype == ED_F32 && s->rank >= 1 && s->dim[s->rank - 1] == n;
    for (int i = 0; row && i < s->rank - 1; i++)
        row = s->dim[i] == 1;
    return row;
}

static void describe_gemm(problem *q, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_gemm_params *params = p->params[0];
    const ed_shape *x = &p->types[node->in[0]].shape, *y = &p->types[node->out[0]].shape;
    ed_id c = ed_node_in(node, 2);
    q->g = (ed_cuda_gemm){ .m = y->dim[0],
                           .n = y->dim[1],
                           .k = x->dim[params->trans_a ? 0 : 1],
                           .trans_x = params->trans_a != 0,
                           .trans_w = params->trans_b != 0,
                           .batch = 1,
                           .alpha = params->alpha };
    q->x = node->in[0];
    q->w = node->in[1];
    q->g.ld_x = q->g.trans_x ? q->g.m : q->g.k;
    q->g.ld_w = q->g.trans_w ? q->g.k : q->g.n;
    ed_cuda_walk_begin(&q->calls, &ED_SHAPE(1));
    for (int k = 0; k < 3; k++)
        ed_cuda_walk_steps(&q->calls, &(int64_t){ 0 });
    q->bias = q->c = ED_NONE;
    if (params->beta == 1.0f && is_row(p, c, q->g.n))
        q->bias = c;
    else if (params->beta != 0.0f)
        q->c = c;
    if (q->c != ED_NONE)
        q->g.beta = params->beta;
}

/* An operand with at least two dimensions: a vector is a row at the left, a column at the right. */
static ed_view as_matrices(ed_view v, bool left)
{
    if (v.shape.rank == 1) {
        ed_shape shape = left ? ED_SHAPE(1, v.shape.dim[0]) : ED_SHAPE(v.shape.dim[0], 1);
        ed_view_reshape(&v, &shape);
    }
    return v;
}

/* The rows of its matrices, or their columns, are contiguous. */
static bool matrix_of(bool *trans, int64_t *ld, const ed_view *v)
{
    int r = v->shape.rank;
    int64_t rows = v->shape.dim[r - 2], columns = v->shape.dim[r - 1];
    int64_t down = v->step[r - 2], across = v->step[r - 1];
    if ((across == 1 || columns == 1) && (rows == 1 || down >= columns)) {
        *trans = false;
        *ld = rows == 1 ? columns : down;
        return true;
    }
    *trans = true;
    *ld = columns == 1 ? rows : across;
    return (down == 1 || rows == 1) && (columns == 1 || across >= rows);
}

/* Steps of the batch dimensions, all of them or 0 where one is repeated. */
static void batch_steps(int64_t *step, const ed_view *v, int rank)
{
    int lead = rank - (v->shape.rank - 2);
    for (int d = 0; d < rank; d++)
        step[d] = d < lead || v->shape.dim[d - lead] == 1 ? 0 : v->step[d - lead];
}

/* The batch dimensions of both, and the steps of y, which is dense. */
static void batch_of(ed_shape *batch, int64_t *step, const ed_view *x, const ed_view *w, int64_t n)
{
    batch->rank = (x->shape.rank > w->shape.rank ? x->shape.rank : w->shape.rank) - 2;
    for (int d = batch->rank - 1; d >= 0; d--) {
        int dx = d - (batch->rank - (x->shape.rank - 2));
        int dw = d - (batch->rank - (w->shape.rank - 2));
        int64_t a = dx < 0 ? 1 : x->shape.dim[dx], b = dw < 0 ? 1 : w->shape.dim[dw];
        batch->dim[d] = a == 1 ? b : a;
        step[d] = n;
        n *= batch->dim[d];
    }
}

/* The last batch dimension becomes rows of one product, or the batch of a call. */
static void fold_batch(problem *q)
{
    ed_walk *l = &q->calls;
    int last = l->rank - 1;
    if (l->step[2][last] == 0 && !q->g.trans_x && l->step[1][last] == q->g.m * q->g.ld_x) {
        q->g.m *= l->dim[last]; /* one matrix at the right */
    } else {
        q->g.batch = l->dim[last];
        q->g.step_y = l->step[0][last];
        q->g.step_x = l->step[1][last];
        q->g.step_w = l->step[2][last];
    }
    l->dim[last] = 1;
}

/* False: an operand's matrices do not lie so that the library reads them. */
static bool describe_views(problem *q, ed_view x, ed_view w)
{
    int64_t step[3][ED_MAX_RANK] = { { 0 } };
    ed_shape batch = { 0 };
    x = as_matrices(x, true);
    w = as_matrices(w, false);
    q->g = (ed_cuda_gemm){ .m = x.shape.dim[x.shape.rank - 2],
                           .n = w.shape.dim[w.shape.rank - 1],
                           .k = x.shape.dim[x.shape.rank - 1],
                           .batch = 1,
                           .alpha = 1.0f };
    q->x = x.value;
    q->w = w.value;
    q->bias = q->c = ED_NONE;
    if (!matrix_of(&q->g.trans_x, &q->g.ld_x, &x) || !matrix_of(&q->g.trans_w, &q->g.ld_w, &w))
        return false;
    batch_of(&batch, step[0], &x, &w, q->g.m * q->g.n);
    batch_steps(step[1], &x, batch.rank);
    batch_steps(step[2], &w, batch.rank);
    ed_cuda_walk_begin(&q->calls, &batch);
    for (int k = 0; k < 3; k++)
        ed_cuda_walk_steps(&q->calls, step[k]);
    ed_cuda_walk_fold(&q->calls);
    fold_batch(q);
    return true;
}

static int64_t calls_of(const ed_walk *calls)
{
    int64_t n = 1;
    for (int d = 0; d < calls->rank; d++)
        n *= calls->dim[d];
    return n;
}

static void describe_matmul(problem *q, const ed_kernel_plan *p)
{
    const ed_id *in = p->nodes[0]->in;
    if (!p->constants[in[1]] && describe_views(q, ed_view_of(p, in[0]), ed_view_of(p, in[1])) &&
        calls_of(&q->calls) == 1)
        return;
    describe_views(q, ed_view_dense(p, in[0]), ed_view_dense(p, in[1]));
}

/* ---- plan ---- */

/* `bias_bf16`: as the library's epilogue takes it; our kernel takes float32. */
static int take_constants(ed_kernel_plan *p, gemm_state *s, ed_id bias, bool bias_bf16)
{
    const ed_tensor *w = p->constants[p->nodes[0]->in[1]];
    const gemm_state *other = p->shared;
    bool constant = bias != ED_NONE && p->constants[bias];
    if (other && other->bias_apart == s->bias_apart && !other->bias == !constant) {
        s->weights = other->weights;
        s->bias = other->bias;
        s->borrowed = true;
        return ED_OK;
    }
    if (w) {
        p->weight_bytes = (size_t)w->numel * (s->bf16 ? 2 : 4);
        ED_TRY(ed_cuda_upload_floats(&s->weights, w->data, w->numel, s->bf16));
    }
    if (!constant)
        return ED_OK;
    const ed_tensor *t = p->constants[bias];
    return ed_cuda_upload_floats(&s->bias, t->data, t->numel, bias_bf16);
}

/* Posts that the library's epilogue computes: nothing, ReLU or GELU, a residual in front. */
static bool take_posts(ed_cuda_gemm *g, const ed_posts *posts)
{
    size_t i = 0;
    if (i < posts->count && posts->at[i].kind == ED_POST_ADD) {
        g->beta = 1.0f;
        i++;
    }
    if (i < posts->count && posts->at[i].kind == ED_POST_RELU && posts->at[i].a == 0.0f) {
        g->relu = true;
        i++;
    } else if (i < posts->count && posts->at[i].kind == ED_POST_GELU_TANH) {
        g->gelu_tanh = true;
        i++;
    }
    return i == posts->count;
}

static int find_product(gemm_state *s, ed_cuda *device, const ed_cuda_gemm *bare, const ed_fused *f,
                        ed_id bias)
{
    ed_cuda_gemm full = *bare;
    full.bias = bias != ED_NONE;
    bool fuses = (bare->beta == 0.0f || f->residual == ED_NONE) && take_posts(&full, &f->posts);
    if (fuses)
        ED_TRY(ed_cuda_product_new(&s->product, device, &full));
    if (s->product)
        return ED_OK;
    s->apart = f->posts.count > 0;
    s->bias_apart = bias != ED_NONE;
    return ed_cuda_product_new(&s->product, device, bare);
}

static void answer(ed_kernel_plan *p, gemm_state *s, const problem *q, const ed_fused *f)
{
    const ed_node *node = p->nodes[0];
    bool bias_bf16 = s->bf16 && !s->bias_apart;
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_PLAIN, s->bf16);
    s->calls = q->calls;
    s->w_at = s->bias_at = s->residual_at = s->c_at = -1;
    s->x_at = ed_plan_read(p, q->x, layout);
    if (!s->weights)
        s->w_at = ed_plan_read(p, q->w, layout);
    if (q->bias != ED_NONE && !s->bias)
        s->bias_at = ed_plan_read(p, q->bias, ed_layout_with_bf16(ED_LAYOUT_PLAIN, bias_bf16));
    if (f->residual != ED_NONE)
        s->residual_at = ed_plan_read(p, f->residual, layout);
    if (q->c != ED_NONE)
        s->c_at = ed_plan_read(p, q->c, layout);
    if (q->c != ED_NONE) {
        const ed_shape *y = &p->types[node->out[0]].shape;
        ed_cuda_walk_begin(&s->c_walk, y);
        ed_cuda_walk_operand(&s->c_walk, y, ED_LAYOUT_PLAIN);
        ed_cuda_walk_operand(&s->c_walk, &p->types[q->c].shape, ED_LAYOUT_PLAIN);
        ed_cuda_walk_fold(&s->c_walk);
    }
    s->n = q->g.n;
    int64_t numel = 0;
    ed_shape_numel(&numel, &p->types[node->out[0]].shape);
    s->rows = numel / s->n;
    ed_cuda_posts_of(&s->posts, &f->posts);
    ed_cuda_take(p, f->taken, layout, s);
}

static void gemm_free(void *state)
{
    gemm_state *s = state;
    if (!s)
        return;
    if (!s->borrowed) {
        cudaFree(s->weights);
        cudaFree(s->bias);
    }
    ed_cuda_product_free(s->product);
    ed_free(s);
}

static int plan_of(ed_kernel_plan *p, void (*describe)(problem *, const ed_kernel_plan *))
{
    const ed_node *node = p->nodes[0];
    ed_cuda *device = p->device;
    problem q = { .bias = ED_NONE };
    ed_fused fused;
    int rc = ED_OK;
    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->in[1]))
        return ed_plan_refuse(p, "empty or not float32");
    describe(&q, p);
    if (q.g.n > INT32_MAX || q.g.m > INT32_MAX || q.g.k > INT32_MAX || q.g.batch > INT32_MAX)
        return ed_plan_refuse(p, "too large");
    gemm_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ed_fuse(&fused, p, q.bias == ED_NONE && q.c == ED_NONE ? ED_ROW_ANY : ED_ROW_NONE);
    if (fused.bias != ED_NONE)
        q.bias = fused.bias;
    s->bf16 = q.g.bf16 = ed_cuda_bf16(device);
    q.g.fp32 = device->opts.precision == ED_PRECISION_FP32;
    ED_GOTO(find_product(s, device, &q.g, &fused, q.bias));
    if (!s->product) {
        ed_plan_refuse(p, "cuBLASLt has no algorithm for it");
        goto done;
    }
    ED_GOTO(take_constants(p, s, q.bias, s->bf16 && !s->bias_apart));
    answer(p, s, &q, &fused);
    return ED_OK;
done:
    p->weight_bytes = 0;
    gemm_free(s);
    return rc;
}

static int gemm_plan(ed_kernel_plan *p)
{
    return plan_of(p, describe_gemm);
}

static int matmul_plan(ed_kernel_plan *p)
{
    return plan_of(p, describe_matmul);
}

/* ---- run ---- */

/* Where call i of the loop is. */
static void locate(int64_t at[3], const ed_walk *calls, int64_t i)
{
    memset(at, 0, 3 * sizeof *at);
    for (int d = calls->rank - 1; d >= 0; d--) {
        for (int k = 0; k < 3; k++)
            at[k] += i % calls->dim[d] * calls->step[k][d];
        i /= calls->dim[d];
    }
}

static int gemm_run(const ed_call *call)
{
    const gemm_state *s = call->state;
    ed_cuda *device = ed_cuda_of(call);
    int64_t element = s->bf16 ? 2 : 4, calls = calls_of(&s->calls), at[3];
    const char *x = call->in[s->x_at]->data;
    const char *w = s->weights ? s->weights : call->in[s->w_at]->data;
    const void *bias = s->bias_at < 0 ? s->bias : call->in[s->bias_at]->data;
    const char *residual = s->residual_at < 0 ? NULL : call->in[s->residual_at]->data;
    const char *c = s->apart ? NULL : residual;
    char *y = call->out[0]->data;
    if (s->c_at >= 0) {
        ED_CUDA_TRY(
            ed_cuda_walk_copy(y, call->in[s->c_at]->data, (int)element, &s->c_walk, device->stream),
            "the kernel of C");
        c = y;
    }
    for (int64_t i = 0; i < calls; i++) {
        locate(at, &s->calls, i);
        ED_TRY(ed_cuda_product_run(s->product, device, x + at[1] * element, w + at[2] * element,
                                   s->bias_apart ? NULL : bias, c ? c + at[0] * element : NULL,
                                   y + at[0] * element));
    }
    if (!s->apart && !s->bias_apart)
        return ED_OK;
    ED_CUDA_TRY(ed_cuda_epilogue(y, s->bf16, s->rows, s->n, 1, s->bias_apart ? bias : NULL,
                                 residual, s->apart ? &s->posts : NULL, device->stream),
                "the kernel behind the product");
    return ED_OK;
}

#define matmul_run  gemm_run
#define matmul_free gemm_free

const ed_cuda_op ed_cuda_gemm_ops[] = {
    { "Gemm", NULL, { ED_CUDA_ROW(gemm) } },
    { "MatMul", NULL, { ED_CUDA_ROW(ed_cuda_attention), ED_CUDA_ROW(matmul) } },
    { 0 },
};
