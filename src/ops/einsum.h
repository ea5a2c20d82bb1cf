/* The equation of an Einsum, read; shared by the operator and its gradient. */
#ifndef OPS_EINSUM_H
#define OPS_EINSUM_H

#include "ops/op.h"

enum { ED_EINSUM_MAX_INPUTS = 8, ED_EINSUM_ELLIPSIS = 128 };

/* The labels of one term: letters, and ED_EINSUM_ELLIPSIS + k for the k-th dimension of an
 * ellipsis, counted from its last one. */
typedef struct ed_einsum_term {
    int n;
    unsigned char label[2 * ED_MAX_RANK];
} ed_einsum_term;

/* terms[n_in], of inputs of these ranks, and the output's. ED_EFORMAT. g may be NULL. */
int ed_einsum_terms(ed_einsum_term *terms, ed_einsum_term *out, const ed_graph *g,
                    const ed_node *node, const int *ranks);

#endif
