/* See exec_check.h. */
#include "exec_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Floats in [-2, 2), integers from 0 to 7. */
static void fill(ed_tensor *t, uint32_t seed)
{
    for (int64_t i = 0; i < t->numel; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (t->dtype == ED_F32)
            ((float *)t->data)[i] = (float)(int32_t)(seed >> 8) / (float)(1 << 22) - 2.0f;
        else if (t->dtype == ED_I64)
            ((int64_t *)t->data)[i] = seed >> 29;
        else if (t->dtype == ED_I32)
            ((int32_t *)t->data)[i] = (int32_t)(seed >> 29);
    }
}

compiled compile_text(const char *text, int64_t batch, const ed_exec_options *opts)
{
    compiled c = { 0 };
    ed_shape shapes[4];
    if (ed_graph_parse(&c.graph, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    c.n_inputs = ed_graph_input_count(c.graph);
    if (ed_exec_batch_shapes(shapes, c.graph, batch) != ED_OK ||
        ed_exec_new(&c.exec, c.graph, shapes, opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    for (size_t i = 0; i < c.n_inputs; i++) {
        ed_dtype dtype = ed_graph_input(c.graph, i).dtype;
        assert_int_equal(ed_tensor_new(&c.inputs[i], dtype, &shapes[i]), ED_OK);
        fill(c.inputs[i], (uint32_t)i + 1);
    }
    return c;
}

void run(compiled *c)
{
    if (ed_exec_run(c->exec, (const ed_tensor *const *)c->inputs, c->outputs) != ED_OK)
        fail_msg("%s", ed_error_last());
}

void release(compiled *c)
{
    ed_exec_free(c->exec);
    ed_graph_free(c->graph);
    for (size_t i = 0; i < c->n_inputs; i++)
        ed_tensor_free(c->inputs[i]);
}

double difference(const ed_tensor *a, const ed_tensor *b)
{
    double worst = 0, scale = 0;
    assert_true(ed_shape_equal(&a->shape, &b->shape));
    for (int64_t i = 0; i < b->numel; i++) {
        double x = ((const float *)a->data)[i], y = ((const float *)b->data)[i];
        if (isnan(x) != isnan(y))
            return INFINITY;
        worst = fmax(worst, fabs(x - y));
        scale = fmax(scale, fabs(y));
    }
    return scale > 0 ? worst / scale : worst;
}

compiled check_against_reference(const char *text, int64_t batch, double tolerance)
{
    return check_with_options(text, batch, tolerance, NULL);
}

compiled check_with_options(const char *text, int64_t batch, double tolerance,
                            const ed_exec_options *opts)
{
    ed_exec_options reference = { .reference = true };
    compiled slow = compile_text(text, batch, &reference);
    compiled fast = compile_text(text, batch, opts);
    run(&slow);
    run(&fast);
    run(&fast); /* buffers hold the first run's values now */
    for (size_t i = 0; i < ed_graph_output_count(fast.graph); i++) {
        double d = difference(fast.outputs[i], slow.outputs[i]);
        if (!(d <= tolerance))
            fail_msg("output %zu differs by %g in:\n%s", i, d, text);
    }
    release(&slow);
    return fast;
}

bool plan_says(const ed_exec *exec, const char *text)
{
    char *printed = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&printed, &size);
    assert_non_null(file);
    assert_int_equal(ed_exec_print(exec, file), ED_OK);
    fclose(file);
    bool found = strstr(printed, text) != NULL;
    free(printed);
    return found;
}
