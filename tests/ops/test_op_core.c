/* The operator table, attributes, inference over graphs with symbols, and failing allocations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/op.h"

#include <math.h>
#include <string.h>

/* ---- the table ---- */
static const char *domain_of(const ed_op *op)
{
    return op->domain ? op->domain : "";
}

static void test_rows_are_complete(void **state)
{
    (void)state;
    size_t n = 0;
    for (const ed_op *op = NULL; (op = ed_op_at(n)) != NULL; n++) {
        assert_non_null(op->infer);
        assert_true(op->arity.min_in >= 1 && op->arity.min_in <= op->arity.max_in);
        assert_true(op->arity.max_out >= 1);
        assert_true(!op->attrs || op->params_size > 0);
        const ed_kernel *reference = ed_op_reference(op);
        assert_non_null(reference);
        assert_non_null(reference->run);
        /* the reference is the last one: what comes after it would never run */
        for (const ed_kernel *k = reference + 1; k < op->forward + ED_OP_MAX_KERNELS; k++)
            assert_null(k->name);
        for (const ed_attr_spec *a = op->attrs; a && a->name; a++)
            assert_true(a->offset < op->params_size);
    }
    assert_true(n > 30);
}

static void test_opset_ranges_do_not_overlap(void **state)
{
    (void)state;
    const ed_op *a = NULL, *b = NULL;
    for (size_t i = 0; (a = ed_op_at(i)) != NULL; i++)
        for (size_t k = i + 1; (b = ed_op_at(k)) != NULL; k++)
            if (strcmp(a->type, b->type) == 0 && strcmp(domain_of(a), domain_of(b)) == 0)
                assert_true((a->opset.until && a->opset.until < b->opset.since) ||
                            (b->opset.until && b->opset.until < a->opset.since));
}

