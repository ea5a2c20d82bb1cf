/*
 * From an ONNX file in memory to the quantized file with an allocator that fails at the n-th call,
 * for every n: ED_ENOMEM and a sentence, no crash, no leak (the sanitizers' part), and no file.
 */
#include "calib/samples.h"

#include "base/file.h"
#include "base/mem.h"
#include "ed/onnx.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ALL_BELOW = 2000, STRIDE = 97, MOST = 100000 };

static const char data_path[] = "memory_data.h5", in_path[] = "memory_float.onnx",
                  out_path[] = "memory_out.onnx";

/* What every stage has something to do with: a BatchNormalization to fold, a Dropout to remove, an
 * old Clip to raise, a constant to compute, groups of four kinds. */
static const char model[] = "graph net opset 9\n"
                            "input x: f32[N, 3, 8, 8]\n"
                            "const w1: f32[8, 3, 3, 3] = random(1)\n"
                            "const g: f32[8] = fill(1.5)\n"
                            "const h: f32[8] = random(2)\n"
                            "const m: f32[8] = random(3)\n"
                            "const v: f32[8] = fill(2)\n"
                            "const w2: f32[8, 8, 3, 3] = random(4)\n"
                            "const b2: f32[8] = random(5)\n"
                            "const wf: f32[10, 8] = random(6)\n"
                            "const k: f32[10] = random(7)\n"
                            "c1 = Conv(x, w1) {pads=[1, 1, 1, 1]}\n"
                            "n1 = BatchNormalization(c1, g, h, m, v)\n"
                            "r1 = Clip(n1) {min=0.0, max=6.0}\n"
                            "c2 = Conv(r1, w2, b2) {pads=[1, 1, 1, 1]}\n"
                            "a2 = Add(c2, r1)\n"
                            "r2 = Relu(a2)\n"
                            "p = GlobalAveragePool(r2)\n"
                            "f = Flatten(p)\n"
                            "d = Dropout(f)\n"
                            "kk = Add(k, k)\n"
                            "y = Gemm(d, wf, kk) {transB=1}\n"
                            "output y\n";

static int calibrate_and_write(ed_graph *graph, ed_plan *plan, const char *path)
{
    ed_dataset *data = NULL;
    ed_ranges *ranges = NULL;
    int rc;
    ED_GOTO(ed_dataset_open(&data, data_path, graph, &(ed_dataset_options){ .batch = 2 }));
    ED_GOTO(ed_calibrate(&ranges, graph, plan, data, NULL));
    ED_GOTO(ed_calibrate_apply(plan, graph, ranges, NULL));
    ED_GOTO(ed_plan_apply(plan, graph));
    ED_GOTO(ed_target_check(graph, NULL));
    ED_GOTO(ed_onnx_write(graph, path, NULL));
done:
    ed_ranges_free(ranges);
    ed_dataset_close(data);
    return rc;
}

static int pipeline(const void *bytes, size_t size, const char *path)
{
    ed_graph *graph = NULL;
    ed_plan *plan = NULL;
    int rc;
    ED_GOTO(ed_onnx_read_memory(&graph, bytes, size, in_path));
    ED_GOTO(ed_transform(graph, NULL));
    ED_GOTO(ed_plan_build(&plan, graph, ED_PHASE_QUANTIZE, NULL));
    ED_GOTO(calibrate_and_write(graph, plan, path));
done:
    ed_plan_free(plan);
    ed_graph_free(graph);
    return rc;
}

/* Files here whose name begins with the output's: itself, temporaries, external data. */
static int count_outputs(void)
{
    int n = 0;
    DIR *dir = opendir(".");
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strncmp(e->d_name, out_path, strlen(out_path)) == 0;
    closedir(dir);
    return n;
}

static void write_inputs(void **bytes, size_t *size)
{
    static float x[5 * 3 * 64];
    ed_graph *graph = graph_from(model, false);
    assert_int_equal(ed_onnx_write(graph, in_path, NULL), ED_OK);
    ed_graph_free(graph);
    fill_numbers(x, 5 * 3 * 64, 11);
    write_samples(data_path, x, 4, (int64_t[]){ 5, 3, 8, 8 }, NULL);
    assert_int_equal(ed_file_read(bytes, size, in_path), ED_OK);
    unlink(out_path);
}

