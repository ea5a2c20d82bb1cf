/*
 * The mean or sum over all spatial positions, read in any layout: GlobalAveragePool, ReduceMean and
 * ReduceSum over the axes 2, 3, ... The result has one number per channel and is written plain.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"

#include <string.h>

typedef struct mean_job {
    ed_grid grid;
    const float *x;
    float *y;
    double divisor;
} mean_job;

/* sum[i] += the sum over s of x[s][i]; eight rows of the picture at most go into a float before the
 * sum in double is updated, so that large pictures lose nothing. */
ED_BODY void sum_rows_body(double *sum, const float *x, int64_t s, int64_t b)
{
    enum { ROWS = 8 };
    for (int64_t begin = 0; begin < s; begin += ROWS) {
        int64_t end = begin + ROWS < s ? begin + ROWS : s;
        for (int64_t i = 0; i < b; i++) {
            float part = 0;
            for (int64_t r = begin; r < end; r++)
                part += x[r * b + i];
            sum[i] += part;
        }
    }
}
ED_CLONES_VOID(sum_rows, (double *sum, const float *x, int64_t s, int64_t b), (sum, x, s, b))

ED_BODY double sum_plane_body(const float *x, int64_t s)
{
    enum { LANES = 16 };
    double lane[LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= s; i += LANES)
        for (int64_t k = 0; k < LANES; k++)
            lane[k] += x[i + k];
    for (int64_t k = 0; k < LANES; k++)
        sum += lane[k];
    for (; i < s; i++)
        sum += x[i];
    return sum;
}
ED_CLONES(double, sum_plane, (const float *x, int64_t s), (x, s))

/* One unit is up to CHUNK channels of one block of one sample. */
enum { CHUNK = 64 };

static void mean_block(const mean_job *job, int64_t n, int64_t g, int64_t begin)
{
    const ed_grid *grid = &job->grid;
    double sum[CHUNK] = { 0 };
    const float *x = job->x + (n * grid->g + g) * grid->s * grid->b;
    float *y = job->y + n * grid->channels + g * grid->b + begin;
    int64_t left = grid->channels - g * grid->b - begin;
    int64_t width = grid->b - begin < CHUNK ? grid->b - begin : CHUNK;
    int64_t used = left < width ? left : width;
    if (grid->b == 1) {
        y[0] = (float)(sum_plane(x, grid->s) / job->divisor);
        return;
    }
    if (width == grid->b) {
        sum_rows(sum, x, grid->s, width);
    } else {
        for (int64_t s = 0; s < grid->s; s++)
            for (int64_t i = 0; i < width; i++)
                sum[i] += x[s * grid->b + begin + i];
    }
    for (int64_t i = 0; i < used; i++)
        y[i] = (float)(sum[i] / job->divisor);
}

static void mean_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const mean_job *job = ctx;
    int64_t chunks = (job->grid.b + CHUNK - 1) / CHUNK;
    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t block = unit / chunks;
        mean_block(job, block / job->grid.g, block % job->grid.g, unit % chunks * CHUNK);
    }
}

/* The axes are exactly 2, 3, ... */
static bool reduces_space(const ed_kernel_plan *p, int rank)
{
    const ed_reduce_params *params = p->params[0];
    ed_id axes_id = ed_node_in(p->nodes[0], 1);
    const ed_tensor *axes = axes_id == ED_NONE ? NULL : p->constants[axes_id];
    int64_t n = axes ? axes->numel : params->axes.n;
    unsigned seen = 0;
    if ((axes_id != ED_NONE && !axes) || n != rank - 2)
        return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = axes ? ed_tensor_get_i64(axes, i) : params->axes.v[i];
        axis += axis < 0 ? rank : 0;
        if (axis < 2 || axis >= rank)
            return false;
        seen |= 1u << axis;
    }
    return seen == (1u << rank) - 4u;
}

int ed_layout_mean_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *shape = &p->types[node->in[0]].shape;
    if (!ed_plan_is_f32(p, node->in[0]))
        return ed_plan_refuse(p, "empty or not float32");
    if (shape->rank < 3 ||
        (strcmp(node->op_type, "GlobalAveragePool") != 0 && !reduces_space(p, shape->rank)))
        return ed_plan_refuse(p, "other axes than the spatial ones");
    mean_job *job = ed_calloc(1, sizeof *job);
    if (!job)
        return ED_ENOMEM;
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = node->in[0];
    p->in_layout[0] = p->layouts[node->in[0]];
    p->out_layout = ED_LAYOUT_PLAIN;
    job->grid = ed_grid_of(p->in_layout[0], shape);
    job->divisor = strcmp(node->op_type, "ReduceSum") == 0 ? 1 : (double)job->grid.s;
    p->state = job;
    return ED_OK;
}

int ed_layout_mean_run(const ed_call *call)
{
    mean_job job = *(const mean_job *)call->state;
    job.x = call->in[0]->data;
    job.y = call->out[0]->data;
    int64_t chunks = (job.grid.b + CHUNK - 1) / CHUNK;
    ed_parallel_for(job.grid.n * job.grid.g * chunks, 16, mean_range, &job);
    return ED_OK;
}

void ed_layout_mean_free(void *state)
{
    ed_free(state);
}
