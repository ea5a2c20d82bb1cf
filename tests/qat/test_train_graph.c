/* The training graph: what becomes an input, what stays, and the numbers of its gradients. */
#include "exec/exec_check.h"
#include "toy.h"

#include "base/mem.h"
#include "ops/op.h"
#include "qat/recompute.h"
#include "qat/train_graph.h"

#include <math.h>
#include <string.h>

static ed_train_spec spec_of(const ed_shape *shapes, ed_loss_kind loss)
{
    return (ed_train_spec){ .shapes = shapes, .loss = loss, .temperature = 2, .alpha = 0.5 };
}

static ed_train_graph *build(ed_graph *graph, const ed_train_spec *spec)
{
    ed_train_graph *t = NULL;
    if (ed_train_graph_new(&t, graph, spec) != ED_OK)
        fail_msg("%s", ed_error_last());
    return t;
}

/* "w1 b1 ...": the parameters' names; a * marks a quantized one, a - one that does not decay. */
static const char *params_of(const ed_train_graph *t)
{
    static char text[1024];
    text[0] = 0;
    for (size_t i = 0; i < t->n_params; i++) {
        const ed_param *p = &t->params[i];
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s%s%s", i ? " " : "",
                 t->graph->values[p->value].name, p->quantizer != ED_NONE ? "*" : "",
                 p->decay ? "" : "-");
    }
    return text;
}

static void test_inputs_and_outputs(void **unused)
{
    (void)unused;
    ed_graph *graph = toy_quantized(toy_mlp, 0.02f);
    size_t nodes = ed_graph_node_count(graph, NULL);
    ed_train_spec spec = spec_of(&ED_SHAPE(5, 6), ED_LOSS_BOTH);
    spec.scales = ED_SCALES_LSQ;
    ed_train_graph *t = build(graph, &spec);
    assert_string_equal(params_of(t), "w1* b1- w2* b2-");
    assert_int_equal(t->batch, 5);
    assert_int_equal(t->classes, 3);
    assert_int_equal(t->n_quantizers, 2);
    assert_int_equal(t->n_scales, 2);
    assert_int_equal(t->scales[0].numel, 6);
    assert_int_equal(t->scales[1].numel, 16);
    assert_int_equal(t->graph->n_inputs, 1 + 2 + 4 + 2);
    assert_int_equal(t->labels, 1);
    assert_int_equal(t->teacher, 2);
    assert_int_equal(t->first_param, 3);
    assert_int_equal(t->graph->n_outputs, 2 + 4 + 2);
    /* the weights' FakeQuantize went, the activations' stayed */
    assert_int_equal(ed_graph_node_count(t->graph, "FakeQuantize"), 2);
    assert_int_equal(ed_graph_node_count(graph, NULL), nodes);
    assert_int_equal(ed_graph_verify(graph), ED_OK);
    ed_train_graph_free(t);
    ed_graph_free(graph);
}

