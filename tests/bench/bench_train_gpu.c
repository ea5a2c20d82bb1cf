/*
 * One step of training on a GPU: the training graph of a quantized model and the update behind it,
 * as ed-qat runs them, on random data that lies there; the teacher apart.
 *
 *   bench_train_gpu MODEL_QDQ TEACHER|- BATCH DEVICE PRECISION STEPS [adamw] [ema|lsq] [memory=MIB]
 *                   [tune] [deterministic] [plan] [profile]
 *
 * MODEL_QDQ is what ed-calibrate wrote. Prints one JSON object: milliseconds by the device's events
 * (of a step: the mean of all, queued one behind the other; of its parts: medians) and MiB.
 * `profile` measures every kernel by itself, which makes the step slower, and prints the time by
 * kernel and by kind of node.
 */
#include "bench.h"

#include "exec/exec_impl.h"
#include "exec/training.h"
#include "qat/device_state.h"
#include "qat/recompute_fit.h"

#include <string.h>

enum { WARM = 3, LEAST_ARGS = 7 };

typedef struct bench {
    int argc;
    char **argv;
    int64_t batch, steps;
    ed_qat_settings settings;
    ed_exec_options options;
    ed_graph *graph, *teacher_graph;
    ed_train_graph *plan;
    ed_train_state *state;
    ed_device_state *there;
    ed_exec *exec, *teacher;
    ed_tensor *views, *teacher_views; /* of the inputs there */
    const ed_tensor **in, **out, **teacher_in, *logits;
} bench;

static bool has(const bench *b, const char *word)
{
    for (int i = LEAST_ARGS; i < b->argc; i++)
        if (strcmp(b->argv[i], word) == 0)
            return true;
    return false;
}

static int64_t memory_limit(const bench *b)
{
    for (int i = LEAST_ARGS; i < b->argc; i++)
        if (strncmp(b->argv[i], "memory=", 7) == 0)
            return atoll(b->argv[i] + 7) << 20;
    return 0;
}

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "bench_train_gpu: memory ran out\n");
        exit(1);
    }
    return memory;
}

/* ---- graphs and executors ---- */

static ed_graph *read_model(const char *path)
{
    ed_graph *graph = NULL;
    bench_check(ed_onnx_read(&graph, path));
    bench_check(ed_transform(graph, NULL));
    return graph;
}

static void read_settings(bench *b)
{
    const ed_qat_options options = {
        .batch = b->batch,
        .device = b->argv[4],
        .precision = b->argv[5],
        .loss = strcmp(b->argv[2], "-") == 0 ? "labels" : "both",
        .optimizer = has(b, "adamw") ? "adamw" : "sgd",
        .scales = has(b, "ema")   ? "ema"
                  : has(b, "lsq") ? "lsq"
                                  : "frozen",
        .weight_scales = has(b, "lsq") ? "lsq" : "absmax",
        .learning_rate = 1e-9,
    };
    bench_check(ed_qat_options_read(&b->settings, &options));
    b->options = (ed_exec_options){ .device = options.device,
                                    .precision = options.precision,
                                    .autotune = has(b, "tune"),
                                    .deterministic = has(b, "deterministic"),
                                    .profile = has(b, "profile"),
                                    .no_outputs = true };
}

/* Random data where the executor reads it; integers are labels. */
static void fill(const ed_exec *exec, const ed_tensor *view, size_t i, int64_t classes)
{
    const ed_device *d = ed_exec_device(exec);
    ed_tensor *t = NULL;
    bench_check(ed_tensor_new(&t, view->dtype, &view->shape));
    for (int64_t k = 0; k < t->numel; k++)
        if (t->dtype == ED_F32)
            ((float *)t->data)[k] = (float)rand() / (float)RAND_MAX * 4.0f - 2.0f;
        else if (t->dtype == ED_I64)
            ((int64_t *)t->data)[k] = rand() % classes;
    bench_check(d->api->copy_in(d->handle, ed_exec_device_input(exec, i), t->data, t->nbytes));
    bench_check(d->api->sync(d->handle));
    ed_tensor_free(t);
}

/* Views of an executor's inputs; the first `n` of them get data. */
static ed_tensor *view_inputs(const ed_exec *exec, const ed_graph *g, const ed_shape *shapes,
                              size_t n, int64_t classes, const ed_tensor ***in)
{
    ed_tensor *views = need(calloc(g->n_inputs, sizeof *views));
    *in = need(calloc(g->n_inputs, sizeof(ed_tensor *)));
    for (size_t i = 0; i < g->n_inputs; i++) {
        bench_check(ed_tensor_view(&views[i], g->values[g->inputs[i]].dtype, &shapes[i],
                                   ed_exec_device_input(exec, i)));
        (*in)[i] = &views[i];
        if (i < n)
            fill(exec, &views[i], i, classes);
    }
    return views;
}

