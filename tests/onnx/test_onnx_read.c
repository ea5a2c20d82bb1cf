/* Reading what is right: names, types, symbols, every storage of tensors, constants, what is kept.
 */
#include "model_bytes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_small_model(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    model_bytes_init(&m);
    m.model.producer_name = (char *)"test";
    m.model.doc_string = (char *)"a text";
    m.model.metadata_props = m.metadata_list;
    m.model.n_metadata_props = 1;
    m.metadata.key = (char *)"author";
    m.metadata.value = (char *)"";
    m.opsets[1].domain = (char *)"com.example";
    m.opsets[1].version = 3;
    m.model.n_opset_import = 2;
    assert_ok(model_bytes_read(&g, &m));
    assert_int_equal(ed_graph_input_count(g), 1);
    ed_value_info x = ed_graph_input(g, 0);
    assert_string_equal(x.name, "x");
    assert_int_equal(x.dtype, ED_F32);
    assert_int_equal(x.shape.rank, 2);
    assert_true(x.shape.dim[0] <= -2);
    assert_string_equal(g->symbols[-2 - x.shape.dim[0]], "N");
    assert_int_equal(x.shape.dim[1], 4);
    ed_value_info y = ed_graph_output(g, 0);
    assert_int_equal(y.shape.dim[0], x.shape.dim[0]); /* the same symbol */
    assert_int_equal(ed_graph_node_count(g, "MatMul"), 1);
    assert_int_equal(ed_graph_opset(g, ""), 17);
    assert_int_equal(ed_graph_opset(g, "com.example"), 3);
    assert_string_equal(g->meta.producer_name, "test");
    assert_string_equal(g->meta.doc, "a text");
    assert_int_equal(g->meta.n_metadata, 1);
    assert_string_equal(g->meta.metadata[0].data, "author");
    const ed_tensor *w = g->values[ed_graph_find_value(g, "w")].constant;
    assert_memory_equal(w->data, m.w, sizeof m.w);
    ed_graph_free(g);
    model_bytes_free(&m);
}

/* Elements 1, 2 (floats: exact in all formats) in raw_data and in the type's field. */
static const struct {
    ed_dtype dtype;
    int32_t number;
    uint64_t bits[2]; /* the element's bits, also what int32_data holds */
} types[] = {
    { ED_U8, 2, { 1, 2 } },
    { ED_I8, 3, { 1, 2 } },
    { ED_U16, 4, { 1, 2 } },
    { ED_I16, 5, { 1, 2 } },
    { ED_I32, 6, { 1, 2 } },
    { ED_BOOL, 9, { 1, 1 } },
    { ED_F16, 10, { 0x3C00, 0x4000 } },
    { ED_BF16, 16, { 0x3F80, 0x4000 } },
    { ED_I64, 7, { 1, 2 } },
    { ED_U32, 12, { 1, 2 } },
    { ED_U64, 13, { 1, 2 } },
    { ED_F32, 1, { 0x3F800000, 0x40000000 } },
    { ED_F64, 11, { 0x3FF0000000000000, 0x4000000000000000 } },
};

static void set_field(Onnx__TensorProto *t, size_t row, void *space)
{
    uint64_t *u64 = space;
    int32_t *i32 = space;
    switch (types[row].dtype) {
    case ED_I64:
        t->int64_data = space;
        t->n_int64_data = 2;
        break;
    case ED_U32:
    case ED_U64:
        t->uint64_data = u64;
        t->n_uint64_data = 2;
        break;
    case ED_F64:
        t->double_data = space;
        t->n_double_data = 2;
        break;
    case ED_F32:
        t->float_data = space;
        t->n_float_data = 2;
        break;
    default:
        t->int32_data = i32;
        t->n_int32_data = 2;
    }
    bool wide = t->n_int64_data || t->n_uint64_data || t->n_double_data;
    for (size_t i = 0; i < 2; i++)
        memcpy((char *)space + i * (wide ? 8 : 4), &types[row].bits[i], wide ? 8 : 4);
}

static void test_every_type(void **state)
{
    (void)state;
    for (size_t row = 0; row < ED_LENGTH(types); row++) {
        model_bytes m;
        ed_graph *g;
        int64_t dims[] = { 2 };
        uint64_t space[2];
        uint8_t raw[16];
        size_t width = ed_dtype_bits(types[row].dtype) / 8;
        model_bytes_init(&m);
        set_field(model_bytes_add_initializer(&m, "typed", types[row].number, dims, 1), row, space);
        Onnx__TensorProto *t = model_bytes_add_initializer(&m, "raw", types[row].number, dims, 1);
        for (size_t i = 0; i < 2; i++)
            memcpy(raw + i * width, &types[row].bits[i], width);
        t->has_raw_data = 1;
        t->raw_data = (ProtobufCBinaryData){ 2 * width, raw };
        assert_ok(model_bytes_read(&g, &m));
        const char *names[] = { "typed", "raw" };
        for (size_t k = 0; k < 2; k++) {
            const ed_tensor *c = g->values[ed_graph_find_value(g, names[k])].constant;
            assert_int_equal(c->dtype, types[row].dtype);
            assert_int_equal(c->numel, 2);
            assert_memory_equal(c->data, raw, 2 * width);
            assert_int_equal((uintptr_t)c->data % 64, 0);
            assert_true(ed_tensor_get_f64(c, 0) == 1.0);
            assert_true(ed_tensor_get_f64(c, 1) == (types[row].dtype == ED_BOOL ? 1.0 : 2.0));
        }
        ed_graph_free(g);
        model_bytes_free(&m);
    }
}

