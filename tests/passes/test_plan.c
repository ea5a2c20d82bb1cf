/* Plans and targets: options, scales, exclusions, refusals, failing allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/plan.h"

#include <math.h>
#include <string.h>

static const char *const model = "graph g opset 17\n"
                                 "input x: f32[N, 3, 8, 8]\n"
                                 "const w: f32[4, 3, 3, 3] = random(1)\n"
                                 "const v: f32[4, 4, 1, 1] = random(2)\n"
                                 "const b: f32[4] = {0.5, 1, -1, 2}\n"
                                 "c = conv1: Conv(x, w, b)\n"
                                 "r = relu1: Relu(c)\n"
                                 "y = conv2: Conv(r, v, b)\n"
                                 "output y\n";

static ed_graph *load(const char *text)
{
    ed_graph *g;
    if (ed_graph_parse(&g, text) != ED_OK || ed_transform(g, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

static ed_plan *plan_with(const ed_graph *g, const char *exclude, const char *rule, int expected)
{
    ed_plan *plan = NULL;
    ed_plan_options opts = { .exclude = &exclude,
                             .exclude_count = exclude != NULL,
                             .rules = &rule,
                             .rules_count = rule != NULL };
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, &opts), expected);
    return plan;
}

static void test_exclusions(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    const struct {
        const char *exclude;
        size_t points;
    } rows[] = { { NULL, 4 },       { "conv1", 2 }, { "conv?", 0 },   { "Conv", 0 },
                 { "ConvBN_0", 2 }, { "Relu", 2 },  { "ConvBN*", 0 }, { "relu1", 2 } };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        ed_plan *plan = plan_with(g, rows[i].exclude, NULL, ED_OK);
        assert_int_equal(ed_plan_point_count(plan), rows[i].points);
        ed_plan_free(plan);
    }
    assert_null(plan_with(g, "conv9", NULL, ED_ENOTFOUND));
    assert_non_null(strstr(ed_error_last(), "'conv9'"));
    assert_null(plan_with(g, NULL, "skip-everything", ED_ENOTFOUND));
    assert_non_null(strstr(ed_error_last(), "'skip-everything'"));
    ed_graph_free(g);
}

static void test_optional_rule(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan = plan_with(g, NULL, "skip-narrow-conv", ED_OK);
    /* the first convolution reads the graph's input and stays */
    assert_int_equal(ed_plan_point_count(plan), 2);
    assert_string_equal(ed_plan_point(plan, 0)->value, "x");
    bool named = false;
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        named = named || (!m->apply && strstr(m->reason, "skip-narrow-conv"));
    }
    assert_true(named);
    assert_null(ed_plan_at(plan, ed_plan_count(plan)));
    ed_plan_free(plan);
    assert_non_null(ed_target_rule(NULL, 0));
    assert_null(ed_target_rule(NULL, 99));
    assert_null(ed_target_rule("toaster", 0));
    ed_graph_free(g);
}

static void test_scales_are_checked(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan = plan_with(g, NULL, NULL, ED_OK);
    const float good[4] = { 0.1F, 0.2F, 0.3F, 0.4F };
    const float bad[] = { 0.0F, -1.0F, NAN, INFINITY };
    for (size_t i = 0; i < ED_LENGTH(bad); i++) {
        assert_int_equal(ed_plan_set_scales(plan, 0, &bad[i], 1), ED_EINVAL);
        assert_non_null(strstr(ed_error_last(), "'x'"));
    }
    assert_int_equal(ed_plan_set_scales(plan, 0, good, 2), ED_EINVAL);
    assert_int_equal(ed_plan_set_scales(plan, 1, good, 1), ED_EINVAL);
    assert_int_equal(ed_plan_apply(plan, g), ED_EINVAL); /* no scales yet */
    assert_non_null(strstr(ed_error_last(), "calibrate"));
    ed_plan_free(plan);
    ed_graph_free(g);
}

static void test_plan_of_another_graph(void **state)
{
    (void)state;
    ed_graph *g = load(model), *other = load("graph h opset 17\ninput x: f32[N, 2]\n"
                                             "y = Relu(x)\noutput y\n");
    ed_plan *plan;
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_FUSE, NULL), ED_OK);
    assert_int_equal(ed_plan_apply(plan, other), ED_EMISMATCH);
    ed_plan_free(plan);
    ed_graph_free(g);
    ed_graph_free(other);
}