static ed_graph *parse(const char *text)
{
    ed_graph *g = NULL;
    if (ed_graph_parse(&g, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

static void test_find_by_opset(void **state)
{
    (void)state;
    const ed_op *old = NULL, *new = NULL, *none = NULL;
    ed_graph *g = parse("graph g opset 10\ninput x: f32[2]\ny = Clip(x)\noutput y\n");
    assert_int_equal(ed_op_find(&old, g, &g->nodes[0]), ED_OK);
    assert_int_equal(old->arity.max_in, 1);
    assert_true(ed_op_traits(g, &g->nodes[0]) & ED_OP_ACTIVATION);
    assert_int_equal(ed_graph_set_opset(g, "", 11), ED_OK);
    assert_int_equal(ed_op_find(&new, g, &g->nodes[0]), ED_OK);
    assert_int_equal(new->arity.max_in, 3);
    g->nodes[0].domain = "ai.onnx"; /* another spelling of the empty one */
    assert_int_equal(ed_op_find(&none, g, &g->nodes[0]), ED_OK);
    assert_ptr_equal(none, new);
    g->nodes[0].domain = "com.example";
    assert_int_equal(ed_op_find(&none, g, &g->nodes[0]), ED_EUNSUPPORTED);
    assert_null(none);
    assert_non_null(strstr(ed_error_last(), "com.example"));
    assert_int_equal(ed_op_traits(g, &g->nodes[0]), 0);
    ed_graph_free(g);
}

static void test_attributes_fill_presets(void **state)
{
    (void)state;
    const ed_op *op = NULL;
    ed_conv_params p;
    ed_graph *g = parse("graph g opset 11\ninput x: f32[1, 2, 8, 8]\nconst w: f32[4, 1, 3, 3] = "
                        "fill(1.0)\ny = Conv(x, w) {group=2, pads=[1, 2, 3, 4], "
                        "auto_pad=\"VALID\", unheard_of=3}\noutput y\n");
    assert_int_equal(ed_op_find(&op, g, &g->nodes[0]), ED_OK);
    assert_int_equal(op->params_size, sizeof p);
    memset(&p, 0xff, sizeof p);
    assert_int_equal(ed_op_params(op, g, &g->nodes[0], &p), ED_OK);
    assert_int_equal(p.group, 2);
    assert_int_equal(p.auto_pad, ED_PAD_VALID);
    assert_int_equal(p.pads.n, 4);
    assert_int_equal(p.pads.v[3], 4);
    assert_int_equal(p.strides.n, -1); /* absent */
    ed_graph_free(g);
}

/* ---- graphs ---- */
static const char *const small_net = "graph net opset 13\n"
                                     "input x: f32[N, 3, 9, 9]\n"
                                     "const w: f32[16, 3, 3, 3] = random(1)\n"
                                     "const g: f32[16] = fill(1.0)\n"
                                     "const z: f32[16] = fill(0.0)\n"
                                     "const f: f32[10, 16] = random(2)\n"
                                     "c = Conv(x, w) {pads=[1, 1, 1, 1], strides=[2, 2]}\n"
                                     "n = BatchNormalization(c, g, z, z, g)\n"
                                     "r = Relu(n)\n"
                                     "s = Add(r, c)\n"
                                     "p = GlobalAveragePool(s)\n"
                                     "l = Flatten(p)\n"
                                     "y = Gemm(l, f) {transB=1}\n"
                                     "output y\n";

static ed_shape shape_of(const ed_graph *g, const char *name)
{
    ed_id id = ed_graph_find_value(g, name);
    assert_int_not_equal(id, ED_NONE);
    return g->values[id].shape;
}

static void test_symbolic_batch_goes_through(void **state)
{
    (void)state;
    ed_graph *g = parse(small_net);
    int64_t n = ed_graph_symbol(g, "N");
    assert_true(n < ED_DIM_UNKNOWN);
    if (ed_graph_infer(g) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_shape sum = shape_of(g, "s"), l = shape_of(g, "l"), y = shape_of(g, "y");
    assert_true(ed_shape_equal(&sum, &ED_SHAPE(n, 16, 5, 5)));
    assert_true(ed_shape_equal(&l, &ED_SHAPE(n, 16)));
    assert_true(ed_shape_equal(&y, &ED_SHAPE(n, 10)));
    ed_graph_free(g);
}

/* Shapes of a and b, and of their sum. */
static const struct {
    const char *a, *b;
    ed_shape sum;
    bool refused;
} sums[] = {
    { "[N, 3]", "[N, 3]", { 2, { -2, 3 } }, false },
    { "[N, 3]", "[N, 1]", { 2, { -2, 3 } }, false },
    { "[N, 3]", "[1, 3]", { 2, { -2, 3 } }, false },
    { "[N, 3]", "[3]", { 2, { -2, 3 } }, false },
    { "[N, 3]", "[4, 3]", { 2, { 4, 3 } }, false },
    { "[N, M]", "[M, N]", { 2, { -1, -1 } }, false },
    { "[1, M]", "[N, 1]", { 2, { -3, -2 } }, false }, /* N is met second */
    { "[?, 3]", "[?, 3]", { 2, { -1, 3 } }, false },
    { "[?, 3]", "[5, 3]", { 2, { 5, 3 } }, false },
    { "[?, 3]", "[1, 3]", { 2, { -1, 3 } }, false },
    { "[0, 3]", "[?, 1]", { 2, { 0, 3 } }, false },
    { "[]", "[N]", { 1, { -2 } }, false },
    { "[N, 3]", "[N, 4]", { 0, { 0 } }, true },
    { "[2, N]", "[3, N]", { 0, { 0 } }, true },
    { "[0]", "[2]", { 0, { 0 } }, true },
};

static void test_broadcasting_of_symbols(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(sums); i++) {
        char text[200], got[64], want[64];
        snprintf(text, sizeof text,
                 "graph g opset 13\ninput a: f32%s\ninput b: f32%s\ny = Add(a, b)\noutput y\n",
                 sums[i].a, sums[i].b);
        ed_graph *g = parse(text);
        int rc = ed_graph_infer(g);
        assert_int_equal(rc, sums[i].refused ? ED_ESHAPE : ED_OK);
        ed_shape y = shape_of(g, "y");
        if (!sums[i].refused)
            assert_string_equal(ed_shape_format(got, sizeof got, &y),
                                ed_shape_format(want, sizeof want, &sums[i].sum));
        ed_graph_free(g);
    }
}

static void test_declared_shapes_fill_gaps(void **state)
{
    (void)state;
    ed_graph *g = parse("graph g opset 18\ninput x: f32[2, 3, 4]\ninput axes: i64[1]\n"
                        "m = ReduceMean(x, axes)\ny = Relu(m)\noutput y\n");
    ed_id m = ed_graph_find_value(g, "m");
    assert_int_equal(ed_graph_infer(g), ED_OK);
    assert_int_equal(g->values[m].shape.rank, 3);
    assert_int_equal(g->values[m].shape.dim[1], ED_DIM_UNKNOWN);
    g->values[m].shape = ED_SHAPE(2, 1, 4);
    assert_int_equal(ed_graph_infer(g), ED_OK);
    ed_shape y = shape_of(g, "y");
    assert_true(ed_shape_equal(&y, &ED_SHAPE(2, 1, 4)));
    ed_graph_free(g);
}

static void test_failing_inference_changes_nothing(void **state)
{
    (void)state;
    ed_graph *g = parse("graph g opset 13\ninput x: f32[2, 3]\ninput z: f32[4]\nr = Relu(x)\n"
                        "y = first: Add(r, z)\noutput y\n");
    assert_int_equal(ed_graph_infer(g), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "Add 'first'"));
    assert_int_equal(shape_of(g, "r").rank, -1);
    ed_graph_free(g);
}

static void test_sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    ed_graph *g = parse("graph g opset 13\ninput a: f32[16777216, 1]\ninput b: f32[1, 4294967296]\n"
                        "y = Mul(a, b)\noutput y\n");
    assert_int_equal(ed_graph_infer(g), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "too large"));
    ed_graph_free(g);
}

