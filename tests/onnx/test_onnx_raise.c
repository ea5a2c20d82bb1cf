/* QuantizeLinear/DequantizeLinear to FakeQuantize, from text graphs that hold the pairs as nodes.
 */
#include "model_bytes.h"

#include <string.h>

/* Write the text's graph and read it again: reading raises. */
static int through_file(ed_graph **out, const char *text)
{
    ed_graph *g;
    const char *folder = make_folder(), *path = path_in(folder, "model.onnx");
    assert_ok(ed_graph_parse(&g, text));
    assert_ok(ed_onnx_write(g, path, NULL));
    ed_graph_free(g);
    int rc = ed_onnx_read(out, path);
    remove_folder(folder);
    return rc;
}

static const ed_node *producer(const ed_graph *g, const char *value)
{
    ed_id id = ed_graph_find_value(g, value);
    assert_true(id != ED_NONE && g->values[id].producer != ED_NONE);
    return &g->nodes[g->values[id].producer];
}

static void assert_fake_quantize(const ed_graph *g, const ed_node *n, int64_t axis, int64_t qmin,
                                 int64_t qmax, int64_t bits)
{
    assert_string_equal(n->op_type, "FakeQuantize");
    assert_string_equal(n->domain, "ed");
    assert_int_equal(ed_node_attr(n, "axis")->i, axis);
    assert_int_equal(ed_node_attr(n, "qmin")->i, qmin);
    assert_int_equal(ed_node_attr(n, "qmax")->i, qmax);
    assert_int_equal(ed_node_attr(n, "bits")->i, bits);
    assert_int_equal(ed_node_attr(n, "is_unsigned")->i, qmin == 0);
    assert_int_equal(ed_node_constant(g, n, 2)->dtype, ED_I32);
    assert_int_equal(ed_node_constant(g, n, 2)->numel, ed_node_constant(g, n, 1)->numel);
}

static void test_activations(void **state)
{
    (void)state;
    ed_graph *g;
    /* z is shared by two pairs, one Q has two DQs, one zero_point is left out (uint8) */
    assert_ok(through_file(&g, "graph t opset 13\n"
                               "input x: f32[2, 4]\n"
                               "const s: f32[] = {0.5}\n"
                               "const z: i8[] = {3}\n"
                               "const t: f32[] = {0.25}\n"
                               "q = QuantizeLinear(x, s, z)\n"
                               "d = DequantizeLinear(q, s, z)\n"
                               "e = DequantizeLinear(q, s, z)\n"
                               "a = Add(d, e)\n"
                               "r = QuantizeLinear(a, s, z)\n"
                               "f = DequantizeLinear(r, s, z)\n"
                               "u = QuantizeLinear(f, t)\n"
                               "y = DequantizeLinear(u, t)\n"
                               "output y\n"));
    assert_int_equal(ed_graph_node_count(g, NULL), 5);
    assert_int_equal(ed_graph_node_count(g, "FakeQuantize"), 4);
    assert_fake_quantize(g, producer(g, "d"), -1, -128, 127, 8);
    assert_fake_quantize(g, producer(g, "e"), -1, -128, 127, 8);
    assert_fake_quantize(g, producer(g, "y"), -1, 0, 255, 8);
    const ed_node *f = producer(g, "f");
    assert_int_equal(ed_tensor_get_i64(ed_node_constant(g, f, 2), 0), 3);
    assert_string_equal(g->values[f->in[2]].name, "z"); /* the file's name stays */
    assert_int_equal(ed_tensor_get_i64(ed_node_constant(g, producer(g, "y"), 2), 0), 0);
    assert_int_equal(ed_graph_opset(g, "ed"), 1);
    ed_graph_free(g);
}

static void test_weights(void **state)
{
    (void)state;
    ed_graph *g;
    assert_ok(through_file(&g, "graph t opset 13\n"
                               "input x: f32[2, 3]\n"
                               "const w_quantized: i8[3, 2] = {-128, 127, 1, -1, 0, 64}\n"
                               "const s: f32[2] = {0.5, 0.1}\n"
                               "const z: i8[2] = {0, 0}\n"
                               "const b: i32[2] = {-100, 70000}\n"
                               "const t: f32[2] = {0.125, 0.001}\n"
                               "w = DequantizeLinear(w_quantized, s, z) {axis=-1}\n"
                               "c = DequantizeLinear(b, t) {axis=0}\n"
                               "m = MatMul(x, w)\n"
                               "y = Add(m, c)\n"
                               "output y\n"));
    const ed_node *w = producer(g, "w");
    assert_fake_quantize(g, w, 1, -128, 127, 8);
    const float scale = 0.1F, bias_scale = 0.001F;
    const float want[] = { -64.0F, 127.0F * scale, 0.5F, -1.0F * scale, 0.0F, 64.0F * scale };
    assert_memory_equal(ed_node_constant(g, w, 0)->data, want, sizeof want);
    const float bias[] = { -12.5F, 70000.0F * bias_scale };
    const ed_value *c = &g->values[ed_graph_find_value(g, "c")];
    assert_non_null(c->constant);
    assert_memory_equal(c->constant->data, bias, sizeof bias);
    assert_int_equal(ed_graph_node_count(g, NULL), 3);
    ed_graph_free(g);
}

