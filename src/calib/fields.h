/* Structs as JSON objects: a table names the members, one walk writes them and one reads them. */
#ifndef CALIB_FIELDS_H
#define CALIB_FIELDS_H

#include "base/error.h"

#include <jansson.h>
#include <stdio.h>

/* How a member is stored. */
typedef struct ed_field_kind {
    const char *wanted;                      /* for the sentence: "a number" */
    json_t *(*put)(const void *at);          /* NULL: not storable, or memory ran out */
    bool (*get)(void *at, const json_t *in); /* false: not what is wanted; texts are borrowed */
} ed_field_kind;

extern const ed_field_kind ed_field_text; /* const char *, UTF-8, never NULL */
extern const ed_field_kind ed_field_note; /* const char *, or NULL */
extern const ed_field_kind
    ed_field_hash; /* uint64_t as 16 hexadecimal digits: too wide for JSON numbers */
extern const ed_field_kind ed_field_count; /* uint64_t below 2^63 */
extern const ed_field_kind ed_field_bits;  /* unsigned, 2 to 8 */
extern const ed_field_kind ed_field_real;  /* double */
extern const ed_field_kind ed_field_amax;  /* double >= 0 that fits a float */
extern const ed_field_kind ed_field_scale; /* float: written, only checked on reading */
extern const ed_field_kind ed_field_bool;  /* bool */

typedef struct ed_field {
    const char *name;
    const ed_field_kind *kind;
    size_t offset; /* in the struct */
} ed_field;

/* Write `"name": value` of each field with `separator` between them. ED_EIO, ED_EFORMAT (a text
 * that is not UTF-8), ED_ENONFINITE, ED_ENOMEM; `path` is for the sentence. */
int ed_fields_write(FILE *stream, const char *path, const ed_field *fields, size_t n,
                    const char *separator, const void *object);
/* Read them all; every other key but the `extra` ones (NULL at the end) is refused. `where` names
 * file and object. Texts point into `json`. ED_EFORMAT */
int ed_fields_read(json_t *json, const char *where, const ed_field *fields, size_t n,
                   const char *const *extra, void *object);
/* "a list", "null", "missing" for NULL. */
const char *ed_json_type_name(const json_t *json);

#endif
