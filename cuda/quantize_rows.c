/* FakeQuantize of one scale or one for each element of an axis, in the format in which the input
 * lies, in place if it dies. */
#include "quantize_rows.h"

#include "elementwise_rows.h"
#include "walk.h"

typedef struct quantize_state {
    bool bf16;
    ed_cuda_quantized of;
} quantize_state;

void ed_cuda_quantized_of(ed_cuda_quantized *s, const ed_fake_quant_params *params,
                          const ed_shape *shape, ed_layout layout)
{
    int64_t step[ED_MAX_RANK], numel = 1, axis = params->axis;
    for (int d = 0; d < shape->rank; d++)
        numel *= shape->dim[d];
    ed_cuda_steps(step, shape, layout);
    s->channels = axis < 0 ? 1 : shape->dim[axis];
    s->inner = axis < 0 ? numel : step[axis];
    s->outer = axis < 0 ? 1 : s->channels * s->inner == 0 ? 0 : numel / (s->channels * s->inner);
    s->qmin = params->qmin;
    s->qmax = params->qmax;
}

static int quantize_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0], scale = node->in[1];
    quantize_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->bf16 = ed_layout_element(p->layouts[x]) == 2;
    ed_cuda_quantized_of(&s->of, p->params[0], &p->types[x].shape, p->layouts[x]);
    for (uint32_t i = 0; i < node->n_in && node->in[i] != ED_NONE; i++) {
        p->in[i] = node->in[i];
        p->in_layout[i] = i == 0 ? p->layouts[x] : ED_LAYOUT_PLAIN;
        p->n_in = i + 1;
    }
    if (ed_plan_dies(p, x, 1) && ed_plan_memory(p, x) != ed_plan_memory(p, scale))
        p->inplace = 0;
    return ed_cuda_take(p, 1, p->layouts[x], s);
}

static int quantize_run(const ed_call *call)
{
    const quantize_state *s = call->state;
    const ed_cuda_quantizer q = { .scale = call->in[1]->data,
                                  .zero_point = call->n_in > 2 ? call->in[2]->data : NULL,
                                  .qmin = s->of.qmin,
                                  .qmax = s->of.qmax };
    ED_CUDA_TRY(ed_cuda_fake_quantize(call->out[0]->data, call->in[0]->data, s->bf16, s->of.outer,
                                      s->of.channels, s->of.inner, &q, ed_cuda_of(call)->stream),
                "the kernel of FakeQuantize");
    return ED_OK;
}

static void quantize_free(void *state)
{
    ed_free(state);
}

const ed_cuda_op ed_cuda_quantize_ops[] = {
    { "FakeQuantize", "ed", { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(quantize) } },
    { 0 },
};
