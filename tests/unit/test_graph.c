/* Graphs: links, order, replacing and removing, groups, cloning, hashing, and the text form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const model =
    "graph tiny opset 17\n"
    "input x: f32[N, 3, ?, 8]\n"
    "const w: f32[2, 3, 1, 1] = {1, 2, 3, 4, 5, 6}\n"
    "const b: i8[2] = {-128, 127}\n"
    "c = conv: Conv(x, w) {pads=[0, 0, 0, 0], f=1.5, s=\"a \\\"b\\\"\", "
    "fs=[1.0, 2.5]} @ConvBNReLU_0\n"
    "\"odd name\", r = Relu(c, _) @ConvBNReLU_0\n"
    "y = com.microsoft::Mystery(r, r, b)\n"
    "output y, r\n";

static ed_graph *parse(const char *text)
{
    ed_graph *g;
    if (ed_graph_parse(&g, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

static char *print(const ed_graph *g)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(ed_graph_print(g, f), ED_OK);
    fclose(f);
    return text;
}

static void test_text_round_trip(void **state)
{
    (void)state;
    ed_graph *g = parse(model);
    char *once = print(g);
    ed_graph *again = parse(once);
    char *twice = print(again);
    assert_string_equal(once, twice);
    assert_string_equal(
        once, "graph tiny opset 17\n"
              "input x: f32[N, 3, ?, 8]\n"
              "const w: f32[2, 3, 1, 1] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const b: i8[2] = {-128, 127}\n"
              "c = conv: Conv(x, w) {pads=[0, 0, 0, 0], f=1.5, s=\"a \\\"b\\\"\", fs=[1.0, "
              "2.5]} @ConvBNReLU_0\n"
              "\"odd name\", r = Relu(c, _) @ConvBNReLU_0\n"
              "y = com.microsoft::Mystery(r, r, b)\n"
              "output y, r\n");
    assert_int_equal(ed_graph_hash(g), ed_graph_hash(again));
    free(once);
    free(twice);
    ed_graph_free(again);
    ed_graph_free(g);
}

static void test_text_errors(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "expected 'graph" },
        { "graph g opset 17\ninput x f32\noutput x", "2:9: expected ':'" },
        { "graph g opset 17\ninput x: f99\noutput x", "'f99' is no element type" },
        { "graph g opset 17\ninput x: f32[1, 2, 3, 4, 5, 6, 7, 8, 9]\noutput x", "at most 8" },
        { "graph g opset 17\nconst a: f32[2] = {1}\noutput a", "1 elements, the shape wants 2" },
        { "graph g opset 17\nconst a: f32[2] = {1, 2, 3}\noutput a", "more than the shape's 2" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x\noutput y", "expected a name" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x) {a=}\noutput y", "expected a number" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x) {a=\"b}\noutput y", "no closing quote" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x) nonsense\noutput y", "not understood" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x)\noutput z", "output 'z' is not defined" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x)", "has no output" },
        { "graph g opset 17\ninput x: f32\ny = Relu(z)\noutput y", "nothing computes it" },
        { "graph g opset 17\ninput x: f32\ninput x: f32\noutput x", "defined twice" },
        { "graph g opset 17\ninput x: f32\ny = Relu(x)\ny = Tanh(x)\noutput y",
          "needs one source" },
        { "graph g opset 17\ninput x: f32\na = Add(x, b)\nb = n: Relu(a)\noutput b", "cycle" },
        { "graph g opset 17\na = Relu(a)\noutput a", "cycle" },
        { "graph g opset 17\nconst a: i64[] = {99999999999999999999}\noutput a", "64 bits" },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        ed_graph *g;
        int rc = ed_graph_parse(&g, rows[i][0]);
        if (rc != ED_EFORMAT || g || !strstr(ed_error_last(), rows[i][1]))
            fail_msg("row %zu: %d '%s', expected '%s'", i, rc, ed_error_last(), rows[i][1]);
    }
}

static void test_random_constants(void **state)
{
    (void)state;
    ed_graph *g = parse("graph g opset 17\nconst a: f32[100, 100] = random(3)\n"
                        "const b: f32[100, 100] = random(4)\nconst c: f32[] = fill(2.5)\n"
                        "y = Add(a, b)\noutput y, c\n");
    const ed_tensor *a = ed_graph_constant(g, "a"), *b = ed_graph_constant(g, "b");
    double mean = 0, square = 0;
    for (int64_t i = 0; i < a->numel; i++) {
        mean += ed_tensor_get_f64(a, i) / 10000;
        square += ed_tensor_get_f64(a, i) * ed_tensor_get_f64(a, i) / 10000;
    }
    assert_true(mean > -0.05 && mean < 0.05 && square > 0.95 && square < 1.05);
    assert_memory_not_equal(a->data, b->data, a->nbytes);
    assert_true(ed_tensor_get_f64(ed_graph_constant(g, "c"), 0) == 2.5);
    assert_null(ed_graph_constant(g, "y"));
    assert_null(ed_graph_constant(g, "none"));
    ed_graph_free(g);
}

static void test_order_keeps_the_list(void **state)
{
    (void)state;
    ed_graph *g = parse("graph g opset 17\ninput x: f32\nd = Add(b, c)\na = Relu(x)\nb = Tanh(a)\n"
                        "c = Sigmoid(a)\noutput d\n");
    ed_id *order;
    size_t n;
    assert_int_equal(ed_graph_topological(g, &order, &n), ED_OK);
    assert_int_equal(n, 4);
    const char *const want[] = { "Relu", "Tanh", "Sigmoid", "Add" };
    for (size_t i = 0; i < n; i++)
        assert_string_equal(g->nodes[order[i]].op_type, want[i]);
    ed_free(order);
    ed_graph_free(g);
}

static void test_deep_graph_does_not_recurse(void **state)
{
    (void)state;
    ed_graph *g;
    ed_id value, *order;
    size_t n;
    assert_int_equal(ed_graph_new(&g, "deep"), ED_OK);
    assert_int_equal(ed_graph_add_value(g, &value, "x"), ED_OK);
    assert_int_equal(ed_graph_add_input(g, value), ED_OK);
    for (int i = 0; i < 50000; i++) {
        ed_id next;
        assert_int_equal(ed_graph_add_fresh_value(g, &next, "v"), ED_OK);
        assert_int_equal(ed_graph_add_node(g, NULL, "Relu", "", &value, 1, &next, 1), ED_OK);
        value = next;
    }
    assert_int_equal(ed_graph_add_output(g, value), ED_OK);
    assert_int_equal(ed_graph_topological(g, &order, &n), ED_OK);
    assert_int_equal(n, 50000);
    ed_free(order);
    assert_int_equal(ed_graph_verify(g), ED_OK);
    ed_graph_free(g);
}

static void test_replace_and_remove(void **state)
{
    (void)state;
    ed_graph *g = parse("graph g opset 17\ninput x: f32\na = first: Relu(x)\nb = Tanh(a)\n"
                        "c = Add(b, b)\nd = Sigmoid(c)\nconst k: f32[1] = {1}\ne = Mul(d, k)\n"
                        "output b, d\n");
    ed_id a = ed_graph_find_value(g, "a"), b = ed_graph_find_value(g, "b");
    assert_int_equal(ed_value_uses(&g->values[b]), 3);
    assert_int_equal(ed_graph_replace_value(g, b, a), ED_OK);
    assert_int_equal(ed_graph_verify(g), ED_OK);
    assert_string_equal(g->values[a].name, "b"); /* the output keeps its name */
    assert_int_equal(ed_graph_find_value(g, "b"), a);
    assert_int_equal(g->values[a].use_count, 3);
    assert_int_equal(ed_graph_remove_unused(g), ED_OK);
    assert_int_equal(ed_graph_node_count(g, NULL), 3); /* Tanh, Mul and its constant are gone */
    assert_int_equal(ed_graph_node_count(g, "Tanh"), 0);
    assert_null(ed_graph_constant(g, "k"));
    assert_int_equal(ed_graph_verify(g), ED_OK);
    /* a graph output cannot become an input's name */
    assert_int_equal(ed_graph_replace_value(g, a, ed_graph_find_value(g, "x")), ED_EUNSUPPORTED);
    ed_graph_free(g);
}

