/*
 * A worked example of the public API: transform a model by an edited plan and show that it computes
 * the same.
 *
 *   edit_plan MODEL.onnx OUTPUT.onnx PLAN.json
 *
 * It lists what the patterns would do, leaves every stem (convolution, activation and pooling in
 * one group) in two parts, adds a fusion of its own, keeps the plan for a person to read, applies
 * it to a copy of the model, and compares both on the same numbers.
 */
#include <ed/ed.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != ED_OK) {                                                                     \
            fprintf(stderr, "%s\n", ed_error_last());                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Pooling over the plane and the reshape behind it, as one group named PoolFlatten_<n>. */
static const ed_pattern_node pool_flatten[] = {
    { .op = "GlobalAveragePool|ReduceMean", .in = { ED_INPUT_ANY } },
    { .op = "Flatten|Reshape", .in = { ED_INPUT_NODE + 0 } },
    { 0 },
};
static const ed_user_pattern own[] = {
    { .name = "PoolFlatten", .nodes = pool_flatten, .before = "AdaptiveAvgPool" },
};

/* Switch off all matches of a pattern. The list is made anew by each switch: begin again. */
static int disable_all(ed_plan *plan, const char *pattern)
{
    int count = 0;
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        if (!m->apply || strcmp(m->pattern, pattern) != 0)
            continue;
        CHECK(ed_plan_set_apply(plan, m->pattern, m->anchor, false));
        count++;
        i = (size_t)-1;
    }
    return count;
}

static void print_counts(const ed_plan *plan)
{
    ed_pattern_count row;
    for (size_t i = 0; ed_plan_pattern_count(&row, plan, i); i++)
        printf("%-24s %3zu applied %3zu skipped\n", row.pattern, row.applied, row.skipped);
}

/* The first output for an input of ones, as a copy. */
static ed_tensor *run(const ed_graph *graph)
{
    ed_shape shape;
    ed_exec *exec;
    ed_tensor *x, *copy;
    const ed_tensor *y;
    CHECK(ed_exec_batch_shapes(&shape, graph, 2));
    CHECK(ed_exec_new(&exec, graph, &shape, NULL));
    CHECK(ed_tensor_new(&x, ED_F32, &shape));
    for (int64_t i = 0; i < x->numel; i++)
        ((float *)x->data)[i] = 1.0F;
    CHECK(ed_exec_run(exec, (const ed_tensor *const *)&x, &y));
    CHECK(ed_tensor_clone(&copy, y));
    ed_tensor_free(x);
    ed_exec_free(exec);
    return copy;
}

static double largest_difference(const ed_graph *before, const ed_graph *after)
{
    ed_tensor *a = run(before), *b = run(after);
    double largest = 0;
    for (int64_t i = 0; i < a->numel; i++)
        largest = fmax(largest, fabs(ed_tensor_get_f64(a, i) - ed_tensor_get_f64(b, i)));
    ed_tensor_free(a);
    ed_tensor_free(b);
    return largest;
}

int main(int argc, char **argv)
{
    ed_graph *model, *copy;
    ed_plan *plan;
    const ed_plan_options options = { .user_patterns = own, .user_pattern_count = 1 };
    if (argc != 4) {
        fprintf(stderr, "usage: edit_plan MODEL.onnx OUTPUT.onnx PLAN.json\n");
        return 2;
    }
    CHECK(ed_onnx_read(&model, argv[1]));
    if (ed_graph_input_count(model) != 1 || ed_graph_output_count(model) != 1) {
        fprintf(stderr, "%s: this example takes models with one input and one output\n", argv[1]);
        return 1;
    }
    CHECK(ed_plan_build(&plan, model, ED_PHASE_ALL, &options));
    printf("%d stems switched off\n", disable_all(plan, "StemConvBNReLUMaxPool"));
    print_counts(plan);
    CHECK(ed_plan_write_json(plan, argv[3]));

    CHECK(ed_graph_clone(&copy, model)); /* the plan's own model stays as it is */
    CHECK(ed_plan_apply_phases(plan, copy, ED_PHASE_CONVERT, ED_PHASE_FUSE));
    CHECK(ed_onnx_write(copy, argv[2], NULL));
    double difference = largest_difference(model, copy);
    printf("largest difference %.3g\n", difference);

    ed_plan_free(plan);
    ed_graph_free(copy);
    ed_graph_free(model);
    return difference < 1e-3 ? 0 : 1;
}
