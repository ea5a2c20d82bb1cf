/*
 * The report of ed-transform: a line per pattern, a line per output with --verify.
 */
#include "transform_report.h"

#include <jansson.h>
#include <math.h>

static const char *const phases[] = { "conversion", "fusion", "quantization" };

static int print_verified(const verify_result *v, FILE *out)
{
    table *t = table_new("lrr");
    fputc('\n', out);
    table_cell(t, "output");
    table_cell(t, "largest difference");
    table_cell(t, "relative");
    for (size_t i = 0; i < v->count; i++) {
        table_cell(t, "%s", v->rows[i].name);
        table_cell(t, "%.3g", v->rows[i].difference);
        table_cell(t, "%.3g", verify_relative(&v->rows[i]));
    }
    TRY(table_print(t, out));
    fprintf(out, "\n%lld samples, tolerance %g: %s\n", (long long)v->samples, v->tolerance,
            verify_worst(v) ? "exceeded" : "kept");
    return ED_OK;
}

int transform_report_table(const transform_report *r, FILE *out)
{
    table *t = table_new("llrr");
    table_cell(t, "pattern");
    table_cell(t, "phase");
    table_cell(t, "applied");
    table_cell(t, "skipped");
    for (size_t i = 0; i < r->counts->count; i++) {
        const ed_pattern_count *row = &r->counts->rows[i];
        table_cell(t, "%s", row->pattern);
        table_cell(t, "%s", phases[row->phase]);
        table_cell(t, "%zu", row->applied);
        table_cell(t, "%zu", row->skipped);
    }
    TRY(table_print(t, out));
    if (r->verified)
        TRY(print_verified(r->verified, out));
    fprintf(out, "\n%zu nodes before, %zu after, %.2f s\n", r->nodes_before, r->nodes_after,
            r->seconds);
    if (r->plan_out)
        fprintf(out, "wrote %s\n", r->plan_out);
    if (r->output)
        fprintf(out, "wrote %s\n", r->output);
    return ED_OK;
}

/* JSON has no infinity: null. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *verified_json(const verify_result *v)
{
    json_t *rows = json_array();
    if (!v)
        return json_decref(rows), json_null();
    for (size_t i = 0; i < v->count; i++)
        json_array_append_new(rows, json_pack("{ss so so}", "output", v->rows[i].name, "difference",
                                              number(v->rows[i].difference), "relative",
                                              number(verify_relative(&v->rows[i]))));
    return json_pack("{sI sf sb so}", "samples", (json_int_t)v->samples, "tolerance", v->tolerance,
                     "kept", verify_worst(v) == NULL, "outputs", rows);
}

int transform_report_json(const transform_report *r, FILE *out)
{
    json_t *patterns = json_array();
    for (size_t i = 0; i < r->counts->count; i++) {
        const ed_pattern_count *row = &r->counts->rows[i];
        json_array_append_new(patterns,
                              json_pack("{ss ss sI sI}", "pattern", row->pattern, "phase",
                                        phases[row->phase], "applied", (json_int_t)row->applied,
                                        "skipped", (json_int_t)row->skipped));
    }
    json_t *root =
        json_pack("{ss ss? ss? so so sI sI sf}", "model", r->model, "output", r->output, "plan",
                  r->plan_out, "patterns", patterns, "verify", verified_json(r->verified),
                  "nodes_before", (json_int_t)r->nodes_before, "nodes_after",
                  (json_int_t)r->nodes_after, "seconds", r->seconds);
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out, or a name is not UTF-8; leave out --json");
    int rc = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    fputc('\n', out);
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object to standard output");
}
