/* Editing plans: switching matches, what follows from it, refusals. */
#include "passes/plan_sample.h"

static void test_all_phases_are_listed(void **state)
{
    (void)state;
    ed_graph *g = load();
    uint64_t hash = ed_graph_hash(g);
    ed_plan *plan = build(g, NULL);
    assert_state(plan, "fold_bn", "bn1", true);
    assert_state(plan, "StemConvBNReLUMaxPool", "pool", true);
    assert_state(plan, "ConvBNReLU", "relu1", false);
    assert_state(plan, "ConvBNAddReLU", "relu2", true);
    assert_state(plan, "input", "x", true);
    const ed_match_info *m = find(plan, "StemConvBNReLUMaxPool", "pool");
    assert_int_equal(m->node_count, 3);
    assert_string_equal(m->nodes[0], "conv1");
    assert_string_equal(m->nodes[2], "pool");
    assert_int_equal(m->phase, ED_PHASE_FUSE);
    assert_string_equal(m->inputs[0], "x");
    m = find(plan, "input", "x");
    assert_int_equal(m->node_count, 1);
    assert_string_equal(m->nodes[0], "conv1");
    assert_true(ed_graph_hash(g) == hash); /* only the plan's copy changed */
    assert_int_equal(ed_graph_group_count(g), 0);
    ed_plan_free(plan);
    ed_graph_free(g);
}

/* What the plan does to a clone is what one shot does, and the fused groups are the same. */
static void test_apply_is_transform(void **state)
{
    (void)state;
    ed_graph *g = load(), *by_plan, *at_once;
    assert_int_equal(ed_graph_clone(&by_plan, g), ED_OK);
    assert_int_equal(ed_graph_clone(&at_once, g), ED_OK);
    ed_plan *plan = build(g, NULL);
    assert_int_equal(ed_plan_apply_phases(plan, by_plan, ED_PHASE_CONVERT, ED_PHASE_FUSE), ED_OK);
    assert_int_equal(ed_transform(at_once, NULL), ED_OK);
    assert_true(ed_graph_hash(by_plan) == ed_graph_hash(at_once));
    assert_int_equal(ed_graph_group_count(by_plan), ed_graph_group_count(at_once));
    for (size_t i = 0; i < ed_graph_group_count(at_once); i++)
        assert_string_equal(ed_graph_group(by_plan, i).name, ed_graph_group(at_once, i).name);
    assert_int_equal(ed_plan_apply_phases(plan, g, ED_PHASE_QUANTIZE, ED_PHASE_QUANTIZE),
                     ED_EMISMATCH); /* not transformed yet */
    ed_plan_free(plan);
    ed_graph_free(g);
    ed_graph_free(by_plan);
    ed_graph_free(at_once);
}

static void test_off_frees_the_nodes(void **state)
{
    (void)state;
    ed_graph *g = load();
    ed_plan *plan = build(g, NULL);
    assert_switch(plan, "StemConvBNReLUMaxPool", "pool", false);
    assert_state(plan, "StemConvBNReLUMaxPool", "pool", false);
    assert_string_equal(find(plan, "StemConvBNReLUMaxPool", "pool")->reason,
                        "disabled by the user");
    assert_state(plan, "ConvBNReLU", "relu1", true);
    /* the other way round: the longer one is refused while the shorter one stays off by hand */
    assert_switch(plan, "ConvBNReLU", "relu1", false);
    assert_state(plan, "ConvBN", "conv1", true);
    assert_switch(plan, "StemConvBNReLUMaxPool", "pool", true);
    assert_state(plan, "StemConvBNReLUMaxPool", "pool", true);
    assert_state(plan, "ConvBN", "conv1", false);
    ed_plan_free(plan);
    ed_graph_free(g);
}

static void test_claimed_nodes_are_refused(void **state)
{
    (void)state;
    ed_graph *g = load();
    ed_plan *plan = build(g, NULL);
    size_t count = ed_plan_count(plan);
    assert_int_equal(ed_plan_set_apply(plan, "ConvBNReLU", "relu1", true), ED_EINVAL);
    assert_non_null(strstr(ed_error_last(), "ConvBNReLU at 'relu1'"));
    assert_non_null(strstr(ed_error_last(), "StemConvBNReLUMaxPool at pool"));
    assert_int_equal(ed_plan_count(plan), count);
    assert_state(plan, "StemConvBNReLUMaxPool", "pool", true);
    assert_state(plan, "ConvBNReLU", "relu1", false);
    assert_switch(plan, "StemConvBNReLUMaxPool", "pool", true); /* it is on: nothing to do */
    ed_plan_free(plan);
    ed_graph_free(g);
}

