/* The executor's promises: shapes, observers, sharing, memory, outputs, errors. */
#include "exec_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char small[] = "graph t opset 17\n"
                            "input x: f32[N, 3, 8, 8]\n"
                            "const w: f32[20, 3, 3, 3] = random(1)\n"
                            "const b: f32[20] = random(2)\n"
                            "const v: f32[20, 20, 3, 3] = random(3)\n"
                            "c = Conv(x, w, b) {pads=[1, 1, 1, 1]} @g\n"
                            "s = Sigmoid(c) @g\n"
                            "d = Conv(s, v) {pads=[1, 1, 1, 1]}\n"
                            "h = HardSwish(d)\n"
                            "y = GlobalAveragePool(h)\n"
                            "output y\n";

/* ---- observers ---- */
typedef struct seen {
    const char *name;
    int calls;
    int64_t elements;
    double sum, zeros;
} seen;

static int see(void *ctx, const char *value, const float *data, int64_t numel, int64_t padding)
{
    for (seen *s = ctx; s->name; s++) {
        if (strcmp(s->name, value) != 0)
            continue;
        s->calls++;
        s->elements = numel - padding;
        s->sum = s->zeros = 0;
        for (int64_t i = 0; i < numel; i++) {
            s->sum += data[i];
            s->zeros += data[i] == 0.0f;
        }
    }
    return ED_OK;
}

/* Sums with padding equal sums without: the padding is zero, also behind Sigmoid and HardSwish. */
static void observers_see_whole_values_once(void **state)
{
    const char *const names[] = { "x", "s", "d", "y" };
    seen fast_seen[] = {
        { .name = "x" }, { .name = "s" }, { .name = "d" }, { .name = "y" }, { 0 }
    };
    seen slow_seen[] = {
        { .name = "x" }, { .name = "s" }, { .name = "d" }, { .name = "y" }, { 0 }
    };
    ed_exec_options opts = { .observed = names, .observed_count = 4 };
    (void)state;
    compiled fast = compile_text(small, 2, &opts);
    opts.reference = true;
    compiled slow = compile_text(small, 2, &opts);
    ed_exec_set_observer(fast.exec, see, fast_seen);
    ed_exec_set_observer(slow.exec, see, slow_seen);
    run(&fast);
    run(&slow);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fast_seen[i].calls, 1);
        assert_int_equal(fast_seen[i].elements, slow_seen[i].elements);
        assert_true(fabs(fast_seen[i].sum - slow_seen[i].sum) <=
                    1e-4 * fabs(slow_seen[i].sum) + 1e-3);
    }
    /* 20 channels in blocks of 16: 12 zero channels are added to each picture point */
    if (fast.exec->layouts[ed_graph_find_value(fast.graph, "s")] == ED_LAYOUT_BLOCKED16)
        assert_true(fast_seen[1].zeros == 2 * 64 * 12);
    release(&fast);
    release(&slow);
}

/* ---- plain observers: the copies of two executors, compared element by element ---- */
typedef struct plain {
    const char *name;
    float data[2 * 20 * 64];
    int64_t numel;
    int calls;
} plain;

static int copy_plain(void *ctx, const char *value, const float *data, int64_t numel,
                      int64_t padding)
{
    assert_int_equal(padding, 0);
    for (plain *p = ctx; p->name; p++) {
        if (strcmp(p->name, value) != 0)
            continue;
        assert_true((size_t)numel <= ED_LENGTH(p->data));
        memcpy(p->data, data, (size_t)numel * sizeof *data);
        p->numel = numel;
        p->calls++;
    }
    return ED_OK;
}

