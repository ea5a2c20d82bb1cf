/*
 * Compiled plans of cuDNN's graph API. A kind of problem is a row of functions (conv_graph.c,
 * attention_graph.c); plan_graph.c has the descriptors that graphs are made of and runs plans,
 * plan_engines.c chooses engines, plans.c keeps plans, in memory and on disk.
 */
#ifndef CUDA_PLANS_H
#define CUDA_PLANS_H

#include "device.h"

enum { ED_PLAN_OPERANDS = 6 };

typedef struct ed_cudnn_builder ed_cudnn_builder;

/* A kind of problem. Problems are structs without pointers that are compared and hashed as bytes:
 * zeroed first, no padding. Operand i of a graph is the tensor with the unique id i + 1. */
typedef struct ed_cuda_kind {
    const char *name;  /* of the files */
    const char *what;  /* in sentences: "the convolution" */
    const char *label; /* in the printed plan: "cudnn" */
    size_t size;       /* of a problem */
    void (*describe)(char *text, size_t size, const void *problem); /* for the log */
    /* The operation graph; NULL when the library refuses it. */
    cudnnBackendDescriptor_t (*graph)(ed_cudnn_builder *b);
    /* How much memory the operands take, to time engines with; 0: none on the device. */
    void (*bytes)(size_t bytes[ED_PLAN_OPERANDS], const void *problem);
    /* Operands that are numbers of the problem, read on the host; NULL: none. */
    void (*numbers)(const void *operands[ED_PLAN_OPERANDS], const void *problem);
} ed_cuda_kind;

typedef struct ed_cuda_plan ed_cuda_plan;

/* The plan of a problem, made when it is new; belongs to the device. *out is NULL, without an
 * error, when cuDNN has no engine for it. */
int ed_cuda_plan_get(ed_cuda_plan **out, ed_cuda *device, const ed_cuda_kind *kind,
                     const void *problem);
size_t ed_cuda_plan_scratch(const ed_cuda_plan *plan);
const char *ed_cuda_plan_name(const ed_cuda_plan *plan); /* "cudnn eng 37 (tuned)" */
/* operands[i]: NULL where the problem has none, or a number of its own. */
int ed_cuda_plan_run(const ed_cuda_plan *plan, ed_cuda *device,
                     const void *const operands[ED_PLAN_OPERANDS], void *scratch);

/* ---- between the files ---- */
struct ed_cuda_plan {
    const ed_cuda_kind *kind;
    const void *problem;
    cudnnBackendDescriptor_t plan;
    cudnnBackendDescriptor_t *parts; /* descriptors that the plan was made of */
    size_t n_parts, part_capacity;
    int64_t scratch;
    char name[64];
};

/* Build the best plan: by the heuristics' order, or by time. plan->plan stays NULL when there is
 * none. */
int ed_cuda_plan_build(ed_cuda_plan *plan, ed_cuda *device);
/* The plan as text; *out is released with ed_free(). */
int ed_cuda_plan_save(char **out, size_t *size, const ed_cuda_plan *plan);
/* Make it from text; plan->plan stays NULL when this library does not take it. */
int ed_cuda_plan_load(ed_cuda_plan *plan, ed_cuda *device, const char *text, size_t size);
/* Empty it; the problem stays. */
void ed_cuda_plan_release(ed_cuda_plan *plan);

#endif
