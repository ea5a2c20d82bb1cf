/*
 * The report of ed-calibrate: a line per calibrated value, notes, and what was written.
 */
#include "calibrate_report.h"

#include <jansson.h>
#include <string.h>

/* Of the phases of a plan, the report tells about quantization. */
static const char *reason_at(const ed_plan *plan, size_t i)
{
    const ed_match_info *m = ed_plan_at(plan, i);
    return m->phase == ED_PHASE_QUANTIZE ? m->reason : NULL;
}

/* Groups that stay in float, and hints of the target: a line for each reason with the groups'
 * names. */
static void print_reasons(const ed_plan *plan, FILE *out)
{
    enum { NAMED = 4 };
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const char *reason = reason_at(plan, i);
        size_t same = 0;
        bool seen = false;
        for (size_t k = 0; k < i && reason && !seen; k++) {
            const char *other = reason_at(plan, k);
            seen = other && !strcmp(other, reason);
        }
        if (!reason || seen)
            continue;
        for (size_t k = i; k < ed_plan_count(plan); k++) {
            const char *other = reason_at(plan, k);
            if (!other || strcmp(other, reason) != 0)
                continue;
            if (same < NAMED)
                fprintf(out, "%s%s", same ? ", " : "", ed_plan_at(plan, k)->anchor);
            same++;
        }
        if (same > NAMED)
            fprintf(out, " and %zu more", same - NAMED);
        bool hint = !strcmp(ed_plan_at(plan, i)->pattern, "hint");
        fprintf(out, "%s: %s\n", hint ? "" : " left in float", reason);
    }
}

/* The fused groups as {kind: count}, kinds in the order of their first group. */
static json_t *count_groups(const ed_graph *graph)
{
    json_t *counts = json_object();
    for (size_t i = 0; i < ed_graph_group_count(graph); i++) {
        const char *kind = ed_graph_group(graph, i).kind;
        json_int_t n = json_integer_value(json_object_get(counts, kind));
        json_object_set_new(counts, kind, json_integer(n + 1));
    }
    return counts;
}

static void print_groups(const ed_graph *graph, FILE *out)
{
    json_t *counts = count_groups(graph), *count;
    const char *kind, *before = "groups: ";
    json_object_foreach(counts, kind, count)
    {
        fprintf(out, "%s%lld %s", before, (long long)json_integer_value(count), kind);
        before = ", ";
    }
    if (json_object_size(counts))
        fputc('\n', out);
    json_decref(counts);
}

int calibrate_report_table(const calibrate_report *r, FILE *out)
{
    size_t rows = ed_ranges_count(r->ranges);
    table *t = table_new("lllrr");

    table_cell(t, "group");
    table_cell(t, "value");
    table_cell(t, "method");
    table_cell(t, "range");
    table_cell(t, "scale");
    for (size_t i = 0; i < rows; i++) {
        const ed_range_row *row = ed_ranges_at(r->ranges, i);
        table_cell(t, "%s", row->group ? row->group : "");
        table_cell(t, "%s", row->value);
        table_cell(t, "%s%s", row->method, row->note ? "*" : "");
        table_cell(t, "[%.5g, %.5g]", -row->amax, row->amax);
        table_cell(t, "%.6g", (double)row->scale);
    }
    TRY(table_print(t, out));
    for (size_t i = 0; i < rows; i++) {
        const ed_range_row *row = ed_ranges_at(r->ranges, i);
        if (row->note)
            fprintf(out, "* %s: %s\n", row->value, row->note);
    }
    print_reasons(r->plan, out);
    fputc('\n', out);
    print_groups(r->graph, out);
    fprintf(out, "%zu values and %zu weights quantized", r->activations, r->weight_count);
    if (r->samples)
        fprintf(out, ", %lld samples", (long long)r->samples);
    fprintf(out, ", %.2f s\nwrote %s\n", r->seconds, r->output);
    if (r->ranges_file)
        fprintf(out, "wrote %s\n", r->ranges_file);
    return ED_OK;
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *row_json(const ed_range_row *row)
{
    return json_pack("{so so ss* ss* sf sf sf sf sI sI sb so}", "value", text_or_null(row->value),
                     "group", text_or_null(row->group), "rule", row->rule, "method", row->method,
                     "min", row->min, "max", row->max, "amax", row->amax, "scale",
                     (double)row->scale, "count", (json_int_t)row->total, "nonfinite",
                     (json_int_t)row->nonfinite, "floored", row->floored, "note",
                     text_or_null(row->note));
}

/* What was left in float, and why; and the target's hints. */
static json_t *reasons(const ed_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        if (!m->apply && m->phase == ED_PHASE_QUANTIZE)
            json_array_append_new(list, json_pack("{so so so}", "kind", text_or_null(m->pattern),
                                                  "name", text_or_null(m->anchor), "reason",
                                                  text_or_null(m->reason)));
    }
    return list;
}

int calibrate_report_json(const calibrate_report *r, FILE *out)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < ed_ranges_count(r->ranges); i++)
        json_array_append_new(rows, row_json(ed_ranges_at(r->ranges, i)));
    json_t *root = json_pack(
        "{ss ss so so ss ss ss sI sI sI sI so sf so so}", "model", r->model, "output", r->output,
        "data", text_or_null(r->data), "ranges_file", text_or_null(r->ranges_file), "method",
        r->method, "weight_method", r->weight_method, "weights", r->weights, "samples",
        (json_int_t)r->samples, "nonfinite", (json_int_t)r->nonfinite, "activations",
        (json_int_t)r->activations, "weight_count", (json_int_t)r->weight_count, "groups",
        count_groups(r->graph), "seconds", r->seconds, "ranges", rows, "notes", reasons(r->plan));
    if (!root)
        return tool_fail(ED_ENOMEM,
                         "memory ran out, or a name in the model is not UTF-8; leave out "
                         "--json");
    int rc = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    fputc('\n', out);
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object to standard output");
}
