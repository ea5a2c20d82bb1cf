/* Between conv_graph.c and conv_engines.c: descriptors of cuDNN's graph API. */
#ifndef CUDA_CONV_GRAPH_H
#define CUDA_CONV_GRAPH_H

#include "conv_plan.h"

/* Every failure is the library's "no" to this graph, never an error of ours. */
typedef struct ed_conv_builder {
    ed_cuda_plan *plan; /* owns the descriptors */
    ed_cuda *device;
    cudnnHandle_t handle;
    cudnnStatus_t status; /* the first failure; nothing is called after it */
    int rc;               /* of memory */
} ed_conv_builder;

cudnnBackendDescriptor_t ed_conv_make(ed_conv_builder *b, cudnnBackendDescriptorType_t type);
void ed_conv_set(ed_conv_builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                 cudnnBackendAttributeType_t type, int64_t count, const void *value);
void ed_conv_finish(ed_conv_builder *b, cudnnBackendDescriptor_t d);

/* The operation graph; NULL when the library refuses it. */
cudnnBackendDescriptor_t ed_conv_graph(ed_conv_builder *b);
/* Bytes of x, w and y. */
void ed_conv_bytes(size_t bytes[3], const ed_cuda_conv *c);

#endif
