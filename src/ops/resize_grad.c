/*
 * The gradient of Resize and Upsample: along one axis after the other every element of dy is added
 * to the positions that its output read, times their weights (resample.c).
 *
 * ed::ResizeGrad(dy)   {mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a,
 *                       exclude_outside, antialias: as of the forward operator; input_shape; and of
 *                       the axes that change: axes, scales [n], roi [2 n] begins and ends for
 *                       tf_crop_and_resize}
 *
 * Sums are in float32.
 */
#include "ops/gradient.h"
#include "ops/resize.h"
#include "ops/strided.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

/* "simple": what there was before opset 11. */
static const char *const nearests[] = {
    "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple", NULL
};

typedef struct resize_grad_params {
    ed_resize_params resize;
    ed_ints input_shape;
} resize_grad_params;

static const ed_attr_spec resize_grad_attrs[] = {
    ED_ATTR_ENUM_OF("mode", resize_grad_params, resize.mode, ed_resize_modes),
    ED_ATTR_ENUM_OF("coordinate_transformation_mode", resize_grad_params, resize.coordinates,
                    ed_resize_coordinates),
    ED_ATTR_ENUM_OF("nearest_mode", resize_grad_params, resize.nearest, nearests),
    ED_ATTR_F32_OF("cubic_coeff_a", resize_grad_params, resize.cubic_coeff, -0.75),
    ED_ATTR_I64_OF("exclude_outside", resize_grad_params, resize.exclude_outside, 0),
    ED_ATTR_I64_OF("antialias", resize_grad_params, resize.antialias, 0),
    { "axes", ED_KIND_INTS, offsetof(resize_grad_params, resize.axes), 0, NULL, true },
    { "input_shape", ED_KIND_INTS, offsetof(resize_grad_params, input_shape), 0, NULL, true },
    { 0 },
};

/* ---- the axes ---- */

/* A list of n floats, or NULL. */
static const float *floats_of(const ed_node *node, const char *name, int n)
{
    const ed_attr *attr = ed_node_attr(node, name);
    return attr && attr->type == ED_ATTR_FLOATS && attr->count == (size_t)n ? attr->floats : NULL;
}

/* What is wrong with the lists, or NULL. x and dy are known where their axes are. */
static const char *resolve(ed_resize_axis *axes, const ed_node *node, const resize_grad_params *p,
                           const ed_shape *x, const ed_shape *dy)
{
    const int n = p->resize.axes.n;
    const bool crop = p->resize.coordinates == ED_COORD_CROP;
    const float *scales = floats_of(node, "scales", n), *roi = floats_of(node, "roi", 2 * n);
    unsigned seen = 0;

    if ((n > 0 && !scales) || (n > 0 && crop && !roi) || n > x->rank)
        return "it must have one scale, and for tf_crop_and_resize two limits in roi, for each of "
               "its axes";
    for (int i = 0; i < n; i++) {
        int64_t axis = p->resize.axes.v[i];

        if (axis < 0 || axis >= x->rank || (seen & (1u << axis)))
            return "the axes must be different dimensions of the input, counted from 0";
        seen |= 1u << axis;
        axes[i] = (ed_resize_axis){ (int)axis, x->dim[axis], dy->dim[axis], scales[i], 0.0f, 1.0f };
        if (!(scales[i] >= 1.0f / ED_RESIZE_MAX_SIZE && scales[i] <= ED_RESIZE_MAX_SIZE))
            return "a scale is no positive number";
        if (axes[i].in > ED_RESIZE_MAX_SIZE || axes[i].out > ED_RESIZE_MAX_SIZE)
            return "an axis is longer than 2^24";
        if (axes[i].in == 0 && axes[i].out > 0)
            return "an axis without elements cannot have been resized to one with some";
        if (crop) {
            axes[i].begin = roi[i];
            axes[i].end = roi[n + i];
            if (!(fabsf(axes[i].begin) < 1e6f) || !(fabsf(axes[i].end) < 1e6f))
                return "roi is in parts of the axis, such as 0 to 1";
        }
    }
    for (int i = 0; i < x->rank; i++)
        if (!(seen & (1u << i)) && dy->dim[i] >= 0 && dy->dim[i] != x->dim[i])
            return "dy and input_shape differ in a dimension that is not one of the axes";
    return NULL;
}

