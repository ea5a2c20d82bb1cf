/* Walking a graph backwards: who contributes, what is asked of the rows, what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ed/exec.h"
#include "ops/gradient.h"

#include <string.h>

enum { MAX_WANTED = 3 };

static const char header[] = "graph t opset 17\ninput x: f32[2]\ninput y: f32[2]\n";

/* The graph, and d loss / d of the named values. */
static int differentiate(ed_graph **g, ed_id *grads, const char *nodes, const char *const *wanted,
                         size_t n)
{
    char text[1024];
    ed_id ids[MAX_WANTED];
    snprintf(text, sizeof text, "%s%soutput loss\n", header, nodes);
    assert_int_equal(ed_graph_parse(g, text), ED_OK);
    assert_int_equal(ed_graph_infer(*g), ED_OK);
    for (size_t i = 0; i < n; i++)
        ids[i] = ed_graph_find_value(*g, wanted[i]);
    return ed_graph_differentiate(*g, ed_graph_find_value(*g, "loss"), ids, n, grads);
}

/* The gradient of one value at x = (1, -2), y = (3, 5). */
static void expect(const char *nodes, const char *wanted, float a, float b)
{
    ed_graph *g;
    ed_exec *exec;
    ed_id grad;
    float numbers[2][2] = { { 1, -2 }, { 3, 5 } };
    ed_tensor x, y;
    const ed_tensor *inputs[] = { &x, &y }, *outputs[2];
    const ed_shape shapes[] = { ED_SHAPE(2), ED_SHAPE(2) };
    assert_int_equal(differentiate(&g, &grad, nodes, &wanted, 1), ED_OK);
    assert_int_not_equal(grad, ED_NONE);
    assert_int_equal(ed_graph_add_output(g, grad), ED_OK);
    assert_int_equal(ed_tensor_view(&x, ED_F32, &shapes[0], numbers[0]), ED_OK);
    assert_int_equal(ed_tensor_view(&y, ED_F32, &shapes[1], numbers[1]), ED_OK);
    assert_int_equal(ed_exec_new(&exec, g, shapes, NULL), ED_OK);
    assert_int_equal(ed_exec_run(exec, inputs, outputs), ED_OK);
    assert_float_equal(((const float *)outputs[1]->data)[0], a, 1e-6);
    assert_float_equal(((const float *)outputs[1]->data)[1], b, 1e-6);
    ed_exec_free(exec);
    ed_graph_free(g);
}

static void test_readers_are_summed(void **state)
{
    (void)state;
    expect("a = Mul(x, y)\nb = Add(a, x)\nloss = ReduceSum(b)\n", "x", 4, 6);
    expect("a = Mul(x, x)\nloss = ReduceSum(a)\n", "x", 2, -4); /* one node reads it twice */
    expect("a = Relu(x)\nb = Neg(x)\nc = Mul(b, y)\nd = Sum(a, c, x)\nloss = ReduceSum(d)\n", "x",
           -1, -4);
}

static void test_inner_values(void **state)
{
    (void)state;
    expect("a = Mul(x, y)\nb = Mul(a, y)\nloss = ReduceSum(b)\n", "a", 3, 5);
    expect("loss = ReduceSum(x)\n", "x", 1, 1);
}

static void test_what_is_not_reached(void **state)
{
    static const char *const wanted[] = { "y", "x", "b" };
    ed_graph *g;
    ed_id grads[MAX_WANTED];
    (void)state;
    /* b lies beside the way; of y, Floor is asked and gives nothing */
    assert_int_equal(differentiate(&g, grads,
                                   "b = Relu(y)\nc = Greater(y, x)\nd = Floor(y)\n"
                                   "a = Where(c, x, d)\nloss = ReduceSum(a)\n",
                                   wanted, 3),
                     ED_OK);
    assert_int_equal(grads[0], ED_NONE);
    assert_int_not_equal(grads[1], ED_NONE);
    assert_int_equal(grads[2], ED_NONE);
    ed_graph_free(g);
}

static void test_refused(void **state)
{
    static const char *const x = "x";
    ed_graph *g;
    ed_id grad;
    (void)state;
    assert_int_equal(differentiate(&g, &grad, "loss = Relu(x)\n", &x, 1), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "the loss 'loss' must be one float32 number"));
    ed_graph_free(g);
    assert_int_equal(differentiate(&g, &grad, "a = ArgMax(x)\nloss = Cast(a) {to=1}\n", &x, 1),
                     ED_OK); /* nothing flows back through integers */
    assert_int_equal(grad, ED_NONE);
    ed_graph_free(g);
}

static void test_memory(void **state)
{
    static const char *const x = "x";
    char text[256];
    (void)state;
    snprintf(text, sizeof text,
             "%sa = Mul(x, y)\nb = Add(a, x)\nloss = ReduceSum(b)\noutput loss\n", header);
    int rc = ED_ENOMEM;
    for (long n = 1; rc == ED_ENOMEM; n++) {
        ed_graph *g;
        ed_id grad, id;
        assert_int_equal(ed_graph_parse(&g, text), ED_OK);
        assert_int_equal(ed_graph_infer(g), ED_OK);
        id = ed_graph_find_value(g, x);
        ed_alloc_fail_once(n);
        rc = ed_graph_differentiate(g, ed_graph_find_value(g, "loss"), &id, 1, &grad);
        ed_alloc_fail_at(0);
        ed_graph_free(g);
    }
    assert_int_equal(rc, ED_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_are_summed),
        cmocka_unit_test(test_inner_values),
        cmocka_unit_test(test_what_is_not_reached),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
