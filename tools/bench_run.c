/*
 * The comparison: one pass of calibration for all methods, training, evaluation side by side.
 */
#include "bench.h"
#include "qat_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GROUP_SAMPLES = 512 }; /* enough for a sum of squares; every value is read back */

/* What the report does not need. */
typedef struct job {
    const settings *s;
    bench *b;
    const char *methods[BENCH_MAX_METHODS];
    ed_dataset *data; /* the one that is read now */
    int64_t batch;
    ed_calib_options calib;
    bool incomplete; /* memory ran out while training was watched */
} job;

bool bench_prints_json(const settings *s)
{
    return s->json_file && !strcmp(s->json_file, "-");
}

bool bench_wants_details(const settings *s)
{
    return s->html || s->json_file;
}

/* The method whose name is the first n characters of `text`. */
static const ed_method *find_method(const char *text, size_t n)
{
    const ed_method *method = NULL;
    for (size_t i = 0; (method = ed_method_at(i)) != NULL; i++)
        if (strlen(method->name) == n && !strncmp(method->name, text, n))
            break;
    return method;
}

static bool say_unknown(char *text, size_t size, const char *name, size_t length)
{
    snprintf(text, size, "--methods: `%.*s' is unknown; choose from:", (int)length, name);
    for (size_t i = 0; ed_method_at(i); i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s %s", i ? "," : "", ed_method_at(i)->name);
    }
    return false;
}

bool bench_methods(const char **names, size_t *n, const char *list, char *text, size_t size)
{
    *n = 0;
    for (size_t i = 0; !list && i < BENCH_MAX_METHODS && ed_method_at(i); i++)
        names[(*n)++] = ed_method_at(i)->name;
    while (list) {
        size_t length = strcspn(list, ",");
        const ed_method *method = find_method(list, length);
        if (!method || *n == BENCH_MAX_METHODS)
            return say_unknown(text, size, list, length);
        for (size_t i = 0; i < *n; i++) {
            if (names[i] == method->name) {
                snprintf(text, size, "--methods: `%s' is there twice", method->name);
                return false;
            }
        }
        names[(*n)++] = method->name;
        list = list[length] ? list + length + 1 : NULL;
    }
    return true;
}

/* ---- data ---- */

static int open_data(job *j, const char *path, int64_t limit)
{
    const ed_dataset_options options = { .batch = j->batch,
                                         .limit = limit,
                                         .allow_nonfinite = j->s->allow_nonfinite };
    ed_dataset_close(j->data);
    j->data = NULL;
    TRY(ed_dataset_open(&j->data, path, j->b->graphs[0], &options));
    j->batch = ed_dataset_batch_size(j->data);
    if (j->batch > ed_dataset_count(j->data))
        j->batch = ed_dataset_count(j->data);
    return ED_OK;
}

/* ---- calibration ---- */

static int allocate(job *j)
{
    bench *b = j->b;
    char unused[1];
    bench_methods(j->methods, &b->methods, j->s->methods, unused, sizeof unused);
    b->count = 1 + b->methods + (b->train ? 1 : 0);
    b->models = calloc(b->count, sizeof *b->models);
    b->ranges = calloc(b->methods, sizeof(ed_ranges *));
    b->times = calloc(b->methods, sizeof *b->times);
    b->graphs = calloc(b->count, sizeof(ed_graph *));
    if (!b->models || !b->ranges || !b->times || !b->graphs)
        return tool_fail(ED_ENOMEM, "memory ran out");
    b->models[0].name = "float";
    for (size_t m = 0; m < b->methods; m++)
        b->models[1 + m].name = j->methods[m];
    if (b->train)
        b->models[b->count - 1].name = "QAT";
    return ED_OK;
}

static int prepare(job *j)
{
    const settings *s = j->s;
    bench *b = j->b;
    TRY(allocate(j));
    TRY(tool_device(&b->device, s->device));
    j->calib = tool_calib_options(s);
    j->calib.device = b->device;
    j->calib.keep_observations = bench_wants_details(s);
    j->calib.times = b->times;
    TRY(ed_onnx_read(&b->graphs[0], b->model));
    j->batch = tool_batch(s->batch, b->graphs[0], b->device);
    TRY(open_data(j, b->calib, s->limit));
    TRY(tool_plan(&j->b->plan, &j->b->source, b->graphs[0], s));
    if (!ed_plan_point_count(j->b->plan))
        return tool_fail(ED_EUNSUPPORTED,
                         "%s: nothing in it can be quantized; ed-calibrate --verbose says why",
                         b->model);
    b->target = ed_plan_target(j->b->plan);
    for (size_t i = 0; i < ed_plan_point_count(j->b->plan); i++) {
        const ed_qdq_point *point = ed_plan_point(j->b->plan, i);
        *(point->weight ? &b->weight_bits : &b->activation_bits) = point->bits;
    }
    return tool_interrupted();
}