static void plain_observers_see_row_major_order(void **state)
{
    static plain fast_seen[] = { { .name = "x" }, { .name = "s" }, { .name = "h" }, { 0 } };
    static plain slow_seen[] = { { .name = "x" }, { .name = "s" }, { .name = "h" }, { 0 } };
    const char *const names[] = { "x", "s", "h" };
    ed_exec_options opts = { .observed = names, .observed_count = 3, .observe_plain = true };
    (void)state;
    compiled fast = compile_text(small, 2, &opts);
    opts.reference = true;
    compiled slow = compile_text(small, 2, &opts);
    ed_exec_set_observer(fast.exec, copy_plain, fast_seen);
    ed_exec_set_observer(slow.exec, copy_plain, slow_seen);
    run(&fast);
    run(&fast); /* the copy is made anew in each run */
    run(&slow);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fast_seen[i].calls, 2);
        assert_int_equal(fast_seen[i].numel, i == 0 ? 2 * 3 * 64 : 2 * 20 * 64);
        assert_int_equal(fast_seen[i].numel, slow_seen[i].numel);
        for (int64_t k = 0; k < slow_seen[i].numel; k++)
            assert_true(fabsf(fast_seen[i].data[k] - slow_seen[i].data[k]) <= 1e-4f);
    }
    release(&fast);
    release(&slow);
}

/* Number k of [2, 5, 3] in each layout, laid out by hand from the definition. */
static void layouts_are_unpacked(void **state)
{
    ed_shape shape = ED_SHAPE(2, 5, 3);
    (void)state;
    for (int layout = 0; layout <= ED_LAYOUT_BLOCKED16; layout++) { /* those of float32 */
        float packed[2 * 16 * 3] = { 0 }, unpacked[2 * 5 * 3];
        int64_t block = ed_layout_block((ed_layout)layout), numel;
        for (int64_t k = 0; k < 30; k++) {
            int64_t n = k / 15, c = k / 3 % 5, s = k % 3;
            int64_t at = layout == ED_LAYOUT_PLAIN           ? k
                         : layout == ED_LAYOUT_CHANNELS_LAST ? (n * 3 + s) * 5 + c
                                                             : (n * 3 + s) * block + c;
            packed[at] = (float)(k + 1);
        }
        assert_int_equal(ed_layout_numel(&numel, (ed_layout)layout, &shape), ED_OK);
        assert_true(numel <= (int64_t)ED_LENGTH(packed));
        ed_layout_unpack(unpacked, packed, (ed_layout)layout, &shape);
        for (int k = 0; k < 30; k++)
            assert_true(unpacked[k] == (float)(k + 1));
    }
}

static int stop(void *ctx, const char *value, const float *data, int64_t numel, int64_t padding)
{
    (void)ctx;
    (void)value;
    (void)data;
    (void)numel;
    (void)padding;
    return ED_EINTR;
}

static void an_observer_can_end_the_run(void **state)
{
    const char *const names[] = { "d" };
    ed_exec_options opts = { .observed = names, .observed_count = 1 };
    (void)state;
    compiled c = compile_text(small, 1, &opts);
    ed_exec_set_observer(c.exec, stop, NULL);
    assert_int_equal(ed_exec_run(c.exec, (const ed_tensor *const *)c.inputs, c.outputs), ED_EINTR);
    ed_exec_set_observer(c.exec, NULL, NULL);
    run(&c);
    release(&c);
}

/* ---- batches ---- */
static void a_ragged_batch_shares_weights_and_gives_the_same_numbers(void **state)
{
    (void)state;
    compiled whole = compile_text(small, 5, NULL);
    run(&whole);
    ed_shape shape = ED_SHAPE(2, 3, 8, 8);
    ed_exec_options opts = { .share = whole.exec };
    ed_exec *rest = NULL;
    assert_int_equal(ed_exec_new(&rest, whole.graph, &shape, &opts), ED_OK);
    assert_true(ed_exec_get_stats(whole.exec).weight_bytes > 0);
    assert_int_equal(ed_exec_get_stats(rest).weight_bytes, 0);
    ed_tensor part;
    assert_int_equal(
        ed_tensor_view(&part, ED_F32, &shape, (float *)whole.inputs[0]->data + 3 * 3 * 64), ED_OK);
    const ed_tensor *in[1] = { &part }, *out[1];
    assert_int_equal(ed_exec_run(rest, in, out), ED_OK);
    for (int i = 0; i < 2 * 20; i++)
        assert_true(fabsf(((float *)out[0]->data)[i] -
                          ((float *)whole.outputs[0]->data)[3 * 20 + i]) < 1e-4f);
    ed_exec_free(rest);
    release(&whole);
}

