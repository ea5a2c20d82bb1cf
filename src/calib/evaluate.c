/*
 * Evaluation: models side by side over one pass of the data.
 *
 *   SQNR = 10 log10( sum a^2 / sum (a - b)^2 ), a of the first model, over the first output (or a
 * group's value), in double precision. top-k: the label's score is among the k largest; of equal
 * scores the lower class counts first. A row with NaN has no top class. Accuracies are of the
 * samples that have a label.
 */
#include "calib/calib.h"
#include "calib/evaluate.h"
#include "calib/runner.h"
#include "data/labels.h"

#include <math.h>

typedef struct score {
    int64_t top1, top5, same;
    ed_noise error;
    double max_abs, max_diff;
} score;

typedef struct evaluation {
    const ed_graph *const *graphs;
    size_t count;
    ed_dataset *data;
    const ed_eval_options *opts;
    ed_runner *runners;
    score *scores;
    int64_t *first_top; /* [batch]: top class of the first model */
    int64_t samples, labelled;
    ed_layers layers;
} evaluation;

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
    char shape[128], wanted[128];
    ED_FAIL_IF(out->dtype != ED_F32 || out->shape.rank < 1 || out->shape.dim[0] != batch->size,
               ED_ESHAPE,
               "model %zu's first output is %s%s; evaluation needs float32 with one row for each "
               "of the batch's %lld samples",
               m + 1, ed_dtype_name(out->dtype), ed_shape_format(shape, sizeof shape, &out->shape),
               (long long)batch->size);
    ED_FAIL_IF(first->numel != out->numel, ED_ESHAPE,
               "model %zu's first output is %s, the first model's is %s; compare models of the "
               "same task",
               m + 1, ed_shape_format(shape, sizeof shape, &out->shape),
               ed_shape_format(wanted, sizeof wanted, &first->shape));
    const float *a = first->data, *b = out->data;
    int64_t classes = batch->size ? out->numel / batch->size : 0;
    ed_noise_add(&s->error, a, b, out->numel);
    for (int64_t i = 0; i < out->numel; i++) {
        s->max_abs = isfinite(a[i]) ? fmax(s->max_abs, fabs((double)a[i])) : s->max_abs;
        double d = fabs(ed_difference(a[i], b[i]));
        s->max_diff = isnan(d) ? INFINITY : fmax(s->max_diff, d);
    }
    ED_TRY(ed_check_labels(e->data, batch, e->samples, classes));
    for (int64_t i = 0; i < batch->size; i++) {
        int64_t top = ed_top_class(b + i * classes, classes);
        if (m == 0)
            e->first_top[i] = top;
        s->same += top == e->first_top[i];
        int64_t label = batch->labels ? batch->labels[i] : ED_NO_LABEL;
        if (label == ED_NO_LABEL)
            continue;
        e->labelled += m == 0;
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
        ED_TRY(ed_layers_init(&e->layers, e->graphs[0], e->graphs[1]));
    for (size_t m = 0; m < e->count; m++) {
        ed_exec_options exec = { 0 };
        if (e->opts) {
            exec.device = e->opts->device;
            exec.precision = e->opts->precision;
            exec.autotune = e->opts->autotune;
        }
        bool observed = with_layers && m < 2;
        if (observed) {
            exec.observed = e->layers.values;
            exec.observed_count = e->layers.count;
            exec.observe_plain = true;
        }
        ED_TRY(ed_runner_init(&e->runners[m], e->graphs[m], e->data, &exec,
                              !observed ? NULL
                              : m == 0  ? ed_layers_see_first
                                        : ed_layers_see_second,
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
    double hit = e->labelled ? 100.0 / (double)e->labelled : 0.0;
    for (size_t m = 0; m < e->count; m++) {
        const score *s = &e->scores[m];
        results[m] = (ed_eval_result){
            .samples = e->samples,
            .top1 = e->labelled ? (double)s->top1 * hit : -1.0,
            .top5 = e->labelled ? (double)s->top5 * hit : -1.0,
            .agreement = (double)s->same * percent,
            .sqnr_db = ed_noise_decibel(&s->error),
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
        rc = ed_layers_report(opts->groups, opts->group_count, &e.layers, graphs[0]);
    for (size_t m = 0; e.runners && m < count; m++)
        ed_runner_clear(&e.runners[m]);
    ed_layers_clear(&e.layers);
    ed_free(e.runners);
    ed_free(e.scores);
    ed_free(e.first_top);
    return rc;
}