static int run_pass(job *j)
{
    bench *b = j->b;
    return ed_calibrate_methods(b->ranges, b->graphs[0], b->plan, j->data, &j->calib, j->methods,
                                b->methods);
}

static int calibrate(job *j)
{
    bench *b = j->b;
    int rc = run_pass(j);
    while (tool_smaller_batch(&j->batch, rc, b->graphs[0], b->device)) {
        TRY(open_data(j, b->calib, j->s->limit));
        rc = run_pass(j);
    }
    TRY(rc);
    b->calib_samples = ed_dataset_count(j->data);
    b->nonfinite = ed_dataset_nonfinite(j->data);
    if (b->nonfinite)
        tool_warn("%s: %lld NaN or infinite inputs were left out of the histograms", b->calib,
                  (long long)b->nonfinite);
    for (size_t m = 0; m < b->methods; m++) {
        b->models[1 + m].seconds = b->times[m].compile + b->times[m].pass + b->times[m].search;
        TRY(ed_calibrate_apply(j->b->plan, b->graphs[0], b->ranges[m], &j->calib));
        TRY(ed_graph_clone(&b->graphs[1 + m], b->graphs[0]));
        TRY(ed_plan_apply_phases(j->b->plan, b->graphs[1 + m], ED_PHASE_QUANTIZE,
                                 ED_PHASE_QUANTIZE));
        TRY(ed_target_check(b->graphs[1 + m], j->s->target));
    }
    return tool_interrupted();
}

/* ---- training ---- */

static bool keep(bench_curve *curve, const ed_qat_report *point)
{
    if (curve->count == curve->capacity) {
        size_t capacity = curve->capacity ? 2 * curve->capacity : 256;
        ed_qat_report *grown = realloc(curve->points, capacity * sizeof *grown);
        if (!grown)
            return false;
        curve->points = grown;
        curve->capacity = capacity;
    }
    curve->points[curve->count++] = *point;
    return true;
}

static int watch(void *ctx, const ed_qat_report *report)
{
    job *j = ctx;
    j->incomplete = !keep(report->epoch_end ? &j->b->epochs : &j->b->steps, report);
    return j->incomplete || qat_progress(NULL, report);
}

static int open_training(ed_dataset **out, const job *j, const char *path, int64_t limit, bool val)
{
    ed_qat_options standard = { 0 };
    ed_qat_defaults(&standard);
    ed_dataset_options options = { .batch = j->s->train_batch,
                                   .limit = limit,
                                   .need_labels = val,
                                   .allow_nonfinite = j->s->allow_nonfinite };
    if (!options.batch && !tool_fixed_batch(j->b->graphs[0]))
        options.batch = standard.batch;
    return ed_dataset_open(out, path, j->b->graphs[0], &options);
}

static int train_on(job *j, ed_graph *graph, ed_dataset *data, ed_dataset *val)
{
    ed_qat_options options = tool_qat_options(j->s);
    ed_qat_result result;
    options.device = j->b->device;
    options.report = watch;
    options.report_ctx = j;
    TRY(ed_qat_train(&result, graph, j->b->graphs[0], data, val, &options));
    if (j->incomplete)
        return tool_fail(ED_ENOMEM, "memory ran out");
    if (result.best_epoch == ED_QAT_START)
        tool_note("QAT: none of the epochs was better on --val than the calibrated model, which "
                  "stands in its row");
    return tool_interrupted();
}

static int train(job *j)
{
    bench *b = j->b;
    ed_dataset *data = NULL, *val = NULL;
    ed_graph **graph = &b->graphs[b->count - 1];
    double start = tool_seconds();
    TRY(ed_graph_clone(graph, b->graphs[1]));
    int rc = open_training(&data, j, b->train, j->s->limit, false);
    if (rc == ED_OK && b->val)
        rc = open_training(&val, j, b->val, 0, true);
    if (rc == ED_OK)
        rc = train_on(j, *graph, data, val);
    b->train_samples = data ? ed_dataset_count(data) : 0;
    ed_dataset_close(data);
    ed_dataset_close(val);
    b->models[b->count - 1].seconds = tool_seconds() - start;
    return rc;
}

/* ---- evaluation ---- */

static int evaluate(job *j, ed_eval_result *results, const ed_graph *const *graphs, size_t n,
                    int64_t limit, ed_eval_options *options)
{
    options->device = j->b->device;
    options->precision = j->s->precision;
    options->autotune = j->s->autotune;
    options->progress = tool_progress;
    j->batch = tool_batch(j->s->batch, j->b->graphs[0], j->b->device); /* not that of other data */
    TRY(open_data(j, j->b->test, limit));
    int rc = ed_evaluate(results, graphs, n, j->data, options);
    while (tool_smaller_batch(&j->batch, rc, j->b->graphs[0], j->b->device)) {
        TRY(open_data(j, j->b->test, limit));
        rc = ed_evaluate(results, graphs, n, j->data, options);
    }
    return rc;
}

