/*
 * Concat of channels in the layout of the first input: whole channel blocks of each sample are
 * copied (blocked), or the channels of each position (NHWC). A blocked input that does not end with
 * a whole block can only be the last one.
 */
#include "ops/fast.h"
#include "base/parallel.h"

#include <string.h>

typedef struct concat_state {
    ed_layout layout;
    uint32_t n_in;
    int64_t samples;            /* rows to copy: N, or N positions in NHWC */
    size_t bytes[ED_CALL_MAX];  /* of each input in one row */
    size_t offset[ED_CALL_MAX]; /* within the output's row */
    size_t row;                 /* of the output */
} concat_state;

typedef struct concat_job {
    const concat_state *s;
    const ed_call *call;
} concat_job;

static void concat_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const concat_job *job = ctx;
    const concat_state *s = job->s;
    (void)thread;
    for (uint32_t i = 0; i < s->n_in; i++) {
        const char *x = job->call->in[i]->data;
        char *y = (char *)job->call->out[0]->data + s->offset[i];
        for (int64_t r = begin; r < end; r++)
            memcpy(y + (size_t)r * s->row, x + (size_t)r * s->bytes[i], s->bytes[i]);
    }
}

int ed_layout_concat_run(const ed_call *call)
{
    const concat_state *s = call->state;
    concat_job job = { s, call };
    ed_parallel_for(s->samples, (int64_t)(32768 / s->row) + 1, concat_range, &job);
    return ED_OK;
}

static bool concatenates_channels(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *x = &p->types[node->in[0]].shape, *y = &p->types[node->out[0]].shape;
    const ed_attr *axis = ed_node_attr(node, "axis");
    int64_t a = axis ? axis->i : 1;
    return x->rank >= 3 && (a < 0 ? a + x->rank : a) == 1 && y->rank == x->rank;
}

static const char *refusal(const ed_kernel_plan *p, ed_layout layout)
{
    const ed_node *node = p->nodes[0];
    if (layout == ED_LAYOUT_PLAIN)
        return "the input is plain";
    for (uint32_t i = 0; i < node->n_in; i++) {
        if (!ed_plan_is_f32(p, node->in[i]) || p->constants[node->in[i]])
            return "empty, constant, or not float32";
        if (i + 1 < node->n_in && p->types[node->in[i]].shape.dim[1] % ed_layout_block(layout))
            return "an input ends within a channel block";
    }
    return NULL;
}

int ed_layout_concat_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    if (node->n_in > ED_CALL_MAX || !concatenates_channels(p))
        return ed_plan_refuse(p, "not the channel axis, or too many inputs");
    ed_layout layout = p->layouts[node->in[0]];
    const char *reason = refusal(p, layout);
    if (reason)
        return ed_plan_refuse(p, reason);
    concat_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    bool nhwc = layout == ED_LAYOUT_CHANNELS_LAST;
    s->n_in = node->n_in;
    for (uint32_t i = 0; i < node->n_in; i++) {
        ed_grid grid = ed_grid_of(layout, &p->types[node->in[i]].shape);
        s->samples = nhwc ? grid.n * grid.s : grid.n;
        s->offset[i] = s->row;
        s->bytes[i] = (size_t)(grid.g * grid.b * (nhwc ? 1 : grid.s)) * sizeof(float);
        s->row += s->bytes[i];
        p->in[i] = node->in[i];
        p->in_layout[i] = layout;
    }
    p->taken = 1;
    p->n_in = node->n_in;
    p->out_layout = layout;
    p->state = s;
    return ED_OK;
}

void ed_layout_concat_free(void *state)
{
    ed_free(state);
}
