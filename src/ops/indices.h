/* Places that tensors of indices name: shared by the gathering and the scattering family. */
#ifndef OPS_INDICES_H
#define OPS_INDICES_H

#include "ops/op.h"

/* ED_ESHAPE with the index and the axis's size. */
int ed_index_fail(int64_t index, int64_t size);
/* ED_ESHAPE unless every index counts one of `size` elements, from the start or the end. */
int ed_indices_check(const ed_tensor *indices, int64_t size);

/* Where element i of the indices stands in a tensor of the data's steps, its axis left out. */
typedef struct ed_element_place {
    int64_t index[ED_MAX_RANK], at;
} ed_element_place;
/* On to the next element; the place starts zeroed. */
void ed_element_next(ed_element_place *p, const ed_shape *indices, const int64_t *steps, int axis);

/* The element that tuple number `tuple` (the last axis of indices) names in the dimensions
 * first, first + 1, ... of `shape`, counted in rows behind them. ED_ESHAPE outside. */
int ed_tuple_place(int64_t *place, const ed_tensor *indices, int64_t tuple, const ed_shape *shape,
                   int first);

#endif
