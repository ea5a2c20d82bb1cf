/* Activations that are computed again: which ones, that memory shrinks, and that no bit changes;
 * on the device that the environment's ED_TEST_DEVICE names. */
#include "toy.h"

#include "base/mem.h"
#include "qat/recompute_cheap.h"
#include "qat/recompute_fit.h"
#include "qat/train_graph.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char path[] = "test_recompute.h5";

/* Quantizers and additions between convolutions, as in a residual network. */
static const char residual[] = "graph t opset 17\n"
                               "input x: f32[N, 6]\n"
                               "const s: i64[4] = {0, 1, 2, 3}\n"
                               "const w0: f32[8, 1, 3, 3] = random(1)\n"
                               "const w1: f32[8, 8, 3, 3] = random(2)\n"
                               "const w2: f32[8, 8, 3, 3] = random(3)\n"
                               "const w3: f32[3, 48] = random(4)\n"
                               "p = Reshape(x, s)\n"
                               "c0 = Conv(p, w0) {pads=[1, 1, 1, 1]}\n"
                               "r0 = Relu(c0)\n"
                               "c1 = Conv(r0, w1) {pads=[1, 1, 1, 1]}\n"
                               "r1 = Relu(c1)\n"
                               "c2 = Conv(r1, w2) {pads=[1, 1, 1, 1]}\n"
                               "a = Add(c2, r0)\n"
                               "g = Sigmoid(a)\n"
                               "h = Mul(a, g)\n"
                               "f = Flatten(h)\n"
                               "y = Gemm(f, w3) {transB=1}\n"
                               "output y\n";

/* What has a fused kernel that approximates in its own way: attention, Gelu and Tanh. */
static const char transformer[] = "graph t opset 17\n"
                                  "input x: f32[N, 6]\n"
                                  "const s: i64[3] = {0, 2, 3}\n"
                                  "const wq: f32[3, 8] = random(1)\n"
                                  "const wk: f32[3, 8] = random(2)\n"
                                  "const wv: f32[3, 8] = random(3)\n"
                                  "const w1: f32[8, 16] = random(4)\n"
                                  "const w2: f32[16, 8] = random(5)\n"
                                  "const w3: f32[3, 16] = random(6)\n"
                                  "const d: f32[1] = {0.35}\n"
                                  "const root: f32[1] = {1.41421354}\n"
                                  "const one: f32[1] = {1}\n"
                                  "const half: f32[1] = {0.5}\n"
                                  "p = Reshape(x, s)\n"
                                  "q = MatMul(p, wq)\n"
                                  "k = MatMul(p, wk)\n"
                                  "v = MatMul(p, wv)\n"
                                  "t = Transpose(k) {perm=[0, 2, 1]}\n"
                                  "m = MatMul(q, t)\n"
                                  "c = Mul(m, d)\n"
                                  "a = Softmax(c) {axis=-1}\n"
                                  "o = MatMul(a, v)\n"
                                  "e0 = MatMul(o, w1)\n"
                                  "e1 = Div(e0, root)\n"
                                  "e2 = Erf(e1)\n"
                                  "e3 = Add(e2, one)\n"
                                  "e4 = Mul(e0, e3)\n"
                                  "e5 = Mul(e4, half)\n"
                                  "u = MatMul(e5, w2)\n"
                                  "h = Tanh(u)\n"
                                  "r = Add(o, h)\n"
                                  "f = Flatten(r)\n"
                                  "y = Gemm(f, w3) {transB=1}\n"
                                  "output y\n";

static ed_train_graph *build(ed_graph *graph, int64_t batch)
{
    const ed_train_spec spec = { .shapes = &ED_SHAPE(batch, 6), .loss = ED_LOSS_LABELS };
    ed_train_graph *t = NULL;
    if (ed_train_graph_new(&t, graph, &spec) != ED_OK)
        fail_msg("%s", ed_error_last());
    return t;
}

static bool lists(const ed_cheap *r, const ed_graph *g, const char *op_type)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(g->nodes[g->values[r->values[i]].producer].op_type, op_type) == 0)
            return true;
    return false;
}

static void test_which(void **unused)
{
    (void)unused;
    ed_graph *graph = toy_quantized(residual, 0.05f);
    ed_train_graph *t = build(graph, 4);
    ed_cheap r;
    assert_int_equal(ed_cheap_find(&r, t->graph, t->n_forward), ED_OK);
    assert_true(r.count > 0);
    assert_true(lists(&r, t->graph, "FakeQuantize"));
    assert_false(lists(&r, t->graph, "Conv"));
    assert_false(lists(&r, t->graph, "Gemm"));
    for (size_t i = 1; i < r.count; i++)
        assert_true(r.bytes[i - 1] >= r.bytes[i]);
    for (size_t count = 0; count <= r.count; count++) {
        ed_graph *copy;
        assert_int_equal(ed_graph_clone(&copy, t->graph), ED_OK);
        assert_int_equal(ed_cheap_apply(copy, &r, t->n_forward, count), ED_OK);
        assert_int_equal(ed_graph_verify(copy), ED_OK);
        for (size_t i = 0; i < count; i++) { /* no gradient reads the value */
            const ed_value *v = &copy->values[r.values[i]];
            for (size_t u = 0; u < v->use_count; u++)
                assert_true(v->uses[u] < t->n_forward || v->uses[u] >= t->graph->n_nodes);
        }
        ed_graph_free(copy);
    }
    ed_cheap_clear(&r);
    ed_train_graph_free(t);
    ed_graph_free(graph);
}

