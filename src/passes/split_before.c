/*
 * Dimensions split before a Transpose instead of behind it.
 *
 *   Before  y = Reshape(Transpose(Reshape(x), perm)), the last one only splits dimensions, or drops
 *           ones: [10, 4 N, 16] -> [4 N, 10, 16] -> [N, 4, 10, 16]
 *   After   y = Transpose(Reshape(Reshape(x))), both Reshapes are one (moves.c):
 *           [10, N, 4, 16] -> [N, 4, 10, 16]
 *
 *   Conditions  each dimension of the Transpose's output is the product of neighbours in y; one of
 *               them may be of unknown size.
 */
#include "passes/convert.h"

typedef struct splits { /* dimension i of t is dimensions [begin[i], end[i]) of y */
    int begin[ED_MAX_RANK], end[ED_MAX_RANK];
} splits;

/* The dimensions of y from `at` on, in steps of `step`, whose product is `size`; false: none. */
static bool take(const ed_shape *y, int64_t size, int *at, int stop, int step)
{
    int64_t product = 1;
    if (size < ED_DIM_UNKNOWN) {
        if (*at == stop || y->dim[*at] != size)
            return false;
        *at += step;
        return true;
    }
    while (*at != stop && y->dim[*at] > 0 && y->dim[*at] <= size / product &&
           size % (product * y->dim[*at]) == 0 && (product < size || size == 1)) {
        product *= y->dim[*at];
        *at += step;
        if (size == 1)
            break;
    }
    return product == size;
}

/* A 1 of t that y does not have is dropped; otherwise it takes y's. */
static bool drops_one(const ed_shape *t, const ed_shape *y, int i, int at, int stop)
{
    return t->dim[i] == 1 && (at == stop || y->dim[at] != 1);
}

static bool partition(splits *s, const ed_shape *t, const ed_shape *y)
{
    int first = 0, left = 0, last = t->rank - 1, right = y->rank - 1;
    for (; first < t->rank && t->dim[first] != ED_DIM_UNKNOWN; first++) {
        s->begin[first] = left;
        if (!drops_one(t, y, first, left, y->rank) && !take(y, t->dim[first], &left, y->rank, 1))
            return false;
        s->end[first] = left;
    }
    if (first == t->rank)
        return left == y->rank;
    for (; last > first; last--) { /* backwards to the one of unknown size, which takes the rest */
        s->end[last] = right + 1;
        if (t->dim[last] == ED_DIM_UNKNOWN || (!drops_one(t, y, last, right, left - 1) &&
                                               !take(y, t->dim[last], &right, left - 1, -1)))
            return false;
        s->begin[last] = right + 1;
    }
    s->begin[first] = left;
    s->end[first] = right + 1;
    return left <= right;
}

/* The shape before the new Transpose, and its permutation. */
static bool plan_split(ed_shape *before, int64_t *perm, const ed_graph *g, const ed_match *m)
{
    const ed_node *transpose = &g->nodes[m->at[1]];
    const ed_shape *t = &g->values[transpose->out[0]].shape;
    const ed_shape *y = &g->values[g->nodes[m->at[2]].out[0]].shape;
    int64_t old[ED_MAX_RANK], target[ED_MAX_RANK];
    int rank, place[ED_MAX_RANK];
    splits s;
    if (!ed_transpose_perm(g, transpose, old, &rank) || t->rank != rank || y->rank < 1 ||
        !partition(&s, t, y))
        return false;
    before->rank = 0;
    for (int source = 0; source < rank; source++) /* in the order of the Transpose's input */
        for (int i = 0; i < rank; i++)
            for (int d = s.begin[i]; old[i] == source && d < s.end[i]; d++) {
                place[d] = before->rank;
                before->dim[before->rank++] = y->dim[d];
            }
    for (int d = 0; d < y->rank; d++)
        perm[d] = place[d];
    return before->rank == y->rank &&
           ed_reshape_target(target, &g->values[g->nodes[m->at[0]].in[0]].shape, before);
}

bool ed_late_split_fits(const ed_graph *g, const ed_match *m)
{
    ed_shape before;
    int64_t perm[ED_MAX_RANK];
    return plan_split(&before, perm, g, m);
}

int ed_late_split_move(ed_graph *g, const ed_match *m)
{
    ed_shape before;
    int64_t perm[ED_MAX_RANK], target[ED_MAX_RANK];
    ed_id x = g->nodes[m->at[0]].in[0], out;
    plan_split(&before, perm, g, m);
    ed_reshape_target(target, &g->values[x].shape, &before);
    ED_TRY(ed_build_reshape(g, &out, x, target, (size_t)before.rank));
    g->values[out].shape = before;
    g->values[out].dtype = g->values[x].dtype;
    ED_TRY(ed_build_transpose(g, &out, out, perm, (size_t)before.rank));
    ED_TRY(ed_build_replace(g, m->at[2], out));
    ed_graph_remove_node(g, m->at[1]);
    ed_graph_remove_node(g, m->at[0]);
    return ED_OK;
}
