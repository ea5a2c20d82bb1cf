/*
 * Our half of bench_train.py: steps of quantization-aware training of a model as ed-calibrate
 * writes it, with an update after each, by the labels, on the CPU.
 *
 *   bench_train MODEL BATCH STEPS INPUT.f32 LABELS.i64 [plan|profile]
 *
 * INPUT.f32 holds samples of the only input as raw float32, LABELS.i64 one class for each: whole
 * batches of them, taken in turn. The gradients of a small batch are first compared with those of
 * the reference kernels, with 256 times as many levels: kernels sum in different orders, and where
 * that moves a value to the next of 256 levels, gradients differ by percents. Then STEPS steps run,
 * and again each time a line comes in; a line with their least and median seconds and the last loss
 * follows every time. With `profile` the seconds by kind of step and by step come last.
 */
#include "bench.h"

#include "exec/exec_impl.h"
#include "qat/state.h"

#include <ed/onnx.h>

#include <math.h>
#include <string.h>

enum { CHECKED = 8, FINER = 256 }; /* samples and levels of the comparison */
static const double allowed = 5e-2;

/* A training graph with its parameters, compiled. */
typedef struct training {
    ed_train_graph *plan;
    ed_train_state *state;
    ed_exec *exec;
    const ed_tensor **inputs, **outputs;
    double *least, update; /* seconds: of every step of the plan, and of the parameters' update */
} training;

/* The samples; a batch is a view of them. */
typedef struct samples {
    float *x;
    int64_t *labels;
    int64_t count, numel; /* numel: of one */
} samples;

static void *checked(void *p)
{
    if (p)
        return p;
    fprintf(stderr, "bench_train: out of memory\n");
    exit(1);
}

static training compile(ed_graph *model, const ed_qat_settings *settings, int64_t batch,
                        bool reference)
{
    training t = { 0 };
    ed_shape shape;
    bench_check(ed_exec_batch_shapes(&shape, model, batch));
    const ed_train_spec spec = { .shapes = &shape,
                                 .loss = ED_LOSS_LABELS,
                                 .opts = &settings->opts };
    bench_check(ed_train_graph_new(&t.plan, model, &spec));
    bench_check(ed_train_state_new(&t.state, t.plan, model, settings));
    const ed_graph *g = t.plan->graph;
    ed_shape *shapes = checked(calloc(g->n_inputs, sizeof *shapes));
    t.inputs = checked(calloc(g->n_inputs, sizeof(void *)));
    t.outputs = checked(calloc(g->n_outputs, sizeof(void *)));
    for (size_t i = 0; i < g->n_inputs; i++)
        shapes[i] = g->values[g->inputs[i]].shape;
    for (size_t i = 0; i < t.plan->n_params; i++)
        t.inputs[t.plan->first_param + i] = t.state->inputs[i];
    const ed_exec_options options = { .reference = reference };
    bench_check(ed_exec_new(&t.exec, g, shapes, &options));
    free(shapes);
    t.least = checked(malloc((t.exec->n_steps + 1) * sizeof *t.least));
    for (size_t i = 0; i < t.exec->n_steps; i++)
        t.least[i] = INFINITY;
    t.update = INFINITY;
    return t;
}

static void release(training *t)
{
    ed_exec_free(t->exec);
    ed_train_state_free(t->state);
    ed_train_graph_free(t->plan);
    free(t->inputs);
    free(t->outputs);
    free(t->least);
}

/* Loss and gradients of the batch that begins at a sample. */
static double run(training *t, const samples *s, int64_t first)
{
    const ed_graph *g = t->plan->graph;
    ed_tensor x, labels;
    bench_check(
        ed_tensor_view(&x, ED_F32, &g->values[g->inputs[0]].shape, s->x + first * s->numel));
    bench_check(ed_tensor_view(&labels, ED_I64, &ED_SHAPE(t->plan->batch), s->labels + first));
    t->inputs[0] = &x;
    t->inputs[t->plan->labels] = &labels;
    bench_check(ed_exec_run(t->exec, t->inputs, t->outputs));
    return (double)*(const float *)t->outputs[ED_TRAIN_LOSS]->data;
}

/* ---- the check ---- */