static void test_float_weights(void **state)
{
    (void)state;
    ed_graph *g;
    assert_ok(through_file(&g, "graph t opset 21\n"
                               "input x: f32[2, 2]\n"
                               "const w: f32[2, 2] = {1, 2, 3, 4}\n"
                               "const s: f32[1] = {0.5}\n"
                               "const z: i4[1] = {0}\n"
                               "q = QuantizeLinear(w, s, z) {axis=0}\n"
                               "d = DequantizeLinear(q, s, z) {axis=0}\n"
                               "y = MatMul(x, d)\n"
                               "output y\n"));
    assert_fake_quantize(g, producer(g, "d"), -1, -8, 7, 4);
    assert_true(ed_tensor_get_f64(ed_node_constant(g, producer(g, "d"), 0), 3) == 4.0);
    ed_graph_free(g);
}

#define HEAD "graph t opset 21\ninput x: f32[2, 4]\nconst s: f32[] = {0.5}\nconst z: i8[] = {0}\n"
#define TAIL "output y\n"

/* What a FakeQuantize cannot say stays as it is. */
static const char *const kept[] = {
    (HEAD "y = QuantizeLinear(x, s, z)\n" TAIL),
    (HEAD "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)\noutput q\n" TAIL),
    (HEAD "q = QuantizeLinear(x, s, z)\nr = Flatten(q)\ny = DequantizeLinear(r, s, z)\n" TAIL),
    (HEAD "t = Abs(s)\nq = QuantizeLinear(x, t, z)\ny = DequantizeLinear(q, t, z)\n" TAIL),
    (HEAD
     "const t: f32[] = {0.25}\nq = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, t, z)\n" TAIL),
    (HEAD "const t: i8[] = {1}\nq = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, t)\n" TAIL),
    (HEAD "const t: i8[] = {1}\nq = QuantizeLinear(x, s, z)\nd = DequantizeLinear(q, s, z)\n"
          "e = DequantizeLinear(q, s, t)\ny = Add(d, e)\n" TAIL),
    (HEAD "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, q)\n" TAIL),
    (HEAD "const t: f32[2, 2] = {1, 1, 1, 1}\nconst u: i8[2, 2] = {0, 0, 0, 0}\n"
          "q = QuantizeLinear(x, t, u) {block_size=2}\n"
          "y = DequantizeLinear(q, t, u) {block_size=2}\n" TAIL),
    (HEAD "const w: i4[2, 4] = {1, 2, 3, 4, 5, 6, 7, -8}\nconst t: f32[2, 2] = {1, 1, 1, 2}\n"
          "d = DequantizeLinear(w, t) {block_size=2}\ny = Add(x, d)\n" TAIL),
    ("graph t opset 13\ninput c: i8[2]\nconst s: f32[] = {0.5}\ny = DequantizeLinear(c, s)\n" TAIL),
};

static void test_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(kept); i++) {
        ed_graph *before, *after;
        assert_ok(ed_graph_parse(&before, kept[i]));
        assert_ok(through_file(&after, kept[i]));
        assert_int_equal(ed_graph_node_count(after, "FakeQuantize"), 0);
        assert_int_equal(ed_graph_node_count(after, NULL), ed_graph_node_count(before, NULL));
        ed_graph_free(before);
        ed_graph_free(after);
    }
}

static const struct {
    const char *text, *sentence;
    int code;
} refused[] = {
    { HEAD
      "const t: f32[] = {0}\nq = QuantizeLinear(x, t, z)\ny = DequantizeLinear(q, t, z)\n" TAIL,
      "scale 0 is 0; a scale must be a positive number", ED_EFORMAT },
    { HEAD
      "const t: f16[] = {1}\nq = QuantizeLinear(x, t, z)\ny = DequantizeLinear(q, t, z)\n" TAIL,
      "its scale is of type float16", ED_EUNSUPPORTED },
    { HEAD "const t: f32[3] = {1, 1, 1}\nconst u: i8[3] = {0, 0, 0}\nq = QuantizeLinear(x, t, u)\n"
           "y = DequantizeLinear(q, t, u)\n" TAIL,
      "it has 3 scales for the 4 channels of axis 1", ED_ESHAPE },
    { HEAD
      "const t: f32[2] = {1, 1}\nq = QuantizeLinear(x, t, z)\ny = DequantizeLinear(q, t, z)\n" TAIL,
      "it has 2 scales, but 1 zero points", ED_ESHAPE },
    { HEAD "const t: f32[2] = {1, 1}\nconst u: i8[2] = {0, 0}\n"
           "q = QuantizeLinear(x, t, u) {axis=5}\ny = DequantizeLinear(q, t, u)\n" TAIL,
      "its axis 5 does not fit a value of 2 dimensions", ED_EUNSUPPORTED },
    { HEAD "const w: f32[2] = {1, 1}\ny = DequantizeLinear(w, s, z)\n" TAIL,
      "it dequantizes float32", ED_EUNSUPPORTED },
    { HEAD "y = DequantizeLinear(x)\n" TAIL, "it has 1 inputs", ED_EFORMAT },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(refused); i++) {
        ed_graph *g;
        int rc = through_file(&g, refused[i].text);
        assert_fails(rc, refused[i].code, refused[i].sentence);
        assert_non_null(strstr(ed_error_last(), "model.onnx: "));
        assert_null(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),   cmocka_unit_test(test_weights),
        cmocka_unit_test(test_float_weights), cmocka_unit_test(test_kept),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
