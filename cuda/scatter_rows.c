/*
 * Rows of ScatterND, ScatterElements and Scatter. Of constant indices one outside is left to the
 * reference kernel, which tells it; of others it changes nothing.
 */
#include "index_rows.h"

typedef struct scatters {
    ed_cuda_scattering how;
    ed_cuda_tuples tuples;     /* ScatterND */
    ed_cuda_elements elements; /* the others */
    size_t width;
} scatters;

static ed_scatter reduction_of(const ed_node *node)
{
    static const char *const words[] = { "none", "add", "mul", "max", "min" };
    const ed_attr *attr = ed_node_attr(node, "reduction");
    for (int i = 0; attr && i < (int)ED_LENGTH(words); i++)
        if (strcmp(attr->s.data, words[i]) == 0)
            return (ed_scatter)i;
    return ED_SCATTER_REPLACE;
}

/* The storage of the data, or of the updates where the data is a constant; sums are of float32. */
static ed_layout storage(const ed_kernel_plan *p, ed_scatter combine)
{
    const ed_node *node = p->nodes[0];
    if (combine != ED_SCATTER_REPLACE)
        return ED_LAYOUT_PLAIN;
    return ed_cuda_row_major(p->layouts[p->constants[node->in[0]] ? node->in[2] : node->in[0]]);
}

/* The output may lie in the data's memory: nobody else reads that, these kernels included. */
static bool may_overwrite(const ed_kernel_plan *p, ed_layout layout)
{
    const ed_node *node = p->nodes[0];
    ed_id data = ed_plan_memory(p, node->in[0]);
    return p->layouts[node->in[0]] == layout && ed_plan_dies(p, node->in[0], 1) &&
           data != ed_plan_memory(p, node->in[1]) && data != ed_plan_memory(p, node->in[2]);
}

static int take(ed_kernel_plan *p, scatters *s)
{
    const ed_node *node = p->nodes[0];
    ed_layout layout = storage(p, s->how.combine);
    if (s->how.rows > INT32_MAX || s->how.updates > INT32_MAX)
        return ed_plan_refuse(p, "more than 2^31 places");
    s->how.type = (int)p->types[node->in[0]].dtype;
    s->width = ed_cuda_width(p, node->in[0], layout);
    scatters *state = ed_malloc(sizeof *state);
    if (!state)
        return ED_ENOMEM;
    *state = *s;
    ed_cuda_read(p, 0, layout);
    ed_cuda_read(p, 1, ED_LAYOUT_PLAIN);
    ed_cuda_read(p, 2, layout);
    p->inplace = may_overwrite(p, layout) ? 0 : -1;
    p->scratch = ed_cuda_scatter_scratch(&s->how);
    return ed_cuda_take(p, 1, layout, state);
}

/* ---- ScatterND ---- */

static int nd_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *y = ed_cuda_shape(p, node->out[0]), *list = ed_cuda_shape(p, node->in[1]);
    int length = (int)list->dim[list->rank - 1];
    scatters s = { .tuples = { .length = length } };
    if (length > 0 && !ed_cuda_indices_fit(ed_cuda_constant(p, 1), y->dim, length))
        return ed_plan_refuse(p, "an index is outside of its axis");
    memcpy(s.tuples.size, y->dim, sizeof s.tuples.size);
    s.how.combine = reduction_of(node);
    s.how.rows = ed_cuda_span(y, 0, length);
    s.how.inner = ed_cuda_span(y, length, y->rank);
    s.how.updates = ed_cuda_span(list, 0, list->rank - 1);
    return take(p, &s);
}

static int nd_run(const ed_call *call)
{
    const scatters *s = call->state;
    ed_cuda_tuples tuples = s->tuples;
    tuples.indices = ed_cuda_indices_of(call->in[1]);
    ED_CUDA_TRY(ed_cuda_scatter_tuples(call->out[0]->data, call->in[0]->data, call->in[2]->data,
                                       s->width, &s->how, &tuples, call->scratch,
                                       ed_cuda_of(call)->stream),
                "the kernel of ScatterND");
    return ED_OK;
}

/* ---- ScatterElements, Scatter ---- */

static int elements_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    scatters s = { .elements = ed_cuda_elements_of(p) };
    if (!ed_cuda_indices_fit(ed_cuda_constant(p, 1), &s.elements.size, 1))
        return ed_plan_refuse(p, "an index is outside of its axis");
    s.how.combine = reduction_of(node);
    s.how.rows = ed_cuda_numel(p, node->out[0]);
    s.how.inner = 1;
    s.how.updates = ed_cuda_numel(p, node->in[1]);
    return take(p, &s);
}

static int elements_run(const ed_call *call)
{
    const scatters *s = call->state;
    ed_cuda_elements elements = s->elements;
    elements.indices = ed_cuda_indices_of(call->in[1]);
    ED_CUDA_TRY(ed_cuda_scatter_elements(call->out[0]->data, call->in[0]->data, call->in[2]->data,
                                         s->width, &s->how, &elements, call->scratch,
                                         ed_cuda_of(call)->stream),
                "the kernel of ScatterElements");
    return ED_OK;
}

#define SCATTER_ROW(name)                                                                          \
    {                                                                                              \
        "cuda", "cuda", name##_plan, name##_run, ed_free, NULL                                     \
    }

const ed_cuda_op ed_cuda_scatter_ops[] = {
    { "ScatterND", NULL, { SCATTER_ROW(nd) } },
    { "ScatterElements", NULL, { SCATTER_ROW(elements) } },
    { "Scatter", NULL, { SCATTER_ROW(elements) } },
    { 0 },
};
