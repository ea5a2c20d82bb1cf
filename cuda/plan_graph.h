/* Descriptors of cuDNN's graph API: tensors, operations, the graph. */
#ifndef CUDA_PLAN_GRAPH_H
#define CUDA_PLAN_GRAPH_H

#include "plans.h"

enum {
    ED_CUDNN_RANK = 5,
    ED_UID_VIRTUAL = 16, /* ids from here on: values inside of the graph; below: operands */
};

/* Every failure is the library's "no" to this graph, never an error of ours. */
struct ed_cudnn_builder {
    ed_cuda_plan *plan; /* owns the descriptors */
    ed_cuda *device;
    cudnnHandle_t handle;
    cudnnStatus_t status; /* the first failure; nothing is called after it */
    int rc;               /* of memory */
    /* set by the graph's maker */
    bool exact;     /* no products of shortened mantissas */
    bool any_order; /* runs may differ in the order of their sums */
};

cudnnBackendDescriptor_t ed_cudnn_make(ed_cudnn_builder *b, cudnnBackendDescriptorType_t type);
void ed_cudnn_set(ed_cudnn_builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void *value);
void ed_cudnn_set_one(ed_cudnn_builder *b, cudnnBackendDescriptor_t d,
                      cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value);
void ed_cudnn_finish(ed_cudnn_builder *b, cudnnBackendDescriptor_t d);

typedef struct ed_cudnn_tensor {
    int64_t uid;
    cudnnDataType_t type;
    int rank;
    int64_t dim[ED_CUDNN_RANK], step[ED_CUDNN_RANK];
    bool number; /* one that lies on the host */
} ed_cudnn_tensor;
cudnnBackendDescriptor_t ed_cudnn_tensor_new(ed_cudnn_builder *b, const ed_cudnn_tensor *t);

typedef struct ed_cudnn_function {
    cudnnPointwiseMode_t mode;
    double slope; /* of RELU_FWD below 0 */
    bool clipped; /* RELU_FWD up to `upper` */
    double upper;
} ed_cudnn_function;
/* y = f(x[, other]), computed in float32 */
cudnnBackendDescriptor_t ed_cudnn_pointwise(ed_cudnn_builder *b, const ed_cudnn_function *f,
                                            cudnnBackendDescriptor_t x,
                                            cudnnBackendDescriptor_t other,
                                            cudnnBackendDescriptor_t y);
/* The graph of `n` operations; NULL when something was refused. */
cudnnBackendDescriptor_t ed_cudnn_graph(ed_cudnn_builder *b, cudnnBackendDescriptor_t *operations,
                                        int64_t n);

#endif
