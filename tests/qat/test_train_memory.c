/* ed_qat_train() when memory runs out, at each of its allocations: a code, a sentence, no leak. */
#include "toy.h"

#include "base/mem.h"

#include <unistd.h>

static const char path[] = "test_train_memory.h5", check[] = "test_train_memory_check.h5";

enum { SAMPLES = 10, BATCH = 5 };

static long allocations; /* of the last run */

/* One epoch with everything that allocates; the n-th allocation (and all later ones, or it alone)
 * fails. */
static int train(long n, bool once)
{
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f), *teacher = graph_from(toy_mlp, true);
    ed_dataset *data = toy_open(path, graph, BATCH), *val = toy_open(path, graph, 4);
    ed_qat_result result;
    ed_qat_options opts = { .epochs = 1,
                            .loss = "both",
                            .scales = "ema",
                            .weight_scales = "lsq",
                            .accumulate = 2,
                            .checkpoint = check };
    if (once)
        ed_alloc_fail_once(n);
    else
        ed_alloc_fail_at(n);
    int rc = ed_qat_train(&result, graph, teacher, data, val, &opts);
    long count = ed_alloc_count();
    ed_alloc_fail_at(0);
    allocations = count;
    ed_dataset_close(data);
    ed_dataset_close(val);
    ed_graph_free(graph);
    ed_graph_free(teacher);
    return rc;
}

static void test_memory(void **unused)
{
    (void)unused;
    assert_int_equal(train(1L << 40, true), ED_OK);
    const long all = allocations;
    for (int once = 0; once < 2; once++) {
        long failed = 0;
        for (long n = 1; n <= all; n += 1 + n / 50) {
            int rc = train(n, once);
            failed += rc == ED_ENOMEM;
            if (rc != ED_OK && rc != ED_ENOMEM)
                fail_msg("allocation %ld: code %d: %s", n, rc, ed_error_last());
        }
        assert_true(failed > 100);
    }
    unlink(check);
    unlink("test_train_memory_check.h5.previous");
}

static int write_data(void **unused)
{
    (void)unused;
    toy_write(path, SAMPLES, 1);
    return 0;
}

static int remove_data(void **unused)
{
    (void)unused;
    unlink(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_memory) };
    return cmocka_run_group_tests(tests, write_data, remove_data);
}