static void an_empty_batch_runs(void **state)
{
    (void)state;
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    ed_tensor *x = NULL;
    const ed_tensor *out[1];
    ed_shape shape = ED_SHAPE(0, 3, 8, 8);
    assert_int_equal(ed_graph_parse(&g, small), ED_OK);
    assert_int_equal(ed_exec_new(&exec, g, &shape, NULL), ED_OK);
    assert_int_equal(ed_tensor_new(&x, ED_F32, &shape), ED_OK);
    const ed_tensor *in[1] = { x };
    assert_int_equal(ed_exec_run(exec, in, out), ED_OK);
    assert_int_equal(out[0]->numel, 0);
    assert_int_equal(out[0]->shape.dim[1], 20);
    ed_tensor_free(x);
    ed_exec_free(exec);
    ed_graph_free(g);
}

static void batch_shapes_name_what_is_wrong(void **state)
{
    ed_graph *g = NULL;
    ed_shape shapes[1];
    (void)state;
    assert_int_equal(ed_graph_parse(&g, "graph t opset 17\ninput x: f32[4, 3]\ny = Relu(x)\n"
                                        "output y\n"),
                     ED_OK);
    assert_int_equal(ed_exec_batch_shapes(shapes, g, 4), ED_OK);
    assert_int_equal(shapes[0].dim[0], 4);
    assert_int_equal(ed_exec_batch_shapes(shapes, g, 8), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "'x'"));
    assert_int_equal(ed_exec_batch_shapes(shapes, g, 0), ED_EINVAL);
    ed_graph_free(g);
    assert_int_equal(ed_graph_parse(&g, "graph t opset 17\ninput x: f32[N, 3, H]\ny = Relu(x)\n"
                                        "output y\n"),
                     ED_OK);
    assert_int_equal(ed_exec_batch_shapes(shapes, g, 8), ED_ESHAPE);
    ed_graph_free(g);
}

/* ---- outputs and memory ---- */
static void outputs_may_be_inputs_constants_and_repeated(void **state)
{
    (void)state;
    compiled c = compile_text("graph t opset 17\ninput x: f32[N, 4]\nconst k: f32[2] = {3.0, 4.0}\n"
                              "y = Relu(x)\noutput x\noutput k\noutput y\n",
                              2, NULL);
    run(&c);
    assert_ptr_not_equal(c.outputs[0]->data, c.inputs[0]->data);
    assert_memory_equal(c.outputs[0]->data, c.inputs[0]->data, 8 * sizeof(float));
    assert_true(((float *)c.outputs[1]->data)[1] == 4.0f);
    for (int i = 0; i < 8; i++)
        assert_true(((float *)c.outputs[2]->data)[i] == fmaxf(((float *)c.inputs[0]->data)[i], 0));
    release(&c);
}

