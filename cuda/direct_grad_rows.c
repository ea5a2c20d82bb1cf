/*
 * Gradients of Conv by our own kernels: depthwise in channels-last order, and direct kernels for
 * every case, row-major float32.
 */
#include "conv_grad_rows.h"
#include "direct_conv_rows.h"
#include "reduce_rows.h"

typedef struct own_state {
    ed_depthwise depthwise;
    ed_direct_conv direct;
    bool has_sums;
    ed_cuda_reduction sums;
    size_t sums_at; /* their scratch */
} own_state;

static void own_free(void *state)
{
    ed_free(state);
}

/* Sums of dy, which lies so, behind `scratch` bytes. */
static void add_sums(ed_kernel_plan *p, own_state *s, ed_layout layout, size_t scratch)
{
    const ed_node *node = p->nodes[0];
    s->has_sums = node->n_out > 1 && node->out[1] != ED_NONE;
    s->sums_at = (scratch + 255) / 256 * 256;
    p->scratch = scratch;
    if (s->has_sums)
        p->scratch =
            s->sums_at + ed_cuda_channel_sums(&s->sums, &p->types[node->in[0]].shape, layout);
}

static int run_sums(const own_state *s, const ed_call *call)
{
    if (!s->has_sums)
        return ED_OK;
    return ed_cuda_bias_grad_run(call, &s->sums, s->depthwise.bf16,
                                 (char *)call->scratch + s->sums_at);
}

/* ---- depthwise ---- */

/* The shapes of the forward convolution's x and y. */
static void shapes_of(const ed_shape **x, const ed_shape **y, const ed_kernel_plan *p, bool weight)
{
    const ed_node *node = p->nodes[0];
    *y = &p->types[node->in[0]].shape;
    *x = &p->types[weight ? node->in[1] : node->out[0]].shape;
}

/* One filter a channel, and sizes that the kernels count; false: refused. */
static bool depthwise_ready(ed_depthwise *d, ed_kernel_plan *p, bool weight)
{
    const ed_conv_grad_params *params = p->params[0];
    const ed_shape *x, *y;
    ed_window w;
    shapes_of(&x, &y, p, weight);
    if (params->conv.group < 2 || x->dim[1] != params->conv.group || y->dim[1] != x->dim[1])
        return false; /* no news: without a reason */
    if (!ed_cuda_conv_grad_window(&w, p, weight))
        return false;
    if (x->rank > 4)
        ed_plan_refuse(p, "depthwise in three dimensions");
    else if (!ed_cuda_depthwise_shape(d, &w, x, y) ||
             d->n > INT32_MAX / ((int64_t)d->h.out * d->w.out))
        ed_plan_refuse(p, "too large for a kernel");
    d->bf16 = ed_cuda_bf16(p->device);
    return !p->reason;
}

static int depthwise_take(ed_kernel_plan *p, const ed_depthwise *d, bool weight)
{
    const ed_node *node = p->nodes[0];
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, d->bf16);
    own_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->depthwise = *d;
    ed_plan_read(p, node->in[0], layout);
    ed_plan_read(p, node->in[1], weight ? layout : ED_LAYOUT_PLAIN);
    p->kernel = "depthwise";
    if (!weight) {
        p->scratch = ed_cuda_depthwise_taps(d) * sizeof(float);
        return ed_cuda_take(p, 1, layout, s);
    }
    p->n_out = node->n_out;
    add_sums(p, s, layout, ed_cuda_depthwise_dw_scratch(d));
    return ed_cuda_take(p, 1, ED_LAYOUT_PLAIN, s);
}

int ed_cuda_depthwise_input_grad_plan(ed_kernel_plan *p)
{
    ed_depthwise d;
    return depthwise_ready(&d, p, false) ? depthwise_take(p, &d, false) : ED_OK;
}

int ed_cuda_depthwise_input_grad_run(const ed_call *call)
{
    const own_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_depthwise_dx(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                     call->scratch, &s->depthwise, ed_cuda_of(call)->stream),
                "the depthwise kernel of ConvInputGrad");
    return ED_OK;
}

int ed_cuda_depthwise_weight_grad_plan(ed_kernel_plan *p)
{
    ed_depthwise d;
    return depthwise_ready(&d, p, true) ? depthwise_take(p, &d, true) : ED_OK;
}

int ed_cuda_depthwise_weight_grad_run(const ed_call *call)
{
    const own_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_depthwise_dw(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                     call->scratch, &s->depthwise, ed_cuda_of(call)->stream),
                "the depthwise kernel of ConvWeightGrad");
    return run_sums(s, call);
}

/* ---- direct ---- */
static int direct_plan(ed_kernel_plan *p, bool weight)
{
    const ed_conv_grad_params *params = p->params[0];
    const ed_shape *x, *y;
    ed_window w;
    shapes_of(&x, &y, p, weight);
    if (!ed_cuda_conv_grad_window(&w, p, weight))
        return ED_OK;
    own_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    if (!ed_cuda_direct_shape(&s->direct, &w, &params->conv, weight ? x : y, weight ? y : x)) {
        ed_free(s);
        return ed_plan_refuse(p, "too large for a kernel");
    }
    s->direct.transposed = !weight;
    p->kernel = "direct";
    if (weight)
        add_sums(p, s, ED_LAYOUT_PLAIN, 0);
    else
        p->scratch = ed_cuda_direct_conv_scratch(&s->direct) * sizeof(float);
    return ed_cuda_take_plain(p, s);
}

int ed_cuda_direct_input_grad_plan(ed_kernel_plan *p)
{
    return direct_plan(p, false);
}

int ed_cuda_direct_input_grad_run(const ed_call *call)
{
    const own_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_conv_direct(call->out[0]->data, call->in[0]->data, call->in[1]->data, NULL,
                                    call->scratch, &s->direct, ed_cuda_of(call)->stream),
                "the direct kernel of ConvInputGrad");
    return ED_OK;
}

int ed_cuda_direct_weight_grad_plan(ed_kernel_plan *p)
{
    return direct_plan(p, true);
}

int ed_cuda_direct_weight_grad_run(const ed_call *call)
{
    const own_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_conv_direct_dw(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                       &s->direct, ed_cuda_of(call)->stream),
                "the direct kernel of ConvWeightGrad");
    return run_sums(s, call);
}

void ed_cuda_depthwise_input_grad_free(void *state)
{
    own_free(state);
}

void ed_cuda_depthwise_weight_grad_free(void *state)
{
    own_free(state);
}

void ed_cuda_direct_input_grad_free(void *state)
{
    own_free(state);
}

void ed_cuda_direct_weight_grad_free(void *state)
{
    own_free(state);
}
