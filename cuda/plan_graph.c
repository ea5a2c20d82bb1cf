/* Descriptors of cuDNN's graph API, and plans made of them: running, as text, release. */
#include "plan_graph.h"

#include <string.h>

static void note(ed_cudnn_builder *b, cudnnStatus_t status)
{
    if (b->status == CUDNN_STATUS_SUCCESS)
        b->status = status;
}

cudnnBackendDescriptor_t ed_cudnn_make(ed_cudnn_builder *b, cudnnBackendDescriptorType_t type)
{
    ed_cuda_plan *p = b->plan;
    cudnnBackendDescriptor_t made = NULL;
    if (b->rc == ED_OK)
        b->rc = ed_grow(&p->parts, &p->part_capacity, p->n_parts + 1, sizeof *p->parts);
    if (b->rc != ED_OK)
        b->status = CUDNN_STATUS_INTERNAL_ERROR;
    if (b->status != CUDNN_STATUS_SUCCESS)
        return NULL;
    note(b, cudnnBackendCreateDescriptor(type, &made));
    if (made)
        p->parts[p->n_parts++] = made;
    return made;
}

void ed_cudnn_set(ed_cudnn_builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void *value)
{
    if (b->status == CUDNN_STATUS_SUCCESS)
        note(b, cudnnBackendSetAttribute(d, name, type, count, value));
}

void ed_cudnn_set_one(ed_cudnn_builder *b, cudnnBackendDescriptor_t d,
                      cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    ed_cudnn_set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void ed_cudnn_finish(ed_cudnn_builder *b, cudnnBackendDescriptor_t d)
{
    if (b->status == CUDNN_STATUS_SUCCESS)
        note(b, cudnnBackendFinalize(d));
}

/* ---- tensors and operations ---- */

cudnnBackendDescriptor_t ed_cudnn_tensor_new(ed_cudnn_builder *b, const ed_cudnn_tensor *of)
{
    bool is_virtual = of->uid >= ED_UID_VIRTUAL;
    int64_t alignment = 16;
    cudnnBackendDescriptor_t t = ed_cudnn_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &of->uid);
    ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &of->type);
    ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, of->rank, of->dim);
    ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, of->rank, of->step);
    if (is_virtual)
        ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    if (of->number)
        ed_cudnn_set(b, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &of->number);
    ed_cudnn_finish(b, t);
    return t;
}

cudnnBackendDescriptor_t ed_cudnn_pointwise(ed_cudnn_builder *b, const ed_cudnn_function *f,
                                            cudnnBackendDescriptor_t x,
                                            cudnnBackendDescriptor_t other,
                                            cudnnBackendDescriptor_t y)
{
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = ed_cudnn_make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    ed_cudnn_set(b, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &f->mode);
    ed_cudnn_set(b, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    if (f->slope != 0.0)
        ed_cudnn_set(b, d, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1,
                     &f->slope);
    if (f->clipped)
        ed_cudnn_set(b, d, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, &f->upper);
    ed_cudnn_finish(b, d);
    cudnnBackendDescriptor_t op = ed_cudnn_make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (other)
        ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, other);
    ed_cudnn_set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    ed_cudnn_finish(b, op);
    return op;
}

cudnnBackendDescriptor_t ed_cudnn_graph(ed_cudnn_builder *b, cudnnBackendDescriptor_t *operations,
                                        int64_t n)
{
    cudnnBackendDescriptor_t g = ed_cudnn_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    ed_cudnn_set(b, g, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->handle);
    ed_cudnn_set(b, g, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, operations);
    ed_cudnn_finish(b, g);
    return b->status == CUDNN_STATUS_SUCCESS ? g : NULL;
}

/* ---- running ---- */

int ed_cuda_plan_run(const ed_cuda_plan *plan, ed_cuda *device,
                     const void *const operands[ED_PLAN_OPERANDS], void *scratch)
{
    int64_t uids[ED_PLAN_OPERANDS], n = 0;
    const void *pointers[ED_PLAN_OPERANDS], *all[ED_PLAN_OPERANDS];
    cudnnBackendDescriptor_t pack = NULL;
    cudnnHandle_t handle;
    ED_TRY(ed_cuda_cudnn(&handle, device));
    memcpy(all, operands, sizeof all);
    if (plan->kind->numbers)
        plan->kind->numbers(all, plan->problem);
    for (int64_t i = 0; i < ED_PLAN_OPERANDS; i++)
        if (all[i]) {
            uids[n] = i + 1;
            pointers[n++] = all[i];
        }
    cudnnStatus_t s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n,
                                     uids);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                     CUDNN_TYPE_VOID_PTR, n, pointers);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
                                     1, &scratch);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendFinalize(pack);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendExecute(handle, plan->plan, pack);
    if (pack)
        cudnnBackendDestroyDescriptor(pack);
    return ed_cuda_cudnn_status(s, plan->kind->what);
}

/* ---- as text ---- */

int ed_cuda_plan_save(char **out, size_t *size, const ed_cuda_plan *plan)
{
    int64_t count = 0;
    *out = NULL;
    *size = 0;
    if (cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                 CUDNN_TYPE_CHAR, 0, &count, NULL) != CUDNN_STATUS_SUCCESS ||
        count <= 0)
        return ED_OK; /* an engine that cannot be written down */
    char *text = ed_calloc((size_t)count + 1, 1);
    if (!text)
        return ED_ENOMEM;
    if (cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                 CUDNN_TYPE_CHAR, count, &count, text) != CUDNN_STATUS_SUCCESS) {
        ed_free(text);
        return ED_OK;
    }
    *out = text;
    *size = (size_t)count;
    return ED_OK;
}

int ed_cuda_plan_load(ed_cuda_plan *plan, ed_cuda *device, const char *text, size_t size)
{
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t made = NULL;
    int64_t count = 0;
    ED_TRY(ed_cuda_cudnn_take(&handle, device));
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &made) ==
            CUDNN_STATUS_SUCCESS &&
        cudnnBackendSetAttribute(made, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                 &handle) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendSetAttribute(made, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                 CUDNN_TYPE_CHAR, (int64_t)size, text) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(made, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &count, &plan->scratch) == CUDNN_STATUS_SUCCESS)
        plan->plan = made;
    else if (made)
        cudnnBackendDestroyDescriptor(made);
    ed_cuda_cudnn_give(device, handle);
    return ED_OK;
}

void ed_cuda_plan_release(ed_cuda_plan *plan)
{
    if (plan->plan)
        cudnnBackendDestroyDescriptor(plan->plan);
    for (size_t i = plan->n_parts; i-- > 0;)
        cudnnBackendDestroyDescriptor(plan->parts[i]);
    ed_free(plan->parts);
    plan->plan = NULL;
    plan->parts = NULL;
    plan->n_parts = plan->part_capacity = 0;
}
