/*
 * Our half of bench_gpu.py: the forward pass of a model on a device, without copies.
 *
 *   bench_gpu MODEL BATCH INPUT.f32 OUTPUT.f32 DEVICE PRECISION REPEATS [tune] [log] [plan|profile]
 *
 * INPUT.f32 holds BATCH samples of the only input as raw float32, OUTPUT.f32 receives the first
 * output. Prints one JSON object: seconds to compile, milliseconds of one run (the median).
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void transfer(const char *path, const char *mode, void *data, size_t nbytes)
{
    FILE *file = fopen(path, mode);
    bool good = file && (*mode == 'r' ? fread(data, 1, nbytes, file) == nbytes
                                      : fwrite(data, 1, nbytes, file) == nbytes);
    if (!good || fclose(file) != 0) {
        fprintf(stderr, "bench_gpu: '%s' could not be read or written whole\n", path);
        exit(1);
    }
}

static void print_message(void *ctx, ed_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s\n", text);
}

static bool has(int argc, char **argv, const char *word)
{
    for (int i = 8; i < argc; i++)
        if (strcmp(argv[i], word) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    ed_graph *graph = NULL;
    ed_exec *exec = NULL;
    ed_tensor *x = NULL;
    const ed_tensor *out[8];
    ed_shape shape;
    double seconds = 0;
    if (argc < 8) {
        fprintf(stderr, "usage: bench_gpu MODEL BATCH INPUT.f32 OUTPUT.f32 DEVICE PRECISION "
                        "REPEATS [tune] [log] [plan|profile]\n");
        return 2;
    }
    const ed_exec_options options = { .device = argv[5],
                                      .precision = argv[6],
                                      .autotune = has(argc, argv, "tune"),
                                      .profile = has(argc, argv, "profile") };
    if (has(argc, argv, "log"))
        ed_log_set(print_message, NULL);
    bench_check(ed_onnx_read(&graph, argv[1]));
    if (ed_graph_input_count(graph) != 1 || ed_graph_output_count(graph) > 8)
        return 2;
    bench_check(ed_transform(graph, NULL));
    bench_check(ed_exec_batch_shapes(&shape, graph, atoll(argv[2])));
    bench_check(ed_tensor_new(&x, ED_F32, &shape));
    transfer(argv[3], "rb", x->data, x->nbytes);
    double begin = bench_seconds();
    bench_check(ed_exec_new(&exec, graph, &shape, &options));
    double compiled = bench_seconds() - begin;
    bench_check(ed_exec_run(exec, (const ed_tensor *const *)&x, out));
    transfer(argv[4], "wb", out[0]->data, out[0]->nbytes);
    bench_check(ed_exec_time(&seconds, exec, atoi(argv[7])));
    printf("{\"compile_seconds\": %.4f, \"milliseconds\": %.4f, \"host_steps\": %zu}\n", compiled,
           1e3 * seconds, ed_exec_get_stats(exec).host_steps);
    if (has(argc, argv, "plan"))
        bench_check(ed_exec_print(exec, stdout));
    if (has(argc, argv, "profile"))
        bench_check(ed_exec_print_profile(exec, stdout));
    ed_exec_free(exec);
    ed_tensor_free(x);
    ed_graph_free(graph);
    return 0;
}
