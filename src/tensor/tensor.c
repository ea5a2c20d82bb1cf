/* Shapes and tensors. */
#include "tensor/dtype.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool ed_shape_known(const ed_shape *shape)
{
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0)
            return false;
    return shape->rank >= 0;
}

bool ed_shape_equal(const ed_shape *a, const ed_shape *b)
{
    if (a->rank != b->rank || a->rank < 0)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i] || a->dim[i] == ED_DIM_UNKNOWN)
            return false;
    return true;
}

int ed_shape_numel(int64_t *out, const ed_shape *shape)
{
    char text[128];
    int64_t n = 1;
    bool zero = false;
    ED_FAIL_IF(!ed_shape_known(shape), ED_ESHAPE, "the shape %s is not known",
               ed_shape_format(text, sizeof text, shape));
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0)
            zero = true;
        else
            ED_FAIL_IF(!ed_mul_i64(n, shape->dim[i], &n) || n > (int64_t)1 << 48, ED_ESHAPE,
                       "the shape %s is too large; at most 2^48 elements fit",
                       ed_shape_format(text, sizeof text, shape));
    }
    *out = zero ? 0 : n;
    return ED_OK;
}

const char *ed_shape_format(char *buf, size_t size, const ed_shape *shape)
{
    size_t used = 0;
    if (shape->rank < 0) {
        snprintf(buf, size, "[...]");
        return buf;
    }
    snprintf(buf, size, "[");
    for (int i = 0; i <= shape->rank; i++) {
        used = strlen(buf);
        const char *comma = i > 0 && i < shape->rank ? ", " : "";
        if (i == shape->rank)
            snprintf(buf + used, size - used, "]");
        else if (shape->dim[i] >= 0)
            snprintf(buf + used, size - used, "%s%" PRId64, comma, shape->dim[i]);
        else if (shape->dim[i] == ED_DIM_UNKNOWN)
            snprintf(buf + used, size - used, "%s?", comma);
        else
            snprintf(buf + used, size - used, "%ss%" PRId64, comma, -2 - shape->dim[i]);
    }
    return buf;
}

int ed_tensor_view(ed_tensor *tensor, ed_dtype dtype, const ed_shape *shape, void *data)
{
    int64_t numel;
    ED_TRY(ed_shape_numel(&numel, shape));
    size_t bits = ed_dtype_bits(dtype);
    *tensor = (ed_tensor){ .dtype = dtype,
                           .shape = *shape,
                           .numel = numel,
                           .nbytes = ((size_t)numel * bits + 7) / 8,
                           .data = data };
    return ED_OK;
}

int ed_tensor_new(ed_tensor **out, ed_dtype dtype, const ed_shape *shape)
{
    *out = NULL;
    ed_tensor view;
    ED_TRY(ed_tensor_view(&view, dtype, shape, NULL));
    ed_tensor *t = ed_malloc(sizeof *t);
    if (!t)
        return ED_ENOMEM;
    *t = view;
    t->data = ed_aligned_alloc(t->nbytes);
    if (!t->data) {
        ed_free(t);
        return ED_ENOMEM;
    }
    t->owned = true;
    memset(t->data, 0, t->nbytes);
    *out = t;
    return ED_OK;
}

int ed_tensor_from(ed_tensor **out, ed_dtype dtype, const ed_shape *shape, const void *data)
{
    ED_TRY(ed_tensor_new(out, dtype, shape));
    if ((*out)->nbytes)
        memcpy((*out)->data, data, (*out)->nbytes);
    return ED_OK;
}

int ed_tensor_clone(ed_tensor **out, const ed_tensor *tensor)
{
    return ed_tensor_from(out, tensor->dtype, &tensor->shape, tensor->data);
}

void ed_tensor_free(ed_tensor *tensor)
{
    if (!tensor)
        return;
    if (tensor->owned)
        ed_free(tensor->data);
    ed_free(tensor);
}
