/*
 * Gemm and MatMul by oneDNN's matmul, with a bias, a residual Add and an activation behind them.
 *
 * Gemm: y = A' B' + C with alpha = 1 and C a row (or none). MatMul: one matrix at the right, then
 * the rows of all batches are one matrix; or two matrices in each batch, which broadcast. Operands
 * may be strided views; a constant one at the right is packed.
 */
#include "ops/fast.h"
#include "ops/view.h"

#include <string.h>

typedef struct gemm_state {
    ed_prim *prim;
    void *weights; /* NULL: in[1] */
    bool borrowed;
    bool add;          /* the last input is added, else it was in the output already */
    const float *bias; /* a constant one */
    int bias_at;       /* input that is another one; -1 */
} gemm_state;

typedef struct gemm_case { /* what both operators come down to */
    ed_view x, w;          /* of the rank of y */
    ed_shape y;
    bool constant; /* w */
    ed_id bias;
} gemm_case;

static bool is_row(const ed_kernel_plan *p, ed_id id, int64_t n)
{
    const ed_shape *s = &p->types[id].shape;
    return s->rank >= 1 && s->dim[s->rank - 1] == n && (s->rank == 1 || s->dim[0] == 1);
}

static const char *gemm_refusal(gemm_case *c, const ed_kernel_plan *p)
{
    static const int64_t swap[] = { 1, 0 };
    const ed_node *node = p->nodes[0];
    const ed_gemm_params *params = p->params[0];
    c->x = c->constant ? ed_view_dense(p, node->in[0]) : ed_view_of(p, node->in[0]);
    c->w = c->constant ? ed_view_dense(p, node->in[1]) : ed_view_of(p, node->in[1]);
    c->y = p->types[node->out[0]].shape;
    c->bias = params->beta == 0.0f ? ED_NONE : ed_node_in(node, 2); /* 0: C is not read */
    if (params->trans_a)
        ed_view_permute(&c->x, swap);
    if (params->trans_b)
        ed_view_permute(&c->w, swap);
    if (params->alpha != 1.0f)
        return "alpha";
    if (c->bias != ED_NONE && (params->beta != 1.0f || !is_row(p, c->bias, c->y.dim[1])))
        return "C is no row, or beta";
    return NULL;
}

/* The view with dimensions of size 1 in front. */
static void raise_rank(ed_view *view, int rank)
{
    ed_shape shape = { .rank = rank };
    int lead = rank - view->shape.rank;
    for (int i = 0; i < rank; i++)
        shape.dim[i] = i < lead ? 1 : view->shape.dim[i - lead];
    ed_view_reshape(view, &shape);
}

/* The rows of all batches of x are one matrix; beside constant weights x is read as it lies. */
static void as_one_matrix(gemm_case *c, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    int64_t rows = 1;
    for (int i = 0; i + 1 < c->x.shape.rank; i++)
        rows *= c->x.shape.dim[i];
    ed_shape shape = ED_SHAPE(rows, c->w.shape.dim[0]);
    c->y = ED_SHAPE(rows, c->w.shape.dim[1]);
    ed_view view = c->constant ? c->x : ed_view_of(p, node->in[0]);
    if (ed_view_reshape(&view, &shape))
        c->x = view;
    else
        ed_view_reshape(&c->x, &shape);
    if (!c->constant)
        c->w = ed_view_of(p, node->in[1]);
}

static const char *matmul_refusal(gemm_case *c, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    c->x = ed_view_dense(p, node->in[0]);
    c->w = ed_view_dense(p, node->in[1]);
    c->y = p->types[node->out[0]].shape;
    c->bias = ED_NONE;
    if (c->x.shape.rank < 2 || c->w.shape.rank < 2 || c->y.rank > 6)
        return "rank";
    if (c->w.shape.rank == 2) {
        as_one_matrix(c, p);
        return NULL;
    }
    c->x = ed_view_of(p, node->in[0]);
    if (!c->constant)
        c->w = ed_view_of(p, node->in[1]);
    raise_rank(&c->x, c->y.rank);
    raise_rank(&c->w, c->y.rank);
    return NULL;
}

/* Add the residual where it lies, overwriting it, when nobody else reads it. */
static bool sum_in_place(const ed_kernel_plan *p, const gemm_case *c, const ed_fused *f)
{
    if (f->residual == ED_NONE || p->deterministic) /* the order of the sum is another one */
        return false;
    ed_id memory = ed_plan_memory(p, f->residual);
    ed_id bias = f->bias != ED_NONE ? f->bias : c->bias;
    if (bias != ED_NONE && memory == ed_plan_memory(p, bias))
        return false;
    return memory != ed_plan_memory(p, c->x.value) && memory != ed_plan_memory(p, c->w.value) &&
           ed_plan_dies(p, f->residual, f->taken);
}

