/* Writing: FakeQuantize as pairs with exact integers, versions, names, and files that stay whole.
 */
#include "model_bytes.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static Onnx__ModelProto *written(const char *text, ed_weights_form form)
{
    ed_graph *g;
    const char *folder = make_folder(), *path = path_in(folder, "m.onnx");
    assert_ok(ed_graph_parse(&g, text));
    assert_ok(ed_onnx_write(g, path, &(ed_onnx_write_options){ .weights = form }));
    Onnx__ModelProto *m = unpack_file(path);
    ed_graph_free(g);
    remove_folder(folder);
    return m;
}

static int write_fails(const char *text, ed_weights_form form)
{
    ed_graph *g;
    const char *folder = make_folder();
    assert_ok(ed_graph_parse(&g, text));
    int rc =
        ed_onnx_write(g, path_in(folder, "m.onnx"), &(ed_onnx_write_options){ .weights = form });
    ed_graph_free(g);
    assert_int_equal(access(path_in(folder, "m.onnx"), F_OK), -1);
    remove_folder(folder);
    return rc;
}

static const Onnx__NodeProto *find_node(const Onnx__ModelProto *m, const char *name)
{
    for (size_t i = 0; i < m->graph->n_node; i++)
        if (m->graph->node[i]->name && strcmp(m->graph->node[i]->name, name) == 0)
            return m->graph->node[i];
    fail_msg("no node '%s'", name);
    return NULL;
}

static const char conv[] =
    "graph t opset 13\n"
    "input x: f32[N, 1, 1, 2]\n"
    "const w: f32[2, 1, 1, 2] = {0.25, 0.75, 1.25, -1000}\n"
    "const xs: f32[] = {0.5}\n"
    "const ws: f32[2] = {0.5, 0.5}\n"
    "const xz: i32[] = {0}\n"
    "const wz: i32[2] = {0, 0}\n"
    "const unused: f32[4] = {1, 2, 3, 4}\n"
    "xq = ed::FakeQuantize(x, xs, xz) {axis=-1, qmin=-128, qmax=127, bits=8, is_unsigned=0}\n"
    "wq = ed::FakeQuantize(w, ws, wz) {axis=0, qmin=-128, qmax=127, bits=8, is_unsigned=0}\n"
    "y = conv1: Conv(xq, wq) @Conv_0\n"
    "output y\n";

static void test_pairs(void **state)
{
    (void)state;
    Onnx__ModelProto *m = written(conv, ED_WEIGHTS_INT8);
    assert_int_equal(m->n_opset_import, 1); /* "ed" is not in the file */
    assert_int_equal(m->opset_import[0]->version, 13);
    assert_int_equal(m->ir_version, 7);
    assert_int_equal(m->graph->n_node, 4);
    const Onnx__NodeProto *q = find_node(m, "x_QuantizeLinear");
    assert_string_equal(q->input[0], "x");
    assert_string_equal(q->input[1], "xs");
    assert_string_equal(q->input[2], "xz");
    assert_string_equal(q->output[0], "x_quantized");
    assert_int_equal(q->n_attribute, 0);
    const Onnx__NodeProto *d = find_node(m, "w_DequantizeLinear");
    assert_string_equal(d->input[0], "w_quantized");
    assert_string_equal(d->output[0], "wq");
    assert_int_equal(d->n_attribute, 1); /* axis 0: the default would be 1 */
    Onnx__AttributeProto *axis =
        onnx__attribute_proto__unpack(NULL, d->attribute[0].len, d->attribute[0].data);
    assert_string_equal(axis->name, "axis");
    assert_int_equal(axis->i, 0);
    assert_int_equal(axis->has_i, 1);
    onnx__attribute_proto__free_unpacked(axis, NULL);
    assert_int_equal(m->graph->n_initializer, 5); /* neither w nor unused */
    const Onnx__TensorProto *w = find_initializer(m, "w_quantized");
    assert_int_equal(w->data_type, 3);
    const int8_t want[] = { 0, 2, 2, -128 }; /* 0.5, 1.5 and 2.5 to even; saturated */
    assert_int_equal(w->raw_data.len, 4);
    assert_memory_equal(w->raw_data.data, want, 4);
    const Onnx__TensorProto *z = find_initializer(m, "wz");
    assert_int_equal(z->data_type, 3);
    assert_int_equal(z->raw_data.len, 2);
    onnx__model_proto__free_unpacked(m, NULL);

    m = written(conv, ED_WEIGHTS_FLOAT);
    assert_int_equal(m->graph->n_node, 5);
    find_node(m, "w_QuantizeLinear");
    assert_int_equal(find_initializer(m, "w")->data_type, 1);
    assert_int_equal(m->graph->n_initializer, 5);
    onnx__model_proto__free_unpacked(m, NULL);
}

