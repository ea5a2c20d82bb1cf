/*
 * How fast the kernels of calibration are on a GPU, beside its own copy: gigabytes a second that
 * are read (and written, where something is) and their share of the bandwidth of a copy. Every
 * result is checked against the CPU on a small size before anything is timed.
 *
 *   bench_cuda [ELEMENTS] [--json]          (bench_cuda.py times the same with PyTorch)
 */
#include "backend/backend.h"
#include "calib/calib.h"
#include "exec/on_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 22, SMALL = 100003, REPEAT = 15, INPUTS = 3 };

static const ed_device *device;

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_cuda: %s: %s\n", what, ed_error_last());
    exit(1);
}

/* A call of the device's table. */
static void call(int rc)
{
    if (rc != ED_OK)
        ed_backend_failed(device->api, rc);
    check(rc == ED_OK, "the device");
}

/* ---- data ---- */

static float draw(unsigned *seed)
{
    float x = 0.0f;
    for (int i = 0; i < 8; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        x += (float)(*seed >> 8) / 16777216.0f - 0.5f;
    }
    return x;
}

enum { NORMAL, RELU, CONSTANT, KINDS };
static const char *const kinds[KINDS] = { "normal", "half zeros", "constant" };

static void fill(float *data, int kind)
{
    unsigned seed = 1;
    for (int i = 0; i < PIECE; i++) {
        float x = draw(&seed);
        data[i] = kind == NORMAL ? x : kind == RELU ? (x > 0.0f ? x : 0.0f) : 3.5f;
    }
}

/* The piece again and again. */
static void upload(float *to, const float *data, int64_t n)
{
    const ed_backend *api = device->api;
    for (int64_t at = 0; at < n; at += PIECE) {
        size_t nbytes = (size_t)(n - at < PIECE ? n - at : PIECE) * sizeof(float);
        call(at ? api->copy(device->handle, to + at, to, nbytes)
                : api->copy_in(device->handle, to, data, nbytes));
    }
    call(api->sync(device->handle));
}

/* ---- what is timed ---- */

typedef struct job {
    float *x, *y; /* on the device, [n] */
    int64_t n;
    void *observers;
    ed_exec *exec;
    size_t inputs; /* of exec, each [n] */
} job;

static void run_copy(const job *j)
{
    call(device->api->copy(device->handle, j->y, j->x, (size_t)j->n * sizeof(float)));
}

static void run_observer(const job *j)
{
    call(device->api->observers_add(j->observers, 0, j->x, ED_LAYOUT_PLAIN, j->n));
}

