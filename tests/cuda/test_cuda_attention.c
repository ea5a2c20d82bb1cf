/*
 * What the row of attention gives cuDNN: every element of the output meets the operands' elements
 * that it met in the graph. Needs no GPU.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "attention_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 8, DV = 16 };

/* Steps of a dense tensor of the batch dimensions (1 where it repeats) and two more; `order`: the
 * rows stand between the batch dimensions i < order and the others, as they do before heads are
 * transposed. */
static ed_attention_steps steps(const ed_attention *a, unsigned repeats, int64_t rows,
                                int64_t columns, int order)
{
    ed_attention_steps s = { .column = columns == 1 ? 0 : 1 };
    int64_t next = columns;
    for (int i = a->batch_rank; i >= 0; i--) {
        if (i == order) {
            s.row = rows == 1 ? 0 : next;
            next *= rows;
        }
        if (i == 0)
            break;
        bool repeat = (repeats >> (i - 1) & 1) || a->batch[i - 1] == 1;
        s.batch[i - 1] = repeat ? 0 : next;
        next *= repeat ? 1 : a->batch[i - 1];
    }
    return s;
}

static int64_t at_batch(const ed_attention *a, const ed_attention_steps *s, int64_t unit)
{
    int64_t at = 0;
    for (int i = a->batch_rank - 1; i >= 0; i--) {
        at += unit % a->batch[i] * s->batch[i];
        unit /= a->batch[i];
    }
    return at;
}

/* Where (batch, head) of an operand begins; 0 steps where it has one element alone. */
static int64_t at_head(const ed_cuda_sdpa_operand *o, int64_t b, int64_t h)
{
    return (o->dim[0] == 1 ? 0 : b * o->step[0]) + (o->dim[1] == 1 ? 0 : h * o->step[1]);
}

/* Unit of the graph's batch at which y begins there. */
static int64_t unit_of(const ed_attention *a, int64_t units, int64_t y)
{
    for (int64_t unit = 0; unit < units; unit++)
        if (at_batch(a, &a->y, unit) == y)
            return unit;
    fail_msg("the output has no unit at %lld", (long long)y);
    return -1;
}

static void matrix(const ed_cuda_sdpa_operand *o, int64_t rows, int64_t columns, int64_t row,
                   int64_t column)
{
    assert_true(o->dim[2] == rows || (o->dim[2] == 1 && row == 0));
    assert_true(o->dim[3] == columns || (o->dim[3] == 1 && column == 0));
    assert_true(o->dim[2] == 1 || o->step[2] == row);
    assert_true(o->dim[3] == 1 || o->step[3] == column);
}

static void check(const ed_attention *a, const ed_cuda_sdpa *p)
{
    const ed_cuda_sdpa_operand *o = p->at;
    int64_t units = 1;
    for (int i = 0; i < a->batch_rank; i++)
        units *= a->batch[i];
    assert_true(o[ED_SDPA_O].dim[0] * o[ED_SDPA_O].dim[1] == units);
    for (int i = ED_SDPA_K; i <= ED_SDPA_V; i++) {
        assert_true(o[i].dim[0] == o[ED_SDPA_Q].dim[0]);
        assert_true(o[i].dim[1] == 1 || o[i].dim[1] == o[ED_SDPA_Q].dim[1]);
    }
    for (int64_t b = 0; b < o[ED_SDPA_O].dim[0]; b++)
        for (int64_t h = 0; h < o[ED_SDPA_O].dim[1]; h++) {
            int64_t unit = unit_of(a, units, at_head(&o[ED_SDPA_O], b, h));
            for (int i = ED_SDPA_Q; i <= ED_SDPA_V; i++)
                assert_int_equal(at_head(&o[i], b, h), at_batch(a, &a->at[i], unit));
            if (p->bias)
                assert_int_equal(at_head(&o[ED_SDPA_BIAS], b, h),
                                 at_batch(a, &a->at[ED_ATTENTION_MASK], unit));
        }
    matrix(&o[ED_SDPA_Q], a->n, a->d, a->at[ED_ATTENTION_Q].row, 1);
    matrix(&o[ED_SDPA_K], a->d, a->m, 1, a->at[ED_ATTENTION_K].column);
    matrix(&o[ED_SDPA_V], a->m, a->dv, a->at[ED_ATTENTION_V].row, 1);
    matrix(&o[ED_SDPA_O], a->n, a->dv, a->y.row, 1);
    if (p->bias)
        matrix(&o[ED_SDPA_BIAS], a->n, a->m, a->at[ED_ATTENTION_MASK].row,
               a->at[ED_ATTENTION_MASK].column);
}

