/*
 * Reading an edited plan. The file is checked field by field; then the plan of the model is built
 * as always, what the file switched is switched, and everything is resolved once.
 *
 *   "apply": false, reason null or "disabled by the user"   switched off
 *   "apply": false, another reason                           the matcher's: not looked at
 *   "apply": true, reason null                               as it was
 *   "apply": true, a reason                                  has to be on in the end, or is refused
 */
#include "passes/plan_json.h"

#include "base/file.h"

#include <string.h>

typedef struct reader {
    const char *name; /* of the file */
    const ed_graph *graph;
    json_t *root;
    ed_plan *plan;
    ed_plan *plain; /* before any switch: knows every name that a plan file may hold */
} reader;

static const char *type_name(const json_t *json)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",  [JSON_STRING] = "a text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return json ? names[json_typeof(json)] : "missing";
}

static int parse(reader *r, const void *text, size_t size)
{
    json_error_t error;
    r->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (r->root)
        return ED_OK;
    ED_FAIL_IF(!error.text[0] || json_error_code(&error) == json_error_out_of_memory, ED_ENOMEM,
               "%s: out of memory while reading", r->name);
    return ed_error_set(ED_EFORMAT, "%s: line %d: %s; a plan in JSON was expected", r->name,
                        error.line, error.text);
}

/* ---- the head ---- */

static int check_keys(const reader *r, const char *where, json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        ED_FAIL_IF(!known[i], ED_EFORMAT, "%s: %sthe field '%s' is unknown; remove it", r->name,
                   where, key);
    }
    return ED_OK;
}

static int read_text(const reader *r, const char **out, const char *field)
{
    const json_t *value = json_object_get(r->root, field);
    ED_FAIL_IF(!json_is_string(value), ED_EFORMAT, "%s: the field '%s' is %s; a text was expected",
               r->name, field, type_name(value));
    *out = json_string_value(value);
    return ED_OK;
}

/* A list of texts that may be missing; *out borrows from the file and is released with ed_free().
 */
static int read_list(const reader *r, const char *where, json_t *object, const char *field,
                     const char ***out, size_t *count)
{
    json_t *list = json_object_get(object, field);
    ED_FAIL_IF(list && !json_is_array(list), ED_EFORMAT,
               "%s: %sthe field '%s' is %s; a list of texts was expected", r->name, where, field,
               type_name(list));
    *count = json_array_size(list);
    for (size_t i = 0; i < *count; i++)
        ED_FAIL_IF(!json_is_string(json_array_get(list, i)), ED_EFORMAT,
                   "%s: %s%s[%zu] is %s; a text was expected", r->name, where, field, i,
                   type_name(json_array_get(list, i)));
    if (!out)
        return ED_OK;
    *out = ed_calloc(*count + 1, sizeof **out);
    if (!*out)
        return ED_ENOMEM;
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = json_string_value(json_array_get(list, i));
    return ED_OK;
}

static int check_model(const reader *r)
{
    const char *const known[] = { "format",
                                  "version",
                                  "tool",
                                  "model_hash",
                                  "target",
                                  "patterns",
                                  "exclude",
                                  "rules",
                                  ed_plan_sections[ED_PHASE_CONVERT].name,
                                  ed_plan_sections[ED_PHASE_FUSE].name,
                                  ed_plan_sections[ED_PHASE_QUANTIZE].name,
                                  NULL };
    const char *format = json_string_value(json_object_get(r->root, "format")), *hash;
    const json_t *version = json_object_get(r->root, "version");
    char expected[32];
    ED_FAIL_IF(!format || strcmp(format, ED_PLAN_FORMAT) != 0, ED_EFORMAT,
               "%s: this is no plan: its field 'format' is not \"%s\"", r->name, ED_PLAN_FORMAT);
    ED_FAIL_IF(!json_is_integer(version) || json_integer_value(version) != ED_PLAN_VERSION,
               ED_EFORMAT, "%s: the field 'version' is not %d; write the plan again", r->name,
               ED_PLAN_VERSION);
    ED_TRY(check_keys(r, "", r->root, known));
    ED_TRY(read_text(r, &hash, "model_hash"));
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)ed_graph_hash(r->graph));
    ED_FAIL_IF(strcmp(hash, expected) != 0, ED_EMISMATCH,
               "%s: the plan was made for another model (%s, not %s); write one for this model "
               "with ed-transform --plan-out",
               r->name, hash, expected);
    return ED_OK;
}