static double relative_norm(const ed_tensor *a, const ed_tensor *b)
{
    const float *x = a->data, *y = b->data;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < a->numel; i++) {
        error += pow((double)x[i] - (double)y[i], 2);
        norm += pow((double)y[i], 2);
    }
    return norm > 0 ? sqrt(error / norm) : error > 0 ? INFINITY : 0;
}

static bool is_scale(const ed_graph *g, const ed_value *v)
{
    for (size_t i = 0; i < v->use_count; i++) {
        const ed_node *node = &g->nodes[v->uses[i]];
        if (ed_is_quantizer(node) && &g->values[node->in[1]] == v)
            return true;
    }
    return false;
}

/* The same ranges in finer levels. */
static void refine(ed_graph *g)
{
    for (size_t i = 0; i < g->n_values; i++) {
        const ed_value *v = &g->values[i];
        if (!v->constant || !is_scale(g, v))
            continue;
        for (int64_t k = 0; k < v->constant->numel; k++)
            ((float *)v->constant->data)[k] /= FINER;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ed_node *node = &g->nodes[i];
        if (node->dead || !ed_is_quantizer(node))
            continue;
        int64_t qmin = ed_quantizer_attr(node, "qmin", -128);
        int64_t qmax = ed_quantizer_attr(node, "qmax", 127);
        bench_check(ed_node_set_int(g, (ed_id)i, "qmin", FINER * qmin));
        bench_check(ed_node_set_int(g, (ed_id)i, "qmax", FINER * qmax));
    }
}

static double compare_with_reference(const char *path, const ed_qat_settings *settings,
                                     const samples *s)
{
    ed_graph *model = NULL;
    bench_check(ed_onnx_read(&model, path));
    refine(model);
    int64_t batch = s->count < CHECKED ? s->count : CHECKED;
    training fast = compile(model, settings, batch, false);
    training reference = compile(model, settings, batch, true);
    double worst = 0;
    run(&fast, s, 0);
    run(&reference, s, 0);
    for (size_t i = 0; i < fast.plan->graph->n_outputs; i++) {
        double error = relative_norm(fast.outputs[i], reference.outputs[i]);
        worst = error > worst || isnan(error) ? error : worst;
    }
    release(&fast);
    release(&reference);
    ed_graph_free(model);
    return worst;
}

/* ---- timed steps ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Other work on the machine only adds: the least seconds are the program's own. */
static void keep_least(training *t, double update)
{
    for (size_t i = 0; i < t->exec->n_steps; i++) {
        ed_step *s = &t->exec->steps[i];
        t->least[i] = fmin(t->least[i], s->seconds);
        s->seconds = 0;
    }
    t->update = fmin(t->update, update);
}

static void time_steps(training *t, const samples *s, int64_t steps, double rate)
{
    double *seconds = checked(calloc((size_t)steps, sizeof *seconds)), loss = 0;
    int64_t batches = s->count / t->plan->batch;
    for (int64_t i = 0; i < steps; i++) {
        double begin = bench_seconds();
        loss = run(t, s, i % batches * t->plan->batch);
        double ran = bench_seconds();
        ed_state_add(t->state, t->outputs);
        bench_check(ed_state_update(t->state, rate));
        double end = bench_seconds();
        seconds[i] = end - begin;
        keep_least(t, end - ran);
    }
    qsort(seconds, (size_t)steps, sizeof *seconds, ascending);
    printf("%.6f %.6f %.6f\n", seconds[0], seconds[steps / 2], loss);
    fflush(stdout);
    free(seconds);
}

/* ---- the profile ---- */

typedef struct kind {
    const char *op_type, *row;
    size_t steps;
    double seconds;
} kind;

static int slowest_first(const void *a, const void *b)
{
    return -ascending(&((const kind *)a)->seconds, &((const kind *)b)->seconds);
}

