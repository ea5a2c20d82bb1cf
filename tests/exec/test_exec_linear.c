/* Matrix products in batches, and linear layers with what follows them: the numbers of the
 * reference kernels, and the steps that were promised. */
#include "exec_check.h"

#include <stdio.h>
#include <string.h>

static const double TOLERANCE = 1e-5;

static void products_of_batches(void **state)
{
    static const char *const operands[] = {
        "input a: f32[N, 3, 4, 5]\ninput b: f32[N, 3, 5, 6]\n",
        "input a: f32[N, 1, 4, 5]\ninput c: f32[N, 5, 6]\nb = Relu(c)\n",
        "input c: f32[N, 5]\na = Relu(c)\ninput b: f32[N, 3, 5, 6]\n",
        "input a: f32[N, 3, 4, 1]\ninput c: f32[N, 1]\nb = Transpose(c)\n",
        "input a: f32[N, 3, 4, 5]\nconst b: f32[3, 5, 6] = random(1)\n",
        "const a: f32[4, 5] = random(1)\ninput b: f32[N, 3, 5, 6]\n",
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(operands); i++) {
        snprintf(text, sizeof text, "graph t opset 17\n%sy = MatMul(a, b)\noutput y\n",
                 operands[i]);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        release(&fast);
    }
}

/* The residual is overwritten unless the product still reads it, under whatever name. */
static void linear_layers_add_residuals(void **state)
{
    static const char *const tails[] = {
        "y = Add(h, r)\n",
        "y = Add(r, h)\nz = Sub(y, r)\noutput z\n",
        "f = Reshape(r, flat)\nm2 = MatMul(f, w) @h\ny = Add(m2, f)\n",
        "y = Add(h, h)\n",
        "const row: f32[8] = random(3)\ny = Add(h, row)\n",
        "m2 = MatMul(x, w) @h\nh2 = Add(m2, b) @h\ny = Add(h, h2)\n",
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(tails); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 6, 8]\nconst w: f32[8, 8] = random(1)\n"
                 "const b: f32[8] = random(2)\nconst flat: i64[2] = {-1, 8}\nr = Relu(x)\n"
                 "m = MatMul(x, w) @g\nh = Add(m, b) @g\n%soutput y\n",
                 tails[i]);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        if (i == 0)
            assert_true(plan_says(fast.exec, "Add 'y'  [brg:avx512_core]") ||
                        plan_says(fast.exec, "in place"));
        release(&fast);
    }
}

/* As in training: weights and bias are inputs of the graph, the operands of the gradients are
 * turned and reshaped. */
static void layers_whose_weights_are_inputs(void **state)
{
    static const struct {
        const char *nodes;
        uint32_t steps;
    } ways[] = {
        { "m = MatMul(x, w) @g\nh = Add(m, b) @g\ny = Relu(h) @g\n", 1 },
        { "m = MatMul(x, w) @g\nh = Add(b, m) @g\nr = Relu(x)\nn = MatMul(r, w) @h\n"
          "k = Add(n, b) @h\ny = Add(k, h)\n",
          3 },
        { "t = Transpose(w)\ny = MatMul(x, t)\n", 1 },
        { "f = Flatten(x) {axis=2}\ng = Gemm(f, w, b) {transB=1}\ny = Relu(g)\n", 2 },
        { "f = Flatten(x) {axis=2}\ny = Gemm(f, f) {transA=1}\n", 1 },
        { "f = Flatten(x) {axis=2}\ng = Gemm(f, f, b) {transA=1}\ny = Gemm(w, g) {transA=1, "
          "transB=1}\n",
          2 },
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(ways); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 4, 8]\ninput w: f32[8, 8]\n"
                 "input b: f32[8]\n%soutput y\n",
                 ways[i].nodes);
        compiled fast = check_against_reference(text, 8, TOLERANCE);
        assert_false(plan_says(fast.exec, "[reference]"));
        assert_int_equal(ed_exec_get_stats(fast.exec).steps, ways[i].steps);
        release(&fast);
    }
}

