/*
 * Attention in one step, and values seen through Transposes: the numbers of the reference kernels,
 * and the steps that were promised. With ED_TEST_DEVICE the heads
 * alone run, there, and what took each is printed.
 */
#include "device_choice.h"
#include "exec_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double TOLERANCE = 1e-5;

/* Three linear layers, heads, attention, the way back, a projection and the residual. */
static const char block[] =
    "graph t opset 17\ninput x: f32[N, 33, 48]\n"
    "const wq: f32[48, 48] = random(1)\nconst wk: f32[48, 48] = random(2)\n"
    "const wv: f32[48, 48] = random(3)\nconst wo: f32[48, 48] = random(4)\n"
    "const b: f32[48] = random(5)\nconst heads: i64[4] = {0, 0, 3, 16}\n"
    "const all: i64[3] = {0, 0, 48}\nconst s: f32[] = {0.04}\nconst half: f32[] = {0.5}\n"
    "r0 = Mul(x, half)\n"
    "qm = MatMul(r0, wq) @q\nqb = Add(qm, b) @q\nkm = MatMul(r0, wk) @k\nkb = Add(km, b) @k\n"
    "vm = MatMul(r0, wv) @v\nvb = Add(b, vm) @v\n"
    "qr = Reshape(qb, heads)\nq = Transpose(qr) {perm=[0, 2, 1, 3]}\n"
    "kr = Reshape(kb, heads)\nk = Transpose(kr) {perm=[0, 2, 3, 1]}\n"
    "vr = Reshape(vb, heads)\nv = Transpose(vr) {perm=[0, 2, 1, 3]}\n"
    "qk = MatMul(q, k) @a\nsc = Mul(qk, s) @a\np = Softmax(sc) @a\nz = MatMul(p, v) @a\n"
    "zt = Transpose(z) {perm=[0, 2, 1, 3]}\nzr = Reshape(zt, all)\n"
    "om = MatMul(zr, wo) @o\nob = Add(om, b) @o\ny = Add(ob, r0)\n";

static void a_block_runs_without_moving_data(void **state)
{
    char text[2048];
    (void)state;
    snprintf(text, sizeof text, "%soutput y\n", block);
    compiled fast = check_against_reference(text, 3, TOLERANCE);
    assert_true(plan_says(fast.exec, "[attention]"));
    assert_false(plan_says(fast.exec, "Transpose 'k'"));
    assert_true(plan_says(fast.exec, "MatMul 'om' + Add 'ob' + Add 'y'"));
    /* Mul, 3 linear, attention with its Transpose, Reshape, linear with the residual */
    assert_int_equal(ed_exec_get_stats(fast.exec).steps, 7);
    release(&fast);
}

/* What is observed, or an output, is computed as the graph says. */
static void inner_values_can_be_looked_at(void **state)
{
    static const char *const names[] = { "p" };
    static const char *const outputs[] = { "q", "k", "z", "p", "ob", "r0", "vr" };
    ed_exec_options opts = { .observed = names, .observed_count = 1 };
    char text[2048];
    (void)state;
    snprintf(text, sizeof text, "%soutput y\n", block);
    compiled watched = compile_text(text, 2, &opts);
    assert_false(plan_says(watched.exec, "[attention]"));
    assert_false(plan_says(watched.exec, "MatMul 'qk'  [reference]"));
    release(&watched);
    for (size_t i = 0; i < ED_LENGTH(outputs); i++) {
        snprintf(text, sizeof text, "%soutput y\noutput %s\n", block, outputs[i]);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        release(&fast);
    }
}

