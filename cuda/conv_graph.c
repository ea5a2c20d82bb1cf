/*
 * Convolutions through the graph API of cuDNN 9:
 *
 *   x, w -> convolution -> [+ bias] -> [+ residual] -> [activation] -> y
 *
 * One operation descriptor a step, virtual float32 tensors between them.
 */
#include "conv_graph.h"

enum {
    MAX_DIMS = 5,
    UID_X = 1,
    UID_W,
    UID_Y,
    UID_BIAS,
    UID_RESIDUAL,
    UID_VIRTUAL = 16,
};
static void note(ed_conv_builder *b, cudnnStatus_t status)
{
    if (b->status == CUDNN_STATUS_SUCCESS)
        b->status = status;
}

cudnnBackendDescriptor_t ed_conv_make(ed_conv_builder *b, cudnnBackendDescriptorType_t type)
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

void ed_conv_set(ed_conv_builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                 cudnnBackendAttributeType_t type, int64_t count, const void *value)
{
    if (b->status == CUDNN_STATUS_SUCCESS)
        note(b, cudnnBackendSetAttribute(d, name, type, count, value));
}

static void set_one(ed_conv_builder *b, cudnnBackendDescriptor_t d,
                    cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    ed_conv_set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void ed_conv_finish(ed_conv_builder *b, cudnnBackendDescriptor_t d)
{
    if (b->status == CUDNN_STATUS_SUCCESS)
        note(b, cudnnBackendFinalize(d));
}

/* ---- tensors and operations ---- */

static cudnnBackendDescriptor_t tensor(ed_conv_builder *b, int64_t uid, cudnnDataType_t type,
                                       int rank, const int64_t *dim)
{
    bool is_virtual = uid >= UID_VIRTUAL;
    int64_t step[MAX_DIMS], n = dim[1], alignment = 16;
    step[1] = 1; /* channels last */
    for (int d = rank - 1; d >= 0; d--) {
        if (d == 1)
            continue;
        step[d] = n;
        n *= dim[d];
    }
    cudnnBackendDescriptor_t t = ed_conv_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    ed_conv_set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    ed_conv_set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    ed_conv_set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    ed_conv_set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, rank, dim);
    ed_conv_set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, rank, step);
    if (is_virtual)
        ed_conv_set(b, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    ed_conv_finish(b, t);
    return t;
}

static cudnnBackendDescriptor_t convolution(ed_conv_builder *b, cudnnBackendDescriptor_t x,
                                            cudnnBackendDescriptor_t w, cudnnBackendDescriptor_t y)
{
    const ed_cuda_conv *c = &b->plan->conv;
    int64_t rank = c->spatial;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    float alpha = 1.0f, beta = 0.0f;
    cudnnBackendDescriptor_t d = ed_conv_make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &rank);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, rank, c->pad_begin);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, rank, c->pad_end);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, rank, c->dilation);
    ed_conv_set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, rank, c->stride);
    ed_conv_finish(b, d);
    if (c->transposed) { /* the gradient of a convolution by its input */
        cudnnBackendDescriptor_t op =
            ed_conv_make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
        set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, x);
        set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w);
        set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, y);
        set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, d);
        ed_conv_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1,
                    &alpha);
        ed_conv_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1,
                    &beta);
        ed_conv_finish(b, op);
        return op;
    }
    cudnnBackendDescriptor_t op =
        ed_conv_make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    set_one(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, d);
    ed_conv_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &alpha);
    ed_conv_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &beta);
    ed_conv_finish(b, op);
    return op;
}

/* y = mode(x[, other]) */
static cudnnBackendDescriptor_t pointwise(ed_conv_builder *b, cudnnPointwiseMode_t mode,
                                          const ed_post *post, cudnnBackendDescriptor_t x,
                                          cudnnBackendDescriptor_t other,
                                          cudnnBackendDescriptor_t y)
{
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = ed_conv_make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    ed_conv_set(b, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    ed_conv_set(b, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    if (post && post->kind == ED_POST_RELU && post->a != 0.0f) {
        double slope = post->a;
        ed_conv_set(b, d, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, &slope);
    }
    if (post && post->kind == ED_POST_CLIP) {
        double upper = post->b;
        ed_conv_set(b, d, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, &upper);
    }
    ed_conv_finish(b, d);
    cudnnBackendDescriptor_t op = ed_conv_make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
    set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (other)
        set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, other);
    set_one(b, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    ed_conv_finish(b, op);
    return op;
}

/* The operation of a post; false where cuDNN's graphs have none. */
static bool post_mode(cudnnPointwiseMode_t *mode, const ed_post *post)
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
            *mode = rows[i].mode;
            return post->kind != ED_POST_CLIP || post->a == 0.0f;
        }
    return false;
}

