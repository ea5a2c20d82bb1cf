/*
 * The strided copy behind Transpose, Slice, Split, Expand, Tile, DepthToSpace, SpaceToDepth.
 *
 * Dimensions of one element disappear and neighbours that step as one are joined. Then either runs
 * of contiguous elements are copied row by row, or, where the input is contiguous along another
 * dimension than the output, both are walked in square tiles so that neither side strides through
 * memory for long.
 */
#include "ops/strided.h"

#include "base/parallel.h"

#include <string.h>

enum { TILE = 16, PART_BYTES = 32768, DIMS = 2 * ED_MAX_RANK };

size_t ed_tensor_width(const ed_tensor *tensor)
{
    return ed_dtype_bits(tensor->dtype) / 8;
}

void ed_steps_of(int64_t *steps, const ed_shape *shape)
{
    int64_t step = 1;

    for (int i = shape->rank - 1; i >= 0; i--) {
        steps[i] = step;
        step *= shape->dim[i];
    }
}

/* ---- elements of one width ---- */

/* copy: n elements, `step` apart, side by side. turn: y[i][j] = x[j][i], rows of x and y apart by
 * x_step and y_step. */
#define DEFINE_WIDTH(type)                                                                         \
    static void copy_##type(void *to, const void *from, int64_t n, int64_t step)                   \
    {                                                                                              \
        type *y = to;                                                                              \
        const type *x = from;                                                                      \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = x[i * step];                                                                    \
    }                                                                                              \
    static void turn_##type(void *to, const void *from, int64_t rows, int64_t columns,             \
                            int64_t y_step, int64_t x_step)                                        \
    {                                                                                              \
        type *y = to;                                                                              \
        const type *x = from;                                                                      \
        for (int64_t i = 0; i < rows; i++)                                                         \
            for (int64_t j = 0; j < columns; j++)                                                  \
                y[i * y_step + j] = x[j * x_step + i];                                             \
    }

DEFINE_WIDTH(uint8_t)
DEFINE_WIDTH(uint16_t)
DEFINE_WIDTH(uint32_t)
DEFINE_WIDTH(uint64_t)

typedef struct width_row {
    void (*copy)(void *to, const void *from, int64_t n, int64_t step);
    void (*turn)(void *to, const void *from, int64_t rows, int64_t columns, int64_t y_step,
                 int64_t x_step);
} width_row;

static const width_row widths[] = {
    [1] = { copy_uint8_t, turn_uint8_t },
    [2] = { copy_uint16_t, turn_uint16_t },
    [4] = { copy_uint32_t, turn_uint32_t },
    [8] = { copy_uint64_t, turn_uint64_t },
};

/* ---- the outer dimensions ---- */

typedef struct job {
    char *y;
    const char *x;
    size_t width;
    int outer; /* dimensions that are walked; what remains is one row, or one band of tiles */
    int64_t size[DIMS], y_step[DIMS], x_step[DIMS];
    int64_t rows, columns, row_step, column_step; /* of the band in y and x; of a row: columns */
} job;

typedef struct place { /* where the walk stands */
    int64_t at[DIMS], y, x;
} place;

static void seek(place *p, const job *j, int64_t n)
{
    memset(p, 0, sizeof *p);
    for (int i = j->outer - 1; i >= 0; i--) {
        p->at[i] = n % j->size[i];
        n /= j->size[i];
        p->y += p->at[i] * j->y_step[i];
        p->x += p->at[i] * j->x_step[i];
    }
}

static void advance(place *p, const job *j)
{
    for (int i = j->outer - 1; i >= 0; i--) {
        p->y += j->y_step[i];
        p->x += j->x_step[i];
        if (++p->at[i] < j->size[i])
            return;
        p->at[i] = 0;
        p->y -= j->y_step[i] * j->size[i];
        p->x -= j->x_step[i] * j->size[i];
    }
}

static void copy_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const job *j = ctx;
    int64_t width = (int64_t)j->width;
    place p;

    (void)thread;
    seek(&p, j, begin);
    for (int64_t n = begin; n < end; n++, advance(&p, j)) {
        if (j->column_step == 1)
            memcpy(j->y + p.y * width, j->x + p.x * width, (size_t)j->columns * j->width);
        else
            widths[width].copy(j->y + p.y * width, j->x + p.x * width, j->columns, j->column_step);
    }
}