/* What is a parameter, by how it is read. */
static void test_params(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *params;
    } cases[] = {
        /* a scalar of a decomposed operator, a mask, the normalization of the input: none */
        { "graph t opset 17\ninput x: f32[N, 4]\nconst mean: f32[4] = random(9)\n"
          "const w: f32[4, 4] = random(1)\nconst b: f32[4] = fill(0)\nconst half: f32[] = "
          "fill(0.5)\n"
          "const mask: f32[4] = {0, -1000, 0, -100}\n"
          "s = Sub(x, mean)\nm = MatMul(s, w)\na = Add(m, b)\nh = Mul(a, half)\nk = Add(h, mask)\n"
          "output k\n",
          "w b-" },
        /* an embedding and a class token; a bias of one element */
        { "graph t opset 17\ninput i: i64[N, 2]\nconst e: f32[5, 3] = random(1)\n"
          "const c: f32[1, 3] = random(2)\nconst v: f32[9, 1] = random(4)\n"
          "const b: f32[1] = fill(1)\nconst s: i64[2] = {2, 3}\n"
          "g = Gather(e, i)\nf = Flatten(g) {axis=1}\nt = Expand(c, s)\n"
          "k = Concat(f, t) {axis=1}\ny = Gemm(k, v, b)\noutput y\n",
          "e- c- v b-" },
        /* read in two ways, one of which is none of a parameter's: it stays */
        { "graph t opset 17\ninput x: f32[N, 4]\nconst w: f32[4, 4] = random(1)\n"
          "const v: f32[4, 4] = random(1)\n"
          "r = Abs(w)\nm = MatMul(x, w)\nn = MatMul(m, r)\ny = MatMul(n, v)\noutput y\n",
          "v" },
        /* shared by two readers */
        { "graph t opset 17\ninput x: f32[N, 4]\nconst w: f32[4, 4] = random(1)\n"
          "m = MatMul(x, w)\ny = MatMul(m, w)\nz = Softmax(y)\noutput z\n",
          "w" },
    };
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        ed_graph *graph = graph_from(cases[i].text, false);
        ed_shape shape = graph->values[graph->inputs[0]].shape;
        shape.dim[0] = 2;
        ed_train_spec spec = spec_of(&shape, ED_LOSS_LABELS);
        ed_train_graph *t = build(graph, &spec);
        assert_string_equal(params_of(t), cases[i].params);
        ed_train_graph_free(t);
        ed_graph_free(graph);
    }
}

static void test_freeze(void **unused)
{
    (void)unused;
    const char *freeze[] = { "w1", "b*" };
    ed_qat_options opts = { .freeze = freeze, .freeze_count = 2 };
    ed_graph *graph = toy_quantized(toy_mlp, 0.02f);
    ed_train_spec spec = spec_of(&ED_SHAPE(2, 6), ED_LOSS_DISTILL);
    spec.opts = &opts;
    ed_train_graph *t = build(graph, &spec);
    assert_string_equal(params_of(t), "w2*");
    ed_train_graph_free(t);
    opts.freeze = (const char *[]){ "*" };
    opts.freeze_count = 1;
    assert_int_equal(ed_train_graph_new(&t, graph, &spec), ED_EUNSUPPORTED);
    assert_says("no parameters to train that are not frozen");
    assert_null(t);
    opts.freeze = (const char *[]){ "w3" };
    assert_int_equal(ed_train_graph_new(&t, graph, &spec), ED_ENOTFOUND);
    assert_says("'w3'");
    ed_graph_free(graph);
}

static void test_refused(void **unused)
{
    (void)unused;
    ed_train_graph *t;
    ed_graph *graph = graph_from("graph t opset 17\ninput x: f32[N, 2, 4]\n"
                                 "const w: f32[4, 4] = random(1)\ny = MatMul(x, w)\noutput y\n",
                                 false);
    ed_train_spec spec = spec_of(&ED_SHAPE(3, 2, 4), ED_LOSS_LABELS);
    assert_int_equal(ed_train_graph_new(&t, graph, &spec), ED_EUNSUPPORTED);
    assert_says("'y' is float32[3, 2, 4]");
    ed_graph_free(graph);
}

/* ---- numbers ---- */

enum { N = 4, D = 6, C = 3 };

