/*
 * Convolutions rewritten for tensor cores compute what they did: both forms in plain loops, over
 * strides, kernels, uneven padding and odd sizes. Needs no GPU.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "conv_lift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What lift.cu writes. */
static float *lifted(const ed_conv_lift *l, const float *x)
{
    const ed_cuda_lifting *a = &l->how;
    float *y = calloc((size_t)(a->n * a->rows * a->columns * a->width), sizeof *y);
    for (int64_t n = 0; n < a->n; n++)
        for (int64_t i = 0; i < a->rows * a->columns; i++)
            for (int e = 0; e < a->block * a->block * a->channels; e++) {
                int64_t at = e / a->channels, c = e % a->channels;
                int64_t r = (i / a->columns - a->top) * a->block + at / a->block;
                int64_t q = (i % a->columns - a->left) * a->block + at % a->block;
                if (r >= 0 && r < a->h && q >= 0 && q < a->w)
                    y[(n * a->rows * a->columns + i) * a->width + e] =
                        x[((n * a->channels + c) * a->h + r) * a->w + q];
            }
    return y;
}

/* One output of a convolution over NHWC (lifted) or NCHW; weights [k][kernel][c] or [k][c][kernel].
 */
static double output(const ed_cuda_conv *c, const float *x, const float *w, bool last,
                     const int64_t at[4])
{
    double sum = 0;
    for (int64_t kh = 0; kh < c->kernel[0]; kh++)
        for (int64_t kw = 0; kw < c->kernel[1]; kw++) {
            int64_t h = at[2] * c->stride[0] + kh * c->dilation[0] - c->pad_begin[0];
            int64_t v = at[3] * c->stride[1] + kw * c->dilation[1] - c->pad_begin[1];
            if (h < 0 || h >= c->in[0] || v < 0 || v >= c->in[1])
                continue;
            for (int64_t j = 0; j < c->c; j++) {
                int64_t tap = kh * c->kernel[1] + kw, points = c->kernel[0] * c->kernel[1];
                int64_t xi = last ? ((at[0] * c->in[0] + h) * c->in[1] + v) * c->c + j
                                  : ((at[0] * c->c + j) * c->in[0] + h) * c->in[1] + v;
                int64_t wi =
                    last ? (at[1] * points + tap) * c->c + j : (at[1] * c->c + j) * points + tap;
                sum += (double)x[xi] * w[wi];
            }
        }
    return sum;
}

static float number(void)
{
    return (float)(rand() % 2001 - 1000) * 1e-3f;
}

static void check(ed_cuda_conv before)
{
    int64_t numel = before.k * before.c * before.kernel[0] * before.kernel[1];
    int64_t size = before.n * before.c * before.in[0] * before.in[1];
    ed_shape shape = ED_SHAPE(before.k, before.c, before.kernel[0], before.kernel[1]);
    ed_tensor *w = NULL;
    ed_conv_lift l;
    float *packed = NULL, *x = malloc((size_t)size * sizeof *x);
    assert_int_equal(ed_tensor_new(&w, ED_F32, &shape), ED_OK);
    for (int64_t i = 0; i < numel; i++)
        ((float *)w->data)[i] = number();
    for (int64_t i = 0; i < size; i++)
        x[i] = number();
    ed_cuda_conv after = before;
    ed_conv_lift_problem(&l, &after);
    assert_true(l.how.width > 0 && l.how.width == after.c);
    assert_int_equal(l.how.width % (before.bf16 ? 8 : 4), 0);
    assert_int_equal(ed_conv_lift_weights(&packed, &l, w), ED_OK);
    float *y = lifted(&l, x);
    for (int64_t i = 0; i < before.n * before.k * before.out[0] * before.out[1]; i++) {
        int64_t at[4] = { i / before.out[1] / before.out[0] / before.k,
                          i / before.out[1] / before.out[0] % before.k,
                          i / before.out[1] % before.out[0], i % before.out[1] };
        assert_true(fabs(output(&before, x, w->data, false, at) -
                         output(&after, y, packed, true, at)) < 1e-5);
    }
    free(x);
    free(y);
    ed_free(packed);
    ed_tensor_free(w);
}

static void rewritten_convolutions_agree(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 400; round++) {
        ed_cuda_conv c;
        memset(&c, 0, sizeof c);
        c.n = 1 + rand() % 2;
        c.c = 1 + rand() % 3;
        c.k = 1 + rand() % 3;
        c.group = 1;
        c.spatial = 2;
        c.bf16 = rand() % 2;
        int stride = 1 + rand() % 3;
        for (int d = 0; d < 2; d++) {
            c.kernel[d] = 1 + rand() % 7;
            c.stride[d] = stride;
            c.dilation[d] = 1 + (rand() % 4 == 0);
            c.pad_begin[d] = rand() % 5;
            c.pad_end[d] = rand() % 5;
            c.in[d] = 8 + rand() % 9;
            int64_t reach = (c.kernel[d] - 1) * c.dilation[d] + 1;
            while (c.in[d] + c.pad_begin[d] + c.pad_end[d] < reach)
                c.in[d]++;
            c.out[d] = (c.in[d] + c.pad_begin[d] + c.pad_end[d] - reach) / stride + 1;
        }
        check(c);
    }
}

static void others_stay(void **state)
{
    ed_cuda_conv c, same;
    ed_conv_lift l;
    (void)state;
    memset(&c, 0, sizeof c);
    c.spatial = 2;
    c.group = 1;
    c.c = 64;
    same = c;
    ed_conv_lift_problem(&l, &same);
    assert_int_equal(l.how.width, 0);
    assert_memory_equal(&c, &same, sizeof c);
    c.c = 3;
    c.fp32 = 1;
    same = c;
    ed_conv_lift_problem(&l, &same);
    assert_int_equal(l.how.width, 0);
    assert_memory_equal(&c, &same, sizeof c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewritten_convolutions_agree),
        cmocka_unit_test(others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
