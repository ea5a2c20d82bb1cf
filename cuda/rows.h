/*
 * Kernel rows of this backend: one list an operator, best first (rows.c has the table).
 *
 * A row's plan() sees concrete shapes and host copies of constants; run() queues kernels in
 * ((ed_cuda *)call->device)->stream and never waits, so that a batch can be captured as a graph.
 * What plan() refuses runs on the host with the reference kernel, and the printed plan says so.
 */
#ifndef CUDA_ROWS_H
#define CUDA_ROWS_H

#include "device.h"
#include "kernels.h"

#define ED_CUDA_ROW(row)                                                                           \
    {                                                                                              \
        "cuda", "cuda", row##_plan, row##_run, row##_free, NULL                                    \
    }

#define ED_CUDA_PREPARED_ROW(row)                                                                  \
    {                                                                                              \
        "cuda", "cuda", row##_plan, row##_run, row##_free, row##_prepare                           \
    }

typedef struct ed_cuda_op {
    const char *type, *domain; /* domain NULL: ai.onnx; type NULL ends a table */
    ed_kernel rows[4];         /* ends with a zeroed one */
} ed_cuda_op;

/* One table a family file. */
extern const ed_cuda_op ed_cuda_conv_ops[], ed_cuda_conv_grad_ops[], ed_cuda_gemm_ops[],
    ed_cuda_elementwise_ops[], ed_cuda_norm_ops[], ed_cuda_pool_ops[], ed_cuda_move_ops[],
    ed_cuda_index_ops[], ed_cuda_join_ops[], ed_cuda_pad_ops[], ed_cuda_scatter_ops[],
    ed_cuda_select_ops[], ed_cuda_unary_ops[], ed_cuda_compare_ops[], ed_cuda_quantize_ops[],
    ed_cuda_softmax_ops[], ed_cuda_batch_norm_ops[], ed_cuda_reduce_ops[], ed_cuda_argreduce_ops[],
    ed_cuda_resize_ops[], ed_cuda_activation_grad_ops[], ed_cuda_norm_grad_ops[],
    ed_cuda_loss_ops[];

/* The rows of an operator; NULL: none. */
const struct ed_kernel *ed_cuda_kernels(const char *domain, const char *op_type);
/* ed_backend.convert (reorder.c) */
int ed_cuda_convert_tensor(ed_cuda *device, void *to, ed_layout to_layout, const void *from,
                           ed_layout from_layout, const ed_shape *shape);

/* plan(): take nodes[0] alone, row-major, all inputs and outputs (ed_kernel_plan.plain). Takes
 * `state`, made by ed_calloc(); NULL is allowed. */
int ed_cuda_take_plain(ed_kernel_plan *p, void *state);
/* plan(): take `count` nodes, one output; in[] and in_layout[] are filled by the caller. */
int ed_cuda_take(ed_kernel_plan *p, uint32_t count, ed_layout out, void *state);

/* n floats on the device, as float32 or bfloat16; release with cudaFree(). */
int ed_cuda_upload_floats(void **out, const float *data, int64_t n, bool bf16);
/* What follows a product in its group, as the kernels take it. */
void ed_cuda_posts_of(ed_cuda_posts *out, const ed_posts *posts);

static inline ed_cuda *ed_cuda_of(const ed_call *call)
{
    return (ed_cuda *)call->device;
}

#endif