/* The inputs lie on the device already, the output stays there. */
static void run_graph(const job *j)
{
    ed_tensor x[INPUTS];
    const ed_tensor *in[INPUTS], *out[1];
    for (size_t i = 0; i < j->inputs; i++) {
        void *data = ed_exec_device_input(j->exec, i);
        check(ed_tensor_view(&x[i], ED_F32, &ED_SHAPE(j->n), data) == ED_OK, "a tensor");
        in[i] = &x[i];
    }
    check(ed_exec_run(j->exec, in, out) == ED_OK, "a graph");
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one run: the median. */
static double time_of(void (*run)(const job *), const job *j)
{
    const ed_backend *api = device->api;
    void *begin = NULL, *end = NULL;
    double seconds[REPEAT];
    for (int i = 0; i < 3; i++)
        run(j);
    for (int i = 0; i < REPEAT; i++) {
        call(api->mark(device->handle, &begin));
        run(j);
        call(api->mark(device->handle, &end));
        call(api->seconds(device->handle, &seconds[i], begin, end));
    }
    api->mark_free(device->handle, begin);
    api->mark_free(device->handle, end);
    qsort(seconds, REPEAT, sizeof *seconds, ascending);
    return seconds[REPEAT / 2];
}

/* ---- graphs ---- */

static const struct {
    const char *name, *text;
    int bytes; /* read and written for each element */
} graphs[] = {
    { "fake quantize",
      "graph b opset 17\ninput x: f32[N]\nconst s: f32[] = {0.03125}\nconst z: i32[] = {0}\n"
      "y = ed::FakeQuantize(x, s, z) {axis=-1}\noutput y\n",
      8 },
    { "chain of 2",
      "graph b opset 17\ninput x: f32[N]\nconst s: f32[] = {0.03125}\nr = Relu(x)\n"
      "y = ed::FakeQuantize(r, s)\noutput y\n",
      8 },
    { "chain of 4",
      "graph b opset 17\ninput x: f32[N]\nconst s: f32[] = {0.03125}\nconst k: f32[] = {1.5}\n"
      "m = Mul(x, k)\na = Add(m, x)\nr = Relu(a)\ny = ed::FakeQuantize(r, s)\noutput y\n",
      8 },
    { "gradients, chain of 2",
      "graph b opset 17\ninput d: f32[N]\ninput y: f32[N]\nconst s: f32[] = {0.0078125}\n"
      "g = ed::FakeQuantizeGrad(d, y, s)\nz = ed::ReluGrad(g, y)\noutput z\n",
      12 },
    { "gradients, chain of 3",
      "graph b opset 17\ninput d: f32[N]\ninput y: f32[N]\ninput skip: f32[N]\n"
      "const s: f32[] = {0.0078125}\ng = ed::FakeQuantizeGrad(d, y, s)\na = Add(skip, g)\n"
      "z = ed::ReluGrad(a, y)\noutput z\n",
      16 },
    { "abs, max",
      "graph b opset 17\ninput x: f32[N]\na = Abs(x)\ny = ReduceMax(a) {axes=[0]}\noutput y\n", 4 },
};

static ed_exec *compile(ed_graph **graph, const char *text, int64_t n, const char *where)
{
    ed_exec *exec = NULL;
    ed_exec_options opts = { .device = where, .no_outputs = n > SMALL };
    const ed_shape shapes[INPUTS] = { ED_SHAPE(n), ED_SHAPE(n), ED_SHAPE(n) };
    check(ed_graph_parse(graph, text) == ED_OK && ed_graph_input_count(*graph) <= INPUTS &&
              ed_exec_new(&exec, *graph, shapes, &opts) == ED_OK,
          "a graph");
    return exec;
}

static void check_graph(const char *text, float *data)
{
    static const char *const where[2] = { "cpu", "cuda" };
    const ed_tensor *out[2];
    ed_graph *graph[2];
    ed_exec *exec[2];
    ed_tensor x;
    check(ed_tensor_view(&x, ED_F32, &ED_SHAPE(SMALL), data) == ED_OK, "a tensor");
    const ed_tensor *in[INPUTS] = { &x, &x, &x };
    for (int i = 0; i < 2; i++) {
        exec[i] = compile(&graph[i], text, SMALL, where[i]);
        check(ed_exec_run(exec[i], in, &out[i]) == ED_OK, "a graph");
    }
    check(memcmp(out[0]->data, out[1]->data, out[0]->nbytes) == 0, "the GPU's result is wrong");
    for (int i = 0; i < 2; i++) {
        ed_exec_free(exec[i]);
        ed_graph_free(graph[i]);
    }
}

/* ---- observers ---- */

static void check_observer(const job *j, const float *data)
{
    static uint64_t counts[ED_HISTOGRAM_BINS];
    ed_observer *cpu;
    ed_seen seen;
    void *gpu;
    check(ed_observer_new(&cpu, 0, 0.0) == ED_OK && ed_observer_add(cpu, data, SMALL, 0) == ED_OK,
          "an observer");
    call(device->api->observers_new(device->handle, &gpu, 1, ED_HISTOGRAM_BINS, 0.0));
    call(device->api->observers_add(gpu, 0, j->x, ED_LAYOUT_PLAIN, SMALL));
    call(device->api->observers_get(gpu, &seen, counts));
    ed_observation expected = ed_observer_get(cpu);
    check(memcmp(counts, expected.counts, sizeof counts) == 0 && seen.min == expected.min &&
              seen.max == expected.max && seen.range == expected.range,
          "the GPU's histogram is wrong");
    device->api->observers_free(gpu);
    ed_observer_free(cpu);
}

/* ---- results ---- */

static void tell(bool json, const char *name, double seconds, double gigabytes, double copy)
{
    static int told;
    if (json)
        printf("%s{\"name\": \"%s\", \"ms\": %.4f, \"gb_per_s\": %.1f, \"share\": %.3f}",
               told ? ", " : "", name, 1e3 * seconds, gigabytes / seconds,
               gigabytes / seconds / copy);
    else
        printf("%-22s %8.3f ms  %7.1f GB/s  %5.2f of a copy\n", name, 1e3 * seconds,
               gigabytes / seconds, gigabytes / seconds / copy);
    told = 1;
}

static void time_observers(bool json, job *j, float *data, double copy)
{
    for (int kind = 0; kind < KINDS; kind++) {
        char name[64];
        snprintf(name, sizeof name, "observer, %s", kinds[kind]);
        fill(data, kind);
        upload(j->x, data, j->n);
        check_observer(j, data);
        call(device->api->observers_new(device->handle, &j->observers, 1, ED_HISTOGRAM_BINS, 0.0));
        tell(json, name, time_of(run_observer, j), 4e-9 * (double)j->n, copy);
        device->api->observers_free(j->observers);
    }
}

static void time_graphs(bool json, job *j, float *data, double copy)
{
    fill(data, NORMAL);
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++) {
        ed_graph *graph;
        check_graph(graphs[i].text, data);
        j->exec = compile(&graph, graphs[i].text, j->n, "cuda");
        j->inputs = ed_graph_input_count(graph);
        for (size_t k = 0; k < j->inputs; k++)
            upload(ed_exec_device_input(j->exec, k), data, j->n);
        tell(json, graphs[i].name, time_of(run_graph, j), 1e-9 * graphs[i].bytes * (double)j->n,
             copy);
        ed_exec_free(j->exec);
        ed_graph_free(graph);
    }
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[argc - 1], "--json") == 0;
    job j = { .n = argc - json > 1 ? atoll(argv[1]) : 256 << 20 };
    check(j.n >= SMALL, "arguments");
    float *data = malloc(PIECE * sizeof *data);
    check(data && ed_device_open(&device, "cuda", NULL) == ED_OK, "opening the device");
    const ed_backend *api = device->api;
    ed_device_info info;
    void *x, *y;
    call(api->info(&info, device->index));
    call(api->alloc(device->handle, &x, (size_t)j.n * sizeof(float)));
    call(api->alloc(device->handle, &y, (size_t)j.n * sizeof(float)));
    j.x = x;
    j.y = y;

    fill(data, NORMAL);
    upload(j.x, data, j.n);
    double seconds = time_of(run_copy, &j), gigabytes = 8e-9 * (double)j.n;
    printf(json ? "{\"device\": \"%s\", \"elements\": %lld, \"results\": ["
                : "%s, %lld float32 elements\n",
           info.name, (long long)j.n);
    tell(json, "copy", seconds, gigabytes, gigabytes / seconds);
    api->free(device->handle, y);
    time_observers(json, &j, data, gigabytes / seconds);
    api->free(device->handle, x);
    time_graphs(json, &j, data, gigabytes / seconds);
    printf(json ? "]}\n" : "");
    free(data);
    return 0;
}
