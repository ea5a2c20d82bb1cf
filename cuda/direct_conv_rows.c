/*
 * Conv and ConvTranspose by our own kernels: depthwise in channels-last order with what follows it,
 * and a direct kernel for every case, row-major float32.
 */
#include "direct_conv_rows.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

/* ---- sizes that the kernels can count ---- */
static bool fits(int64_t size)
{
    return size >= 0 && size <= ED_CONV_MOST;
}

/* a * b * c of sizes that fit */
static bool product_fits(int64_t a, int64_t b, int64_t c)
{
    return fits(a * b) && fits(a * b * c);
}

static bool axis_of(ed_conv_axis *a, const ed_window *w, int i, int64_t in, int64_t out)
{
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
    if (!fits(in) || !fits(out) || !fits(span) || !fits(w->pad_begin[i]) ||
        w->pad_end[i] > ED_CONV_MOST)
        return false;
    *a = (ed_conv_axis){ .in = (int)in,
                         .out = (int)out,
                         .kernel = (int)w->kernel[i],
                         .stride = (int)w->stride[i],
                         .dilation = (int)w->dilation[i],
                         .pad = (int)w->pad_begin[i] };
    return true;
}

/* Depth, height, width; those that are missing are one element. */
static bool axes_of(ed_conv_axis axis[3], const ed_window *w, const ed_shape *x, const ed_shape *y)
{
    int first = 3 - w->rank;
    for (int i = 0; i < first; i++)
        axis[i] = (ed_conv_axis){ 1, 1, 1, 1, 1, 0 };
    for (int i = 0; i < w->rank; i++)
        if (!axis_of(&axis[first + i], w, i, x->dim[2 + i], y->dim[2 + i]))
            return false;
    return product_fits(axis[0].in, axis[1].in, axis[2].in) &&
           product_fits(axis[0].out, axis[1].out, axis[2].out) &&
           product_fits(axis[0].kernel, axis[1].kernel, axis[2].kernel);
}

/* ---- depthwise ---- */
typedef struct depthwise_state {
    float *weights, *bias;          /* constant ones on the device: [kernel h][kernel w][channels],
                                       [channels] */
    bool borrowed;                  /* they belong to another executor's state */
    int w_at, bias_at, residual_at; /* positions in call->in; -1: constant, or none */
    ed_depthwise shape;
    ed_cuda_posts posts;
} depthwise_state;

/* One filter a channel. */
static bool is_depthwise(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_conv_params *params = p->params[0];
    return params->group > 1 && p->types[node->in[0]].shape.dim[1] == params->group &&
           p->types[node->in[1]].shape.dim[0] == params->group;
}

static bool finite_all(const ed_tensor *t)
{
    const float *v = t->data;
    for (int64_t i = 0; i < t->numel; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool depthwise_supported(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_tensor *w = p->constants[node->in[1]];
    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->out[0]))
        ed_plan_refuse(p, "empty or not float32");
    else if (p->types[node->in[0]].shape.rank > 4)
        ed_plan_refuse(p, "depthwise in three dimensions");
    else if (w && !finite_all(w))
        ed_plan_refuse(p, "weights are not finite");
    return !p->reason;
}

bool ed_cuda_depthwise_shape(ed_depthwise *d, const ed_window *w, const ed_shape *x,
                             const ed_shape *y)
{
    ed_conv_axis axis[3];
    if (!axes_of(axis, w, x, y) || !fits(x->dim[1]))
        return false;
    *d = (ed_depthwise){ .n = x->dim[0], .channels = (int)x->dim[1], .h = axis[1], .w = axis[2] };
    return product_fits(d->h.in, d->w.in, d->channels) &&
           product_fits(d->h.out, d->w.out, d->channels) &&
           product_fits(d->h.kernel, d->w.kernel, d->channels);
}

/* [C][1][taps] to [taps][C] on the device. */
static int upload_weights(float **out, const ed_tensor *w)
{
    int64_t channels = w->shape.dim[0], taps = w->numel / channels;
    const float *from = w->data;
    void *memory = NULL;
    float *packed = ed_malloc(w->nbytes);
    if (!packed)
        return ED_ENOMEM;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < taps; t++)
            packed[t * channels + c] = from[c * taps + t];
    int rc = ed_cuda_upload(&memory, packed, w->nbytes);
    ed_free(packed);
    *out = memory;
    return rc;
}

static int take_constants(ed_kernel_plan *p, depthwise_state *s)
{
    const depthwise_state *other = p->shared;
    const ed_tensor *w = p->constants[p->nodes[0]->in[1]];
    ed_id bias = ed_node_in(p->nodes[0], 2);
    if (other) {
        s->weights = other->weights;
        s->bias = other->bias;
        s->borrowed = true;
        return ED_OK;
    }
    if (w) {
        ED_TRY(upload_weights(&s->weights, w));
        p->weight_bytes = w->nbytes;
    }
    if (bias == ED_NONE || !p->constants[bias])
        return ED_OK;
    void *memory = NULL;
    ED_TRY(ed_cuda_upload(&memory, p->constants[bias]->data, p->constants[bias]->nbytes));
    s->bias = memory;
    return ED_OK;
}