/* Ten layers need the room of two or three, and never overwrite what is still read. */
static void memory_is_reused(void **state)
{
    char text[4096];
    size_t at = 0;
    (void)state;
    at += (size_t)snprintf(text, sizeof text,
                           "graph t opset 17\ninput x: f32[N, 16, 16, 16]\n"
                           "const w: f32[16, 16, 3, 3] = fill(0.01)\n"
                           "c0 = Conv(x, w) {pads=[1, 1, 1, 1]}\nr0 = Tanh(c0)\n");
    for (int i = 1; i < 10; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "c%d = Conv(r%d, w) {pads=[1, 1, 1, 1]}\na%d = Add(c%d, r%d)\n"
                               "r%d = Tanh(a%d)\n",
                               i, i - 1, i, i, i / 2, i, i);
    snprintf(text + at, sizeof text - at, "output r9\n");
    compiled c = check_against_reference(text, 2, 1e-5);
    size_t one = 2 * 16 * 16 * 16 * sizeof(float), all = 0;
    for (size_t i = 0; i < c.exec->n_buffers; i++)
        all += c.exec->buffers[i].nbytes;
    assert_true(c.exec->memory_bytes < all / 2);
    assert_true(c.exec->memory_bytes >= 2 * one);
    for (size_t i = 0; i < c.exec->n_buffers; i++)
        for (size_t k = 0; k < i; k++) {
            const ed_buffer *a = &c.exec->buffers[i], *b = &c.exec->buffers[k];
            if (a->home != ED_HOME_ARENA || b->home != ED_HOME_ARENA || a->root != i ||
                b->root != k)
                continue;
            bool together = a->first <= b->last && b->first <= a->last;
            bool overlap = a->offset < b->offset + b->nbytes && b->offset < a->offset + a->nbytes;
            assert_false(together && overlap);
        }
    release(&c);
}

static void a_failing_allocation_is_reported_and_releases_everything(void **state)
{
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    ed_shape shape = ED_SHAPE(2, 3, 8, 8);
    (void)state;
    assert_int_equal(ed_graph_parse(&g, small), ED_OK);
    int rc = ED_ENOMEM;
    long n = 0;
    while (rc != ED_OK && n < 2000) {
        ed_alloc_fail_at(++n);
        rc = ed_exec_new(&exec, g, &shape, NULL);
        ed_alloc_fail_at(0);
        if (rc != ED_OK) {
            assert_int_equal(rc, ED_ENOMEM);
            assert_null(exec);
        }
    }
    assert_int_equal(rc, ED_OK);
    assert_true(n > 40);
    ed_exec_free(exec);
    ed_graph_free(g);
}

/* ---- errors ---- */
static void expect_refusal(const char *text, const ed_exec_options *opts, int code,
                           const char *part)
{
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    ed_shape shape = ED_SHAPE(2, 4);
    assert_int_equal(ed_graph_parse(&g, text), ED_OK);
    assert_int_equal(ed_exec_new(&exec, g, &shape, opts), code);
    assert_null(exec);
    if (!strstr(ed_error_last(), part))
        fail_msg("'%s' is not in: %s", part, ed_error_last());
    ed_graph_free(g);
}

static void compiling_refuses_with_names(void **state)
{
    const char *const names[] = { "nobody" };
    ed_exec_options observed = { .observed = names, .observed_count = 1 };
    ed_exec_options device = { .device = "tpu" };
    (void)state;
    expect_refusal("graph t opset 17\ninput x: f32[N, 4]\ny = n1: Blubb(x)\noutput y\n", NULL,
                   ED_EUNSUPPORTED, "Blubb");
    expect_refusal("graph t opset 17\ninput x: f32[N, 5]\ny = Relu(x)\noutput y\n", NULL, ED_ESHAPE,
                   "'x'");
    expect_refusal("graph t opset 17\ninput x: f32[N, 4]\ny = Relu(x)\noutput y\n", &observed,
                   ED_ENOTFOUND, "'nobody'");
    expect_refusal("graph t opset 17\ninput x: f32[N, 4]\ny = Relu(x)\noutput y\n", &device,
                   ED_ENOTFOUND, "'tpu'");
}

