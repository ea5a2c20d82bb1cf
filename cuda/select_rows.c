/* Rows of OneHot, Trilu and TopK. */
#include "kernels.h"
#include "stored.h"

/* An input as [outer, n, inner], n along an axis. */
typedef struct lines {
    int64_t outer, n, inner;
} lines;

static lines lines_of(const ed_shape *shape, int axis)
{
    return (lines){ ed_cuda_span(shape, 0, axis), shape->dim[axis],
                    ed_cuda_span(shape, axis + 1, shape->rank) };
}

/* ---- OneHot ---- */

typedef struct one_hots {
    lines y;
    size_t width;
} one_hots;

static int one_hot_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *y = ed_cuda_shape(p, node->out[0]);
    if (ed_cuda_numel(p, node->in[2]) != 2)
        return ed_plan_refuse(p, "the values are not two");
    one_hots *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (one_hots){ lines_of(y, ed_cuda_axis(node, -1, y->rank)),
                     ed_cuda_width(p, node->out[0], ED_LAYOUT_PLAIN) };
    return ed_cuda_take_plain(p, s);
}

static int one_hot_run(const ed_call *call)
{
    const one_hots *s = call->state;
    ED_CUDA_TRY(ed_cuda_one_hot(call->out[0]->data, call->in[0]->data, (int)call->in[0]->dtype,
                                call->in[2]->data, s->width, s->y.outer, s->y.n, s->y.inner,
                                ed_cuda_of(call)->stream),
                "the kernel of OneHot");
    return ED_OK;
}

/* ---- Trilu ---- */

typedef struct trilus {
    int64_t rows, columns, k;
    size_t width;
    bool upper, k_at; /* the diagonal is an input of run() */
} trilus;

static int trilu_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0], k = ed_node_in(node, 1);
    const ed_shape *shape = ed_cuda_shape(p, x);
    const ed_tensor *diagonal = ed_cuda_constant(p, 1);
    ed_layout layout = ed_cuda_row_major(p->layouts[x]);
    if (k != ED_NONE && ed_cuda_numel(p, k) < 1)
        return ed_plan_refuse(p, "the diagonal is not a number");
    trilus *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (trilus){ .rows = shape->dim[shape->rank - 2],
                   .columns = shape->dim[shape->rank - 1],
                   .k = diagonal ? ed_tensor_get_i64(diagonal, 0) : 0,
                   .width = ed_cuda_width(p, x, layout),
                   .upper = ed_cuda_attr(node, "upper", 1) != 0,
                   .k_at = k != ED_NONE && !diagonal };
    ed_cuda_read(p, 0, layout);
    if (s->k_at)
        ed_cuda_read(p, 1, ED_LAYOUT_PLAIN);
    return ed_cuda_take(p, 1, layout, s);
}

static int trilu_run(const ed_call *call)
{
    const trilus *s = call->state;
    ED_CUDA_TRY(ed_cuda_trilu(call->out[0]->data, call->in[0]->data, s->width, call->in[0]->numel,
                              s->rows, s->columns, s->k, s->k_at ? call->in[1]->data : NULL,
                              s->upper, ed_cuda_of(call)->stream),
                "the kernel of Trilu");
    return ED_OK;
}

/* ---- TopK ---- */

typedef struct topks {
    lines x;
    int64_t k;
    bool largest;
} topks;

static int topk_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    const ed_tensor *count = ed_cuda_constant(p, 1);
    if (node->n_in > 1 && !count)
        return ed_plan_refuse(p, "k is computed at run time");
    topks *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (topks){ .x = lines_of(x, ed_cuda_axis(node, -1, x->rank)),
                  .k = count ? ed_tensor_get_i64(count, 0) : ed_cuda_attr(node, "k", 0),
                  .largest = ed_cuda_attr(node, "largest", 1) != 0 };
    return ed_cuda_take_plain(p, s);
}

static int topk_run(const ed_call *call)
{
    const topks *s = call->state;
    const ed_tensor *values = call->out[0], *indices = call->n_out > 1 ? call->out[1] : NULL;
    ED_CUDA_TRY(ed_cuda_topk(values ? values->data : NULL, indices ? indices->data : NULL,
                             call->in[0]->data, (int)call->in[0]->dtype, s->x.outer, s->x.n,
                             s->x.inner, s->k, s->largest, ed_cuda_of(call)->stream),
                "the kernel of TopK");
    return ED_OK;
}

#define SELECT_ROW(name)                                                                           \
    {                                                                                              \
        "cuda", "cuda", name##_plan, name##_run, ed_free, NULL                                     \
    }

const ed_cuda_op ed_cuda_select_ops[] = {
    { "OneHot", NULL, { SELECT_ROW(one_hot) } },
    { "Trilu", NULL, { SELECT_ROW(trilu) } },
    { "TopK", NULL, { SELECT_ROW(topk) } },
    { 0 },
};