static void test_groups(void **state)
{
    (void)state;
    ed_graph *g = parse(model);
    assert_int_equal(ed_graph_group_count(g), 1);
    ed_group_info info = ed_graph_group(g, 0);
    assert_string_equal(info.kind, "ConvBNReLU");
    assert_string_equal(info.name, "ConvBNReLU_0");
    assert_string_equal(info.output, "odd name");
    assert_null(ed_graph_group(g, 1).name);
    ed_id node = 2, taken = 0, id;
    assert_int_equal(ed_graph_add_group(g, &id, "ConvBNReLU", &node, 1), ED_OK);
    assert_string_equal(g->groups[id].name, "ConvBNReLU_1");
    assert_int_equal(ed_graph_add_group(g, &id, "Conv", &taken, 1), ED_EINVAL);
    assert_int_equal(ed_graph_verify(g), ED_OK);
    g->nodes[2].group = 7;
    assert_int_equal(ed_graph_verify(g), ED_EFORMAT);
    ed_graph_clear_groups(g);
    assert_int_equal(ed_graph_verify(g), ED_OK);
    ed_graph_free(g);
}

static void test_accessors(void **state)
{
    (void)state;
    ed_graph *g = parse(model);
    assert_int_equal(ed_graph_input_count(g), 1);
    assert_string_equal(ed_graph_input(g, 0).name, "x");
    assert_int_equal(ed_graph_input(g, 0).shape.dim[0], -2);
    assert_null(ed_graph_input(g, 1).name);
    assert_int_equal(ed_graph_output_count(g), 2);
    assert_string_equal(ed_graph_output(g, 1).name, "r");
    assert_null(ed_graph_output(g, 2).name);
    assert_int_equal(ed_graph_opset(g, "ai.onnx"), 17);
    assert_int_equal(ed_graph_opset(g, "none"), 0);
    assert_int_equal(ed_graph_find_node(g, "conv"), 0);
    assert_int_equal(ed_graph_find_node(g, "none"), ED_NONE);
    assert_string_equal(ed_node_label(g, &g->nodes[1]), "Relu 'odd name'");
    ed_graph_free(g);
}