static void make_teacher(bench *b, const ed_shape *shapes)
{
    if (strcmp(b->argv[2], "-") == 0)
        return;
    ed_graph *model = read_model(b->argv[2]);
    bench_check(ed_logits_graph(&b->teacher_graph, model));
    ed_graph_free(model);
    bench_check(ed_exec_new(&b->teacher, b->teacher_graph, shapes, &b->options));
    b->teacher_views = view_inputs(b->teacher, b->teacher_graph, shapes, b->teacher_graph->n_inputs,
                                   b->plan->classes, &b->teacher_in);
}

static void make_plan(bench *b, const ed_shape *shapes)
{
    const ed_qat_options *o = &b->settings.opts;
    const ed_train_spec spec = { .shapes = shapes,
                                 .loss = b->settings.loss,
                                 .scales = b->settings.scales,
                                 .temperature = o->temperature,
                                 .alpha = ed_qat_number(o->alpha),
                                 .opts = o };
    bench_check(ed_train_graph_new(&b->plan, b->graph, &spec));
    bench_check(ed_train_state_new(&b->state, b->plan, b->graph, &b->settings));
}

static int measure(void *ctx, int64_t *bytes, const ed_graph *graph)
{
    const bench *b = ctx;
    ed_shape *all = need(calloc(graph->n_inputs, sizeof *all));
    for (size_t i = 0; i < graph->n_inputs; i++)
        all[i] = graph->values[graph->inputs[i]].shape;
    int rc = ed_exec_plan_bytes(bytes, graph, all, &b->options);
    free(all);
    return rc;
}

static void make_training(bench *b)
{
    ed_exec_options options = b->options;
    if (memory_limit(b))
        bench_check(
            ed_recompute_fit(&b->plan->graph, b->plan->n_forward, memory_limit(b), measure, b));
    const ed_graph *g = b->plan->graph;
    ed_shape *all = need(calloc(g->n_inputs, sizeof *all));
    const char **observed = need(calloc(b->plan->n_quantizers + 1, sizeof *observed));
    for (size_t i = 0; i < g->n_inputs; i++)
        all[i] = g->values[g->inputs[i]].shape;
    for (size_t i = 0; i < b->plan->n_quantizers && has(b, "ema"); i++)
        if (b->plan->scale_of[i] != SIZE_MAX)
            observed[options.observed_count++] = g->values[b->plan->quantizers[i].input].name;
    options.observed = observed;
    bench_check(ed_exec_new(&b->exec, g, all, &options));
    if (!ed_exec_device(b->exec)) {
        fprintf(stderr, "bench_train_gpu: '%s' is no GPU\n", b->argv[4]);
        exit(2);
    }
    bench_check(ed_device_state_new(&b->there, b->state, b->exec));
    b->views = view_inputs(b->exec, g, all, b->plan->first_param, b->plan->classes, &b->in);
    b->out = need(calloc(g->n_outputs, sizeof(ed_tensor *)));
    free(observed);
    free(all);
}

/* ---- time ---- */

static void *mark(const bench *b)
{
    const ed_device *d = ed_exec_device(b->exec);
    void *event = NULL;
    bench_check(d->api->mark(d->handle, &event));
    return event;
}

static double milliseconds(const bench *b, void *begin, void *end)
{
    const ed_device *d = ed_exec_device(b->exec);
    double seconds = 0;
    bench_check(d->api->seconds(d->handle, &seconds, begin, end));
    return 1e3 * seconds;
}

static void run_graph(bench *b)
{
    bench_check(ed_exec_run(b->exec, b->in, b->out));
}