static int resize_grad_infer(ed_infer *ctx)
{
    const resize_grad_params *p = ctx->params;
    const ed_shape *dy = &ctx->in[0].shape;
    ed_shape *x = &ctx->out[0].shape;
    ed_resize_axis axes[ED_MAX_RANK];

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    ED_TRY(ed_infer_input_shape(ctx, &p->input_shape, x));
    if (dy->rank < 0)
        return ED_OK;
    if (dy->rank != x->rank)
        return ed_infer_fail(ctx, ED_ESHAPE, "dy has rank %d, input_shape lists %d dimensions",
                             dy->rank, x->rank);
    const char *problem = resolve(axes, ctx->node, p, x, dy);
    return problem ? ed_infer_fail(ctx, ED_ESHAPE, "%s", problem) : ED_OK;
}

/* ---- kernel: one axis ---- */

typedef struct axis_job {
    const ed_resize_taps *t;
    const float *dy;
    float *dx;
    int64_t in, out, inner;
} axis_job;

static void add_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const axis_job *j = ctx;
    const ed_resize_taps *t = j->t;

    (void)thread;
    for (int64_t outer = begin; outer < end; outer++) {
        float *dx = j->dx + outer * j->in * j->inner;

        memset(dx, 0, (size_t)(j->in * j->inner) * sizeof *dx);
        for (int64_t o = 0; o < j->out; o++) {
            const float *dy = j->dy + (outer * j->out + o) * j->inner;

            for (int k = 0; !t->outside[o] && k < t->count; k++) {
                float weight = t->weight ? t->weight[o * t->count + k] : 1.0f;
                float *to = dx + t->index[o * t->count + k] * j->inner;

                for (int64_t i = 0; i < j->inner; i++)
                    to[i] += weight * dy[i];
            }
        }
    }
}

/* dy of *shape to dx, whose axis is again as long as before; *shape becomes dx's. */
static int spread_axis(float *dx, const float *dy, ed_shape *shape, const ed_resize_params *p,
                       const ed_resize_axis *a)
{
    ed_resize_taps t;
    axis_job job = { &t, dy, dx, a->in, a->out, 1 };
    int64_t outer = 1;
    int rc = ed_resize_taps_make(&t, p, a);

    for (int i = 0; i < shape->rank; i++)
        *(i < a->axis ? &outer : &job.inner) *= i == a->axis ? 1 : shape->dim[i];
    if (rc == ED_OK)
        ed_parallel_for(outer, 8192 / (a->in * job.inner + 1) + 1, add_rows, &job);
    shape->dim[a->axis] = a->in;
    ed_resize_taps_free(&t);
    return rc;
}

/* The axes from the last to the first. */
static int resize_grad_forward(const ed_call *c)
{
    const resize_grad_params *p = c->params;
    ed_resize_axis axes[ED_MAX_RANK];
    ed_shape shape = c->in[0]->shape;
    const float *from = c->in[0]->data;
    float *held = NULL; /* what the last pass wrote, unless it is dx */
    int n = p->resize.axes.n, rc = ED_OK;
    const char *problem = resolve(axes, c->node, p, &c->out[0]->shape, &shape);

    ED_FAIL_IF(problem, ED_ESHAPE, "%s", problem);
    if (c->in[0]->numel == 0 || n == 0) {
        memset(c->out[0]->data, 0, c->out[0]->nbytes);
        if (n == 0 && c->out[0]->nbytes)
            memcpy(c->out[0]->data, c->in[0]->data, c->out[0]->nbytes);
        return ED_OK;
    }
    for (int i = n - 1; i >= 0 && rc == ED_OK; i--) {
        ed_shape next = shape;
        int64_t numel = 0;
        float *to = c->out[0]->data;

        next.dim[axes[i].axis] = axes[i].in;
        rc = ed_shape_numel(&numel, &next);
        if (rc == ED_OK && i > 0)
            to = ed_aligned_alloc((size_t)numel * sizeof *to);
        if (rc == ED_OK)
            rc = to ? spread_axis(to, from, &shape, &p->resize, &axes[i]) : ED_ENOMEM;
        ed_free(held);
        held = i > 0 ? to : NULL;
        from = to;
    }
    ed_free(held);
    return rc;
}

