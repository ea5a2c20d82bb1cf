/*
 * The report of ed-eval: a line per model, a line per group with --layers.
 */
#include "eval_report.h"

#include <jansson.h>
#include <math.h>

static int print_groups(const eval_report *r, FILE *out)
{
    table *t = table_new("lr");
    fputc('\n', out);
    table_cell(t, "group");
    table_cell(t, "SQNR dB");
    for (size_t i = 0; i < r->group_count; i++) {
        table_cell(t, "%s", r->groups[i].name);
        table_decibel(t, r->groups[i].sqnr_db);
    }
    return table_print(t, out);
}

int eval_report_table(const eval_report *r, FILE *out)
{
    static const char *const titles[] = { "model", "top-1 %",     "top-5 %",
                                          "drop",  "agreement %", "SQNR dB" };
    bool labelled = r->results[0].top1 >= 0;
    table *t = table_new("lrrrrr");

    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(t, "%s", titles[i]);
    for (size_t i = 0; i < r->count; i++) {
        const ed_eval_result *one = &r->results[i];
        table_cell(t, "%s", r->models[i]);
        table_number(t, one->top1, labelled);
        table_number(t, one->top5, labelled);
        table_number(t, r->results[0].top1 - one->top1, labelled && i);
        table_number(t, one->agreement, i);
        if (i)
            table_decibel(t, one->sqnr_db);
        else
            table_cell(t, "-");
    }
    TRY(table_print(t, out));
    if (r->group_count)
        TRY(print_groups(r, out));
    int64_t samples = r->results[0].samples;
    fprintf(out, "\n%lld samples, %.2f s, %.0f samples/s%s\n", (long long)samples, r->seconds,
            r->seconds > 0 ? (double)samples / r->seconds : 0.0,
            labelled ? "" : "; the data has no labels: agreement and SQNR only");
    return ED_OK;
}

/* JSON has no infinity: null for unknown figures and for the SQNR of equal outputs. */
static json_t *number(double value, bool known)
{
    return known && isfinite(value) ? json_real(value) : json_null();
}

static json_t *model_json(const eval_report *r, size_t i)
{
    const ed_eval_result *one = &r->results[i];
    bool labelled = one->top1 >= 0;
    return json_pack("{ss so so so so so sb so}", "model", r->models[i], "top1",
                     number(one->top1, labelled), "top5", number(one->top5, labelled), "drop",
                     number(r->results[0].top1 - one->top1, labelled && i), "agreement",
                     number(one->agreement, i), "sqnr_db", number(one->sqnr_db, i), "equal",
                     i && isinf(one->sqnr_db) && one->sqnr_db > 0, "max_rel",
                     number(one->max_rel, i));
}

int eval_report_json(const eval_report *r, FILE *out)
{
    json_t *models = json_array(), *groups = json_array();
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(models, model_json(r, i));
    for (size_t i = 0; i < r->group_count; i++)
        json_array_append_new(groups, json_pack("{ss so}", "group", r->groups[i].name, "sqnr_db",
                                                number(r->groups[i].sqnr_db, true)));
    json_t *root =
        json_pack("{ss sI sI sf so so}", "data", r->data, "samples",
                  (json_int_t)r->results[0].samples, "nonfinite", (json_int_t)r->nonfinite,
                  "seconds", r->seconds, "models", models, "groups", groups);
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out, or a name is not UTF-8; leave out --json");
    int rc = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    fputc('\n', out);
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object to standard output");
}