static void test_four_bits(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    int64_t dims[] = { 3 };
    int32_t typed[] = { 0xF7, 0x08 }; /* 7, -1, -8 */
    uint8_t raw[] = { 0xF7, 0x08 };
    model_bytes_init(&m);
    m.opsets[0].version = 21;
    Onnx__TensorProto *a = model_bytes_add_initializer(&m, "a", 22, dims, 1);
    a->int32_data = typed;
    a->n_int32_data = 2;
    Onnx__TensorProto *b = model_bytes_add_initializer(&m, "b", 21, dims, 1);
    b->has_raw_data = 1;
    b->raw_data = (ProtobufCBinaryData){ 2, raw };
    assert_ok(model_bytes_read(&g, &m));
    const ed_tensor *i4 = g->values[ed_graph_find_value(g, "a")].constant;
    const ed_tensor *u4 = g->values[ed_graph_find_value(g, "b")].constant;
    const int64_t want_i4[] = { 7, -1, -8 }, want_u4[] = { 7, 15, 8 };
    for (int64_t i = 0; i < 3; i++) {
        assert_int_equal(ed_tensor_get_i64(i4, i), want_i4[i]);
        assert_int_equal(ed_tensor_get_i64(u4, i), want_u4[i]);
    }
    ed_graph_free(g);
    model_bytes_free(&m);
}

static void test_empty_and_scalar(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    int64_t none[] = { 0, 5 };
    float one[] = { 3.5F };
    model_bytes_init(&m);
    model_bytes_add_initializer(&m, "empty", 1, none, 2);
    Onnx__TensorProto *t = model_bytes_add_initializer(&m, "scalar", 1, NULL, 0);
    t->float_data = one;
    t->n_float_data = 1;
    assert_ok(model_bytes_read(&g, &m));
    assert_int_equal(g->values[ed_graph_find_value(g, "empty")].constant->numel, 0);
    const ed_tensor *scalar = g->values[ed_graph_find_value(g, "scalar")].constant;
    assert_int_equal(scalar->shape.rank, 0);
    assert_true(ed_tensor_get_f64(scalar, 0) == 3.5);
    ed_graph_free(g);
    model_bytes_free(&m);
}

static void test_constant_nodes(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    float floats[] = { 0.5F, -0.0F };
    int64_t ints[] = { 3, INT64_MIN }, dims[] = { 2 };
    ProtobufCBinaryData text[] = { { 2, (uint8_t *)"ab" } };
    Onnx__TensorProto t = ONNX__TENSOR_PROTO__INIT;
    t.has_data_type = 1;
    t.data_type = 7;
    t.dims = dims;
    t.n_dims = 1;
    t.int64_data = ints;
    t.n_int64_data = 2;
    model_bytes_init(&m);
    const char *outs[] = { "c0", "c1", "c2", "c3", "c4", "c5" };
    const char *names[] = { "value_float", "value_floats", "value_int",
                            "value_ints",  "value",        "value_strings" };
    for (size_t i = 0; i < ED_LENGTH(names); i++) {
        Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
        const int32_t kinds[] = { 1, 6, 2, 7, 4, 8 };
        a.name = (char *)names[i];
        a.has_type = 1;
        a.type = kinds[i];
        a.has_f = i == 0;
        a.f = 0.25F;
        a.floats = floats;
        a.n_floats = i == 1 ? 2 : 0;
        a.has_i = i == 2;
        a.i = -7;
        a.ints = ints;
        a.n_ints = i == 3 ? 2 : 0;
        a.t = i == 4 ? &t : NULL;
        a.strings = text;
        a.n_strings = i == 5;
        model_bytes_add_node(&m, "Constant", outs[i]);
        model_bytes_add_attribute(&m, i + 1, &a);
    }
    assert_ok(model_bytes_read(&g, &m));
    const ed_tensor *c[5];
    for (size_t i = 0; i < 5; i++) {
        c[i] = g->values[ed_graph_find_value(g, outs[i])].constant;
        assert_non_null(c[i]);
    }
    assert_true(ed_tensor_get_f64(c[0], 0) == 0.25 && c[0]->shape.rank == 0);
    assert_true(ed_tensor_get_f64(c[1], 0) == 0.5 && c[1]->numel == 2);
    assert_true(signbit(ed_tensor_get_f64(c[1], 1)) != 0);
    assert_int_equal(ed_tensor_get_i64(c[2], 0), -7);
    assert_int_equal(ed_tensor_get_i64(c[3], 1), INT64_MIN);
    assert_int_equal(ed_tensor_get_i64(c[4], 1), INT64_MIN);
    assert_int_equal(ed_graph_node_count(g, "Constant"), 1); /* the strings stay a node */
    ed_graph_free(g);
    model_bytes_free(&m);
}

