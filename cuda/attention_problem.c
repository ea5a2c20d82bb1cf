/*
 * Attention as cuDNN's engines take it: four dimensions, [batch, heads, rows, columns].
 *
 * Batch dimensions of one element are left out; of more than two, neighbours that lie behind each
 * other for every operand become one.
 */
#include "attention_rows.h"

#include <math.h>
#include <string.h>

enum { Q = ED_SDPA_Q, K = ED_SDPA_K, V = ED_SDPA_V, O = ED_SDPA_O, MASK = ED_SDPA_BIAS, OPERANDS };

typedef struct batches { /* step[.][i]: along dimension i */
    int rank;
    int64_t dim[ED_MAX_RANK], step[OPERANDS][ED_MAX_RANK];
} batches;

static batches batches_of(const ed_attention *a)
{
    const ed_attention_steps *at[OPERANDS] = { [Q] = &a->at[ED_ATTENTION_Q],
                                               [K] = &a->at[ED_ATTENTION_K],
                                               [V] = &a->at[ED_ATTENTION_V],
                                               [O] = &a->y,
                                               [MASK] = &a->at[ED_ATTENTION_MASK] };
    batches b = { .rank = 0 };
    for (int i = 0; i < a->batch_rank; i++) {
        if (a->batch[i] == 1)
            continue;
        b.dim[b.rank] = a->batch[i];
        for (int o = 0; o < OPERANDS; o++)
            b.step[o][b.rank] = at[o]->batch[i];
        b.rank++;
    }
    return b;
}

/* Dimensions i and i + 1 as one, if they run on into each other. */
static bool merge(batches *b, int i)
{
    for (int o = 0; o < OPERANDS; o++)
        if (b->step[o][i] != b->step[o][i + 1] * b->dim[i + 1])
            return false;
    b->dim[i] *= b->dim[i + 1];
    for (int k = i + 1; k + 1 < b->rank; k++)
        b->dim[k] = b->dim[k + 1];
    for (int o = 0; o < OPERANDS; o++)
        for (int k = i; k + 1 < b->rank; k++)
            b->step[o][k] = b->step[o][k + 1];
    b->rank--;
    return true;
}

static bool repeats(const batches *b, int i)
{
    return b->step[K][i] == 0 || b->step[V][i] == 0;
}

/* Which dimensions are the batch and the heads, -1: none. Keys may repeat along the heads alone. */
static const char *assign(int axis[2], batches *b)
{
    for (int i = b->rank - 2; i >= 0 && b->rank > 2; i--)
        merge(b, i);
    if (b->rank > 2)
        return "more than two batch dimensions";
    axis[0] = b->rank > 0 ? 0 : -1;
    axis[1] = b->rank > 1 ? 1 : -1;
    if (b->rank > 0 && repeats(b, 0)) {
        axis[0] = b->rank > 1 ? 1 : -1;
        axis[1] = 0;
    }
    if (axis[0] >= 0 && repeats(b, axis[0]))
        return "keys or values repeat along the batch";
    if (axis[1] >= 0 && (b->step[K][axis[1]] == 0) != (b->step[V][axis[1]] == 0))
        return "keys or values alone repeat along the heads";
    for (int i = 0; i < b->rank; i++)
        if (b->step[Q][i] == 0)
            return "queries repeat";
    return NULL;
}

/* Steps of dimensions of one element are those of a dense tensor. */
static void fill(ed_cuda_sdpa_operand *to, const batches *b, int o, const int axis[2],
                 const int64_t dim[2], const int64_t step[2])
{
    int64_t next = 1;
    for (int i = 3; i >= 2; i--) {
        to->dim[i] = step[i - 2] ? dim[i - 2] : 1;
        to->step[i] = step[i - 2] ? step[i - 2] : next;
        next = to->dim[i] * to->step[i] > next ? to->dim[i] * to->step[i] : next;
    }
    for (int i = 1; i >= 0; i--) {
        int64_t along = axis[i] < 0 ? 0 : b->step[o][axis[i]];
        to->dim[i] = along ? b->dim[axis[i]] : 1;
        to->step[i] = along ? along : next;
        next = to->dim[i] * to->step[i] > next ? to->dim[i] * to->step[i] : next;
    }
}

/* Rows that begin at multiples of 16 bytes, and numbers that 31 bits hold. */
static const char *check(const ed_cuda_sdpa *p)
{
    for (int o = Q; o <= MASK - !p->bias; o++) {
        int64_t last = 0;
        for (int d = 0; d < 4; d++) {
            if (o != MASK && p->at[o].step[d] != 1 && p->at[o].step[d] % 8 != 0)
                return "rows that do not begin at multiples of 16 bytes";
            last += (p->at[o].dim[d] - 1) * p->at[o].step[d];
        }
        if (last > INT32_MAX)
            return "too large";
    }
    return NULL;
}

const char *ed_cuda_attention_problem(ed_cuda_sdpa *out, const ed_attention *a)
{
    const ed_attention_steps *q = &a->at[ED_ATTENTION_Q], *k = &a->at[ED_ATTENTION_K];
    const ed_attention_steps *v = &a->at[ED_ATTENTION_V], *mask = &a->at[ED_ATTENTION_MASK];
    batches b = batches_of(a);
    int axis[2];
    memset(out, 0, sizeof *out);
    if (a->d % 8 != 0 || a->dv % 8 != 0 || a->d > 256 || a->dv > 256)
        return "heads of a size that is no multiple of 8 up to 256";
    if (k->row != 1)
        return "keys do not lie in rows";
    if (!(a->scale > 0.0f) || !isfinite(a->scale))
        return "the scale is not positive";
    const char *reason = assign(axis, &b);
    if (reason)
        return reason;
    out->scale = a->scale;
    out->bias = a->in[ED_ATTENTION_MASK] != ED_NONE;
    /* a step of 0 stands for one row or column too: those of d and dv elements have the step 1 */
    fill(&out->at[Q], &b, Q, axis, (int64_t[]){ a->n, a->d }, (int64_t[]){ q->row, 1 });
    fill(&out->at[V], &b, V, axis, (int64_t[]){ a->m, a->dv }, (int64_t[]){ v->row, 1 });
    fill(&out->at[O], &b, O, axis, (int64_t[]){ a->n, a->dv }, (int64_t[]){ a->y.row, 1 });
    fill(&out->at[K], &b, K, axis, (int64_t[]){ a->m, a->d }, (int64_t[]){ k->column, 1 });
    ed_cuda_sdpa_operand rows = out->at[K];
    out->at[K].dim[2] = rows.dim[3];
    out->at[K].dim[3] = rows.dim[2];
    out->at[K].step[2] = rows.step[3];
    out->at[K].step[3] = rows.step[2];
    if (out->bias)
        fill(&out->at[MASK], &b, MASK, axis, (int64_t[]){ a->n, a->m },
             (int64_t[]){ mask->row, mask->column });
    return check(out);
}

const char *ed_cuda_attention_mask(float *out, const float *mask, int64_t rows, int64_t columns)
{
    /* exp() of what it is added to is 0, and it stays finite when something is added */
    static const float hidden = -1e30f;
    for (int64_t i = 0; i < rows; i++) {
        bool seen = false;
        for (int64_t k = 0; k < columns; k++) {
            float x = mask[i * columns + k];
            if (isnan(x) || x == INFINITY)
                return "the mask holds NaN or infinity";
            seen = seen || x > hidden;
            out[i * columns + k] = x > hidden ? x : hidden;
        }
        if (!seen)
            return "a row of the mask hides every key";
    }
    return NULL;
}
