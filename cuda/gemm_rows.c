/*
 * Gemm and MatMul by cuBLASLt, with a bias, a residual and ReLU or GELU in its epilogue; other
 * functions behind it run as one kernel of ours (elementwise.h: ed_cuda_epilogue).
 *
 * Products in batches: the batch dimensions behind which both operands advance by one step are one
 * call; a loop over calls runs through the others (numpy broadcasting of several dimensions).
 */
#include "attention_rows.h"
#include "gemm.h"
#include "kernels.h"
#include "rows.h"
#include "walk.h"

#include <string.h>

typedef struct gemm_state {
    ed_cuda_product *product;
    void *weights, *bias; /* constants on the device; NULL: inputs, or none */
    bool borrowed;        /* both belong to another executor's state */
    bool bf16;
    ed_walk calls;               /* the loop over calls: steps of y, x, w in elements */
    int x_at, w_at, residual_at; /* positions in call->in; -1: none */
    bool bias_apart, apart;      /* the bias, the posts in a kernel of ours */
    ed_cuda_posts posts;
    int c_at; /* Gemm's C that is no row: copied into y first */
    ed_walk c_walk;
    int64_t rows, n;
} gemm_state;

/* ---- what the two operators come down to ---- */

typedef struct problem {
    ed_cuda_gemm g;
    ed_walk calls;
    ed_id bias; /* a constant [n]; ED_NONE */
    ed_id c;    /* added, broadcast to y; ED_NONE */
} problem;

static bool is_row(const ed_kernel_plan *p, ed_id id, int64_t n)
{
    const ed_tensor *t = id == ED_NONE ? NULL : p->constants[id];
    return t && t->dtype == ED_F32 && t->numel == n && t->shape.rank >= 1 &&
           t->shape.dim[t->shape.rank - 1] == n;
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

/* The shape of an operand with at least two dimensions: a vector is a row at the left, a column at
 * the right. */
static ed_shape as_matrices(const ed_shape *s, bool left)
{
    ed_shape out = *s;
    if (s->rank == 1)
        out = left ? ED_SHAPE(1, s->dim[0]) : ED_SHAPE(s->dim[0], 1);
    return out;
}

/* Steps of the batch dimensions, all of them or 0 where one is repeated. */
static void batch_steps(int64_t *step, const ed_shape *s, int rank)
{
    int64_t n = s->dim[s->rank - 2] * s->dim[s->rank - 1];
    int lead = rank - (s->rank - 2);
    for (int d = rank - 1; d >= 0; d--) {
        step[d] = d < lead || s->dim[d - lead] == 1 ? 0 : n;
        n *= d < lead ? 1 : s->dim[d - lead];
    }
}

static void describe_matmul(problem *q, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_shape x = as_matrices(&p->types[node->in[0]].shape, true);
    ed_shape w = as_matrices(&p->types[node->in[1]].shape, false), batch = { 0 };
    int64_t step[3][ED_MAX_RANK] = { { 0 } };
    batch.rank = (x.rank > w.rank ? x.rank : w.rank) - 2;
    q->g = (ed_cuda_gemm){ .m = x.dim[x.rank - 2],
                           .n = w.dim[w.rank - 1],
                           .k = x.dim[x.rank - 1],
                           .batch = 1,
                           .alpha = 1.0f };
    q->bias = q->c = ED_NONE;
    batch_steps(step[1], &x, batch.rank);
    batch_steps(step[2], &w, batch.rank);
    int64_t n = q->g.m * q->g.n;
    for (int d = batch.rank - 1; d >= 0; d--) {
        int dx = d - (batch.rank - (x.rank - 2)), dw = d - (batch.rank - (w.rank - 2));
        int64_t a = dx < 0 ? 1 : x.dim[dx], b = dw < 0 ? 1 : w.dim[dw];
        batch.dim[d] = a == 1 ? b : a;
        step[0][d] = n;
        n *= batch.dim[d];
    }
    ed_cuda_walk_begin(&q->calls, &batch);
    for (int k = 0; k < 3; k++)
        ed_cuda_walk_steps(&q->calls, step[k]);
    ed_cuda_walk_fold(&q->calls);
    ed_walk *l = &q->calls;
    int last = l->rank - 1;
    if (l->step[2][last] == 0 && l->step[1][last] == q->g.m * q->g.k) {
        q->g.m *= l->dim[last]; /* one matrix at the right: all rows are one product */
    } else {
        q->g.batch = l->dim[last];
        q->g.step_y = l->step[0][last];
        q->g.step_x = l->step[1][last];
        q->g.step_w = l->step[2][last];
    }
    l->dim[last] = 1;
}

/* ---- plan ---- */

/* `bias_bf16`: as the library's epilogue takes it; our kernel takes float32. */
static int take_constants(ed_kernel_plan *p, gemm_state *s, ed_id bias, bool bias_bf16)
{
    const ed_tensor *w = p->constants[p->nodes[0]->in[1]];
    const gemm_state *other = p->shared;
    if (other && other->bias_apart == s->bias_apart && !other->bias == (bias == ED_NONE)) {
        s->weights = other->weights;
        s->bias = other->bias;
        s->borrowed = true;
        return ED_OK;
    }
    if (w) {
        p->weight_bytes = (size_t)w->numel * (s->bf16 ? 2 : 4);
        ED_TRY(ed_cuda_upload_floats(&s->weights, w->data, w->numel, s->bf16));
    }
    if (bias == ED_NONE)
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

static int list_input(ed_kernel_plan *p, ed_id value, ed_layout layout)
{
    p->in[p->n_in] = value;
    p->in_layout[p->n_in] = layout;
    return (int)p->n_in++;
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
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_PLAIN, s->bf16);
    s->calls = q->calls;
    s->x_at = list_input(p, node->in[0], layout);
    s->w_at = s->weights ? -1 : list_input(p, node->in[1], layout);
    s->residual_at = f->residual == ED_NONE ? -1 : list_input(p, f->residual, layout);
    s->c_at = q->c == ED_NONE ? -1 : list_input(p, q->c, layout);
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
    ed_fuse(&fused, p, q.bias == ED_NONE && q.c == ED_NONE ? ED_ROW_CONSTANT : ED_ROW_NONE);
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
    int64_t element = s->bf16 ? 2 : 4, calls = 1, at[3];
    const char *x = call->in[s->x_at]->data;
    const char *w = s->weights ? s->weights : call->in[s->w_at]->data;
    const char *residual = s->residual_at < 0 ? NULL : call->in[s->residual_at]->data;
    const char *c = s->apart ? NULL : residual;
    char *y = call->out[0]->data;
    if (s->c_at >= 0) {
        ED_CUDA_TRY(
            ed_cuda_walk_copy(y, call->in[s->c_at]->data, (int)element, &s->c_walk, device->stream),
            "the kernel of C");
        c = y;
    }
    for (int d = 0; d < s->calls.rank; d++)
        calls *= s->calls.dim[d];
    for (int64_t i = 0; i < calls; i++) {
        locate(at, &s->calls, i);
        ED_TRY(ed_cuda_product_run(s->product, device, x + at[1] * element, w + at[2] * element,
                                   s->bias_apart ? NULL : s->bias, c ? c + at[0] * element : NULL,
                                   y + at[0] * element));
    }
    if (!s->apart && !s->bias_apart)
        return ED_OK;
    ED_CUDA_TRY(ed_cuda_epilogue(y, s->bf16, s->rows, s->n, 1, s->bias_apart ? s->bias : NULL,
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
