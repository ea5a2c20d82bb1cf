/*
 * Rows of the operators that are one strided copy: Transpose, Slice, Expand, Tile, DepthToSpace,
 * SpaceToDepth. Elements keep the storage of the input, and the output its order where that makes
 * sense; a copy that leaves every byte in its place overwrites its input, and does nothing.
 */
#include "stored.h"
#include "walk.h"

#include <string.h>

typedef struct moves {
    ed_walk walk;  /* operands: the output, the input */
    int64_t first; /* element of the input that the walk begins at */
    size_t width;
} moves;

/* Every element of the output, of `numel` in the input, lies where it did. */
static bool is_whole(const moves *m, int64_t numel)
{
    const ed_walk *w = &m->walk;
    return w->rank == 1 && w->dim[0] == numel &&
           (numel <= 1 || (w->step[0][0] == 1 && w->step[1][0] == 1));
}

static int take(ed_kernel_plan *p, const moves *m, ed_layout out)
{
    ed_id x = p->nodes[0]->in[0];
    moves *state = ed_malloc(sizeof *state);
    if (!state)
        return ED_ENOMEM;
    *state = *m;
    state->width = ed_cuda_width(p, x, p->layouts[x]);
    ed_cuda_read(p, 0, p->layouts[x]);
    p->inplace = is_whole(m, ed_cuda_numel(p, x)) && ed_plan_dies(p, x, 1) ? 0 : -1;
    return ed_cuda_take(p, 1, out, state);
}

static int moves_run(const ed_call *call)
{
    const moves *m = call->state;
    const char *x = call->in[0]->data;
    if (call->out[0]->numel == 0 || call->out[0]->data == call->in[0]->data)
        return ED_OK;
    ED_CUDA_TRY(ed_cuda_walk_copy(call->out[0]->data, x + m->first * (int64_t)m->width, m->width,
                                  &m->walk, ed_cuda_of(call)->stream),
                "the kernel that moves data");
    return ED_OK;
}

/* ---- Transpose ---- */

/* y[i0, i1, ...] = x[j], where j[perm[k]] = i[k], into that layout. */
static moves transposed(const ed_kernel_plan *p, ed_layout out)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *y = ed_cuda_shape(p, node->out[0]);
    const ed_attr *perm = ed_node_attr(node, "perm");
    int64_t own[ED_MAX_RANK], step[ED_MAX_RANK];
    moves m = { .first = 0 };
    ed_cuda_steps(own, ed_cuda_shape(p, node->in[0]), p->layouts[node->in[0]]);
    for (int i = 0; i < y->rank; i++)
        step[i] = own[perm ? perm->ints[i] : y->rank - 1 - i];
    ed_cuda_walk_begin(&m.walk, y);
    ed_cuda_walk_operand(&m.walk, y, out);
    ed_cuda_walk_steps(&m.walk, step);
    ed_cuda_walk_fold(&m.walk);
    return m;
}

/* Images [N, H, W, C] that become [N, C, H, W] stay where they are, in NHWC. */
static int transpose_plan(ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0];
    ed_layout out = ed_cuda_row_major(p->layouts[x]);
    moves m = transposed(p, out);
    if (p->types[x].dtype == ED_F32 && p->types[x].shape.rank >= 4 &&
        !is_whole(&m, ed_cuda_numel(p, x))) {
        ed_layout nhwc =
            ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, ed_layout_element(p->layouts[x]) == 2);
        moves last = transposed(p, nhwc);
        if (is_whole(&last, ed_cuda_numel(p, x)))
            return take(p, &last, nhwc);
    }
    return take(p, &m, out);
}

/* ---- Slice ---- */

/* The list of a Slice: input i, before opset 10 an attribute. */
typedef struct numbers {
    const ed_tensor *tensor;
    const ed_attr *attr;
    int64_t n; /* -1: absent */
} numbers;

