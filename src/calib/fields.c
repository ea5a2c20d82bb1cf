/* Structs as JSON objects, with jansson. */
#include "calib/fields.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- kinds ---- */
static json_t *put_text(const void *at)
{
    return json_string(*(const char *const *)at);
}

static bool get_text(void *at, const json_t *in)
{
    if (!json_is_string(in) || strlen(json_string_value(in)) != json_string_length(in))
        return false; /* none, or with a NUL inside */
    *(const char **)at = json_string_value(in);
    return true;
}

static json_t *put_note(const void *at)
{
    return *(const char *const *)at ? put_text(at) : json_null();
}

static bool get_note(void *at, const json_t *in)
{
    return json_is_null(in) || get_text(at, in);
}

static json_t *put_hash(const void *at)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%016" PRIx64, *(const uint64_t *)at);
    return json_string(digits);
}

static bool get_hash(void *at, const json_t *in)
{
    const char *text = json_string_value(in);
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdefABCDEF") != 16)
        return false;
    *(uint64_t *)at = strtoull(text, NULL, 16);
    return true;
}

static json_t *put_count(const void *at)
{
    return json_integer((json_int_t) * (const uint64_t *)at);
}

static bool get_count(void *at, const json_t *in)
{
    *(uint64_t *)at = (uint64_t)json_integer_value(in);
    return json_is_integer(in) && json_integer_value(in) >= 0;
}

static json_t *put_bits(const void *at)
{
    return json_integer((json_int_t) * (const unsigned *)at);
}

static bool get_bits(void *at, const json_t *in)
{
    if (!json_is_integer(in) || json_integer_value(in) < 2 || json_integer_value(in) > 8)
        return false;
    *(unsigned *)at = (unsigned)json_integer_value(in);
    return true;
}

static json_t *put_real(const void *at)
{
    return json_real(*(const double *)at);
}

static bool get_real(void *at, const json_t *in)
{
    *(double *)at = json_number_value(in);
    return json_is_number(in);
}

static bool get_amax(void *at, const json_t *in)
{
    return get_real(at, in) && *(double *)at >= 0.0 && *(double *)at <= 2.0 * FLT_MAX;
}

static json_t *put_scale(const void *at)
{
    return json_real((double)*(const float *)at);
}

static bool get_scale(void *at, const json_t *in)
{
    (void)at;
    return json_is_number(in);
}

static json_t *put_bool(const void *at)
{
    return json_boolean(*(const bool *)at);
}

static bool get_bool(void *at, const json_t *in)
{
    *(bool *)at = json_is_true(in);
    return json_is_boolean(in);
}

const ed_field_kind ed_field_text = { "a text", put_text, get_text };
const ed_field_kind ed_field_note = { "a text or null", put_note, get_note };
const ed_field_kind ed_field_hash = { "16 hexadecimal digits in quotes", put_hash, get_hash };
const ed_field_kind ed_field_count = { "an integer of 0 or more", put_count, get_count };
const ed_field_kind ed_field_bits = { "an integer from 2 to 8", put_bits, get_bits };
const ed_field_kind ed_field_real = { "a number", put_real, get_real };
const ed_field_kind ed_field_amax = { "a number of 0 or more that fits a float", put_real,
                                      get_amax };
const ed_field_kind ed_field_scale = { "a number", put_scale, get_scale };
const ed_field_kind ed_field_bool = { "true or false", put_bool, get_bool };

const char *ed_json_type_name(const json_t *json)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "a list",  [JSON_STRING] = "a text",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return json ? names[json_typeof(json)] : "missing";
}

/* ---- writing ---- */
/* Why put() gave nothing. */
static int fail_put(const char *path, const ed_field *f, const void *at)
{
    if (f->kind == &ed_field_text || f->kind == &ed_field_note) {
        const char *text = *(const char *const *)at;
        json_t *raw = json_string_nocheck(text);
        bool no_utf8 = raw != NULL;
        json_decref(raw);
        ED_FAIL_IF(no_utf8, ED_EFORMAT, "%s: the %s '%s' is not UTF-8, which JSON needs; rename it",
                   path, f->name, text);
    }
    double number = 0.0;
    if (f->kind == &ed_field_real || f->kind == &ed_field_amax)
        number = *(const double *)at;
    else if (f->kind == &ed_field_scale)
        number = (double)*(const float *)at;
    ED_FAIL_IF(!isfinite(number), ED_ENONFINITE, "%s: the field '%s' is %g; nothing was written",
               path, f->name, number);
    return ed_error_set(ED_ENOMEM, "%s: out of memory while writing", path);
}

int ed_fields_write(FILE *stream, const char *path, const ed_field *fields, size_t n,
                    const char *separator, const void *object)
{
    for (size_t i = 0; i < n; i++) {
        const void *at = (const char *)object + fields[i].offset;
        json_t *json = fields[i].kind->put(at);
        if (!json)
            return fail_put(path, &fields[i], at);
        fprintf(stream, "%s\"%s\": ", i ? separator : "", fields[i].name);
        int failed = json_dumpf(json, stream, JSON_ENCODE_ANY);
        json_decref(json);
        ED_FAIL_IF(failed && !ferror(stream), ED_ENOMEM, "%s: out of memory while writing", path);
    }
    ED_FAIL_IF(ferror(stream), ED_EIO, "%s: cannot write; the old file stays", path);
    return ED_OK;
}

/* ---- reading ---- */
static bool known(const char *key, const ed_field *fields, size_t n, const char *const *extra)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, key) == 0)
            return true;
    while (*extra && strcmp(*extra, key) != 0)
        extra++;
    return *extra != NULL;
}

static int fail_get(const char *where, const ed_field *f, const json_t *json)
{
    char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
    int rc = ed_error_set(ED_EFORMAT, "%s: the field '%s' is %s (%.60s); %s was expected", where,
                          f->name, ed_json_type_name(json), text ? text : "?", f->kind->wanted);
    free(text);
    return rc;
}

int ed_fields_read(json_t *json, const char *where, const ed_field *fields, size_t n,
                   const char *const *extra, void *object)
{
    ED_FAIL_IF(!json_is_object(json), ED_EFORMAT, "%s is %s; an object was expected", where,
               ed_json_type_name(json));
    for (void *it = json_object_iter(json); it; it = json_object_iter_next(json, it))
        ED_FAIL_IF(!known(json_object_iter_key(it), fields, n, extra), ED_EFORMAT,
                   "%s: the field '%s' is not known; remove it", where, json_object_iter_key(it));
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_object_get(json, fields[i].name);
        ED_FAIL_IF(!item, ED_EFORMAT, "%s: the field '%s' is missing; %s was expected", where,
                   fields[i].name, fields[i].kind->wanted);
        if (!fields[i].kind->get((char *)object + fields[i].offset, item))
            return fail_get(where, &fields[i], item);
    }
    return ED_OK;
}
