/*
 * ed-transform: conversions and fusions in one shot, or as a plan to read, edit and apply.
 */
#include "transform_report.h"

#include <stdlib.h>
#include <string.h>

static const char description[] =
    "Apply the patterns to an ONNX model: conversions, which rewrite nodes and are repeated until "
    "none matches, then fusions, which group nodes that run as one kernel and change nothing in "
    "the "
    "file. A line per pattern tells how often it was applied and skipped.\n\n"
    "With --plan-out nothing is changed: FILE lists, for each phase, node -> pattern -> apply, "
    "reason, nodes, inputs. Set `\"apply\": false' on a match and hand the file to --plan, here or "
    "in ed-calibrate, whose quantization phase it covers too. What a match gives up is free for "
    "shorter ones. `\"apply\": true' beside a reason asks for a match that was skipped, and is "
    "refused while another match holds its nodes. A plan fits the model that it was made for.\n\n"
    "QuantizeLinear and DequantizeLinear need scales: ed-calibrate writes them.";

static const char *const examples[] = {
    "ed-transform model.onnx -o fused.onnx --verify",
    "one shot, and the proof that it computes the same",
    "ed-transform model.onnx --plan-out plan.json",
    "what would be done, to be edited",
    "ed-transform model.onnx --plan plan.json -o fused.onnx",
    "do what the edited plan says",
    "ed-transform model.onnx --disable fold_bn@bn1 --disable Linear",
    "without one match, and without a whole pattern",
    NULL,
};

static bool rule_row(size_t i, const char **name, const char **help)
{
    const ed_rule_info *rule = ed_target_rule(NULL, i);
    *name = rule ? rule->name : NULL;
    *help = rule ? rule->help : NULL;
    return rule != NULL;
}

static const listing listings[] = { { "Rules of target tensorrt", rule_row }, { NULL, NULL } };

static const char *check(const settings *s)
{
    if (!s->operands.count)
        return "no model: give MODEL.onnx";
    if (!s->verify && s->data)
        return "--data has no effect without --verify";
    if (!s->verify && option_given(s, "tolerance"))
        return "--tolerance has no effect without --verify";
    if (!s->data && (s->batch || s->limit))
        return "--batch and --limit have no effect without --data";
    return NULL;
}

static const command transform_command = {
    .name = "ed-transform",
    .id = CMD_TRANSFORM,
    .operands = "MODEL.onnx",
    .max_operands = 1,
    .summary = "convert and fuse an ONNX model, by a plan that can be edited",
    .description = description,
    .examples = examples,
    .listings = listings,
    .check = check,
};

typedef struct job {
    const settings *s;
    const char *model;
    ed_graph *before, *graph; /* before: with --verify */
    ed_plan *plan;            /* with --plan, --plan-out, quantized patterns, --verbose */
    ed_plan_options options;
    ed_report counts;
    verify_result verified;
} job;

static unsigned patterns_of(const char *name)
{
    static const struct {
        const char *name;
        unsigned patterns;
    } rows[] = {
        { "conversions", ED_TENSORRT_CONVERSION_PATTERNS },
        { "fusions", ED_TENSORRT_FUSION_PATTERNS },
        { "quantized", ED_TENSORRT_QUANTIZED_PATTERNS },
        { "all", ED_TENSORRT_PATTERNS },
    };
    for (size_t i = 0; name && i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(rows[i].name, name))
            return rows[i].patterns;
    return 0;
}

static int check_paths(const job *j)
{
    const char *const written[] = { j->s->output, j->s->plan_out };
    const char *const read[] = { j->model, j->s->plan, j->s->data };
    for (size_t i = 0; i < 2; i++) {
        if (!written[i])
            continue;
        for (size_t k = 0; k < 3; k++)
            if (tool_same_file(written[i], read[k]))
                return tool_fail(ED_EINVAL,
                                 "%s: it would overwrite what is read; choose another file",
                                 written[i]);
        TRY(tool_check_output(written[i]));
    }
    if (tool_same_file(written[0], written[1]))
        return tool_fail(ED_EINVAL, "%s: --output and --plan-out are the same file", written[0]);
    return ED_OK;
}

