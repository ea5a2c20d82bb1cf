/* Index spaces for kernels over tensors of different shapes and layouts. */
#include "walk.h"

#include <string.h>

void ed_cuda_steps(int64_t step[ED_MAX_RANK], const ed_shape *shape, ed_layout layout)
{
    bool last = shape->rank >= 3 && ed_layout_with_bf16(layout, false) == ED_LAYOUT_CHANNELS_LAST;
    int64_t n = 1;
    if (last) { /* channels are the fastest */
        step[1] = 1;
        n = shape->dim[1];
    }
    for (int d = shape->rank - 1; d >= 0; d--) {
        if (last && d == 1)
            continue;
        step[d] = n;
        n *= shape->dim[d];
    }
}

void ed_cuda_walk_begin(ed_walk *w, const ed_shape *space)
{
    *w = (ed_walk){ .rank = space->rank };
    memcpy(w->dim, space->dim, sizeof w->dim);
}

void ed_cuda_walk_steps(ed_walk *w, const int64_t *step)
{
    memcpy(w->step[w->operands++], step, (size_t)w->rank * sizeof *step);
}

void ed_cuda_walk_operand(ed_walk *w, const ed_shape *shape, ed_layout layout)
{
    int64_t own[ED_MAX_RANK], *step = w->step[w->operands++];
    int lead = w->rank - shape->rank;
    ed_cuda_steps(own, shape, layout);
    for (int d = 0; d < w->rank; d++)
        step[d] = d < lead || shape->dim[d - lead] == 1 ? 0 : own[d - lead];
}

static void swap(ed_walk *w, int a, int b)
{
    int64_t dim = w->dim[a];
    w->dim[a] = w->dim[b];
    w->dim[b] = dim;
    for (int k = 0; k < w->operands; k++) {
        int64_t step = w->step[k][a];
        w->step[k][a] = w->step[k][b];
        w->step[k][b] = step;
    }
}

static void drop(ed_walk *w, int d)
{
    w->rank--;
    for (; d < w->rank; d++) {
        w->dim[d] = w->dim[d + 1];
        for (int k = 0; k < w->operands; k++)
            w->step[k][d] = w->step[k][d + 1];
    }
}

static bool runs_on(const ed_walk *w, int d)
{
    for (int k = 0; k < w->operands; k++)
        if (w->step[k][d] != w->step[k][d + 1] * w->dim[d + 1])
            return false;
    return true;
}

void ed_cuda_walk_fold(ed_walk *w)
{
    for (int d = w->rank - 1; d >= 0; d--)
        if (w->dim[d] == 1)
            drop(w, d);
    for (int i = 1; i < w->rank; i++)
        for (int d = i; d > 0 && w->step[0][d - 1] < w->step[0][d]; d--)
            swap(w, d - 1, d);
    for (int d = w->rank - 2; d >= 0; d--) {
        if (!runs_on(w, d))
            continue;
        w->dim[d + 1] *= w->dim[d];
        drop(w, d);
    }
    if (w->rank == 0) { /* one element */
        w->rank = 1;
        w->dim[0] = 1;
        for (int k = 0; k < w->operands; k++)
            w->step[k][0] = 0;
    }
}
