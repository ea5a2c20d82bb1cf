/*
 * Rows of Concat and Split: in the order of memory both are parts of the rows of a matrix, whatever
 * the axis and the layout.
 */
#include "kernels.h"
#include "stored.h"

typedef struct joins {
    int64_t rows; /* of the matrix: what is slower than the axis */
    size_t width;
} joins;

/* Product of the dimensions that are slower than `axis`. */
static int64_t slower(const ed_shape *shape, int axis, ed_layout layout)
{
    if (!ed_cuda_is_nhwc(layout) || axis == 0)
        return ed_cuda_span(shape, 0, axis);
    int64_t points = ed_cuda_span(shape, 2, axis == 1 ? shape->rank : axis);
    return shape->dim[0] * points;
}

/* ---- Concat ---- */

/* The layout in which most elements of the inputs lie, constants apart. */
static ed_layout most_common(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    int64_t held[ED_LAYOUT_COUNT] = { 0 };
    ed_layout best = ED_LAYOUT_PLAIN;
    for (uint32_t i = 0; i < node->n_in; i++)
        if (!p->constants[node->in[i]])
            held[p->layouts[node->in[i]]] += ed_cuda_numel(p, node->in[i]);
    for (int l = 0; l < ED_LAYOUT_COUNT; l++)
        if (held[l] > held[best])
            best = (ed_layout)l;
    return best;
}

static int concat_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id y = node->out[0];
    const ed_shape *shape = ed_cuda_shape(p, y);
    bool many = node->n_in > ED_CALL_MAX; /* more than a row may list */
    ed_layout layout = many ? ED_LAYOUT_PLAIN : most_common(p);
    joins *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->rows = slower(shape, ed_cuda_axis(node, 0, shape->rank), layout);
    s->width = ed_cuda_width(p, y, layout);
    if (many)
        return ed_cuda_take_plain(p, s);
    for (uint32_t i = 0; i < node->n_in; i++)
        ed_cuda_read(p, i, layout);
    return ed_cuda_take(p, 1, layout, s);
}

static int concat_run(const ed_call *call)
{
    const joins *s = call->state;
    const ed_tensor *y = call->out[0];
    int64_t at = 0;
    for (uint32_t i = 0; y->numel > 0 && i < call->n_in;) {
        ed_cuda_parts parts = { .start = { at } };
        for (; i < call->n_in && parts.count < ED_JOIN_PARTS; i++) {
            at += call->in[i]->numel / s->rows;
            parts.data[parts.count++] = call->in[i]->data;
            parts.start[parts.count] = at;
        }
        ED_CUDA_TRY(ed_cuda_join(y->data, &parts, s->rows, y->numel / s->rows, s->width,
                                 ed_cuda_of(call)->stream),
                    "the kernel of Concat");
    }
    return ED_OK;
}

/* ---- Split ---- */

typedef struct splits {
    joins whole;
    int64_t row;     /* elements */
    int64_t start[]; /* [n_out + 1], in a row: also of outputs that nobody wants */
} splits;

static int64_t part_size(const ed_kernel_plan *p, uint32_t i, int64_t size)
{
    const ed_node *node = p->nodes[0];
    const ed_tensor *list = ed_cuda_constant(p, 1);
    const ed_attr *attr = ed_node_attr(node, "split");
    if (list)
        return ed_tensor_get_i64(list, i);
    if (attr)
        return attr->ints[i];
    int64_t part = (size + node->n_out - 1) / node->n_out, left = size - i * part;
    return left >= part ? part : left > 0 ? left : 0;
}

static int split_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0];
    const ed_shape *shape = ed_cuda_shape(p, x);
    int axis = ed_cuda_axis(node, 0, shape->rank);
    int64_t inner = ed_cuda_span(shape, axis + 1, shape->rank), at = 0;
    if (ed_node_in(node, 1) != ED_NONE && !ed_cuda_constant(p, 1))
        return ed_plan_refuse(p, "the sizes of the parts are computed at run time");
    splits *s = ed_malloc(sizeof *s + (node->n_out + 1) * sizeof s->start[0]);
    if (!s)
        return ED_ENOMEM;
    s->whole.rows = ed_cuda_span(shape, 0, axis);
    s->whole.width = ed_cuda_width(p, x, ED_LAYOUT_PLAIN);
    s->row = shape->dim[axis] * inner;
    s->start[0] = 0;
    for (uint32_t i = 0; i < node->n_out; i++) {
        at += part_size(p, i, shape->dim[axis]) * inner;
        s->start[i + 1] = at;
    }
    return ed_cuda_take_plain(p, s);
}

static int split_run(const ed_call *call)
{
    const splits *s = call->state;
    for (uint32_t i = 0; i < call->n_out;) {
        ed_cuda_parts parts = { .start = { s->start[i] } };
        for (; i < call->n_out && parts.count < ED_JOIN_PARTS; i++) {
            parts.data[parts.count++] = call->out[i] ? call->out[i]->data : NULL;
            parts.start[parts.count] = s->start[i + 1];
        }
        ED_CUDA_TRY(ed_cuda_part(call->in[0]->data, &parts, s->whole.rows, s->row, s->whole.width,
                                 ed_cuda_of(call)->stream),
                    "the kernel of Split");
    }
    return ED_OK;
}

#define JOIN_ROW(name)                                                                             \
    {                                                                                              \
        "cuda", "cuda", name##_plan, name##_run, ed_free, NULL                                     \
    }

const ed_cuda_op ed_cuda_join_ops[] = {
    { "Concat", NULL, { JOIN_ROW(concat) } },
    { "Split", NULL, { JOIN_ROW(split) } },
    { 0 },
};
