/*
 * Gradients as nodes. A row's gradient() appends the nodes that compute d loss / d inputs from
 * d loss / d outputs; differentiate.c walks a graph backwards, sums what several readers of a value
 * contribute, and asks the row of every node that lies between a wanted value and the loss.
 *
 * The nodes are ordinary ones: of ONNX where it has the operator (the gradient of Transpose is a
 * Transpose), else of domain "ed" with a row of its own (ConvWeightGrad). So the executor chooses
 * their kernels, assigns layouts and plans memory as it does for every node, and what nobody reads
 * is never made. All shapes are concrete: a training graph has a fixed batch.
 */
#ifndef OPS_GRADIENT_H
#define OPS_GRADIENT_H

#include "ops/op.h"

/* What a row's gradient() sees of one node, and fills in. */
struct ed_grad {
    ed_graph *graph; /* grows: pointers into its arrays do not survive an emit */
    const ed_op *op;
    const void *params; /* of the node, parsed */
    ed_id node;
    uint32_t n_in, n_out;
    const ed_id *in, *out; /* values; ED_NONE: omitted */
    const ed_id *dout;     /* [n_out] gradients of the outputs; ED_NONE: nothing flows back */
    const bool *wanted;    /* [n_in] */
    ed_id *din;            /* [n_in] what ed_grad_give() collected; ED_NONE */
};

/* ---- looking ---- */
/* dout of output 0: rows are asked only when some output has one. */
static inline ed_id ed_grad_dy(const ed_grad *g)
{
    return g->dout[0];
}
static inline bool ed_grad_wants(const ed_grad *g, uint32_t i)
{
    return i < g->n_in && g->wanted[i];
}
const ed_shape *ed_grad_shape(const ed_grad *g, ed_id value);
/* The constant behind a value, or NULL. */
const ed_tensor *ed_grad_constant(const ed_grad *g, ed_id value);
/* "Conv 'conv1': " + sentence; returns code. */
int ed_grad_fail(const ed_grad *g, int code, const char *format, ...) ED_PRINTF(3, 4);

/* ---- answering ---- */
/* Add `value`, of the input's shape, to the gradient of input i; not wanted: nothing happens. */
int ed_grad_give(ed_grad *g, uint32_t i, ed_id value);
/* The same for a value that has the shape of a broadcast result: summed to the input's shape. */
int ed_grad_give_broadcast(ed_grad *g, uint32_t i, ed_id value);

/* ---- emitting: each infers the type of what it makes ---- */
/* A node with one output, or with n_out of them. `type` is "Mul", or "ed::ReluGrad". */
int ed_grad_emit(ed_grad *g, ed_id *out, const char *type, const ed_id *in, uint32_t n_in);
/* The same with attributes (ended by one without name), and several outputs: out[n_out], those that
 * are set to ED_NONE on entry are omitted. */
int ed_grad_emit_node(ed_grad *g, ed_id *out, uint32_t n_out, const char *type, const ed_id *in,
                      uint32_t n_in, const ed_attr *attrs);