static void update(bench *b, ed_device_updated *result)
{
    bench_check(ed_device_state_add(b->there));
    bench_check(ed_device_state_update(b->there, 1e-9, result));
    if (has(b, "ema"))
        bench_check(ed_device_state_follow(b->there));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of the numbers, which are put in order. */
static double median(double *list, int64_t n)
{
    qsort(list, (size_t)n, sizeof *list, by_value);
    return list[n / 2];
}

typedef struct times {
    double step, graph, update, teacher;
} times;

static times time_steps(bench *b, ed_device_updated *result)
{
    const size_t n = (size_t)b->steps;
    void **events = need(calloc(3 * n, sizeof *events));
    double *graph = need(calloc(n, sizeof *graph)), *updates = need(calloc(n, sizeof *updates));
    for (int i = 0; i < WARM; i++) { /* the second run records */
        run_graph(b);
        update(b, result);
    }
    for (size_t i = 0; i < n; i++) {
        events[3 * i] = mark(b);
        run_graph(b);
        events[3 * i + 1] = mark(b);
        update(b, result);
        events[3 * i + 2] = mark(b);
    }
    times t = { .step = milliseconds(b, events[0], events[3 * n - 1]) / (double)n };
    for (size_t i = 0; i < n; i++) {
        graph[i] = milliseconds(b, events[3 * i], events[3 * i + 1]);
        updates[i] = milliseconds(b, events[3 * i + 1], events[3 * i + 2]);
    }
    t.graph = median(graph, b->steps);
    t.update = median(updates, b->steps);
    for (size_t i = 0; i < 3 * n; i++)
        ed_exec_device(b->exec)->api->mark_free(ed_exec_device(b->exec)->handle, events[i]);
    free(events);
    free(graph);
    free(updates);
    return t;
}

static double time_teacher(bench *b)
{
    double seconds = 0;
    if (!b->teacher)
        return 0;
    bench_check(ed_exec_run(b->teacher, b->teacher_in, &b->logits));
    bench_check(ed_exec_time(&seconds, b->teacher, (int)b->steps));
    return 1e3 * seconds;
}

/* ---- what is printed ---- */

static const char *kind_of(const ed_step *s)
{
    return s->node ? s->node->op_type : "(change of layout)";
}

static void print_kinds(const ed_exec *exec)
{
    bool *done = need(calloc(exec->n_steps + 1, sizeof *done));
    double total = 0;
    for (size_t i = 0; i < exec->n_steps; i++)
        total += exec->steps[i].seconds;
    printf("by kind of the step's first node:\n");
    for (size_t i = 0; i < exec->n_steps; i++) {
        double seconds = 0;
        size_t count = 0;
        for (size_t k = i; k < exec->n_steps && !done[i]; k++) {
            if (strcmp(kind_of(&exec->steps[k]), kind_of(&exec->steps[i])) != 0 ||
                strcmp(exec->steps[k].name, exec->steps[i].name) != 0)
                continue;
            done[k] = k > i || done[k];
            seconds += exec->steps[k].seconds;
            count++;
        }
        if (count)
            printf("%9.3f ms %5.1f %%  %4zu  %s [%s]\n", 1e3 * seconds / (double)exec->runs,
                   total > 0 ? 100 * seconds / total : 0, count, kind_of(&exec->steps[i]),
                   exec->steps[i].name);
    }
    free(done);
}

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

static void print_all(const bench *b, const times *t, size_t device_bytes)
{
    const ed_exec_stats stats = ed_exec_get_stats(b->exec);
    size_t inputs = 0, state = 0;
    for (size_t i = 0; i < b->plan->graph->n_inputs; i++)
        inputs += b->views[i].nbytes;
    for (size_t i = 0; i < b->state->n_fields; i++)
        state += b->state->fields[i].tensor->nbytes;
    printf(
        "{\"milliseconds\": %.4f, \"graph_ms\": %.4f, \"update_ms\": %.4f, \"teacher_ms\": %.4f, "
        "\"images_per_second\": %.1f, \"steps\": %zu, \"host_steps\": %zu, \"reorders\": %zu, "
        "\"activations_mib\": %.1f, \"inputs_mib\": %.1f, \"packed_weights_mib\": %.1f, "
        "\"state_mib\": %.1f, \"device_mib\": %.1f}\n",
        t->step, t->graph, t->update, t->teacher, 1e3 * (double)b->batch / (t->step + t->teacher),
        stats.steps, stats.host_steps, stats.reorders, mib(stats.activation_bytes), mib(inputs),
        mib(stats.weight_bytes), mib(state), mib(device_bytes));
    if (has(b, "plan"))
        bench_check(ed_exec_print(b->exec, stdout));
    if (!has(b, "profile"))
        return;
    bench_check(ed_exec_print_profile(b->exec, stdout));
    print_kinds(b->exec);
}

static size_t free_memory(const char *device)
{
    ed_device_info info = { 0 };
    const ed_backend *api;
    int index;
    bench_check(ed_device_index(&index, device));
    bench_check(ed_backend_load(&api));
    bench_check(api->info(&info, index));
    return info.free_memory;
}

int main(int argc, char **argv)
{
    bench b = { .argc = argc, .argv = argv };
    if (argc < LEAST_ARGS || atoll(argv[3]) < 1 || atoll(argv[6]) < 1) {
        fprintf(stderr,
                "usage: bench_train_gpu MODEL_QDQ TEACHER|- BATCH DEVICE PRECISION STEPS [adamw] "
                "[ema|lsq] [memory=MIB] [tune] [deterministic] [plan] [profile]\n");
        return 2;
    }
    b.batch = atoll(argv[3]);
    b.steps = atoll(argv[6]);
    b.graph = read_model(argv[1]);
    read_settings(&b);
    size_t before = free_memory(argv[4]);
    ed_shape *shapes = need(calloc(ed_graph_input_count(b.graph), sizeof *shapes));
    bench_check(ed_exec_batch_shapes(shapes, b.graph, b.batch));
    make_plan(&b, shapes);
    make_teacher(&b, shapes);
    make_training(&b);
    const ed_device *d = ed_exec_device(b.exec);
    void *result = NULL;
    bench_check(d->api->alloc_host(d->handle, &result, sizeof(ed_device_updated)));
    times t = time_steps(&b, result);
    t.teacher = time_teacher(&b);
    print_all(&b, &t, before - free_memory(argv[4]));
    bench_check(d->api->sync(d->handle));
    d->api->free_host(d->handle, result);
    ed_device_state_free(b.there);
    ed_exec_free(b.exec);
    ed_exec_free(b.teacher);
    ed_train_state_free(b.state);
    ed_train_graph_free(b.plan);
    ed_graph_free(b.teacher_graph);
    ed_graph_free(b.graph);
    free(b.views);
    free(b.teacher_views);
    free(b.in);
    free(b.out);
    free(b.teacher_in);
    free(shapes);
    return 0;
}
