/*
 * What the gradients are where a function has none: at kinks, ties, zeros. Each row is an operator
 * on vectors, and the gradients of the sum of its output, by reference and by fast kernels.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ed/exec.h"
#include "ops/gradient.h"

#include <math.h>
#include <string.h>

enum { MAX_IN = 3, MAX_N = 6 };

typedef struct kink {
    const char *type;
    int64_t opset;
    struct {
        int n; /* 0: no more inputs */
        float x[MAX_N], gradient[MAX_N];
    } in[MAX_IN];
} kink;

static const kink kinks[] = {
    { "Relu", 13, { { 3, { -1, 0, 1 }, { 0, 0, 1 } } } },
    { "LeakyRelu", 13, { { 3, { -1, 0, 1 }, { 0.01f, 0.01f, 1 } } } },
    { "Elu", 13, { { 3, { -INFINITY, 0, 1 }, { 0, 1, 1 } } } },
    { "HardSigmoid", 13, { { 3, { -2.5f, 0, 2.5f }, { 0, 0.2f, 0 } } } },
    { "HardSwish", 14, { { 3, { -3, 0, 3 }, { 0, 0.5f, 1 } } } },
    { "Abs", 7, { { 3, { -1, 0, 1 }, { -1, 0, 1 } } } },
    { "PRelu", 9, { { 3, { -2, 0, 1 }, { 0.5f, 0.5f, 1 } }, { 1, { 0.5f }, { -2 } } } },
    { "Clip",
      13,
      { { 5, { -1, 0, 3, 6, 7 }, { 0, 0, 1, 0, 0 } }, { 1, { 0 }, { 2 } }, { 1, { 6 }, { 2 } } } },
    { "Clip", 7, { { 3, { -1, 0, 1 }, { 1, 1, 1 } } } },
    { "Clip", /* no bounds at all */
      13,
      { { 3, { -INFINITY, 0, INFINITY }, { 1, 1, 1 } },
        { 1, { -INFINITY }, { 1 } },
        { 1, { INFINITY }, { 1 } } } },
    { "Clip", /* one number between the bounds */
      13,
      { { 3, { 1, 2, 3 }, { 0, 0, 0 } }, { 1, { 2 }, { 0 } }, { 1, { 2 }, { 3 } } } },
    { "Clip", /* a bound that is NaN limits nothing */
      13,
      { { 3, { -9, 2, 3 }, { 1, 0, 0 } }, { 1, { NAN }, { 0 } }, { 1, { 2 }, { 2 } } } },
    { "Clip", /* the bounds crossed: all are the upper one */
      13,
      { { 3, { -3, 0, 3 }, { 0, 0, 0 } }, { 1, { 2 }, { 0 } }, { 1, { -2 }, { 3 } } } },
    { "Max", 8, { { 3, { 1, 2, 3 }, { 0.5f, 0, 1 } }, { 3, { 1, 5, 2 }, { 0.5f, 1, 0 } } } },
    { "Min",
      13,
      { { 2, { 0, 1 }, { 0.5f, 0.5f } }, { 2, { 0, 1 }, { 0.5f, 0.5f } }, { 1, { 2 }, { 0 } } } },
    { "ReduceMax", 13, { { 4, { 3, 1, 3, 2 }, { 0.5f, 0, 0.5f, 0 } } } },
    { "ReduceMin", 18, { { 3, { 2, 2, 2 }, { 1 / 3.0f, 1 / 3.0f, 1 / 3.0f } } } },
    { "ReduceL1", 7, { { 3, { -2, 0, 2 }, { -1, 0, 1 } } } },
    { "ReduceL2", 13, { { 2, { 0, 0 }, { 0, 0 } } } },
    { "ReduceProd", 13, { { 3, { 0, 2, 3 }, { 6, 0, 0 } } } },
    { "ReduceProd", 18, { { 3, { 0, 0, 3 }, { 0, 0, 0 } } } },
    { "Pow", 7, { { 3, { 0, 2, 0 }, { 0, 12, 0 } }, { 3, { 0, 3, 2 }, { 0, 5.5451774f, 0 } } } },
    { "Sqrt", 13, { { 2, { 0, 4 }, { INFINITY, 0.25f } } } },
};

static int build(ed_graph **out, const kink *k, ed_tensor **data)
{
    ed_id in[MAX_IN], y, loss, node, gradients[MAX_IN];
    uint32_t n = 0;
    ED_TRY(ed_graph_new(out, "kink"));
    ed_graph *g = *out;
    ED_TRY(ed_graph_set_opset(g, "", k->opset));
    for (; n < MAX_IN && k->in[n].n; n++) {
        const char *const names[] = { "a", "b", "c" };
        ED_TRY(ed_tensor_from(&data[n], ED_F32, &ED_SHAPE(k->in[n].n), k->in[n].x));
        ED_TRY(ed_graph_add_value(g, &in[n], names[n]));
        g->values[in[n]].dtype = ED_F32;
        g->values[in[n]].shape = data[n]->shape;
        ED_TRY(ed_graph_add_input(g, in[n]));
    }
    ED_TRY(ed_graph_add_value(g, &y, "y"));
    ED_TRY(ed_graph_add_value(g, &loss, "loss"));
    ED_TRY(ed_graph_add_node(g, &node, k->type, "node", in, n, &y, 1));
    ED_TRY(ed_graph_add_node(g, &node, "ReduceSum", "sum", &y, 1, &loss, 1));
    ED_TRY(ed_graph_infer(g));
    ED_TRY(ed_graph_differentiate(g, loss, in, n, gradients));
    for (uint32_t i = 0; i < n; i++) {
        ED_FAIL_IF(gradients[i] == ED_NONE, ED_EINTERNAL, "input %u has no gradient", i);
        ED_TRY(ed_graph_add_output(g, gradients[i]));
    }
    return ED_OK;
}

static bool agrees(const kink *k, const ed_tensor *const *outputs)
{
    bool good = true;
    for (int i = 0; i < MAX_IN && k->in[i].n; i++) {
        const float *got = outputs[i]->data;
        for (int e = 0; e < k->in[i].n; e++) {
            float want = k->in[i].gradient[e];
            if (got[e] == want || fabsf(got[e] - want) <= 1e-6f * fabsf(want))
                continue;
            print_error("%s of opset %d: gradient %d of input %d is %g instead of %g\n", k->type,
                        (int)k->opset, e, i, (double)got[e], (double)want);
            good = false;
        }
    }
    return good;
}

static bool holds(const kink *k, bool reference)
{
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    ed_tensor *data[MAX_IN] = { NULL };
    const ed_tensor *outputs[MAX_IN];
    const ed_exec_options options = { .reference = reference };
    ed_shape shapes[MAX_IN];
    for (int i = 0; i < MAX_IN; i++)
        shapes[i] = ED_SHAPE(k->in[i].n);
    bool good = build(&g, k, data) == ED_OK && ed_exec_new(&exec, g, shapes, &options) == ED_OK &&
                ed_exec_run(exec, (const ed_tensor *const *)data, outputs) == ED_OK;
    if (!good)
        print_error("%s: %s\n", k->type, ed_error_last());
    else
        good = agrees(k, outputs);
    ed_exec_free(exec);
    ed_graph_free(g);
    for (int i = 0; i < MAX_IN; i++)
        ed_tensor_free(data[i]);
    return good;
}

static void test_kinks(void **state)
{
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(kinks); i++)
        failed += !holds(&kinks[i], true) || !holds(&kinks[i], false);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinks),
    };
    return cmocka_run_group_tests_name("kinks of gradients", tests, NULL, NULL);
}
