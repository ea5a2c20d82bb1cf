/*
 * Gemm and MatMul by oneDNN's matmul, with a bias and an activation of their fused group.
 *
 * Gemm: y = A B + C with alpha = 1 and C a constant row (or none). MatMul: equal ranks and batch
 * dimensions, or a constant matrix at the right: then the rows of all batches are one matrix.
 */
#include "ops/fast.h"

#include <string.h>

typedef struct gemm_state {
    ed_prim *prim;
    void *weights; /* NULL: in[1] */
    bool borrowed;
    const float *bias;
} gemm_state;

typedef struct gemm_case { /* what both operators come down to */
    ed_shape x, w, y;
    bool transposed;
    ed_id bias;
} gemm_case;

static bool is_constant_row(const ed_kernel_plan *p, ed_id id, int64_t n)
{
    const ed_tensor *t = p->constants[id];
    return t && t->numel == n && t->shape.rank >= 1 && t->shape.dim[t->shape.rank - 1] == n;
}

static const char *gemm_refusal(gemm_case *c, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_gemm_params *params = p->params[0];
    c->x = p->types[node->in[0]].shape;
    c->w = p->types[node->in[1]].shape;
    c->y = p->types[node->out[0]].shape;
    c->bias = ed_node_in(node, 2);
    c->transposed = params->trans_b != 0;
    if (c->transposed) {
        c->w.dim[0] = p->types[node->in[1]].shape.dim[1];
        c->w.dim[1] = p->types[node->in[1]].shape.dim[0];
    }
    if (params->trans_a || params->alpha != 1.0f)
        return "transA or alpha";
    if (c->bias != ED_NONE && (params->beta != 1.0f || !is_constant_row(p, c->bias, c->y.dim[1])))
        return "C is no constant row, or beta";
    return NULL;
}

static const char *matmul_refusal(gemm_case *c, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    c->x = p->types[node->in[0]].shape;
    c->w = p->types[node->in[1]].shape;
    c->y = p->types[node->out[0]].shape;
    c->bias = ED_NONE;
    if (c->x.rank < 2 || c->w.rank < 2 || c->x.rank > 6)
        return "rank";
    if (c->w.rank == 2 && p->constants[node->in[1]]) {
        int64_t rows = 1;
        for (int i = 0; i + 1 < c->x.rank; i++)
            rows *= c->x.dim[i];
        c->x = ED_SHAPE(rows, c->w.dim[0]);
        c->y = ED_SHAPE(rows, c->w.dim[1]);
        return NULL;
    }
    if (c->x.rank != c->w.rank)
        return "broadcast of batches";
    for (int i = 0; i + 2 < c->x.rank; i++)
        if (c->x.dim[i] != c->w.dim[i])
            return "broadcast of batches";
    return NULL;
}

static int build(gemm_state *s, ed_kernel_plan *p, const gemm_case *c, const ed_fused *f)
{
    ed_dnn_matmul m = { .x = { .shape = &c->x },
                        .w = { .shape = &c->w, .transposed = c->transposed },
                        .y = { .shape = &c->y },
                        .constant = p->constants[p->nodes[0]->in[1]] != NULL,
                        .bias = c->bias != ED_NONE || f->bias != ED_NONE,
                        .posts = f->posts };
    return ed_dnn_matmul_new(&s->prim, p->dnn, &m);
}

static int take_weights(ed_kernel_plan *p, gemm_state *s, ed_id bias)
{
    const gemm_state *other = p->shared;
    const ed_tensor *w = p->constants[p->nodes[0]->in[1]];
    s->bias = bias == ED_NONE ? NULL : p->constants[bias]->data;
    if (!w)
        return ED_OK;
    s->borrowed = other && other->weights && ed_prim_same_pack(s->prim, other->prim);
    if (s->borrowed) {
        s->weights = other->weights;
        return ED_OK;
    }
    return ed_prim_pack(&s->weights, &p->weight_bytes, s->prim, w->data);
}

static void answer(ed_kernel_plan *p, gemm_state *s, const ed_fused *f)
{
    const ed_node *node = p->nodes[0];
    p->taken = f->taken;
    p->in[p->n_in++] = node->in[0]; /* the layouts are all plain: zeros */
    if (!s->weights)
        p->in[p->n_in++] = node->in[1];
    p->scratch = ed_prim_scratch(s->prim);
    p->kernel = ed_prim_name(s->prim);
    p->state = s;
}

int ed_onednn_gemm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    gemm_case c = { 0 };
    ed_fused fused;
    int rc = ED_OK;
    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->in[1]) ||
        !ed_plan_is_f32(p, node->out[0]))
        return ed_plan_refuse(p, "empty or not float32");
    bool gemm = strcmp(node->op_type, "Gemm") == 0;
    const char *refusal = gemm ? gemm_refusal(&c, p) : matmul_refusal(&c, p);
    if (refusal)
        return ed_plan_refuse(p, refusal);
    ed_fuse(&fused, p, !gemm);
    if (fused.residual != ED_NONE)
        fused = (ed_fused){ .taken = 1, .residual = ED_NONE, .bias = ED_NONE };
    gemm_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ED_GOTO(build(s, p, &c, &fused));
    if (!s->prim) {
        ed_plan_refuse(p, "oneDNN has no kernel for it");
        goto done;
    }
    ED_GOTO(take_weights(p, s, fused.bias != ED_NONE ? fused.bias : c.bias));
    answer(p, s, &fused);
    return ED_OK;
done:
    ed_onednn_gemm_free(s);
    return rc;
}

int ed_onednn_gemm_run(const ed_call *call)
{
    const gemm_state *s = call->state;
    const void *data[ED_ARG_COUNT] = { [ED_ARG_SRC] = call->in[0]->data,
                                       [ED_ARG_WEIGHTS] =
                                           s->weights ? s->weights : call->in[1]->data,
                                       [ED_ARG_BIAS] = s->bias,
                                       [ED_ARG_DST] = call->out[0]->data };
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