const ed_op ed_ops_resize_grad[] = {
    { .type = "ResizeGrad",
      .domain = "ed",
      .opset = { 1, 0 },
      .arity = { 1, 1, 1 },
      .attrs = resize_grad_attrs,
      .params_size = sizeof(resize_grad_params),
      .infer = resize_grad_infer,
      .forward = { ED_REFERENCE(resize_grad_forward) } },
    { 0 },
};

/* ---- gradient ---- */

static ed_attr word(const char *name, const char *value)
{
    return (ed_attr){ .name = name, .type = ED_ATTR_STRING, .s = { value, strlen(value) } };
}

static int emit(ed_grad *g, ed_id *dx, const ed_resize_axis *axes, size_t n)
{
    const ed_resize_params *p = g->params;
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    int64_t axis[ED_MAX_RANK];
    float scales[ED_MAX_RANK], roi[2 * ED_MAX_RANK];

    for (size_t i = 0; i < n; i++) {
        axis[i] = axes[i].axis;
        scales[i] = axes[i].scale;
        roi[i] = axes[i].begin;
        roi[n + i] = axes[i].end;
    }
    const ed_attr attrs[] = {
        word("mode", ed_resize_modes[p->mode]),
        word("coordinate_transformation_mode", ed_resize_coordinates[p->coordinates]),
        word("nearest_mode", nearests[p->nearest]),
        { .name = "cubic_coeff_a", .type = ED_ATTR_FLOAT, .f = p->cubic_coeff },
        { .name = "exclude_outside", .type = ED_ATTR_INT, .i = p->exclude_outside },
        { .name = "antialias", .type = ED_ATTR_INT, .i = p->antialias },
        { .name = "axes", .type = ED_ATTR_INTS, .ints = axis, .count = n },
        { .name = "scales", .type = ED_ATTR_FLOATS, .floats = scales, .count = n },
        { .name = "roi", .type = ED_ATTR_FLOATS, .floats = roi, .count = 2 * n },
        { .name = "input_shape", .type = ED_ATTR_INTS, .ints = x.dim, .count = (size_t)x.rank },
        { 0 },
    };
    const ed_id dy = ed_grad_dy(g);
    return ed_grad_emit_node(g, dx, 1, "ed::ResizeGrad", &dy, 1, attrs);
}

int ed_gradient_resize(ed_grad *g)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    const ed_tensor *in[4] = { NULL };
    ed_resize_axis axes[ED_MAX_RANK];
    ed_id dx = ed_grad_dy(g);
    bool empty;

    for (uint32_t i = 1; i < g->n_in && i < 4; i++) {
        const ed_shape *list = g->in[i] == ED_NONE ? NULL : ed_grad_shape(g, g->in[i]);
        in[i] = ed_grad_constant(g, g->in[i]);
        if (list && !in[i] && !(list->rank == 1 && list->dim[0] == 0)) /* that stands for none */
            return ed_grad_fail(g, ED_EUNSUPPORTED,
                                "input %u is computed; its gradient needs constant sizes", i);
    }
    ED_TRY(ed_grad_empty(g, 0, &empty));
    if (empty)
        return ED_OK;
    int n = ed_resize_axes(axes, &g->graph->nodes[g->node], g->params, in, &x);
    if (n > 0)
        ED_TRY(emit(g, &dx, axes, (size_t)n));
    return ed_grad_give(g, 0, dx);
}
