/*
 * Trees of elementwise nodes: which nodes run as one kernel, and that its numbers are those of the
 * reference kernels. With ED_TEST_DEVICE=cuda on that device, with ED_TEST_PRECISION.
 */
#include "exec_check.h"

#include "backend/backend.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static ed_exec_options options;
static bool rounds_storage; /* to bfloat16 */
/* Of functions that are approximated; of exact arithmetic. */
static double tolerance = 2e-6, exact;

/* Runs the graph, compares, and looks for a text in the plan. */
static void check(const char *text, int64_t batch, double limit, const char *says)
{
    compiled fast = check_with_options(text, batch, limit, &options);
    if (says && !plan_says(fast.exec, says)) {
        ed_exec_print(fast.exec, stderr);
        fail_msg("the plan lacks \"%s\"", says);
    }
    release(&fast);
}

static void a_tree_is_one_step(void **state)
{
    (void)state;
    check("graph t opset 17\ninput x: f32[N, 5, 3, 3]\nconst c: f32[5, 1, 1] = random(1)\n"
          "a = Add(x, c)\ns = Sigmoid(a)\ny = Mul(x, s)\noutput y\n",
          2, tolerance, "Add 'a' + Sigmoid 's' + Mul 'y'  [chain]");
    /* two operands join; the shared one is computed once */
    check("graph t opset 17\ninput x: f32[N, 6]\ninput z: f32[N, 6]\na = Add(x, z)\n"
          "r = Relu(a)\nt = Tanh(z)\nm = Mul(r, t)\ny = Sub(m, a)\noutput y\n",
          3, tolerance, "Add 'a' + Relu 'r' + Tanh 't' + Mul 'm' + Sub 'y'  [chain]");
    /* a branch stands in the file before what it does not need */
    check("graph t opset 17\ninput x: f32[N, 6]\ns = Sigmoid(x)\nm = Softmax(x)\n"
          "y = Mul(m, s)\noutput y\n",
          3, tolerance, "Sigmoid 's' + Mul 'y'  [chain]");
}

static void what_is_seen_elsewhere_stays(void **state)
{
    static const char *const names[] = { "s" };
    ed_exec_options observing = options;
    (void)state;
    check("graph t opset 17\ninput x: f32[N, 7]\ns = Abs(x)\nr = Neg(s)\ny = Add(r, x)\n"
          "output y\noutput s\n",
          2, exact, "Neg 'r' + Add 'y'  [chain]");
    check("graph t opset 17\ninput x: f32[N, 7]\ns = Abs(x)\nr = Neg(s)\ny = Add(r, x)\n"
          "z = Softmax(s)\noutput y\noutput z\n",
          2, tolerance, "Neg 'r' + Add 'y'  [chain]");
    observing.observed = names;
    observing.observed_count = 1;
    compiled c = check_with_options("graph t opset 17\ninput x: f32[N, 7]\ns = Abs(x)\n"
                                    "r = Neg(s)\ny = Add(r, x)\noutput y\n",
                                    2, exact, &observing);
    assert_true(plan_says(c.exec, "Neg 'r' + Add 'y'  [chain]"));
    release(&c);
}

/* A node of another shape, of integers, of an operator that chains lack, or of constants alone. */
static void what_does_not_fit_runs_alone(void **state)
{
    (void)state;
    check("graph t opset 17\ninput x: f32[1, 4]\ninput z: f32[1, 3]\na = Neg(x)\nt = "
          "Transpose(z)\nb = Abs(t)\n"
          "c = Add(a, b)\ny = Relu(c)\noutput y\n",
          1, exact, "Add 'c' + Relu 'y'  [chain]");
    check("graph t opset 17\ninput x: f32[N, 4]\na = Abs(x)\nb = Sin(a)\nc = Neg(b)\n"
          "y = Relu(c)\noutput y\n",
          1, tolerance, "Neg 'c' + Relu 'y'  [chain]");
    compiled c =
        check_with_options("graph t opset 17\ninput i: i64[N, 4]\na = Abs(i)\nb = Add(a, i)\n"
                           "y = Cast(b) {to=1}\noutput y\n",
                           2, exact, &options);
    assert_false(plan_says(c.exec, "[chain]"));
    release(&c);
    check("graph t opset 17\ninput x: f32[N, 4]\nconst k: f32[4] = random(1)\nd = Exp(k)\n"
          "e = Neg(d)\na = Add(x, e)\ny = Relu(a)\noutput y\n",
          1, tolerance, "Add 'a' + Relu 'y'  [chain]");
    /* the middle dimension of the operand repeats */
    c = check_with_options("graph t opset 17\ninput x: f32[2, 3, 4]\n"
                           "const k: f32[2, 1, 4] = random(1)\na = Add(x, k)\ny = Relu(a)\n"
                           "output y\n",
                           2, exact, &options);
    assert_false(plan_says(c.exec, "[chain]"));
    release(&c);
}

