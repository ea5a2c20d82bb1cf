/* Arithmetic on shapes, values that share memory, and integer inputs. */
#include "exec_check.h"

#include <string.h>

/* ---- shapes as values ---- */

/* [N, 3, 4, 4] -> [N, 4, 12] as an exporter writes it: Reshape to Concat(Shape[0], 4, 12). */
static const char flatten_heads[] = "graph t opset 17\n"
                                    "input x: f32[N, 3, 4, 4]\n"
                                    "const zero: i64[] = {0}\n"
                                    "const axis: i64[1] = {0}\n"
                                    "const rest: i64[2] = {4, 12}\n"
                                    "shape = Shape(x)\n"
                                    "n = Gather(shape, zero)\n"
                                    "n1 = Unsqueeze(n, axis)\n"
                                    "target = Concat(n1, rest) {axis=0}\n"
                                    "a = Relu(x)\n"
                                    "r = Reshape(a, target)\n"
                                    "y = Transpose(r) {perm=[0, 2, 1]}\n"
                                    "output y\n";

static void shapes_are_known_when_compiling(void **state)
{
    (void)state;
    compiled c = check_against_reference(flatten_heads, 5, 0);
    ed_shape want = ED_SHAPE(5, 12, 4);
    assert_true(ed_shape_equal(&c.outputs[0]->shape, &want));
    assert_false(plan_says(c.exec, "Shape"));
    assert_false(plan_says(c.exec, "Gather"));
    release(&c);
}

/* A constant that follows from the batch must not come from the executor of another batch. */
static void another_batch_has_its_own_shapes(void **state)
{
    (void)state;
    compiled whole = compile_text(flatten_heads, 5, NULL);
    compiled alone = compile_text(flatten_heads, 2, NULL);
    ed_shape shape = ED_SHAPE(2, 3, 4, 4);
    ed_exec_options opts = { .share = whole.exec };
    ed_exec *rest = NULL;
    const ed_tensor *y = NULL;
    assert_int_equal(ed_exec_new(&rest, whole.graph, &shape, &opts), ED_OK);
    assert_int_equal(ed_exec_run(rest, (const ed_tensor *const *)alone.inputs, &y), ED_OK);
    run(&alone);
    assert_true(difference(y, alone.outputs[0]) == 0);
    ed_exec_free(rest);
    release(&whole);
    release(&alone);
}

static void a_range_as_long_as_the_input(void **state)
{
    static const char text[] = "graph t opset 17\n"
                               "input x: f32[N, 6]\n"
                               "const zero: i64[] = {0}\n"
                               "const one: i64[] = {1}\n"
                               "const table: f32[9, 6] = random(1)\n"
                               "shape = Shape(x)\n"
                               "n = Gather(shape, zero)\n"
                               "places = Range(zero, n, one)\n"
                               "rows = Gather(table, places)\n"
                               "y = Add(x, rows)\n"
                               "output y\n";
    (void)state;
    compiled c = check_against_reference(text, 7, 0);
    const float *x = c.inputs[0]->data, *y = c.outputs[0]->data;
    const float *table = ed_graph_constant(c.graph, "table")->data;
    for (int i = 0; i < 7 * 6; i++)
        assert_true(y[i] == x[i] + table[i]);
    release(&c);
}

/* ---- values in one memory ---- */

static void a_reshape_copies_nothing(void **state)
{
    static const char text[] = "graph t opset 17\n"
                               "input x: f32[N, 8, 16]\n"
                               "const s: i64[2] = {-1, 16}\n"
                               "const axis: i64[1] = {1}\n"
                               "a = Sigmoid(x)\n"
                               "b = Reshape(a, s)\n"
                               "c = Unsqueeze(b, axis)\n"
                               "d = Squeeze(c, axis)\n"
                               "e = Identity(d)\n"
                               "f = Flatten(e)\n"
                               "y = Tanh(f)\n"
                               "output y\n";
    (void)state;
    compiled c = check_against_reference(text, 4, 1e-6);
    const ed_exec *x = c.exec;
    uint32_t root = x->buffers[x->where[ed_graph_find_value(c.graph, "a")]].root;
    for (const char *name = "bcdef"; *name; name++) {
        char value[2] = { *name, '\0' };
        assert_int_equal(x->buffers[x->where[ed_graph_find_value(c.graph, value)]].root, root);
    }
    assert_true(plan_says(x, "[alias]"));
    assert_true(ed_exec_get_stats(x).activation_bytes <= 2 * (4 * 8 * 16 * sizeof(float) + 128));
    release(&c);
}

