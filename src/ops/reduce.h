/* What reduce.c and its gradients (reduce_grad.c) share. */
#ifndef OPS_REDUCE_H
#define OPS_REDUCE_H

#include "ops/gradient.h"

/* Sets reduced[0 .. rank); false when an axis is outside of it. `axes`: input 1, NULL. */
bool ed_reduce_axes(bool *reduced, const ed_reduce_params *p, const ed_tensor *axes, int rank);

int ed_reduce_sum_gradient(ed_grad *g);
int ed_reduce_mean_gradient(ed_grad *g);
int ed_reduce_prod_gradient(ed_grad *g);
int ed_reduce_choice_gradient(ed_grad *g); /* ReduceMax, ReduceMin */
int ed_reduce_l1_gradient(ed_grad *g);
int ed_reduce_l2_gradient(ed_grad *g);
int ed_reduce_sum_square_gradient(ed_grad *g);

#endif