static void test_initializer_listed_as_input(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    model_bytes_init(&m);
    m.model.ir_version = 3;
    m.infos[1].name = (char *)"w";
    m.graph.n_input = 2;
    assert_ok(model_bytes_read(&g, &m));
    assert_int_equal(ed_graph_input_count(g), 1);
    assert_non_null(g->values[ed_graph_find_value(g, "w")].constant);
    ed_graph_free(g);
    model_bytes_free(&m);
}

static void test_attributes(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    Onnx__AttributeProto untyped = ONNX__ATTRIBUTE_PROTO__INIT;
    Onnx__AttributeProto kept = ONNX__ATTRIBUTE_PROTO__INIT;
    Onnx__AttributeProto empty = ONNX__ATTRIBUTE_PROTO__INIT;
    untyped.name = (char *)"alpha";
    untyped.has_f = 1;
    untyped.f = 0.5F;
    kept.name = (char *)"body";
    kept.has_type = 1;
    kept.type = ED_WIRE_ATTR_GRAPH;
    empty.name = (char *)"pads";
    empty.has_type = 1;
    empty.type = ED_WIRE_ATTR_INTS;
    model_bytes_init(&m);
    m.nodes[0].domain = (char *)"com.example";
    m.nodes[0].doc_string = (char *)"why";
    m.nodes[0].overload = (char *)"v2";
    ProtobufCBinaryData pair = { 3, (uint8_t *)"\x0a\x01k" };
    m.nodes[0].metadata_props = &pair;
    m.nodes[0].n_metadata_props = 1;
    m.nodes[0].input[2] = (char *)""; /* an omitted input */
    m.nodes[0].n_input = 3;
    model_bytes_add_attribute(&m, 0, &untyped);
    model_bytes_add_attribute(&m, 0, &kept);
    model_bytes_add_attribute(&m, 0, &empty);
    assert_ok(model_bytes_read(&g, &m));
    const ed_node *n = &g->nodes[0];
    assert_string_equal(n->domain, "com.example");
    assert_string_equal(n->doc, "why");
    assert_int_equal(n->n_in, 3);
    assert_true(n->in[2] == ED_NONE);
    assert_int_equal(ed_node_attr(n, "alpha")->type, ED_ATTR_FLOAT);
    assert_true(ed_node_attr(n, "alpha")->f == 0.5F);
    assert_int_equal(ed_node_attr(n, "body")->type, ED_ATTR_RAW);
    assert_int_equal(ed_node_attr(n, "body")->s.size, m.attributes[0][1].len);
    assert_int_equal(ed_node_attr(n, "pads")->count, 0);
    ed_graph *copy; /* owns what was only kept */
    assert_ok(ed_graph_clone(&copy, g));
    ed_graph_free(g);
    assert_string_equal(copy->nodes[0].overload, "v2");
    assert_int_equal(copy->nodes[0].n_metadata, 1);
    assert_int_equal(copy->nodes[0].metadata[0].size, 3);
    assert_memory_equal(copy->nodes[0].metadata[0].data, "\x0a\x01k", 3);
    ed_graph_free(copy);
    model_bytes_free(&m);
}

static void test_nodes_in_any_order(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    model_bytes_init(&m);
    m.nodes[0].input[0] = (char *)"late"; /* computed by a node further down */
    Onnx__NodeProto *relu = model_bytes_add_node(&m, "Relu", "late");
    relu->input[0] = (char *)"x";
    relu->n_input = 1;
    assert_ok(model_bytes_read(&g, &m));
    ed_id *order;
    size_t n;
    assert_ok(ed_graph_topological(g, &order, &n));
    assert_int_equal(n, 2);
    assert_string_equal(g->nodes[order[0]].op_type, "Relu");
    ed_free(order);
    ed_graph_free(g);
    model_bytes_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_model),    cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_four_bits),      cmocka_unit_test(test_empty_and_scalar),
        cmocka_unit_test(test_constant_nodes), cmocka_unit_test(test_initializer_listed_as_input),
        cmocka_unit_test(test_attributes),     cmocka_unit_test(test_nodes_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
