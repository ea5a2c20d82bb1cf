/*
 * Fast rows: kernels that may refuse a case, listed ahead of ED_REFERENCE in their operators' rows.
 * "onednn" rows call the library, "layout" rows are our own kernels that run in any layout,
 * "vector" rows compute functions by vector instructions.
 */
#ifndef OPS_FAST_H
#define OPS_FAST_H

#include "backend/onednn.h"
#include "ops/op.h"

#define ED_FAST_ROW(row)                                                                           \
    {                                                                                              \
        row##_name, "cpu", row##_plan, row##_run, row##_free, NULL                                 \
    }
#define ED_DECLARE_ROW(row)                                                                        \
    int row##_plan(ed_kernel_plan *p);                                                             \
    int row##_run(const ed_call *call);                                                            \
    void row##_free(void *state)

/* clang-format off */
#define ed_attention_name "attention"
#define ed_onednn_conv_name "onednn"
#define ed_onednn_gemm_name "onednn"
#define ed_onednn_conv_input_grad_name "onednn"
#define ed_onednn_conv_weight_grad_name "onednn"
#define ed_onednn_pool_name "onednn"
#define ed_onednn_eltwise_name "onednn"
#define ed_layout_mean_name "layout"
#define ed_layout_binary_name "layout"
#define ed_layout_concat_name "layout"
#define ed_layout_quant_name "layout"
#define ed_layout_norm_name "layout"
#define ed_vector_unary_name "vector"
#define ed_layout_chain_name "chain"
#define ed_quant_grad_name "layout"
#define ed_scale_grad_name "layout"
#define ed_vector_softmax_name "vector"
#define ed_vector_norm_name "vector"
#define ed_layout_pool_grad_name "layout"
#define ed_vector_norm_grad_name "vector"
#define ed_vector_grad_name "vector"
#define ed_softmax_grad_name "vector"

ED_DECLARE_ROW(ed_onednn_conv); /* Conv [+ Add] [+ activation] */
ED_DECLARE_ROW(ed_onednn_conv_input_grad); /* ConvInputGrad */
ED_DECLARE_ROW(ed_onednn_conv_weight_grad); /* ConvWeightGrad */
ED_DECLARE_ROW(ed_onednn_gemm); /* Gemm, MatMul [+ Add of a bias] [+ Add] [+ activation] */
ED_DECLARE_ROW(ed_attention); /* MatMul, [scale,] [mask,] Softmax, MatMul [, Transpose] */
ED_DECLARE_ROW(ed_onednn_pool); /* MaxPool, AveragePool */
ED_DECLARE_ROW(ed_onednn_eltwise); /* activations */
ED_DECLARE_ROW(ed_layout_mean); /* GlobalAveragePool, ReduceMean and ReduceSum over all spatial axes */
ED_DECLARE_ROW(ed_layout_binary); /* Add, Sub, Mul, Div of equal shapes, [N or 1, C, 1, 1], scalars */
ED_DECLARE_ROW(ed_layout_concat); /* Concat of channels */
ED_DECLARE_ROW(ed_layout_quant); /* FakeQuantize per tensor with zero_point 0 */
ED_DECLARE_ROW(ed_layout_norm); /* BatchNormalization that was not folded */
ED_DECLARE_ROW(ed_vector_unary); /* Erf, Gelu, Exp, Sqrt, Pow of a constant exponent */
ED_DECLARE_ROW(ed_quant_grad); /* FakeQuantizeGrad, FakeQuantizeScaleGrad of the same */
ED_DECLARE_ROW(ed_scale_grad);
ED_DECLARE_ROW(ed_layout_chain); /* trees of elementwise nodes (chain.h) */
ED_DECLARE_ROW(ed_vector_softmax); /* Softmax, LogSoftmax over the last axis */
ED_DECLARE_ROW(ed_vector_norm); /* LayerNormalization */
ED_DECLARE_ROW(ed_layout_pool_grad); /* MaxPoolGrad, AveragePoolGrad */
ED_DECLARE_ROW(ed_vector_norm_grad); /* LayerNormalizationGrad */
ED_DECLARE_ROW(ed_vector_grad); /* ReluGrad, GeluGrad, ... in any layout */
ED_DECLARE_ROW(ed_softmax_grad); /* SoftmaxGrad, LogSoftmaxGrad over the last axis */
/* clang-format on */

