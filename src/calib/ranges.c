/*
 * Activation ranges, and their file: JSON with the provenance, one row a line.
 *
 *   { "format": "ed-ranges", "version": 1, "tool": ..., "model_hash": ..., ..., "ranges": [ {...},
 * ... ] }
 *
 * `amax` is what counts: `scale` follows from it on reading, so an edited amax takes effect.
 */
#include "base/file.h"
#include "base/strmap.h"
#include "calib/calib.h"
#include "calib/fields.h"

#include <string.h>

#define FORMAT "ed-ranges"
enum { VERSION = 1 };

#define HEAD(name, kind, member)                                                                   \
    {                                                                                              \
        name, &ed_field_##kind, offsetof(struct ed_ranges, member)                                 \
    }
static const ed_field head_fields[] = {
    HEAD("tool", text, tool),
    HEAD("model_hash", hash, model_hash),
    HEAD("data", text, data),
    HEAD("data_hash", hash, data_hash),
    HEAD("samples", count, samples),
    HEAD("nonfinite", count, nonfinite),
    HEAD("target", text, target),
    HEAD("method", text, method),
    HEAD("percentile", real, params.percentile),
    HEAD("ema", real, params.ema),
    HEAD("bits", bits, params.bits),
    HEAD("unsigned", bool, params.is_unsigned),
    HEAD("bins", count, bins),
};

#define ROW(member, kind)                                                                          \
    {                                                                                              \
#member, &ed_field_##kind, offsetof(ed_range_row, member)                                  \
    }
static const ed_field row_fields[] = {
    ROW(value, text),  ROW(group, text),      ROW(rule, text),    ROW(method, text),
    ROW(min, real),    ROW(max, real),        ROW(amax, amax),    ROW(scale, scale),
    ROW(total, count), ROW(nonfinite, count), ROW(floored, bool), ROW(note, note),
};

/* ---- in memory ---- */
int ed_ranges_new(ed_ranges **out)
{
    *out = NULL;
    ed_ranges *r = ed_calloc(1, sizeof *r);
    if (!r)
        return ED_ENOMEM;
    r->arena = ed_arena_new();
    r->tool = r->arena ? ed_arena_printf(r->arena, "ed %s", ed_version()) : NULL;
    if (!r->tool) {
        ed_ranges_free(r);
        return ED_ENOMEM;
    }
    r->data = r->target = r->method = "";
    *out = r;
    return ED_OK;
}

/* Replace a borrowed text by a copy; NULL becomes "". */
static int own(ed_ranges *r, const char **text)
{
    *text = ed_arena_strdup(r->arena, *text ? *text : "");
    return *text ? ED_OK : ED_ENOMEM;
}

int ed_ranges_add(ed_ranges *r, const ed_range_row *row)
{
    ed_range_row copy = *row;
    ED_TRY(own(r, &copy.value));
    ED_TRY(own(r, &copy.group));
    ED_TRY(own(r, &copy.rule));
    ED_TRY(own(r, &copy.method));
    if (copy.note)
        ED_TRY(own(r, &copy.note));
    ED_TRY(ed_grow(&r->rows, &r->capacity, r->count + 1, sizeof *r->rows));
    r->rows[r->count++] = copy;
    return ED_OK;
}

size_t ed_ranges_count(const ed_ranges *r)
{
    return r->count;
}

const ed_range_row *ed_ranges_at(const ed_ranges *r, size_t i)
{
    return i < r->count ? &r->rows[i] : NULL;
}

const ed_range_row *ed_ranges_find(const ed_ranges *r, const char *value)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->rows[i].value, value) == 0)
            return &r->rows[i];
    return NULL;
}

int ed_ranges_keep(ed_ranges *r, const ed_observation *seen)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < r->count; i++)
        total += seen[i].bins;
    r->seen = ed_calloc(r->count, sizeof *r->seen);
    r->counts = ed_calloc(total, sizeof *r->counts);
    if (!r->seen || !r->counts)
        return ED_ENOMEM;
    for (size_t i = 0; i < r->count; i++) {
        r->seen[i] = seen[i];
        r->seen[i].counts = r->counts + at;
        memcpy(r->counts + at, seen[i].counts, seen[i].bins * sizeof *r->counts);
        at += seen[i].bins;
    }
    return ED_OK;
}

const ed_observation *ed_ranges_seen(const ed_ranges *r, size_t i)
{
    return r->seen && i < r->count ? &r->seen[i] : NULL;
}

void ed_ranges_free(ed_ranges *r)
{
    if (!r)
        return;
    ed_free(r->seen);
    ed_free(r->counts);
    ed_arena_free(r->arena);
    ed_free(r->rows);
    ed_free(r);
}

