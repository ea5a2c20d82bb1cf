/* Files that are wrong: each its own sentence; any damage of a file ends in a graph or a sentence;
 * any failing allocation ends in ED_ENOMEM and nothing leaks (run under the sanitizers). */
#include "model_bytes.h"

#include <stdlib.h>
#include <string.h>

static int64_t negative[] = { 4, -3 }, huge[] = { INT64_MAX, INT64_MAX }, other[] = { 4, 4 };
static int64_t deep[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };

static void old_ir(model_bytes *m)
{
    m->model.ir_version = 2;
}
static void old_opset(model_bytes *m)
{
    m->opsets[0].version = 6;
}
static void new_opset(model_bytes *m)
{
    m->opsets[0].version = 24;
}
static void no_opset(model_bytes *m)
{
    m->model.n_opset_import = 0;
}
static void no_graph(model_bytes *m)
{
    m->model.graph = NULL;
}
static void no_output(model_bytes *m)
{
    m->graph.n_output = 0;
}
static void unknown_output(model_bytes *m)
{
    m->infos[2].name = (char *)"nowhere";
}
static void output_twice(model_bytes *m)
{
    m->infos[3].name = (char *)"y";
    m->graph.n_output = 2;
}
static void missing_initializer(model_bytes *m)
{
    m->graph.n_initializer = 0;
}
static void cycle(model_bytes *m)
{
    m->nodes[0].input[0] = (char *)"z";
    Onnx__NodeProto *relu = model_bytes_add_node(m, "Relu", "z");
    relu->input[0] = (char *)"y";
    relu->n_input = 1;
}
static void duplicate_output(model_bytes *m)
{
    model_bytes_add_node(m, "Relu", "y");
}
static void duplicate_initializer(model_bytes *m)
{
    model_bytes_add_initializer(m, "w", 1, m->w_dims, 0);
    m->initializers[1].float_data = m->w;
    m->initializers[1].n_float_data = 1;
}
static void duplicate_input(model_bytes *m)
{
    m->infos[1].name = (char *)"x";
    m->graph.n_input = 2;
}
static void nameless_initializer(model_bytes *m)
{
    m->initializers[0].name = (char *)"";
}
static void no_op_type(model_bytes *m)
{
    m->nodes[0].op_type = NULL;
}
static void negative_dim(model_bytes *m)
{
    m->initializers[0].dims = negative;
}
static void huge_dim(model_bytes *m)
{
    m->initializers[0].dims = huge;
}
static void deep_dims(model_bytes *m)
{
    m->initializers[0].dims = deep;
    m->initializers[0].n_dims = 9;
}
static void short_raw(model_bytes *m)
{
    m->initializers[0].dims = other;
}
static void short_typed(model_bytes *m)
{
    m->initializers[0].has_raw_data = 0;
    m->initializers[0].float_data = m->w;
    m->initializers[0].n_float_data = 11;
}
static void no_data(model_bytes *m)
{
    m->initializers[0].has_raw_data = 0;
}
static void float8(model_bytes *m)
{
    m->initializers[0].data_type = 17;
}
static void undefined_type(model_bytes *m)
{
    m->initializers[0].data_type = 99;
}
static void input_negative(model_bytes *m)
{
    m->dims[0][1].dim_value = -4;
}
static void input_huge(model_bytes *m)
{
    m->dims[0][1].dim_value = INT64_MAX;
}
static void input_deep(model_bytes *m)
{
    m->shapes[0].n_dim = 9;
}
static void input_sequence(model_bytes *m)
{
    m->types[0].tensor_type = NULL;
}
static void input_complex(model_bytes *m)
{
    m->tensor_types[0].elem_type = 14;
}
static void external_from_memory(model_bytes *m)
{
    m->initializers[0].has_raw_data = 0;
    m->initializers[0].has_data_location = 1;
    m->initializers[0].data_location = 1;
}
static void attribute_twice(model_bytes *m)
{
    Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
    a.name = (char *)"axis";
    a.has_i = 1;
    model_bytes_add_attribute(m, 0, &a);
    model_bytes_add_attribute(m, 0, &a);
}
static void damaged_attribute(model_bytes *m)
{
    Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
    a.name = (char *)"axis";
    model_bytes_add_attribute(m, 0, &a);
    m->attributes[0][0].data[1] = 0x7F;
}

