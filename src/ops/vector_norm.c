/*
 * LayerNormalization by vector instructions, rows side by side on the threads, in place if the
 * input dies. The mean is summed in double, the squares of the differences in float; both in 16
 * lanes, always in the same order.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/vector_sums.h"

#include <math.h>

typedef struct norm_state {
    int64_t rows, n;
    double epsilon;
    bool biased;
} norm_state;

typedef struct norm_job {
    const norm_state *s;
    float *y;
    const float *x, *scale, *add;
} norm_job;

ED_BODY void norm_row_body(const norm_job *job, float *y, const float *x)
{
    const int64_t n = job->s->n;
    const float *scale = job->scale, *add = job->add;
    float mean = (float)(ed_sum_of(x, n) / (double)n);
    double variance = ed_squares_of(x, n, mean) / (double)n;
    float inverse = (float)(1.0 / sqrt(variance + job->s->epsilon));
    if (add) {
        ED_INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * inverse * scale[i] + add[i];
    } else {
        ED_INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * inverse * scale[i];
    }
}
ED_CLONES_VOID(norm_row, (const norm_job *job, float *y, const float *x), (job, y, x))

static void norm_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm_job *job = ctx;
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        norm_row(job, job->y + row * job->s->n, job->x + row * job->s->n);
}

int ed_vector_norm_run(const ed_call *call)
{
    enum { GRAIN = 8192 };
    const norm_state *s = call->state;
    norm_job job = { s, call->out[0]->data, call->in[0]->data, call->in[1]->data,
                     s->biased ? call->in[2]->data : NULL };
    ed_parallel_for(s->rows, GRAIN / s->n, norm_range, &job);
    return ED_OK;
}

/* The mean and its companion are not written here. */
static bool only_first_output(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    for (uint32_t i = 1; i < node->n_out; i++)
        if (node->out[i] != ED_NONE &&
            (p->kept[node->out[i]] || ed_value_uses(&p->graph->values[node->out[i]]) > 0))
            return false;
    return true;
}

int ed_vector_norm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_layer_norm_params *params = p->params[0];
    if (!ed_plan_is_f32(p, node->in[0]))
        return ed_plan_refuse(p, "empty or not float32");
    if (!only_first_output(p))
        return ed_plan_refuse(p, "the mean is an output");
    norm_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    const ed_shape *x = &p->types[node->in[0]].shape;
    int64_t axis = params->axis < 0 ? params->axis + x->rank : params->axis;
    s->rows = s->n = 1;
    for (int i = 0; i < x->rank; i++)
        *(i < axis ? &s->rows : &s->n) *= x->dim[i];
    s->epsilon = (double)params->epsilon;
    s->biased = ed_node_in(node, 2) != ED_NONE;
    p->taken = 1;
    p->n_in = s->biased ? 3 : 2;
    for (uint32_t i = 0; i < p->n_in; i++) {
        p->in[i] = node->in[i];
        p->in_layout[i] = ED_LAYOUT_PLAIN;
    }
    p->out_layout = ED_LAYOUT_PLAIN;
    bool alone = p->layouts[node->in[0]] == ED_LAYOUT_PLAIN && node->in[0] != node->in[1] &&
                 (!s->biased || node->in[0] != node->in[2]);
    p->inplace = alone && ed_plan_dies(p, node->in[0], 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_vector_norm_free(void *state)
{
    ed_free(state);
}
