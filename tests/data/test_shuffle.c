/* Shuffled epochs: permutations, full batches, resuming, failures. */
#include "pictures.h"
#include "base/available.h"
#include "base/error.h"
#include "base/mem.h"
#include "data/order.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* Labels of the rest of an epoch, all batches full; returns how many. */
static int64_t read_labels(ed_dataset *data, int64_t *labels)
{
    int64_t n = 0;
    for (;;) {
        ed_batch batch = next_good(data);
        if (!batch.size)
            return n;
        assert_int_equal(batch.size, ed_dataset_batch_size(data));
        memcpy(labels + n, batch.labels, (size_t)batch.size * sizeof *labels);
        n += batch.size;
    }
}

/* ---- the order ---- */

static void expect_permutation(const int64_t *labels, int64_t count)
{
    bool seen[MAX_SAMPLES] = { false };
    for (int64_t i = 0; i < count; i++) {
        assert_in_range(labels[i], 0, count - 1);
        assert_false(seen[labels[i]]);
        seen[labels[i]] = true;
    }
}

static void epochs_are_permutations_filled_from_their_start(void **state)
{
    (void)state;
    const struct {
        int64_t samples, limit, batch, batches;
    } rows[] = {
        { 203, 0, 50, 5 }, { 203, 0, 203, 1 }, { 203, 0, 1, 203 }, { 3, 0, 8, 1 },
        { 1, 0, 1, 1 },    { 1, 0, 7, 1 },     { 203, 20, 16, 2 }, { 203, 5, 16, 1 },
    };
    for (size_t r = 0; r < ED_LENGTH(rows); r++) {
        int64_t labels[512], count = rows[r].limit ? rows[r].limit : rows[r].samples;
        write_file(&(file_spec){ .samples = rows[r].samples, .labels = true });
        ed_dataset *data = open_good(PICTURES, rows[r].batch, rows[r].limit);
        shuffle_good(data, 1, NULL);
        assert_int_equal(ed_dataset_batch_size(data), rows[r].batch);
        assert_int_equal(ed_dataset_batches(data), rows[r].batches);
        assert_int_equal(read_labels(data, labels), rows[r].batch * rows[r].batches);
        expect_permutation(labels, count);
        for (int64_t i = count; i < rows[r].batch * rows[r].batches; i++)
            assert_int_equal(labels[i], labels[i % count]);
        ed_dataset_close(data);
    }
}

static void seeds_and_epochs_differ_and_repeat(void **state)
{
    (void)state;
    enum { N = 100 };
    int64_t orders[6][N], again[N];
    write_file(&(file_spec){ .samples = N, .labels = true });
    ed_dataset *data = open_good(PICTURES, 10, 0);
    for (int k = 0; k < 6; k++) {
        shuffle_good(data, (uint64_t)(k / 3), NULL);
        assert_int_equal(ed_dataset_epoch(data, k % 3, 0), ED_OK);
        assert_int_equal(read_labels(data, orders[k]), N);
        assert_int_equal(ed_dataset_rewind(data), ED_OK);
        assert_int_equal(read_labels(data, again), N);
        assert_memory_equal(orders[k], again, sizeof again);
        for (int j = 0; j < k; j++)
            assert_memory_not_equal(orders[k], orders[j], sizeof again);
    }
    ed_dataset_close(data);
}

/* Each sample comes to each place about equally often. */
static void no_place_is_preferred(void **state)
{
    (void)state;
    enum { N = 10, EPOCHS = 4000 };
    int counts[N][N] = { { 0 } };
    write_file(&(file_spec){ .samples = N, .labels = true });
    ed_dataset *data = open_good(PICTURES, N, 0);
    shuffle_good(data, 5, NULL);
    for (int64_t e = 0; e < EPOCHS; e++) {
        ed_order_begin(data->order, data, e, 0);
        for (int k = 0; k < N; k++)
            counts[k][ed_order_sample(data->order, data, k)]++;
    }
    double chi = 0, mean = (double)EPOCHS / N;
    for (int i = 0; i < N * N; i++)
        chi += (counts[i / N][i % N] - mean) * (counts[i / N][i % N] - mean) / mean;
    assert_true(chi > 35 && chi < 150); /* 81 degrees of freedom: mean 81, deviation 13 */
    ed_dataset_close(data);
}

static void back_to_the_files_order(void **state)
{
    (void)state;
    int64_t labels[64];
    write_file(&(file_spec){ .samples = 7, .labels = true });
    ed_dataset *data = open_good(PICTURES, 16, 0);
    shuffle_good(data, 3, "flip");
    assert_int_equal(next_good(data).size, 16);
    assert_int_equal(ed_dataset_shuffle(data, NULL), ED_OK);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(ed_dataset_batches(data), 1);
        assert_int_equal(read_labels(data, labels), 7);
        for (int64_t i = 0; i < 7; i++)
            assert_int_equal(labels[i], i);
        assert_int_equal(ed_dataset_rewind(data), ED_OK);
    }
    ed_dataset_close(data);
}

