/* Windows resolved to numbers, and what the window kernels do at their edges. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/window.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The node and its graph; text holds all but the output, "graph ... y = Op(...)". */
static const ed_node *parse(ed_graph **g, const char *text)
{
    char whole[512];

    snprintf(whole, sizeof whole, "%soutput y\n", text);
    if (ed_graph_parse(g, whole) != ED_OK)
        fail_msg("%s", ed_error_last());
    return &(*g)->nodes[0];
}

/* The window of the graph's only node on x (and the weight). */
static ed_window resolve(const char *text, ed_shape x, ed_shape weight)
{
    ed_graph *g = NULL;
    const ed_node *node = parse(&g, text);
    const ed_op *op = NULL;
    ed_window w;
    union {
        ed_conv_params conv;
        ed_pool_params pool;
    } params;

    assert_int_equal(ed_op_find(&op, g, node), ED_OK);
    assert_int_equal(ed_op_params(op, g, node, &params), ED_OK);
    if (strstr(node->op_type, "Pool"))
        assert_int_equal(ed_pool_window(&w, g, node, &params.pool, &x), ED_OK);
    else
        assert_int_equal(ed_conv_window(&w, g, node, &params.conv, &x, &weight), ED_OK);
    ed_graph_free(g);
    return w;
}

static void check_pads(const ed_window *w, int64_t top, int64_t left, int64_t bottom, int64_t right)
{
    assert_int_equal(w->rank, 2);
    assert_int_equal(w->pad_begin[0], top);
    assert_int_equal(w->pad_begin[1], left);
    assert_int_equal(w->pad_end[0], bottom);
    assert_int_equal(w->pad_end[1], right);
}

#define HEAD "graph t opset 11\ninput x: f32\ninput w: f32\n"

static void defaults_are_ones_and_no_pads(void **state)
{
    ed_window w = resolve(HEAD "y = Conv(x, w)\n", ED_SHAPE(1, 3, 8, 8), ED_SHAPE(4, 3, 5, 2));

    (void)state;
    check_pads(&w, 0, 0, 0, 0);
    assert_int_equal(w.kernel[0], 5);
    assert_int_equal(w.kernel[1], 2);
    assert_int_equal(w.stride[0] * w.stride[1] * w.dilation[0] * w.dilation[1], 1);
    assert_int_equal(ed_window_positions(&w, 0, 8, false), 4);
    assert_int_equal(ed_window_positions(&w, 0, -2, false), ED_DIM_UNKNOWN);
}

/* 8 at stride 2 with kernel 3: 4 positions want 1 of padding; 9 at stride 1 with kernel 4: 3. */
static void same_pads_put_the_odd_one_where_told(void **state)
{
    ed_shape x = ED_SHAPE(1, 3, 8, 9), weight = ED_SHAPE(4, 3, 3, 4);
    ed_window w =
        resolve(HEAD "y = Conv(x, w) {auto_pad=\"SAME_UPPER\", strides=[2, 1]}\n", x, weight);

    (void)state;
    check_pads(&w, 0, 1, 1, 2);
    w = resolve(HEAD "y = Conv(x, w) {auto_pad=\"SAME_LOWER\", strides=[2, 1]}\n", x, weight);
    check_pads(&w, 1, 2, 0, 1);
    /* a stride above the kernel wants no padding, never a negative one */
    w = resolve(HEAD "y = Conv(x, w) {auto_pad=\"SAME_UPPER\", strides=[5, 9]}\n", x, weight);
    check_pads(&w, 0, 0, 0, 0);
    /* dilation counts: an extent of 5 at stride 1 wants 4, one of 7 wants 6 */
    w = resolve(HEAD "y = Conv(x, w) {auto_pad=\"SAME_UPPER\", dilations=[2, 2]}\n", x, weight);
    check_pads(&w, 2, 3, 2, 3);
    /* auto_pad VALID ignores pads */
    w = resolve(HEAD "y = Conv(x, w) {auto_pad=\"VALID\", pads=[1, 1, 1, 1]}\n", x, weight);
    check_pads(&w, 0, 0, 0, 0);
}

static void transposed_pads_hold_the_output_padding(void **state)
{
    ed_shape x = ED_SHAPE(1, 3, 4, 4), weight = ED_SHAPE(3, 2, 3, 3);
    ed_window w = resolve(HEAD "y = ConvTranspose(x, w) {strides=[2, 2], pads=[1, 0, 1, 0], "
                               "output_padding=[1, 1]}\n",
                          x, weight);

    (void)state;
    check_pads(&w, 1, 0, 0, -1); /* out 8 and 10: (4 - 1) * 2 + 3 - begin - end */
    w = resolve(HEAD "y = ConvTranspose(x, w) {strides=[2, 2], output_shape=[8, 8]}\n", x, weight);
    check_pads(&w, 1, 1, 0, 0);
    w = resolve(HEAD "y = ConvTranspose(x, w) {strides=[2, 2], auto_pad=\"SAME_UPPER\"}\n", x,
                weight);
    check_pads(&w, 0, 0, 1, 1);
    /* wider than the window reaches: the rest is bias */
    w = resolve(HEAD "y = ConvTranspose(x, w) {strides=[2, 2], output_shape=[12, 9]}\n", x, weight);
    check_pads(&w, 0, 0, -3, 0);
}