/* One row: the bias has the shape of the result, and may be the residual too. */
static void bias_and_residual_are_one(void **state)
{
    static const char *const nodes[] = {
        "h = Add(m, r) @g\ny = Add(h, r)\n",
        "s = Reshape(r, flat)\nh = Add(m, s) @g\ny = Add(h, r)\n",
        "h = Add(m, c) @g\ny = Add(h, r)\n",
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(nodes); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 8]\ninput v: f32[1, 64]\ninput c: f32[1, 8]\n"
                 "const flat: i64[1] = {8}\nconst square: i64[2] = {8, 8}\n"
                 "w = Reshape(v, square)\nr = Relu(c)\nm = MatMul(x, w) @g\n%soutput y\n",
                 nodes[i]);
        compiled fast = check_against_reference(text, 1, TOLERANCE);
        release(&fast);
    }
}

static void gelu_follows_a_linear_layer(void **state)
{
    static const char *const attributes[] = { "", " {approximate=\"tanh\"}" };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(attributes); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 20\ninput x: f32[N, 6, 8]\nconst w: f32[8, 9] = random(1)\n"
                 "const b: f32[9] = random(2)\nm = MatMul(x, w) @g\nh = Add(m, b) @g\n"
                 "y = Gelu(h)%s @g\noutput y\n",
                 attributes[i]);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        assert_true(plan_says(fast.exec, "Gelu 'y'"));
        assert_int_equal(ed_exec_get_stats(fast.exec).steps, 1);
        release(&fast);
    }
}

/* Gelu as exporters write it, and nodes that differ in a number or an operand. */
static void gelu_written_with_erf(void **state)
{
    static const struct {
        const char *nodes;
        bool fused;
    } ways[] = {
        { "d = Div(h, r2) @g\ne = Erf(d) @g\na = Add(e, one) @g\nm5 = Mul(h, a) @g\n"
          "y = Mul(m5, half) @g\n",
          true },
        { "d = Mul(h, q2) @g\ne = Erf(d) @g\na = Add(one, e) @g\nm5 = Mul(half, h) @g\n"
          "y = Mul(m5, a) @g\n",
          true },
        { "m5 = Mul(h, half) @g\nd = Div(h, r2) @g\ne = Erf(d) @g\na = Add(e, one) @g\n"
          "y = Mul(a, m5) @g\n",
          true },
        { "d = Div(h, one) @g\ne = Erf(d) @g\na = Add(e, one) @g\nm5 = Mul(h, a) @g\n"
          "y = Mul(m5, half) @g\n",
          false },
        { "d = Div(h, r2) @g\ne = Erf(d) @g\na = Add(e, half) @g\nm5 = Mul(h, a) @g\n"
          "y = Mul(m5, half) @g\n",
          false },
        { "d = Div(h, r2) @g\ne = Erf(d) @g\na = Add(e, one) @g\nm5 = Mul(a, a) @g\n"
          "y = Mul(m5, half) @g\n",
          false },
        { "d = Div(h, r2) @g\ne = Erf(d) @g\na = Add(e, one) @g\nm5 = Mul(h, a) @g\n"
          "y = Div(half, m5) @g\n",
          false },
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(ways); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 6, 8]\nconst w: f32[8, 9] = random(1)\n"
                 "const b: f32[9] = random(2)\nconst r2: f32[] = {1.41421354}\n"
                 "const q2: f32[] = {0.70710677}\nconst one: f32[] = {1}\n"
                 "const half: f32[] = {0.5}\nm = MatMul(x, w) @g\nh = Add(m, b) @g\n%soutput y\n",
                 ways[i].nodes);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        assert_int_equal(ed_exec_get_stats(fast.exec).steps == 1, ways[i].fused);
        release(&fast);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_batches),
        cmocka_unit_test(linear_layers_add_residuals),
        cmocka_unit_test(layers_whose_weights_are_inputs),
        cmocka_unit_test(bias_and_residual_are_one),
        cmocka_unit_test(gelu_follows_a_linear_layer),
        cmocka_unit_test(gelu_written_with_erf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