/* ---- writing ---- */
static int write_all(FILE *stream, const char *path, const ed_ranges *r)
{
    ed_ranges head = *r;
    head.params = ed_method_params_complete(&r->params); /* the numbers that were used, not 0 */
    fprintf(stream, "{\n  \"format\": \"%s\",\n  \"version\": %d,\n  ", FORMAT, VERSION);
    ED_TRY(ed_fields_write(stream, path, head_fields, ED_LENGTH(head_fields), ",\n  ", &head));
    fputs(",\n  \"ranges\": [", stream);
    for (size_t i = 0; i < r->count; i++) {
        fputs(i ? ",\n    { " : "\n    { ", stream);
        ED_TRY(ed_fields_write(stream, path, row_fields, ED_LENGTH(row_fields), ", ", &r->rows[i]));
        fputs(" }", stream);
    }
    fputs("\n  ]\n}\n", stream);
    return ED_OK;
}

int ed_ranges_write(const ed_ranges *r, const char *path)
{
    ed_atomic_file *file;
    ED_TRY(ed_atomic_open(&file, path));
    int rc = write_all(ed_atomic_stream(file), path, r);
    if (rc == ED_OK)
        return ed_atomic_commit(file);
    ed_atomic_abort(file);
    return rc;
}

/* ---- reading ---- */
static int read_rows(ed_ranges *r, ed_strmap *names, const json_t *list, const char *path)
{
    static const char *const no_extra[] = { NULL };
    ED_FAIL_IF(!json_is_array(list), ED_EFORMAT,
               "%s: the field 'ranges' is %s; a list was expected", path, ed_json_type_name(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        ed_range_row row = { 0 };
        char where[512];
        snprintf(where, sizeof where, "%.480s: ranges[%zu]", path, i);
        ED_TRY(ed_fields_read(json_array_get(list, i), where, row_fields, ED_LENGTH(row_fields),
                              no_extra, &row));
        ED_FAIL_IF(ed_strmap_get(names, row.value, NULL), ED_EFORMAT,
                   "%s: the value '%s' has a range already; remove one of them", where, row.value);
        ED_TRY(ed_strmap_put(names, row.value, (uint32_t)i)); /* `list` outlives the map */
        row.scale = ed_scale_of(row.amax, r->params.bits, &row.floored);
        ED_TRY(ed_ranges_add(r, &row));
    }
    return ED_OK;
}

static int read_head(ed_ranges *r, json_t *root, const char *path)
{
    static const char *const extra[] = { "format", "version", "ranges", NULL };
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *version = json_object_get(root, "version");
    ED_FAIL_IF(!format || strcmp(format, FORMAT) != 0, ED_EFORMAT,
               "%s: this is no ranges file: its field 'format' is not \"%s\"", path, FORMAT);
    ED_FAIL_IF(!json_is_integer(version), ED_EFORMAT,
               "%s: the field 'version' is %s; the integer %d was expected", path,
               ed_json_type_name(version), VERSION);
    ED_FAIL_IF(
        json_integer_value(version) != VERSION, ED_EFORMAT,
        "%s: the ranges file is of version %lld, this program reads version %d; calibrate again",
        path, (long long)json_integer_value(version), VERSION);
    ED_TRY(ed_fields_read(root, path, head_fields, ED_LENGTH(head_fields), extra, r));
    ED_TRY(own(r, &r->tool));
    ED_TRY(own(r, &r->data));
    ED_TRY(own(r, &r->target));
    return own(r, &r->method);
}

static int parse(json_t **out, const void *text, size_t size, const char *path)
{
    json_error_t error;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (*out)
        return ED_OK;
    /* a failed allocation leaves no text, or that code */
    ED_FAIL_IF(!error.text[0] || json_error_code(&error) == json_error_out_of_memory, ED_ENOMEM,
               "%s: out of memory while reading", path);
    return ed_error_set(ED_EFORMAT, "%s: line %d: %s; a ranges file in JSON was expected", path,
                        error.line, error.text);
}

int ed_ranges_read(ed_ranges **out, const char *path)
{
    void *text = NULL;
    size_t size = 0;
    json_t *root = NULL;
    ed_ranges *r = NULL;
    ed_strmap names = { 0 };
    int rc;

    *out = NULL;
    ED_GOTO(ed_file_read(&text, &size, path));
    ED_GOTO(parse(&root, text, size, path));
    ED_GOTO(ed_ranges_new(&r));
    ED_GOTO(read_head(r, root, path));
    ED_GOTO(read_rows(r, &names, json_object_get(root, "ranges"), path));
    *out = r;
    r = NULL;
done:
    ed_strmap_clear(&names);
    ed_ranges_free(r);
    json_decref(root);
    ed_free(text);
    return rc;
}
