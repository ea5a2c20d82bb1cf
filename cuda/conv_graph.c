/*
 * Convolutions as graphs of cuDNN 9:
 *
 *   x, w -> convolution -> [+ bias] -> [+ residual] -> [activation] -> y
 *
 * One operation descriptor a step, virtual float32 tensors between them. Gradients of a convolution
 * by its input or its weights are graphs of one operation.
 */
#include "conv_plan.h"
#include "plan_graph.h"

#include <stdio.h>

/* Channels last. */
static cudnnBackendDescriptor_t tensor(ed_cudnn_builder *b, int64_t uid, cudnnDataType_t type,
                                       int rank, const int64_t *dim)
{
    ed_cudnn_tensor t = { .uid = uid, .type = type, .rank = rank };
    int64_t n = dim[1];
    for (int d = rank - 1; d >= 0; d--) {
        t.dim[d] = dim[d];
        t.step[d] = d == 1 ? 1 : n;
        n *= d == 1 ? 1 : dim[d];
    }
    return ed_cudnn_tensor_new(b, &t);
}

/* How an operation names its parts. */
typedef struct names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, w, y, window, alpha, beta;
} names;

static const names operations[] = {
    [ED_CONV_FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [ED_CONV_INPUT_GRAD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [ED_CONV_WEIGHT_GRAD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

static cudnnBackendDescriptor_t operation(ed_cudnn_builder *b, const names *name,
                                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                                          cudnnBackendDescriptor_t y,
                                          cudnnBackendDescriptor_t window)
{
    float alpha = 1.0f, beta = 0.0f;
    cudnnBackendDescriptor_t op = ed_cudnn_make(b, name->type);
    ed_cudnn_set_one(b, op, name->x, x);
    ed_cudnn_set_one(b, op, name->w, w);
    ed_cudnn_set_one(b, op, name->y, y);
    ed_cudnn_set_one(b, op, name->window, window);
    ed_cudnn_set(b, op, name->alpha, CUDNN_TYPE_FLOAT, 1, &alpha);
    ed_cudnn_set(b, op, name->beta, CUDNN_TYPE_FLOAT, 1, &beta);
    ed_cudnn_finish(b, op);
    return op;
}

static cudnnBackendDescriptor_t convolution(ed_cudnn_builder *b, cudnnBackendDescriptor_t x,
                                            cudnnBackendDescriptor_t w, cudnnBackendDescriptor_t y)
{
    const ed_cuda_conv *c = b->plan->problem;
    int64_t rank = c->spatial;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t d = ed_cudnn_make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &rank);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, rank, c->pad_begin);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, rank, c->pad_end);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, rank, c->dilation);
    ed_cudnn_set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, rank, c->stride);
    ed_cudnn_finish(b, d);
    return operation(b, &operations[c->direction], x, w, y, d);
}

/* The operation of a post; false where cuDNN's graphs have none. */
static bool post_function(ed_cudnn_function *f, const ed_post *post)
{
    static const struct {
        ed_post_kind kind;
        cudnnPointwiseMode_t mode;
    } rows[] = {
        { ED_POST_RELU, CUDNN_POINTWISE_RELU_FWD },
        { ED_POST_CLIP, CUDNN_POINTWISE_RELU_FWD }, /* from 0 on */
        { ED_POST_SIGMOID, CUDNN_POINTWISE_SIGMOID_FWD },
        { ED_POST_TANH, CUDNN_POINTWISE_TANH_FWD },
        { ED_POST_SWISH, CUDNN_POINTWISE_SWISH_FWD },
        { ED_POST_GELU, CUDNN_POINTWISE_GELU_FWD },
        { ED_POST_GELU_TANH, CUDNN_POINTWISE_GELU_APPROX_TANH_FWD },
        { ED_POST_ADD, CUDNN_POINTWISE_ADD },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++)
        if (rows[i].kind == post->kind) {
            *f = (ed_cudnn_function){ .mode = rows[i].mode };
            if (post->kind == ED_POST_RELU)
                f->slope = post->a;
            f->clipped = post->kind == ED_POST_CLIP;
            f->upper = f->clipped ? post->b : 0.0f;
            return !f->clipped || post->a == 0.0f;
        }
    return false;
}

/* For a clipped ReLU of float32 values cuDNN has one engine, which is ten times slower than the
 * convolution and a pass of our own. */
bool ed_cuda_conv_fuses(const ed_post *post, bool bf16)
{
    ed_cudnn_function f;
    return post_function(&f, post) && (bf16 || !f.clipped);
}

typedef struct shapes {
    int rank;
    int64_t x[ED_CUDNN_RANK], w[ED_CUDNN_RANK], y[ED_CUDNN_RANK], bias[ED_CUDNN_RANK];
} shapes;

