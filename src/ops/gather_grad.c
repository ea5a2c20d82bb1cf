/*
 * Gradients of reading at indices: dy is added at the places that were read.
 *
 * ed::GatherGrad(dy, indices)   {axis, input_shape}   dx[.., indices[j..], ..] += dy[.., j.., ..]
 * GatherElements, GatherND      the scattering operator with reduction add, into zeros
 *
 * Sums are in float32, in the order of the indices.
 */
#include "ops/gradient.h"
#include "ops/indices.h"

#include "base/parallel.h"

#include <string.h>

static const ed_attr_spec gather_grad_attrs[] = {
    ED_ATTR_I64_OF("axis", ed_gather_grad_params, axis, 0),
    { "input_shape", ED_KIND_INTS, offsetof(ed_gather_grad_params, input_shape), 0, NULL, true },
    { 0 },
};

/* The shape that dy has for indices of a known rank; false: too many dimensions. */
static bool gathered_shape(ed_shape *y, const ed_shape *x, const ed_shape *list, int axis)
{
    *y = (ed_shape){ .rank = x->rank - 1 + list->rank };
    if (y->rank > ED_MAX_RANK)
        return false;
    for (int i = 0; i < y->rank; i++)
        y->dim[i] = i < axis                ? x->dim[i]
                    : i < axis + list->rank ? list->dim[i - axis]
                                            : x->dim[i - list->rank + 1];
    return true;
}

static int gather_grad_infer(ed_infer *ctx)
{
    const ed_gather_grad_params *p = ctx->params;
    const ed_shape *dy = &ctx->in[0].shape, *list = &ctx->in[1].shape;
    ed_shape *x = &ctx->out[0].shape, want;
    int axis;

    ED_TRY(ed_infer_dtypes(ctx, 0, 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_I64 | 1u << ED_I32));
    ED_TRY(ed_infer_input_shape(ctx, &p->input_shape, x));
    ctx->out[0].dtype = ED_F32;
    ED_TRY(ed_infer_axis(ctx, p->axis, x->rank, &axis));
    if (dy->rank < 0 || list->rank < 0)
        return ED_OK;
    bool good = gathered_shape(&want, x, list, axis) && want.rank == dy->rank;
    for (int i = 0; good && i < dy->rank; i++)
        good = dy->dim[i] < 0 || want.dim[i] < 0 || dy->dim[i] == want.dim[i];
    if (good)
        return ED_OK;
    char a[128], b[128], c[128];
    return ed_infer_fail(ctx, ED_ESHAPE,
                         "dy of the shape %s does not belong to indices of %s into data of %s",
                         ed_shape_format(a, sizeof a, dy), ed_shape_format(b, sizeof b, list),
                         ed_shape_format(c, sizeof c, x));
}

/* ---- kernel: a unit is up to CHUNK columns of the rows behind the axis, so that no two threads
 * write one element ---- */
enum { CHUNK = 64 };

typedef struct gather_grad_job {
    const ed_tensor *indices;
    const float *dy;
    float *dx;
    int64_t size, inner, chunks;
} gather_grad_job;

static void add_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    const gather_grad_job *j = ctx;
    const int64_t count = j->indices->numel;

    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t outer = unit / j->chunks, first = unit % j->chunks * CHUNK;
        int64_t n = j->inner - first < CHUNK ? j->inner - first : CHUNK;
        float *dx = j->dx + outer * j->size * j->inner + first;
        const float *dy = j->dy + outer * count * j->inner + first;

        for (int64_t i = 0; i < j->size; i++)
            memset(dx + i * j->inner, 0, (size_t)n * sizeof *dx);
        for (int64_t k = 0; k < count; k++, dy += j->inner) {
            int64_t index = ed_tensor_get_i64(j->indices, k);
            float *to = dx + (index < 0 ? index + j->size : index) * j->inner;

            for (int64_t i = 0; i < n; i++)
                to[i] += dy[i];
        }
    }
}

static int gather_grad_forward(const ed_call *c)
{
    const ed_gather_grad_params *p = c->params;
    const ed_shape *x = &c->out[0]->shape;
    int64_t axis = p->axis < 0 ? p->axis + x->rank : p->axis, outer = 1;
    gather_grad_job job = { c->in[1], c->in[0]->data, c->out[0]->data, x->dim[axis], 1, 0 };

    ED_TRY(ed_indices_check(c->in[1], job.size));
    if (c->out[0]->numel == 0)
        return ED_OK;
    for (int i = 0; i < x->rank; i++)
        *(i < axis ? &outer : &job.inner) *= i == axis ? 1 : x->dim[i];
    job.chunks = (job.inner + CHUNK - 1) / CHUNK;
    ed_parallel_for(outer * job.chunks, 8192 / (CHUNK * job.size) + 1, add_units, &job);
    return ED_OK;
}