/* The last outer dimension counts bands of TILE rows. */
static void copy_bands(void *ctx, int64_t begin, int64_t end, int thread)
{
    const job *j = ctx;
    int64_t width = (int64_t)j->width;
    place p;

    (void)thread;
    seek(&p, j, begin);
    for (int64_t n = begin; n < end; n++, advance(&p, j)) {
        int64_t rows = j->rows - p.at[j->outer - 1] * TILE;

        rows = rows < TILE ? rows : TILE;
        for (int64_t c = 0; c < j->columns; c += TILE) {
            int64_t columns = j->columns - c < TILE ? j->columns - c : TILE;

            widths[width].turn(j->y + (p.y + c) * width, j->x + (p.x + c * j->column_step) * width,
                               rows, columns, j->row_step, j->column_step);
        }
    }
}

/* ---- from the description to a job ---- */

static void simplify(ed_strided *s)
{
    int n = 0;

    for (int i = 0; i < s->rank; i++) {
        if (s->size[i] == 1)
            continue;
        if (n > 0 && s->step[n - 1] == s->step[i] * s->size[i]) {
            s->size[n - 1] *= s->size[i];
            s->step[n - 1] = s->step[i];
        } else {
            s->size[n] = s->size[i];
            s->step[n++] = s->step[i];
        }
    }
    s->rank = n;
}

/* The dimension along which the input is contiguous when that is not the last; -1. */
static int turned_dim(const ed_strided *s)
{
    int last = s->rank - 1;

    for (int i = 0; i < last; i++)
        if (s->step[i] == 1 && s->size[i] >= 4 && s->size[last] >= 4 && s->step[last] != 0)
            return i;
    return -1;
}

static void add_outer(job *j, int64_t size, int64_t y_step, int64_t x_step)
{
    j->size[j->outer] = size;
    j->y_step[j->outer] = y_step;
    j->x_step[j->outer++] = x_step;
}

void ed_copy_strided(void *y, const void *x, size_t width, const ed_strided *from)
{
    ed_strided s = *from;
    job j = { .y = y, .x = x, .width = width, .columns = 1, .column_step = 1 };
    int64_t dense[DIMS + 1] = { 1 }, units = 1;

    for (int i = 0; i < s.rank; i++)
        if (s.size[i] == 0)
            return;
    simplify(&s);
    dense[s.rank] = 1;
    for (int i = s.rank - 1; i >= 0; i--)
        dense[i] = dense[i + 1] * s.size[i]; /* dense[i + 1]: elements between neighbours of i */
    int last = s.rank - 1, turned = turned_dim(&s);
    for (int i = 0; i < last; i++)
        if (i != turned)
            add_outer(&j, s.size[i], dense[i + 1], s.step[i]);
    if (s.rank > 0) {
        j.columns = s.size[last];
        j.column_step = s.step[last];
    }
    if (turned >= 0) {
        j.rows = s.size[turned];
        j.row_step = dense[turned + 1];
        add_outer(&j, (j.rows + TILE - 1) / TILE, j.row_step * TILE, TILE);
    }
    for (int i = 0; i < j.outer; i++)
        units *= j.size[i];
    int64_t bytes = j.columns * (int64_t)width * (turned >= 0 ? TILE : 1);
    ed_parallel_for(units, PART_BYTES / bytes + 1, turned >= 0 ? copy_bands : copy_rows, &j);
}

/* ---- what the families share ---- */

int ed_copy_forward(const ed_call *c)
{
    const ed_tensor *x = c->in[0];
    ed_tensor *y = c->out[0];
    char from[128], to[128];

    ED_FAIL_IF(x->nbytes != y->nbytes, ED_ESHAPE, "the input %s does not have the elements of %s",
               ed_shape_format(from, sizeof from, &x->shape),
               ed_shape_format(to, sizeof to, &y->shape));
    if (x->nbytes > 0 && x->data != y->data)
        memcpy(y->data, x->data, x->nbytes);
    return ED_OK;
}

void ed_list_read(ed_ints *out, const ed_tensor *tensor)
{
    out->n = tensor ? (int)tensor->numel : -1;
    for (int i = 0; i < out->n; i++)
        out->v[i] = ed_tensor_get_i64(tensor, i);
}

int ed_infer_list(const ed_infer *ctx, uint32_t i, ed_ints *out)
{
    const ed_tensor *list = i < ctx->n_in ? ctx->constant[i] : NULL;

    out->n = -1;
    if (i >= ctx->n_in)
        return ED_OK;
    ED_TRY(ed_infer_dtypes(ctx, i, 1u << ED_I64 | 1u << ED_I32));
    if (ctx->in[i].shape.rank > 1)
        return ed_infer_fail(ctx, ED_ESHAPE, "input %u has rank %d; it must be a list", i,
                             ctx->in[i].shape.rank);
    if (list && list->numel > ED_OP_MAX_INTS)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "input %u has %lld numbers; up to %d are "
                             "supported",
                             i, (long long)list->numel, ED_OP_MAX_INTS);
    ed_list_read(out, list);
    return ED_OK;
}
