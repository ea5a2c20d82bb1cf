/*
 * Our half of bench_infer.py: compile a model once, then run it over a file of samples each time
 * a line comes in, and print the seconds.
 *
 *   bench_infer MODEL BATCH INPUT.f32 OUTPUT.f32 [plan|profile]
 *
 * INPUT.f32 holds the samples of the only input as raw float32, OUTPUT.f32 receives the first
 * output of all of them after the first run. The first line printed is "compile <seconds>".
 */
#include "bench.h"

#include <ed/onnx.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The samples as one tensor per whole batch. */
typedef struct samples {
    ed_tensor **batch;
    size_t count;
} samples;

static samples read_samples(const char *path, const ed_shape *shape)
{
    samples s = { NULL, 0 };
    FILE *file = fopen(path, "rb");
    for (;;) {
        ed_tensor *t = NULL;
        bench_check(ed_tensor_new(&t, ED_F32, shape));
        if (!file || fread(t->data, 1, t->nbytes, file) != t->nbytes) {
            ed_tensor_free(t);
            break;
        }
        s.batch = realloc(s.batch, (s.count + 1) * sizeof(ed_tensor *));
        s.batch[s.count++] = t;
    }
    if (file)
        fclose(file);
    if (s.count == 0) {
        fprintf(stderr, "bench_infer: '%s' does not hold one batch of samples\n", path);
        exit(1);
    }
    return s;
}

static double run_all(ed_exec *exec, const samples *s, FILE *output)
{
    double begin = bench_seconds();
    for (size_t i = 0; i < s->count; i++) {
        const ed_tensor *in[1] = { s->batch[i] }, *out[8];
        bench_check(ed_exec_run(exec, in, out));
        if (output && fwrite(out[0]->data, 1, out[0]->nbytes, output) != out[0]->nbytes)
            exit(1);
    }
    return bench_seconds() - begin;
}

int main(int argc, char **argv)
{
    char line[64];
    ed_graph *graph = NULL;
    ed_exec *exec = NULL;
    ed_shape shape;
    if (argc < 5) {
        fprintf(stderr, "usage: bench_infer MODEL BATCH INPUT.f32 OUTPUT.f32 [plan|profile]\n");
        return 2;
    }
    bench_check(ed_onnx_read(&graph, argv[1]));
    if (ed_graph_input_count(graph) != 1 || ed_graph_output_count(graph) > 8)
        return 2;
    double begin = bench_seconds();
    bench_check(ed_transform(graph, NULL));
    double transformed = bench_seconds();
    bench_check(ed_exec_batch_shapes(&shape, graph, atoll(argv[2])));
    bench_check(ed_exec_new(&exec, graph, &shape, NULL));
    printf("compile %.6f transform %.6f\n", bench_seconds() - transformed, transformed - begin);
    fflush(stdout);
    if (argc > 5 && strcmp(argv[5], "plan") == 0)
        bench_check(ed_exec_print(exec, stdout));
    samples s = read_samples(argv[3], &shape);
    FILE *output = fopen(argv[4], "wb");
    run_all(exec, &s, output);
    if (!output || fclose(output) != 0)
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        printf("%.6f\n", run_all(exec, &s, NULL));
        fflush(stdout);
    }
    if (argc > 5 && strcmp(argv[5], "profile") == 0)
        bench_check(ed_exec_print_profile(exec, stdout));
    for (size_t i = 0; i < s.count; i++)
        ed_tensor_free(s.batch[i]);
    free(s.batch);
    ed_exec_free(exec);
    ed_graph_free(graph);
    return 0;
}
