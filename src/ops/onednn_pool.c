/* MaxPool and AveragePool by oneDNN, in the layout in which the input lies. */
#include "ops/fast.h"

#include <string.h>

/* Why a window cannot run here, or NULL. Sets the padding at the end that the output's size implies
 * (ceil_mode: the last window may reach beyond the declared padding). */
static const char *refusal(ed_window *w, const ed_shape *x, const ed_shape *y, ed_pool_kind kind)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        int64_t need = (y->dim[2 + i] - 1) * w->stride[i] + reach - x->dim[2 + i] - w->pad_begin[i];
        if (kind == ED_POOL_AVG_WITH_PADS && need > w->pad_end[i])
            return "ceil_mode with counted padding";
        if (kind != ED_POOL_MAX && w->dilation[i] != 1)
            return "dilated average";
        if (need > w->pad_end[i])
            w->pad_end[i] = need;
        if (w->pad_begin[i] >= w->kernel[i] || w->pad_end[i] >= w->kernel[i])
            return "windows of padding only";
    }
    return NULL;
}

int ed_onednn_pool_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_pool_params *params = p->params[0];
    ed_window w;
    const ed_shape *x = &p->types[node->in[0]].shape, *y = &p->types[node->out[0]].shape;
    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->out[0]) || x->rank > 5)
        return ed_plan_refuse(p, "empty, not float32, or more than 3 spatial dimensions");
    if (node->n_out > 1 && node->out[1] != ED_NONE)
        return ed_plan_refuse(p, "indices");
    ED_TRY(ed_pool_window(&w, p->graph, node, params, x));
    ed_pool_kind kind = strcmp(node->op_type, "MaxPool") == 0 ? ED_POOL_MAX
                        : params->count_include_pad           ? ED_POOL_AVG_WITH_PADS
                                                              : ED_POOL_AVG;
    const char *reason = refusal(&w, x, y, kind);
    if (reason)
        return ed_plan_refuse(p, reason);
    ed_layout layout = p->layouts[node->in[0]];
    ed_prim *prim = NULL;
    ed_dnn_pool pool = { .x = { .shape = x, .layout = layout },
                         .y = { .shape = y, .layout = layout },
                         .kind = kind,
                         .kernel = w.kernel,
                         .stride = w.stride,
                         .dilation = w.dilation,
                         .pad_begin = w.pad_begin,
                         .pad_end = w.pad_end };
    ED_TRY(ed_dnn_pool_new(&prim, p->dnn, &pool));
    if (!prim)
        return ed_plan_refuse(p, "oneDNN has no kernel for it");
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = node->in[0];
    p->in_layout[0] = p->out_layout = layout;
    p->scratch = ed_prim_scratch(prim);
    p->kernel = ed_prim_name(prim);
    p->state = prim;
    return ED_OK;
}

int ed_onednn_pool_run(const ed_call *call)
{
    const void *data[ED_ARG_COUNT] = {
        [ED_ARG_SRC] = call->in[0]->data, [ED_ARG_DST] = call->out[0]->data
    };
    return ed_prim_run(call->state, data, call->scratch);
}

void ed_onednn_pool_free(void *state)
{
    ed_prim_free(state);
}
