/*
 * FakeQuantize of one scale in any layout: zero_point 0 keeps the padding zero, so all elements
 * of the storage are alike. In place when the input dies.
 */
#include "ops/fast.h"
#include "base/parallel.h"

typedef struct quant_state {
    int64_t numel; /* physical */
    float scale;
    int64_t qmin, qmax;
} quant_state;

int ed_layout_quant_run(const ed_call *call)
{
    static const int32_t zero = 0;
    const quant_state *s = call->state;
    ed_fake_quantize(call->out[0]->data, call->in[0]->data, 1, 1, s->numel, &s->scale, &zero,
                     s->qmin, s->qmax);
    return ED_OK;
}

int ed_layout_quant_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_fake_quant_params *params = p->params[0];
    ed_id x = node->in[0], zero_id = ed_node_in(node, 2);
    const ed_tensor *scale = p->constants[node->in[1]];
    const ed_tensor *zero = zero_id == ED_NONE ? NULL : p->constants[zero_id];
    if (!ed_plan_is_f32(p, x))
        return ed_plan_refuse(p, "empty or not float32");
    if (!scale || scale->numel != 1 || (zero_id != ED_NONE && !zero))
        return ed_plan_refuse(p, "scale is no single constant");
    if (zero && zero->numel && ed_tensor_get_i64(zero, 0) != 0)
        return ed_plan_refuse(p, "zero_point is not 0");
    quant_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ed_layout layout = p->layouts[x];
    s->scale = *(const float *)scale->data;
    s->qmin = params->qmin;
    s->qmax = params->qmax;
    int rc = ed_layout_numel(&s->numel, layout, &p->types[x].shape);
    if (rc != ED_OK) {
        ed_free(s);
        return rc;
    }
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = p->out_layout = layout;
    p->inplace = ed_plan_dies(p, x, 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_layout_quant_free(void *state)
{
    ed_free(state);
}
