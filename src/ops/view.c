/*
 * Strided views: see view.h.
 *
 * Transpose permutes the steps. A reshape keeps a view where each run of dimensions that it merges
 * or splits lies evenly spaced: in the run, step[i] = step[i + 1] * size[i + 1].
 */
#include "ops/view.h"

#include <string.h>

enum { MAX_DEPTH = 8 };

static void dense_steps(int64_t *step, const ed_shape *shape)
{
    int64_t next = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        step[i] = next;
        next *= shape->dim[i];
    }
}

ed_view ed_view_dense(const ed_kernel_plan *p, ed_id value)
{
    ed_view view = { .value = value, .shape = p->types[value].shape };
    dense_steps(view.step, &view.shape);
    return view;
}

bool ed_is_transpose(const ed_node *node)
{
    return strcmp(node->op_type, "Transpose") == 0 && node->domain[0] == '\0';
}

void ed_transpose_perm_of(int64_t *perm, const ed_node *node, int rank)
{
    const ed_attr *attr = ed_node_attr(node, "perm");
    for (int i = 0; i < rank; i++)
        perm[i] = attr && attr->count == (size_t)rank ? attr->ints[i] : rank - 1 - i;
}

void ed_view_permute(ed_view *view, const int64_t *perm)
{
    ed_view from = *view;
    for (int i = 0; i < from.shape.rank; i++) {
        view->shape.dim[i] = from.shape.dim[perm[i]];
        view->step[i] = from.step[perm[i]];
    }
}

/* Split the run of old dimensions [begin, end) into the new ones [to, to_end); all hold elements.
 */
static bool split_run(const ed_view *from, int begin, int end, ed_view *view, int to, int to_end)
{
    int last = -1; /* dimensions of size 1 have no step */
    int64_t step = 1;
    for (int i = end - 1; i >= begin; i--) {
        if (from->shape.dim[i] == 1)
            continue;
        if (last >= 0 && from->step[i] != from->step[last] * from->shape.dim[last])
            return false;
        if (last < 0)
            step = from->step[i];
        last = i;
    }
    for (int i = to_end - 1; i >= to; i--) {
        view->step[i] = step;
        step *= view->shape.dim[i];
    }
    return true;
}

bool ed_view_reshape(ed_view *view, const ed_shape *shape)
{
    const ed_view from = *view;
    ed_view to = { .value = from.value, .shape = *shape };
    int i = 0, j = 0;
    while (i < from.shape.rank || j < shape->rank) {
        int i0 = i, j0 = j;
        int64_t a = i < from.shape.rank ? from.shape.dim[i++] : 1;
        int64_t b = j < shape->rank ? shape->dim[j++] : 1;
        while (a != b) {
            if (a < b && i < from.shape.rank)
                a *= from.shape.dim[i++];
            else if (b < a && j < shape->rank)
                b *= shape->dim[j++];
            else
                return false;
        }
        if (!split_run(&from, i0, i, &to, j0, j))
            return false;
    }
    *view = to;
    return true;
}

static bool is_row_major(ed_layout layout)
{
    return layout == ED_LAYOUT_PLAIN || layout == ED_LAYOUT_PLAIN_BF16;
}

/* A Transpose with an output of its own. On a device one that leaves every byte in its place
 * overwrites its input, and what reads its output may overwrite that. */
static bool copies(const ed_kernel_plan *p, ed_id to, const int64_t *perm, const ed_view *from)
{
    int64_t last = -1;
    if (!p->device)
        return true;
    if (!is_row_major(p->layouts[from->value]) || !is_row_major(p->layouts[to]))
        return false;
    for (int i = 0; i < from->shape.rank; i++) {
        if (from->shape.dim[perm[i]] == 1)
            continue;
        if (perm[i] < last)
            return true;
        last = perm[i];
    }
    return false;
}

/* *safe: the last reader of the memory is a Transpose on the way, which does not overwrite it. */
static ed_view look(const ed_kernel_plan *p, ed_id value, int depth, bool *safe)
{
    int64_t perm[ED_MAX_RANK];
    ed_view dense = ed_view_dense(p, value);
    ed_id producer = p->graph->values[value].producer;
    *safe = false;
    if (producer == ED_NONE || p->constants[value] || depth == MAX_DEPTH)
        return dense;
    const ed_node *node = &p->graph->nodes[producer];
    bool transpose = ed_is_transpose(node);
    bool alias = (ed_op_traits(p->graph, node) & ED_OP_ALIAS) != 0;
    if ((!transpose && !alias) || node->in[0] == ED_NONE || node->out[0] != value ||
        (p->where[node->in[0]] == ED_NONE && !p->constants[node->in[0]]))
        return dense;
    ed_view view = look(p, node->in[0], depth + 1, safe);
    if (transpose) {
        ed_transpose_perm_of(perm, node, view.shape.rank);
        *safe = *safe ||
                (p->last_read[view.value] == p->order[producer] && copies(p, value, perm, &view));
        ed_view_permute(&view, perm);
    } else if (!ed_view_reshape(&view, &dense.shape)) {
        *safe = false;
        return dense;
    }
    return view;
}

ed_view ed_view_of(const ed_kernel_plan *p, ed_id value)
{
    bool safe;
    ed_view view = look(p, value, 0, &safe);
    uint32_t here = p->order[p->nodes[0] - p->graph->nodes];
    return safe || p->last_read[view.value] >= here ? view : ed_view_dense(p, value);
}
