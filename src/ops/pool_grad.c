/*
 * Gradients of pooling, float32, with the attributes of the forward operator:
 *
 * ed::MaxPoolGrad(dy, x)       dx = dy at the first largest tap of each window, summed
 * ed::AveragePoolGrad(dy, x)   dx = dy / count at every tap inside of the input, summed; of x the
 *                              shape and the layout matter, not the elements
 *
 * The global forms are windows as large as the input.
 */
#include "ops/fast.h"
#include "ops/gradient.h"
#include "ops/window.h"

#include "base/parallel.h"

#include <string.h>

static int pool_grad_infer(ed_infer *ctx)
{
    const ed_shape *dy = &ctx->in[0].shape, *x = &ctx->in[1].shape;
    ed_shape y;
    char a[128], b[128];
    bool good;

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0] = (ed_type){ ED_F32, *x };
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(ed_pool_shape(&y, ctx, x));
    good = dy->rank < 0 || dy->rank == y.rank;
    for (int i = 0; good && i < dy->rank; i++)
        good = dy->dim[i] < 0 || y.dim[i] < 0 || dy->dim[i] == y.dim[i];
    if (good)
        return ED_OK;
    return ed_infer_fail(ctx, ED_ESHAPE, "dy has the shape %s; the pooled input has %s",
                         ed_shape_format(a, sizeof a, dy), ed_shape_format(b, sizeof b, &y));
}

/* ---- reference kernels: one unit is the plane of one channel ---- */

typedef struct plane_job {
    const ed_tensor *x; /* NULL: the average */
    const float *dy;
    float *dx;
    ed_pool_axes axes;
} plane_job;

static void add_average(const plane_job *j, float *dx, float dy, const int64_t out[3])
{
    const ed_window_axis *a = j->axes.axis;
    int64_t count = 1;

    for (int i = 0; i < 3; i++)
        count *= ed_pool_divisor(&j->axes, i, out[i]);
    for (int64_t k = 0; k < a[0].kernel * a[1].kernel * a[2].kernel; k++) {
        const int64_t tap[3] = { k / a[2].kernel / a[1].kernel, k / a[2].kernel % a[1].kernel,
                                 k % a[2].kernel };
        int64_t place = 0;
        bool inside = true;

        for (int i = 0; i < 3; i++) {
            int64_t at = out[i] * a[i].stride - a[i].pad + tap[i] * a[i].dilation;

            inside = inside && at >= 0 && at < a[i].in;
            place = place * a[i].in + at;
        }
        if (inside)
            dx[place] += dy / (float)count;
    }
}

static void plane_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const plane_job *j = ctx;
    const ed_window_axis *a = j->axes.axis;
    const int64_t from = a[0].in * a[1].in * a[2].in, to = a[0].out * a[1].out * a[2].out;

    (void)thread;
    memset(j->dx + begin * from, 0, (size_t)((end - begin) * from) * sizeof *j->dx);
    for (int64_t plane = begin; plane < end; plane++) {
        float *dx = j->dx + plane * from;

        for (int64_t o = 0; o < to; o++) {
            const int64_t out[3] = { o / a[2].out / a[1].out, o / a[2].out % a[1].out,
                                     o % a[2].out };
            float dy = j->dy[plane * to + o];
            int64_t place;

            if (!j->x)
                add_average(j, dx, dy, out);
            else if ((place = ed_max_pool_place(j->x, a, plane * from, out)) >= 0)
                dx[place] += dy;
        }
    }
}

static int pool_grad_forward(const ed_call *c, bool max)
{
    plane_job job = { .x = max ? c->in[1] : NULL, .dy = c->in[0]->data, .dx = c->out[0]->data };
    const ed_shape *x = &c->out[0]->shape;

    ED_TRY(ed_pool_axes_of(&job.axes, c->node, c->params, x, &c->in[0]->shape));
    if (c->out[0]->numel > 0)
        ed_parallel_for(x->dim[0] * x->dim[1], 1, plane_range, &job);
    return ED_OK;
}

static int max_pool_grad_forward(const ed_call *c)
{
    return pool_grad_forward(c, true);
}

static int average_pool_grad_forward(const ed_call *c)
{
    return pool_grad_forward(c, false);
}

#define POOL_GRAD_ROW(name, forward_fn)                                                            \
    {                                                                                              \
        .type = name, .domain = "ed", .opset = { 1, 0 }, .arity = { 2, 2, 1 },                     \
        .attrs = ed_pool_attrs, .params_size = sizeof(ed_pool_params), .infer = pool_grad_infer,   \
        .forward = {                                                                               \
            ED_FAST_ROW(ed_layout_pool_grad),                                                      \
            ED_REFERENCE(forward_fn)                                                               \
        }                                                                                          \
    }

const ed_op ed_ops_pool_grad[] = {
    POOL_GRAD_ROW("MaxPoolGrad", max_pool_grad_forward),
    POOL_GRAD_ROW("AveragePoolGrad", average_pool_grad_forward),
    { 0 },
};

/* ---- gradients ---- */

static int give_window(ed_grad *g, const char *type)
{
    ed_id dx, in[2] = { ed_grad_dy(g), g->in[0] };

    ED_TRY(ed_grad_emit_like(g, &dx, type, in, 2));
    return ed_grad_give(g, 0, dx);
}

int ed_gradient_max_pool(ed_grad *g)
{
    return give_window(g, "ed::MaxPoolGrad");
}

int ed_gradient_average_pool(ed_grad *g)
{
    return give_window(g, "ed::AveragePoolGrad");
}

/* More than three spatial dimensions are seen as one. */
static int give_global(ed_grad *g, const char *type)
{
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    ed_shape view = x, pooled;
    ed_id dx, in[2];
    bool empty;

    ED_TRY(ed_grad_empty(g, 0, &empty));
    if (empty)
        return ED_OK;
    if (view.rank > 5) {
        view = ED_SHAPE(x.dim[0], x.dim[1], 1);
        for (int i = 2; i < x.rank; i++)
            view.dim[2] *= x.dim[i];
    }
    pooled = view;
    for (int i = 2; i < view.rank; i++)
        pooled.dim[i] = 1;
    const ed_attr attrs[] = { { .name = "kernel_shape",
                                .type = ED_ATTR_INTS,
                                .ints = view.dim + 2,
                                .count = (size_t)view.rank - 2 },
                              { 0 } };
    ED_TRY(ed_grad_reshape(g, &in[0], ed_grad_dy(g), &pooled));
    ED_TRY(ed_grad_reshape(g, &in[1], g->in[0], &view));
    ED_TRY(ed_grad_emit_node(g, &dx, 1, type, in, 2, attrs));
    ED_TRY(ed_grad_reshape(g, &dx, dx, &x));
    return ed_grad_give(g, 0, dx);
}

int ed_gradient_global_average(ed_grad *g)
{
    return give_global(g, "ed::AveragePoolGrad");
}

int ed_gradient_global_max(ed_grad *g)
{
    return give_global(g, "ed::MaxPoolGrad");
}
