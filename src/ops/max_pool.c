/*
 * MaxPool (ONNX opset 1 to 22) of float32, int8 and uint8, over 1 to 3 spatial dimensions:
 *
 *     y = the largest of the taps inside of the input, a NaN if one is NaN; the least number of the
 *         type when no tap is inside
 *     Indices = where the first largest lies in the whole of x, row by row; with storage_order 1
 *         the spatial dimensions of each plane count column by column; -1 when no tap is inside
 */
#include "ops/window.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

typedef struct max_job {
    const ed_tensor *x;
    ed_tensor *y, *indices; /* indices may be NULL */
    ed_window_axis axis[3]; /* depth, height, width */
    bool by_column;
} max_job;

int64_t ed_max_pool_place(const ed_tensor *x, const ed_window_axis a[3], int64_t plane,
                          const int64_t out[3])
{
    int64_t found = -1, at[3];
    double best = 0;

    for (int64_t k = 0; k < a[0].kernel * a[1].kernel * a[2].kernel; k++) {
        const int64_t tap[3] = { k / a[2].kernel / a[1].kernel, k / a[2].kernel % a[1].kernel,
                                 k % a[2].kernel };
        bool inside = true;

        for (int i = 0; i < 3; i++) {
            at[i] = out[i] * a[i].stride - a[i].pad + tap[i] * a[i].dilation;
            inside = inside && at[i] >= 0 && at[i] < a[i].in;
        }
        if (!inside)
            continue;
        int64_t place = (at[0] * a[1].in + at[1]) * a[2].in + at[2];
        double v = ed_tensor_get_f64(x, plane + place);
        if (found < 0 || v > best || (isnan(v) && !isnan(best))) {
            best = v;
            found = place;
        }
    }
    return found;
}

static void put_least(ed_tensor *y, int64_t o)
{
    if (y->dtype == ED_F32)
        ((float *)y->data)[o] = -INFINITY;
    else
        ((uint8_t *)y->data)[o] = y->dtype == ED_I8 ? 0x80 : 0;
}

static int64_t index_of(const max_job *j, int64_t plane, int64_t place)
{
    const int64_t depth = j->axis[0].in, height = j->axis[1].in, width = j->axis[2].in;
    const int64_t d = place / width / height, h = place / width % height, w = place % width;

    if (place < 0)
        return -1;
    return plane + (j->by_column ? (w * height + h) * depth + d : place);
}

static void max_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const max_job *j = ctx;
    const ed_window_axis *a = j->axis;
    const size_t width = ed_dtype_bits(j->x->dtype) / 8;

    (void)thread;
    for (int64_t o = begin; o < end; o++) {
        const int64_t out[3] = { o / a[2].out / a[1].out % a[0].out, o / a[2].out % a[1].out,
                                 o % a[2].out };
        int64_t plane = o / (a[0].out * a[1].out * a[2].out) * (a[0].in * a[1].in * a[2].in);
        int64_t place = ed_max_pool_place(j->x, a, plane, out);

        if (place < 0)
            put_least(j->y, o);
        else
            memcpy((char *)j->y->data + (size_t)o * width,
                   (const char *)j->x->data + (size_t)(plane + place) * width, width);
        if (j->indices)
            ((int64_t *)j->indices->data)[o] = index_of(j, plane, place);
    }
}

int ed_max_pool_forward(const ed_call *c)
{
    const ed_pool_params *p = c->params;
    max_job job = { .x = c->in[0],
                    .y = c->out[0],
                    .indices = c->n_out > 1 ? c->out[1] : NULL,
                    .by_column = p->storage_order != 0 };
    ed_window window;

    ED_TRY(ed_pool_window(&window, NULL, c->node, p, &job.x->shape));
    ed_window_axes(job.axis, &window, &job.x->shape, &job.y->shape);
    if (job.y->numel > 0)
        ed_parallel_for(job.y->numel, 64, max_range, &job);
    return ED_OK;
}