/* ---- resuming ---- */

static void going_on_at_any_batch_is_the_straight_run(void **state)
{
    (void)state;
    enum { BATCH = 6, BATCHES = 7, EPOCHS = 2 };
    static float straight[EPOCHS][BATCHES][BATCH * PICTURE];
    write_file(&(file_spec){ .samples = 40, .labels = true });
    ed_dataset *data = open_good(PICTURES, BATCH, 0);
    shuffle_good(data, 11, "flip,crop=2");
    for (int e = 0; e < EPOCHS; e++) {
        assert_int_equal(ed_dataset_epoch(data, e, 0), ED_OK);
        for (int b = 0; b < BATCHES; b++)
            memcpy(straight[e][b], next_good(data).inputs[0]->data, sizeof straight[e][b]);
    }
    ed_dataset_close(data);
    for (int e = 0; e < EPOCHS; e++)
        for (int b = 0; b <= BATCHES; b++) {
            data = open_good(PICTURES, BATCH, 0);
            shuffle_good(data, 11, "flip,crop=2");
            assert_int_equal(ed_dataset_epoch(data, e, b), ED_OK);
            for (int k = b; k < BATCHES; k++)
                assert_memory_equal(straight[e][k], next_good(data).inputs[0]->data,
                                    sizeof straight[e][k]);
            assert_int_equal(next_good(data).size, 0);
            assert_int_equal(ed_dataset_rewind(data), ED_OK);
            assert_int_equal(next_good(data).size, b < BATCHES ? BATCH : 0);
            ed_dataset_close(data);
        }
}

/* ---- what is refused, and failures ---- */

static void memory_that_runs_out_anywhere(void **state)
{
    (void)state;
    write_file(&(file_spec){ .samples = 5, .labels = true });
    ed_dataset *data = open_good(PICTURES, 8, 0);
    int rc = ED_ENOMEM;
    for (long n = 1; rc != ED_OK; n++) {
        ed_alloc_fail_at(n);
        rc = ed_dataset_shuffle(data, &(ed_shuffle){ 1, "flip" });
        ed_alloc_fail_at(0);
        assert_true(rc == ED_OK || (rc == ED_ENOMEM && n < 40));
        assert_int_equal(next_good(data).size, rc == ED_OK ? 8 : 5);
        assert_int_equal(ed_dataset_shuffle(data, NULL), ED_OK);
    }
    ed_dataset_close(data);
}

static void a_batch_allocates_nothing(void **state)
{
    (void)state;
    int64_t labels[64];
    write_file(&(file_spec){ .samples = 50, .labels = true, .chunk = 7 });
    ed_dataset *data = open_good(PICTURES, 8, 0);
    ed_alloc_fail_once(2);
    shuffle_good(data, 1, "flip,crop=1");
    assert_null(data->order->rows);
    assert_int_equal(next_good(data).size, 8);
    ed_alloc_fail_at(1);
    assert_int_equal(read_labels(data, labels), 48);
    assert_int_equal(ed_alloc_count(), 0);
    ed_alloc_fail_at(0);
    ed_dataset_close(data);
}

static void damage_names_the_samples(void **state)
{
    (void)state;
    float x[6] = { 0, 1, 2, __builtin_nanf(""), 4, 5 };
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, { 6, 1 }, x, 0 });
    h5_close(file);
    ed_dataset *data = open_good("input x: f32[N, 1]\n", 6, 0);
    shuffle_good(data, 1, NULL);
    ed_batch batch;
    assert_int_equal(ed_dataset_next(data, &batch), ED_ENONFINITE);
    assert_non_null(strstr(ed_error_last(), "first in sample 3, 1 values"));
    ed_dataset_close(data);
}

static void the_machine_tells_its_memory(void **state)
{
    (void)state;
    assert_true(ed_memory_available() > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_permutations_filled_from_their_start),
        cmocka_unit_test(seeds_and_epochs_differ_and_repeat),
        cmocka_unit_test(no_place_is_preferred),
        cmocka_unit_test(back_to_the_files_order),
        cmocka_unit_test(going_on_at_any_batch_is_the_straight_run),
        cmocka_unit_test(memory_that_runs_out_anywhere),
        cmocka_unit_test(a_batch_allocates_nothing),
        cmocka_unit_test(damage_names_the_samples),
        cmocka_unit_test(the_machine_tells_its_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