static void test_conversion_off(void **state)
{
    (void)state;
    ed_graph *g = load(), *copy;
    assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
    ed_plan *plan = build(g, NULL);
    assert_switch(plan, "fold_bn", "bn1", false);
    assert_state(plan, "fold_bn", "bn1", false);
    /* the stem's pattern takes the normalization as it is */
    assert_int_equal(find(plan, "StemConvBNReLUMaxPool", "pool")->node_count, 4);
    assert_int_equal(ed_plan_apply_phases(plan, copy, ED_PHASE_CONVERT, ED_PHASE_FUSE), ED_OK);
    assert_int_equal(ed_graph_node_count(copy, "BatchNormalization"), 1);
    ed_plan_free(plan);
    ed_graph_free(g);
    ed_graph_free(copy);
}

static void test_points_go_in_pairs(void **state)
{
    (void)state;
    ed_graph *g = load();
    ed_plan *plan = build(g, NULL);
    size_t all = ed_plan_point_count(plan);
    assert_int_equal(points_named(plan, "w1"), 1);
    assert_switch(plan, "input", "x", false);
    /* a convolution with one quantized operand runs nowhere: its weight goes, too */
    assert_int_equal(ed_plan_point_count(plan), all - 2);
    assert_int_equal(points_named(plan, "x"), 0);
    assert_int_equal(points_named(plan, "w1"), 0);
    assert_non_null(strstr(find(plan, "weight", "w1")->reason, "'x'"));
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        assert_true(ed_plan_point(plan, i)->scale_of < ed_plan_point_count(plan));
    assert_switch(plan, "input", "x", true);
    assert_int_equal(ed_plan_point_count(plan), all);
    ed_plan_free(plan);
    ed_graph_free(g);
}

static void quantize(ed_plan *plan, ed_graph *g)
{
    for (size_t i = 0; i < ed_plan_point_count(plan); i++) {
        const ed_qdq_point *p = ed_plan_point(plan, i);
        const float scales[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
        const ed_tensor *w = ed_graph_constant(plan->graph, p->value);
        size_t n = p->axis < 0 ? 1 : (size_t)w->shape.dim[p->axis];
        if (ed_plan_set_scales(plan, i, scales, n) != ED_OK)
            fail_msg("%s", ed_error_last());
    }
    if (ed_plan_apply(plan, g) != ED_OK || ed_target_check(g, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
}

/* Whatever is switched off, alone, leaves a graph that the target accepts. */
static void test_every_single_switch(void **state)
{
    (void)state;
    ed_graph *g = load();
    ed_plan *plan = build(g, NULL);
    size_t n = ed_plan_count(plan), applied = 0;
    ed_plan_free(plan);
    for (size_t i = 0; i < n; i++) {
        ed_graph *copy;
        plan = build(g, NULL);
        const ed_match_info *m = ed_plan_at(plan, i);
        applied += m->apply;
        assert_switch(plan, m->pattern, m->anchor, false);
        assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
        quantize(plan, copy);
        ed_plan_free(plan);
        ed_graph_free(copy);
    }
    assert_true(applied > 8);
    ed_graph_free(g);
}

static void test_unknown_names(void **state)
{
    (void)state;
    const struct {
        const char *pattern, *anchor, *sentence;
    } rows[] = {
        { "ConvBNSoftmax", "pool", "named 'ConvBNSoftmax'" },
        { "ConvBNReLU", "nowhere", "'nowhere'" },
        { "ConvBNReLU", "pool", "where StemConvBNReLUMaxPool does" },
        { "", "", "named ''" },
    };
    ed_graph *g = load();
    ed_plan *plan = build(g, NULL);
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        assert_int_equal(ed_plan_set_apply(plan, rows[i].pattern, rows[i].anchor, false),
                         ED_ENOTFOUND);
        if (!strstr(ed_error_last(), rows[i].sentence))
            fail_msg("row %zu: %s", i, ed_error_last());
    }
    ed_plan_free(plan);
    ed_graph_free(g);
}

static void test_options_disable(void **state)
{
    (void)state;
    ed_graph *g = load();
    const char *const off[] = { "StemConvBNReLUMaxPool@pool", "fold_bn", "input@x" };
    ed_plan_options opts = { .disable = off, .disable_count = 3 };
    ed_plan *plan = build(g, &opts);
    assert_state(plan, "StemConvBNReLUMaxPool", "pool", false);
    assert_state(plan, "fold_bn", "bn1", false);
    assert_state(plan, "input", "x", false);
    assert_switch(plan, "fold_bn", "bn1", true); /* a switch is stronger than an option */
    assert_state(plan, "fold_bn", "bn1", true);
    ed_plan_free(plan);
    const char *const bad[] = { "Stem@pool", "StemConvBNReLUMaxPool@relu9", "nonsense" };
    for (size_t i = 0; i < ED_LENGTH(bad); i++) {
        opts = (ed_plan_options){ .disable = &bad[i], .disable_count = 1 };
        assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_ALL, &opts), ED_ENOTFOUND);
        assert_null(plan);
    }
    opts = (ed_plan_options){ .patterns = 64 };
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_ALL, &opts), ED_EINVAL);
    ed_graph_free(g);
}

