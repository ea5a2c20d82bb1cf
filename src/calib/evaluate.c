/*
 * Evaluation: models side by side over one pass of the data.
 *
 *   SQNR = 10 log10( sum a^2 / sum (a - b)^2 ), a of the first model, over the first output (or a
 * group's value), in double precision. top-k: the label's score is among the k largest; of equal
 * scores the lower class counts first. A row with NaN has no top class.
 */
#include "calib/calib.h"
#include "calib/runner.h"

#include "base/strmap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct noise {
    double signal, noise;
} noise;

typedef struct score {
    int64_t top1, top5, same;
    noise error;
    double max_abs, max_diff;
} score;

/* Values of the groups' outputs of model 0 for the present batch, and the noise of model 1's. */
typedef struct layers {
    size_t count;
    const char **values;
    float **copies;
    int64_t *sizes;
    noise *errors;
    ed_strmap index;
} layers;

typedef struct evaluation {
    const ed_graph *const *graphs;
    size_t count;
    ed_dataset *data;
    const ed_eval_options *opts;
    ed_runner *runners;
    score *scores;
    int64_t *first_top; /* [batch]: top class of the first model */
    int64_t samples;
    bool labelled;
    layers layers;
} evaluation;

static double decibel(const noise *e)
{
    return e->noise > 0 ? 10.0 * log10(e->signal / e->noise) : INFINITY;
}

static void add_noise(noise *e, const float *a, const float *b, int64_t n)
{
    double signal = 0, difference = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        signal += (double)a[i] * (double)a[i];
        difference += d * d;
    }
    e->signal += signal;
    e->noise += difference;
}

/* ---- groups ---- */

static int observe_first(void *ctx, const char *value, const float *data, int64_t n,
                         int64_t padding)
{
    layers *l = ctx;
    uint32_t i;
    (void)padding;
    if (!ed_strmap_get(&l->index, value, &i))
        return ED_OK;
    if (l->sizes[i] < n) {
        float *grown = ed_realloc(l->copies[i], (size_t)n, sizeof *grown);
        if (!grown)
            return ED_ENOMEM;
        l->copies[i] = grown;
    }
    l->sizes[i] = n;
    memcpy(l->copies[i], data, (size_t)n * sizeof *data);
    return ED_OK;
}

static int observe_second(void *ctx, const char *value, const float *data, int64_t n,
                          int64_t padding)
{
    layers *l = ctx;
    uint32_t i;
    (void)padding;
    if (ed_strmap_get(&l->index, value, &i) && l->sizes[i] == n)
        add_noise(&l->errors[i], l->copies[i], data, n);
    return ED_OK;
}

/* Outputs of the groups that both models compute. */
static int list_layers(evaluation *e)
{
    layers *l = &e->layers;
    size_t n = ed_graph_group_count(e->graphs[0]);
    l->values = ed_calloc(n, sizeof *l->values);
    l->copies = ed_calloc(n, sizeof(float *));
    l->sizes = ed_calloc(n, sizeof *l->sizes);
    l->errors = ed_calloc(n, sizeof *l->errors);
    if (!l->values || !l->copies || !l->sizes || !l->errors)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *value = ed_graph_group(e->graphs[0], i).output;
        for (size_t k = 0; k < ed_graph_group_count(e->graphs[1]); k++) {
            if (strcmp(ed_graph_group(e->graphs[1], k).output, value) != 0)
                continue;
            ED_TRY(ed_strmap_put(&l->index, value, (uint32_t)l->count));
            l->values[l->count++] = value;
            break;
        }
    }
    return ED_OK;
}

static int by_sqnr(const void *a, const void *b)
{
    double x = ((const ed_eval_group *)a)->sqnr_db, y = ((const ed_eval_group *)b)->sqnr_db;
    return (x > y) - (x < y);
}

static int report_layers(const evaluation *e)
{
    const layers *l = &e->layers;
    ed_eval_group *groups =
        calloc(l->count ? l->count : 1, sizeof *groups); /* the caller's free() */
    ED_FAIL_IF(!groups, ED_ENOMEM, "out of memory for %zu groups", l->count);
    for (size_t i = 0, k = 0; i < ed_graph_group_count(e->graphs[0]) && k < l->count; i++) {
        ed_group_info info = ed_graph_group(e->graphs[0], i);
        if (strcmp(info.output, l->values[k]) != 0)
            continue;
        snprintf(groups[k].name, sizeof groups[k].name, "%s %s", info.name, info.output);
        groups[k].sqnr_db = decibel(&l->errors[k]);
        k++;
    }
    qsort(groups, l->count, sizeof *groups, by_sqnr);
    *e->opts->groups = groups;
    *e->opts->group_count = l->count;
    return ED_OK;
}

static void clear_layers(layers *l)
{
    for (size_t i = 0; l->copies && i < l->count; i++)
        ed_free(l->copies[i]);
    ed_free(l->copies);
    ed_free(l->values);
    ed_free(l->sizes);
    ed_free(l->errors);
    ed_strmap_clear(&l->index);
}

/* ---- scores ---- */

static int64_t top_class(const float *row, int64_t classes)
{
    int64_t best = -1;
    for (int64_t c = 0; c < classes; c++) {
        if (isnan(row[c]))
            return -1;
        if (best < 0 || row[c] > row[best])
            best = c;
    }
    return best;
}