/* Queries, keys, values, mask and the nodes between the products. */
static const struct {
    const char *values, *between;
    bool fused;
} forms[] = {
    { "input q: f32[N, 7, 5]\ninput k: f32[N, 5, 9]\ninput v: f32[N, 9, 3]\n", "", true },
    { "input q: f32[N, 2, 1, 1]\ninput k: f32[N, 2, 1, 1]\ninput v: f32[N, 2, 1, 1]\n", "", true },
    { "input q: f32[N, 2, 6, 64]\ninput k: f32[N, 2, 64, 80]\ninput v: f32[N, 2, 80, 65]\n", "",
      true },
    { "input q: f32[N, 4, 7, 8]\nconst k: f32[1, 4, 8, 50] = random(1)\nconst v: f32[4, 50, 17] = "
      "random(2)\n",
      "", true },
    { "input q: f32[N, 1, 3, 13, 4]\ninput k: f32[N, 2, 3, 4, 16]\ninput v: f32[N, 2, 3, 16, 16]\n",
      "", true },
    { "input q: f32[N, 2, 7, 8]\ninput k: f32[N, 2, 8, 7]\ninput v: f32[N, 2, 7, 8]\n"
      "const c: f32[1] = {2.5}\nconst m: f32[7, 7] = random(3)\n",
      "t = Div(s, c) @a\nu = Add(m, t) @a\n", true },
    { "input q: f32[N, 2, 7, 8]\ninput k: f32[N, 2, 8, 20]\ninput v: f32[N, 2, 20, 8]\n"
      "input m: f32[N, 1, 1, 20]\n",
      "t = Add(s, m) @a\n", true },
    { "input q: f32[N, 2, 3, 8]\ninput k: f32[N, 2, 8, 3]\ninput v: f32[N, 2, 3, 8]\n"
      "const m: f32[3, 3] = {0, -inf, -inf, 0, 0, -inf, -inf, -inf, -inf}\n",
      "t = Add(s, m) @a\n", true }, /* a row that nothing attends to is NaN */
    { "input q: f32[N, 2, 3, 8]\ninput k: f32[N, 2, 8, 3]\ninput v: f32[N, 2, 3, 8]\n"
      "const m: f32[2, 3, 1] = {0, -inf, 0, 0, 1, nan}\n",
      "t = Add(s, m) @a\n", true },
    { "input q: f32[N, 2, 3, 8]\ninput k: f32[N, 2, 8, 3]\ninput v: f32[N, 2, 3, 8]\n"
      "const c: f32[] = {1e4}\n",
      "t = Mul(c, s) @a\n", true }, /* exponentials that underflow */
    { "input q: f32[N, 8]\nconst k: f32[8, 4] = random(1)\nconst v: f32[4, 5] = random(2)\n", "",
      true },
    { "input q: f32[N, 2, 3, 8]\ninput k: f32[N, 2, 8, 3]\ninput v: f32[N, 2, 3, 8]\n"
      "const c: f32[3] = random(2)\n",
      "t = Mul(s, c) @a\n", false }, /* no number */
};

static void write_form(char *text, size_t size, const char *values, const char *between)
{
    const char *last = strstr(between, "u = ") ? "u" : strstr(between, "t = ") ? "t" : "s";
    snprintf(text, size,
             "graph t opset 17\n%ss = MatMul(q, k) @a\n%sp = Softmax(%s) {axis=-1} @a\n"
             "y = MatMul(p, v) @a\noutput y\n",
             values, between, last);
}

static void attention_of_all_forms(void **state)
{
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(forms); i++) {
        write_form(text, sizeof text, forms[i].values, forms[i].between);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        if (plan_says(fast.exec, "[attention]") != forms[i].fused)
            fail_msg("%sfused in:\n%s", forms[i].fused ? "not " : "", text);
        release(&fast);
    }
}

/* Keys in rows, heads of 8 elements and more: what the fused kernels of devices take, at the edges
 * of their tiles, with masks of every shape. */
