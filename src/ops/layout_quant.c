/*
 * FakeQuantize of one scale and its gradients in any layout: zero_point 0 keeps the padding zero,
 * so all elements of the storage are alike (to the scale's gradient those add 0). In place when x,
 * or dy, dies. The scale is a constant, or a number that is known when the model runs.
 */
#include "base/parallel.h"
#include "ops/fast.h"

typedef struct quant_state {
    ed_fake_quant q;
    float scale;
    bool constant; /* the scale; else it is the last input */
} quant_state;

static ed_fake_quant quant_of(const ed_call *call)
{
    const quant_state *s = call->state;
    ed_fake_quant q = s->q;
    q.scale = s->constant ? &s->scale : call->in[call->n_in - 1]->data;
    return q;
}

int ed_layout_quant_run(const ed_call *call)
{
    const ed_fake_quant q = quant_of(call);
    ed_fake_quantize(call->out[0]->data, call->in[0]->data, &q);
    return ED_OK;
}

int ed_quant_grad_run(const ed_call *call)
{
    const ed_fake_quant q = quant_of(call);
    ed_fake_quantize_grad(call->out[0]->data, call->in[0]->data, call->in[1]->data, &q);
    return ED_OK;
}

int ed_scale_grad_run(const ed_call *call)
{
    const ed_fake_quant q = quant_of(call);
    ed_fake_quantize_scale_grad(call->out[0]->data, call->in[0]->data, call->in[1]->data, &q);
    return ED_OK;
}

static bool is_number(const ed_kernel_plan *p, ed_id value)
{
    int64_t numel = 0;
    return ed_plan_is_f32(p, value) && ed_shape_numel(&numel, &p->types[value].shape) == ED_OK &&
           numel == 1;
}

static int make_state(quant_state **out, const ed_kernel_plan *p, ed_id scale, ed_layout layout)
{
    const ed_fake_quant_params *params = p->params[0];
    const ed_tensor *constant = p->constants[scale];
    quant_state now = { .q = { .outer = 1, .channels = 1 }, .constant = constant != NULL };
    if (constant)
        now.scale = *(const float *)constant->data;
    now.q.qmin = params->qmin;
    now.q.qmax = params->qmax;
    ED_TRY(ed_layout_numel(&now.q.inner, layout, &p->types[p->nodes[0]->in[0]].shape));
    *out = ed_malloc(sizeof **out);
    if (!*out)
        return ED_ENOMEM;
    **out = now;
    return ED_OK;
}

/* `data` inputs of one shape, then scale and zero_point. */
static int plan(ed_kernel_plan *p, uint32_t data)
{
    const ed_node *node = p->nodes[0];
    ed_id scale = node->in[data], zero_id = ed_node_in(node, data + 1);
    const ed_tensor *zero = zero_id == ED_NONE ? NULL : p->constants[zero_id];
    quant_state *s;
    if (!ed_plan_is_f32(p, node->in[0]))
        return ed_plan_refuse(p, "empty or not float32");
    if (!is_number(p, scale) || (zero_id != ED_NONE && !zero))
        return ed_plan_refuse(p, "scale is no single number, or zero_point no constant");
    if (zero && zero->numel && ed_tensor_get_i64(zero, 0) != 0)
        return ed_plan_refuse(p, "zero_point is not 0");
    ed_layout layout = p->layouts[node->in[0]];
    if (layout == ED_LAYOUT_PLAIN)
        layout = p->layouts[node->in[data - 1]];
    ED_TRY(make_state(&s, p, scale, layout));
    for (uint32_t i = 0; i < data; i++) {
        p->in[i] = node->in[i];
        p->in_layout[i] = layout;
    }
    p->n_in = data;
    if (!s->constant) {
        p->in[p->n_in] = scale;
        p->in_layout[p->n_in++] = ED_LAYOUT_PLAIN;
    }
    p->taken = 1;
    p->out_layout = layout;
    p->state = s;
    if (ed_plan_dies(p, node->in[0], 1) && (data == 1 || node->in[0] != node->in[1]))
        p->inplace = 0;
    return ED_OK;
}

int ed_layout_quant_plan(ed_kernel_plan *p)
{
    return plan(p, 1);
}

int ed_quant_grad_plan(ed_kernel_plan *p)
{
    return plan(p, 2);
}

int ed_scale_grad_plan(ed_kernel_plan *p)
{
    ED_TRY(plan(p, 2));
    p->out_layout = ED_LAYOUT_PLAIN; /* one number, in memory of its own */
    p->inplace = -1;
    return ED_OK;
}

void ed_layout_quant_free(void *state)
{
    ed_free(state);
}

void ed_quant_grad_free(void *state)
{
    ed_free(state);
}

void ed_scale_grad_free(void *state)
{
    ed_free(state);
}
