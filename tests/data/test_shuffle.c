/* Shuffled epochs: permutations, full batches, resuming, augmentations to the element. */
#include "h5write.h"
#include "base/available.h"
#include "base/error.h"
#include "base/mem.h"
#include "data/order.h"
#include "data/shuffle.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH     "shuffle.h5"
#define PICTURES "input x: f32[N, 3, 5, 4]\n"

enum { C = 3, H = 5, W = 4, PICTURE = C * H * W, P = 2, MAX_SAMPLES = 256 };

/* What a pixel of a sample is; never 0, so that zeros are what crop put there. */
static uint8_t pixel(int64_t sample, int c, int y, int x)
{
    return (uint8_t)(1 + (sample * 37 + c * 100 + y * 20 + x * 3) % 255);
}

typedef struct file_spec {
    int64_t samples;
    bool channels_last, labels;
    hid_t stored; /* 0: uint8 */
    hsize_t chunk;
} file_spec;

/* Labels are the samples' numbers. */
static void write_file(const file_spec *spec)
{
    static uint8_t x[MAX_SAMPLES * PICTURE];
    int64_t labels[MAX_SAMPLES];
    hsize_t n = (hsize_t)spec->samples;
    uint8_t *to = x;
    for (int64_t i = 0; i < spec->samples; i++) {
        labels[i] = i;
        for (int k = 0; k < PICTURE; k++)
            *to++ = spec->channels_last ? pixel(i, k % C, k / C / W, k / C % W)
                                        : pixel(i, k / (H * W), k / W % H, k % W);
    }
    h5_spec data = {
        "x", spec->stored ? spec->stored : H5T_STD_U8LE, H5T_NATIVE_UINT8, 4, { 0 }, x, spec->chunk
    };
    const hsize_t first[] = { n, C, H, W }, last[] = { n, H, W, C };
    memcpy(data.dims, spec->channels_last ? last : first, sizeof first);
    hid_t file = h5_create(PATH);
    h5_dataset(file, &data);
    if (spec->channels_last)
        h5_text(file, "x", "layout", "NHWC", 0, H5T_STR_NULLTERM);
    if (spec->labels)
        h5_dataset(file,
                   &(h5_spec){ "labels", H5T_STD_I32LE, H5T_NATIVE_INT64, 1, { n }, labels, 0 });
    h5_close(file);
}

