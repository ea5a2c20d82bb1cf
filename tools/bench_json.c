/*
 * ed-bench as one JSON object: all that the page shows.
 */
#include "bench.h"

#include <jansson.h>
#include <math.h>

/* JSON has no infinity: null for unknown figures, and for the SQNR of what has no noise. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Figures of training and validation are negative where they are not known. */
static json_t *known(double value)
{
    return value >= 0 ? number(value) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* A list that lacks a member is none. */
static void append(json_t **list, json_t *member)
{
    if (json_array_append_new(*list, member) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

static json_t *model_json(const bench *b, size_t i)
{
    const ed_eval_result *r = &b->models[i].result;
    bool labelled = bench_labelled(b), calibrated = i && i <= b->methods;
    return json_pack("{ss ss so so so so so sb so so so}", "name", b->models[i].name, "kind",
                     !i           ? "float"
                     : calibrated ? "calibrated"
                                  : "trained",
                     "top1", known(r->top1), "top5", known(r->top5), "drop",
                     labelled ? number(bench_drop(b, i)) : json_null(), "agreement",
                     number(r->agreement), "sqnr_db", i ? number(r->sqnr_db) : json_null(), "equal",
                     isinf(r->sqnr_db) && r->sqnr_db > 0, "max_rel", number(r->max_rel), "seconds",
                     i ? number(b->models[i].seconds) : json_null(), "search_seconds",
                     calibrated ? number(b->times[i - 1].search) : json_null());
}

static json_t *models_json(const bench *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < b->count; i++)
        append(&list, model_json(b, i));
    return list;
}

static json_t *groups_json(const bench *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < b->group_count; i++) {
        const bench_group *g = &b->groups[i];
        append(&list, json_pack("{ss ss ss so so}", "kind", g->info.kind, "name", g->info.name,
                                "value", g->info.output, "calibrated_sqnr_db",
                                number(g->calibrated), "trained_sqnr_db", number(g->trained)));
    }
    return list;
}

/* Up to the last bin that is not empty. */
static json_t *counts_json(const ed_observation *seen)
{
    json_t *list = json_array();
    size_t used = seen->bins;
    while (used && !seen->counts[used - 1])
        used--;
    for (size_t k = 0; k < used; k++)
        append(&list, json_integer((json_int_t)seen->counts[k]));
    return list;
}

static json_t *value_json(const bench *b, const bench_value *v)
{
    const ed_range_row *first = ed_ranges_at(b->ranges[0], v->row);
    const ed_observation *seen = ed_ranges_seen(b->ranges[0], v->row);
    json_t *methods = json_object();
    for (size_t m = 0; m < b->methods; m++) {
        const ed_range_row *row = ed_ranges_at(b->ranges[m], v->row);
        json_object_set_new(methods, row->method,
                            json_pack("{sf sf so so}", "amax", row->amax, "scale",
                                      (double)row->scale, "sqnr_db", number(v->sqnr[m]), "note",
                                      text_or_null(row->note)));
    }
    return json_pack("{ss ss ss sf sf sI sI sf sI so so}", "value", first->value, "group",
                     first->group, "rule", first->rule, "min", first->min, "max", first->max,
                     "count", (json_int_t)first->total, "nonfinite", (json_int_t)first->nonfinite,
                     "range", seen->range, "bins", (json_int_t)seen->bins, "counts",
                     counts_json(seen), "methods", methods);
}

static json_t *values_json(const bench *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < b->value_count; i++)
        append(&list, value_json(b, &b->values[i]));
    return list;
}

static json_t *curve_json(const bench_curve *curve, bool epochs)
{
    json_t *list = json_array();
    for (size_t i = 0; i < curve->count; i++) {
        const ed_qat_report *p = &curve->points[i];
        json_t *point = json_pack("{sI sI so so sf}", "epoch", (json_int_t)p->epoch + 1, "step",
                                  (json_int_t)p->step, "loss", number(p->loss), "top1",
                                  known(p->accuracy), "learning_rate", p->learning_rate);
        if (epochs) {
            json_object_set_new(point, "val_loss", known(p->val_loss));
            json_object_set_new(point, "val_top1", known(p->val_accuracy));
        }
        append(&list, point);
    }
    return list;
}

static json_t *training_json(const bench *b)
{
    if (!b->train)
        return json_null();
    return json_pack("{ss so sI so so}", "data", b->train, "val", text_or_null(b->val), "samples",
                     (json_int_t)b->train_samples, "epochs", curve_json(&b->epochs, true), "steps",
                     curve_json(&b->steps, false));
}

int bench_json(FILE *out, const void *ctx)
{
    const bench *b = ctx;
    json_t *calibration =
        json_pack("{ss sI sI sf sf}", "data", b->calib, "samples", (json_int_t)b->calib_samples,
                  "nonfinite", (json_int_t)b->nonfinite, "compile_seconds", b->times[0].compile,
                  "pass_seconds", b->times[0].pass);
    json_t *evaluation = json_pack("{ss sI sf sI}", "data", b->test, "samples",
                                   (json_int_t)b->models[0].result.samples, "seconds",
                                   b->evaluation, "group_samples", (json_int_t)b->group_samples);
    json_t *root = json_pack(
        "{ss ss ss ss ss so ss ss sI sI ss so so so so so so}", "model", b->model, "date", b->date,
        "version", ed_version(), "device", b->device, "device_text", b->device_text, "precision",
        text_or_null(b->precision), "target", b->target, "weight_method", b->weight_method,
        "weight_bits", (json_int_t)b->weight_bits, "activation_bits",
        (json_int_t)b->activation_bits, "best", b->models[bench_best(b)].name, "calibration",
        calibration, "evaluation", evaluation, "training", training_json(b), "models",
        models_json(b), "groups", groups_json(b), "values", values_json(b));
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out, or a name is not UTF-8; leave out --json");
    int rc = json_dumpf(root, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    fputc('\n', out);
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object");
}
