/* Making nodes and constants in rewrites, and looking at linear layers. */
#ifndef PASSES_BUILD_H
#define PASSES_BUILD_H

#include "passes/match.h"

/* A node with one output of a fresh name that begins with `stem`; *id and *out may be NULL. */
int ed_build_node(ed_graph *g, ed_id *id, ed_id *out, const char *op_type, const char *stem,
                  const ed_id *in, size_t n_in);
/* Constants: a list of int64, a float32 number. */
int ed_build_i64(ed_graph *g, ed_id *out, const char *stem, const int64_t *v, size_t n);
int ed_build_f32(ed_graph *g, ed_id *out, const char *stem, float v);
/* The parts of a node's common life: Transpose, Reshape, Squeeze. */
int ed_build_transpose(ed_graph *g, ed_id *out, ed_id x, const int64_t *perm, size_t n);
int ed_build_reshape(ed_graph *g, ed_id *out, ed_id x, const int64_t *target, size_t n);
/* A tensor with new numbers: in the place of constant `old`, or beside it when others read that
 * too. Takes the tensor. */
int ed_build_new_constant(ed_graph *g, ed_id *id, ed_id old, const char *stem, ed_tensor *tensor);
/* Put `to` in the place of a node's only output and remove the node. */
int ed_build_replace(ed_graph *g, ed_id node, ed_id to);

/* The target of a Reshape from x to y: numbers, 0 where it copies, at most one -1. */
bool ed_reshape_target(int64_t *target, const ed_shape *x, const ed_shape *y);
/* The one node that reads a value which is no graph output, or NULL. */
const ed_node *ed_only_reader(const ed_graph *g, ed_id value);
const ed_node *ed_producer(const ed_graph *g, ed_id value);
bool ed_node_is(const ed_node *node, const char *type);
int64_t ed_node_int(const ed_node *node, const char *name, int64_t preset);
/* The number behind input i, when it is one constant number. */
bool ed_scalar_input(const ed_graph *g, const ed_node *node, uint32_t i, double *out);
/* perm of a Transpose, resolved; false when it is not stated and the rank is not known. */
bool ed_transpose_perm(const ed_graph *g, const ed_node *node, int64_t *perm, int *rank);
/* Sorted axes of a Squeeze or Unsqueeze within its own list of dimensions (of the input for
 * Squeeze, of the output for Unsqueeze); false when they are not constant. */
bool ed_squeeze_axes(const ed_graph *g, const ed_node *node, int64_t *axes, int *n);

/* x W + b: Gemm, MatMul, or MatMul and Add, with float32 constants, W a matrix. */
typedef struct ed_linear {
    ed_id matmul, add; /* nodes; add is ED_NONE when there is none */
    ed_id out;
    const ed_tensor *weight, *bias; /* bias may be NULL */
    int axis;                       /* of the output channels in the weight */
    int64_t channels;
} ed_linear;

/* The linear layer that computes `value`. */
bool ed_linear_of(const ed_graph *g, ed_id value, ed_linear *linear);
/* The same layer with other constants (both taken; bias NULL when there is none). */
int ed_linear_copy(ed_graph *g, ed_id *out, const ed_linear *linear, const char *stem,
                   ed_tensor *weight, ed_tensor *bias);
/* Multiply the layer's output: its constants are scaled. */
int ed_linear_scale(ed_graph *g, const ed_linear *linear, double factor);

#endif
