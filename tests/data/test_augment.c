/* Augmentations to the element, however pictures are stored. */
#include "pictures.h"
#include "base/error.h"
#include "base/mem.h"
#include "data/order.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { P = 2 }; /* how far crop moves in most of the tests */

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

/* ---- what is refused ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flip_and_crop_to_the_element),
        cmocka_unit_test(each_one_alone),
        cmocka_unit_test(all_ways_of_storing_agree),
        cmocka_unit_test(grey_pictures_and_bytes_of_odd_pixels),
        cmocka_unit_test(other_inputs_stay),
        cmocka_unit_test(raw_batches_are_augmented_too),
        cmocka_unit_test(unknown_augmentations_are_named),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
