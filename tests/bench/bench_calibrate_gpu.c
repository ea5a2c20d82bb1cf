/*
 * Calibration on a GPU against the bare forward pass of the same pictures.
 *
 *   bench_calibrate_gpu MODEL DATA.h5 METHOD BATCH PRECISION [ROUNDS]
 *
 * Every round calibrates from the file and checks that it gives the first round's ranges; then the
 * forward pass of one batch is timed on the device's clock. Prints one JSON object a round: seconds
 * to compile, of the pass, of the searches, and (pass + searches) over the forward pass of all
 * pictures. The first round loads kernels from disk.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds of the forward pass of one batch. */
static double forward(const ed_graph *graph, const char *precision, int64_t batch)
{
    ed_exec *exec = NULL;
    ed_tensor *x = NULL;
    const ed_tensor *out[8];
    ed_shape shape;
    double seconds = 0;
    ed_exec_options opts = { .device = "cuda", .precision = precision };
    bench_check(ed_exec_batch_shapes(&shape, graph, batch));
    bench_check(ed_exec_new(&exec, graph, &shape, &opts));
    bench_check(ed_tensor_new(&x, ED_F32, &shape));
    for (int64_t i = 0; i < x->numel; i++)
        ((float *)x->data)[i] = (float)((i * 2654435761u >> 8) % 2001) * 1e-3f - 1.0f;
    bench_check(ed_exec_run(exec, (const ed_tensor *const *)&x, out));
    bench_check(ed_exec_time(&seconds, exec, 20));
    ed_tensor_free(x);
    ed_exec_free(exec);
    return seconds;
}

static bool same(const ed_ranges *a, const ed_ranges *b)
{
    bool equal = ed_ranges_count(a) == ed_ranges_count(b);
    for (size_t i = 0; equal && i < ed_ranges_count(a); i++)
        equal = ed_ranges_at(a, i)->amax == ed_ranges_at(b, i)->amax;
    return equal;
}

int main(int argc, char **argv)
{
    ed_graph *graph = NULL;
    ed_plan *plan = NULL;
    ed_dataset *data = NULL;
    ed_ranges *first = NULL;
    ed_calib_times times;
    if (argc < 6) {
        fprintf(stderr,
                "usage: bench_calibrate_gpu MODEL DATA.h5 METHOD BATCH PRECISION [ROUNDS]\n");
        return 2;
    }
    int64_t batch = atoll(argv[4]);
    bench_check(ed_onnx_read(&graph, argv[1]));
    bench_check(ed_transform(graph, NULL));
    bench_check(ed_plan_build(&plan, graph, ED_PHASE_QUANTIZE, NULL));
    bench_check(ed_dataset_open(&data, argv[2], graph, &(ed_dataset_options){ .batch = batch }));
    double bare = forward(graph, argv[5], batch) * (double)ed_dataset_count(data) / (double)batch;
    for (int round = 0; round < (argc > 6 ? atoi(argv[6]) : 3); round++) {
        ed_ranges *ranges = NULL;
        ed_calib_options opts = {
            .method = argv[3], .device = "cuda", .precision = argv[5], .times = &times
        };
        bench_check(ed_calibrate(&ranges, graph, plan, data, &opts));
        if (first && !same(first, ranges)) {
            fprintf(stderr, "bench_calibrate_gpu: round %d gave other ranges\n", round);
            return 1;
        }
        printf(
            "{\"values\": %zu, \"compile\": %.4f, \"pass\": %.4f, \"search\": %.4f, \"forward\": "
            "%.4f, \"ratio\": %.3f}\n",
            ed_ranges_count(ranges), times.compile, times.pass, times.search, bare,
            (times.pass + times.search) / bare);
        if (first)
            ed_ranges_free(ranges);
        else
            first = ranges;
    }
    ed_ranges_free(first);
    ed_dataset_close(data);
    ed_plan_free(plan);
    ed_graph_free(graph);
    return 0;
}