static ed_attention draw(void)
{
    ed_attention a = { .scale = 0.5f, .batch_rank = rand() % 5, .d = D, .dv = DV };
    a.n = 1 + rand() % 5;
    a.m = 1 + rand() % 5;
    for (int i = 0; i < a.batch_rank; i++)
        a.batch[i] = 1 + rand() % 3;
    unsigned repeats = rand() % 4 ? 0 : (unsigned)rand() % 32;
    int order[4];
    for (int i = 0; i < 4; i++)
        order[i] = rand() % 2 ? a.batch_rank : rand() % (a.batch_rank + 1);
    a.at[ED_ATTENTION_Q] = steps(&a, 0, a.n, D, order[0]);
    a.at[ED_ATTENTION_K] = steps(&a, repeats, a.m, D, order[1]);
    a.at[ED_ATTENTION_K].column = a.at[ED_ATTENTION_K].row;
    a.at[ED_ATTENTION_K].row = 1;
    a.at[ED_ATTENTION_V] = steps(&a, repeats, a.m, DV, order[2]);
    a.y = steps(&a, 0, a.n, DV, order[3]);
    a.in[ED_ATTENTION_MASK] = ED_NONE;
    if (rand() % 2) {
        int64_t rows = rand() % 3 ? a.n : 1, columns = rand() % 4 ? a.m : 1;
        a.in[ED_ATTENTION_MASK] = 3;
        a.at[ED_ATTENTION_MASK] = steps(&a, (unsigned)rand() % 32, rows, columns, a.batch_rank);
    }
    return a;
}

static void operands_stay_together(void **state)
{
    int taken = 0;
    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        ed_attention a = draw();
        ed_cuda_sdpa p;
        if (ed_cuda_attention_problem(&p, &a))
            continue;
        taken++;
        assert_int_equal(p.bias, a.in[ED_ATTENTION_MASK] != ED_NONE);
        check(&a, &p);
    }
    assert_true(taken > 10000);
}

/* [samples, heads, rows, d] as a Transpose of [samples, rows, heads, d]. */
static ed_attention usual(void)
{
    ed_attention a = {
        .scale = 0.125f, .batch_rank = 2, .batch = { 2, 3 }, .n = 7, .m = 9, .d = D, .dv = DV
    };
    a.at[ED_ATTENTION_Q] = steps(&a, 0, a.n, D, 1);
    a.at[ED_ATTENTION_K] = steps(&a, 0, a.m, D, 1);
    a.at[ED_ATTENTION_K].column = a.at[ED_ATTENTION_K].row;
    a.at[ED_ATTENTION_K].row = 1;
    a.at[ED_ATTENTION_V] = steps(&a, 0, a.m, DV, 1);
    a.y = steps(&a, 0, a.n, DV, 1);
    a.in[ED_ATTENTION_MASK] = ED_NONE;
    return a;
}