/* Integers of constants for other types; NaN and infinity saturate; zero_point moves the range. */
static void test_integers(void **state)
{
    (void)state;
    const struct {
        const char *attributes, *zero_point;
        int32_t type;
        uint8_t bytes[6];
        size_t size;
    } rows[] = {
        { "qmin=0, qmax=255, bits=8, is_unsigned=1", "10", 2, { 0, 8, 10, 12, 10, 255 }, 6 },
        { "qmin=-127, qmax=127, bits=8, is_unsigned=0", "0", 3, { 0x81, 0xFE, 0, 2, 0, 127 }, 6 },
        { "qmin=-8, qmax=7, bits=4, is_unsigned=0", "1", 22, { 0xF8, 0x31, 0x71 }, 3 },
        { "qmin=0, qmax=15, bits=4, is_unsigned=1", "2", 21, { 0x00, 0x42, 0xF2 }, 3 },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "graph t opset 21\n"
                 "input x: f32[6]\n"
                 "const w: f32[6] = {-1e30, -1.5, 0.25, 1.5, -0.25, 1e30}\n"
                 "const s: f32[] = {1}\n"
                 "const z: i32[] = {%s}\n"
                 "q = ed::FakeQuantize(w, s, z) {axis=-1, %s}\n"
                 "y = Add(x, q)\n"
                 "output y\n",
                 rows[i].zero_point, rows[i].attributes);
        Onnx__ModelProto *m = written(text, ED_WEIGHTS_INT8);
        const Onnx__TensorProto *w = find_initializer(m, "w_quantized");
        assert_int_equal(w->data_type, rows[i].type);
        assert_int_equal(w->raw_data.len, rows[i].size);
        assert_memory_equal(w->raw_data.data, rows[i].bytes, rows[i].size);
        assert_int_equal(find_initializer(m, "z")->data_type, rows[i].type);
        onnx__model_proto__free_unpacked(m, NULL);
    }
}

/* What is written and read again is the same graph in numbers. */
static void test_raise_after_lower(void **state)
{
    (void)state;
    ed_graph *g, *back, *again;
    const char *folder = make_folder(), *path = path_in(folder, "m.onnx");
    assert_ok(ed_graph_parse(&g, "graph t opset 13\n"
                                 "input x: f32[N, 16]\n"
                                 "const w: f32[16, 64] = random(5)\n"
                                 "const s: f32[64] = fill(0.013)\n"
                                 "const z: i32[64] = fill(0)\n"
                                 "q = ed::FakeQuantize(w, s, z) {axis=1, qmin=-128, qmax=127, "
                                 "bits=8, is_unsigned=0}\n"
                                 "y = MatMul(x, q)\n"
                                 "output y\n"));
    assert_ok(ed_onnx_write(g, path, NULL));
    assert_ok(ed_onnx_read(&back, path));
    ed_id q = ed_graph_find_value(back, "q");
    const ed_node *fq = &back->nodes[back->values[q].producer];
    assert_string_equal(back->values[fq->in[0]].name, "w");
    const float *w = ed_node_constant(back, fq, 0)->data;
    const float *w0 = g->values[ed_graph_find_value(g, "w")].constant->data;
    for (int i = 0; i < 16 * 64; i++) {
        float steps = rintf(w0[i] / 0.013F);
        steps = steps > 127 ? 127 : steps < -128 ? -128 : steps;
        assert_true(w[i] == steps * 0.013F);
    }
    assert_ok(ed_onnx_write(back, path, NULL));
    assert_ok(ed_onnx_read(&again, path));
    assert_true(ed_graph_hash(back) == ed_graph_hash(again)); /* names and numbers are stable */
    ed_graph_free(g);
    ed_graph_free(back);
    ed_graph_free(again);
    remove_folder(folder);
}

static void test_names_stay_unique(void **state)
{
    (void)state;
    Onnx__ModelProto *m =
        written("graph t opset 13\n"
                "input x: f32[4]\n"
                "const s: f32[] = {1}\n"
                "const z: i32[] = {0}\n"
                "x_quantized = x_QuantizeLinear: Relu(x)\n"
                "a = ed::FakeQuantize(x, s, z) {axis=-1}\n"
                "b = ed::FakeQuantize(x, s, z) {axis=-1, qmin=0, qmax=255, is_unsigned=1}\n"
                "c = Add(a, b)\n"
                "y = Add(c, x_quantized)\n"
                "output y\n",
                ED_WEIGHTS_INT8);
    for (size_t i = 0; i < m->graph->n_node; i++) {
        for (size_t k = 0; k < i; k++) {
            const Onnx__NodeProto *a = m->graph->node[i], *b = m->graph->node[k];
            assert_string_not_equal(a->output[0], b->output[0]);
            assert_true(!a->name || !b->name || strcmp(a->name, b->name) != 0);
        }
    }
    assert_int_equal(find_initializer(m, "z")->data_type, 3); /* one zero_point a type */
    assert_int_equal(find_initializer(m, "z_u")->data_type, 2);
    assert_int_equal(m->graph->n_initializer, 3);
    onnx__model_proto__free_unpacked(m, NULL);
}