static void test_clone_and_hash(void **state)
{
    (void)state;
    ed_graph *g = parse(model), *copy;
    ed_graph_remove_node(g, 2);
    g->outputs[0] = g->outputs[1];
    assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
    char *a = print(g), *b = print(copy);
    assert_string_equal(a, b);
    free(a);
    free(b);
    assert_int_equal(ed_graph_hash(g), ed_graph_hash(copy));
    ((float *)ed_graph_constant(copy, "w")->data)[5] += 1e-3F;
    assert_int_not_equal(ed_graph_hash(g), ed_graph_hash(copy));
    ed_graph_free(copy);
    assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
    assert_int_equal(ed_node_set_float(copy, 0, "f", 1.25F), ED_OK);
    assert_int_equal(copy->nodes[0].n_attrs, g->nodes[0].n_attrs);
    assert_int_not_equal(ed_graph_hash(g), ed_graph_hash(copy));
    ed_graph_free(copy);
    ed_graph_free(g);
    ed_graph_free(NULL);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ed_graph *g, *copy;
    ed_alloc_fail_at(0);
    assert_int_equal(ed_graph_parse(&g, model), ED_OK);
    assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
    long total = ed_alloc_count();
    ed_graph_free(copy);
    ed_graph_free(g);
    for (long n = 1; n <= total; n++) {
        ed_alloc_fail_at(n);
        int rc = ed_graph_parse(&g, model);
        if (rc == ED_OK) {
            rc = ed_graph_clone(&copy, g);
            ed_graph_free(g);
        }
        ed_alloc_fail_at(0);
        if (rc != ED_ENOMEM)
            fail_msg("allocation %ld: %d %s", n, rc, ed_error_last());
    }
}

static void test_shapes_with_names(void **state)
{
    (void)state;
    ed_graph *g;
    char text[64], tiny[6];
    if (ed_graph_parse(&g, "graph g opset 17\ninput x: f32[\"my batch\", 3, ?, N]\ny = Relu(x)\n"
                           "output y\n") != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_value_info x = ed_graph_input(g, 0);
    assert_string_equal(ed_graph_shape_format(text, sizeof text, g, &x.shape),
                        "[\"my batch\", 3, ?, N]");
    assert_string_equal(ed_graph_shape_format(text, sizeof text, g, &ED_SHAPE_SCALAR), "[]");
    assert_string_equal(ed_graph_shape_format(text, sizeof text, g, &ED_SHAPE_UNKNOWN), "[...]");
    assert_string_equal(ed_graph_shape_format(tiny, sizeof tiny, g, &ED_SHAPE(12, 34, 56)),
                        "[12, ");
    assert_string_equal(ed_graph_shape_format(tiny, 1, g, &ED_SHAPE(12)), "");
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_with_names),
        cmocka_unit_test(test_text_round_trip),
        cmocka_unit_test(test_text_errors),
        cmocka_unit_test(test_random_constants),
        cmocka_unit_test(test_order_keeps_the_list),
        cmocka_unit_test(test_deep_graph_does_not_recurse),
        cmocka_unit_test(test_replace_and_remove),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_accessors),
        cmocka_unit_test(test_clone_and_hash),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