/* Longer trees than a program holds become several. */
static void long_trees_are_cut(void **state)
{
    char text[2048];
    int n = snprintf(text, sizeof text, "graph t opset 17\ninput x: f32[N, 5]\nv0 = Abs(x)\n");
    (void)state;
    for (int i = 1; i < 20; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "v%d = %s(v%d)\n", i,
                      i % 2 ? "Neg" : "Abs", i - 1);
    snprintf(text + n, sizeof text - (size_t)n, "output v19\n");
    compiled c = check_with_options(text, 3, exact, &options);
    ed_exec_stats stats = ed_exec_get_stats(c.exec);
    assert_int_equal(stats.steps - stats.reorders, 3);
    release(&c);
    /* eight tensors: only six of them fit */
    check("graph t opset 17\ninput x: f32[N, 4]\nconst k: f32[8, 4] = random(1)\n"
          "a, b, c, d, e, f, g, h = Split(k) {axis=0, num_outputs=8}\n"
          "s = Sum(x, a, b, c)\nt = Sum(d, e, f, g, h)\nu = Add(s, t)\ny = Relu(u)\noutput y\n",
          1, tolerance, "[chain]");
    check("graph t opset 17\ninput x: f32[N, 4]\ninput z: f32[N, 4]\ns = Sum(x, z, x, z, x, z)\n"
          "t = Max(s, x, z)\ny = Min(t, z, s)\noutput y\n",
          1, exact, "Sum 's' + Max 't' + Min 'y'  [chain]");
}

/* Every operator, in a chain with an Abs before it and a Neg behind it. */
static void every_operator_in_a_chain(void **state)
{
    static const char *const nodes[] = {
        "Add(a, z)",
        "Sub(z, a)",
        "Mul(a, z)",
        "Div(a, z)",
        "Min(a, z)",
        "Max(z, a)",
        "Sum(a, z, x)",
        "Neg(a)",
        "Abs(a)",
        "Relu(a)",
        "LeakyRelu(a) {alpha=0.25}",
        "Clip(a, lo, hi)",
        "Clip(a, lo)",
        "Clip(a)",
        "Sigmoid(a)",
        "Tanh(a)",
        "HardSigmoid(a) {alpha=0.3, beta=0.4}",
        "HardSwish(a)",
        "Erf(a)",
        "Gelu(a)",
        "Gelu(a) {approximate=\"tanh\"}",
        "Exp(a)",
        "Log(a)",
        "Sqrt(a)",
        "Reciprocal(a)",
        "Pow(a, lo)",
        "Pow(a, two)",
        "Pow(a, three)",
        "Pow(a, half)",
        "Pow(a, minus)",
        "Sub(one, a)",
        "Div(hi, a)",
        "ed::FakeQuantize(a, q)",
        "ed::FakeQuantize(a, q, zero) {qmin=-8, qmax=7}",
    };
    static const char *const before[] = { "Abs(x)", "Neg(x)" };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < 2 * ED_LENGTH(nodes); i++) {
        if (rounds_storage && strstr(nodes[i / 2], "FakeQuantize"))
            continue; /* a rounded operand may give another level */
        snprintf(text, sizeof text,
                 "graph t opset 20\ninput x: f32[N, 3, 5, 5]\ninput z: f32[N, 3, 5, 5]\n"
                 "const lo: f32[] = {0.3}\nconst hi: f32[1] = {1.25}\nconst two: i64[] = {2}\n"
                 "const three: f32[1, 1] = {3}\nconst half: f32[] = {0.5}\n"
                 "const minus: f32[] = {-1}\nconst one: f32[] = {1}\nconst q: f32[] = {0.0625}\n"
                 "const zero: i32[] = {0}\na = %s\nb = %s\ny = Neg(b)\noutput y\n",
                 before[i % 2], nodes[i / 2]);
        check(text, 2, tolerance, " 'b' + Neg 'y'  [chain]");
    }
}