/* A node of type `type` whose attributes are those of the forward node. */
int ed_grad_emit_like(ed_grad *g, ed_id *out, const char *type, const ed_id *in, uint32_t n_in);
int ed_grad_unary(ed_grad *g, ed_id *out, const char *type, ed_id x);
int ed_grad_binary(ed_grad *g, ed_id *out, const char *type, ed_id a, ed_id b);
int ed_grad_f32(ed_grad *g, ed_id *out, float value); /* a scalar constant */
int ed_grad_i64(ed_grad *g, ed_id *out, const int64_t *v, size_t n);
int ed_grad_scale(ed_grad *g, ed_id *out, ed_id x, float factor); /* x itself for 1 */
/* x reshaped, when its shape is another one. */
int ed_grad_reshape(ed_grad *g, ed_id *out, ed_id x, const ed_shape *shape);
int ed_grad_expand(ed_grad *g, ed_id *out, ed_id x, const ed_shape *shape);
int ed_grad_transpose(ed_grad *g, ed_id *out, ed_id x, const int64_t *perm);
/* Sum over axes, of any opset: the dimensions stay with size 1. */
int ed_grad_reduce_sum(ed_grad *g, ed_id *out, ed_id x, const int64_t *axes, size_t n);
/* x as float32; 1 where a equals b, else 0. */
int ed_grad_to_f32(ed_grad *g, ed_id *out, ed_id x);
int ed_grad_equal(ed_grad *g, ed_id *out, ed_id a, ed_id b);
/* The same as ed_grad_reduce_sum(), then reshaped. */
int ed_grad_sum_to(ed_grad *g, ed_id *out, ed_id x, const ed_shape *shape);
/* [C] from [N, C, ...] */
int ed_grad_sum_channels(ed_grad *g, ed_id *out, ed_id x);
/* ---- moving (gradient_move.c), of any opset ---- */
int ed_grad_zeros(ed_grad *g, ed_id *out, const ed_shape *shape); /* a constant */
/* True when dy holds no element: input i then gets zeros. */
int ed_grad_empty(ed_grad *g, uint32_t i, bool *empty);
/* Rows times columns: a and b are matrices, each taken as it is or transposed. */
int ed_grad_product(ed_grad *g, ed_id *out, ed_id a, bool trans_a, ed_id b, bool trans_b);
/* Elements [begin, end) along one axis. */
int ed_grad_slice(ed_grad *g, ed_id *out, ed_id x, int axis, int64_t begin, int64_t end);
/* ed::GatherGrad: dy, read from data of `shape` at the indices along the axis, added there. */
int ed_grad_ungather(ed_grad *g, ed_id *out, ed_id dy, ed_id indices, int64_t axis,
                     const ed_shape *shape);
/* Zeros around x, one number an axis; negative ones crop. x itself where all are 0. */
int ed_grad_pad(ed_grad *g, ed_id *out, ed_id x, const int64_t *begin, const int64_t *end);

/* ---- rows ---- */
/* No input has a gradient, or it is 0 everywhere: shapes, comparisons, rounding. */
int ed_gradient_none(ed_grad *g);
/* One node "ed::<type>Grad" with the attributes of the forward node: of dy and output 0, or of dy
 * and all inputs. */
int ed_gradient_of_output(ed_grad *g);
int ed_gradient_of_inputs(ed_grad *g);
/* Input 0 keeps its elements where they are: dy in its shape. */
int ed_gradient_reshape(ed_grad *g);
int ed_gradient_einsum(ed_grad *g);
int ed_gradient_gather(ed_grad *g);
int ed_gradient_gather_elements(ed_grad *g);
int ed_gradient_gather_nd(ed_grad *g);
int ed_gradient_gemm(ed_grad *g);
int ed_gradient_matmul(ed_grad *g);
int ed_gradient_batch_norm(ed_grad *g);
int ed_gradient_layer_norm(ed_grad *g);
int ed_gradient_resize(ed_grad *g);
int ed_gradient_group_norm(ed_grad *g, int64_t groups, float epsilon);
int ed_gradient_max_pool(ed_grad *g);
int ed_gradient_average_pool(ed_grad *g);
int ed_gradient_global_average(ed_grad *g);
int ed_gradient_global_max(ed_grad *g);

/* Append to the graph, whose values must all have known shapes, the nodes of d loss / d wanted[i];
 * `loss` has one element. grads[i] is the new value, ED_NONE where the loss does not depend on
 * wanted[i]. ED_EUNSUPPORTED names the node that has no gradient. On error the graph may hold
 * nodes of no use; throw it away. */
int ed_graph_differentiate(ed_graph *graph, ed_id loss, const ed_id *wanted, size_t n,
                           ed_id *grads);

#endif
