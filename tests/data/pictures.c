/* See pictures.h. */
#include "pictures.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

uint8_t pixel(int64_t sample, int c, int y, int x)
{
    return (uint8_t)(1 + (sample * 37 + c * 100 + y * 20 + x * 3) % 255);
}

void write_file(const file_spec *spec)
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

ed_dataset *open_good(const char *inputs, int64_t batch, int64_t limit)
{
    ed_graph *graph = graph_of(inputs);
    ed_dataset *data = NULL;
    if (ed_dataset_open(&data, PATH, graph,
                        &(ed_dataset_options){ .batch = batch, .limit = limit }) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_graph_free(graph);
    return data;
}

void shuffle_good(ed_dataset *data, uint64_t seed, const char *augment)
{
    if (ed_dataset_shuffle(data, &(ed_shuffle){ seed, augment }) != ED_OK)
        fail_msg("%s", ed_error_last());
}

ed_batch next_good(ed_dataset *data)
{
    ed_batch batch;
    if (ed_dataset_next(data, &batch) != ED_OK)
        fail_msg("%s", ed_error_last());
    return batch;
}