/* Each of these graphs breaks one rule of the target. */
static void test_target_refuses(void **state)
{
    (void)state;
#define HEAD                                                                                       \
    "graph g opset 17\ninput x: f32[N, 4, 8, 8]\nconst w: f32[4, 4, 1, 1] = random(1)\n"           \
    "const s: f32[] = {0.1}\nconst z: i32[] = {0}\nconst z1: i32[] = {3}\nconst s0: f32[] = {0}\n" \
    "const s4: f32[4] = {0.1, 0.1, 0.1, 0.1}\nconst z4: i32[4] = {0, 0, 0, 0}\n"                   \
    "const b: f32[4] = {1, 2, 3, 4}\n"
    const char *const graphs[][2] = {
        { "positive", HEAD "a = ed::FakeQuantize(x, s0, z) {axis=-1}\ny = Relu(a)\noutput y" },
        { "symmetric", HEAD "a = ed::FakeQuantize(x, s, z1) {axis=-1}\ny = Relu(a)\noutput y" },
        { "symmetric", HEAD "a = ed::FakeQuantize(x, s, z) {axis=-1, is_unsigned=1, qmin=0, "
                            "qmax=255}\ny = Relu(a)\noutput y" },
        { "both quantized",
          HEAD "a = ed::FakeQuantize(x, s, z) {axis=-1}\ny = Conv(a, w)\noutput y" },
        { "per tensor", HEAD "a = ed::FakeQuantize(x, s4, z4) {axis=1}\n"
                             "v = ed::FakeQuantize(w, s4, z4) {axis=0}\ny = Conv(a, v)\noutput y" },
        { "per output channel", HEAD "a = ed::FakeQuantize(x, s, z) {axis=-1}\n"
                                     "v = ed::FakeQuantize(w, s4, z4) {axis=1}\ny = Conv(a, v)\n"
                                     "output y" },
        { "bias", HEAD "a = ed::FakeQuantize(x, s, z) {axis=-1}\n"
                       "v = ed::FakeQuantize(w, s4, z4) {axis=0}\n"
                       "c = ed::FakeQuantize(b, s4, z4) {axis=0}\ny = Conv(a, v, c)\noutput y" },
        { "between a Conv", HEAD "c = Conv(x, w)\na = ed::FakeQuantize(c, s, z) {axis=-1}\n"
                                 "y = Relu(a)\noutput y" },
        { "identity branch", HEAD "c = Conv(x, w)\na = ed::FakeQuantize(c, s, z) {axis=-1}\n"
                                  "y = Add(a, x)\noutput y" },
    };
    for (size_t i = 0; i < ED_LENGTH(graphs); i++) {
        ed_graph *g;
        if (ed_graph_parse(&g, graphs[i][1]) != ED_OK)
            fail_msg("%s", ed_error_last());
        if (ed_target_check(g, NULL) != ED_EUNSUPPORTED || !strstr(ed_error_last(), graphs[i][0]))
            fail_msg("graph %zu should break '%s': %s", i, graphs[i][0], ed_error_last());
        ed_graph_free(g);
    }
}

static int whole_pipeline(const char *text)
{
    ed_graph *g;
    ed_plan *plan = NULL;
    ED_TRY(ed_graph_parse(&g, text));
    int rc = ed_transform(g, NULL);
    if (rc == ED_OK)
        rc = ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL);
    for (size_t i = 0; rc == ED_OK && i < ed_plan_point_count(plan); i++) {
        const float scales[4] = { 1, 1, 1, 1 };
        rc = ed_plan_set_scales(plan, i, scales, ed_plan_point(plan, i)->axis < 0 ? 1 : 4);
    }
    if (rc == ED_OK)
        rc = ed_plan_apply(plan, g);
    ed_plan_free(plan);
    ed_graph_free(g);
    return rc;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ed_alloc_fail_at(0);
    assert_int_equal(whole_pipeline(model), ED_OK);
    long total = ed_alloc_count();
    assert_true(total > 50);
    for (long n = 1; n <= total; n++) {
        ed_alloc_fail_at(n);
        int rc = whole_pipeline(model);
        if (rc != ED_ENOMEM)
            fail_msg("allocation %ld of %ld: %d %s", n, total, rc, ed_error_last());
    }
    ed_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclusions),         cmocka_unit_test(test_optional_rule),
        cmocka_unit_test(test_scales_are_checked), cmocka_unit_test(test_plan_of_another_graph),
        cmocka_unit_test(test_target_refuses),     cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