static bool in_top5(const float *row, int64_t classes, int64_t label)
{
    int64_t before = 0;
    for (int64_t c = 0; c < classes; c++) {
        if (isnan(row[c]))
            return false;
        before += row[c] > row[label] || (row[c] == row[label] && c < label);
    }
    return before < 5;
}

static int add_scores(evaluation *e, size_t m, const ed_batch *batch)
{
    score *s = &e->scores[m];
    const ed_tensor *first = e->runners[0].outputs[0], *out = e->runners[m].outputs[0];
    ED_FAIL_IF(
        out->dtype != ED_F32 || first->numel != out->numel || out->shape.rank < 1, ED_ESHAPE,
        "model %zu's first output is %s of %lld numbers, the first model's has %lld float32; "
        "compare models of the same task",
        m + 1, ed_dtype_name(out->dtype), (long long)out->numel, (long long)first->numel);
    const float *a = first->data, *b = out->data;
    int64_t classes = batch->size ? out->numel / batch->size : 0;
    add_noise(&s->error, a, b, out->numel);
    for (int64_t i = 0; i < out->numel; i++) {
        s->max_abs = fmax(s->max_abs, fabs((double)a[i]));
        s->max_diff = fmax(s->max_diff, fabs((double)a[i] - (double)b[i]));
    }
    for (int64_t i = 0; i < batch->size; i++) {
        int64_t top = top_class(b + i * classes, classes);
        if (m == 0)
            e->first_top[i] = top;
        s->same += top == e->first_top[i];
        if (!batch->labels)
            continue;
        int64_t label = batch->labels[i];
        ED_FAIL_IF(label < 0 || label >= classes, ED_EFORMAT,
                   "%s: label %lld of sample %lld is out of range; the model has classes 0 to %lld",
                   ed_dataset_name(e->data), (long long)label, (long long)(e->samples + i),
                   (long long)classes - 1);
        s->top1 += top == label;
        s->top5 += in_top5(b + i * classes, classes, label);
    }
    return ED_OK;
}

static int tell(const evaluation *e)
{
    const ed_eval_options *o = e->opts;
    int64_t total = ed_dataset_count(e->data);
    ED_FAIL_IF(o && o->progress && o->progress(o->progress_ctx, "samples", e->samples, total),
               ED_EINTR, "evaluation was stopped after %lld of %lld samples", (long long)e->samples,
               (long long)total);
    return ED_OK;
}

static int start(evaluation *e)
{
    bool with_layers = e->opts && e->opts->groups && e->count > 1;
    e->runners = ed_calloc(e->count, sizeof *e->runners);
    e->scores = ed_calloc(e->count, sizeof *e->scores);
    e->first_top = ed_calloc((size_t)ed_dataset_batch_size(e->data), sizeof *e->first_top);
    if (!e->runners || !e->scores || !e->first_top)
        return ED_ENOMEM;
    if (with_layers)
        ED_TRY(list_layers(e));
    for (size_t m = 0; m < e->count; m++) {
        ed_exec_options exec = { .device = e->opts ? e->opts->device : NULL };
        bool observed = with_layers && m < 2;
        if (observed) {
            exec.observed = e->layers.values;
            exec.observed_count = e->layers.count;
            exec.observe_plain = true;
        }
        ED_TRY(ed_runner_init(&e->runners[m], e->graphs[m], e->data, &exec,
                              !observed ? NULL
                              : m == 0  ? observe_first
                                        : observe_second,
                              &e->layers));
    }
    return ED_OK;
}

static int run(evaluation *e)
{
    ED_TRY(ed_dataset_rewind(e->data));
    ED_TRY(tell(e));
    for (;;) {
        ed_batch batch;
        ED_TRY(ed_dataset_next(e->data, &batch));
        if (!batch.size)
            return ED_OK;
        e->labelled = batch.labels != NULL;
        for (size_t m = 0; m < e->count; m++) {
            ED_TRY(ed_runner_run(&e->runners[m], &batch));
            ED_TRY(add_scores(e, m, &batch));
        }
        e->samples += batch.size;
        ED_TRY(tell(e));
    }
}

static void report(ed_eval_result *results, const evaluation *e)
{
    double percent = e->samples ? 100.0 / (double)e->samples : 0.0;
    for (size_t m = 0; m < e->count; m++) {
        const score *s = &e->scores[m];
        results[m] = (ed_eval_result){
            .samples = e->samples,
            .top1 = e->labelled ? (double)s->top1 * percent : -1.0,
            .top5 = e->labelled ? (double)s->top5 * percent : -1.0,
            .agreement = (double)s->same * percent,
            .sqnr_db = decibel(&s->error),
            .max_rel = s->max_abs > 0 ? s->max_diff / s->max_abs : s->max_diff,
        };
    }
}

int ed_evaluate(ed_eval_result *results, const ed_graph *const *graphs, size_t count,
                ed_dataset *data, const ed_eval_options *opts)
{
    evaluation e = { .graphs = graphs, .count = count, .data = data, .opts = opts };
    int rc = start(&e);
    if (rc == ED_OK)
        rc = run(&e);
    if (rc == ED_OK)
        report(results, &e);
    if (rc == ED_OK && opts && opts->groups)
        rc = report_layers(&e);
    for (size_t m = 0; e.runners && m < count; m++)
        ed_runner_clear(&e.runners[m]);
    clear_layers(&e.layers);
    ed_free(e.runners);
    ed_free(e.scores);
    ed_free(e.first_top);
    return rc;
}