/* One matrix product: dW = q(x)^T (p - t) / N where p = softmax(q(x) W + b). */
static void test_gradients(void **unused)
{
    (void)unused;
    static const char text[] = "graph t opset 17\ninput x: f32[N, 6]\n"
                               "const w: f32[6, 3] = random(5)\nconst b: f32[3] = random(6)\n"
                               "m = MatMul(x, w)\ny = Add(m, b)\noutput y\n";
    const float scale = 0.01f;
    float x[N * D], q[N * D];
    int64_t labels[N] = { 2, 0, 1, 1 };
    double d[N][C];
    fill_numbers(x, N * D, 3);
    x[7] = 1.9f; /* beyond 127 * scale */
    ed_graph *graph = toy_quantized(text, scale);
    ed_train_spec spec = spec_of(&ED_SHAPE(N, D), ED_LOSS_LABELS);
    ed_train_graph *t = build(graph, &spec);
    assert_string_equal(params_of(t), "w* b-");
    ed_exec *exec = NULL;
    ed_shape shapes[] = { ED_SHAPE(N, D), ED_SHAPE(N), ED_SHAPE(D, C), ED_SHAPE(C) };
    if (ed_exec_new(&exec, t->graph, shapes, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    const ed_tensor *w = ed_graph_constant(graph, "w"), *b = ed_graph_constant(graph, "b");
    ed_tensor xt, lt;
    assert_int_equal(ed_tensor_view(&xt, ED_F32, &shapes[0], x), ED_OK);
    assert_int_equal(ed_tensor_view(&lt, ED_I64, &shapes[1], labels), ED_OK);
    const ed_tensor *in[] = { &xt, &lt, w, b }, *out[4];
    assert_int_equal(ed_exec_run(exec, in, out), ED_OK);

    ed_fake_quantize(q, x, &(ed_fake_quant){ 1, 1, N * D, &scale, NULL, -128, 127 });
    double loss = 0;
    for (int i = 0; i < N; i++) {
        double z[C], sum = 0;
        for (int c = 0; c < C; c++) {
            z[c] = ((const float *)b->data)[c];
            for (int k = 0; k < D; k++)
                z[c] += (double)q[i * D + k] * (double)((const float *)w->data)[k * C + c];
            sum += exp(z[c]);
        }
        for (int c = 0; c < C; c++)
            d[i][c] = (exp(z[c]) / sum - (labels[i] == c)) / N;
        loss -= log(exp(z[labels[i]]) / sum) / N;
    }
    assert_true(fabs(loss - (double)*(const float *)out[ED_TRAIN_LOSS]->data) < 1e-5);
    const float *dw = out[t->gradients[0]]->data, *db = out[t->gradients[1]]->data;
    for (int c = 0; c < C; c++) {
        double sum = 0;
        for (int i = 0; i < N; i++)
            sum += d[i][c];
        assert_true(fabs(sum - (double)db[c]) < 1e-5);
        for (int k = 0; k < D; k++) {
            sum = 0;
            for (int i = 0; i < N; i++)
                sum += (double)q[i * D + k] * d[i][c];
            assert_true(fabs(sum - (double)dw[k * C + c]) < 1e-5);
        }
    }
    ed_exec_free(exec);
    ed_train_graph_free(t);
    ed_graph_free(graph);
}

/* Shapes that are computed from the batch become constants. */
static void test_computed_shape(void **unused)
{
    (void)unused;
    ed_graph *graph = graph_from("graph t opset 17\ninput x: f32[N, 2, 3]\n"
                                 "const w: f32[6, 3] = random(1)\nconst six: i64[1] = {6}\n"
                                 "const zero: i64[1] = {0}\n"
                                 "s = Shape(x)\nn = Gather(s, zero)\nt = Concat(n, six) {axis=0}\n"
                                 "f = Reshape(x, t)\ny = MatMul(f, w)\noutput y\n",
                                 false);
    ed_train_spec spec = spec_of(&ED_SHAPE(7, 2, 3), ED_LOSS_DISTILL);
    ed_train_graph *t = build(graph, &spec);
    assert_int_equal(ed_graph_node_count(t->graph, "Shape"), 0);
    assert_string_equal(params_of(t), "w");
    ed_train_graph_free(t);
    ed_graph_free(graph);
}

/* Scales of a Concat's operands and its result are one; equal ones elsewhere are not. */
static void test_tied_scales(void **unused)
{
    (void)unused;
    static const char text[] =
        "graph t opset 17\ninput x: f32[N, 4, 6, 6]\n"
        "const wa: f32[4, 4, 1, 1] = random(1)\nconst wb: f32[4, 4, 1, 1] = random(2)\n"
        "const wc: f32[4, 4, 1, 1] = random(3)\nconst wd: f32[3, 8, 1, 1] = random(4)\n"
        "a = Conv(x, wa)\nra = Relu(a)\nb = Conv(ra, wb)\nrb = Relu(b)\n"
        "k = Concat(ra, rb) {axis=1}\nd = Conv(k, wd)\np = GlobalAveragePool(d)\n"
        "y = Flatten(p)\noutput y\n";
    ed_graph *graph = toy_quantized(text, 0.02f);
    ed_quantizer *q;
    size_t n;
    assert_int_equal(ed_quantizers_find(&q, &n, graph), ED_OK);
    assert_int_equal(n, 3);
    size_t of_ra = SIZE_MAX, of_k = SIZE_MAX, of_x = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const char *name = graph->values[q[i].input].name;
        of_ra = strcmp(name, "ra") == 0 ? i : of_ra;
        of_k = strcmp(name, "k") == 0 ? i : of_k;
        of_x = strcmp(name, "x") == 0 ? i : of_x;
    }
    assert_true(of_ra != SIZE_MAX && of_k != SIZE_MAX && of_x != SIZE_MAX);
    assert_int_equal(q[of_ra].tied, q[of_k].tied);
    assert_int_not_equal(q[of_x].tied, q[of_k].tied);
    ed_free(q);
    ed_train_spec spec = spec_of(&ED_SHAPE(2, 4, 6, 6), ED_LOSS_LABELS);
    spec.scales = ED_SCALES_LSQ;
    ed_train_graph *t = build(graph, &spec);
    assert_int_equal(t->n_scales, 2);
    ed_train_graph_free(t);
    ed_graph_free(graph);
}

/* ---- recomputation ---- */

static const char deep[] =
    "graph t opset 17\ninput x: f32[N, 4, 16, 16]\n"
    "const w1: f32[8, 4, 3, 3] = random(1)\nconst w2: f32[8, 8, 3, 3] = random(2)\n"
    "const w3: f32[8, 8, 3, 3] = random(3)\nconst w4: f32[8, 8, 3, 3] = random(4)\n"
    "const w5: f32[3, 8, 1, 1] = random(5)\n"
    "a = Conv(x, w1) {pads=[1, 1, 1, 1]}\nra = Relu(a)\n"
    "b = Conv(ra, w2) {pads=[1, 1, 1, 1]}\nrb = Relu(b)\n"
    "c = Conv(rb, w3) {pads=[1, 1, 1, 1]}\nsc = Add(c, ra)\nrc = Relu(sc)\n"
    "d = Conv(rc, w4) {pads=[1, 1, 1, 1]}\nrd = Relu(d)\n"
    "e = Conv(rd, w5)\np = GlobalAveragePool(e)\ny = Flatten(p)\noutput y\n";

/* The gradient of parameter i, malloced; *bytes: of the activations. */
static float *gradient_of(ed_graph *graph, int64_t segments, size_t i, size_t *bytes, int64_t *n)
{
    enum { BATCH = 4, INPUT = BATCH * 4 * 16 * 16 };
    static float x[INPUT];
    int64_t labels[BATCH] = { 0, 2, 1, 1 };
    ed_shape shapes[16] = { ED_SHAPE(BATCH, 4, 16, 16) };
    ed_train_spec spec = spec_of(shapes, ED_LOSS_LABELS);
    ed_train_graph *t = build(graph, &spec);
    if (segments)
        assert_int_equal(ed_recompute(t->graph, t->n_forward, segments), ED_OK);
    const ed_tensor *in[16], *out[16];
    ed_tensor views[2];
    ed_exec *exec;
    fill_numbers(x, INPUT, 4);
    for (size_t k = 1; k < t->graph->n_inputs; k++)
        shapes[k] = t->graph->values[t->graph->inputs[k]].shape;
    if (ed_exec_new(&exec, t->graph, shapes, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_int_equal(ed_tensor_view(&views[0], ED_F32, &shapes[0], x), ED_OK);
    assert_int_equal(ed_tensor_view(&views[1], ED_I64, &shapes[1], labels), ED_OK);
    in[0] = &views[0];
    in[1] = &views[1];
    for (size_t k = 0; k < t->n_params; k++)
        in[t->first_param + k] = ed_graph_constant(graph, graph->values[t->params[k].value].name);
    assert_int_equal(ed_exec_run(exec, in, out), ED_OK);
    const ed_tensor *g = out[t->gradients[i]];
    float *copy = ed_malloc(g->nbytes);
    assert_non_null(copy);
    memcpy(copy, g->data, g->nbytes);
    *n = g->numel;
    *bytes = ed_exec_get_stats(exec).activation_bytes;
    ed_exec_free(exec);
    ed_train_graph_free(t);
    return copy;
}

/* The same gradients from less memory. */
static void test_recompute(void **unused)
{
    (void)unused;
    static const int64_t ways[] = { 2, 3, 4, 64 };
    ed_graph *graph = toy_quantized(deep, 0.05f);
    for (size_t i = 0; i < 5; i++) {
        size_t all, less, least = SIZE_MAX;
        int64_t n, m;
        float *stored = gradient_of(graph, 0, i, &all, &n);
        for (size_t k = 0; k < ED_LENGTH(ways); k++) {
            float *again = gradient_of(graph, ways[k], i, &less, &m);
            assert_int_equal(m, n);
            for (int64_t j = 0; j < n; j++)
                assert_true(fabsf(again[j] - stored[j]) <= 1e-6f + 1e-4f * fabsf(stored[j]));
            least = less < least ? less : least;
            ed_free(again);
        }
        assert_true(least < all);
        ed_free(stored);
    }
    ed_graph_free(graph);
}

/* Activations whose gradients read what they give are part of the convolution's step. */
static void test_activations_stay_fused(void **unused)
{
    (void)unused;
    static const char *const activations[] = { "Relu",        "Clip",    "LeakyRelu",
                                               "HardSigmoid", "Sigmoid", "Tanh" };
    for (size_t i = 0; i < ED_LENGTH(activations); i++) {
        char text[512], step[64];
        snprintf(text, sizeof text,
                 "graph t opset 17\ninput x: f32[N, 4, 6, 6]\n"
                 "const w: f32[8, 4, 3, 3] = random(1)\nconst v: f32[8, 3] = random(2)\n"
                 "const lo: f32[] = {0}\nconst hi: f32[] = {6}\nc = Conv(x, w) @g\n"
                 "r = %s(c%s) @g\np = GlobalAveragePool(r)\nf = Flatten(p)\n"
                 "y = MatMul(f, v)\noutput y\n",
                 activations[i], strcmp(activations[i], "Clip") == 0 ? ", lo, hi" : "");
        snprintf(step, sizeof step, "Conv 'c' + %s 'r'", activations[i]);
        ed_graph *graph = graph_from(text, false);
        ed_train_spec spec = spec_of(&ED_SHAPE(2, 4, 6, 6), ED_LOSS_LABELS);
        ed_train_graph *t = build(graph, &spec);
        ed_shape shapes[] = { ED_SHAPE(2, 4, 6, 6), ED_SHAPE(2), ED_SHAPE(8, 4, 3, 3),
                              ED_SHAPE(8, 3) };
        ed_exec *exec = NULL;
        assert_int_equal(ed_exec_new(&exec, t->graph, shapes, NULL), ED_OK);
        assert_true(plan_says(exec, step));
        ed_exec_free(exec);
        ed_train_graph_free(t);
        ed_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs_and_outputs),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_computed_shape),
        cmocka_unit_test(test_tied_scales),
        cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_activations_stay_fused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