static void ceil_mode_drops_windows_that_begin_in_the_right_padding(void **state)
{
    ed_shape x = ED_SHAPE(1, 1, 4, 5);
    ed_window w = resolve(
        HEAD "y = MaxPool(x) {kernel_shape=[2, 2], strides=[3, 2], pads=[1, 0, 1, 0]}\n", x, x);

    (void)state;
    assert_int_equal(ed_window_positions(&w, 0, 4, false), 2);
    assert_int_equal(ed_window_positions(&w, 0, 4, true),
                     2); /* a third would begin at 5 = in + pad */
    assert_int_equal(ed_window_positions(&w, 0, 6, true), 3); /* at 6 < 7 */
    assert_int_equal(ed_window_positions(&w, 1, 5, false), 2);
    assert_int_equal(ed_window_positions(&w, 1, 5, true), 3);
}

/* Every tap and position by hand against the range. */
static void valid_ranges_match_a_direct_count(void **state)
{
    (void)state;
    for (int64_t in = 1; in < 7; in++)
        for (int64_t pad = 0; pad < 5; pad++)
            for (int64_t stride = 1; stride < 4; stride++)
                for (int64_t k = 0; k < 4; k++) {
                    ed_window_axis a = { in, 5, 4, stride, 2, pad };
                    int64_t lo, hi;

                    ed_window_valid(&a, k, &lo, &hi);
                    assert_true(lo >= 0 && lo <= hi && hi <= a.out);
                    for (int64_t o = 0; o < a.out; o++) {
                        int64_t i = o * stride - pad + k * 2;

                        assert_int_equal(i >= 0 && i < in, o >= lo && o < hi);
                    }
                }
}

/* y of the graph's node on n floats as x of that shape; the caller frees. */
static ed_tensor *evaluate(const char *text, ed_shape shape, const float *x)
{
    ed_graph *g = NULL;
    const ed_node *node = parse(&g, text);
    ed_tensor *in = NULL, *out[2] = { NULL, NULL };

    assert_int_equal(ed_tensor_from(&in, ED_F32, &shape, x), ED_OK);
    if (ed_op_evaluate(g, node, (const ed_tensor *const *)&in, out) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_tensor_free(in);
    ed_tensor_free(out[1]);
    ed_graph_free(g);
    return out[0];
}

#define HEAD1 "graph t opset 19\ninput x: f32\n"

static void pooling_shows_nan_and_empty_windows(void **state)
{
    const float nan_row[6] = { 1, NAN, 2, 3, -INFINITY, 4 }, pair[2] = { 5, 7 };
    ed_tensor *y = evaluate(HEAD1 "y = MaxPool(x) {kernel_shape=[2], strides=[2]}\n",
                            ED_SHAPE(1, 1, 6), nan_row);
    const float *v = y->data;

    (void)state;
    assert_int_equal(y->numel, 3);
    assert_true(isnan(v[0]));
    assert_float_equal(v[1], 3, 0);
    assert_float_equal(v[2], 4, 0);
    ed_tensor_free(y);
    y = evaluate(HEAD1 "y = GlobalMaxPool(x)\n", ED_SHAPE(1, 1, 6), nan_row);
    assert_true(isnan(((float *)y->data)[0]));
    ed_tensor_free(y);
    /* taps at -1 and 2 of an input of 2 elements: no tap is inside */
    y = evaluate(HEAD1 "y = AveragePool(x) {kernel_shape=[2], dilations=[3], pads=[1, 1]}\n",
                 ED_SHAPE(1, 1, 2), pair);
    assert_int_equal(y->numel, 1);
    assert_float_equal(((float *)y->data)[0], 0, 0);
    ed_tensor_free(y);
    y = evaluate(HEAD1 "y, i = MaxPool(x) {kernel_shape=[2], pads=[1, 0]}\n", ED_SHAPE(1, 1, 2),
                 pair);
    assert_float_equal(((float *)y->data)[0], 5, 0);
    assert_float_equal(((float *)y->data)[1], 7, 0);
    ed_tensor_free(y);
}

/* A failed allocation at any place gives ED_ENOMEM and leaves nothing behind. */
static void failed_allocations_are_passed_on(void **state)
{
    const char *text = HEAD1 "y = AveragePool(x) {kernel_shape=[2, 2]}\n";
    ed_shape shape = ED_SHAPE(1, 2, 3, 3);
    ed_graph *g = NULL;
    const ed_node *node = parse(&g, text);
    ed_tensor *in = NULL, *out = NULL;
    int rc = ED_ENOMEM;

    (void)state;
    assert_int_equal(ed_tensor_new(&in, ED_F32, &shape), ED_OK);
    for (long n = 1; rc != ED_OK; n++) {
        assert_in_range(n, 1, 20);
        ed_alloc_fail_at(n);
        rc = ed_op_evaluate(g, node, (const ed_tensor *const *)&in, &out);
        ed_alloc_fail_at(0);
        assert_true(rc == ED_OK || rc == ED_ENOMEM);
        assert_true((rc == ED_OK) == (out != NULL));
    }
    ed_tensor_free(out);
    ed_tensor_free(in);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_ones_and_no_pads),
        cmocka_unit_test(same_pads_put_the_odd_one_where_told),
        cmocka_unit_test(transposed_pads_hold_the_output_padding),
        cmocka_unit_test(ceil_mode_drops_windows_that_begin_in_the_right_padding),
        cmocka_unit_test(valid_ranges_match_a_direct_count),
        cmocka_unit_test(pooling_shows_nan_and_empty_windows),
        cmocka_unit_test(failed_allocations_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
