/*
 * Gradient operators in trees of elementwise nodes: that they run as one kernel, with the numbers
 * of the reference kernels. With ED_TEST_DEVICE=cuda on that device, with ED_TEST_PRECISION.
 */
#include "device_choice.h"
#include "exec_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static ed_exec_options options;
static bool rounds_storage; /* to bfloat16 */
static double tolerance = 2e-6;

static void check(const char *text, int64_t batch, double limit, const char *says)
{
    compiled fast = check_with_options(text, batch, limit, &options);
    if (!plan_says(fast.exec, says)) {
        ed_exec_print(fast.exec, stderr);
        fail_msg("the plan lacks \"%s\"", says);
    }
    release(&fast);
}

/* Storage that is rounded may put an operand on the other side of a step of these. */
static bool has_steps(const char *node)
{
    return strstr(node, "Clip") || strstr(node, "HardSigmoid") || strstr(node, "FakeQuantize");
}

static const char *const gradients[] = {
    "ed::ReluGrad(a, z)",
    "ed::ReluGrad(z, a)",
    "ed::LeakyReluGrad(a, z) {alpha=0.25}",
    "ed::LeakyReluGrad(a, z)",
    "ed::ClipGrad(a, z, lo, hi)",
    "ed::ClipGrad(z, a, lo)",
    "ed::ClipGrad(a, z) {min=-1.0, max=1.5}",
    "ed::ClipGrad(a, z)",
    "ed::SigmoidGrad(a, z)",
    "ed::HardSigmoidGrad(a, z) {alpha=0.3}",
    "ed::HardSwishGrad(a, z)",
    "ed::TanhGrad(z, a)",
    "ed::MishGrad(a, z)",
    "ed::EluGrad(a, z) {alpha=0.5}",
    "ed::GeluGrad(a, z)",
    "ed::GeluGrad(a, z) {approximate=\"tanh\"}",
    "ed::ErfGrad(a, z)",
    "ed::AbsGrad(a, z)",
    "ed::FakeQuantizeGrad(a, z, q)",
    "ed::FakeQuantizeGrad(z, a, q)",
    "ed::FakeQuantizeGrad(a, z, s)",
    "ed::FakeQuantizeGrad(a, z, q, zero) {qmin=-8, qmax=7}",
};

/* Between an Abs and a Neg, over sizes that no vector divides. */
static void every_gradient_in_a_chain(void **state)
{
    static const char *const shapes[] = { "[N, 3, 5, 5]", "[N]", "[N, 513]" };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(shapes) * ED_LENGTH(gradients); i++) {
        const char *node = gradients[i / ED_LENGTH(shapes)], *shape = shapes[i % ED_LENGTH(shapes)];
        if (rounds_storage && has_steps(node))
            continue;
        snprintf(
            text, sizeof text,
            "graph t opset 20\ninput x: f32%s\ninput z: f32%s\ninput s0: f32[1]\n"
            "const lo: f32[] = {0.3}\nconst hi: f32[1] = {1.25}\nconst q: f32[] = {0.0078125}\n"
            "const zero: i32[] = {0}\ns1 = Abs(s0)\ns = ReduceMax(s1)\na = Neg(x)\nb = %s\n"
            "y = Neg(b)\noutput y\noutput s\n",
            shape, shape, node);
        check(text, 1, tolerance, " 'b' + Neg 'y'  [chain]");
    }
}

/* What the backward pass of a quantized residual network is made of. The scale is a constant, or
 * computed. */
static void masks_are_the_reference_bit_for_bit(void **state)
{
    static const char *const tails[] = {
        "y = ed::ReluGrad(a, v)\n",
        "y = ed::ClipGrad(a, v, lo, hi)\n",
        "y = ed::ClipGrad(a, v, hi, lo)\n",
        "b = Relu(a)\ny = ed::FakeQuantizeGrad(b, v, s) {qmin=-8, qmax=7}\n",
    };
    static const char *const scales[] = { "const s: f32[] = {0.013}\n",
                                          "input u: f32[1]\ns = Abs(u)\n" };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < 2 * ED_LENGTH(tails) && !rounds_storage; i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput dq: f32[N, 29997]\ninput skip: f32[N, 29997]\n"
                 "input v: f32[N, 29997]\nconst lo: f32[] = {-0.7}\nconst hi: f32[] = {1.5}\n%s"
                 "g = ed::FakeQuantizeGrad(dq, v, s)\na = Add(skip, g)\n%soutput y\n",
                 scales[i % 2], tails[i / 2]);
        check(text, 1, 0, "FakeQuantizeGrad 'g' + Add 'a' + ");
    }
}