static int depthwise_take(ed_kernel_plan *p, depthwise_state *s)
{
    const ed_node *node = p->nodes[0];
    ed_fused fused;
    s->shape.bf16 = ed_layout_element(p->layouts[node->in[0]]) == 2;
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, s->shape.bf16);
    ed_fuse(&fused, p, ED_ROW_NONE);
    ed_cuda_posts_of(&s->posts, &fused.posts);
    ed_plan_read(p, node->in[0], layout);
    s->w_at = s->bias_at = s->residual_at = -1;
    if (!s->weights) {
        s->w_at = ed_plan_read(p, node->in[1], ED_LAYOUT_PLAIN);
        p->scratch = ed_cuda_depthwise_taps(&s->shape) * sizeof(float);
    }
    if (ed_node_in(node, 2) != ED_NONE && !s->bias)
        s->bias_at = ed_plan_read(p, node->in[2], ED_LAYOUT_PLAIN);
    if (fused.residual != ED_NONE)
        s->residual_at = ed_plan_read(p, fused.residual, layout);
    p->kernel = "depthwise";
    return ed_cuda_take(p, fused.taken, layout, s);
}

int ed_cuda_depthwise_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_window w;
    ed_depthwise shape;
    if (!is_depthwise(p) || !depthwise_supported(p)) /* the former is no news: without a reason */
        return ED_OK;
    const ed_shape *x = &p->types[node->in[0]].shape;
    ED_TRY(ed_conv_window(&w, p->graph, node, p->params[0], x, &p->types[node->in[1]].shape));
    if (!ed_cuda_depthwise_shape(&shape, &w, x, &p->types[node->out[0]].shape))
        return ed_plan_refuse(p, "too large for a kernel");
    depthwise_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->shape = shape;
    int rc = take_constants(p, s);
    if (rc == ED_OK)
        return depthwise_take(p, s);
    ed_cuda_depthwise_free(s);
    return rc;
}

int ed_cuda_depthwise_run(const ed_call *call)
{
    const depthwise_state *s = call->state;
    const float *bias = s->bias_at < 0 ? s->bias : call->in[s->bias_at]->data;
    const void *residual = s->residual_at < 0 ? NULL : call->in[s->residual_at]->data;
    const float *weights = s->weights;
    ed_cuda *device = ed_cuda_of(call);
    if (s->w_at >= 0) {
        ED_CUDA_TRY(ed_cuda_depthwise_pack(call->scratch, call->in[s->w_at]->data, &s->shape, false,
                                           device->stream),
                    "the kernel that packs weights");
        weights = call->scratch;
    }
    ED_CUDA_TRY(ed_cuda_conv_depthwise(call->out[0]->data, call->in[0]->data, weights, bias,
                                       residual, &s->posts, &s->shape, device->stream),
                "the depthwise kernel of Conv");
    return ED_OK;
}

void ed_cuda_depthwise_free(void *state)
{
    depthwise_state *s = state;
    if (!s)
        return;
    if (!s->borrowed) {
        cudaFree(s->weights);
        cudaFree(s->bias);
    }
    ed_free(s);
}

/* ---- direct ---- */
bool ed_cuda_direct_shape(ed_direct_conv *d, const ed_window *w, const ed_conv_params *params,
                          const ed_shape *x, const ed_shape *y)
{
    const ed_conv_axis *a = d->axis;
    if (!axes_of(d->axis, w, x, y) || !fits(x->dim[1]) || !fits(y->dim[1]) || !fits(params->group))
        return false;
    d->n = x->dim[0];
    d->group = (int)params->group;
    d->channels = (int)(x->dim[1] / params->group);
    d->filters = (int)(y->dim[1] / params->group);
    int64_t taps = (int64_t)a[0].kernel * a[1].kernel * a[2].kernel;
    return taps <= ED_CONV_MOST_ROWS && taps * d->channels <= ED_CONV_MOST_ROWS;
}

int ed_cuda_direct_conv_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = &p->types[node->in[0]].shape, *y = &p->types[node->out[0]].shape;
    ed_window w;
    ED_TRY(ed_conv_window(&w, p->graph, node, p->params[0], x, &p->types[node->in[1]].shape));
    ed_direct_conv *d = ed_calloc(1, sizeof *d);
    if (!d)
        return ED_ENOMEM;
    if (!ed_cuda_direct_shape(d, &w, p->params[0], x, y)) {
        ed_free(d);
        return ed_plan_refuse(p, "too large for a kernel");
    }
    d->transposed = strcmp(node->op_type, "ConvTranspose") == 0;
    p->scratch = ed_cuda_direct_conv_scratch(d) * sizeof(float);
    p->kernel = "direct";
    return ed_cuda_take_plain(p, d);
}

int ed_cuda_direct_conv_run(const ed_call *call)
{
    const ed_tensor *bias = call->n_in > 2 ? call->in[2] : NULL;
    ED_CUDA_TRY(ed_cuda_conv_direct(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                    bias ? bias->data : NULL, call->scratch, call->state,
                                    ed_cuda_of(call)->stream),
                "the direct kernel of Conv");
    return ED_OK;
}

void ed_cuda_direct_conv_free(void *state)
{
    ed_free(state);
}