static numbers numbers_of(const ed_kernel_plan *p, uint32_t i, const char *attr)
{
    numbers list = { .n = -1 };
    if (p->nodes[0]->n_in > 1) {
        list.tensor = ed_cuda_constant(p, i);
        list.n = list.tensor ? list.tensor->numel : -1;
    } else if (attr) {
        list.attr = ed_node_attr(p->nodes[0], attr);
        list.n = list.attr ? (int64_t)list.attr->count : -1;
    }
    return list;
}

static int64_t number_at(const numbers *list, int64_t i, int64_t preset)
{
    if (list->n < 0)
        return preset;
    return list->tensor ? ed_tensor_get_i64(list->tensor, i) : list->attr->ints[i];
}

/* Where the slice begins along an axis of `size` elements; it holds some. */
static int64_t first_of(int64_t size, int64_t start, int64_t step)
{
    int64_t most = step > 0 ? size : size - 1;
    start += start < 0 ? size : 0;
    return start < 0 ? 0 : start > most ? most : start;
}

/* An input that is there, but not a constant. */
static bool varies(const ed_kernel_plan *p, uint32_t i)
{
    return ed_node_in(p->nodes[0], i) != ED_NONE && !ed_cuda_constant(p, i);
}

static int slice_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0];
    const ed_shape *from = ed_cuda_shape(p, x), *y = ed_cuda_shape(p, node->out[0]);
    ed_layout lies = p->layouts[x];
    numbers starts = numbers_of(p, 1, "starts"), axes = numbers_of(p, 3, "axes"),
            steps = numbers_of(p, 4, NULL);
    int64_t step[ED_MAX_RANK];
    moves m = { .first = 0 };
    if (varies(p, 1) || varies(p, 2) || varies(p, 3) || varies(p, 4))
        return ed_plan_refuse(p, "the slice is computed at run time");
    ed_cuda_steps(step, from, lies);
    for (int64_t i = 0; i < starts.n; i++) {
        int64_t axis = number_at(&axes, i, i), by = number_at(&steps, i, 1);
        axis += axis < 0 ? from->rank : 0;
        if (y->dim[axis] == 0)
            continue; /* an empty output */
        m.first += first_of(from->dim[axis], number_at(&starts, i, 0), by) * step[axis];
        step[axis] *= y->dim[axis] > 1 ? by : 0;
    }
    ed_cuda_walk_begin(&m.walk, y);
    ed_cuda_walk_operand(&m.walk, y, lies);
    ed_cuda_walk_steps(&m.walk, step);
    ed_cuda_walk_fold(&m.walk);
    return take(p, &m, lies);
}

/* ---- Expand, Tile ---- */

static int expand_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0];
    const ed_shape *from = ed_cuda_shape(p, x), *y = ed_cuda_shape(p, node->out[0]);
    ed_layout lies = p->layouts[x];
    ed_layout out = from->rank == y->rank ? lies : ed_cuda_row_major(lies);
    moves m = { .first = 0 };
    ed_cuda_walk_begin(&m.walk, y);
    ed_cuda_walk_operand(&m.walk, y, out);
    ed_cuda_walk_operand(&m.walk, from, lies);
    ed_cuda_walk_fold(&m.walk);
    return take(p, &m, out);
}

/* A dimension of the index space. */
static void add_dim(ed_shape *space, int64_t size, int64_t *y_step, int64_t y, int64_t *x_step,
                    int64_t x)
{
    space->dim[space->rank] = size;
    y_step[space->rank] = y;
    x_step[space->rank++] = x;
}

static moves walk_of(const ed_shape *space, const int64_t *y_step, const int64_t *x_step)
{
    moves m = { .first = 0 };
    ed_cuda_walk_begin(&m.walk, space);
    ed_cuda_walk_steps(&m.walk, y_step);
    ed_cuda_walk_steps(&m.walk, x_step);
    ed_cuda_walk_fold(&m.walk);
    return m;
}