static void the_usual_case(void **state)
{
    static const int64_t dim[5][4] = {
        { 2, 3, 7, D }, { 2, 3, D, 9 }, { 2, 3, 9, DV }, { 2, 3, 7, DV }, { 2, 1, 1, 9 }
    };
    static const int64_t step[5][4] = { { 3 * 7 * D, D, 3 * D, 1 },
                                        { 3 * 9 * D, D, 1, 3 * D },
                                        { 3 * 9 * DV, DV, 3 * DV, 1 },
                                        { 3 * 7 * DV, DV, 3 * DV, 1 },
                                        { 9, 9, 9, 1 } };
    ed_attention a = usual();
    ed_cuda_sdpa p;
    (void)state;
    a.in[ED_ATTENTION_MASK] = 3;
    a.at[ED_ATTENTION_MASK] = steps(&a, 2, 1, a.m, 2);
    assert_null(ed_cuda_attention_problem(&p, &a));
    for (int i = 0; i <= ED_SDPA_BIAS; i++) {
        assert_memory_equal(p.at[i].dim, dim[i], sizeof dim[i]);
        assert_memory_equal(p.at[i].step, step[i], sizeof step[i]);
    }
    assert_true(p.bias == 1 && p.scale == 0.125f);
}

static void says(const ed_attention *a, const char *part)
{
    ed_cuda_sdpa p;
    const char *reason = ed_cuda_attention_problem(&p, a);
    if (!reason || !strstr(reason, part))
        fail_msg("'%s' is not in: %s", part, reason ? reason : "(taken)");
}

static void what_is_refused(void **state)
{
    static const int64_t sizes[] = { 1, 12, 264 };
    static const float scales[] = { 0.0f, -1.0f, INFINITY, NAN };
    ed_attention a = usual();
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(sizes); i++) {
        a.d = sizes[i];
        says(&a, "multiple of 8");
        a.d = D;
        a.dv = sizes[i];
        says(&a, "multiple of 8");
        a.dv = DV;
    }
    for (size_t i = 0; i < ED_LENGTH(scales); i++) {
        a = usual();
        a.scale = scales[i];
        says(&a, "scale");
    }
    a = usual();
    a.at[ED_ATTENTION_K] = (ed_attention_steps){ { 3 * 9 * D, 9 * D }, 9, 1 };
    says(&a, "keys do not lie in rows");
    a = usual();
    a.at[ED_ATTENTION_Q].row += 4;
    says(&a, "16 bytes");
    a = usual();
    a.at[ED_ATTENTION_Q].batch[0] = (int64_t)1 << 32;
    says(&a, "too large");
    a = usual();
    a.at[ED_ATTENTION_V].batch[1] = 0;
    says(&a, "alone repeat");
    a = usual();
    a.at[ED_ATTENTION_V].batch[1] = a.at[ED_ATTENTION_V].batch[0] = 0;
    says(&a, "repeat along the batch");
    a = usual();
    a.at[ED_ATTENTION_Q].batch[1] = 0;
    says(&a, "queries repeat");
    a = usual();
    a.batch_rank = 3;
    a.batch[2] = 5;
    for (int i = 0; i < ED_ATTENTION_MASK; i++)
        a.at[i].batch[2] = 8;
    a.y.batch[2] = 8;
    says(&a, "more than two");
}

static void masks_are_made_finite(void **state)
{
    static const float mask[] = { 0, -INFINITY, -3, -INFINITY, 1e30f, -3e38f };
    float out[6];
    (void)state;
    assert_null(ed_cuda_attention_mask(out, mask, 2, 3));
    assert_true(out[0] == 0 && out[1] == -1e30f && out[2] == -3 && out[3] == -1e30f);
    assert_true(out[4] == 1e30f && out[5] == -1e30f);
    assert_non_null(strstr(ed_cuda_attention_mask(out, mask, 6, 1), "hides every key"));
    assert_non_null(strstr(ed_cuda_attention_mask(out, (float[]){ 0, NAN }, 1, 2), "NaN"));
    assert_non_null(strstr(ed_cuda_attention_mask(out, (float[]){ 0, INFINITY }, 1, 2), "NaN"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operands_stay_together),
        cmocka_unit_test(the_usual_case),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(masks_are_made_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
