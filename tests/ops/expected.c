/* The file of expected outputs that golden.py writes, and comparing tensors. */
#include "case.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */
typedef struct cursor {
    const char *at;
    size_t left;
} cursor;

static int take(void *to, cursor *c, size_t size)
{
    ED_FAIL_IF(size > c->left, ED_EFORMAT, "the file of expected outputs is truncated");
    if (size)
        memcpy(to, c->at, size);
    c->at += size;
    c->left -= size;
    return ED_OK;
}

static int read_output(expected_output *out, cursor *c)
{
    char dtype[5] = "";
    int32_t rank = 0;
    ed_shape shape = { 0 };
    ED_TRY(take(&out->key, c, sizeof out->key));
    ED_TRY(take(dtype, c, 4));
    ED_TRY(take(&rank, c, sizeof rank));
    ED_FAIL_IF(rank < 0 || rank > ED_MAX_RANK, ED_EFORMAT, "rank %d in the expected outputs", rank);
    shape.rank = rank;
    ED_TRY(take(shape.dim, c, (size_t)rank * sizeof *shape.dim));
    ED_TRY(ed_tensor_new(&out->tensor, ed_dtype_find(dtype), &shape));
    return take(out->tensor->data, c, out->tensor->nbytes);
}

int expected_read(expected_file *file, const char *path)
{
    int rc = ED_OK;
    void *data = NULL;
    size_t capacity = 0;
    char magic[8];
    cursor c = { 0 };

    *file = (expected_file){ 0 };
    ED_TRY(ed_file_read(&data, &c.left, path));
    c.at = data;
    ED_GOTO(take(magic, &c, sizeof magic));
    while (c.left) {
        ED_GOTO(ed_grow(&file->outputs, &capacity, file->count + 1, sizeof *file->outputs));
        file->outputs[file->count] = (expected_output){ 0 };
        ED_GOTO(read_output(&file->outputs[file->count++], &c));
    }
done:
    ed_free(data);
    return rc;
}

const ed_tensor *expected_find(const expected_file *file, const op_case *c)
{
    uint64_t key = case_key(c);
    for (size_t i = 0; i < file->count; i++)
        if (file->outputs[i].key == key)
            return file->outputs[i].tensor;
    return NULL;
}

void expected_free(expected_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        ed_tensor_free(file->outputs[i].tensor);
    ed_free(file->outputs);
}

/* ---- comparing ---- */
static bool bits_match(char *text, size_t size, const ed_tensor *got, const ed_tensor *want)
{
    size_t bytes = ed_dtype_bits(want->dtype) / 8;
    for (int64_t i = 0; i < want->numel; i++) {
        const char *g = (const char *)got->data + (size_t)i * bytes;
        const char *w = (const char *)want->data + (size_t)i * bytes;
        double a = ed_tensor_get_f64(got, i), b = ed_tensor_get_f64(want, i);
        if (memcmp(g, w, bytes) == 0 || (isnan(a) && isnan(b)))
            continue;
        snprintf(text, size, "element %lld is %.9g instead of %.9g", (long long)i, a, b);
        return false;
    }
    return true;
}

/* Each element within a few units in the last place. */
static bool close_to(double got, double want)
{
    return fabs(got - want) <= 2e-6 * fabs(want) + 1e-37;
}

static bool floats_match(char *text, size_t size, const ed_tensor *got, const ed_tensor *want,
                         bool close, double nmse_limit)
{
    double error = 0, energy = 0;
    for (int64_t i = 0; i < want->numel; i++) {
        double a = ed_tensor_get_f64(got, i), b = ed_tensor_get_f64(want, i);
        if (a == b || (isnan(a) && isnan(b)))
            b = isfinite(b) ? b : 0, a = b;
        if (!isfinite(a) || !isfinite(b) || (close && !close_to(a, b))) {
            snprintf(text, size, "element %lld is %.9g instead of %.9g", (long long)i, a, b);
            return false;
        }
        error += (a - b) * (a - b);
        energy += b * b;
    }
    if (error <= nmse_limit * energy)
        return true;
    snprintf(text, size, "the normalized mean squared error is %.3g instead of %.3g or less",
             error / energy, nmse_limit);
    return false;
}

void tensors_forgive_nan(ed_tensor *got, const ed_tensor *want)
{
    if (got->dtype != ED_F32 || want->dtype != ED_F32 || got->numel != want->numel)
        return;
    for (int64_t i = 0; i < want->numel; i++)
        if (isnan(((const float *)want->data)[i]))
            ((float *)got->data)[i] = NAN;
}

bool tensors_match(char *text, size_t size, const ed_tensor *got, const ed_tensor *want,
                   case_match match, double nmse_limit)
{
    if (got->dtype != want->dtype || !ed_shape_equal(&got->shape, &want->shape)) {
        char a[128], b[128];
        snprintf(text, size, "it is %s %s instead of %s %s", ed_dtype_name(got->dtype),
                 ed_shape_format(a, sizeof a, &got->shape), ed_dtype_name(want->dtype),
                 ed_shape_format(b, sizeof b, &want->shape));
        return false;
    }
    if (match == MATCH_EXACT || want->dtype != ED_F32)
        return bits_match(text, size, got, want);
    return floats_match(text, size, got, want, match == MATCH_CLOSE, nmse_limit);
}
