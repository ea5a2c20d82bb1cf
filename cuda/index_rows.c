/*
 * Rows of Gather, GatherElements and GatherND. Of constant indices one outside is left to the
 * reference kernel, which tells it; of others it reads the nearest element.
 */
#include "index_rows.h"

/* ---- indices, also of the scattering rows ---- */

bool ed_cuda_indices_fit(const ed_tensor *indices, const int64_t *size, int64_t length)
{
    for (int64_t i = 0; indices && i < indices->numel; i++) {
        int64_t index = ed_tensor_get_i64(indices, i), n = size[i % length];
        if (index < -n || index >= n)
            return false;
    }
    return true;
}

ed_cuda_indices ed_cuda_indices_of(const ed_tensor *tensor)
{
    return (ed_cuda_indices){ tensor->data, tensor->dtype == ED_I64 };
}

ed_cuda_elements ed_cuda_elements_of(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]), *list = ed_cuda_shape(p, node->in[1]);
    ed_cuda_elements e = { .rank = x->rank, .axis = ed_cuda_axis(node, 0, x->rank) };
    ed_cuda_steps(e.step, x, ED_LAYOUT_PLAIN);
    memcpy(e.dim, list->dim, sizeof e.dim);
    e.size = x->dim[e.axis];
    return e;
}

/* There is something to read for every element of the output. */
static bool has_data(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    return ed_cuda_numel(p, node->in[0]) > 0 || ed_cuda_numel(p, node->out[0]) == 0;
}

/* ---- Gather, GatherND ---- */

typedef struct gathers {
    ed_cuda_gathering how;
    size_t width;
    void *table; /* the data as bfloat16, where it is a constant; else it is an input of run() */
    bool borrowed;
} gathers;

static void gather_free(void *state)
{
    gathers *s = state;
    if (s && !s->borrowed)
        cudaFree(s->table);
    ed_free(s);
}

/* The constant rounded to bfloat16, once. */
static int make_table(ed_kernel_plan *p, gathers *s, const ed_tensor *data)
{
    const gathers *other = p->shared;
    ed_tensor *half = NULL;
    if (other && other->table) {
        s->table = other->table;
        s->borrowed = true;
        return ED_OK;
    }
    ED_TRY(ed_tensor_cast(&half, data, ED_BF16));
    int rc = ed_cuda_upload(&s->table, half->data, half->nbytes);
    p->weight_bytes = half->nbytes;
    ed_tensor_free(half);
    return rc;
}

static int gather_take(ed_kernel_plan *p, const ed_cuda_gathering *how)
{
    ed_id x = p->nodes[0]->in[0];
    const ed_tensor *data = p->constants[x];
    ed_layout layout = ed_cuda_row_major(p->layouts[x]);
    bool table = data && data->dtype == ED_F32 && data->numel > 0 && ed_cuda_bf16(p->device);
    if (table)
        layout = ED_LAYOUT_PLAIN_BF16;
    gathers *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->how = *how;
    s->width = ed_cuda_width(p, x, layout);
    int rc = table ? make_table(p, s, data) : ED_OK;
    if (rc != ED_OK) {
        gather_free(s);
        return rc;
    }
    ed_cuda_read(p, 1, ED_LAYOUT_PLAIN);
    if (!table)
        ed_cuda_read(p, 0, layout);
    return ed_cuda_take(p, 1, layout, s);
}

static int gather_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    int axis = ed_cuda_axis(node, 0, x->rank);
    int64_t size = x->dim[axis], count = ed_cuda_numel(p, node->in[1]);
    if (!ed_cuda_indices_fit(ed_cuda_constant(p, 1), &size, 1) || !has_data(p))
        return ed_plan_refuse(p, "an index is outside of its axis");
    ed_cuda_gathering how = {
        .tuples = { .length = 1, .size = { size } },
        .rows = ed_cuda_span(x, 0, axis) * count,
        .per = count,
        .range = size,
        .inner = ed_cuda_span(x, axis + 1, x->rank),
        .shared = true,
    };
    return gather_take(p, &how);
}

static int nd_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]), *list = ed_cuda_shape(p, node->in[1]);
    int batch = (int)ed_cuda_attr(node, "batch_dims", 0), length = (int)list->dim[list->rank - 1];
    if (!ed_cuda_indices_fit(ed_cuda_constant(p, 1), x->dim + batch, length) || !has_data(p))
        return ed_plan_refuse(p, "an index is outside of its axis");
    ed_cuda_gathering how = {
        .tuples = { .length = length },
        .rows = ed_cuda_span(list, 0, list->rank - 1),
        .per = ed_cuda_span(list, batch, list->rank - 1),
        .range = ed_cuda_span(x, batch, batch + length),
        .inner = ed_cuda_span(x, batch + length, x->rank),
    };
    memcpy(how.tuples.size, x->dim + batch, (size_t)length * sizeof x->dim[0]);
    return gather_take(p, &how);
}

static int gather_run(const ed_call *call)
{
    const gathers *s = call->state;
    ed_cuda_gathering how = s->how;
    how.tuples.indices = ed_cuda_indices_of(call->in[0]);
    ED_CUDA_TRY(ed_cuda_gather(call->out[0]->data, s->table ? s->table : call->in[1]->data,
                               s->width, &how, ed_cuda_of(call)->stream),
                "the kernel that gathers");
    return ED_OK;
}

/* ---- GatherElements ---- */

typedef struct picks {
    ed_cuda_elements how;
    size_t width;
} picks;

static int elements_plan(ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0];
    ed_layout layout = ed_cuda_row_major(p->layouts[x]);
    ed_cuda_elements how = ed_cuda_elements_of(p);
    if (!ed_cuda_indices_fit(ed_cuda_constant(p, 1), &how.size, 1) || !has_data(p))
        return ed_plan_refuse(p, "an index is outside of its axis");
    picks *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->how = how;
    s->width = ed_cuda_width(p, x, layout);
    ed_cuda_read(p, 0, layout);
    ed_cuda_read(p, 1, ED_LAYOUT_PLAIN);
    return ed_cuda_take(p, 1, layout, s);
}

static int elements_run(const ed_call *call)
{
    const picks *s = call->state;
    ed_cuda_elements how = s->how;
    how.indices = ed_cuda_indices_of(call->in[1]);
    ED_CUDA_TRY(ed_cuda_gather_elements(call->out[0]->data, call->in[0]->data, s->width, &how,
                                        ed_cuda_of(call)->stream),
                "the kernel of GatherElements");
    return ED_OK;
}

const ed_cuda_op ed_cuda_index_ops[] = {
    { "Gather", NULL, { { "cuda", "cuda", gather_plan, gather_run, gather_free, NULL } } },
    { "GatherND", NULL, { { "cuda", "cuda", nd_plan, gather_run, gather_free, NULL } } },
    { "GatherElements", NULL, { { "cuda", "cuda", elements_plan, elements_run, ed_free, NULL } } },
    { 0 },
};
