/* Weights and activations of 4 bits: what the plan places, the opset that int4 needs, the file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "ed/calib.h"
#include "ed/exec.h"
#include "ed/onnx.h"
#include "passes/plan.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char path[] = "test_int4.onnx";

/* Operators whose form changed between opsets 13 and 21, and those of int4's neighbours. */
static const char old[] = "graph t opset 13\n"
                          "input x: f32[N, 4, 6, 6]\n"
                          "const w: f32[8, 4, 3, 3] = random(1)\nconst v: f32[4, 3] = random(2)\n"
                          "c = Conv(x, w) {pads=[1, 1, 1, 1]}\nr = Relu(c)\n"
                          "a, b = Split(r) {axis=1}\ns = Mul(a, b)\n"
                          "m = ReduceMean(s) {axes=[2, 3], keepdims=0}\n"
                          "n = ReduceMax(s) {axes=[-1, 2], keepdims=0}\n"
                          "l = ReduceL2(s) {axes=[3, 2], keepdims=0}\n"
                          "q = Sum(m, n, l)\ny = MatMul(q, v)\noutput y\n";

static ed_graph *parse(const char *text)
{
    ed_graph *g;
    if (ed_graph_parse(&g, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

static void assert_says(const char *part)
{
    if (!strstr(ed_error_last(), part))
        fail_msg("'%s' is not in: %s", part, ed_error_last());
}

/* The first output for a fixed input of two samples; [6] floats. */
static void run(float out[6], const ed_graph *g)
{
    float x[2 * 4 * 6 * 6];
    ed_exec *exec = NULL;
    ed_shape shape = ED_SHAPE(2, 4, 6, 6);
    ed_tensor t;
    const ed_tensor *in = &t, *y = NULL;
    for (int i = 0; i < 2 * 4 * 6 * 6; i++)
        x[i] = sinf((float)(i * i % 97));
    assert_int_equal(ed_tensor_view(&t, ED_F32, &shape, x), ED_OK);
    if (ed_exec_new(&exec, g, &shape, NULL) != ED_OK || ed_exec_run(exec, &in, &y) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_int_equal(y->numel, 6);
    memcpy(out, y->data, 6 * sizeof *out);
    ed_exec_free(exec);
}

static void assert_close(const float *a, const float *b, float tolerance)
{
    for (int i = 0; i < 6; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance * (1.0f + fabsf(b[i]))))
            fail_msg("%d: %g, not %g", i, (double)a[i], (double)b[i]);
}

static ed_graph *quantized(const char *text, const ed_plan_options *opts)
{
    ed_graph *g = parse(text);
    ed_plan *plan = NULL;
    if (ed_transform(g, opts) != ED_OK || ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    for (size_t i = 0; i < ed_plan_point_count(plan); i++) {
        const ed_qdq_point *p = ed_plan_point(plan, i);
        float scales[8] = { 0.25f };
        const ed_tensor *w = p->weight ? ed_graph_constant(g, p->value) : NULL;
        unsigned wanted = p->weight ? opts->weight_bits : opts->activation_bits;
        assert_int_equal(p->bits, wanted ? wanted : 8);
        if (w)
            assert_int_equal(ed_weight_scales(scales, w, p->axis, "minmax", p->bits), ED_OK);
        size_t n = w && p->axis >= 0 ? (size_t)w->shape.dim[p->axis] : 1;
        assert_int_equal(ed_plan_set_scales(plan, i, scales, n), ED_OK);
    }
    if (ed_plan_apply(plan, g) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_plan_free(plan);
    return g;
}

static int64_t attr_of(const ed_graph *g, bool weight, const char *name)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ed_node *n = &g->nodes[i];
        if (!n->dead && strcmp(n->op_type, "FakeQuantize") == 0 &&
            (ed_node_constant(g, n, 0) != NULL) == weight)
            return ed_node_attr(n, name)->i;
    }
    fail();
    return 0;
}

/* ---- tests ---- */

static void test_raised(void **unused)
{
    (void)unused;
    float before[6], after[6];
    const ed_plan_options opts = { .weight_bits = 4 };
    ed_graph *g = parse(old);
    run(before, g);
    if (ed_transform(g, &opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_int_equal(ed_graph_opset(g, ""), 21);
    run(after, g);
    assert_close(after, before, 1e-5f);
    ed_graph_free(g);
}

static void test_refused(void **unused)
{
    (void)unused;
    ed_graph *g = parse("graph t opset 18\ninput x: f32[N, 4, 6, 6]\nconst s: f32[2] = random(1)\n"
                        "const b: f32[2] = random(2)\n"
                        "y = GroupNormalization(x, s, b) {num_groups=2}\noutput y\n");
    assert_int_equal(ed_upgrade_opset(g, 21), ED_EUNSUPPORTED);
    assert_says("GroupNormalization");
    ed_graph_free(g);
    g = parse(old);
    ed_plan *plan;
    const ed_plan_options opts = { .weight_bits = 5 };
    assert_int_equal(ed_transform(g, NULL), ED_OK);
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, &opts), ED_EINVAL);
    assert_says("weights of 5 bits");
    ed_graph_free(g);
}

/* Placed, written and read again: the same answers, also from int8 tensors. */
static void test_written(void **unused)
{
    (void)unused;
    static const ed_plan_options cases[] = {
        { .weight_bits = 4 },
        { .weight_bits = 4, .int8_storage = true },
        { .weight_bits = 4, .activation_bits = 4 },
        { .activation_bits = 4 },
    };
    for (size_t i = 0; i < ED_LENGTH(cases); i++) {
        float answers[6], again[6];
        bool int4 = !cases[i].int8_storage, weights = cases[i].weight_bits == 4;
        ed_graph *g = quantized(old, &cases[i]), *back = NULL;
        assert_int_equal(ed_graph_opset(g, ""), int4 ? 21 : 13);
        assert_int_equal(attr_of(g, true, "qmin"), weights ? -8 : -128);
        assert_int_equal(attr_of(g, true, "qmax"), weights ? 7 : 127);
        assert_int_equal(attr_of(g, true, "bits"), weights && int4 ? 4 : 8);
        run(answers, g);
        if (ed_onnx_write(g, path, NULL) != ED_OK || ed_onnx_read(&back, path) != ED_OK)
            fail_msg("%s", ed_error_last());
        run(again, back);
        assert_close(again, answers, 1e-5f);
        ed_graph_free(back);
        ed_graph_free(g);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raised),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