#define HEAD                                                                                       \
    "input x: f32[4]\nconst s: f32[] = {1}\nconst z: i32[] = {0}\nconst v: f32[4] = {1, 1, 1, "    \
    "1}\n"                                                                                         \
    "const n: i32[4] = {0, 0, 0, 0}\nconst o: f32[] = {0}\nconst k: i32[] = {128}\n"

static const struct {
    const char *text, *sentence;
    int code;
} refused[] = {
    { "graph t opset 12\n" HEAD "y = ed::FakeQuantize(x, v, n) {axis=0}\noutput y\n",
      "needs opset 13, but the model has 12", ED_EUNSUPPORTED },
    { "graph t opset 9\n" HEAD "y = ed::FakeQuantize(x, s, z)\noutput y\n", "needs opset 10",
      ED_EUNSUPPORTED },
    { "graph t opset 20\n" HEAD
      "y = ed::FakeQuantize(x, s, z) {bits=4, qmin=-8, qmax=7}\noutput y\n",
      "(int4, per tensor) needs opset 21", ED_EUNSUPPORTED },
    { "graph t opset 21\n" HEAD "y = ed::FakeQuantize(x, s, z) {bits=5}\noutput y\n", "has 5 bits",
      ED_EUNSUPPORTED },
    { "graph t opset 13\n" HEAD "y = ed::FakeQuantize(x, s, z) {qmin=-127}\noutput y\n",
      "quantizes to [-127, 127]", ED_EUNSUPPORTED },
    { "graph t opset 13\n" HEAD "y = ed::FakeQuantize(x, o, z)\noutput y\n", "scale 0 of",
      ED_ENONFINITE },
    { "graph t opset 13\n" HEAD "y = ed::FakeQuantize(x, s, k)\noutput y\n",
      "zero_point 0 of FakeQuantize 'y' is 128", ED_EINVAL },
    { "graph t opset 13\n" HEAD "y = ed::FakeQuantize(x, v, n)\noutput y\n", "4 scales but no axis",
      ED_ESHAPE },
    { "graph t opset 13\n" HEAD "t = Relu(s)\ny = ed::FakeQuantize(x, t, z)\noutput y\n",
      "needs a constant float32 scale", ED_EUNSUPPORTED },
    { "graph t opset 13\n" HEAD "y = ed::Other(x)\noutput y\n", "that ONNX does not have",
      ED_EUNSUPPORTED },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(refused); i++) {
        int rc = write_fails(refused[i].text, ED_WEIGHTS_INT8);
        assert_fails(rc, refused[i].code, refused[i].sentence);
    }
    int rc = write_fails("graph t opset 13\n" HEAD
                         "w = ed::FakeQuantize(v, s, z) {qmin=-127}\ny = Add(x, w)\noutput y\n",
                         ED_WEIGHTS_FLOAT);
    assert_fails(rc, ED_EUNSUPPORTED, "quantizes to [-127, 127]");
}

static void assert_old_file(const char *path)
{
    char text[16] = { 0 };
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text, f), 3);
    fclose(f);
    assert_string_equal(text, "old");
}

static void test_old_file_stays(void **state)
{
    (void)state;
    ed_graph *g;
    const char *folder = make_folder(), *path = path_in(folder, "m.onnx");
    assert_ok(ed_graph_parse(&g, "graph t opset 13\ninput x: f32[100, 100]\n"
                                 "const w: f32[100, 100] = random(1)\ny = Add(x, w)\noutput y\n"));
    int rc = ed_onnx_write(g, path_in(folder, "none/m.onnx"), NULL);
    assert_fails(rc, ED_EIO, "none/m.onnx: cannot write");
    rc = ed_onnx_write(g, folder, NULL);
    assert_fails(rc, ED_EIO, "not a regular file");
    write_bytes(path, "old", 3);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){ 5000, before.rlim_max }; /* a disk that is full after 5000 bytes */
    signal(SIGXFSZ, SIG_IGN);
    for (int external = 0; external < 2; external++) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        rc = ed_onnx_write(g, path, &(ed_onnx_write_options){ .external_data = external != 0 });
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_fails(rc, ED_EIO, "nothing was changed");
        assert_old_file(path);
    }
    assert_ok(ed_onnx_write(g, path, NULL));
    ed_graph_free(g);
    remove_folder(folder); /* fails when anything else is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_raise_after_lower),
        cmocka_unit_test(test_names_stay_unique),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_old_file_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