/* Every allocation of an inference fails once: the code says so, and nothing leaks. */
static void test_inference_without_memory(void **state)
{
    (void)state;
    ed_graph *g = parse(small_net);
    ed_alloc_fail_at(0);
    assert_int_equal(ed_graph_infer(g), ED_OK);
    long count = ed_alloc_count();
    assert_true(count > 10);
    for (long n = 1; n <= count; n++) {
        ed_alloc_fail_at(n);
        int rc = ed_graph_infer(g);
        ed_alloc_fail_at(0);
        assert_int_equal(rc, ED_ENOMEM);
        assert_non_null(strstr(ed_error_last(), "memory"));
    }
    ed_graph_free(g);
}

/* ---- FakeQuantize ---- */
enum { QUANT_N = 100003 };

static void fill(float *x)
{
    for (int i = 0; i < QUANT_N; i++)
        x[i] = (float)((i * 7919LL) % 20011 - 10005) * 0.00137f;
}

static void test_fake_quantize_in_place_and_threads(void **state)
{
    (void)state;
    static float x[QUANT_N], y[QUANT_N];
    const float scale = 0.0513f;
    const int32_t zero = 0;

    fill(x);
    assert_int_equal(ed_threads_set(1), ED_OK);
    ed_fake_quantize(y, x, &(ed_fake_quant){ 1, 1, QUANT_N, &scale, &zero, -128, 127 });
    for (int i = 0; i < QUANT_N; i++) { /* the definition, step by step */
        float q = rintf(x[i] / scale);
        q = q < -128.0f ? -128.0f : q > 127.0f ? 127.0f : q;
        assert_true(y[i] == q * scale && (y[i] != 0.0f || !signbit(y[i])));
    }
    assert_int_equal(ed_threads_set(3), ED_OK);
    ed_fake_quantize(x, x, &(ed_fake_quant){ QUANT_N, 1, 1, &scale, NULL, -128, 127 });
    assert_int_equal(ed_threads_set(0), ED_OK);
    assert_memory_equal(x, y, sizeof x);
}

static void test_fake_quantize_is_idempotent(void **state)
{
    (void)state;
    static float x[QUANT_N], y[QUANT_N];
    const float scales[] = { 0.01f, 0.0625f, 1.0f / 127.0f, 3e-7f, 1e20f };

    for (size_t s = 0; s < ED_LENGTH(scales); s++) {
        fill(x);
        const ed_fake_quant q = { 1, 1, QUANT_N, &scales[s], NULL, -128, 127 };
        ed_fake_quantize(x, x, &q);
        ed_fake_quantize(y, x, &q);
        assert_memory_equal(x, y, sizeof x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_complete),
        cmocka_unit_test(test_opset_ranges_do_not_overlap),
        cmocka_unit_test(test_find_by_opset),
        cmocka_unit_test(test_attributes_fill_presets),
        cmocka_unit_test(test_symbolic_batch_goes_through),
        cmocka_unit_test(test_broadcasting_of_symbols),
        cmocka_unit_test(test_declared_shapes_fill_gaps),
        cmocka_unit_test(test_failing_inference_changes_nothing),
        cmocka_unit_test(test_sizes_that_overflow_are_refused),
        cmocka_unit_test(test_inference_without_memory),
        cmocka_unit_test(test_fake_quantize_in_place_and_threads),
        cmocka_unit_test(test_fake_quantize_is_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