static void every_failing_allocation_ends_cleanly(void **state)
{
    void *bytes = NULL;
    size_t size = 0;
    int rc = ED_ENOMEM;
    long n = 1;
    (void)state;
    write_inputs(&bytes, &size);
    for (; n < MOST; n += n < ALL_BELOW ? 1 : STRIDE) {
        ed_alloc_fail_at(n);
        rc = pipeline(bytes, size, out_path);
        ed_alloc_fail_at(0);
        if (rc == ED_OK)
            break;
        if (rc != ED_ENOMEM)
            fail_msg("allocation %ld: %s: %s", n, ed_error_name(rc), ed_error_last());
        assert_true(ed_error_last()[0]);
        if (count_outputs())
            fail_msg("allocation %ld left a file", n);
    }
    assert_int_equal(rc, ED_OK);
    assert_true(n > 500);
    assert_int_equal(count_outputs(), 1);
    ed_free(bytes);
}

/* The output file is the same as `want`; removes it. */
static void assert_same_output(const void *want, size_t want_size)
{
    void *got = NULL;
    size_t size = 0;
    assert_int_equal(ed_file_read(&got, &size, out_path), ED_OK);
    assert_int_equal(size, want_size);
    assert_memory_equal(got, want, size);
    ed_free(got);
    unlink(out_path);
}

/* As above with a single failure: nobody goes on with half of a result. (A batch that the prefetch
 * thread read ahead and nobody wants may fail: then the result is what it always is.) */
static void no_failing_allocation_changes_the_result(void **state)
{
    void *bytes = NULL, *want = NULL;
    size_t size = 0, want_size = 0;
    long refused = 0;
    (void)state;
    write_inputs(&bytes, &size);
    ed_alloc_fail_at(0);
    assert_int_equal(pipeline(bytes, size, out_path), ED_OK);
    long all = ed_alloc_count();
    assert_int_equal(ed_file_read(&want, &want_size, out_path), ED_OK);
    unlink(out_path);
    for (long n = 1; n <= all; n += n < ALL_BELOW ? 1 : STRIDE) {
        ed_alloc_fail_once(n);
        int rc = pipeline(bytes, size, out_path);
        ed_alloc_fail_at(0);
        refused += rc == ED_ENOMEM;
        if (rc == ED_OK)
            assert_same_output(want, want_size);
        else if (rc != ED_ENOMEM || count_outputs())
            fail_msg("allocation %ld: %s: %s; %d files", n, ed_error_name(rc), ed_error_last(),
                     count_outputs());
    }
    assert_true(refused > all - 50);
    ed_free(want);
    ed_free(bytes);
}

/* The file of the first run stays as it is when a later run fails. */
static void an_older_file_survives(void **state)
{
    void *bytes = NULL, *before = NULL, *after = NULL;
    size_t size = 0, before_size = 0, after_size = 0;
    (void)state;
    write_inputs(&bytes, &size);
    ed_alloc_fail_at(0);
    assert_int_equal(pipeline(bytes, size, out_path), ED_OK);
    long all = ed_alloc_count();
    assert_int_equal(ed_file_read(&before, &before_size, out_path), ED_OK);
    for (long n = all; n > all - 50; n--) { /* while writing */
        ed_alloc_fail_at(n);
        (void)pipeline(bytes, size, out_path); /* the prefetch thread may save an allocation */
        ed_alloc_fail_at(0);
        assert_int_equal(count_outputs(), 1);
        assert_int_equal(ed_file_read(&after, &after_size, out_path), ED_OK);
        assert_int_equal(after_size, before_size);
        assert_memory_equal(after, before, before_size);
        ed_free(after);
    }
    ed_free(before);
    ed_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_ends_cleanly),
        cmocka_unit_test(no_failing_allocation_changes_the_result),
        cmocka_unit_test(an_older_file_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
