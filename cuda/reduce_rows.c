/*
 * Rows of the reductions of float32 over any axes, and of pooling over all of the space:
 * GlobalAveragePool, GlobalMaxPool, AveragePool and MaxPool whose one window is the whole input.
 * In the order and storage in which the input lies; the output keeps them if it has that rank.
 */
#include "reduce_rows.h"

#include "lines.h"
#include "walk.h"

#include <string.h>

typedef struct reduce_state {
    ed_cuda_reduction reduction;
    bool bf16;
} reduce_state;

enum { AXES, SPACE, WINDOW }; /* what is reduced */

static const struct {
    const char *type;
    int kind, over;
} kinds[] = {
    { "ReduceMean", ED_CUDA_MEAN, AXES },
    { "ReduceSum", ED_CUDA_SUM, AXES },
    { "ReduceProd", ED_CUDA_PROD, AXES },
    { "ReduceMax", ED_CUDA_MAX, AXES },
    { "ReduceMin", ED_CUDA_MIN, AXES },
    { "ReduceL1", ED_CUDA_L1, AXES },
    { "ReduceL2", ED_CUDA_L2, AXES },
    { "ReduceSumSquare", ED_CUDA_SUM_SQUARE, AXES },
    { "GlobalAveragePool", ED_CUDA_MEAN, SPACE },
    { "GlobalMaxPool", ED_CUDA_MAX, SPACE },
    { "AveragePool", ED_CUDA_MEAN, WINDOW },
    { "MaxPool", ED_CUDA_MAX, WINDOW },
};

/* Sets reduced[0 .. rank); false when the axes are not known now. */
static bool listed_axes(bool *reduced, const ed_kernel_plan *p, int rank)
{
    const ed_reduce_params *params = p->params[0];
    const ed_tensor *axes = ed_cuda_constant(p, 1);
    if (ed_node_in(p->nodes[0], 1) != ED_NONE && !axes)
        return false;
    int64_t n = axes ? axes->numel : params->axes.n;
    for (int i = 0; i < rank; i++)
        reduced[i] = n <= 0 && !params->noop_with_empty_axes;
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = axes ? ed_tensor_get_i64(axes, i) : params->axes.v[i];
        reduced[axis < 0 ? axis + rank : axis] = true;
    }
    return true;
}

/* Why a window is not the whole input, without padding; NULL when it is. */
static const char *partial(const ed_kernel_plan *p, const ed_shape *x, const ed_shape *y)
{
    ed_window w;
    if (ed_cuda_more_outputs(p))
        return "indices";
    if (ed_pool_window(&w, p->graph, p->nodes[0], p->params[0], x) != ED_OK)
        return "no window";
    for (int i = 0; i < w.rank; i++)
        if (w.kernel[i] != x->dim[2 + i] || w.dilation[i] != 1 || w.pad_begin[i] || w.pad_end[i] ||
            y->dim[2 + i] != 1)
            return "windows over parts of the input";
    return NULL;
}

/* The walks over x and y with these layouts. */
static void set_walks(ed_cuda_reduction *r, const ed_shape *x, ed_layout x_layout,
                      const ed_shape *y, ed_layout y_layout, const bool *reduced)
{
    int64_t x_step[ED_MAX_RANK], y_step[ED_MAX_RANK], own[ED_MAX_RANK];
    ed_shape kept = *x, along = *x;
    ed_cuda_steps(x_step, x, x_layout);
    ed_cuda_steps(own, y, y_layout);
    r->outputs = r->reduced = 1;
    for (int i = 0, k = 0; i < x->rank; i++) {
        y_step[i] = reduced[i] ? 0 : own[k];
        k += !reduced[i] || y->rank == x->rank;
        *(reduced[i] ? &r->reduced : &r->outputs) *= x->dim[i];
        (reduced[i] ? &kept : &along)->dim[i] = 1;
    }
    ed_cuda_walk_begin(&r->kept, &kept);
    ed_cuda_walk_steps(&r->kept, y_step);
    ed_cuda_walk_steps(&r->kept, x_step);
    ed_cuda_walk_fold(&r->kept);
    ed_cuda_walk_begin(&r->along, &along);
    ed_cuda_walk_steps(&r->along, x_step);
    ed_cuda_walk_fold(&r->along);
}

size_t ed_cuda_channel_sums(ed_cuda_reduction *r, const ed_shape *x, ed_layout layout)
{
    bool reduced[ED_MAX_RANK];
    ed_shape y = *x;
    for (int i = 0; i < x->rank; i++) {
        reduced[i] = i != 1;
        y.dim[i] = i == 1 ? x->dim[i] : 1;
    }
    *r = (ed_cuda_reduction){ .kind = ED_CUDA_SUM, .y_f32 = true };
    set_walks(r, x, layout, &y, ED_LAYOUT_PLAIN, reduced);
    return ed_cuda_reduce_plan(r, ed_layout_element(layout) == 2);
}

int ed_cuda_reduction_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]), *y = ed_cuda_shape(p, node->out[0]);
    bool reduced[ED_MAX_RANK];
    size_t k = 0;
    while (strcmp(kinds[k].type, node->op_type) != 0)
        k++;
    if (p->types[node->in[0]].dtype != ED_F32)
        return ed_plan_refuse(p, "integers");
    const char *reason = kinds[k].over == WINDOW ? partial(p, x, y) : NULL;
    for (int i = 0; i < x->rank; i++)
        reduced[i] = i >= 2;
    if (kinds[k].over == AXES && !listed_axes(reduced, p, x->rank))
        reason = "axes that are not constant";
    if (reason)
        return ed_plan_refuse(p, reason);
    reduce_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ed_layout layout = p->layouts[node->in[0]];
    ed_layout out = y->rank == x->rank ? layout : ed_cuda_row_major(layout);
    s->bf16 = ed_layout_element(layout) == 2;
    s->reduction.kind = kinds[k].kind;
    set_walks(&s->reduction, x, layout, y, out, reduced);
    p->scratch = ed_cuda_reduce_plan(&s->reduction, s->bf16);
    ed_cuda_read(p, 0, layout);
    return ed_cuda_take(p, 1, out, s);
}

int ed_cuda_reduction_run(const ed_call *call)
{
    const reduce_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_reduce(call->out[0]->data, call->in[0]->data, s->bf16, &s->reduction,
                               call->scratch, ed_cuda_of(call)->stream),
                "the kernel of a reduction");
    return ED_OK;
}

void ed_cuda_reduction_free(void *state)
{
    ed_free(state);
}

const ed_cuda_op ed_cuda_reduce_ops[] = {
    { "ReduceMean", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceSum", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceProd", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceMax", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceMin", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceL1", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceL2", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "ReduceSumSquare", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "GlobalAveragePool", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { "GlobalMaxPool", NULL, { ED_CUDA_ROW(ed_cuda_reduction) } },
    { 0 },
};