static int read_patterns(const reader *r, unsigned *out)
{
    const char **names = NULL;
    size_t n;
    int rc = read_list(r, "", r->root, "patterns", &names, &n);
    *out = 0;
    for (size_t i = 0; rc == ED_OK && i < n; i++) {
        unsigned bit = 0;
        for (size_t k = 0; k < ED_LENGTH(ed_plan_sections); k++)
            if (strcmp(names[i], ed_plan_sections[k].name) == 0)
                bit = ed_plan_sections[k].bit;
        if (!bit)
            rc = ed_error_set(ED_EFORMAT,
                              "%s: patterns[%zu] is '%s'; conversions, fusions or quantized was "
                              "expected",
                              r->name, i, names[i]);
        *out |= bit;
    }
    ed_free(names);
    return rc;
}

/* Exclusions and rules: the file's, and those of the options behind them. */
static int join(const char ***list, size_t *n, const char *const *more, size_t n_more)
{
    const char **joined = ed_realloc(*list, *n + n_more + 1, sizeof *joined);
    if (!joined)
        return ED_ENOMEM;
    if (n_more)
        memcpy(joined + *n, more, n_more * sizeof *joined);
    *list = joined;
    *n += n_more;
    return ED_OK;
}

static int build(reader *r, const ed_plan_options *given)
{
    ed_plan_options opts = given ? *given : (ed_plan_options){ 0 };
    const char **exclude = NULL, **rules = NULL, *target;
    size_t n_exclude = 0, n_rules = 0;
    unsigned patterns;
    int rc;
    ED_GOTO(read_text(r, &target, "target"));
    if (opts.target && strcmp(opts.target, target) != 0)
        ED_GOTO(ed_error_set(ED_EMISMATCH, "%s: the plan was made for target %s, not %s", r->name,
                             target, opts.target));
    opts.target = target;
    ED_GOTO(read_patterns(r, &patterns));
    opts.patterns = opts.patterns ? opts.patterns : patterns;
    ED_GOTO(read_list(r, "", r->root, "exclude", &exclude, &n_exclude));
    ED_GOTO(read_list(r, "", r->root, "rules", &rules, &n_rules));
    ED_GOTO(join(&exclude, &n_exclude, opts.exclude, opts.exclude_count));
    ED_GOTO(join(&rules, &n_rules, opts.rules, opts.rules_count));
    opts.exclude = exclude;
    opts.exclude_count = n_exclude;
    opts.rules = rules;
    opts.rules_count = n_rules;
    ED_GOTO(ed_plan_build(&r->plan, r->graph, ED_PHASE_ALL, &opts));
done:
    ed_free(exclude);
    ed_free(rules);
    return rc;
}

/* ---- the matches ---- */

typedef struct entry {
    ed_phase phase;
    const char *anchor, *pattern, *reason;
    bool apply;
} entry;

static int read_entry(const reader *r, entry *e, json_t *json)
{
    static const char *const known[] = { "apply", "reason", "nodes", "inputs", NULL };
    char where[256];
    size_t n;
    snprintf(where, sizeof where, "%.80s.%.100s: ", e->anchor, e->pattern);
    ED_FAIL_IF(!json_is_object(json), ED_EFORMAT, "%s: %sit is %s; an object was expected", r->name,
               where, type_name(json));
    const json_t *apply = json_object_get(json, "apply"), *reason = json_object_get(json, "reason");
    ED_TRY(check_keys(r, where, json, known));
    ED_FAIL_IF(!json_is_boolean(apply), ED_EFORMAT,
               "%s: %sthe field 'apply' is %s; true or false was expected", r->name, where,
               type_name(apply));
    ED_FAIL_IF(reason && !json_is_string(reason) && !json_is_null(reason), ED_EFORMAT,
               "%s: %sthe field 'reason' is %s; a text or null was expected", r->name, where,
               type_name(reason));
    ED_TRY(read_list(r, where, json, "nodes", NULL, &n));
    ED_TRY(read_list(r, where, json, "inputs", NULL, &n));
    e->apply = json_is_true(apply);
    e->reason = json_string_value(reason);
    return ED_OK;
}

