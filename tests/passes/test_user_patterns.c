/* Patterns of the user's own: where they match, how they are quantized, which are refused. */
#include "passes/plan_sample.h"

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

static const char *not_here(void *ctx, const ed_graph *graph, const ed_match_info *match)
{
    assert_true(ed_graph_node_count(graph, "Conv") == 2);
    return strcmp(match->anchor, ctx) == 0 ? "the user says so" : NULL;
}

static const ed_pattern_node pool_conv[] = {
    { .op = "MaxPool|AveragePool", .in = { ED_INPUT_ANY } },
    { .op = "Flatten", .in = { ED_INPUT_NODE + 0 }, .optional = true },
    { 0 },
};
static const ed_pattern_node mean_gate[] = {
    { .op = "GlobalAveragePool", .in = { ED_INPUT_ANY } },
    { .op = "Sigmoid", .in = { ED_INPUT_NODE + 0 } },
    { 0 },
};
static const ed_pattern_node linear_own[] = {
    { .op = "MatMul", .in = { ED_INPUT_ANY, ED_INPUT_CONSTANT } },
    { 0 },
};

static void test_user_patterns(void **state)
{
    (void)state;
    ed_graph *g = load(), *copy;
    ed_user_pattern rows[] = {
        { .name = "MeanGate", .nodes = mean_gate, .before = "AdaptiveAvgPool" },
        { .name = "OwnLinear", .nodes = linear_own, .before = "Linear" },
        { .name = "PoolLast", .nodes = pool_conv },
    };
    ed_plan_options opts = { .user_patterns = rows, .user_pattern_count = 3 };
    ed_plan *plan = build(g, &opts);
    assert_state(plan, "MeanGate", "gate", true);
    assert_state(plan, "AdaptiveAvgPool", "mean", false);
    assert_state(plan, "PoolLast", "pool", false); /* the stem came before */
    assert_state(plan, "OwnLinear", "head", true);
    assert_int_equal(points_named(plan, "w3"), 1); /* its weighted node is quantized like others */
    assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
    quantize(plan, copy);
    assert_switch(plan, "StemConvBNReLUMaxPool", "pool", false);
    assert_switch(plan, "MeanGate", "gate", false);
    assert_state(plan, "PoolLast", "pool", true);
    ed_plan_free(plan);
    rows[0].reject = not_here;
    rows[0].ctx = (void *)"gate";
    plan = build(g, &opts);
    assert_state(plan, "MeanGate", "gate", false);
    assert_string_equal(find(plan, "MeanGate", "gate")->reason, "the user says so");
    assert_state(plan, "AdaptiveAvgPool", "mean", true);
    ed_plan_free(plan);
    ed_graph_free(copy);
    ed_graph_free(g);
}

static void test_bad_user_patterns(void **state)
{
    (void)state;
    static const ed_pattern_node forward[] = { { .op = "Relu", .in = { ED_INPUT_NODE + 0 } },
                                               { 0 } };
    static const ed_pattern_node optional[] = { { .op = "Relu", .in = { ED_INPUT_ANY } },
                                                { .op = "Relu", .optional = true },
                                                { 0 } };
    static const ed_pattern_node strange[] = { { .op = "Relu", .in = { 9 } }, { 0 } };
    static const ed_pattern_node empty[] = { { 0 } };
    static const ed_pattern_node lengthy[10] = {
        { .op = "Relu" }, { .op = "Relu" }, { .op = "Relu" }, { .op = "Relu" }, { .op = "Relu" },
        { .op = "Relu" }, { .op = "Relu" }, { .op = "Relu" }, { .op = "Relu" },
    };
    const struct {
        ed_user_pattern row;
        const char *sentence;
    } rows[] = {
        { { .nodes = mean_gate }, "is named ''" },
        { { .name = "a@b", .nodes = mean_gate }, "'a@b'" },
        { { .name = "ConvBN", .nodes = mean_gate }, "'ConvBN' already" },
        { { .name = "fold_bn", .nodes = mean_gate }, "'fold_bn' already" },
        { { .name = "A", .nodes = mean_gate, .before = "B" }, "'B'" },
        { { .name = "A", .nodes = forward }, "input 0 of node 0" },
        { { .name = "A", .nodes = optional }, "node 1 is optional" },
        { { .name = "A", .nodes = strange }, "is 9" },
        { { .name = "A", .nodes = empty }, "no node" },
        { { .name = "A" }, "no node" },
        { { .name = "A", .nodes = lengthy }, "more than 8" },
    };
    ed_graph *g = load();
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        const ed_plan_options opts = { .user_patterns = &rows[i].row, .user_pattern_count = 1 };
        ed_plan *plan;
        assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_FUSE, &opts), ED_EINVAL);
        assert_null(plan);
        if (!strstr(ed_error_last(), rows[i].sentence))
            fail_msg("row %zu: %s", i, ed_error_last());
    }
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_patterns),
        cmocka_unit_test(test_bad_user_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