static void fill_options(job *j)
{
    const settings *s = j->s;
    j->options = (ed_plan_options){ .target = s->target,
                                    .exclude = s->exclude.items,
                                    .exclude_count = s->exclude.count,
                                    .rules = s->rules.items,
                                    .rules_count = s->rules.count,
                                    .disable = s->disable.items,
                                    .disable_count = s->disable.count,
                                    .patterns = patterns_of(s->patterns) };
}

static bool needs_plan(const settings *s)
{
    return s->plan || s->plan_out || s->verbose ||
           patterns_of(s->patterns) & ED_TENSORRT_QUANTIZED_PATTERNS;
}

static void tell_plan(const ed_plan *plan)
{
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        tool_note("%s %s at %s%s%s", m->apply ? "applies" : "skips", m->pattern, m->anchor,
                  m->reason ? ": " : "", m->reason ? m->reason : "");
    }
}

static int transform_by_plan(job *j)
{
    const settings *s = j->s;
    if (s->plan)
        TRY(ed_plan_read_json(&j->plan, j->graph, s->plan, &j->options));
    else
        TRY(ed_plan_build(&j->plan, j->graph, ED_PHASE_ALL, &j->options));
    if (s->verbose)
        tell_plan(j->plan);
    while (j->counts.count < ED_REPORT_MAX &&
           ed_plan_pattern_count(&j->counts.rows[j->counts.count], j->plan, j->counts.count))
        j->counts.count++;
    if (s->plan_out)
        TRY(ed_plan_write_json(j->plan, s->plan_out));
    return ed_plan_apply_phases(j->plan, j->graph, ED_PHASE_CONVERT, ED_PHASE_FUSE);
}

static int check_verified(const job *j)
{
    const verify_row *worst = verify_worst(&j->verified);
    if (!worst)
        return ED_OK;
    return tool_fail(ED_EMISMATCH,
                     "%s: output '%s' differs by %.3g of its largest value after the "
                     "transformation, more than %g; nothing was written",
                     j->model, worst->name, verify_relative(worst), j->verified.tolerance);
}

static int transform(job *j)
{
    const settings *s = j->s;
    double start = tool_seconds();
    j->model = s->operands.items[0];
    fill_options(j);
    TRY(check_paths(j));
    TRY(ed_onnx_read(&j->graph, j->model));
    size_t nodes = ed_graph_node_count(j->graph, NULL);
    if (s->verify)
        TRY(ed_graph_clone(&j->before, j->graph));
    TRY(needs_plan(s) ? transform_by_plan(j)
                      : ed_transform_report(&j->counts, j->graph, &j->options));
    if (s->verbose && !s->quiet)
        TRY(ed_graph_print(j->graph, stderr));
    TRY(tool_interrupted());
    if (s->verify)
        TRY(verify_run(&j->verified, j->before, j->graph, s));
    bool good = !s->verify || !verify_worst(&j->verified);
    const ed_onnx_write_options write = { .external_data = s->external_data };
    if (s->output && good)
        TRY(ed_onnx_write(j->graph, s->output, &write));
    const transform_report r = { .model = j->model,
                                 .output = good ? s->output : NULL,
                                 .plan_out = s->plan_out,
                                 .counts = &j->counts,
                                 .verified = s->verify ? &j->verified : NULL,
                                 .nodes_before = nodes,
                                 .nodes_after = ed_graph_node_count(j->graph, NULL),
                                 .seconds = tool_seconds() - start };
    progress_clear();
    if (s->json)
        TRY(transform_report_json(&r, stdout));
    else if (!s->quiet)
        TRY(transform_report_table(&r, stdout));
    return check_verified(j);
}

int main(int argc, char **argv)
{
    settings s;
    tool_begin(argv);
    options_parse(&s, &transform_command, argc, argv);
    job j = { .s = &s };
    int rc = tool_start(&transform_command, &s);
    if (rc == ED_OK)
        rc = transform(&j);
    int status = tool_finish(rc);
    verify_free(&j.verified);
    ed_plan_free(j.plan);
    ed_graph_free(j.before);
    ed_graph_free(j.graph);
    settings_free(&s);
    return status;
}