static void a_cycle_is_refused(void **state)
{
    ed_graph *g = NULL;
    ed_exec *exec = NULL;
    ed_shape shape = ED_SHAPE(2, 4);
    (void)state;
    assert_int_equal(ed_graph_parse(&g, "graph t opset 17\ninput x: f32[N, 4]\na = Add(x, x)\n"
                                        "b = Relu(a)\noutput b\n"),
                     ED_OK);
    ed_id add = g->values[ed_graph_find_value(g, "a")].producer;
    assert_int_equal(ed_node_set_input(g, add, 1, ed_graph_find_value(g, "b")), ED_OK);
    assert_int_equal(ed_exec_new(&exec, g, &shape, NULL), ED_EFORMAT);
    assert_non_null(strstr(ed_error_last(), "cycle"));
    ed_graph_free(g);
}

static void running_checks_its_inputs(void **state)
{
    ed_tensor *wrong = NULL;
    ed_shape shape = ED_SHAPE(2, 3, 8, 9);
    (void)state;
    compiled c = compile_text(small, 2, NULL);
    assert_int_equal(ed_tensor_new(&wrong, ED_F32, &shape), ED_OK);
    const ed_tensor *in[1] = { wrong };
    assert_int_equal(ed_exec_run(c.exec, in, c.outputs), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "[2, 3, 8, 9]"));
    ed_tensor_free(wrong);
    assert_int_equal(ed_tensor_new(&wrong, ED_I64, &c.inputs[0]->shape), ED_OK);
    in[0] = wrong;
    assert_int_equal(ed_exec_run(c.exec, in, c.outputs), ED_ESHAPE);
    assert_non_null(strstr(ed_error_last(), "int64"));
    ed_tensor_free(wrong);
    release(&c);
}

/* Kernels are made for a number of threads; a run keeps to it, and leaves the caller's as it was.
 */
static void the_number_of_threads_may_change_between_runs(void **state)
{
    int before = ed_threads_get();
    (void)state;
    assert_int_equal(ed_threads_set(1), ED_OK);
    compiled c = compile_text(small, 4, NULL);
    run(&c);
    ed_tensor *first = NULL;
    assert_int_equal(ed_tensor_clone(&first, c.outputs[0]), ED_OK);
    assert_int_equal(ed_threads_set(3), ED_OK);
    run(&c);
    assert_int_equal(ed_threads_get(), 3);
    assert_memory_equal(first->data, c.outputs[0]->data, first->nbytes);
    assert_int_equal(ed_threads_set(before), ED_OK);
    ed_tensor_free(first);
    release(&c);
}

static void the_profile_lists_every_step(void **state)
{
    char *printed = NULL;
    size_t size = 0;
    (void)state;
    compiled c = compile_text(small, 2, NULL);
    run(&c);
    FILE *file = open_memstream(&printed, &size);
    assert_int_equal(ed_exec_print_profile(c.exec, file), ED_OK);
    fclose(file);
    size_t lines = 0;
    for (const char *at = printed; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 1 + ed_exec_get_stats(c.exec).steps);
    assert_non_null(strstr(printed, "GlobalAveragePool"));
    assert_non_null(strstr(printed, "in 1 runs"));
    free(printed);
    release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(observers_see_whole_values_once),
        cmocka_unit_test(plain_observers_see_row_major_order),
        cmocka_unit_test(layouts_are_unpacked),
        cmocka_unit_test(an_observer_can_end_the_run),
        cmocka_unit_test(a_ragged_batch_shares_weights_and_gives_the_same_numbers),
        cmocka_unit_test(an_empty_batch_runs),
        cmocka_unit_test(batch_shapes_name_what_is_wrong),
        cmocka_unit_test(outputs_may_be_inputs_constants_and_repeated),
        cmocka_unit_test(memory_is_reused),
        cmocka_unit_test(a_failing_allocation_is_reported_and_releases_everything),
        cmocka_unit_test(compiling_refuses_with_names),
        cmocka_unit_test(a_cycle_is_refused),
        cmocka_unit_test(running_checks_its_inputs),
        cmocka_unit_test(the_number_of_threads_may_change_between_runs),
        cmocka_unit_test(the_profile_lists_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
