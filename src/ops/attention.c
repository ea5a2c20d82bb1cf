/*
 * Attention as one step: y = Softmax(c Q K^T [+ mask]) V, [+ Transpose of y].
 *
 *   MatMul(q, k) [Mul | Div by a number] [Add of a mask] Softmax(last axis) MatMul(p, v)
 *
 * q, k, v and y may be strided views, so that the Transposes around the heads need not run. Ranks 3
 * and more; batch dimensions broadcast. One unit of work is one head of one sample.
 */
#include "ops/attention_kernel.h"
#include "ops/fast.h"
#include "ops/view.h"

#include "base/parallel.h"

#include <string.h>

enum { Q, K, V, MASK, OPERANDS };

typedef struct attention_state {
    ed_head head; /* sizes and steps; pointers are set by run() */
    int batch_rank;
    int64_t batch[ED_MAX_RANK], heads;
    int64_t step[OPERANDS][ED_MAX_RANK], y_step[ED_MAX_RANK]; /* along the batch dimensions */
    const float *mask;                                        /* a constant one */
    bool has_mask;
    size_t scratch; /* floats a thread */
} attention_state;

typedef struct attention_case { /* what the nodes say */
    ed_id in[OPERANDS];
    float scale;
    uint32_t taken;
} attention_case;

/* ---- run ---- */
typedef struct attention_job {
    const attention_state *s;
    const float *in[OPERANDS];
    float *y, *scratch;
} attention_job;

static void heads(void *ctx, int64_t begin, int64_t end, int thread)
{
    const attention_job *job = ctx;
    const attention_state *s = job->s;
    float *scratch = job->scratch + (size_t)thread * s->scratch;
    for (int64_t unit = begin; unit < end; unit++) {
        ed_head head = s->head;
        int64_t at[OPERANDS] = { 0 }, y = 0, rest = unit;
        for (int i = s->batch_rank - 1; i >= 0; i--) {
            for (int k = 0; k < OPERANDS; k++)
                at[k] += rest % s->batch[i] * s->step[k][i];
            y += rest % s->batch[i] * s->y_step[i];
            rest /= s->batch[i];
        }
        head.q = job->in[Q] + at[Q];
        head.k = job->in[K] + at[K];
        head.v = job->in[V] + at[V];
        head.mask = s->has_mask ? job->in[MASK] + at[MASK] : NULL;
        head.y = job->y + y;
        ed_head_run(&head, scratch);
    }
}

int ed_attention_run(const ed_call *call)
{
    const attention_state *s = call->state;
    attention_job job = { .s = s, .y = call->out[0]->data, .scratch = call->scratch };
    for (int k = Q; k <= V; k++)
        job.in[k] = call->in[k]->data;
    if (s->has_mask)
        job.in[MASK] = s->mask ? s->mask : call->in[MASK]->data;
    ed_parallel_for(s->heads, 1, heads, &job);
    return ED_OK;
}

void ed_attention_free(void *state)
{
    ed_free(state);
}

/* ---- which nodes ---- */
static const ed_node *node_at(const ed_kernel_plan *p, uint32_t k, const char *type)
{
    return k < p->n_nodes && strcmp(p->nodes[k]->op_type, type) == 0 ? p->nodes[k] : NULL;
}

static bool one_number(const ed_kernel_plan *p, ed_id id, float *number)
{
    const ed_tensor *t = id == ED_NONE ? NULL : p->constants[id];
    if (!t || t->dtype != ED_F32 || t->numel != 1 || t->shape.rank > 2)
        return false;
    *number = *(const float *)t->data;
    return true;
}

/* c->taken nodes lead to `value`; the next one multiplies or divides it by a number. */
static bool take_scale(attention_case *c, const ed_kernel_plan *p, ed_id *value)
{
    const ed_node *mul = node_at(p, c->taken, "Mul"), *div = node_at(p, c->taken, "Div");
    const ed_node *node = mul ? mul : div;
    float number;
    if (!node || (node->in[0] != *value && (div || node->in[1] != *value)) ||
        !one_number(p, node->in[node->in[0] == *value], &number))
        return false;
    c->scale = div ? c->scale / number : c->scale * number;
    *value = node->out[0];
    c->taken++;
    return true;
}

static bool take_mask(attention_case *c, const ed_kernel_plan *p, ed_id *value)
{
    const ed_node *node = node_at(p, c->taken, "Add");
    if (!node || (node->in[0] == *value) == (node->in[1] == *value))
        return false;
    ed_id mask = node->in[node->in[0] == *value];
    if (!ed_plan_is_f32(p, mask) ||
        !ed_shape_equal(&p->types[node->out[0]].shape, &p->types[*value].shape))
        return false;
    c->in[MASK] = mask;
    *value = node->out[0];
    c->taken++;
    return true;
}

static bool is_last_axis(const ed_kernel_plan *p, uint32_t k)
{
    const ed_softmax_params *softmax = p->params[k];
    int rank = p->types[p->nodes[k]->in[0]].shape.rank;
    return softmax->axis == -1 || softmax->axis == rank - 1;
}

