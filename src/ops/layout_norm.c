/*
 * BatchNormalization (inference) that no pass folded, in any layout: y = (x - mean) * gain + b with
 * gain = scale / sqrt(var + epsilon), per channel. In place when the input dies.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"

#include <math.h>

typedef struct norm_state {
    ed_grid grid;
    float *mean, *gain, *add; /* [g * b] each, one allocation; zero in the padding */
} norm_state;

typedef struct norm_job {
    const norm_state *s;
    float *y;
    const float *x;
} norm_job;

ED_BODY void scale_vector_body(float *y, const float *x, const float *mean, const float *gain,
                               const float *add, int64_t n)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean[i]) * gain[i] + add[i];
}
ED_CLONES_VOID(scale_vector,
               (float *y, const float *x, const float *mean, const float *gain, const float *add,
                int64_t n),
               (y, x, mean, gain, add, n))

ED_BODY void scale_plane_body(float *y, const float *x, float mean, float gain, float add,
                              int64_t n)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * gain + add;
}
ED_CLONES_VOID(scale_plane,
               (float *y, const float *x, float mean, float gain, float add, int64_t n),
               (y, x, mean, gain, add, n))

static void norm_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm_job *job = ctx;
    const norm_state *st = job->s;
    const ed_grid *grid = &st->grid;
    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t c = unit % grid->g * grid->b, at = unit * grid->s * grid->b;
        if (grid->b == 1) {
            scale_plane(job->y + at, job->x + at, st->mean[c], st->gain[c], st->add[c], grid->s);
            continue;
        }
        for (int64_t s = 0; s < grid->s; s++, at += grid->b)
            scale_vector(job->y + at, job->x + at, st->mean + c, st->gain + c, st->add + c,
                         grid->b);
    }
}

int ed_layout_norm_run(const ed_call *call)
{
    enum { GRAIN = 8192 };
    const norm_state *s = call->state;
    norm_job job = { s, call->out[0]->data, call->in[0]->data };
    ed_parallel_for(s->grid.n * s->grid.g, GRAIN / (s->grid.s * s->grid.b) + 1, norm_range, &job);
    return ED_OK;
}

int ed_layout_norm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_batch_norm_params *params = p->params[0];
    const float *constant[5] = { NULL };
    ed_id x = node->in[0];
    if (!ed_plan_is_f32(p, x) || params->training_mode || node->n_out > 1)
        return ed_plan_refuse(p, "empty, not float32, or in training");
    for (uint32_t i = 1; i < 5; i++) {
        if (!p->constants[node->in[i]])
            return ed_plan_refuse(p, "parameters are not constant");
        constant[i] = p->constants[node->in[i]]->data;
    }
    norm_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ed_layout layout = p->layouts[x];
    s->grid = ed_grid_of(layout, &p->types[x].shape);
    int64_t width = s->grid.g * s->grid.b;
    s->mean = ed_calloc((size_t)width * 3, sizeof(float));
    if (!s->mean) {
        ed_free(s);
        return ED_ENOMEM;
    }
    s->gain = s->mean + width;
    s->add = s->gain + width;
    for (int64_t c = 0; c < s->grid.channels; c++) {
        s->mean[c] = constant[3][c];
        s->gain[c] =
            (float)(constant[1][c] / sqrt((double)constant[4][c] + (double)params->epsilon));
        s->add[c] = constant[2][c];
    }
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = p->out_layout = layout;
    p->inplace = ed_plan_dies(p, x, 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_layout_norm_free(void *state)
{
    norm_state *s = state;
    if (!s)
        return;
    ed_free(s->mean);
    ed_free(s);
}