static void test_pattern_groups(void **state)
{
    (void)state;
    const struct {
        unsigned patterns;
        bool phases[3];
    } rows[] = {
        { ED_TENSORRT_CONVERSION_PATTERNS, { true, false, false } },
        { ED_TENSORRT_FUSION_PATTERNS, { false, true, false } },
        { ED_TENSORRT_QUANTIZED_PATTERNS, { false, true, true } },
        { ED_TENSORRT_CONVERSION_PATTERNS | ED_TENSORRT_FUSION_PATTERNS, { true, true, false } },
        { ED_TENSORRT_PATTERNS, { true, true, true } },
        { 0, { true, true, true } },
    };
    ed_graph *g = load();
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        const ed_plan_options opts = { .patterns = rows[i].patterns };
        ed_plan *plan = build(g, &opts);
        bool seen[4] = { false };
        for (size_t k = 0; k < ed_plan_count(plan); k++)
            seen[ed_plan_at(plan, k)->phase] = true;
        for (int phase = 0; phase < 3; phase++)
            assert_true(seen[phase] == rows[i].phases[phase]);
        ed_plan_free(plan);
    }
    ed_graph_free(g);
}

static void test_report(void **state)
{
    (void)state;
    ed_graph *g = load();
    ed_report report;
    bool stem = false, skipped = false;
    assert_int_equal(ed_transform_report(&report, g, NULL), ED_OK);
    for (size_t i = 0; i < report.count; i++) {
        const ed_pattern_count *row = &report.rows[i];
        stem = stem || (strcmp(row->pattern, "StemConvBNReLUMaxPool") == 0 && row->applied == 1 &&
                        row->skipped == 0);
        skipped = skipped || (strcmp(row->pattern, "ConvBNReLU") == 0 && row->applied == 0 &&
                              row->skipped == 1);
        assert_true(row->phase != ED_PHASE_QUANTIZE);
    }
    assert_true(stem);
    assert_true(skipped);
    ed_graph_free(g);
}

static int switch_once(const ed_graph *g)
{
    ed_plan *plan;
    ED_TRY(ed_plan_build(&plan, g, ED_PHASE_ALL, NULL));
    int rc = ed_plan_set_apply(plan, "StemConvBNReLUMaxPool", "pool", false);
    if (rc == ED_OK)
        assert_state(plan, "ConvBNReLU", "relu1", true);
    else
        assert_state(plan, "StemConvBNReLUMaxPool", "pool", true); /* as before */
    ed_plan_free(plan);
    return rc;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ed_graph *g = load();
    ed_alloc_fail_at(0);
    assert_int_equal(switch_once(g), ED_OK);
    long total = ed_alloc_count();
    assert_true(total > 100);
    for (long n = 1; n <= total; n += n < 200 ? 1 : 7) {
        ed_alloc_fail_at(n);
        int rc = switch_once(g);
        if (rc != ED_ENOMEM)
            fail_msg("allocation %ld of %ld: %d %s", n, total, rc, ed_error_last());
    }
    ed_alloc_fail_at(0);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_phases_are_listed),
        cmocka_unit_test(test_apply_is_transform),
        cmocka_unit_test(test_off_frees_the_nodes),
        cmocka_unit_test(test_claimed_nodes_are_refused),
        cmocka_unit_test(test_conversion_off),
        cmocka_unit_test(test_points_go_in_pairs),
        cmocka_unit_test(test_every_single_switch),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_options_disable),
        cmocka_unit_test(test_pattern_groups),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
