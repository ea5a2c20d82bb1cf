/*
 * The report of ed-qat: progress, a line for each epoch, in the end the accuracies.
 */
#include "qat_report.h"

#include <jansson.h>
#include <math.h>

/* ---- while it trains ---- */

static void tell_epoch(const ed_qat_report *r)
{
    char accuracy[32] = "", validation[64] = "";
    if (r->accuracy >= 0)
        snprintf(accuracy, sizeof accuracy, ", top-1 %.2f %%", r->accuracy);
    if (r->val_accuracy >= 0)
        snprintf(validation, sizeof validation, "; validation: loss %.4f, top-1 %.2f %%",
                 r->val_loss, r->val_accuracy);
    tool_note("epoch %lld of %lld: loss %.4f%s%s; %.0f images/s", (long long)r->epoch + 1,
              (long long)r->epochs, r->loss, accuracy, validation, r->images_per_second);
}

int qat_progress(void *ctx, const ed_qat_report *r)
{
    char tail[96];
    (void)ctx;
    if (r->epoch_end)
        tell_epoch(r);
    else if (r->accuracy >= 0)
        snprintf(tail, sizeof tail, "loss %.4f  top-1 %.1f %%  %.0f images/s", r->loss, r->accuracy,
                 r->images_per_second);
    else
        snprintf(tail, sizeof tail, "loss %.4f  %.0f images/s", r->loss, r->images_per_second);
    if (!r->epoch_end)
        progress_tell("steps", r->step, r->steps, tail);
    return tool_interrupted() != ED_OK;
}

/* ---- in the end ---- */

static int print_rows(const qat_report *r, FILE *out)
{
    table *t = table_new("lrrrr");
    static const char *const titles[] = { "model", "top-1 %", "drop", "agreement %", "SQNR dB" };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(t, "%s", titles[i]);
    for (size_t i = 0; i < r->count; i++) {
        const ed_eval_result *one = &r->rows[i].result;
        bool first = i == 0;
        table_cell(t, "%s", r->rows[i].name);
        table_cell(t, "%.2f", one->top1);
        if (first) {
            table_cell(t, "-");
            table_cell(t, "-");
            table_cell(t, "-");
            continue;
        }
        table_cell(t, "%.2f", r->rows[0].result.top1 - one->top1);
        table_cell(t, "%.2f", one->agreement);
        table_cell(t, "%.2f", one->sqnr_db);
    }
    return table_print(t, out);
}

int qat_report_table(const qat_report *r, FILE *out)
{
    if (r->count) {
        TRY(print_rows(r, out));
        fprintf(out, "\n%lld samples of %s\n", (long long)r->rows[0].result.samples, r->val);
    }
    fprintf(out, "%lld steps", (long long)r->result->steps);
    if (isfinite(r->result->loss))
        fprintf(out, ", loss %.4f", r->result->loss);
    if (r->result->best_epoch >= 0)
        fprintf(out, ", epoch %lld was the best", (long long)r->result->best_epoch + 1);
    if (r->result->best_epoch == ED_QAT_START)
        fputs(", none of the epochs was better than the start, which is kept", out);
    fprintf(out, ", %.2f s\nwrote %s\n", r->seconds, r->output);
    return ED_OK;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* A number that may be asked to be none. */
static double some(double value)
{
    return value == ED_QAT_NONE ? 0 : value;
}

static json_t *training_json(const ed_qat_options *o)
{
    return json_pack("{sI sI sI ss sf sf sf ss sf sf ss sf sf sf}", "epochs", (json_int_t)o->epochs,
                     "batch", (json_int_t)o->batch, "accumulate", (json_int_t)o->accumulate,
                     "optimizer", o->optimizer, "learning_rate", o->learning_rate, "momentum",
                     some(o->momentum), "weight_decay", some(o->weight_decay), "schedule",
                     o->schedule, "warmup", o->warmup, "clip", o->clip, "loss", o->loss,
                     "temperature", o->temperature, "alpha", some(o->alpha), "label_smoothing",
                     o->label_smoothing);
}

static json_t *options_json(const ed_qat_options *o)
{
    json_t *freeze = json_array(), *all = training_json(o);
    for (size_t i = 0; i < o->freeze_count; i++)
        json_array_append_new(freeze, json_string(o->freeze[i]));
    json_t *rest = json_pack(
        "{ss ss sf ss so sI sb sI sI sI ss ss?}", "scales", o->scales, "weight_scales",
        o->weight_scales, "freeze_observers", some(o->freeze_observers), "augment", o->augment,
        "freeze", freeze, "seed", (json_int_t)o->seed, "deterministic", (int)o->deterministic,
        "val_every", (json_int_t)o->val_every, "patience", (json_int_t)o->patience, "memory",
        (json_int_t)o->memory, "device", o->device, "precision", o->precision);
    if (json_object_update(all, rest) != 0) {
        json_decref(all);
        all = NULL;
    }
    json_decref(rest);
    return all;
}

/* From 1; 0: the model as it came in; null: there was no validation. */
static json_t *best_epoch(const ed_qat_result *r)
{
    return r->best_epoch == ED_QAT_NOT_VALIDATED ? json_null() : json_integer(r->best_epoch + 1);
}

int qat_report_json(const qat_report *r, FILE *out)
{
    json_t *models = json_array();
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(
            models, json_pack("{ss sf sf so}", "model", r->rows[i].name, "top1",
                              r->rows[i].result.top1, "agreement", r->rows[i].result.agreement,
                              "sqnr_db", i ? number(r->rows[i].result.sqnr_db) : json_null()));
    json_t *root =
        json_pack("{ss ss ss ss? sI so so sf so so}", "model", r->model, "output", r->output,
                  "data", r->data, "val", r->val, "steps", (json_int_t)r->result->steps,
                  "best_epoch", best_epoch(r->result), "loss", number(r->result->loss), "seconds",
                  r->seconds, "models", models, "options", options_json(r->opts));
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out, or a name is not UTF-8; leave out --json");
    int rc = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    fputc('\n', out);
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object to standard output");
}
