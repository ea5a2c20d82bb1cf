/*
 * Add, Sub, Mul and Div in any layout: y = a op b, where b is of a's shape, has one number per
 * channel
 * ([C, 1, 1], [1, C, 1, 1], [N, C, 1, 1]), or is one number. Otherwise the reference broadcasts.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "ops/fast.h"

#include <string.h>

typedef enum operand { OPERAND_SAME, OPERAND_CHANNEL, OPERAND_SCALAR, OPERAND_OTHER } operand;

typedef void (*vector_fn)(float *y, const float *a, const float *b, int64_t n);
typedef void (*scalar_fn)(float *y, const float *a, float b, int64_t n);

#define DEFINE_OPERATION(name, op)                                                                 \
    ED_BODY void name##_vector_body(float *y, const float *a, const float *b, int64_t n)           \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = a[i] op b[i];                                                                   \
    }                                                                                              \
    ED_CLONES_VOID(name##_vector, (float *y, const float *a, const float *b, int64_t n),           \
                   (y, a, b, n))                                                                   \
    ED_BODY void name##_scalar_body(float *y, const float *a, float b, int64_t n)                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = a[i] op b;                                                                      \
    }                                                                                              \
    ED_CLONES_VOID(name##_scalar, (float *y, const float *a, float b, int64_t n), (y, a, b, n))
DEFINE_OPERATION(add, +)
DEFINE_OPERATION(sub, -)
DEFINE_OPERATION(mul, *)
DEFINE_OPERATION(div, /)

typedef struct operation {
    const char *type;
    vector_fn vector;
    scalar_fn scalar;
    bool commutes;
} operation;

static const operation operations[] = {
    { "Add", add_vector, add_scalar, true },
    { "Sub", sub_vector, sub_scalar, false },
    { "Mul", mul_vector, mul_scalar, true },
    { "Div", div_vector, div_scalar, false },
};

typedef struct binary_state {
    const operation *op;
    operand kind;
    ed_grid grid;
    bool per_sample; /* the channel operand has a row for each sample */
    float *channels; /* a constant channel operand as the layout wants it, padding included */
    float scalar;    /* a constant scalar operand */
    bool constant;
} binary_state;

/* ---- run ---- */
typedef struct binary_job {
    const binary_state *s;
    float *y;
    const float *a, *b;
} binary_job;

static void same_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const binary_job *job = ctx;
    (void)thread;
    job->s->op->vector(job->y + begin, job->a + begin, job->b + begin, end - begin);
}

static void scalar_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const binary_job *job = ctx;
    (void)thread;
    job->s->op->scalar(job->y + begin, job->a + begin, job->b[0], end - begin);
}

/* One unit is one channel block of one sample. */
static void channel_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const binary_job *job = ctx;
    const ed_grid *grid = &job->s->grid;
    (void)thread;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t row = job->s->per_sample ? unit : unit % grid->g, at = unit * grid->s * grid->b;
        const float *b = job->b + row * grid->b;
        if (grid->b == 1) {
            job->s->op->scalar(job->y + at, job->a + at, b[0], grid->s);
            continue;
        }
        for (int64_t s = 0; s < grid->s; s++, at += grid->b)
            job->s->op->vector(job->y + at, job->a + at, b, grid->b);
    }
}

int ed_layout_binary_run(const ed_call *call)
{
    enum { GRAIN = 8192 };
    const binary_state *s = call->state;
    const ed_grid *grid = &s->grid;
    int64_t plane = grid->s * grid->b, numel = grid->n * grid->g * plane;
    binary_job job = { .s = s, .y = call->out[0]->data, .a = call->in[0]->data };
    if (s->constant)
        job.b = s->kind == OPERAND_CHANNEL ? s->channels : &s->scalar;
    else
        job.b = call->in[1]->data;
    if (s->kind == OPERAND_CHANNEL)
        ed_parallel_for(grid->n * grid->g, GRAIN / plane + 1, channel_range, &job);
    else
        ed_parallel_for(numel, GRAIN, s->kind == OPERAND_SAME ? same_range : scalar_range, &job);
    ed_grid_clear_padding(grid, job.y);
    return ED_OK;
}