/* Scales per channel, a zero_point, bounds that are computed: no part of a chain. */
static void what_does_not_fit_runs_alone(void **state)
{
    static const char *const nodes[] = {
        "y = ed::FakeQuantizeGrad(a, z, k) {axis=1}\n",
        "y = ed::FakeQuantizeGrad(a, z, q, three)\n",
        "c = Abs(r)\nd = ReduceMax(c) {keepdims=0}\ny = ed::ClipGrad(a, z, lo, d)\n",
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(nodes) && !rounds_storage; i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 5, 3]\ninput z: f32[N, 5, 3]\n"
                 "input r: f32[N, 4]\nconst q: f32[] = {0.01}\nconst lo: f32[] = {-1.0}\n"
                 "const k: f32[5] = {0.01, 0.02, 0.01, 0.005, 1.0}\nconst three: i32[] = {3}\n"
                 "a = Neg(x)\n%soutput y\n",
                 nodes[i]);
        compiled c = check_with_options(text, 1, 0, &options);
        assert_false(plan_says(c.exec, "[chain]"));
        release(&c);
    }
}

/* As dy, and as what the slope is taken at. */
static void special_numbers_pass_as_in_the_reference(void **state)
{
    static const float specials[] = { 0.0f,    -0.0f, INFINITY, -INFINITY, NAN,    1e-45f,
                                      -1e-40f, 3e38f, -3e38f,   1.25f,     -104.f, 1e-20f };
    enum { COUNT = ED_LENGTH(specials) * ED_LENGTH(specials) };
    ed_exec_options reference = { .reference = true };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(gradients) && !rounds_storage; i++) {
        snprintf(text, sizeof text,
                 "graph t opset 20\ninput x: f32[N, %d]\ninput z: f32[N, %d]\ninput s: f32[1]\n"
                 "const lo: f32[] = {nan}\nconst hi: f32[] = {1.25}\nconst q: f32[] = {0.0078125}\n"
                 "const zero: i32[] = {0}\na = Neg(x)\nb = %s\ny = Neg(b)\noutput y\n",
                 COUNT, COUNT, gradients[i]);
        compiled c[2] = { compile_text(text, 1, &options), compile_text(text, 1, &reference) };
        for (size_t k = 0; k < ED_LENGTH(c); k++) {
            for (size_t e = 0; e < COUNT; e++) {
                ((float *)c[k].inputs[0]->data)[e] = specials[e % ED_LENGTH(specials)];
                ((float *)c[k].inputs[1]->data)[e] = specials[e / ED_LENGTH(specials)];
            }
            if (c[k].n_inputs > 2)
                *(float *)c[k].inputs[2]->data = 0.5f;
            run(&c[k]);
        }
        for (size_t e = 0; e < COUNT; e++) {
            float got = ((const float *)c[0].outputs[0]->data)[e];
            float want = ((const float *)c[1].outputs[0]->data)[e];
            double least = options.device ? 1e-37 : 1e-44;
            if (!(isnan(got) && isnan(want)) && got != want &&
                !(fabs((double)got - want) <= fmax(fmax(tolerance, 1e-5) * fabs(want), least)))
                fail_msg("%s of %g and %g is %g, not %g", gradients[i],
                         specials[e % ED_LENGTH(specials)], specials[e / ED_LENGTH(specials)], got,
                         want);
        }
        release(&c[0]);
        release(&c[1]);
    }
}

/* Behind a convolution, in whose layout padding stays 0: slopes at 0 that are not. */
static void layouts_are_kept(void **state)
{
    static const char *const trees[] = {
        "e = ed::TanhGrad(one, c)\nd = Add(e, c)\n",
        "e = Exp(c)\nd = ed::FakeQuantizeGrad(e, c, s)\n",
        "g = Exp(c)\ne = Add(g, k)\nd = ed::ClipGrad(e, c) {min=-1.0, max=1.0}\n",
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(trees) && !rounds_storage; i++) {
        for (int channels = 15; channels < 34; channels += 6) {
            snprintf(
                text, sizeof text,
                "graph t opset 17\ninput x: f32[N, 8, 7, 5]\nconst s: f32[] = {0.05}\n"
                "const w: f32[%d, 8, 3, 3] = random(1)\nconst k: f32[%d, 1, 1] = random(3)\n"
                "const one: f32[2, %d, 7, 5] = fill(1)\nconst v: f32[9, %d, 1, 1] = random(2)\n"
                "p = Conv(x, w) {pads=[1, 1, 1, 1]}\nc = Mul(p, s)\n%s"
                "y = Conv(d, v)\nz = GlobalAveragePool(d)\noutput y\noutput z\noutput d\n",
                channels, channels, channels, channels, trees[i]);
            check(text, 2, fmax(10 * tolerance, 2e-5), " 'd'  [chain]");
        }
    }
}

int main(void)
{
    double nmse = 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_in_a_chain),
        cmocka_unit_test(masks_are_the_reference_bit_for_bit),
        cmocka_unit_test(what_does_not_fit_runs_alone),
        cmocka_unit_test(special_numbers_pass_as_in_the_reference),
        cmocka_unit_test(layouts_are_kept),
    };
    if (!choose_device(&options, &nmse))
        return 77;
    rounds_storage = options.device && strcmp(options.precision, "bf16") == 0;
    if (rounds_storage)
        tolerance = 0.03;
    else if (options.device && strcmp(options.precision, "tf32") == 0)
        tolerance = 2e-3;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
