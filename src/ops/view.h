/*
 * A value as a strided view of another one: what Transpose and the operators that change the shape
 * alone made of it. A kernel that reads strided memory then needs no copy.
 */
#ifndef OPS_VIEW_H
#define OPS_VIEW_H

#include "ops/op.h"

typedef struct ed_view {
    ed_id value;               /* whose memory it is, plain and dense */
    ed_shape shape;            /* of the view */
    int64_t step[ED_MAX_RANK]; /* elements between neighbours along each dimension */
} ed_view;

/* The value itself. */
ED_PLUGIN ed_view ed_view_dense(const ed_kernel_plan *p, ed_id value);
/* The value seen from as far up as its memory lasts until the planned step. */
ED_PLUGIN ed_view ed_view_of(const ed_kernel_plan *p, ed_id value);
/* `view` in another shape of as many elements; false when that needs a copy. */
ED_PLUGIN bool ed_view_reshape(ed_view *view, const ed_shape *shape);
/* Dimension i becomes what perm[i] was. */
void ed_view_permute(ed_view *view, const int64_t *perm);
bool ed_is_transpose(const ed_node *node);
/* perm of a Transpose node with an input of that rank. */
void ed_transpose_perm_of(int64_t *perm, const ed_node *node, int rank);

#endif