static ed_dataset *open_good(const char *inputs, int64_t batch, int64_t limit)
{
    ed_graph *graph = graph_of(inputs);
    ed_dataset *data = NULL;
    if (ed_dataset_open(&data, PATH, graph,
                        &(ed_dataset_options){ .batch = batch, .limit = limit }) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_graph_free(graph);
    return data;
}

static void shuffle_good(ed_dataset *data, uint64_t seed, const char *augment)
{
    if (ed_dataset_shuffle(data, &(ed_shuffle){ seed, augment }) != ED_OK)
        fail_msg("%s", ed_error_last());
}

static ed_batch next_good(ed_dataset *data)
{
    ed_batch batch;
    if (ed_dataset_next(data, &batch) != ED_OK)
        fail_msg("%s", ed_error_last());
    return batch;
}

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

/* ---- augmentation ---- */

/* The picture of a sample after flipping and moving, as float32 [C][H][W]. */
static void expected(float *out, int64_t sample, bool flip, int dy, int dx)
{
    for (int k = 0; k < PICTURE; k++) {
        int c = k / (H * W), y = k / W % H + dy, x = k % W + dx;
        bool inside = y >= 0 && y < H && x >= 0 && x < W;
        out[k] = inside ? (float)pixel(sample, c, y, flip ? W - 1 - x : x) : 0.0f;
    }
}

/* counts[flip][dy + P][dx + P] of one batch whose every picture must be one of these. */
static void count_variants(int counts[2][2 * P + 1][2 * P + 1], const ed_batch *batch)
{
    for (int64_t i = 0; i < batch->size; i++) {
        const float *x = (const float *)batch->inputs[0]->data + i * PICTURE;
        float want[PICTURE];
        int found = 0;
        for (int v = 0; v < 2 * (2 * P + 1) * (2 * P + 1); v++) {
            int flip = v % 2, dy = v / 2 % (2 * P + 1), dx = v / 2 / (2 * P + 1);
            expected(want, batch->labels[i], flip, dy - P, dx - P);
            if (memcmp(x, want, sizeof want) == 0) {
                counts[flip][dy][dx]++;
                found++;
            }
        }
        assert_int_equal(found, 1);
    }
}

static void flip_and_crop_to_the_element(void **state)
{
    (void)state;
    int counts[2][2 * P + 1][2 * P + 1] = { 0 }, flipped = 0, total = 0;
    write_file(&(file_spec){ .samples = 128, .labels = true });
    ed_dataset *data = open_good(PICTURES, 128, 0);
    shuffle_good(data, 1, "flip,crop=2");
    for (int64_t e = 0; e < 20; e++) {
        assert_int_equal(ed_dataset_epoch(data, e, 0), ED_OK);
        ed_batch batch = next_good(data);
        count_variants(counts, &batch);
    }
    for (int dy = 0; dy < 2 * P + 1; dy++)
        for (int dx = 0; dx < 2 * P + 1; dx++) {
            int both = counts[0][dy][dx] + counts[1][dy][dx];
            assert_in_range(both, 60, 150); /* 2560 / 25 = 102, deviation 10 */
            total += both;
            flipped += counts[1][dy][dx];
        }
    assert_int_equal(total, 2560);
    assert_in_range(flipped, 1180, 1380); /* deviation 25 */
    ed_dataset_close(data);
}

static void each_one_alone(void **state)
{
    (void)state;
    write_file(&(file_spec){ .samples = 64, .labels = true });
    for (int alone = 0; alone < 2; alone++) {
        int counts[2][2 * P + 1][2 * P + 1] = { 0 }, still = 0, unflipped = 0;
        ed_dataset *data = open_good(PICTURES, 64, 0);
        shuffle_good(data, 1, alone ? "crop=2" : "flip");
        ed_batch batch = next_good(data);
        count_variants(counts, &batch);
        for (int dy = 0; dy < 2 * P + 1; dy++)
            for (int dx = 0; dx < 2 * P + 1; dx++) {
                unflipped += counts[0][dy][dx];
                still += dy == P && dx == P ? counts[0][dy][dx] + counts[1][dy][dx] : 0;
            }
        assert_true(alone ? unflipped == 64 && still < 16 : still == 64 && unflipped < 48);
        ed_dataset_close(data);
    }
}

/* Samples in memory or in the file, either layout, any type: the same numbers. */
static void all_ways_of_storing_agree(void **state)
{
    (void)state;
    enum { BATCH = 32 };
    static float want[BATCH * PICTURE];
    const hid_t types[] = { 0, H5T_STD_I16BE, H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_STD_I64LE };
    for (size_t k = 0; k < 4 * ED_LENGTH(types); k++) {
        bool in_file = k % 2, last = k / 2 % 2;
        write_file(&(file_spec){ 50, last, true, types[k / 4], k % 3 ? 8 : 0 });
        ed_dataset *data = open_good(PICTURES, BATCH, 0);
        ed_alloc_fail_once(in_file ? 2 : 0);
        shuffle_good(data, 9, "crop=3,flip");
        ed_alloc_fail_once(0);
        assert_true(in_file == !data->order->rows);
        assert_int_equal(ed_dataset_epoch(data, 4, 1), ED_OK);
        const float *x = next_good(data).inputs[0]->data;
        if (k == 0)
            memcpy(want, x, sizeof want);
        assert_memory_equal(x, want, sizeof want);
        ed_dataset_close(data);
    }
}

static void grey_pictures_and_bytes_of_odd_pixels(void **state)
{
    (void)state;
    uint8_t x[6 * 5 * 4];
    for (size_t i = 0; i < sizeof x; i++)
        x[i] = (uint8_t)(i + 1);
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ "x", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, { 6, 5, 4 }, x, 0 });
    h5_close(file);
    ed_dataset *data = open_good("input x: f32[N, 1, 5, 4]\n", 6, 0);
    shuffle_good(data, 1, "flip");
    ed_batch batch = next_good(data);
    assert_null(batch.labels);
    int flipped = 0;
    for (int64_t i = 0; i < 6; i++) {
        const float *y = (const float *)batch.inputs[0]->data + i * 20;
        const uint8_t *from = x + ed_order_sample(data->order, data, i) * 20;
        bool is_flipped = y[0] == (float)from[3];
        for (int k = 0; k < 20; k++)
            assert_true(y[k] == (float)from[is_flipped ? k / 4 * 4 + 3 - k % 4 : k]);
        flipped += is_flipped;
    }
    assert_in_range(flipped, 1, 5);
    ed_dataset_close(data);
}

/* Pictures and vectors side by side: only the former change. */
static void other_inputs_stay(void **state)
{
    (void)state;
    float vectors[8];
    write_file(&(file_spec){ .samples = 8, .labels = true });
    for (int i = 0; i < 8; i++)
        vectors[i] = (float)i;
    hid_t file = H5Fopen(PATH, H5F_ACC_RDWR, H5P_DEFAULT);
    h5_dataset(file, &(h5_spec){ "v", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, { 8, 1 }, vectors, 0 });
    h5_close(file);
    int counts[2][2 * P + 1][2 * P + 1] = { 0 };
    ed_dataset *data = open_good(PICTURES "input v: f32[N, 1]\n", 8, 0);
    shuffle_good(data, 2, "flip,crop=2");
    ed_batch batch = next_good(data);
    count_variants(counts, &batch);
    for (int64_t i = 0; i < 8; i++)
        assert_true(((const float *)batch.inputs[1]->data)[i] == (float)batch.labels[i]);
    ed_dataset_close(data);
}

