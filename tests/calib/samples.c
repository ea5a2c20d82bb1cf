/* See samples.h. */
#include "samples.h"

#include "data/h5write.h"

#include <string.h>

ed_graph *graph_from(const char *text, bool transformed)
{
    ed_graph *graph = NULL;
    if (ed_graph_parse(&graph, text) != ED_OK ||
        (transformed && ed_transform(graph, NULL) != ED_OK))
        fail_msg("%s", ed_error_last());
    return graph;
}

void write_samples(const char *path, const float *data, int rank, const int64_t *dims,
                   const int64_t *labels)
{
    hid_t file = h5_create(path);
    h5_spec x = { "x", H5T_NATIVE_FLOAT, H5T_NATIVE_FLOAT, rank, { 0 }, data, 0 };
    for (int i = 0; i < rank; i++)
        x.dims[i] = (hsize_t)dims[i];
    h5_dataset(file, &x);
    h5_spec y = { "labels", H5T_NATIVE_INT64, H5T_NATIVE_INT64, 1, { x.dims[0] }, labels, 0 };
    if (labels)
        h5_dataset(file, &y);
    h5_close(file);
}

ed_dataset *open_samples(const char *path, const ed_graph *graph, int64_t batch,
                         bool allow_nonfinite)
{
    ed_dataset *data = NULL;
    ed_dataset_options opts = { .batch = batch, .allow_nonfinite = allow_nonfinite };
    if (ed_dataset_open(&data, path, graph, &opts) != ED_OK)
        fail_msg("%s", ed_error_last());
    return data;
}

void fill_numbers(float *x, int64_t n, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
    }
}

void assert_says(const char *part)
{
    if (!strstr(ed_error_last(), part))
        fail_msg("'%s' is not in: %s", part, ed_error_last());
}