static shapes shapes_of(const ed_cuda_conv *c)
{
    shapes s = { .rank = c->spatial + 2 };
    s.x[0] = s.y[0] = c->n;
    s.bias[0] = 1;
    s.x[1] = c->c;
    s.y[1] = s.bias[1] = c->k;
    bool exchanged = c->direction == ED_CONV_INPUT_GRAD;
    s.w[0] = exchanged ? c->c : c->k;
    s.w[1] = (exchanged ? c->k : c->c) / c->group;
    for (int d = 0; d < c->spatial; d++) {
        s.x[2 + d] = c->in[d];
        s.y[2 + d] = c->out[d];
        s.w[2 + d] = c->kernel[d];
        s.bias[2 + d] = 1;
    }
    return s;
}

#define BIAS ED_POST_LINEAR /* which cuDNN's graphs do not have, see post_function() */

/* In the order of cuDNN's own fused convolutions, whose engines need no compiler: a residual that
 * is added at once comes before the bias. */
static int list_posts(ed_post posts[ED_MAX_POSTS + 1], const ed_cuda_conv *c)
{
    int n = 0, first = c->bias && c->n_posts && c->posts[0].kind == ED_POST_ADD ? 1 : 0;
    for (int i = 0; i < c->n_posts; i++) {
        if (c->bias && i == first)
            posts[n++] = (ed_post){ .kind = BIAS };
        posts[n++] = (ed_post){ (ed_post_kind)c->posts[i].kind, c->posts[i].a, c->posts[i].b };
    }
    if (c->bias && first >= c->n_posts)
        posts[n++] = (ed_post){ .kind = BIAS };
    return n;
}

static cudnnBackendDescriptor_t conv_graph(ed_cudnn_builder *b)
{
    enum { MAX_OPS = 2 + ED_MAX_POSTS };
    const ed_cuda_conv *c = b->plan->problem;
    const shapes s = shapes_of(c);
    b->exact = c->fp32 && !c->bf16;
    b->any_order = !c->deterministic;
    cudnnDataType_t stored = c->bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    cudnnDataType_t w_stored = c->w_bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t ops[MAX_OPS], value, next;
    int64_t n = 0;
    cudnnBackendDescriptor_t x = tensor(b, ED_CONV_X + 1, stored, s.rank, s.x);
    cudnnBackendDescriptor_t w = tensor(b, ED_CONV_W + 1, w_stored, s.rank, s.w);
    cudnnBackendDescriptor_t y = tensor(b, ED_CONV_Y + 1, stored, s.rank, s.y);
    ed_post posts[ED_MAX_POSTS + 1];
    int count = list_posts(posts, c);
    value = count ? tensor(b, ED_UID_VIRTUAL, CUDNN_DATA_FLOAT, s.rank, s.y) : y;
    ops[n++] = convolution(b, x, w, value);
    for (int i = 0; i < count; i++) {
        ed_cudnn_function f = { .mode = CUDNN_POINTWISE_ADD };
        cudnnBackendDescriptor_t other = NULL;
        next = i + 1 < count ? tensor(b, ED_UID_VIRTUAL + 1 + i, CUDNN_DATA_FLOAT, s.rank, s.y) : y;
        if (posts[i].kind == BIAS)
            other = tensor(b, ED_CONV_BIAS + 1, CUDNN_DATA_FLOAT, s.rank, s.bias);
        else if (post_function(&f, &posts[i]) && posts[i].kind == ED_POST_ADD)
            other = tensor(b, ED_CONV_RESIDUAL + 1, stored, s.rank, s.y);
        ops[n++] = ed_cudnn_pointwise(b, &f, value, other, next);
        value = next;
    }
    return ed_cudnn_graph(b, ops, n);
}

static void conv_bytes(size_t bytes[ED_PLAN_OPERANDS], const void *problem)
{
    const ed_cuda_conv *c = problem;
    const shapes s = shapes_of(c);
    for (int i = ED_CONV_X; i <= ED_CONV_Y; i++)
        bytes[i] = (i == ED_CONV_W ? c->w_bf16 : c->bf16) ? 2 : 4;
    for (int d = 0; d < s.rank; d++) {
        bytes[ED_CONV_X] *= (size_t)s.x[d];
        bytes[ED_CONV_W] *= (size_t)s.w[d];
        bytes[ED_CONV_Y] *= (size_t)s.y[d];
    }
    bytes[ED_CONV_BIAS] = c->bias ? (size_t)c->k * 4 : 0;
    bytes[ED_CONV_RESIDUAL] = c->residual ? bytes[ED_CONV_Y] : 0;
}

static void conv_describe(char *text, size_t size, const void *problem)
{
    const ed_cuda_conv *c = problem;
    static const char *const directions[] = { "convolution", "gradient by the input",
                                              "gradient by the weights" };
    snprintf(text, size, "%s %lldx%lldx%lldx%lld to %lld channels", directions[c->direction],
             (long long)c->n, (long long)c->c, (long long)c->in[0], (long long)c->in[1],
             (long long)c->k);
}

const ed_cuda_kind ed_cuda_conv_kind = {
    .name = "conv",
    .what = "the convolution",
    .label = "cudnn",
    .size = sizeof(ed_cuda_conv),
    .describe = conv_describe,
    .graph = conv_graph,
    .bytes = conv_bytes,
};
