/*
 * Gradients of functions of one number and of FakeQuantize: in the order in which dy or the forward
 * value lies, in place over dy if it dies; with their neighbours as a chain.
 */
#include "elementwise_rows.h"
#include "grad.h"
#include "lines.h"
#include "quantize_rows.h"

#include <string.h>

/* The format of dy, or of the forward value v where dy is row-major; bfloat16 if both are: a value
 * that is rounded may be on another side of a bound. */
static ed_layout layout_of(const ed_kernel_plan *p, ed_id dy, ed_id v)
{
    bool bf16 = ed_layout_element(p->layouts[dy]) == 2 && ed_layout_element(p->layouts[v]) == 2;
    return ed_layout_with_bf16(p->layouts[ed_cuda_is_nhwc(p->layouts[dy]) ? dy : v], bf16);
}

/* ---- functions ---- */
static const struct {
    const char *type;
    enum ed_cuda_slope slope[2]; /* by `approximate` */
} functions[] = {
    { "ReluGrad", { ED_SLOPE_RELU } },
    { "LeakyReluGrad", { ED_SLOPE_LEAKY_RELU } },
    { "ClipGrad", { ED_SLOPE_CLIP } },
    { "SigmoidGrad", { ED_SLOPE_SIGMOID } },
    { "HardSigmoidGrad", { ED_SLOPE_HARD_SIGMOID } },
    { "HardSwishGrad", { ED_SLOPE_HARD_SWISH } },
    { "TanhGrad", { ED_SLOPE_TANH } },
    { "MishGrad", { ED_SLOPE_MISH } },
    { "EluGrad", { ED_SLOPE_ELU } },
    { "GeluGrad", { ED_SLOPE_GELU, ED_SLOPE_GELU_TANH } },
    { "ErfGrad", { ED_SLOPE_ERF } },
    { "AbsGrad", { ED_SLOPE_ABS } },
};

typedef struct slope_state {
    enum ed_cuda_slope slope;
    bool bf16;
    float a, b;
} slope_state;

/* False when a bound is computed while the model runs. */
static bool clip_bounds(slope_state *s, const ed_kernel_plan *p, const ed_activation_params *f)
{
    const ed_tensor *bound[2] = { ed_cuda_constant(p, 2), ed_cuda_constant(p, 3) };
    for (uint32_t i = 0; i < 2; i++)
        if (ed_node_in(p->nodes[0], i + 2) != ED_NONE && !bound[i])
            return false;
    float bounds[2];
    ed_clip_grad_bounds(bounds, f, bound[0], bound[1]);
    s->a = bounds[0];
    s->b = bounds[1];
    return true;
}

static int slope_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_activation_grad_params *params = p->params[0];
    ed_layout layout = layout_of(p, node->in[0], node->in[1]);
    slope_state now = { .a = params->f.alpha, .bf16 = ed_layout_element(layout) == 2 };
    size_t i = 0;
    while (strcmp(functions[i].type, node->op_type) != 0)
        i++;
    now.slope = functions[i].slope[params->approximate];
    if (now.slope == ED_SLOPE_CLIP && !clip_bounds(&now, p, &params->f))
        return ed_plan_refuse(p, "the bounds are not constant");
    slope_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    ed_cuda_read(p, 0, layout);
    ed_cuda_read(p, 1, layout);
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static int slope_run(const ed_call *call)
{
    const slope_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_activation_grad(s->slope, call->out[0]->data, call->in[0]->data,
                                        call->in[1]->data, s->bf16, call->out[0]->numel, s->a, s->b,
                                        ed_cuda_of(call)->stream),
                "the kernel of a function's gradient");
    return ED_OK;
}

static void slope_free(void *state)
{
    ed_free(state);
}

/* ---- FakeQuantizeGrad, FakeQuantizeScaleGrad: dy, x, scale [, zero_point] ---- */
typedef struct quantize_grad_state {
    ed_cuda_quantized of;
    bool bf16;
} quantize_grad_state;

static int quantize_plan(ed_kernel_plan *p, bool scale)
{
    const ed_node *node = p->nodes[0];
    ed_layout layout = layout_of(p, node->in[0], node->in[1]);
    quantize_grad_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->bf16 = ed_layout_element(layout) == 2;
    ed_cuda_quantized_of(&s->of, p->params[0], ed_cuda_shape(p, node->in[1]), layout);
    for (uint32_t i = 0; i < node->n_in && node->in[i] != ED_NONE; i++)
        ed_cuda_read(p, i, i < 2 ? layout : ED_LAYOUT_PLAIN);
    if (scale) {
        p->scratch = ed_cuda_scale_grad_scratch(s->of.outer, s->of.channels, s->of.inner);
        return ed_cuda_take(p, 1, ED_LAYOUT_PLAIN, s);
    }
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static ed_cuda_quantizer quantizer_of(const ed_call *call)
{
    const quantize_grad_state *s = call->state;
    return (ed_cuda_quantizer){ .scale = call->in[2]->data,
                                .zero_point = call->n_in > 3 ? call->in[3]->data : NULL,
                                .qmin = s->of.qmin,
                                .qmax = s->of.qmax };
}

static int quantize_grad_plan(ed_kernel_plan *p)
{
    return quantize_plan(p, false);
}

static int quantize_grad_run(const ed_call *call)
{
    const quantize_grad_state *s = call->state;
    const ed_cuda_quantizer q = quantizer_of(call);
    ED_CUDA_TRY(ed_cuda_quantize_grad(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                      s->bf16, s->of.outer, s->of.channels, s->of.inner, &q,
                                      ed_cuda_of(call)->stream),
                "the kernel of FakeQuantizeGrad");
    return ED_OK;
}

static int scale_grad_plan(ed_kernel_plan *p)
{
    return quantize_plan(p, true);
}

static int scale_grad_run(const ed_call *call)
{
    const quantize_grad_state *s = call->state;
    const ed_cuda_quantizer q = quantizer_of(call);
    ED_CUDA_TRY(ed_cuda_scale_grad(call->out[0]->data, call->in[0]->data, call->in[1]->data,
                                   s->bf16, s->of.outer, s->of.channels, s->of.inner, &q,
                                   call->scratch, ed_cuda_of(call)->stream),
                "the kernel of FakeQuantizeScaleGrad");
    return ED_OK;
}

#define quantize_grad_free slope_free
#define scale_grad_free    slope_free

const ed_cuda_op ed_cuda_activation_grad_ops[] = {
    { "ReluGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "LeakyReluGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "ClipGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "SigmoidGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "HardSigmoidGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "HardSwishGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "TanhGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "MishGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "EluGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "GeluGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "ErfGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "AbsGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(slope) } },
    { "FakeQuantizeGrad", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(quantize_grad) } },
    { "FakeQuantizeScaleGrad", "ed", { ED_CUDA_ROW(scale_grad) } },
    { 0 },
};
