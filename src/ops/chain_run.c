/*
 * The row of chains: a tree of elementwise nodes in one pass over memory, in any layout. Blocks of
 * elements go through all steps of the program before the next block, so that results between the
 * steps stay in the first-level cache.
 */
#include "base/parallel.h"
#include "ops/chain.h"
#include "ops/fast.h"

#include <string.h>

enum { BLOCK = 512, GRAIN = 4096 }; /* elements of a block, of a thread's least part */

/* Element i of the output reads element (i / outer % period) * width + i % width. */
typedef struct chain_operand {
    bool dense; /* lies as the output does */
    int64_t outer, period, width;
    float *padded; /* a constant per channel as a blocked layout wants it; NULL: as it is */
} chain_operand;

typedef struct chain_state {
    ed_chain_program program;
    ed_grid grid;
    int64_t numel; /* of the output, padding included */
    chain_operand operand[ED_CHAIN_MAX_INPUTS];
} chain_state;

/* ---- run ---- */
typedef struct chain_job {
    const chain_state *s;
    float *y;
    const float *in[ED_CHAIN_MAX_INPUTS];
} chain_job;

/* What a thread works with. */
typedef struct chain_blocks {
    float last[BLOCK], slot[ED_CHAIN_MAX_SLOTS][BLOCK], input[ED_CHAIN_MAX_INPUTS][BLOCK],
        number[ED_CHAIN_MAX_NUMBERS][BLOCK];
} chain_blocks;

static void fill(float *to, float x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = x;
}

static bool is_scalar(const chain_operand *o)
{
    return o->period == 1 && o->width == 1 && !o->dense;
}

/* Elements at to at + n of the operand as the output reads them. */
static void expand(float *to, const chain_operand *o, const float *data, int64_t at, int64_t n)
{
    for (int64_t i = 0; i < n;) {
        int64_t unit = (at + i) / o->outer, left = (unit + 1) * o->outer - (at + i);
        int64_t end = left < n - i ? i + left : n;
        const float *row = data + unit % o->period * o->width;
        if (o->width == 1) {
            fill(to + i, row[0], end - i);
            i = end;
        }
        for (int64_t w = (at + i) % o->width; i < end; w = 0) {
            int64_t run = o->width - w < end - i ? o->width - w : end - i;
            memcpy(to + i, row + w, (size_t)run * sizeof *to);
            i += run;
        }
    }
}

static const float *operand_of(const chain_job *job, const chain_blocks *blocks, const float *last,
                               int from, int64_t at)
{
    if (from >= ED_CHAIN_NUMBER)
        return blocks->number[from - ED_CHAIN_NUMBER];
    if (from >= ED_CHAIN_INPUT) {
        int k = from - ED_CHAIN_INPUT;
        return job->s->operand[k].dense ? job->in[k] + at : blocks->input[k];
    }
    if (from >= ED_CHAIN_SLOT)
        return blocks->slot[from - ED_CHAIN_SLOT];
    return from == ED_CHAIN_LAST ? last : NULL;
}

static void run_block(const chain_job *job, chain_blocks *blocks, int64_t at, int64_t n)
{
    const ed_chain_program *program = &job->s->program;
    const float *last = NULL;
    for (int k = 0; k < program->inputs; k++)
        if (!job->s->operand[k].dense && !is_scalar(&job->s->operand[k]))
            expand(blocks->input[k], &job->s->operand[k], job->in[k], at, n);
    for (int s = 0; s < program->steps; s++) {
        const ed_chain_step *step = &program->step[s];
        const float *from[3];
        for (size_t i = 0; i < ED_LENGTH(from); i++)
            from[i] = operand_of(job, blocks, last, step->from[i], at);
        float *y = step->keep ? blocks->slot[step->keep - ED_CHAIN_SLOT] : blocks->last;
        if (s == program->steps - 1)
            y = job->y + at;
        ed_chain_steps[step->code](y, from[0], from[1], from[2], step->p, n);
        last = y;
    }
}

static void chain_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const chain_job *job = ctx;
    const ed_chain_program *program = &job->s->program;
    chain_blocks blocks;
    (void)thread;
    for (int i = 0; i < program->numbers; i++)
        fill(blocks.number[i], program->number[i], BLOCK);
    for (int k = 0; k < program->inputs; k++)
        if (is_scalar(&job->s->operand[k]))
            fill(blocks.input[k], job->in[k][0], BLOCK);
    for (int64_t at = begin; at < end; at += BLOCK)
        run_block(job, &blocks, at, end - at < BLOCK ? end - at : BLOCK);
}

int ed_layout_chain_run(const ed_call *call)
{
    const chain_state *s = call->state;
    chain_job job = { .s = s, .y = call->out[0]->data };
    for (int k = 0; k < s->program.inputs; k++)
        job.in[k] = s->operand[k].padded ? s->operand[k].padded : call->in[k]->data;
    ed_parallel_for(s->numel, GRAIN, chain_range, &job);
    ed_grid_clear_padding(&s->grid, job.y);
    return ED_OK;
}

/* ---- plan ---- */
/* [C, 1, 1], [1, C, 1, 1] or [N, C, 1, 1] beside y, [N, C, spatial]. */
static bool is_per_channel(const ed_shape *y, const ed_shape *x)
{
    int lead = y->rank - x->rank;
    if (y->rank < 3 || lead > 1 || x->dim[1 - lead] != y->dim[1])
        return false;
    for (int d = 2; d < y->rank; d++)
        if (x->dim[d - lead] != 1)
            return false;
    return true;
}