/* ---- for the rows' plan() (fast.c) ---- */
/* Refuse with a static text; returns ED_OK. */
ED_PLUGIN int ed_plan_refuse(ed_kernel_plan *p, const char *reason);
/* True when nodes[0 .. count) can disappear in one step: only the last one's output is seen. */
ED_PLUGIN bool ed_plan_closed(const ed_kernel_plan *p, uint32_t count);
/* True when nobody reads the value after nodes[0 .. count): its memory may be overwritten. */
ED_PLUGIN bool ed_plan_dies(const ed_kernel_plan *p, ed_id value, uint32_t count);
/* The output of nodes[count - 1]. */
ED_PLUGIN ed_id ed_plan_output(const ed_kernel_plan *p, uint32_t count);
/* The value whose memory this one lies in when the executor lets it (ED_OP_ALIAS). */
ED_PLUGIN ed_id ed_plan_memory(const ed_kernel_plan *p, ed_id value);
/* True for a Conv or ConvTranspose of float32 values that hold elements, and one to three spatial
 * dimensions; else the row is refused, with the reason. */
ED_PLUGIN bool ed_plan_takes_conv(ed_kernel_plan *p);
/* True when its weights and bias are constant too; else the row is refused. */
ED_PLUGIN bool ed_plan_constant_weights(ed_kernel_plan *p);
/* Add an input to the answer; its place in call->in. */
ED_PLUGIN int ed_plan_read(ed_kernel_plan *p, ed_id value, ed_layout layout);
/* A float32 value that holds elements. */
ED_PLUGIN bool ed_plan_is_f32(const ed_kernel_plan *p, ed_id value);

/* The activation of node k as a post-op; false when it is none, or one that oneDNN lacks. */
ED_PLUGIN bool ed_fuse_activation(ed_posts *posts, const ed_kernel_plan *p, uint32_t k);

/* An activation whose bits depend on the kernel, where they must not (p->deterministic). */
bool ed_fuse_varies(const ed_kernel_plan *p, uint32_t k);

/* Nodes k to k + n write Gelu(x) with Erf (onednn_gelu.c); returns n, 0 when they do not. */
ED_PLUGIN uint32_t ed_fuse_gelu(ed_posts *posts, const ed_kernel_plan *p, uint32_t k, ed_id x);

/* What follows nodes[0] in its group and can be computed with it. */
typedef struct ed_fused {
    uint32_t taken; /* nodes, nodes[0] included */
    ed_posts posts;
    ed_id residual; /* added to the result, of its shape; ED_NONE */
    ed_id bias;     /* [n], added along the last axis; ED_NONE */
} ed_fused;
/* Which Add of a row [n] is a bias; every other Add is a residual. */
typedef enum ed_row_bias { ED_ROW_NONE, ED_ROW_CONSTANT, ED_ROW_ANY } ed_row_bias;
ED_PLUGIN void ed_fuse(ed_fused *out, const ed_kernel_plan *p, ed_row_bias row_bias);

/* ---- weights that change between runs, packed anew in each (onednn_weights.c) ---- */
typedef struct ed_repack {
    ed_prim *packer; /* NULL: they are used, or written, as they lie */
    size_t bytes;    /* of the packed copy, which stands first in the scratch memory */
} ed_repack;
/* Sets plan->scratch to what the primitive and the packed copy need. */
int ed_repack_new(ed_repack *out, ed_kernel_plan *p, const ed_prim *prim);
/* The weights in the primitive's format. */
int ed_repack_in(const void **packed, const ed_repack *r, const ed_tensor *weights, void *scratch);
/* Where a primitive that computes weights puts them, and from there to the tensor. */
void *ed_repack_target(const ed_repack *r, ed_tensor *weights, void *scratch);
int ed_repack_out(const ed_repack *r, ed_tensor *weights, void *scratch);
/* What is left of the scratch memory for the primitive. */
void *ed_repack_scratch(const ed_repack *r, void *scratch);

/* What oneDNN wants to know of the convolution from x to y; layouts, bias and posts stay open.
 * `window` is filled, and must live as long as the answer. */
int ed_dnn_conv_of(ed_dnn_conv *out, ed_window *window, const ed_kernel_plan *p,
                   const ed_conv_params *params, const ed_shape *x, const ed_shape *weight,
                   const ed_shape *y);

/* ---- for run(): a physical layout as loops, [n][g][s][b]; element i of channel block (n, g) is
 * channel g * b + i. PLAIN: g = C, b = 1; NHWC: g = 1, b = C; blocked: g = C/b. ---- */
typedef struct ed_grid {
    int64_t n, g, s, b;
    int64_t channels; /* without padding */
} ed_grid;
ed_grid ed_grid_of(ed_layout layout, const ed_shape *shape);
/* Set the channels that the layout added to zero. */
void ed_grid_clear_padding(const ed_grid *grid, float *data);

#endif
