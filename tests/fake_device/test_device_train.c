/* Training on a device: parameters go there and gradients come back at each step; the weights of
 * the CPU, but for the order of sums. */
#include "../qat/toy.h"

#include <math.h>
#include <unistd.h>

static const char path[] = "test_device_train.h5";

enum { SAMPLES = 32, BATCH = 8 };

static ed_graph *train(const char *device, const char *scales)
{
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f), *teacher = graph_from(toy_mlp, true);
    ed_dataset *data = toy_open(path, graph, BATCH), *val = toy_open(path, graph, 5);
    ed_qat_result result;
    ed_qat_options opts = {
        .epochs = 2, .loss = "both", .scales = scales, .learning_rate = 0.02, .device = device
    };
    if (ed_qat_train(&result, graph, teacher, data, val, &opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_true(result.val_accuracy > 0);
    ed_dataset_close(data);
    ed_dataset_close(val);
    ed_graph_free(teacher);
    return graph;
}

static void test_train(void **unused)
{
    (void)unused;
    static const char *const scales[] = { "frozen", "ema", "lsq" };
    static const char *const names[] = { "w1", "b1", "w2", "b2" };
    for (int i = 0; i < 3; i++) {
        ed_graph *here = train("cpu", scales[i]), *there = train("cuda", scales[i]);
        for (int k = 0; k < 4; k++) {
            const ed_tensor *a = ed_graph_constant(here, names[k]);
            const ed_tensor *b = ed_graph_constant(there, names[k]);
            for (int64_t j = 0; j < a->numel; j++)
                assert_true(fabsf(((const float *)a->data)[j] - ((const float *)b->data)[j]) <
                            2e-3f);
        }
        ed_graph_free(here);
        ed_graph_free(there);
    }
}

static int write_data(void **unused)
{
    (void)unused;
    toy_write(path, SAMPLES, 5);
    return 0;
}

static int remove_data(void **unused)
{
    (void)unused;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_train) };
    return cmocka_run_group_tests(tests, write_data, remove_data);
}