/* A repeated dimension is two: the repeats, along which x stands still, and its elements. */
static int tile_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0];
    const ed_shape *from = ed_cuda_shape(p, x), *to = ed_cuda_shape(p, node->out[0]);
    int64_t x_own[ED_MAX_RANK], y_own[ED_MAX_RANK], y[ED_MAX_RANK], s[ED_MAX_RANK];
    ed_shape space = { .rank = 0 };
    ed_cuda_steps(x_own, from, p->layouts[x]);
    ed_cuda_steps(y_own, to, p->layouts[x]);
    for (int i = 0; i < from->rank; i++) {
        int64_t n = from->dim[i], repeats = n > 0 ? to->dim[i] / n : 0;
        bool both = n > 1 && repeats != 1;
        if (space.rank + (both ? 2 : 1) > ED_MAX_RANK)
            return ed_plan_refuse(p, "too many dimensions are repeated");
        if (repeats != 1)
            add_dim(&space, repeats, y, n * y_own[i], s, 0);
        if (n > 1 || repeats == 1)
            add_dim(&space, n, y, y_own[i], s, x_own[i]);
    }
    moves m = walk_of(&space, y, s);
    return take(p, &m, p->layouts[x]);
}

/* ---- DepthToSpace, SpaceToDepth ---- */

/* [N, C b b, H, W] and [N, C, H b, W b]: channel i c_i + j c_j + c c_c of the one is row h b + i,
 * column w b + j of the other. */
static moves between_spaces(const ed_kernel_plan *p, bool to_space)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0];
    const ed_attr *mode = ed_node_attr(node, "mode");
    bool crd = to_space && mode && strcmp(mode->s.data, "CRD") == 0;
    int64_t b = ed_cuda_attr(node, "blocksize", 1);
    const ed_shape *deep = ed_cuda_shape(p, to_space ? x : node->out[0]);
    const ed_shape *wide = ed_cuda_shape(p, to_space ? node->out[0] : x);
    int64_t d[ED_MAX_RANK], w[ED_MAX_RANK];
    ed_cuda_steps(d, deep, p->layouts[x]);
    ed_cuda_steps(w, wide, p->layouts[x]);
    int64_t c = wide->dim[1], c_c = crd ? b * b : 1, c_i = crd ? b : b * c, c_j = crd ? 1 : c;
    ed_shape space = { 6, { deep->dim[0], c, deep->dim[2], b, deep->dim[3], b } };
    int64_t deep_step[] = { d[0], c_c * d[1], d[2], c_i * d[1], d[3], c_j * d[1] };
    int64_t wide_step[] = { w[0], w[1], b * w[2], w[2], b * w[3], w[3] };
    return to_space ? walk_of(&space, wide_step, deep_step) : walk_of(&space, deep_step, wide_step);
}

static int to_space_plan(ed_kernel_plan *p)
{
    moves m = between_spaces(p, true);
    return take(p, &m, p->layouts[p->nodes[0]->in[0]]);
}

static int to_depth_plan(ed_kernel_plan *p)
{
    moves m = between_spaces(p, false);
    return take(p, &m, p->layouts[p->nodes[0]->in[0]]);
}

#define MOVES_ROW(plan)                                                                            \
    {                                                                                              \
        "cuda", "cuda", plan, moves_run, ed_free, NULL                                             \
    }

const ed_cuda_op ed_cuda_move_ops[] = {
    { "Transpose", NULL, { MOVES_ROW(transpose_plan) } },
    { "Slice", NULL, { MOVES_ROW(slice_plan) } },
    { "Expand", NULL, { MOVES_ROW(expand_plan) } },
    { "Tile", NULL, { MOVES_ROW(tile_plan) } },
    { "DepthToSpace", NULL, { MOVES_ROW(to_space_plan) } },
    { "SpaceToDepth", NULL, { MOVES_ROW(to_depth_plan) } },
    { 0 },
};
