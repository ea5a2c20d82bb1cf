/* Fused groups and layouts: the numbers of the reference kernels, and the steps that were promised.
 */
#include "exec_check.h"

#include <stdio.h>
#include <string.h>

static const double TOLERANCE = 2e-5;

/* One convolution of every activation, with channels that do not fill a block. */
static void activations_follow_a_convolution(void **state)
{
    static const char *const tails[] = {
        "y = Relu(c) @g\n",
        "y = LeakyRelu(c) {alpha=0.2} @g\n",
        "const lo: f32[] = {0.0}\nconst hi: f32[] = {6.0}\ny = Clip(c, lo, hi) @g\n",
        "const lo: f32[] = {0.25}\nconst hi: f32[] = {1.5}\ny = Clip(c, lo, hi) @g\n",
        "y = Sigmoid(c) @g\n",
        "y = Tanh(c) @g\n",
        "y = HardSwish(c) @g\n",
        "y = HardSigmoid(c) {alpha=0.3, beta=0.4} @g\n",
        "s = Sigmoid(c) @g\ny = Mul(c, s) @g\n",
        "s = Sigmoid(c) @g\ny = Mul(s, c) @g\n",
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(tails); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 19, 7, 5]\nconst w: f32[21, 19, 3, 3] = "
                 "random(1)\nconst b: f32[21] = random(2)\n"
                 "c = Conv(x, w, b) {pads=[1, 1, 1, 1]} @g\n%s"
                 "const v: f32[5, 21, 1, 1] = random(3)\nz = Conv(y, v)\noutput z\noutput y\n",
                 tails[i]);
        compiled fast = check_against_reference(text, 3, TOLERANCE);
        assert_true(plan_says(fast.exec, "g: Conv"));
        release(&fast);
    }
}

static const char residual[] = "graph t opset 17\n"
                               "input x: f32[N, 16, 8, 8]\n"
                               "const w: f32[16, 16, 3, 3] = random(1)\n"
                               "const b: f32[16] = random(2)\n"
                               "r = Relu(x)\n"
                               "p = Conv(r, w, b) {pads=[1, 1, 1, 1]}\n"
                               "c = Conv(p, w, b) {pads=[1, 1, 1, 1]} @g\n"
                               "a = Add(c, r) @g\n"
                               "y = Relu(a) @g\n";

static void a_residual_is_added_in_place_when_it_dies(void **state)
{
    char text[1024];
    (void)state;
    snprintf(text, sizeof text, "%soutput y\n", residual);
    compiled fast = check_against_reference(text, 2, TOLERANCE);
    assert_true(plan_says(fast.exec, "[2, 16, 8, 8]  in place"));
    release(&fast);
    /* r is still read behind the group, or is an output: not overwritten */
    snprintf(text, sizeof text, "%sz = Sub(y, r)\noutput z\n", residual);
    fast = check_against_reference(text, 2, TOLERANCE);
    release(&fast);
    snprintf(text, sizeof text, "%soutput y\noutput r\n", residual);
    fast = check_against_reference(text, 2, TOLERANCE);
    release(&fast);
}

/* x is the convolution's own input, or the operand comes after the convolution in the file. */
static void residuals_that_must_not_be_overwritten(void **state)
{
    (void)state;
    compiled fast = check_against_reference("graph t opset 17\ninput x: f32[N, 16, 6, 6]\n"
                                            "const w: f32[16, 16, 1, 1] = random(1)\nr = Relu(x)\n"
                                            "c = Conv(r, w) @g\ny = Add(r, c) @g\noutput y\n",
                                            2, TOLERANCE);
    assert_int_equal(ed_exec_get_stats(fast.exec).steps, 4); /* Relu, reorder, group, reorder */
    release(&fast);
    fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 16, 6, 6]\nconst w: f32[16, 16, 3, 3] = random(1)\n"
        "const d: f32[16, 16, 1, 1] = random(2)\nc = Conv(x, w) {pads=[1, 1, 1, 1]} @g\n"
        "k = Conv(x, d)\na = Add(c, k) @g\ny = Relu(a) @g\noutput y\n",
        2, TOLERANCE);
    assert_true(plan_says(fast.exec, "Conv 'c' + Add 'a' + Relu 'y'"));
    release(&fast);
}

static void an_observed_value_stays_visible(void **state)
{
    static const char text[] = "graph t opset 17\ninput x: f32[N, 4, 6, 6]\n"
                               "const w: f32[8, 4, 3, 3] = random(1)\nc = Conv(x, w) @g\n"
                               "y = Relu(c) @g\noutput y\n";
    const char *const names[] = { "c" };
    ed_exec_options opts = { .observed = names, .observed_count = 1 };
    (void)state;
    compiled c = compile_text(text, 2, &opts);
    assert_false(plan_says(c.exec, "g: Conv"));
    release(&c);
}

static void pooling_concat_and_squeeze_excite_keep_the_blocked_layout(void **state)
{
    (void)state;
    compiled fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 3, 16, 16]\n"
        "const w: f32[32, 3, 3, 3] = random(1)\nconst v: f32[24, 3, 3, 3] = random(2)\n"
        "a = Conv(x, w) {pads=[1, 1, 1, 1]}\nb = Conv(x, v) {pads=[1, 1, 1, 1]}\n"
        "c = Concat(a, b) {axis=1}\n"
        "p = MaxPool(c) {kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]}\n"
        "q = AveragePool(p) {kernel_shape=[2, 2], strides=[2, 2]}\n"
        "g = GlobalAveragePool(q)\nconst f: f32[56, 56, 1, 1] = random(3)\n"
        "e = Conv(g, f)\ns = Sigmoid(e)\nm = Mul(q, s)\nt = Add(m, q)\n"
        "const k: f32[1, 56, 1, 1] = random(4)\nu = Sub(t, k)\n"
        "const h: f32[] = {0.5}\nz = Div(u, h)\noutput z\n",
        2, TOLERANCE);
    ed_exec_stats stats = ed_exec_get_stats(fast.exec);
    assert_true(stats.reorders <= 2); /* the pooled vector, and the output */
    assert_false(plan_says(fast.exec, "[reference]"));
    release(&fast);
}

