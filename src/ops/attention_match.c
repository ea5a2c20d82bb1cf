/* The nodes of attention, and the views of its operands: see attention_match.h. */
#include "ops/attention_match.h"
#include "ops/fast.h"
#include "ops/view.h"

#include <string.h>

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
static bool take_scale(ed_attention *c, const ed_kernel_plan *p, ed_id *value)
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

static bool take_mask(ed_attention *c, const ed_kernel_plan *p, ed_id *value)
{
    const ed_node *node = node_at(p, c->taken, "Add");
    if (!node || (node->in[0] == *value) == (node->in[1] == *value))
        return false;
    ed_id mask = node->in[node->in[0] == *value];
    if (!ed_plan_is_f32(p, mask) ||
        !ed_shape_equal(&p->types[node->out[0]].shape, &p->types[*value].shape))
        return false;
    c->in[ED_ATTENTION_MASK] = mask;
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
static bool read_nodes(ed_attention *c, const ed_kernel_plan *p)
{
    const ed_node *first = p->nodes[0], *node;
    ed_id value = first->out[0];
    *c = (ed_attention){ .in = { first->in[0], first->in[1], ED_NONE, ED_NONE },
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
    c->in[ED_ATTENTION_V] = node->in[1];
    c->taken++;
    for (int k = ED_ATTENTION_Q; k <= ED_ATTENTION_V; k++)
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
static ed_view output(ed_attention *c, const ed_kernel_plan *p)
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

static ed_attention_steps steps_of(const ed_view *view, int rank)
{
    ed_attention_steps s = { .row = step_at(view, rank, rank - 2),
                             .column = step_at(view, rank, rank - 1) };
    for (int i = 0; i < rank - 2; i++)
        s.batch[i] = step_at(view, rank, i);
    return s;
}

static void place(ed_attention *c, const ed_view *in, const ed_view *y)
{
    int rank = y->shape.rank;
    const ed_view *q = &in[ED_ATTENTION_Q], *k = &in[ED_ATTENTION_K];
    c->n = y->shape.dim[rank - 2];
    c->dv = y->shape.dim[rank - 1];
    c->d = q->shape.dim[q->shape.rank - 1];
    c->m = k->shape.dim[k->shape.rank - 1];
    c->batch_rank = rank - 2;
    for (int i = 0; i < c->batch_rank; i++)
        c->batch[i] = y->shape.dim[i];
    for (int o = 0; o < ED_ATTENTION_INPUTS; o++)
        if (c->in[o] != ED_NONE) {
            c->in[o] = in[o].value;
            c->at[o] = steps_of(&in[o], rank);
        }
    c->y = steps_of(y, rank);
}

bool ed_attention_match(ed_attention *out, const ed_kernel_plan *p)
{
    if (!read_nodes(out, p) || !ed_plan_closed(p, out->taken))
        return false;
    ed_view in[ED_ATTENTION_INPUTS] = { operand(p, out->in[ED_ATTENTION_Q], true),
                                        operand(p, out->in[ED_ATTENTION_K], false),
                                        operand(p, out->in[ED_ATTENTION_V], true) };
    if (out->in[ED_ATTENTION_MASK] != ED_NONE)
        in[ED_ATTENTION_MASK] = ed_view_dense(p, out->in[ED_ATTENTION_MASK]);
    ed_view y = output(out, p);
    place(out, in, &y);
    return true;
}