static void special_numbers_pass_as_in_the_reference(void **state)
{
    static const float specials[] = { 0.0f,    -0.0f, INFINITY, -INFINITY, NAN,    1e-45f,
                                      -1e-40f, 3e38f, -3e38f,   88.7f,     -104.f, 1e-20f };
    static const char *const nodes[] = { "Sigmoid(a)", "Tanh(a)",   "Erf(a)",       "Neg(a)",
                                         "Exp(a)",     "Log(a)",    "Sqrt(a)",      "Relu(a)",
                                         "Clip(a, q)", "Max(a, x)", "HardSwish(a)", "Div(q, a)" };
    ed_exec_options reference = { .reference = true };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(nodes) && !rounds_storage; i++) {
        snprintf(text, sizeof text,
                 "graph t opset 20\ninput x: f32[%zu]\nconst q: f32[] = {0.5}\na = Neg(x)\n"
                 "b = %s\ny = Neg(b)\noutput y\n",
                 ED_LENGTH(specials), nodes[i]);
        compiled fast = compile_text(text, (int64_t)ED_LENGTH(specials), &options);
        compiled slow = compile_text(text, (int64_t)ED_LENGTH(specials), &reference);
        memcpy(fast.inputs[0]->data, specials, sizeof specials);
        memcpy(slow.inputs[0]->data, specials, sizeof specials);
        run(&fast);
        run(&slow);
        for (size_t k = 0; k < ED_LENGTH(specials); k++) {
            float got = ((const float *)fast.outputs[0]->data)[k];
            float want = ((const float *)slow.outputs[0]->data)[k];
            double least = options.device ? 1e-37 : 1e-44;
            if (!(isnan(got) && isnan(want)) && got != want &&
                !(fabs((double)got - want) <= fmax(fmax(tolerance, 1e-5) * fabs(want), least)))
                fail_msg("%s of %g is %g, not %g", nodes[i], -specials[k], got, want);
        }
        release(&fast);
        release(&slow);
    }
}

/* The quotient is rounded to float before it is rounded to an integer; ties go to even. */
static void fake_quantize_in_a_chain_is_the_reference_bit_for_bit(void **state)
{
    (void)state;
    if (rounds_storage)
        return;
    check("graph t opset 17\ninput x: f32[N, 9999]\nconst q: f32[] = {0.013}\n"
          "const h: f32[] = {0.003}\nr = Relu(x)\na = ed::FakeQuantize(r, q)\n"
          "y = ed::FakeQuantize(a, h)\noutput y\n",
          3, 0, "Relu 'r' + FakeQuantize 'a' + FakeQuantize 'y'  [chain]");
    /* the scale is computed */
    check("graph t opset 17\ninput x: f32[N, 64]\ninput q: f32[1]\na = Abs(q)\nb = Neg(x)\n"
          "y = ed::FakeQuantize(b, a)\noutput y\n",
          1, exact, "Neg 'b' + FakeQuantize 'y'  [chain]");
}

/* Operands that repeat, over dimensions that no vector divides. */
static void operands_broadcast(void **state)
{
    static const char *const shapes[] = {
        "[1]",          "[]",           "[1, 1, 1, 1]", "[5, 1, 1]", "[1, 5, 1, 1]",
        "[2, 5, 1, 1]", "[2, 1, 1, 1]", "[7]",          "[3, 7]",    "[1, 1, 3, 1]",
        "[5, 3, 7]",    "[1, 5, 3, 7]", "[2, 5, 3, 7]",
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < 2 * ED_LENGTH(shapes); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[2, 5, 3, 7]\nconst c: f32%s = random(2)\n"
                 "r = ReduceMax(x) {keepdims=0}\np = PRelu(c, r)\na = Sub(%s, x)\n"
                 "b = Relu(a)\ny = Mul(b, %s)\noutput y\noutput p\n",
                 shapes[i / 2], i % 2 ? "p" : "c", i % 2 ? "p" : "c");
        check(text, 2, exact, "Sub 'a' + Relu 'b' + Mul 'y'  [chain]");
    }
}