static void convolutions_of_all_kinds(void **state)
{
    static const char *const kinds[] = {
        "const w: f32[24, 1, 3, 3] = random(1)\nc = Conv(x, w) {group=24, pads=[1, 1, 1, 1]}\n",
        "const w: f32[48, 1, 5, 5] = random(1)\nc = Conv(x, w) {group=24, pads=[2, 2, 2, 2]}\n",
        "const w: f32[24, 4, 3, 3] = random(1)\nc = Conv(x, w) {group=6}\n",
        "const w: f32[40, 24, 3, 3] = random(1)\nc = Conv(x, w) {dilations=[2, 1]}\n",
        "const w: f32[9, 24, 2, 3] = fill(0.1)\nc = Conv(x, w) {strides=[2, 3], pads=[0,1,1,0]}\n",
        "const w: f32[64, 24, 1, 1] = random(1)\nc = Conv(x, w) {strides=[2, 2]}\n",
        "const w: f32[1, 24, 3, 3] = random(1)\nc = Conv(x, w) {auto_pad=\"SAME_UPPER\"}\n",
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(kinds); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 24, 9, 11]\n%s"
                 "y = Relu(c)\noutput y\n",
                 kinds[i]);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        assert_false(plan_says(fast.exec, "Conv 'c'  [reference]"));
        release(&fast);
    }
    /* Winograd; one and three spatial dimensions */
    compiled fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 40, 17, 16]\nconst w: f32[36, 40, 3, 3] = random(1)\n"
        "const b: f32[36] = random(2)\nc = Conv(x, w, b) {pads=[1, 1, 1, 1]}\noutput c\n",
        4, 1e-5);
    release(&fast);
    fast = check_against_reference("graph t opset 17\ninput x: f32[N, 20, 33]\n"
                                   "const w: f32[18, 20, 5] = random(1)\n"
                                   "c = Conv(x, w) {strides=[2], pads=[2, 1]}\noutput c\n",
                                   3, TOLERANCE);
    release(&fast);
    fast = check_against_reference("graph t opset 17\ninput x: f32[N, 16, 4, 5, 6]\n"
                                   "const w: f32[16, 16, 2, 2, 2] = random(1)\n"
                                   "c = Conv(x, w)\noutput c\n",
                                   1, TOLERANCE);
    release(&fast);
}

static void matrix_products_with_bias_and_activation(void **state)
{
    (void)state;
    compiled fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 5, 12]\nconst w: f32[12, 7] = random(1)\n"
        "const b: f32[7] = random(2)\nm = MatMul(x, w) @g\na = Add(m, b) @g\ny = Relu(a) @g\n"
        "const v: f32[7, 5] = random(3)\nz = MatMul(y, v)\nq = MatMul(z, y)\noutput q\noutput y\n",
        3, TOLERANCE);
    assert_true(plan_says(fast.exec, "g: MatMul"));
    release(&fast);
    fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 12]\nconst w: f32[7, 12] = random(1)\n"
        "const c: f32[7] = random(2)\nm = Gemm(x, w, c) {transB=1} @g\ny = Tanh(m) @g\n"
        "const v: f32[7, 3] = random(4)\nz = Gemm(y, v) {alpha=0.5}\noutput z\n",
        3, TOLERANCE);
    release(&fast);
}

static void unfolded_normalization_and_quantization_run_in_place(void **state)
{
    (void)state;
    compiled fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 16, 6, 6]\nconst w: f32[20, 16, 3, 3] = random(1)\n"
        "const s: f32[20] = random(2)\nconst b: f32[20] = random(3)\nconst m: f32[20] = random(4)\n"
        "const v: f32[20] = fill(0.5)\nconst q: f32[] = {0.125}\nconst z: i32[] = {0}\n"
        "const ws: f32[20] = fill(0.03125)\nconst wz: i32[20] = fill(0)\n"
        "f = ed::FakeQuantize(w, ws, wz) {axis=0}\nc = Conv(x, f)\n"
        "n = BatchNormalization(c, s, b, m, v)\nk = ed::FakeQuantize(n, q, z)\n"
        "y = ReduceMean(k) {axes=[2, 3], keepdims=0}\noutput y\n",
        2, 0.02); /* a rounding of q apart at most */
    assert_false(plan_says(fast.exec, "[reference]"));
    assert_int_equal(ed_graph_node_count(fast.graph, "FakeQuantize"), 2);
    release(&fast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_follow_a_convolution),
        cmocka_unit_test(a_residual_is_added_in_place_when_it_dies),
        cmocka_unit_test(residuals_that_must_not_be_overwritten),
        cmocka_unit_test(an_observed_value_stays_visible),
        cmocka_unit_test(pooling_concat_and_squeeze_excite_keep_the_blocked_layout),
        cmocka_unit_test(convolutions_of_all_kinds),
        cmocka_unit_test(matrix_products_with_bias_and_activation),
        cmocka_unit_test(unfolded_normalization_and_quantization_run_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
