/* An executor on a device: outputs, host steps, recorded runs, observers, sharing, memory. */
#include "exec_check.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

static const char mixed[] = "graph t opset 17\n"
                            "input x: f32[N, 3, 8, 8]\n"
                            "const w: f32[4, 3, 3, 3] = random(1)\n"
                            "const s: i64[2] = {0, -1}\n"
                            "r = Relu(x)\n"
                            "c = Conv(r, w)\n"
                            "d = Relu(c)\n"
                            "f = Reshape(d, s)\n"
                            "y = Relu(f)\n"
                            "output y\n"
                            "output d\n";
/* The device runs all of it. */
static const char whole[] = "graph t opset 17\n"
                            "input x: f32[N, 6]\n"
                            "const s: i64[3] = {0, 2, 3}\n"
                            "r = Relu(x)\n"
                            "f = Reshape(r, s)\n"
                            "y = Relu(f)\n"
                            "output y\n"
                            "output x\n";

/* A tree that a device with kernels of chains would run as one. */
static const char tree[] = "graph t opset 17\n"
                           "input x: f32[N, 6]\n"
                           "n = Neg(x)\n"
                           "r = Relu(n)\n"
                           "p = Relu(x)\n"
                           "y = Sub(r, p)\n"
                           "output y\n";

static ed_exec_options on_device(void)
{
    return (ed_exec_options){ .device = "cuda" };
}

static void assert_same(const char *text, int64_t batch, size_t outputs)
{
    ed_exec_options device = on_device(), reference = { .reference = true };
    compiled a = compile_text(text, batch, &device), b = compile_text(text, batch, &reference);
    run(&b);
    for (int i = 0; i < 4; i++) { /* at once, recorded, replayed */
        for (size_t k = 0; i == 3 && k < (size_t)a.inputs[0]->numel; k++) {
            ((float *)a.inputs[0]->data)[k] *= -1.0f;
            ((float *)b.inputs[0]->data)[k] *= -1.0f;
        }
        if (i == 3)
            run(&b);
        run(&a);
        for (size_t k = 0; k < outputs; k++)
            assert_true(difference(a.outputs[k], b.outputs[k]) == 0.0);
    }
    release(&a);
    release(&b);
}

static void outputs_are_those_of_the_reference(void **state)
{
    (void)state;
    assert_same(mixed, 1, 2);
    assert_same(mixed, 3, 2);
    assert_same(whole, 2, 2);
}

/* The device refuses all but Relu: node by node, as if there was no tree. */
static void a_tree_runs_node_by_node_where_there_is_no_chain(void **state)
{
    ed_exec_options device = on_device();
    (void)state;
    assert_same(tree, 1, 1);
    assert_same(tree, 5, 1);
    compiled c = compile_text(tree, 2, &device);
    assert_int_equal(ed_exec_get_stats(c.exec).steps, 4);
    assert_int_equal(ed_exec_get_stats(c.exec).host_steps, 2);
    release(&c);
}

static void the_plan_tells_what_ran_where(void **state)
{
    ed_exec_options device = on_device();
    (void)state;
    compiled c = compile_text(mixed, 2, &device);
    assert_int_equal(ed_exec_get_stats(c.exec).host_steps, 1);
    assert_true(plan_says(c.exec, "Conv"));
    assert_true(plan_says(c.exec, "[host]"));
    assert_true(plan_says(c.exec, "[fake]"));
    assert_true(plan_says(c.exec, "[alias]"));
    run(&c);
    run(&c);
    assert_null(c.exec->recorded);
    release(&c);
    c = compile_text(whole, 2, &device);
    assert_int_equal(ed_exec_get_stats(c.exec).host_steps, 0);
    run(&c);
    assert_null(c.exec->recorded);
    run(&c);
    assert_non_null(c.exec->recorded);
    release(&c);
}

static void steps_are_measured(void **state)
{
    ed_exec_options device = on_device();
    double seconds = 0;
    (void)state;
    device.profile = true;
    compiled c = compile_text(whole, 2, &device);
    assert_int_equal(ed_exec_time(&seconds, c.exec, 3), ED_EINVAL);
    run(&c);
    assert_true(c.exec->steps[0].seconds == 0.5); /* the fake clock's */
    assert_int_equal(ed_exec_time(&seconds, c.exec, 0), ED_EINVAL);
    assert_int_equal(ed_exec_time(&seconds, c.exec, 3), ED_OK);
    assert_true(seconds == 0.5);
    release(&c);
}