/* Calls fn on every match of the file. */
static int each_entry(reader *r, int (*fn)(reader *r, const entry *e))
{
    for (int phase = 0; phase < ED_PHASE_ALL; phase++) {
        json_t *section = json_object_get(r->root, ed_plan_sections[phase].name), *node, *match;
        entry e = { .phase = (ed_phase)phase };
        ED_FAIL_IF(section && !json_is_object(section), ED_EFORMAT,
                   "%s: the field '%s' is %s; an object of nodes was expected", r->name,
                   ed_plan_sections[phase].name, type_name(section));
        json_object_foreach(section, e.anchor, node)
        {
            ED_FAIL_IF(!json_is_object(node), ED_EFORMAT,
                       "%s: %s is %s; an object of patterns was expected", r->name, e.anchor,
                       type_name(node));
            json_object_foreach(node, e.pattern, match)
            {
                ED_TRY(read_entry(r, &e, match));
                ED_TRY(fn(r, &e));
            }
        }
    }
    return ED_OK;
}

static int switch_off(reader *r, const entry *e)
{
    if (e->apply || (e->reason && strcmp(e->reason, ed_plan_disabled) != 0))
        return ED_OK;
    return ed_plan_decide(r->plan, e->phase, e->pattern, e->anchor, false);
}

static int check_entry(reader *r, const entry *e)
{
    const ed_match_info *m = ed_plan_find(r->plan, e->phase, e->pattern, e->anchor);
    const ed_plan *names = r->plain ? r->plain : r->plan;
    if (!m && !ed_plan_find(names, e->phase, e->pattern, e->anchor))
        return ed_error_context(ed_plan_no_match(names, e->pattern, e->anchor), "%s", r->name);
    if (!m || !e->apply || !e->reason)
        return ED_OK; /* gone with another match, or nobody asked for it */
    int rc = ed_plan_check_on(m);
    return rc == ED_OK ? rc : ed_error_context(rc, "%s", r->name);
}

/* Keep the plan without switches for its names, and resolve one with them. */
static int resolve(reader *r)
{
    ED_TRY(each_entry(r, switch_off));
    if (r->plan->request.n_decisions) {
        ED_TRY(ed_plan_fresh(&r->plain, r->plan));
        ed_plan_swap(r->plan, r->plain);
    }
    return each_entry(r, check_entry);
}

int ed_plan_read_json_memory(ed_plan **out, const ed_graph *graph, const void *text, size_t size,
                             const char *name, const ed_plan_options *opts)
{
    reader r = { .name = name ? name : "plan", .graph = graph };
    int rc;
    *out = NULL;
    ED_GOTO(parse(&r, text, size));
    ED_GOTO(check_model(&r));
    ED_GOTO(build(&r, opts));
    ED_GOTO(resolve(&r));
    *out = r.plan;
    r.plan = NULL;
done:
    ed_plan_free_fresh(r.plain);
    ed_plan_free(r.plan);
    json_decref(r.root);
    return rc;
}

int ed_plan_read_json(ed_plan **out, const ed_graph *graph, const char *path,
                      const ed_plan_options *opts)
{
    void *text;
    size_t size;
    *out = NULL;
    ED_TRY(ed_file_read(&text, &size, path));
    int rc = ed_plan_read_json_memory(out, graph, text, size, path, opts);
    ed_free(text);
    return rc;
}