static int build(gemm_state *s, ed_kernel_plan *p, const gemm_case *c, const ed_fused *f, bool sum)
{
    ed_dnn_matmul m = { .x = { .shape = &c->x.shape, .step = c->x.step },
                        .w = { .shape = &c->w.shape, .step = c->w.step },
                        .y = { .shape = &c->y },
                        .constant = c->constant,
                        .bias = c->bias != ED_NONE || f->bias != ED_NONE,
                        .posts = f->posts };
    for (size_t i = 0; sum && i < m.posts.count; i++)
        if (m.posts.at[i].kind == ED_POST_ADD)
            m.posts.at[i].kind = ED_POST_SUM;
    return ed_dnn_matmul_new(&s->prim, p->dnn, &m);
}

static int take_weights(ed_kernel_plan *p, gemm_state *s, ed_id bias)
{
    const gemm_state *other = p->shared;
    const ed_tensor *w = p->constants[p->nodes[0]->in[1]];
    s->bias = bias == ED_NONE || !p->constants[bias] ? NULL : p->constants[bias]->data;
    if (!w)
        return ED_OK;
    s->borrowed = other && other->weights && ed_prim_same_pack(s->prim, other->prim);
    if (s->borrowed) {
        s->weights = other->weights;
        return ED_OK;
    }
    return ed_prim_pack(&s->weights, &p->weight_bytes, s->prim, w->data);
}

static void answer(ed_kernel_plan *p, gemm_state *s, const gemm_case *c, const ed_fused *f,
                   ed_id bias, bool sum)
{
    p->taken = f->taken;
    p->in[p->n_in++] = c->x.value; /* the layouts are all plain: zeros */
    if (!s->weights)
        p->in[p->n_in++] = c->w.value;
    s->bias_at = -1;
    if (bias != ED_NONE && !p->constants[bias]) {
        s->bias_at = (int)p->n_in;
        p->in[p->n_in++] = bias;
    }
    if (f->residual != ED_NONE) {
        p->inplace = sum ? (int)p->n_in : -1;
        p->in[p->n_in++] = f->residual;
        s->add = !sum;
    }
    p->scratch = ed_prim_scratch(s->prim);
    p->kernel = ed_prim_name(s->prim);
    p->state = s;
}

int ed_onednn_gemm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    gemm_case c = { .constant = p->constants[node->in[1]] != NULL };
    ed_fused fused;
    int rc = ED_OK;
    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->in[1]) ||
        !ed_plan_is_f32(p, node->out[0]))
        return ed_plan_refuse(p, "empty or not float32");
    bool gemm = strcmp(node->op_type, "Gemm") == 0;
    const char *refusal = gemm ? gemm_refusal(&c, p) : matmul_refusal(&c, p);
    if (refusal)
        return ed_plan_refuse(p, refusal);
    ed_fuse(&fused, p, gemm ? ED_ROW_NONE : ED_ROW_ANY);
    gemm_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    bool sum = sum_in_place(p, &c, &fused);
    ED_GOTO(build(s, p, &c, &fused, sum));
    if (!s->prim && fused.taken > 1) { /* without what follows */
        fused = (ed_fused){ .taken = 1, .residual = ED_NONE, .bias = ED_NONE };
        sum = false;
        ED_GOTO(build(s, p, &c, &fused, false));
    }
    if (!s->prim) {
        ed_plan_refuse(p, "oneDNN has no kernel for it");
        goto done;
    }
    ed_id bias = fused.bias != ED_NONE ? fused.bias : c.bias;
    ED_GOTO(take_weights(p, s, bias));
    answer(p, s, &c, &fused, bias, sum);
    return ED_OK;
done:
    ed_onednn_gemm_free(s);
    return rc;
}

int ed_onednn_gemm_run(const ed_call *call)
{
    const gemm_state *s = call->state;
    const void *data[ED_ARG_COUNT] = {
        [ED_ARG_SRC] = call->in[0]->data,
        [ED_ARG_WEIGHTS] = s->weights ? s->weights : call->in[1]->data,
        [ED_ARG_BIAS] = s->bias_at < 0 ? s->bias : call->in[s->bias_at]->data,
        [ED_ARG_OTHER] = s->add ? call->in[call->n_in - 1]->data : NULL,
        [ED_ARG_DST] = call->out[0]->data
    };
    return ed_prim_run(s->prim, data, call->scratch);
}

void ed_onednn_gemm_free(void *state)
{
    gemm_state *s = state;
    if (!s)
        return;
    ed_prim_free(s->prim);
    if (!s->borrowed)
        ed_free(s->weights);
    ed_free(s);
}
