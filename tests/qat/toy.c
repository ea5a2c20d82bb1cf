/* See toy.h. */
#include "toy.h"

#include "base/mem.h"
#include "graph/graph.h"

#include <math.h>

const char toy_mlp[] = "graph t opset 17\n"
                       "input x: f32[N, 6]\n"
                       "const w1: f32[16, 6] = random(1)\n"
                       "const b1: f32[16] = random(2)\n"
                       "const w2: f32[3, 16] = random(3)\n"
                       "const b2: f32[3] = fill(0)\n"
                       "h = Gemm(x, w1, b1) {transB=1}\n"
                       "r = Relu(h)\n"
                       "y = Gemm(r, w2, b2) {transB=1}\n"
                       "output y\n";

static void set_scales(ed_plan *plan, const ed_graph *graph, size_t i, float activation_scale)
{
    const ed_qdq_point *p = ed_plan_point(plan, i);
    float scales[64] = { activation_scale };
    size_t n = 1;
    if (p->weight) {
        const ed_tensor *w = ed_graph_constant(graph, p->value);
        n = p->axis < 0 ? 1 : (size_t)w->shape.dim[p->axis];
        assert_true(n <= ED_LENGTH(scales));
        assert_int_equal(ed_weight_scales(scales, w, p->axis, "minmax", 8), ED_OK);
    }
    assert_int_equal(ed_plan_set_scales(plan, i, scales, n), ED_OK);
}

ed_graph *toy_quantized(const char *text, float activation_scale)
{
    ed_graph *graph = graph_from(text, true);
    ed_plan *plan = NULL;
    if (ed_plan_build(&plan, graph, ED_PHASE_QUANTIZE, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_true(ed_plan_point_count(plan) > 0);
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        set_scales(plan, graph, i, activation_scale);
    if (ed_plan_apply(plan, graph) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_plan_free(plan);
    return graph;
}

void toy_write(const char *path, int64_t n, uint32_t seed)
{
    int64_t dims[] = { n, TOY_FEATURES };
    float *x = ed_malloc((size_t)n * TOY_FEATURES * sizeof *x);
    int64_t *labels = ed_malloc((size_t)n * sizeof *labels);
    assert_true(x && labels);
    fill_numbers(x, n * TOY_FEATURES, seed);
    for (int64_t i = 0; i < n; i++) {
        labels[i] = (i * 7 + 3) % TOY_CLASSES;
        for (int64_t k = 0; k < TOY_FEATURES; k++)
            x[i * TOY_FEATURES + k] += k / 2 == labels[i] ? 1.2f : 0.0f;
    }
    write_samples(path, x, 2, dims, labels);
    ed_free(x);
    ed_free(labels);
}

ed_dataset *toy_open(const char *path, const ed_graph *graph, int64_t batch)
{
    return open_samples(path, graph, batch, false);
}

uint64_t toy_hash(const ed_graph *graph)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < graph->n_values; i++)
        if (graph->values[i].constant)
            hash =
                ed_hash(hash, graph->values[i].constant->data, graph->values[i].constant->nbytes);
    return hash;
}
