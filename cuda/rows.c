/* The table of all rows, and what plan() functions share. */
#include "rows.h"
#include "tensor/dtype.h"

#include <string.h>

static const ed_cuda_op *const tables[] = {
    ed_cuda_conv_ops,        ed_cuda_conv_grad_ops,  ed_cuda_gemm_ops,
    ed_cuda_elementwise_ops, ed_cuda_norm_ops,       ed_cuda_pool_ops,
    ed_cuda_move_ops,        ed_cuda_index_ops,      ed_cuda_join_ops,
    ed_cuda_pad_ops,         ed_cuda_scatter_ops,    ed_cuda_select_ops,
    ed_cuda_unary_ops,       ed_cuda_compare_ops,    ed_cuda_quantize_ops,
    ed_cuda_softmax_ops,     ed_cuda_batch_norm_ops, ed_cuda_reduce_ops,
    ed_cuda_argreduce_ops,   ed_cuda_resize_ops,     ed_cuda_activation_grad_ops,
    ed_cuda_norm_grad_ops,   ed_cuda_loss_ops,
};

const struct ed_kernel *ed_cuda_kernels(const char *domain, const char *op_type)
{
    for (size_t t = 0; t < ED_LENGTH(tables); t++)
        for (const ed_cuda_op *op = tables[t]; op->type; op++)
            if (strcmp(op->type, op_type) == 0 && strcmp(op->domain ? op->domain : "", domain) == 0)
                return op->rows;
    return NULL;
}

int ed_cuda_take_plain(ed_kernel_plan *p, void *state)
{
    p->taken = 1;
    p->plain = true;
    p->state = state;
    return ED_OK;
}

int ed_cuda_take(ed_kernel_plan *p, uint32_t count, ed_layout out, void *state)
{
    p->taken = count;
    p->out_layout = out;
    p->state = state;
    return ED_OK;
}

void ed_cuda_posts_of(ed_cuda_posts *out, const ed_posts *posts)
{
    _Static_assert((int)ED_CUDA_MAX_POSTS >= (int)ED_MAX_POSTS, "posts of a group");
    *out = (ed_cuda_posts){ .count = (int)posts->count };
    for (size_t i = 0; i < posts->count; i++) {
        out->kind[i] = (int)posts->at[i].kind;
        out->a[i] = posts->at[i].a;
        out->b[i] = posts->at[i].b;
    }
}

int ed_cuda_upload_floats(void **out, const float *data, int64_t n, bool bf16)
{
    if (!bf16)
        return ed_cuda_upload(out, data, (size_t)n * sizeof *data);
    uint16_t *half = ed_malloc((size_t)n * sizeof *half);
    if (!half)
        return ED_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        half[i] = ed_f32_to_bf16(data[i]);
    int rc = ed_cuda_upload(out, half, (size_t)n * sizeof *half);
    ed_free(half);
    return rc;
}
