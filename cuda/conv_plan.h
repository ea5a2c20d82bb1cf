/*
 * A convolution with what follows it, as one compiled plan of cuDNN's graph API.
 * conv_graph.c builds and runs plans, conv_plan.c keeps them, in memory and on disk.
 */
#ifndef CUDA_CONV_PLAN_H
#define CUDA_CONV_PLAN_H

#include "device.h"

/* The problem. Compared and hashed as bytes: zero it first. Channels last, spatial rank 2 or 3. */
typedef struct ed_cuda_conv {
    int64_t n, c, k, group; /* x [n, c, in], w [k, c / group, kernel], y [n, k, out] */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3];
    int32_t spatial;
    int32_t transposed;      /* ConvTranspose: w is [c, k / group, kernel]; nothing may follow */
    int32_t bf16;            /* storage of x, w, residual and y */
    int32_t fp32;            /* no products of shortened mantissas */
    int32_t bias;            /* float32 [k] */
    int32_t residual;        /* as y */
    int32_t n_posts, unused; /* no padding: it would be hashed */
    struct {
        int32_t kind; /* ed_post_kind, one of those that ed_cuda_conv_fuses() */
        float a, b;
    } posts[ED_MAX_POSTS];
} ed_cuda_conv;

/* True when cuDNN's graphs have this operation. */
bool ed_cuda_conv_fuses(const ed_post *post);

typedef struct ed_cuda_plan ed_cuda_plan;

/* The plan of a problem, made when it is new; belongs to the device. *out is NULL, without an
 * error, when cuDNN has no engine for it. */
int ed_cuda_plan_get(ed_cuda_plan **out, ed_cuda *device, const ed_cuda_conv *conv);
size_t ed_cuda_plan_scratch(const ed_cuda_plan *plan);
const char *ed_cuda_plan_name(const ed_cuda_plan *plan); /* "cudnn eng 37 (tuned)" */

typedef struct ed_cuda_conv_data {
    const void *x, *w, *bias, *residual;
    void *y, *scratch;
} ed_cuda_conv_data;
int ed_cuda_plan_run(const ed_cuda_plan *plan, ed_cuda *device, const ed_cuda_conv_data *data);

/* ---- between the two files ---- */
struct ed_cuda_plan {
    ed_cuda_conv conv;
    cudnnBackendDescriptor_t plan;
    cudnnBackendDescriptor_t *parts; /* descriptors that the plan was made of */
    size_t n_parts, part_capacity;
    int64_t scratch;
    char name[48];
};

/* Build the best plan: by the heuristics' order, or by time. plan->plan stays NULL when there is
 * none. */
int ed_cuda_conv_build(ed_cuda_plan *plan, ed_cuda *device);
/* The plan as text; *out is released with ed_free(). */
int ed_cuda_conv_save(char **out, size_t *size, const ed_cuda_plan *plan);
/* Make it from text; plan->plan stays NULL when this library does not take it. */
int ed_cuda_conv_load(ed_cuda_plan *plan, ed_cuda *device, const char *text, size_t size);
/* Empty it; the problem stays. */
void ed_cuda_conv_release(ed_cuda_plan *plan);

#endif
