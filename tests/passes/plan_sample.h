/* A small network with most patterns, and plans of it: for the tests of plans. */
#ifndef TESTS_PASSES_PLAN_SAMPLE_H
#define TESTS_PASSES_PLAN_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/plan.h"

#include <string.h>

/* A stem, a residual block of one convolution, a gate, a head. */
static const char *const model =
    "graph g opset 17\n"
    "input x: f32[N, 3, 8, 8]\n"
    "const w1: f32[4, 3, 3, 3] = random(1)\nconst w2: f32[4, 4, 1, 1] = random(2)\n"
    "const b: f32[4] = {0.5, 1, -1, 2}\nconst one: f32[4] = {1, 1, 1, 1}\n"
    "const zero: f32[4] = {0, 0, 0, 0}\nconst w3: f32[100, 5] = random(3)\n"
    "c = conv1: Conv(x, w1, b)\n"
    "n = bn1: BatchNormalization(c, one, zero, zero, one)\n"
    "r = relu1: Relu(n)\n"
    "p = pool: MaxPool(r) {kernel_shape=[2, 2]}\n"
    "d = conv2: Conv(p, w2, b)\n"
    "a = add: Add(d, p)\n"
    "s = relu2: Relu(a)\n"
    "m = mean: GlobalAveragePool(s)\n"
    "h = gate: Sigmoid(m)\n"
    "q = scaled: Mul(s, h)\n"
    "f = flat: Flatten(q)\n"
    "y = head: MatMul(f, w3)\n"
    "output y\n";

static inline ed_graph *load(void)
{
    ed_graph *g;
    if (ed_graph_parse(&g, model) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

static inline ed_plan *build(const ed_graph *g, const ed_plan_options *opts)
{
    ed_plan *plan;
    if (ed_plan_build(&plan, g, ED_PHASE_ALL, opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    return plan;
}

static inline const ed_match_info *find(const ed_plan *plan, const char *pattern,
                                        const char *anchor)
{
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        if (strcmp(m->pattern, pattern) == 0 && strcmp(m->anchor, anchor) == 0)
            return m;
    }
    return NULL;
}

static inline void assert_state(const ed_plan *plan, const char *pattern, const char *anchor,
                                bool apply)
{
    const ed_match_info *m = find(plan, pattern, anchor);
    if (!m || m->apply != apply)
        fail_msg("%s at %s: %s", pattern, anchor, !m ? "absent" : m->apply ? "applied" : m->reason);
    assert_true(apply == !m->reason);
}

static inline void assert_switch(ed_plan *plan, const char *pattern, const char *anchor, bool apply)
{
    if (ed_plan_set_apply(plan, pattern, anchor, apply) != ED_OK)
        fail_msg("%s", ed_error_last());
}

static inline size_t points_named(const ed_plan *plan, const char *value)
{
    size_t n = 0;
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        n += strcmp(ed_plan_point(plan, i)->value, value) == 0;
    return n;
}

#endif