#define KEYS(shape, perm) "input r: f32[" shape "]\nk = Transpose(r) {perm=[" perm "]}\n"
static const struct {
    const char *values, *between;
} heads[] = {
    { "input q: f32[N, 7, 16]\n" KEYS("N, 9, 16", "0, 2, 1") "input v: f32[N, 9, 8]\n", "" },
    { "input q: f32[N, 2, 1, 8]\n" KEYS("N, 2, 1, 8", "0, 1, 3, 2") "input v: f32[N, 2, 1, 8]\n",
      "" },
    { "input q: f32[N, 3, 1, 64]\n" KEYS("N, 3, 70, 64",
                                         "0, 1, 3, 2") "input v: f32[N, 3, 70, 64]\n"
                                                       "const c: f32[] = {0.125}\n",
      "t = Mul(s, c) @a\n" },
    { "input q: f32[N, 3, 197, 64]\n" KEYS(
          "N, 3, 197, 64", "0, 1, 3, 2") "input v: f32[N, 3, 197, 64]\nconst c: f32[] = {8}\n",
      "t = Div(s, c) @a\n" },
    { "input q: f32[N, 2, 65, 128]\n" KEYS(
          "N, 2, 129, 128",
          "0, 1, 3, 2") "input v: f32[N, 2, 129, 128]\nconst c: f32[] = {0.0884}\n",
      "t = Mul(s, c) @a\n" },
    { "input q: f32[N, 2, 20, 256]\n" KEYS(
          "N, 2, 20, 256", "0, 1, 3, 2") "input v: f32[N, 2, 20, 256]\nconst c: f32[] = {0.0625}\n",
      "t = Mul(s, c) @a\n" },
    { "input q: f32[N, 2, 3, 13, 16]\n" KEYS("N, 2, 3, 50, 16",
                                             "0, 1, 2, 4, 3") "input v: f32[N, 2, 3, 50, 24]\n",
      "" },
    { "input q: f32[N, 4, 30, 32]\n" KEYS(
          "N, 1, 40, 32", "0, 1, 3, 2") "input v: f32[N, 1, 40, 32]\nconst c: f32[] = {0.2}\n",
      "t = Mul(s, c) @a\n" }, /* one head of keys for all */
    { "input q: f32[N, 2, 49, 32]\n" KEYS(
          "N, 2, 49, 32", "0, 1, 3, 2") "input v: f32[N, 2, 49, 32]\nconst c: f32[] = {0.2}\nconst "
                                        "m: f32[2, 49, 49] = random(3)\n",
      "t = Mul(s, c) @a\nu = Add(t, m) @a\n" },
    { "input q: f32[N, 2, 20, 8]\n" KEYS(
          "N, 2, 20, 8", "0, 1, 3, 2") "input v: f32[N, 2, 20, 8]\ninput m: f32[N, 1, 1, 20]\n",
      "t = Add(s, m) @a\n" },
    { "input q: f32[N, 2, 20, 8]\n" KEYS(
          "N, 2, 33, 8", "0, 1, 3, 2") "input v: f32[N, 2, 33, 8]\ninput m: f32[N, 2, 20, 33]\n",
      "t = Add(m, s) @a\n" },
    { "input q: f32[N, 2, 20, 8]\n" KEYS(
          "N, 2, 20, 8",
          "0, 1, 3, 2") "input v: f32[N, 2, 20, 8]\nconst m: f32[2, 20, 1] = random(4)\n",
      "t = Add(s, m) @a\n" },
    { "input q: f32[N, 2, 20, 8]\n" KEYS(
          "N, 2, 20, 8", "0, 1, 3, 2") "input v: f32[N, 2, 20, 8]\nconst m: f32[1] = {3}\n",
      "t = Add(s, m) @a\n" },
    { "input q: f32[N, 2, 3, 8]\n" KEYS("N, 2, 3, 8",
                                        "0, 1, 3, 2") "input v: f32[N, 2, 3, 8]\nconst m: f32[3, "
                                                      "3] = {0, -inf, -inf, 0, 0, -inf, 0, 0, 0}\n",
      "t = Add(s, m) @a\n" },
    { "input q: f32[N, 2, 3, 8]\n" KEYS(
          "N, 2, 3, 8",
          "0, 1, 3, 2") "input v: f32[N, 2, 3, 8]\n"
                        "const m: f32[3, 3] = {0, -inf, -inf, 0, 0, -inf, -inf, -inf, -inf}\n",
      "t = Add(s, m) @a\n" },
};

static void heads_of_all_shapes(void **state)
{
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(heads); i++)
        for (int64_t batch = 1; batch <= 3; batch += 2) {
            write_form(text, sizeof text, heads[i].values, heads[i].between);
            compiled fast = check_against_reference(text, batch, TOLERANCE);
            assert_true(plan_says(fast.exec, "[attention]"));
            release(&fast);
        }
}

/* ---- on a device ---- */

static ed_exec_options on_device;
static double device_nmse;

static double nmse(const ed_tensor *got, const ed_tensor *want)
{
    const float *a = got->data, *b = want->data;
    double error = 0, energy = 0;
    for (int64_t i = 0; i < want->numel; i++) {
        if (isnan(a[i]) != isnan(b[i]))
            return INFINITY;
        if (isnan(b[i]))
            continue;
        error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        energy += (double)b[i] * b[i];
    }
    return energy > 0 ? error / energy : error;
}

/* The step that the scores are computed in. */
static void print_scores(const compiled *c, double error)
{
    char *printed = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&printed, &size);
    assert_int_equal(ed_exec_print(c->exec, file), ED_OK);
    fclose(file);
    for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n"))
        if (strstr(line, "MatMul 's'") || strstr(line, "MatMul 'qk'"))
            print_message("%s  NMSE %.2g\n", line, error);
    free(printed);
}

static void check_on_device(const char *text, int64_t batch)
{
    ed_exec_options reference = { .reference = true };
    compiled slow = compile_text(text, batch, &reference);
    compiled fast = compile_text(text, batch, &on_device);
    run(&slow);
    for (int i = 0; i < 3; i++) { /* the second run records, the third replays */
        run(&fast);
        double error = nmse(fast.outputs[0], slow.outputs[0]);
        if (i == 0)
            print_scores(&fast, error);
        if (!(error <= device_nmse))
            fail_msg("run %d: NMSE %g in:\n%s", i, error, text);
    }
    release(&slow);
    release(&fast);
}

static void heads_on_a_device(void **state)
{
    char text[2048];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(heads); i++)
        for (int64_t batch = 1; batch <= 3; batch += 2) {
            write_form(text, sizeof text, heads[i].values, heads[i].between);
            check_on_device(text, batch);
        }
    for (int64_t batch = 1; batch <= 3; batch += 2) {
        snprintf(text, sizeof text, "%soutput y\n", block);
        check_on_device(text, batch);
    }
}