/* Tanh could overwrite its input, but that memory is also `a`, which is read later. */
static void shared_memory_is_not_overwritten_early(void **state)
{
    static const char later[] = "graph t opset 17\n"
                                "input x: f32[N, 8, 16]\n"
                                "const s: i64[2] = {-1, 16}\n"
                                "a = Sigmoid(x)\n"
                                "b = Reshape(a, s)\n"
                                "c = Tanh(b)\n"
                                "d = Flatten(c) {axis=1}\n"
                                "e = Relu(a)\n"
                                "f = Flatten(e) {axis=2}\n"
                                "y = Add(d, f)\n"
                                "output y\n";
    static const char sibling[] = "graph t opset 17\n"
                                  "input x: f32[N, 8, 16]\n"
                                  "const s: i64[2] = {-1, 16}\n"
                                  "const t: i64[2] = {-1, 32}\n"
                                  "a = Sigmoid(x)\n"
                                  "b = Reshape(a, s)\n"
                                  "c = Reshape(a, t)\n"
                                  "p = Tanh(b)\n"
                                  "q = HardSigmoid(c)\n"
                                  "output p\n"
                                  "output q\n";
    static const char output[] = "graph t opset 17\n"
                                 "input x: f32[N, 8, 16]\n"
                                 "const s: i64[2] = {-1, 16}\n"
                                 "a = Sigmoid(x)\n"
                                 "b = Reshape(a, s)\n"
                                 "p = Tanh(b)\n"
                                 "output a\n"
                                 "output b\n"
                                 "output p\n";
    (void)state;
    const char *const texts[] = { later, sibling, output };
    for (size_t i = 0; i < ED_LENGTH(texts); i++) {
        compiled c = check_against_reference(texts[i], 3, 1e-6);
        release(&c);
    }
}

/* The caller may free its inputs after the run. */
static void an_output_is_never_the_callers_memory(void **state)
{
    static const char text[] = "graph t opset 17\n"
                               "input x: f32[N, 8, 2]\n"
                               "const s: i64[2] = {-1, 4}\n"
                               "y = Reshape(x, s)\n"
                               "z = Identity(x)\n"
                               "output y\n"
                               "output z\n";
    (void)state;
    compiled c = check_against_reference(text, 3, 0);
    assert_ptr_not_equal(c.outputs[0]->data, c.inputs[0]->data);
    assert_ptr_not_equal(c.outputs[1]->data, c.inputs[0]->data);
    assert_memory_equal(c.outputs[0]->data, c.inputs[0]->data, c.inputs[0]->nbytes);
    assert_memory_equal(c.outputs[1]->data, c.inputs[0]->data, c.inputs[0]->nbytes);
    release(&c);
}

/* Behind a convolution the value lies in the library's layout; the alias is of its plain copy. */
static void an_alias_of_a_reordered_value(void **state)
{
    static const char text[] = "graph t opset 17\n"
                               "input x: f32[N, 3, 6, 6]\n"
                               "const w: f32[20, 3, 3, 3] = random(1)\n"
                               "const v: f32[20, 20, 3, 3] = random(2)\n"
                               "a = Conv(x, w) {pads=[1, 1, 1, 1]}\n"
                               "b = Flatten(a)\n"
                               "c = Conv(a, v)\n"
                               "d = Flatten(c)\n"
                               "e = Relu(b)\n"
                               "output d\n"
                               "output e\n";
    (void)state;
    compiled c = check_against_reference(text, 2, 1e-5);
    release(&c);
}

/* ---- integers ---- */

static void token_ids_pick_rows_of_an_embedding(void **state)
{
    static const char *const types[] = { "i64", "i32" };
    (void)state;
    for (size_t t = 0; t < ED_LENGTH(types); t++) {
        char text[512];
        snprintf(text, sizeof text,
                 "graph t opset 17\n"
                 "input ids: %s[N, 5]\n"
                 "const table: f32[8, 16] = random(1)\n"
                 "e = Gather(table, ids)\n"
                 "y = ReduceMean(e) {axes=[1], keepdims=0}\n"
                 "output y\noutput e\n",
                 types[t]);
        compiled c = check_against_reference(text, 3, 1e-6);
        const float *table = ed_graph_constant(c.graph, "table")->data;
        const float *rows = c.outputs[1]->data;
        for (int i = 0; i < 3 * 5; i++)
            assert_memory_equal(rows + i * 16, table + ed_tensor_get_i64(c.inputs[0], i) * 16,
                                16 * sizeof(float));
        release(&c);
    }
}

static void an_id_outside_of_the_table_is_named(void **state)
{
    static const char text[] = "graph t opset 17\n"
                               "input ids: i64[N, 5]\n"
                               "const table: f32[8, 16] = random(1)\n"
                               "y = embed: Gather(table, ids)\n"
                               "output y\n";
    (void)state;
    compiled c = compile_text(text, 2, NULL);
    ((int64_t *)c.inputs[0]->data)[3] = 8;
    assert_int_equal(ed_exec_run(c.exec, (const ed_tensor *const *)c.inputs, c.outputs), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "embed"));
    assert_non_null(strstr(ed_error_last(), "index 8 is outside of the 8 elements"));
    release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_known_when_compiling),
        cmocka_unit_test(another_batch_has_its_own_shapes),
        cmocka_unit_test(a_range_as_long_as_the_input),
        cmocka_unit_test(a_reshape_copies_nothing),
        cmocka_unit_test(shared_memory_is_not_overwritten_early),
        cmocka_unit_test(an_output_is_never_the_callers_memory),
        cmocka_unit_test(an_alias_of_a_reordered_value),
        cmocka_unit_test(token_ids_pick_rows_of_an_embedding),
        cmocka_unit_test(an_id_outside_of_the_table_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