/* ---- plan ---- */
/* How b broadcasts against a; *per_sample for [N, C, 1, 1]. */
static operand classify(const ed_shape *a, const ed_shape *b, bool *per_sample)
{
    if (ed_shape_equal(a, b))
        return OPERAND_SAME;
    int64_t numel = 0;
    int lead = a->rank - b->rank;
    if (ed_shape_numel(&numel, b) != ED_OK || lead < 0)
        return OPERAND_OTHER;
    if (numel == 1)
        return OPERAND_SCALAR;
    if (a->rank < 3 || lead > 1)
        return OPERAND_OTHER;
    for (int i = 2; i < a->rank; i++)
        if (b->dim[i - lead] != 1)
            return OPERAND_OTHER;
    int64_t samples = lead ? 1 : b->dim[0];
    if (b->dim[1 - lead] != a->dim[1] || (samples != 1 && samples != a->dim[0]))
        return OPERAND_OTHER;
    *per_sample = samples == a->dim[0];
    return OPERAND_CHANNEL;
}

static int take_constant(binary_state *s, const ed_tensor *t)
{
    s->constant = true;
    s->scalar = *(const float *)t->data;
    if (s->kind != OPERAND_CHANNEL)
        return ED_OK;
    int64_t rows = s->per_sample ? s->grid.n : 1, width = s->grid.g * s->grid.b;
    s->channels = ed_calloc((size_t)(rows * width), sizeof(float));
    if (!s->channels)
        return ED_ENOMEM;
    for (int64_t r = 0; r < rows; r++)
        memcpy(s->channels + r * width, (const float *)t->data + r * s->grid.channels,
               (size_t)s->grid.channels * sizeof(float));
    return ED_OK;
}

/* Equal shapes run in the blocked layout if one of them lies so: the other is reordered. */
static ed_layout common_layout(const ed_kernel_plan *p, ed_id a, ed_id b, operand kind)
{
    ed_layout layout = p->layouts[a];
    if (kind == OPERAND_SAME && layout == ED_LAYOUT_PLAIN)
        layout = p->layouts[b];
    return layout;
}

static void answer(ed_kernel_plan *p, binary_state *s, ed_id a, ed_id b, ed_layout layout)
{
    p->taken = 1;
    p->in[0] = a;
    p->in_layout[0] = p->out_layout = layout;
    p->n_in = 1;
    if (!s->constant) {
        p->in[1] = b;
        p->in_layout[1] = s->kind == OPERAND_SCALAR ? ED_LAYOUT_PLAIN : layout;
        p->n_in = 2;
    }
    if (a != b && ed_plan_dies(p, a, 1))
        p->inplace = 0;
    p->state = s;
}

int ed_layout_binary_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    binary_state now = { .kind = OPERAND_OTHER };
    ed_id a = node->in[0], b = node->in[1];
    if (!ed_plan_is_f32(p, a) || !ed_plan_is_f32(p, b))
        return ed_plan_refuse(p, "empty or not float32");
    for (size_t i = 0; i < ED_LENGTH(operations); i++)
        if (strcmp(operations[i].type, node->op_type) == 0)
            now.op = &operations[i];
    now.kind = classify(&p->types[a].shape, &p->types[b].shape, &now.per_sample);
    if (now.op->commutes &&
        (now.kind == OPERAND_OTHER || (now.kind == OPERAND_SAME && p->constants[a]))) {
        a = node->in[1];
        b = node->in[0];
        now.kind = classify(&p->types[a].shape, &p->types[b].shape, &now.per_sample);
    }
    if (now.kind == OPERAND_OTHER || p->constants[a])
        return ed_plan_refuse(p, "broadcast");
    ed_layout layout = common_layout(p, a, b, now.kind);
    if (now.kind == OPERAND_CHANNEL && !p->constants[b] && layout != ED_LAYOUT_PLAIN &&
        p->types[b].shape.rank != p->types[a].shape.rank) /* [C, 1, 1] has no channel axis */
        return ed_plan_refuse(p, "channels of another rank");
    now.grid = ed_grid_of(layout, &p->types[a].shape);
    if (p->constants[b] && now.kind != OPERAND_SAME)
        ED_TRY(take_constant(&now, p->constants[b]));
    binary_state *s = ed_malloc(sizeof *s);
    if (!s) {
        ed_free(now.channels);
        return ED_ENOMEM;
    }
    *s = now;
    answer(p, s, a, b, layout);
    return ED_OK;
}

void ed_layout_binary_free(void *state)
{
    binary_state *s = state;
    if (!s)
        return;
    ed_free(s->channels);
    ed_free(s);
}