/* Bytes by the number of copies: the more, the fewer. */
static int by_copies(void *ctx, int64_t *bytes, const ed_graph *graph)
{
    const ed_train_graph *t = ctx;
    *bytes = 1000 - 10 * ((int64_t)graph->n_nodes - (int64_t)t->graph->n_nodes);
    return ED_OK;
}

static void test_fit(void **unused)
{
    (void)unused;
    ed_graph *graph = toy_quantized(residual, 0.05f), *fitted;
    ed_train_graph *t = build(graph, 4);
    ed_cheap r;
    assert_int_equal(ed_cheap_find(&r, t->graph, t->n_forward), ED_OK);
    for (int64_t limit = 1000; limit >= 1000 - 10 * (int64_t)r.count; limit -= 5) {
        assert_int_equal(ed_graph_clone(&fitted, t->graph), ED_OK);
        if (ed_recompute_fit(&fitted, t->n_forward, limit, by_copies, t) != ED_OK)
            fail_msg("%s", ed_error_last());
        int64_t bytes;
        by_copies(t, &bytes, fitted);
        assert_true(bytes <= limit && bytes > limit - 20); /* no more than is needed */
        ed_graph_free(fitted);
    }
    assert_int_equal(ed_graph_clone(&fitted, t->graph), ED_OK);
    assert_int_equal(ed_recompute_fit(&fitted, t->n_forward, 1, by_copies, t), ED_EINVAL);
    assert_says("at least");
    assert_says("--batch");
    ed_graph_free(fitted);
    ed_cheap_clear(&r);
    ed_train_graph_free(t);
    ed_graph_free(graph);
}

/* ---- training ---- */

enum { SAMPLES = 64, BATCH = 32 };

static int train(uint64_t *hash, const char *text, int64_t memory, const char *scales)
{
    ed_graph *graph = toy_quantized(text, 0.05f);
    ed_dataset *data = toy_open(path, graph, BATCH);
    ed_qat_result result;
    const ed_qat_options opts = { .epochs = 2,
                                  .loss = "labels",
                                  .scales = scales,
                                  .learning_rate = 0.02,
                                  .memory = memory,
                                  .device = getenv("ED_TEST_DEVICE") };
    int rc = ed_qat_train(&result, graph, NULL, data, NULL, &opts);
    *hash = toy_hash(graph);
    ed_dataset_close(data);
    ed_graph_free(graph);
    return rc;
}

static bool in_segments; /* convolutions, too, were computed again: on a device by other kernels */

static void listen(void *ctx, ed_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    in_segments = in_segments || strstr(text, "segments of the forward pass");
}

/* Less and less memory, down to what is needed at least. */
static void expect_same_bits(const char *text, const char *scales)
{
    uint64_t plain, other;
    int64_t fitted = 0, segments = 0;
    assert_int_equal(train(&plain, text, 0, scales), ED_OK);
    for (int64_t memory = 1 << 20; memory > 1024; memory -= memory / 4) {
        in_segments = false;
        int rc = train(&other, text, memory, scales);
        if (rc != ED_OK) {
            assert_int_equal(rc, ED_EINVAL);
            assert_says("at least");
            break;
        }
        assert_true(other == plain || (in_segments && getenv("ED_TEST_DEVICE")));
        fitted++;
        segments += in_segments;
    }
    assert_true(fitted > 2);
    assert_true(segments > 0 || getenv("ED_TEST_DEVICE"));
}

static void test_same_bits(void **unused)
{
    (void)unused;
    static const char *const scales[] = { "frozen", "ema", "lsq" };
    ed_log_set(listen, NULL);
    for (size_t i = 0; i < ED_LENGTH(scales); i++) {
        expect_same_bits(residual, scales[i]);
        expect_same_bits(transformer, scales[i]);
    }
    ed_log_set(NULL, NULL);
}

static int write_data(void **unused)
{
    (void)unused;
    toy_write(path, SAMPLES, 3);
    return 0;
}

static int remove_data(void **unused)
{
    (void)unused;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_which), cmocka_unit_test(test_fit),
                                        cmocka_unit_test(test_same_bits) };
    return cmocka_run_group_tests(tests, write_data, remove_data);
}
