/* Attributes of HDF5 files and datasets: numbers, and strings of fixed or variable length. */
#include "data/h5file.h"

#include "base/mem.h"

#include <string.h>

enum { MAX_NUMBERS = 1 << 16, MAX_TEXT = 4096 };

/* An open attribute with its type and number of elements. */
typedef struct attribute {
    hid_t id, type;
    H5T_class_t class;
    hssize_t count;
} attribute;

static void attribute_close(attribute *a)
{
    ed_h5_close(a->type);
    ed_h5_close(a->id);
}

/* a->id stays 0 when the object has no such attribute. */
static int attribute_open(attribute *a, hid_t object, const char *owner, const char *name)
{
    *a = (attribute){ 0 };
    if (H5Aexists(object, name) <= 0)
        return ED_OK;
    a->id = H5Aopen(object, name, H5P_DEFAULT);
    ED_FAIL_IF(a->id < 0, ED_EFORMAT, "%s: the attribute '%s' cannot be opened; write it again",
               owner, name);
    a->type = H5Aget_type(a->id);
    a->class = H5Tget_class(a->type);
    hid_t space = H5Aget_space(a->id);
    a->count = H5Sget_simple_extent_npoints(space);
    ed_h5_close(space);
    return ED_OK;
}

static int read_numbers(double **out, size_t *count, const attribute *a, const char *owner,
                        const char *name)
{
    ED_FAIL_IF(a->class != H5T_INTEGER && a->class != H5T_FLOAT, ED_EFORMAT,
               "%s: the attribute '%s' is not a number; write one number, or one per channel",
               owner, name);
    ED_FAIL_IF(a->count < 1 || a->count > MAX_NUMBERS, ED_EFORMAT,
               "%s: the attribute '%s' has %lld elements; write one number, or one per channel",
               owner, name, (long long)a->count);
    double *numbers = ed_calloc((size_t)a->count, sizeof *numbers);
    if (!numbers)
        return ED_ENOMEM;
    if (H5Aread(a->id, H5T_NATIVE_DOUBLE, numbers) < 0) {
        ed_free(numbers);
        return ed_error_set(ED_EIO, "%s: the attribute '%s' cannot be read; write it again", owner,
                            name);
    }
    *out = numbers;
    *count = (size_t)a->count;
    return ED_OK;
}

int ed_h5_attr_numbers(double **out, size_t *count, hid_t object, const char *owner,
                       const char *name)
{
    attribute a;
    *out = NULL;
    *count = 0;
    int rc = attribute_open(&a, object, owner, name);
    if (rc == ED_OK && a.id)
        rc = read_numbers(out, count, &a, owner, name);
    attribute_close(&a);
    return rc;
}

static int read_variable(char **out, const attribute *a)
{
    char *text = NULL;
    int rc = ED_OK;
    if (H5Aread(a->id, a->type, &text) < 0)
        return ED_EIO;
    *out = ed_strdup(text ? text : "");
    if (!*out)
        rc = ED_ENOMEM;
    H5free_memory(text);
    return rc;
}

/* Padded with zeros or spaces, or ended by a zero. */
static int read_fixed(char **out, const attribute *a)
{
    size_t size = H5Tget_size(a->type);
    char *text = size <= MAX_TEXT ? ed_calloc(size + 1, 1) : NULL;
    if (!text)
        return size <= MAX_TEXT ? ED_ENOMEM : ED_EIO;
    if (H5Aread(a->id, a->type, text) < 0) {
        ed_free(text);
        return ED_EIO;
    }
    if (H5Tget_strpad(a->type) == H5T_STR_SPACEPAD)
        for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
            text[n - 1] = 0;
    *out = text;
    return ED_OK;
}

int ed_h5_attr_text(char **out, hid_t object, const char *owner, const char *name)
{
    attribute a;
    *out = NULL;
    int rc = attribute_open(&a, object, owner, name);
    if (rc == ED_OK && a.id) {
        if (a.class != H5T_STRING || a.count != 1)
            rc =
                ed_error_set(ED_EFORMAT, "%s: the attribute '%s' is not one string; write a string",
                             owner, name);
        else
            rc = H5Tis_variable_str(a.type) > 0 ? read_variable(out, &a) : read_fixed(out, &a);
        if (rc == ED_EIO)
            ed_error_set(rc, "%s: the attribute '%s' cannot be read as a string of up to %d bytes",
                         owner, name, MAX_TEXT);
    }
    attribute_close(&a);
    return rc;
}