static const struct {
    void (*change)(model_bytes *m);
    int code;
    const char *sentence;
} rows[] = {
    { old_ir, ED_EUNSUPPORTED, "IR version 2" },
    { old_opset, ED_EUNSUPPORTED, "opset 6; opsets 7 to 23 are supported" },
    { new_opset, ED_EUNSUPPORTED, "opset 24" },
    { no_opset, ED_EFORMAT, "imports no opset" },
    { no_graph, ED_EFORMAT, "not an ONNX file: it holds no graph" },
    { no_output, ED_EFORMAT, "has no output" },
    { unknown_output, ED_EFORMAT, "the output 'nowhere' is not computed" },
    { output_twice, ED_EFORMAT, "the output 'y' is listed twice" },
    { missing_initializer, ED_EFORMAT, "node MatMul 'product' reads 'w', but no input" },
    { cycle, ED_EFORMAT, "must not have a cycle" },
    { duplicate_output, ED_EFORMAT, "the output 'y' of Relu has the name of another value" },
    { duplicate_initializer, ED_EFORMAT, "the initializer 'w' has the name of another value" },
    { duplicate_input, ED_EFORMAT, "the input 'x' has the name of another value" },
    { nameless_initializer, ED_EFORMAT, "initializer has no name" },
    { no_op_type, ED_EFORMAT, "node 0 ('product') has no operator type" },
    { negative_dim, ED_EFORMAT, "dimension 1 of the initializer 'w' is -3" },
    { huge_dim, ED_EFORMAT, "the initializer 'w': the shape [9223372036854775807" },
    { deep_dims, ED_EUNSUPPORTED, "the initializer 'w' has 9 dimensions" },
    { short_raw, ED_EFORMAT, "'w' holds 48 bytes, but float32 [4, 4] needs 64" },
    { short_typed, ED_EFORMAT, "'w' holds 11 elements, but float32 [4, 3] needs 12" },
    { no_data, ED_EFORMAT, "'w' holds 0 elements" },
    { float8, ED_EUNSUPPORTED, "'w' is of type float8e4m3fn" },
    { undefined_type, ED_EFORMAT, "'w' has the element type 99" },
    { input_negative, ED_EFORMAT, "dimension 1 of the input 'x' is -4" },
    { input_huge, ED_EFORMAT, "dimension 1 of the input 'x' is 9223372036854775807" },
    { input_deep, ED_EUNSUPPORTED, "the input 'x' has 9 dimensions" },
    { input_sequence, ED_EUNSUPPORTED, "the input 'x' is no tensor" },
    { input_complex, ED_EUNSUPPORTED, "the input 'x' is of type complex64" },
    { external_from_memory, ED_EFORMAT, "no location is given" },
    { attribute_twice, ED_EFORMAT, "node MatMul 'product' has the attribute 'axis' twice" },
    { damaged_attribute, ED_EFORMAT, "an attribute of node MatMul 'product' is damaged" },
};

static void test_sentences(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        model_bytes m;
        ed_graph *g = (ed_graph *)&m;
        model_bytes_init(&m);
        rows[i].change(&m);
        int rc = model_bytes_read(&g, &m);
        assert_fails(rc, rows[i].code, rows[i].sentence);
        assert_null(g);
        assert_memory_equal(ed_error_last(),
                            "model.onnx: ", 12); /* every sentence names the file */
        model_bytes_free(&m);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",     "\x89HDF\r\n\x1a\n",          "PK\x03\x04 a zip file",
        "\x08", "just text, no model at all", "\xff\xff\xff\xff"
    };
    ed_graph *g;
    for (size_t i = 0; i < ED_LENGTH(texts); i++) {
        int rc = ed_onnx_read_memory(&g, texts[i], strlen(texts[i]), "model.onnx");
        assert_int_equal(rc, ED_EFORMAT);
        assert_true(strstr(ed_error_last(), "not an ONNX file") ||
                    strstr(ed_error_last(), "truncated"));
    }
    int rc = ed_onnx_read(&g, "there_is_no_such_file.onnx");
    assert_fails(rc, ED_ENOTFOUND, "there_is_no_such_file.onnx: cannot open the model");
    rc = ed_onnx_read(&g, ".");
    assert_fails(rc, ED_EIO, "not a regular file");
}