static int evaluate_all(job *j)
{
    bench *b = j->b;
    ed_eval_options options = { 0 };
    ed_eval_result *results = calloc(b->count, sizeof *results);
    if (!results)
        return tool_fail(ED_ENOMEM, "memory ran out");
    double start = tool_seconds();
    int rc =
        evaluate(j, results, (const ed_graph *const *)b->graphs, b->count, j->s->limit, &options);
    b->evaluation = tool_seconds() - start;
    for (size_t i = 0; i < b->count; i++)
        b->models[i].result = results[i];
    free(results);
    if (rc == ED_OK && ed_dataset_nonfinite(j->data))
        tool_warn("%s: %lld inputs are NaN or infinite", b->test,
                  (long long)ed_dataset_nonfinite(j->data));
    return rc;
}

/* The groups of model i against float, into a member of the rows; the first call makes them. */
static int measure_groups(job *j, size_t i, bool trained)
{
    bench *b = j->b;
    const ed_graph *pair[] = { b->graphs[0], b->graphs[i] };
    ed_eval_group *groups = NULL;
    ed_eval_result results[2];
    size_t n = 0;
    ed_eval_options options = { .groups = &groups, .group_count = &n };
    int64_t limit = j->s->limit && j->s->limit < GROUP_SAMPLES ? j->s->limit : GROUP_SAMPLES;
    TRY(evaluate(j, results, pair, 2, limit, &options));
    if (!b->groups)
        b->groups = calloc(n + 1, sizeof *b->groups);
    int rc = b->groups ? ED_OK : tool_fail(ED_ENOMEM, "memory ran out");
    for (size_t k = 0; rc == ED_OK && k < n; k++) {
        const ed_group_info info = ed_graph_group(b->graphs[0], groups[k].group);
        if (!trained)
            b->groups[b->group_count++] = (bench_group){ info, groups[k].sqnr_db, NAN };
        for (size_t g = 0; trained && g < b->group_count; g++)
            if (!strcmp(b->groups[g].info.name, info.name))
                b->groups[g].trained = groups[k].sqnr_db;
    }
    free(groups);
    b->group_samples = results[0].samples;
    return rc;
}

static int measure_details(job *j)
{
    TRY(measure_groups(j, 1, false));
    if (j->b->train)
        TRY(measure_groups(j, j->b->count - 1, true));
    return bench_list_values(j->b);
}

/* ---- all of it ---- */

static int describe(bench *b)
{
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(b->date, sizeof b->date, "%Y-%m-%d %H:%M", &local);
    ed_device_row *rows = NULL;
    const char *why;
    size_t n = 0;
    TRY(ed_devices(&rows, &n, &why));
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(b->device);
        bool same =
            !strcmp(rows[i].name, b->device) ||
            (!strncmp(rows[i].name, b->device, length) && !strcmp(rows[i].name + length, ":0"));
        if (same)
            snprintf(b->device_text, sizeof b->device_text, "%s", rows[i].description);
    }
    free(rows);
    return ED_OK;
}

static int run(job *j)
{
    TRY(prepare(j));
    TRY(calibrate(j));
    if (j->b->train)
        TRY(train(j));
    TRY(evaluate_all(j));
    if (bench_wants_details(j->s))
        TRY(measure_details(j));
    return describe(j->b);
}

/* The library's default for weights: the first row that is for them. */
static const char *weight_method(void)
{
    size_t i = 0;
    while (ed_method_at(i) && !ed_method_at(i)->weights)
        i++;
    return ed_method_at(i)->name;
}

int bench_run(bench *b, const char *model, const settings *s)
{
    job j = { .s = s, .b = b };
    *b = (bench){ .model = model,
                  .calib = s->data,
                  .test = s->test,
                  .train = s->train,
                  .val = s->val,
                  .precision = s->precision,
                  .weight_method = s->weight_method ? s->weight_method : weight_method() };
    int rc = run(&j);
    ed_dataset_close(j.data);
    return rc;
}

void bench_free(bench *b)
{
    for (size_t m = 0; b->ranges && m < b->methods; m++)
        ed_ranges_free(b->ranges[m]);
    ed_plan_free(b->plan);
    ed_graph_free(b->source);
    for (size_t i = 0; b->graphs && i < b->count; i++)
        ed_graph_free(b->graphs[i]);
    free(b->graphs);
    free(b->models);
    free(b->ranges);
    free(b->times);
    free(b->groups);
    free(b->values);
    free(b->sqnr);
    free(b->steps.points);
    free(b->epochs.points);
}