/* Behind a convolution, whose layout the chain keeps: exp(0) in the padding must not stay there. */
static void layouts_are_kept(void **state)
{
    static const char *const trees[] = {
        "e = Exp(c)\nd = Add(e, one)\n",
        "e = Add(c, k)\nd = Sigmoid(e)\n",
        "e = Mul(k4, c)\nd = Add(e, one)\n",
        "g = GlobalAveragePool(c)\nh = Exp(g)\ne = Mul(c, g)\nd = Add(e, h)\n",
        "e = Add(c, row)\nd = Exp(e)\n",
        "e = Add(c, full)\nd = Exp(e)\n",
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(trees); i++) {
        for (int channels = 15; channels < 34; channels += 6) {
            snprintf(text, sizeof text,
                     "graph t opset 17\ninput x: f32[N, 8, 7, 5]\n"
                     "const w: f32[%d, 8, 3, 3] = random(1)\nconst one: f32[] = {1}\n"
                     "const v: f32[9, %d, 1, 1] = random(2)\nconst k: f32[%d, 1, 1] = random(3)\n"
                     "const k4: f32[1, %d, 1, 1] = random(4)\nconst row: f32[5] = random(5)\n"
                     "const full: f32[2, %d, 7, 5] = random(6)\nconst s: f32[] = {0.05}\n"
                     "p = Conv(x, w) {pads=[1, 1, 1, 1]}\nc = Mul(p, s)\n%s"
                     "y = Conv(d, v)\nz = GlobalAveragePool(d)\noutput y\noutput z\noutput d\n",
                     channels, channels, channels, channels, channels, trees[i]);
            check(text, 2, fmax(10 * tolerance, 2e-5), " 'd'  [chain]");
        }
    }
}

static void sizes_at_the_edges(void **state)
{
    static const char *const shapes[] = { "[N]",       "[N, 1]",   "[N, 3]",
                                          "[N, 511]",  "[N, 513]", "[N, 9001]",
                                          "[N, 1, 1]", "[N, 0]",   "[N, 2, 0, 3]" };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(shapes); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32%s\nconst k: f32[] = {0.5}\na = Mul(x, k)\n"
                 "b = Neg(a)\ny = Relu(b)\noutput y\n",
                 shapes[i]);
        check(text, 1, exact, NULL);
        check(text, 7, exact, NULL);
    }
}

/* The same memory under two names: not to be overwritten while it is read at another place. */
static void memory_with_two_names(void **state)
{
    (void)state;
    check("graph t opset 17\ninput x: f32[4, 4]\nconst s: i64[2] = {4, 4}\nconst f: i64[1] = {16}\n"
          "r = Neg(x)\nk = Reshape(r, f)\nb = Reshape(k, s)\na = Add(r, b)\ny = Relu(a)\n"
          "t = Transpose(y)\noutput t\n",
          4, exact, "Add 'a' + Relu 'y'  [chain]");
    check("graph t opset 17\ninput x: f32[4, 4]\nr = Softmax(x)\na = Neg(r)\nb = Add(a, x)\n"
          "y = Sub(b, r)\nt = Transpose(y)\noutput t\n",
          4, tolerance, "Neg 'a' + Add 'b' + Sub 'y'  [chain]");
}

/* What a product's kernel leaves of its group. */
static void the_rest_of_a_group_is_a_chain(void **state)
{
    (void)state;
    check("graph t opset 17\ninput x: f32[N, 4, 6, 6]\nconst w: f32[8, 4, 3, 3] = random(1)\n"
          "c = Conv(x, w) @g\nm = Neg(c) @g\na = Abs(m) @g\ny = Relu(a) @g\noutput y\n",
          2, fmax(tolerance, 2e-5), "g: Neg 'm' + Abs 'a' + Relu 'y'  [chain]");
}

static void every_failing_allocation_is_an_error(void **state)
{
    static const char text[] = "graph t opset 17\ninput x: f32[N, 3, 4, 4]\n"
                               "const w: f32[19, 3, 1, 1] = random(1)\n"
                               "const k: f32[19, 1, 1] = random(2)\np = Conv(x, w)\n"
                               "a = Add(p, k)\ns = Sigmoid(a)\ny = Mul(a, s)\noutput y\n";
    ed_shape shape = ED_SHAPE(2, 3, 4, 4);
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    int rc = ED_ENOMEM;
    (void)state;
    if (options.device)
        return; /* its library allocates by itself */
    assert_int_equal(ed_graph_parse(&g, text), ED_OK);
    for (long n = 1; rc == ED_ENOMEM && n < 1000; n++) {
        ed_alloc_fail_at(n);
        rc = ed_exec_new(&exec, g, &shape, &options);
        ed_alloc_fail_at(0);
        if (rc != ED_OK)
            assert_null(exec);
    }
    assert_int_equal(rc, ED_OK);
    assert_true(plan_says(exec, "[chain]"));
    ed_exec_free(exec);
    ed_graph_free(g);
}

/* ---- trees at random ---- */
static uint32_t seed;

static unsigned pick(unsigned n)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)(((uint64_t)seed * n) >> 32);
}

