/*
 * Rows of LayerNormalization, InstanceNormalization and GroupNormalization: row-major, in the
 * storage in which the input lies.
 */
#include "lines.h"

typedef struct norm_state {
    ed_cuda_norm norm;
    bool bf16;
} norm_state;

/* A row has n elements, in runs of `run` neighbours; `norm` says the rest. */
static int norm_take(ed_kernel_plan *p, ed_cuda_norm norm, int64_t n, int64_t run)
{
    const ed_node *node = p->nodes[0];
    ed_layout layout = ed_cuda_row_major(p->layouts[node->in[0]]);
    bool plain = ed_cuda_more_outputs(p), bf16 = !plain && ed_layout_element(layout) == 2;
    if (n > ED_LINE_MAX)
        return ed_plan_refuse(p, "rows of more than 2^30 elements");
    norm.rows = n ? ed_cuda_numel(p, node->in[0]) / n : 0;
    norm.n = (int)n;
    norm.run = (int)run;
    norm_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = (norm_state){ norm, bf16 };
    p->scratch = ed_cuda_norm_scratch(&norm, bf16);
    if (plain)
        return ed_cuda_take_plain(p, s);
    ed_cuda_read(p, 0, layout);
    for (uint32_t i = 1; i < node->n_in; i++)
        if (node->in[i] != ED_NONE)
            ed_cuda_read(p, i, ED_LAYOUT_PLAIN);
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static int layer_norm_plan(ed_kernel_plan *p)
{
    const ed_layer_norm_params *params = p->params[0];
    const ed_shape *x = ed_cuda_shape(p, p->nodes[0]->in[0]);
    int axis = (int)(params->axis < 0 ? params->axis + x->rank : params->axis);
    int64_t n = ed_cuda_span(x, axis, x->rank);
    ed_cuda_norm norm = { .period = 1, .mode = ED_CUDA_NORM_ELEMENT, .epsilon = params->epsilon };
    return norm_take(p, norm, n, n);
}

static float epsilon_of(const ed_node *node)
{
    const ed_attr *attr = ed_node_attr(node, "epsilon");
    return attr ? attr->f : 1e-5f;
}

static int instance_norm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    int64_t n = ed_cuda_span(x, 2, x->rank);
    ed_cuda_norm norm = { .period = (int)x->dim[1],
                          .mode = ED_CUDA_NORM_ROW,
                          .epsilon = epsilon_of(node) };
    if (x->dim[1] > ED_LINE_MAX)
        return ed_plan_refuse(p, "more than 2^30 channels");
    return norm_take(p, norm, n, n);
}

/* Scale and bias are one a group before opset 21, one a channel since then. */
static int group_norm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    int64_t groups = ed_cuda_attr(node, "num_groups", 1), space = ed_cuda_span(x, 2, x->rank);
    bool one = ed_graph_opset(p->graph, node->domain) < 21;
    ed_cuda_norm norm = { .period = (int)groups,
                          .mode = one ? ED_CUDA_NORM_ROW : ED_CUDA_NORM_RUN,
                          .epsilon = epsilon_of(node) };
    if (groups > ED_LINE_MAX)
        return ed_plan_refuse(p, "more than 2^30 groups");
    return norm_take(p, norm, x->dim[1] / groups * space, space);
}

static float *output(const ed_call *call, uint32_t i)
{
    return i < call->n_out && call->out[i] ? call->out[i]->data : NULL;
}

static int norm_run(const ed_call *call)
{
    const norm_state *s = call->state;
    const float *bias = call->n_in > 2 && call->in[2] ? call->in[2]->data : NULL;
    ED_CUDA_TRY(ed_cuda_normalize(call->out[0]->data, call->in[0]->data, s->bf16, &s->norm,
                                  call->in[1]->data, bias, output(call, 1), output(call, 2),
                                  call->scratch, ed_cuda_of(call)->stream),
                "the kernel of a normalization");
    return ED_OK;
}

static void norm_free(void *state)
{
    ed_free(state);
}

#define NORM_ROW(plan)                                                                             \
    {                                                                                              \
        "cuda", "cuda", plan, norm_run, norm_free, NULL                                            \
    }
const ed_cuda_op ed_cuda_norm_ops[] = {
    { "LayerNormalization", NULL, { NORM_ROW(layer_norm_plan) } },
    { "InstanceNormalization", NULL, { NORM_ROW(instance_norm_plan) } },
    { "GroupNormalization", NULL, { NORM_ROW(group_norm_plan) } },
    { 0 },
};