static void other_forms_on_a_device(void **state)
{
    char text[1024];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(forms); i++) {
        write_form(text, sizeof text, forms[i].values, forms[i].between);
        check_on_device(text, 2);
    }
}

/* Softmax along another axis, the probabilities at the right, a value twice: not attention. */
static void what_only_looks_like_attention(void **state)
{
    static const char *const tails[] = {
        "p = Softmax(s) {axis=1} @a\ny = MatMul(p, q) @a\n",
        "p = Softmax(s) @a\ny = MatMul(q, p) @a\n",
        "p = Softmax(s) @a\ny = MatMul(p, p) @a\n",
        "t = Add(s, s) @a\np = Softmax(t) @a\ny = MatMul(p, q) @a\n",
        "p = Softmax(s) @a\nr = Relu(p) @a\ny = MatMul(r, q) @a\n",
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(tails); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput q: f32[N, 2, 8, 8]\ns = MatMul(q, q) @a\n%soutput y\n",
                 tails[i]);
        compiled fast = check_against_reference(text, 2, TOLERANCE);
        assert_false(plan_says(fast.exec, "[attention]"));
        release(&fast);
    }
}

/* t is computed from r's memory in place before the product reads r through the Transpose. */
static void a_view_outlives_its_last_reader(void **state)
{
    static const char *const tails[] = {
        "k = Transpose(r) {perm=[0, 2, 1]}\nt = Sigmoid(r)\ns = MatMul(t, k)\n",
        ("k = Transpose(r) {perm=[0, 2, 1]}\nf = Reshape(r, flat)\nu = Sigmoid(f)\n"
         "t = Reshape(u, back)\ns = MatMul(t, k)\n"),
        "k = Transpose(r) {perm=[0, 2, 1]}\ns = MatMul(r, k)\n",
        "k = Transpose(r) {perm=[2, 0, 1]}\nj = Transpose(k) {perm=[1, 2, 0]}\ns = MatMul(x, j)\n",
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(tails); i++) {
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 12, 12]\nconst flat: i64[2] = {-1, 12}\n"
                 "const back: i64[3] = {-1, 12, 12}\nr = Relu(x)\n%soutput s\n",
                 tails[i]);
        compiled fast = check_against_reference(text, 3, TOLERANCE);
        release(&fast);
    }
}

/* The second product cannot look through a Transpose that ran inside of the first step. */
static void a_value_that_was_never_stored_is_not_looked_at(void **state)
{
    (void)state;
    compiled fast = check_against_reference(
        "graph t opset 17\ninput x: f32[N, 2, 6, 8]\nconst k: f32[8, 5] = random(1)\n"
        "const v: f32[5, 8] = random(2)\ns = MatMul(x, k) @a\np = Softmax(s) @a\n"
        "z = MatMul(p, v) @a\nt = Transpose(z) {perm=[0, 2, 1, 3]}\n"
        "f = Transpose(t) {perm=[0, 2, 3, 1]}\nr = Relu(x)\ny = MatMul(r, f)\noutput y\n",
        2, TOLERANCE);
    assert_true(plan_says(fast.exec, "+ Transpose 't'  [attention]"));
    release(&fast);
}

static void every_failing_allocation_is_an_error(void **state)
{
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    ed_shape shape = ED_SHAPE(2, 33, 48);
    char text[2048];
    int rc = ED_ENOMEM;
    long n = 0;
    (void)state;
    snprintf(text, sizeof text, "%soutput y\n", block);
    assert_int_equal(ed_graph_parse(&g, text), ED_OK);
    while (rc != ED_OK && n < 4000) {
        ed_alloc_fail_at(++n);
        rc = ed_exec_new(&exec, g, &shape, NULL);
        ed_alloc_fail_at(0);
        if (rc != ED_OK)
            assert_int_equal(rc, ED_ENOMEM);
    }
    assert_int_equal(rc, ED_OK);
    assert_true(n > 40);
    ed_exec_free(exec);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_runs_without_moving_data),
        cmocka_unit_test(inner_values_can_be_looked_at),
        cmocka_unit_test(attention_of_all_forms),
        cmocka_unit_test(heads_of_all_shapes),
        cmocka_unit_test(what_only_looks_like_attention),
        cmocka_unit_test(a_view_outlives_its_last_reader),
        cmocka_unit_test(a_value_that_was_never_stored_is_not_looked_at),
        cmocka_unit_test(every_failing_allocation_is_an_error),
    };
    const struct CMUnitTest device_tests[] = {
        cmocka_unit_test(heads_on_a_device),
        cmocka_unit_test(other_forms_on_a_device),
    };
    if (!choose_device(&on_device, &device_nmse))
        return 77;
    return on_device.device ? cmocka_run_group_tests(device_tests, NULL, NULL)
                            : cmocka_run_group_tests(tests, NULL, NULL);
}