static const char *operand(char *buffer, size_t size, int values)
{
    static const char *const sources[] = { "x", "z", "k", "u", "half", "channel", "row", "full" };
    int i = (int)pick((unsigned)values + 4);
    if (i < values)
        snprintf(buffer, size, "v%d", values - 1 - i / 2); /* rather the newest ones */
    else
        snprintf(buffer, size, "%s", sources[pick(ED_LENGTH(sources))]);
    return buffer;
}

static int append_node(char *text, size_t size, int i)
{
    static const char *const unary[] = { "Neg",       "Abs",       "Relu",
                                         "LeakyRelu", "HardSwish", "ed::FakeQuantize" };
    static const char *const binary[] = { "Add", "Sub", "Min", "Max", "Sum" };
    char a[16], b[16], c[16];
    unsigned kind = pick(8);
    if (i == 0)
        return snprintf(text, size, "v0 = Add(x, z)\n");
    if (kind < 3) {
        const char *op = unary[pick(rounds_storage ? 5 : ED_LENGTH(unary))];
        return snprintf(text, size, "v%d = %s(v%u%s)\n", i, op, pick((unsigned)i),
                        op[0] == 'e' ? ", half" : "");
    }
    operand(a, sizeof a, i);
    operand(b, sizeof b, i);
    if (kind == 3)
        return snprintf(text, size, "v%d = Max(v%d, %s, %s)\n", i, i - 1, a,
                        operand(c, sizeof c, i));
    if (kind == 4) /* stays small */
        return snprintf(text, size, "m%d = Mul(v%d, %s)\nv%d = Clip(m%d, lo, hi)\n", i, i - 1, a, i,
                        i);
    return snprintf(text, size, "v%d = %s(%s, v%d)\n", i, binary[pick(ED_LENGTH(binary))], b,
                    i - 1);
}

static void random_trees(void **state)
{
    char text[4096];
    (void)state;
    for (seed = 1; seed < 200u << 20; seed = (seed | 0xfffff) + 1) {
        unsigned number = seed >> 20, nodes = 3 + pick(20);
        size_t n = (size_t)snprintf(
            text, sizeof text,
            "graph t%u opset 17\ninput x: f32[N, 5, 3, 7]\ninput z: f32[N, 5, 3, 7]\n"
            "input k: f32[1, 5, 1, 1]\ninput u: f32[1]\nconst half: f32[] = {0.5}\n"
            "const lo: f32[] = {-3.0}\nconst hi: f32[] = {4.0}\n"
            "const channel: f32[5, 1, 1] = random(3)\nconst row: f32[7] = random(4)\n"
            "const full: f32[1, 5, 3, 7] = random(5)\n",
            number);
        for (unsigned i = 0; i < nodes; i++)
            n += (size_t)append_node(text + n, sizeof text - n, (int)i);
        n += (size_t)snprintf(text + n, sizeof text - n, "output v%u\n", nodes - 1);
        if (pick(2))
            snprintf(text + n, sizeof text - n, "output v%u\n", nodes / 2);
        check(text, 1, exact, NULL);
    }
}

static bool choose_device(void)
{
    const char *precision = getenv("ED_TEST_PRECISION");
    const ed_device *device;
    options.device = getenv("ED_TEST_DEVICE");
    options.precision = precision ? precision : "fp32";
    if (!options.device)
        return true;
    rounds_storage = strcmp(options.precision, "bf16") == 0;
    if (rounds_storage)
        tolerance = exact = 0.03;
    if (strcmp(options.precision, "tf32") == 0)
        tolerance = 2e-3;
    if (ed_device_open(&device, options.device, NULL) == ED_OK)
        return true;
    print_message("skipped: %s\n", ed_error_last());
    return false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_is_one_step),
        cmocka_unit_test(what_is_seen_elsewhere_stays),
        cmocka_unit_test(what_does_not_fit_runs_alone),
        cmocka_unit_test(long_trees_are_cut),
        cmocka_unit_test(every_operator_in_a_chain),
        cmocka_unit_test(special_numbers_pass_as_in_the_reference),
        cmocka_unit_test(fake_quantize_in_a_chain_is_the_reference_bit_for_bit),
        cmocka_unit_test(operands_broadcast),
        cmocka_unit_test(layouts_are_kept),
        cmocka_unit_test(sizes_at_the_edges),
        cmocka_unit_test(memory_with_two_names),
        cmocka_unit_test(the_rest_of_a_group_is_a_chain),
        cmocka_unit_test(every_failing_allocation_is_an_error),
        cmocka_unit_test(random_trees),
    };
    if (!choose_device())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
