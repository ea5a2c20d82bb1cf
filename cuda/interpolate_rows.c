/*
 * Rows of Resize and Upsample, in the order and storage in which the input lies, by the tables of
 * the reference kernel (src/ops/resample.c), which are copied to the device here.
 */
#include "lines.h"
#include "walk.h"

#include "ops/resize.h"

#include <string.h>

typedef struct resize_state {
    ed_cuda_resize resize;
    size_t width;               /* of an element */
    bool weighted;              /* sums of float32 or bfloat16 elements; else elements are picked */
    void *tables[ED_WALK_RANK]; /* of each axis, on the device */
} resize_state;

static void resize_free(void *state)
{
    resize_state *s = state;
    for (int k = 0; s && k < s->resize.n; k++)
        cudaFree(s->tables[k]);
    ed_free(s);
}

/* ---- tables ---- */
/* Copy the table of axis k, index, weight, outside behind each other, and point to them. */
static int upload_taps(resize_state *s, int k, const ed_resize_taps *t, int64_t out)
{
    const size_t n = (size_t)out * (size_t)t->count;
    const size_t weight = n * sizeof(int32_t);
    const size_t outside = weight + (t->weight ? n * sizeof(float) : 0);
    ed_cuda_taps *to = &s->resize.taps[k];
    bool any = false;
    char *host = ed_calloc(outside + (size_t)out, 1);
    if (!host)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++)
        ((int32_t *)host)[i] = (int32_t)t->index[i];
    if (t->weight)
        memcpy(host + weight, t->weight, n * sizeof(float));
    for (int64_t o = 0; o < out; o++) {
        host[outside + (size_t)o] = (char)t->outside[o];
        any = any || t->outside[o];
    }
    int rc = ed_cuda_upload(&s->tables[k], host, outside + (size_t)out);
    ed_free(host);
    if (rc != ED_OK)
        return rc;
    const char *device = s->tables[k];
    to->count = t->count;
    to->index = (const int32_t *)device;
    to->weight = t->weight ? (const float *)(device + weight) : NULL;
    to->outside = any ? (const uint8_t *)(device + outside) : NULL;
    return ED_OK;
}

static int make_tables(resize_state *s, const ed_resize_params *params, const ed_resize_axis *axes)
{
    int rc = ED_OK;
    for (int k = 0; rc == ED_OK && k < s->resize.n; k++) {
        ed_resize_taps t;
        rc = ed_resize_taps_make(&t, params, &axes[k]);
        if (rc == ED_OK)
            rc = upload_taps(s, k, &t, axes[k].out);
        ed_resize_taps_free(&t);
    }
    return rc;
}

/* ---- shapes ---- */
/* Append dimension d of y behind the present ones; what stays as it is becomes one with its
 * neighbour. `step` is that of x. */
static void add_dimension(ed_cuda_resize *r, int64_t dim, int64_t step, int axis)
{
    const int last = r->rank - 1;
    if (axis < 0 && dim == 1)
        return;
    if (axis < 0 && last >= 0 && r->axis[last] < 0 && r->step[last] == step * dim) {
        r->dim[last] *= dim;
        r->step[last] = step;
        return;
    }
    r->dim[r->rank] = dim;
    r->step[r->rank] = step;
    r->axis[r->rank++] = axis;
}

static void set_dimensions(ed_cuda_resize *r, const ed_shape *x, const ed_shape *y,
                           ed_layout layout, const ed_resize_axis *axes)
{
    int64_t step[ED_MAX_RANK];
    bool nhwc = x->rank >= 3 && ed_cuda_is_nhwc(layout);
    ed_cuda_steps(step, x, layout);
    for (int i = 0; i < x->rank; i++) {
        int d = !nhwc || i == 0 ? i : i + 1 < x->rank ? i + 1 : 1; /* channels are last */
        int axis = r->n - 1;
        while (axis >= 0 && axes[axis].axis != d)
            axis--;
        if (axis >= 0)
            r->taps[axis].step = step[d];
        add_dimension(r, y->dim[d], step[d], axis);
    }
    if (r->rank == 0) { /* one element */
        r->rank = 1;
        r->dim[0] = r->step[0] = 1;
        r->axis[0] = -1;
    }
    r->outputs = ed_cuda_span(y, 0, y->rank);
    r->inputs = ed_cuda_span(x, 0, x->rank);
}

/* ---- the row ---- */
/* The node's inputs but x; false when one that says how to resize is not constant. */
static bool constants(const ed_tensor *in[4], const ed_kernel_plan *p)
{
    for (uint32_t i = 1; i < 4; i++) {
        ed_id value = ed_node_in(p->nodes[0], i);
        in[i] = ed_cuda_constant(p, i);
        if (value != ED_NONE && !in[i] && ed_cuda_numel(p, value) > 0)
            return false;
    }
    return true;
}

static int resize_plan(ed_kernel_plan *p)
{
    const ed_resize_params *params = p->params[0];
    ed_id x = p->nodes[0]->in[0];
    const ed_shape *shape = ed_cuda_shape(p, x);
    const ed_tensor *in[4] = { NULL };
    ed_layout layout = p->layouts[x];
    ed_resize_axis axes[ED_MAX_RANK];
    if (!constants(in, p))
        return ed_plan_refuse(p, "scales or sizes that are not constant");
    int n = ed_resize_axes(axes, p->nodes[0], params, in, shape);
    bool weighted = params->mode != ED_RESIZE_NEAREST || params->coordinates == ED_COORD_CROP;
    if (weighted && n > ED_CUDA_RESIZE_WEIGHED)
        return ed_plan_refuse(p, "more than 4 axes with weights");
    resize_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->width = ed_cuda_width(p, x, layout);
    s->weighted = weighted && n > 0;
    s->resize.n = n;
    s->resize.extrapolation = params->extrapolation;
    set_dimensions(&s->resize, shape, ed_cuda_shape(p, p->nodes[0]->out[0]), layout, axes);
    int rc = s->resize.outputs ? make_tables(s, params, axes) : ED_OK;
    if (rc != ED_OK) {
        resize_free(s);
        return rc;
    }
    ed_cuda_read(p, 0, layout);
    return ed_cuda_take(p, 1, layout, s);
}

static int resize_run(const ed_call *call)
{
    const resize_state *s = call->state;
    const void *x = call->in[0]->data;
    void *y = call->out[0]->data;
    cudaStream_t stream = ed_cuda_of(call)->stream;
    if (s->weighted)
        ED_CUDA_TRY(ed_cuda_resample(y, x, s->width == 2, &s->resize, stream),
                    "the kernel of Resize");
    else
        ED_CUDA_TRY(ed_cuda_pick(y, x, s->width, &s->resize, stream), "the kernel of Resize");
    return ED_OK;
}

const ed_cuda_op ed_cuda_resize_ops[] = {
    { "Resize", NULL, { ED_CUDA_ROW(resize) } },
    { "Upsample", NULL, { ED_CUDA_ROW(resize) } },
    { 0 },
};