static void print_profile(training *t)
{
    ed_exec *x = t->exec;
    kind *kinds = checked(calloc(x->n_steps, sizeof *kinds));
    double total = t->update;
    size_t n = 0, k;
    for (size_t i = 0; i < x->n_steps; i++) {
        ed_step *s = &x->steps[i];
        const char *op_type = s->node ? s->node->op_type : "layout";
        for (k = 0; k < n; k++)
            if (strcmp(kinds[k].op_type, op_type) == 0 && strcmp(kinds[k].row, s->name) == 0)
                break;
        n += k == n;
        kinds[k].op_type = op_type;
        kinds[k].row = s->name;
        kinds[k].steps++;
        kinds[k].seconds += s->seconds = t->least[i];
        total += s->seconds;
    }
    qsort(kinds, n, sizeof *kinds, slowest_first);
    printf("seconds of a step, share, steps, kind\n");
    for (k = 0; k < n; k++)
        printf("%9.6f %5.1f %% %4zu  %s [%s]\n", kinds[k].seconds, 100 * kinds[k].seconds / total,
               kinds[k].steps, kinds[k].op_type, kinds[k].row);
    printf("%9.6f %5.1f %%       update of the parameters\n", t->update, 100 * t->update / total);
    free(kinds);
    bench_check(ed_exec_print_profile(x, stdout));
}

/* ---- samples ---- */

static void *read_file(const char *path, size_t *bytes)
{
    char *data = NULL;
    size_t got;
    FILE *file = fopen(path, "rb");
    *bytes = 0;
    do {
        data = checked(realloc(data, *bytes + (1u << 20)));
        got = file ? fread(data + *bytes, 1, 1u << 20, file) : 0;
        *bytes += got;
    } while (got);
    if (file)
        fclose(file);
    return data;
}

static samples read_samples(char **paths, const ed_graph *model, int64_t batch)
{
    samples s = { 0 };
    ed_shape shape;
    size_t x_bytes, label_bytes;
    bench_check(ed_exec_batch_shapes(&shape, model, 1));
    bench_check(ed_shape_numel(&s.numel, &shape));
    s.x = read_file(paths[0], &x_bytes);
    s.labels = read_file(paths[1], &label_bytes);
    s.count = (int64_t)(label_bytes / sizeof *s.labels);
    if (s.count < batch || x_bytes != (size_t)(s.count * s.numel) * sizeof *s.x) {
        fprintf(stderr,
                "bench_train: '%s' has %lld labels, '%s' %zu bytes; at least a batch of %lld "
                "samples of %lld numbers is expected\n",
                paths[1], (long long)s.count, paths[0], x_bytes, (long long)batch,
                (long long)s.numel);
        exit(1);
    }
    return s;
}

int main(int argc, char **argv)
{
    char line[64];
    ed_graph *model = NULL;
    ed_qat_settings settings;
    int64_t batch = argc > 5 ? atoll(argv[2]) : 0, steps = argc > 5 ? atoll(argv[3]) : 0;
    if (batch < 1 || steps < 1) {
        fprintf(stderr, "usage: bench_train MODEL BATCH STEPS INPUT.f32 LABELS.i64 "
                        "[plan|profile]\n");
        return 2;
    }
    bench_check(ed_onnx_read(&model, argv[1]));
    if (ed_graph_input_count(model) != 1)
        return 2;
    bench_check(ed_qat_options_read(&settings, NULL));
    samples s = read_samples(&argv[4], model, batch);
    double error = compare_with_reference(argv[1], &settings, &s);
    if (!(error <= allowed)) {
        fprintf(stderr,
                "bench_train: gradients differ from the reference's by %.2e relative; at most %g "
                "is allowed\n",
                error, allowed);
        return 1;
    }
    double begin = bench_seconds();
    training t = compile(model, &settings, batch, false);
    printf("compile %.3f s, gradients' largest difference %.1e, arena %.1f MB\n",
           bench_seconds() - begin, error,
           1e-6 * (double)ed_exec_get_stats(t.exec).activation_bytes);
    do
        time_steps(&t, &s, steps, settings.opts.learning_rate);
    while (fgets(line, sizeof line, stdin));
    if (argc > 6 && strcmp(argv[6], "plan") == 0)
        bench_check(ed_exec_print(t.exec, stdout));
    if (argc > 6 && strcmp(argv[6], "profile") == 0)
        print_profile(&t);
    release(&t);
    free(s.x);
    free(s.labels);
    ed_graph_free(model);
    return 0;
}
