/*
 * A plan as JSON, a match a line:
 *
 *   { "format": "ed-plan", "version": 1, "tool": ..., "model_hash": ..., "target": ...,
 *     "patterns": [...], "exclude": [...], "rules": [...],
 *     "conversions": { node: { pattern: { "apply", "reason", "nodes", "inputs" }, ... }, ... },
 *     "fusions": { ... }, "quantized": { value: { rule: { ... } } } }
 *
 * Of two matches of the same name the first one is written.
 */
#include "passes/plan_json.h"

#include "base/file.h"

#include <string.h>

static json_t *list_of(const char *const *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_string(names[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *match_json(const ed_match_info *m)
{
    return json_pack("{sb ss? so so}", "apply", m->apply, "reason", m->reason, "nodes",
                     list_of(m->nodes, m->node_count), "inputs",
                     list_of(m->inputs, m->input_count));
}

/* node -> pattern -> match, in the order of the plan */
static json_t *section_json(const ed_plan *plan, ed_phase phase)
{
    json_t *section = json_object();
    for (size_t i = 0; section && i < plan->n_matches; i++) {
        const ed_match_info *m = &plan->matches[i];
        if (m->phase != phase)
            continue;
        json_t *node = json_object_get(section, m->anchor);
        int rc = 0;
        if (!node) {
            node = json_object();
            rc = json_object_set_new(section, m->anchor, node);
        }
        if (rc == 0 && !json_object_get(node, m->pattern))
            rc = json_object_set_new(node, m->pattern, match_json(m));
        if (rc != 0) {
            json_decref(section);
            return NULL;
        }
    }
    return section;
}

static int put_value(FILE *out, json_t *value)
{
    int rc = value ? json_dumpf(value, out, JSON_ENCODE_ANY) : -1;
    json_decref(value);
    return rc == 0 ? ED_OK : ED_EFORMAT;
}

static int put_key(FILE *out, const char *before, const char *key)
{
    fputs(before, out);
    ED_TRY(put_value(out, json_string(key)));
    fputs(": ", out);
    return ED_OK;
}

static int put_section(FILE *out, const char *name, json_t *section)
{
    const char *anchor, *pattern, *next_node = "", *next = "";
    json_t *node, *match;
    ED_TRY(put_key(out, ",\n  ", name));
    fputc('{', out);
    json_object_foreach(section, anchor, node)
    {
        fputs(next_node, out);
        ED_TRY(put_key(out, "\n    ", anchor));
        fputc('{', out);
        next = "";
        json_object_foreach(node, pattern, match)
        {
            fputs(next, out);
            ED_TRY(put_key(out, "\n      ", pattern));
            ED_TRY(put_value(out, json_incref(match)));
            next = ",";
        }
        fputs("\n    }", out);
        next_node = ",";
    }
    fputs("\n  }", out);
    return ED_OK;
}

static json_t *head_json(const ed_plan *plan)
{
    const ed_plan_options *o = &plan->request.opts;
    char tool[64], hash[32];
    json_t *patterns = json_array();
    snprintf(tool, sizeof tool, "ed %s", ed_version());
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)ed_graph_hash(plan->source));
    for (size_t i = 0; i < ED_LENGTH(ed_plan_sections); i++)
        if (!o->patterns || o->patterns & ed_plan_sections[i].bit)
            json_array_append_new(patterns, json_string(ed_plan_sections[i].name));
    return json_pack(
        "{ss si ss ss ss so so so}", "format", ED_PLAN_FORMAT, "version", ED_PLAN_VERSION, "tool",
        tool, "model_hash", hash, "target", plan->target->name, "patterns", patterns, "exclude",
        list_of(o->exclude, o->exclude_count), "rules", list_of(o->rules, o->rules_count));
}

static int put_plan(FILE *out, const ed_plan *plan)
{
    json_t *head = head_json(plan), *value;
    const char *key, *before = "{\n  ";
    int rc = head ? ED_OK : ED_EFORMAT;
    json_object_foreach(head, key, value)
    {
        if (rc == ED_OK)
            rc = put_key(out, before, key);
        if (rc == ED_OK)
            rc = put_value(out, json_incref(value));
        before = ",\n  ";
    }
    json_decref(head);
    for (int phase = 0; rc == ED_OK && phase < ED_PHASE_ALL; phase++) {
        json_t *section = section_json(plan, (ed_phase)phase);
        rc = section ? put_section(out, ed_plan_sections[phase].name, section) : ED_EFORMAT;
        json_decref(section);
    }
    fputs("\n}\n", out);
    return rc;
}

int ed_plan_write_json(const ed_plan *plan, const char *path)
{
    ed_atomic_file *file;
    ED_TRY(ed_atomic_open(&file, path));
    int rc = put_plan(ed_atomic_stream(file), plan);
    if (rc == ED_OK)
        return ed_atomic_commit(file);
    bool full = ferror(ed_atomic_stream(file));
    ed_atomic_abort(file);
    return full ? ed_error_set(ED_EIO, "%s: cannot write the plan: the disk may be full", path)
                : ed_error_set(rc,
                               "%s: cannot write the plan: memory ran out, or a name in the model "
                               "is not UTF-8, which JSON needs",
                               path);
}
