/* Rows of Softmax and LogSoftmax: in the order and storage in which the input lies. */
#include "lines.h"

#include <string.h>

typedef struct softmax_state {
    ed_lines lines;
    bool bf16, log;
} softmax_state;

static int softmax_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_softmax_params *params = p->params[0];
    const ed_shape *shape = ed_cuda_shape(p, node->in[0]);
    int axis = (int)(params->axis < 0 ? params->axis + shape->rank : params->axis);
    ed_layout layout = p->layouts[node->in[0]];
    softmax_state now = { .bf16 = ed_layout_element(layout) == 2,
                          .log = strcmp(node->op_type, "LogSoftmax") == 0 };
    if (ed_graph_opset(p->graph, node->domain) < 13) { /* all from the axis on is one line */
        layout = axis < 2 ? layout : ed_cuda_row_major(layout);
        ed_softmax_dims(&now.lines.outer, &now.lines.n, &now.lines.inner, params, shape, true);
    } else {
        now.lines = ed_cuda_lines(shape, layout, axis);
    }
    if (now.lines.n > ED_LINE_MAX)
        return ed_plan_refuse(p, "lines of more than 2^30 elements");
    softmax_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    ed_cuda_read(p, 0, layout);
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static int softmax_run(const ed_call *call)
{
    const softmax_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_softmax(call->out[0]->data, call->in[0]->data, s->bf16, &s->lines, s->log,
                                ed_cuda_of(call)->stream),
                "the kernel of Softmax");
    return ED_OK;
}

static void softmax_free(void *state)
{
    ed_free(state);
}

const ed_cuda_op ed_cuda_softmax_ops[] = {
    { "Softmax", NULL, { ED_CUDA_ROW(softmax) } },
    { "LogSoftmax", NULL, { ED_CUDA_ROW(softmax) } },
    { 0 },
};