const ed_op ed_ops_gather_grad[] = {
    { .type = "GatherGrad",
      .domain = "ed",
      .opset = { 1, 0 },
      .arity = { 2, 2, 1 },
      .attrs = gather_grad_attrs,
      .params_size = sizeof(ed_gather_grad_params),
      .infer = gather_grad_infer,
      .forward = { ED_REFERENCE(gather_grad_forward) } },
    { 0 },
};

/* ---- gradients ---- */

int ed_grad_ungather(ed_grad *g, ed_id *out, ed_id dy, ed_id indices, int64_t axis,
                     const ed_shape *shape)
{
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = axis },
                              { .name = "input_shape",
                                .type = ED_ATTR_INTS,
                                .ints = shape->dim,
                                .count = (size_t)shape->rank },
                              { 0 } };
    return ed_grad_emit_node(g, out, 1, "ed::GatherGrad", (ed_id[]){ dy, indices }, 2, attrs);
}

int ed_gradient_gather(ed_grad *g)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    const ed_attr *axis = ed_node_attr(&g->graph->nodes[g->node], "axis");
    ed_id dx;

    ED_TRY(ed_grad_ungather(g, &dx, ed_grad_dy(g), g->in[1], axis ? axis->i : 0, &x));
    return ed_grad_give(g, 0, dx);
}

/* dy added into zeros by a scattering operator at `indices`. */
static int scatter_into_zeros(ed_grad *g, const char *type, ed_id indices, int64_t axis)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    const ed_attr attrs[] = {
        { .name = "reduction", .type = ED_ATTR_STRING, .s = { "add", 3 } },
        { .name = strcmp(type, "ScatterND") == 0 ? NULL : "axis", .type = ED_ATTR_INT, .i = axis },
        { 0 },
    };
    ed_id dx;

    ED_TRY(ed_grad_zeros(g, &dx, &x));
    ED_TRY(ed_grad_emit_node(g, &dx, 1, type, (ed_id[]){ dx, indices, ed_grad_dy(g) }, 3, attrs));
    return ed_grad_give(g, 0, dx);
}

int ed_gradient_gather_elements(ed_grad *g)
{
    const ed_attr *axis = ed_node_attr(&g->graph->nodes[g->node], "axis");
    return scatter_into_zeros(g, "ScatterElements", g->in[1], axis ? axis->i : 0);
}

/* Each tuple of indices with the coordinates of its batch in front. */
static int prepend_batch(ed_grad *g, ed_id *indices, int64_t batch)
{
    const ed_attr to[] = { { .name = "to", .type = ED_ATTR_INT, .i = 7 /* int64 */ }, { 0 } };
    ed_shape shape = *ed_grad_shape(g, *indices);
    const ed_attr axis[] = { { .name = "axis", .type = ED_ATTR_INT, .i = shape.rank - 1 }, { 0 } };
    ed_id in[2];
    ed_tensor *places;

    ED_TRY(ed_grad_emit_node(g, &in[1], 1, "Cast", indices, 1, to));
    shape.dim[shape.rank - 1] = batch;
    ED_TRY(ed_tensor_new(&places, ED_I64, &shape));
    for (int64_t i = 0; i < places->numel; i++) {
        int64_t rest = i / batch;
        for (int d = shape.rank - 2; d > i % batch; d--)
            rest /= shape.dim[d];
        ((int64_t *)places->data)[i] = rest % shape.dim[i % batch];
    }
    ED_TRY(ed_graph_add_constant_take(g->graph, &in[0], "places", places));
    return ed_grad_emit_node(g, indices, 1, "Concat", in, 2, axis);
}

int ed_gradient_gather_nd(ed_grad *g)
{
    const ed_attr *batch = ed_node_attr(&g->graph->nodes[g->node], "batch_dims");
    ed_id indices = g->in[1];

    if (batch && batch->i > 0)
        ED_TRY(prepend_batch(g, &indices, batch->i));
    return scatter_into_zeros(g, "ScatterND", indices, 0);
}