/* ---- as stored ---- */

static int allocate_raw(void *ctx, void **out, size_t nbytes)
{
    ++*(int *)ctx;
    *out = malloc(nbytes);
    return *out ? ED_OK : ED_ENOMEM;
}

static void free_raw(void *ctx, void *memory)
{
    --*(int *)ctx;
    free(memory);
}

static void raw_batches_are_augmented_too(void **state)
{
    (void)state;
    enum { BATCH = 16 };
    for (int last = 0; last < 2; last++) {
        int live = 0;
        static float want[3][BATCH * PICTURE], got[BATCH * PICTURE];
        const ed_raw_memory memory = { &live, allocate_raw, free_raw };
        write_file(&(file_spec){ .samples = 40, .channels_last = last, .labels = true });
        ed_dataset *data = open_good(PICTURES, BATCH, 0);
        shuffle_good(data, 6, "flip,crop=1");
        for (int b = 0; b < 3; b++)
            memcpy(want[b], next_good(data).inputs[0]->data, sizeof want[b]);
        assert_true(ed_dataset_raw_possible(data));
        assert_int_equal(ed_dataset_raw_begin(data, &memory), ED_OK);
        for (int b = 0; b < 3; b++) {
            const ed_convert *how;
            assert_int_equal(next_good(data).size, BATCH);
            const void *bytes = ed_dataset_raw(data, 0, &how);
            assert_int_equal(how->from, ED_U8);
            assert_int_equal(ed_convert_run(how, got, bytes, BATCH).count, 0);
            assert_memory_equal(got, want[b], sizeof got);
        }
        assert_int_equal(next_good(data).size, 0);
        ed_dataset_raw_end(data);
        assert_int_equal(live, 0);
        memcpy(got, next_good(data).inputs[0]->data, sizeof got);
        assert_memory_equal(got, want[0], sizeof got);
        ed_dataset_close(data);
    }
}

/* ---- what is refused, and failures ---- */

static void unknown_augmentations_are_named(void **state)
{
    (void)state;
    const struct {
        const char *text, *sentence;
    } rows[] = {
        { "rotate", "'rotate' is not known; there is: flip (" },
        { "flip,", "'' is not known" },
        { ",flip", "'' is not known" },
        { "flip=2", "'flip=2' takes no number" },
        { "crop", "'crop' needs a number from 1 to 4096" },
        { "crop=", "'crop=' needs a number" },
        { "crop=0", "needs a number" },
        { "crop=-1", "needs a number" },
        { "crop=4097", "needs a number" },
        { "crop=99999999999999999999999", "needs a number" },
        { "crop=1x", "needs a number" },
        { "flip,flip", "'flip' comes twice" },
        { "Flip", "crop=P (" },
        { "crop=4", "crop moves by as much as a picture of 5 x 4 in " PATH ": dataset 'x'" },
    };
    write_file(&(file_spec){ .samples = 4, .labels = true });
    ed_dataset *data = open_good(PICTURES, 8, 0);
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        assert_int_equal(ed_dataset_shuffle(data, &(ed_shuffle){ 1, rows[i].text }), ED_EINVAL);
        if (!strstr(ed_error_last(), rows[i].sentence))
            fail_msg("%s: %s", rows[i].text, ed_error_last());
        assert_int_equal(next_good(data).size, 4); /* in the file's order */
        assert_int_equal(ed_dataset_rewind(data), ED_OK);
    }
    shuffle_good(data, 1, "");
    ed_dataset_close(data);

    data = open_good("input x: f32\n", 8, 0);
    assert_int_equal(ed_dataset_shuffle(data, &(ed_shuffle){ 1, "flip" }), ED_OK);
    ed_dataset_close(data);
    float v[4] = { 0 };
    hid_t file = h5_create(PATH);
    h5_dataset(file, &(h5_spec){ "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, { 4, 1 }, v, 0 });
    h5_close(file);
    data = open_good("input x: f32[N, 1]\n", 0, 0);
    assert_int_equal(ed_dataset_shuffle(data, &(ed_shuffle){ 1, "flip" }), ED_EINVAL);
    assert_non_null(strstr(ed_error_last(), PATH " has no pictures"));
    ed_dataset_close(data);
}

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
        cmocka_unit_test(flip_and_crop_to_the_element),
        cmocka_unit_test(each_one_alone),
        cmocka_unit_test(all_ways_of_storing_agree),
        cmocka_unit_test(grey_pictures_and_bytes_of_odd_pixels),
        cmocka_unit_test(other_inputs_stay),
        cmocka_unit_test(raw_batches_are_augmented_too),
        cmocka_unit_test(unknown_augmentations_are_named),
        cmocka_unit_test(memory_that_runs_out_anywhere),
        cmocka_unit_test(a_batch_allocates_nothing),
        cmocka_unit_test(damage_names_the_samples),
        cmocka_unit_test(the_machine_tells_its_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