/* A model with one of everything: typed data, attributes, a quantized pair, metadata. */
static void rich_model(model_bytes *m)
{
    static float scale[] = { 0.5F };
    static int32_t zero[] = { 0 };
    static int64_t pads[] = { 1, 2 };
    Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
    model_bytes_init(m);
    m->model.metadata_props = m->metadata_list;
    m->model.n_metadata_props = 1;
    m->metadata.key = (char *)"k";
    m->metadata.value = (char *)"v";
    Onnx__TensorProto *s = model_bytes_add_initializer(m, "s", 1, NULL, 0);
    s->float_data = scale;
    s->n_float_data = 1;
    Onnx__TensorProto *z = model_bytes_add_initializer(m, "z", 3, NULL, 0);
    z->int32_data = zero;
    z->n_int32_data = 1;
    m->nodes[0].input[0] = (char *)"d";
    const char *ops[] = { "QuantizeLinear", "DequantizeLinear" }, *values[] = { "x", "q", "d" };
    for (size_t i = 0; i < 2; i++) {
        Onnx__NodeProto *n = model_bytes_add_node(m, ops[i], values[i + 1]);
        n->input[0] = (char *)values[i];
        n->input[1] = (char *)"s";
        n->input[2] = (char *)"z";
        n->n_input = 3;
    }
    a.name = (char *)"pads";
    a.ints = pads;
    a.n_ints = 2;
    model_bytes_add_attribute(m, 0, &a);
    model_bytes_pack(m);
}

static void test_every_truncation(void **state)
{
    (void)state;
    model_bytes m;
    rich_model(&m);
    for (size_t size = 0; size < m.size; size++) {
        uint8_t *copy = malloc(size ? size : 1); /* its own block: the sanitizer sees an overrun */
        ed_graph *g;
        assert_non_null(copy);
        memcpy(copy, m.bytes, size);
        int rc = ed_onnx_read_memory(&g, copy, size, "model.onnx");
        if (rc == ED_OK) /* cut behind the last needed field */
            ed_graph_free(g);
        else
            assert_memory_equal(ed_error_last(), "model.onnx: ", 12);
        assert_true(rc != ED_OK || size > m.size / 2);
        free(copy);
    }
    model_bytes_free(&m);
}

static void check_damaged(const uint8_t *bytes, size_t size)
{
    ed_graph *g;
    int rc = ed_onnx_read_memory(&g, bytes, size, "model.onnx");
    if (rc != ED_OK) {
        assert_null(g);
        assert_memory_equal(ed_error_last(), "model.onnx: ", 12);
        return;
    }
    assert_ok(ed_graph_verify(g));
    ed_graph_free(g);
}

static void test_flipped_bits(void **state)
{
    (void)state;
    model_bytes m;
    rich_model(&m);
    for (size_t bit = 0; bit < m.size * 8; bit++) { /* every single one */
        m.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        check_damaged(m.bytes, m.size);
        m.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    uint8_t *copy = malloc(m.size);
    assert_non_null(copy);
    uint32_t random = 1;
    for (int round = 0; round < 3000; round++) { /* and several bytes at once */
        memcpy(copy, m.bytes, m.size);
        for (int k = 0; k < 4; k++) {
            random = random * 1664525U + 1013904223U;
            copy[(random >> 8) % m.size] = (uint8_t)(random >> 24);
        }
        check_damaged(copy, m.size);
    }
    free(copy);
    model_bytes_free(&m);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    model_bytes m;
    rich_model(&m);
    const char *folder = make_folder(), *path = path_in(folder, "out.onnx");
    const ed_onnx_write_options forms[] = { { ED_WEIGHTS_INT8, false },
                                            { ED_WEIGHTS_FLOAT, true } };
    for (size_t f = 0; f < ED_LENGTH(forms); f++) {
        int rc = ED_ENOMEM;
        long n = 1;
        for (; rc != ED_OK && n < 10000; n++) {
            ed_graph *g;
            ed_alloc_fail_at(n);
            rc = ed_onnx_read_memory(&g, m.bytes, m.size, "model.onnx");
            if (rc == ED_OK)
                rc = ed_onnx_write(g, path, &forms[f]);
            ed_alloc_fail_at(0);
            assert_true(rc == ED_OK || rc == ED_ENOMEM);
            ed_graph_free(g);
        }
        assert_int_equal(rc, ED_OK);
        assert_true(n > 50);
    }
    remove_folder(folder);
    model_bytes_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),           cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_every_truncation),    cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