/* May input k be read where the output lies in this layout? */
static bool fits_layout(const ed_chain_bound *c, const ed_kernel_plan *p, const ed_shape *y, int k,
                        ed_layout layout)
{
    ed_id value = c->input[k];
    const ed_shape *x = &p->types[value].shape;
    int64_t numel = 0;
    if (layout == ED_LAYOUT_PLAIN || ed_shape_equal(x, y) ||
        (ed_shape_numel(&numel, x) == ED_OK && numel == 1))
        return true;
    /* a value of [C, 1, 1] has no channel axis that a block could pad */
    return is_per_channel(y, x) &&
           (ed_layout_block(layout) == 1 || p->constants[value] || x->rank == y->rank);
}

/* That of the first main input which does not lie in row-major order, if it suits the others. */
static ed_layout common_layout(const ed_chain_bound *c, const ed_kernel_plan *p, uint32_t taken)
{
    ed_layout layout = ED_LAYOUT_PLAIN;
    const ed_shape *y = &p->types[ed_plan_output(p, taken)].shape;
    for (int k = 0; k < c->program.inputs && layout == ED_LAYOUT_PLAIN; k++)
        if (ed_chain_is_main(c, p, taken, k))
            layout = p->layouts[c->input[k]];
    for (int k = 0; k < c->program.inputs; k++)
        if (!fits_layout(c, p, y, k, layout))
            return ED_LAYOUT_PLAIN;
    return layout;
}

/* In row-major order: the dimensions in which x does not repeat lie side by side. */
static void plain_operand(chain_operand *o, const ed_shape *y, const ed_shape *x)
{
    int lead = y->rank - x->rank;
    int64_t inner = 1, count = 1;
    for (int d = 0; d < x->rank; d++)
        count *= x->dim[d];
    for (int d = y->rank - 1; d >= lead && x->dim[d - lead] == 1; d--)
        inner *= y->dim[d];
    *o = (chain_operand){ .outer = inner, .period = count, .width = 1 };
    if (inner == 1)
        *o = (chain_operand){ .outer = count, .period = 1, .width = count };
}

/* A constant per channel with zeros behind each row's channels. */
static int pad_rows(chain_operand *o, const ed_grid *grid, const ed_tensor *t)
{
    int64_t width = grid->g * grid->b, rows = t->numel / grid->channels;
    o->padded = ed_calloc((size_t)(rows * width), sizeof(float));
    if (!o->padded)
        return ED_ENOMEM;
    for (int64_t r = 0; r < rows; r++)
        memcpy(o->padded + r * width, (const float *)t->data + r * grid->channels,
               (size_t)grid->channels * sizeof(float));
    return ED_OK;
}

static int place_operand(chain_state *s, ed_kernel_plan *p, const ed_shape *y, int k,
                         ed_layout layout)
{
    chain_operand *o = &s->operand[k];
    const ed_shape *x = &p->types[p->in[k]].shape;
    const ed_tensor *constant = p->constants[p->in[k]];
    const ed_grid *grid = &s->grid;
    int64_t numel = 0;
    ED_TRY(ed_shape_numel(&numel, x));
    p->in_layout[k] = ED_LAYOUT_PLAIN;
    if (ed_shape_equal(x, y)) {
        o->dense = true;
        p->in_layout[k] = layout;
    } else if (numel == 1) {
        *o = (chain_operand){ .outer = s->numel, .period = 1, .width = 1 };
    } else if (layout == ED_LAYOUT_PLAIN) {
        plain_operand(o, y, x);
    } else {
        *o = (chain_operand){ .outer = grid->s * grid->b,
                              .period = numel / grid->channels * grid->g,
                              .width = grid->b };
        if (grid->b > 1 && constant && ed_layout_block(layout) > 1)
            return pad_rows(o, grid, constant);
        if (!constant && x->rank == y->rank)
            p->in_layout[k] = layout;
    }
    return ED_OK;
}

static int fill_state(chain_state *s, const ed_chain_bound *c, ed_kernel_plan *p, uint32_t taken)
{
    const ed_shape *y = &p->types[ed_plan_output(p, taken)].shape;
    ed_layout layout = common_layout(c, p, taken);
    s->program = c->program;
    s->grid = ed_grid_of(layout, y);
    ED_TRY(ed_layout_numel(&s->numel, layout, y));
    p->n_in = (uint32_t)c->program.inputs;
    p->out_layout = layout;
    for (int k = 0; k < c->program.inputs; k++) {
        p->in[k] = c->input[k];
        ED_TRY(place_operand(s, p, y, k, layout));
    }
    return ED_OK;
}

int ed_layout_chain_plan(ed_kernel_plan *p)
{
    ed_chain_bound c;
    uint32_t taken = ed_chain_take(&c, p);
    if (!taken)
        return ED_OK;
    chain_state *s = ed_calloc(1, sizeof *s);
    int rc = s ? fill_state(s, &c, p, taken) : ED_ENOMEM;
    if (rc != ED_OK) {
        ed_layout_chain_free(s);
        return rc;
    }
    p->taken = taken;
    p->state = s;
    ed_chain_overwrite(&c, p);
    return ED_OK;
}

void ed_layout_chain_free(void *state)
{
    chain_state *s = state;
    for (int k = 0; s && k < ED_CHAIN_MAX_INPUTS; k++)
        ed_free(s->operand[k].padded);
    ed_free(s);
}