bool ed_cuda_conv_fuses(const ed_post *post)
{
    cudnnPointwiseMode_t mode;
    return post_mode(&mode, post);
}

typedef struct shapes {
    int rank;
    int64_t x[MAX_DIMS], w[MAX_DIMS], y[MAX_DIMS], bias[MAX_DIMS];
} shapes;

static shapes shapes_of(const ed_cuda_conv *c)
{
    shapes s = { .rank = c->spatial + 2 };
    s.x[0] = s.y[0] = c->n;
    s.bias[0] = 1;
    s.x[1] = c->c;
    s.y[1] = s.bias[1] = c->k;
    s.w[0] = c->transposed ? c->c : c->k;
    s.w[1] = (c->transposed ? c->k : c->c) / c->group;
    for (int d = 0; d < c->spatial; d++) {
        s.x[2 + d] = c->in[d];
        s.y[2 + d] = c->out[d];
        s.w[2 + d] = c->kernel[d];
        s.bias[2 + d] = 1;
    }
    return s;
}

#define BIAS ED_POST_LINEAR /* which cuDNN's graphs do not have, see post_mode() */

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

cudnnBackendDescriptor_t ed_conv_graph(ed_conv_builder *b)
{
    enum { MAX_OPS = 2 + ED_MAX_POSTS };
    const ed_cuda_conv *c = &b->plan->conv;
    const shapes s = shapes_of(c);
    cudnnDataType_t stored = c->bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t ops[MAX_OPS], value, next;
    int64_t n = 0;
    cudnnBackendDescriptor_t x = tensor(b, UID_X, stored, s.rank, s.x);
    cudnnBackendDescriptor_t w = tensor(b, UID_W, stored, s.rank, s.w);
    cudnnBackendDescriptor_t y = tensor(b, UID_Y, stored, s.rank, s.y);
    ed_post posts[ED_MAX_POSTS + 1];
    int count = list_posts(posts, c);
    value = count ? tensor(b, UID_VIRTUAL, CUDNN_DATA_FLOAT, s.rank, s.y) : y;
    ops[n++] = convolution(b, x, w, value);
    for (int i = 0; i < count; i++) {
        cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
        cudnnBackendDescriptor_t other = NULL;
        next = i + 1 < count ? tensor(b, UID_VIRTUAL + 1 + i, CUDNN_DATA_FLOAT, s.rank, s.y) : y;
        if (posts[i].kind == BIAS)
            other = tensor(b, UID_BIAS, CUDNN_DATA_FLOAT, s.rank, s.bias);
        else if (post_mode(&mode, &posts[i]) && posts[i].kind == ED_POST_ADD)
            other = tensor(b, UID_RESIDUAL, stored, s.rank, s.y);
        ops[n++] = pointwise(b, mode, &posts[i], value, other, next);
        value = next;
    }
    cudnnBackendDescriptor_t g = ed_conv_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    ed_conv_set(b, g, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->handle);
    ed_conv_set(b, g, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, ops);
    ed_conv_finish(b, g);
    return b->status == CUDNN_STATUS_SUCCESS ? g : NULL;
}

void ed_conv_bytes(size_t bytes[3], const ed_cuda_conv *c)
{
    const shapes s = shapes_of(c);
    bytes[0] = bytes[1] = bytes[2] = c->bf16 ? 2 : 4;
    for (int d = 0; d < s.rank; d++) {
        bytes[0] *= (size_t)s.x[d];
        bytes[1] *= (size_t)s.w[d];
        bytes[2] *= (size_t)s.y[d];
    }
}

/* ---- running ---- */

int ed_cuda_plan_run(const ed_cuda_plan *plan, ed_cuda *device, const ed_cuda_conv_data *data)
{
    int64_t uids[5] = { UID_X, UID_W, UID_Y }, n = 3;
    const void *pointers[5] = { data->x, data->w, data->y };
    cudnnBackendDescriptor_t pack = NULL;
    cudnnHandle_t handle;
    ED_TRY(ed_cuda_cudnn(&handle, device));
    if (plan->conv.bias) {
        uids[n] = UID_BIAS;
        pointers[n++] = data->bias;
    }
    if (plan->conv.residual) {
        uids[n] = UID_RESIDUAL;
        pointers[n++] = data->residual;
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
                                     1, &data->scratch);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendFinalize(pack);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendExecute(handle, plan->plan, pack);
    if (pack)
        cudnnBackendDestroyDescriptor(pack);
    return ed_cuda_cudnn_status(s, "the convolution");
}

/* ---- as text ---- */

int ed_cuda_conv_save(char **out, size_t *size, const ed_cuda_plan *plan)
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

int ed_cuda_conv_load(ed_cuda_plan *plan, ed_cuda *device, const char *text, size_t size)
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

void ed_cuda_conv_release(ed_cuda_plan *plan)
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
