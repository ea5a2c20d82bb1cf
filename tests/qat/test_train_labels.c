/* Labels in training: samples that have none (-100), data without any, labels that are no class. */
#include "toy.h"

#include "base/mem.h"

#include <string.h>
#include <unistd.h>

static const char train_path[] = "test_train_labels.h5", val_path[] = "test_train_labels_val.h5";

enum { SAMPLES = 12, BATCH = 5 };

/* Samples whose labels are `label`, but for every `each`-th one, which keeps its class. */
static void write_labels(const char *path, int64_t label, int64_t each)
{
    float x[SAMPLES][TOY_FEATURES];
    int64_t labels[SAMPLES];
    fill_numbers(x[0], SAMPLES * TOY_FEATURES, 5);
    for (int64_t i = 0; i < SAMPLES; i++)
        labels[i] = each && i % each == 0 ? i % TOY_CLASSES : label;
    write_samples(path, x[0], 2, (int64_t[]){ SAMPLES, TOY_FEATURES }, labels);
}

/* Train with the loss; what it comes to. */
static int train(ed_qat_result *result, const char *loss, bool validate)
{
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f), *teacher = graph_from(toy_mlp, true);
    ed_dataset *data = toy_open(train_path, graph, BATCH), *val = NULL;
    const ed_qat_options opts = { .epochs = 2, .loss = loss };
    if (validate)
        val = toy_open(val_path, graph, BATCH);
    int rc = ed_qat_train(result, graph, teacher, data, val, &opts);
    ed_dataset_close(data);
    ed_dataset_close(val);
    ed_graph_free(graph);
    ed_graph_free(teacher);
    return rc;
}

static void some_samples_without_a_label(void **state)
{
    static const char *const losses[] = { "labels", "distill", "both" };
    ed_qat_result r;
    (void)state;
    write_labels(train_path, -100, 4);
    write_labels(val_path, -100, 4);
    for (size_t i = 0; i < ED_LENGTH(losses); i++) {
        if (train(&r, losses[i], true) != ED_OK)
            fail_msg("%s", ed_error_last());
        double third = r.val_accuracy * 3 / 100; /* of three samples */
        assert_true(third == 0 || third == 1 || third == 2 || third == 3);
    }
}

static void no_sample_with_a_label(void **state)
{
    ed_qat_result r;
    (void)state;
    write_labels(train_path, -100, 0);
    assert_int_equal(train(&r, "labels", false), ED_ENOTFOUND);
    assert_non_null(strstr(ed_error_last(), "none of its samples has a label"));
    assert_int_equal(train(&r, "distill", false), ED_OK);
    write_labels(val_path, -100, 0);
    assert_int_equal(train(&r, "distill", true), ED_ENOTFOUND);
    assert_non_null(strstr(ed_error_last(), val_path));
}

static void labels_that_are_no_class(void **state)
{
    static const int64_t bad[] = { -1, -99, -101, TOY_CLASSES, INT64_MAX, INT64_MIN };
    ed_qat_result r;
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(bad); i++) {
        write_labels(train_path, bad[i], 2);
        assert_int_equal(train(&r, "distill", false), ED_EFORMAT);
        write_labels(train_path, 0, 2);
        write_labels(val_path, bad[i], 2);
        assert_int_equal(train(&r, "distill", true), ED_EFORMAT);
        assert_non_null(strstr(ed_error_last(), "of sample 1 is out of range"));
    }
}

static int remove_data(void **state)
{
    (void)state;
    unlink(train_path);
    unlink(val_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_samples_without_a_label),
        cmocka_unit_test(no_sample_with_a_label),
        cmocka_unit_test(labels_that_are_no_class),
    };
    return cmocka_run_group_tests(tests, NULL, remove_data);
}