/* The nodes up to the second MatMul; false when they are something else. */
static bool read_nodes(attention_case *c, const ed_kernel_plan *p)
{
    const ed_node *first = p->nodes[0], *node;
    ed_id value = first->out[0];
    *c = (attention_case){ .in = { first->in[0], first->in[1], ED_NONE, ED_NONE },
                           .scale = 1.0f,
                           .taken = 1 };
    take_scale(c, p, &value);
    take_mask(c, p, &value);
    node = node_at(p, c->taken, "Softmax");
    if (!node || node->in[0] != value || !is_last_axis(p, c->taken))
        return false;
    value = node->out[0];
    c->taken++;
    node = node_at(p, c->taken, "MatMul");
    if (!node || node->in[0] != value || node->in[1] == value)
        return false;
    c->in[V] = node->in[1];
    c->taken++;
    for (int k = Q; k <= V; k++)
        if (!ed_plan_is_f32(p, c->in[k]) || p->types[c->in[k]].shape.rank < 2)
            return false;
    return true;
}

/* ---- where the operands lie ---- */
/* The view of an operand; with `dense_rows` its last dimension must have the step 1. */
static ed_view operand(const ed_kernel_plan *p, ed_id value, bool dense_rows)
{
    ed_view view = ed_view_of(p, value);
    int last = view.shape.rank - 1;
    if (dense_rows && view.step[last] != 1 && view.shape.dim[last] != 1)
        view = ed_view_dense(p, value);
    return view;
}

/* Steps along dimension i of an output of `rank`: 0 where the view broadcasts. */
static int64_t step_at(const ed_view *view, int rank, int i)
{
    int k = i - (rank - view->shape.rank);
    return k < 0 || view->shape.dim[k] == 1 ? 0 : view->step[k];
}

/* The Transpose behind the last MatMul, if it leaves rows in one piece: then y is a view too. */
static ed_view output(attention_case *c, const ed_kernel_plan *p)
{
    ed_view y = ed_view_dense(p, ed_plan_output(p, c->taken));
    const ed_node *next = node_at(p, c->taken, "Transpose");
    int64_t perm[ED_MAX_RANK];
    int rank = y.shape.rank;
    if (!next || next->in[0] != y.value)
        return y;
    ed_transpose_perm_of(perm, next, rank);
    if (perm[rank - 1] != rank - 1 || !ed_plan_closed(p, c->taken + 1))
        return y;
    ed_view transposed = ed_view_dense(p, next->out[0]);
    for (int i = 0; i < rank; i++)
        y.step[perm[i]] = transposed.step[i];
    y.value = transposed.value;
    c->taken++;
    return y;
}

static void place(attention_state *s, const attention_case *c, const ed_view *in, const ed_view *y)
{
    int rank = y->shape.rank, row = rank - 2, column = rank - 1;
    const ed_view *k = &in[K];
    ed_head *h = &s->head;
    h->scale = c->scale;
    h->n = y->shape.dim[row];
    h->dv = y->shape.dim[column];
    h->d = in[Q].shape.dim[in[Q].shape.rank - 1];
    h->m = k->shape.dim[k->shape.rank - 1];
    h->q_row = step_at(&in[Q], rank, row);
    h->k_row = step_at(k, rank, column); /* the operand is K^T [d, m] */
    h->k_column = step_at(k, rank, row);
    h->v_row = step_at(&in[V], rank, row);
    h->y_row = y->step[row];
    s->batch_rank = row;
    s->heads = 1;
    for (int i = 0; i < row; i++) {
        s->batch[i] = y->shape.dim[i];
        s->heads *= s->batch[i];
        s->y_step[i] = y->step[i];
        for (int o = 0; o < OPERANDS; o++)
            s->step[o][i] = o == MASK && !s->has_mask ? 0 : step_at(&in[o], rank, i);
    }
    if (s->has_mask) {
        h->mask_row = step_at(&in[MASK], rank, row);
        h->mask_column = step_at(&in[MASK], rank, column);
    }
    s->scratch = ed_head_scratch(h->m, h->d, h->dv);
}

int ed_attention_plan(ed_kernel_plan *p)
{
    attention_case c;
    if (!read_nodes(&c, p) || !ed_plan_closed(p, c.taken))
        return ed_plan_refuse(p, NULL);
    ed_view in[OPERANDS] = { operand(p, c.in[Q], true), operand(p, c.in[K], false),
                             operand(p, c.in[V], true) };
    ed_view y = output(&c, p);
    attention_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->has_mask = c.in[MASK] != ED_NONE;
    if (s->has_mask) {
        in[MASK] = ed_view_dense(p, c.in[MASK]);
        s->mask = p->constants[c.in[MASK]] ? p->constants[c.in[MASK]]->data : NULL;
    }
    place(s, &c, in, &y);
    p->taken = c.taken;
    p->n_in = s->has_mask && !s->mask ? OPERANDS : MASK;
    for (uint32_t k = 0; k < p->n_in; k++) /* the layouts are all plain: zeros */
        p->in[k] = in[k].value;
    p->scratch = (size_t)ed_threads_get() * s->scratch * sizeof(float);
    p->state = s;
    return ED_OK;
}