typedef struct sums {
    int calls;
    double d, x;
} sums;

static int see(void *ctx, const char *value, const float *data, int64_t numel, int64_t padding)
{
    sums *s = ctx;
    s->calls++;
    assert_int_equal(padding, 0);
    for (int64_t i = 0; i < numel; i++)
        *(strcmp(value, "d") == 0 ? &s->d : &s->x) += data[i];
    return ED_OK;
}

static void observed_values_come_back(void **state)
{
    const char *const names[] = { "x", "d" };
    ed_exec_options device = on_device(), reference = { .reference = true };
    sums there = { 0 }, here = { 0 };
    (void)state;
    device.observed = reference.observed = names;
    device.observed_count = reference.observed_count = 2;
    compiled a = compile_text(mixed, 2, &device), b = compile_text(mixed, 2, &reference);
    ed_exec_set_observer(a.exec, see, &there);
    ed_exec_set_observer(b.exec, see, &here);
    for (int i = 0; i < 3; i++) {
        run(&a);
        run(&b);
    }
    assert_int_equal(there.calls, 6);
    assert_true(there.d == here.d && there.x == here.x);
    release(&a);
    release(&b);
}

/* A recording does what was to be done when it was made. */
static void observers_may_come_late(void **state)
{
    const char *const names[] = { "r" };
    ed_exec_options device = on_device();
    sums seen = { 0 };
    (void)state;
    device.observed = names;
    device.observed_count = 1;
    compiled c = compile_text(whole, 2, &device);
    run(&c);
    run(&c);
    assert_non_null(c.exec->recorded);
    ed_exec_set_observer(c.exec, see, &seen);
    run(&c);
    run(&c);
    assert_int_equal(seen.calls, 2);
    ed_exec_set_observer(c.exec, NULL, NULL);
    run(&c);
    run(&c);
    assert_int_equal(seen.calls, 2);
    release(&c);
}

static void weights_are_shared_on_one_device_only(void **state)
{
    ed_exec_options device = on_device();
    ed_shape shape = ED_SHAPE(1, 6);
    ed_exec *other = NULL;
    (void)state;
    compiled c = compile_text(whole, 2, &device);
    device.share = c.exec;
    assert_int_equal(ed_exec_new(&other, c.graph, &shape, &device), ED_OK);
    ed_exec_free(other);
    device.device = "cuda:1";
    assert_int_equal(ed_exec_new(&other, c.graph, &shape, &device), ED_EINVAL);
    assert_null(other);
    release(&c);
}

/* Devices stay open, so the limit is that of one nobody used so far. */
static void memory_that_runs_out_is_told(void **state)
{
    ed_exec_options device = on_device();
    ed_shape shape = ED_SHAPE(2000, 6);
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    (void)state;
    setenv("FAKE_BYTES", "100000", 1);
    device.precision = "bf16";
    assert_int_equal(ed_graph_parse(&g, whole), ED_OK);
    assert_int_equal(ed_exec_new(&exec, g, &shape, &device), ED_ENOMEM);
    assert_non_null(strstr(ed_error_last(), "the fake device's memory ran out"));
    shape.dim[0] = 20; /* nothing of the first attempt holds memory */
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ed_exec_new(&exec, g, &shape, &device), ED_OK);
        ed_exec_free(exec);
    }
    ed_graph_free(g);
    unsetenv("FAKE_BYTES");
}

static void any_allocation_may_fail(void **state)
{
    ed_exec_options device = on_device();
    ed_shape shape = ED_SHAPE(2, 3, 8, 8);
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    int rc = ED_ENOMEM;
    (void)state;
    assert_int_equal(ed_graph_parse(&g, mixed), ED_OK);
    for (long n = 1; rc == ED_ENOMEM && n < 1000; n++) {
        ed_alloc_fail_at(n);
        rc = ed_exec_new(&exec, g, &shape, &device);
        ed_alloc_fail_at(0);
        if (rc != ED_OK)
            assert_null(exec);
    }
    assert_int_equal(rc, ED_OK);
    ed_exec_free(exec);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_those_of_the_reference),
        cmocka_unit_test(a_tree_runs_node_by_node_where_there_is_no_chain),
        cmocka_unit_test(the_plan_tells_what_ran_where),
        cmocka_unit_test(steps_are_measured),
        cmocka_unit_test(observed_values_come_back),
        cmocka_unit_test(observers_may_come_late),
        cmocka_unit_test(weights_are_shared_on_one_device_only),
        cmocka_unit_test(memory_that_runs_out_is_told),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
