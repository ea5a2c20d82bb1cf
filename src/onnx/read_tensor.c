/*
 * TensorProto to tensor: raw_data (little-endian, as in memory), or the typed field of its element
 * type; narrow types lie in the low bytes of int32_data, float16 and bfloat16 as their bits.
 */
#include "onnx/read.h"

#include <inttypes.h>
#include <string.h>

int ed_read_dims(ed_shape *out, const ed_reader *r, const int64_t *dims, size_t n, const char *what)
{
    *out = ED_SHAPE_SCALAR;
    ED_FAIL_IF(n > ED_MAX_RANK, ED_EUNSUPPORTED,
               "%s: %s has %zu dimensions; at most %d are supported", r->path, what, n,
               ED_MAX_RANK);
    out->rank = (int)n;
    for (size_t i = 0; i < n; i++) {
        ED_FAIL_IF(dims[i] < 0, ED_EFORMAT,
                   "%s: dimension %zu of %s is %" PRId64 "; a size must not be negative", r->path,
                   i, what, dims[i]);
        out->dim[i] = dims[i];
    }
    int64_t numel;
    int rc = ed_shape_numel(&numel, out);
    return rc == ED_OK ? ED_OK : ed_error_context(ED_EFORMAT, "%s: %s", r->path, what);
}

/* Elements of a typed field, its address and the bytes of one. */
typedef struct field {
    const void *data;
    size_t count, width;
} field;

static field typed_field(const Onnx__TensorProto *t, ed_wire_field kind)
{
    switch (kind) {
    case ED_FIELD_FLOAT:
        return (field){ t->float_data, t->n_float_data, 4 };
    case ED_FIELD_INT32:
        return (field){ t->int32_data, t->n_int32_data, 4 };
    case ED_FIELD_INT64:
        return (field){ t->int64_data, t->n_int64_data, 8 };
    case ED_FIELD_DOUBLE:
        return (field){ t->double_data, t->n_double_data, 8 };
    case ED_FIELD_UINT64:
        return (field){ t->uint64_data, t->n_uint64_data, 8 };
    default:
        return (field){ 0 };
    }
}

/* What was copied is not needed twice: a model's peak is its file plus its tensors. */
static void release_data(Onnx__TensorProto *t)
{
    ed_free(t->raw_data.data);
    ed_free(t->float_data);
    ed_free(t->int32_data);
    ed_free(t->int64_data);
    ed_free(t->double_data);
    ed_free(t->uint64_data);
    t->raw_data = (ProtobufCBinaryData){ 0 };
    t->float_data = NULL;
    t->int32_data = NULL;
    t->int64_data = NULL;
    t->double_data = NULL;
    t->uint64_data = NULL;
    t->n_float_data = t->n_int32_data = t->n_int64_data = t->n_double_data = t->n_uint64_data = 0;
}

static int from_raw(ed_tensor *tensor, const ed_reader *r, Onnx__TensorProto *t, const char *what)
{
    char shape[128];
    ED_FAIL_IF(t->raw_data.len != tensor->nbytes, ED_EFORMAT,
               "%s: %s holds %zu bytes, but %s %s needs %zu; the file is damaged", r->path, what,
               t->raw_data.len, ed_dtype_name(tensor->dtype),
               ed_shape_format(shape, sizeof shape, &tensor->shape), tensor->nbytes);
    if (t->raw_data.data && (uintptr_t)t->raw_data.data % 64 == 0) {
        tensor->data = t->raw_data.data;
        t->raw_data.data = NULL;
        return ED_OK;
    }
    tensor->data = ed_aligned_alloc(tensor->nbytes);
    if (!tensor->data)
        return ED_ENOMEM;
    if (t->raw_data.data)
        memcpy(tensor->data, t->raw_data.data, tensor->nbytes);
    return ED_OK;
}

static int from_field(ed_tensor *tensor, const ed_reader *r, const Onnx__TensorProto *t,
                      ed_wire_field kind, const char *what)
{
    char shape[128];
    field f = typed_field(t, kind);
    unsigned bits = ed_dtype_bits(tensor->dtype);
    size_t width = bits < 8 ? 1 : bits / 8; /* two 4-bit numbers share an element, too */
    ED_FAIL_IF(f.count != tensor->nbytes / width, ED_EFORMAT,
               "%s: %s holds %zu elements, but %s %s needs %zu; the file is damaged", r->path, what,
               f.count, ed_dtype_name(tensor->dtype),
               ed_shape_format(shape, sizeof shape, &tensor->shape), tensor->nbytes / width);
    tensor->data = ed_aligned_alloc(tensor->nbytes);
    if (!tensor->data)
        return ED_ENOMEM;
    if (width == f.width && f.count)
        memcpy(tensor->data, f.data, tensor->nbytes);
    else
        for (size_t i = 0; i < f.count; i++)
            memcpy((char *)tensor->data + i * width, (const char *)f.data + i * f.width, width);
    return ED_OK;
}

static int from_external(ed_tensor *tensor, ed_reader *r, const Onnx__TensorProto *t,
                         const char *what)
{
    char *where = ed_asprintf("%s: %s", r->path, what);
    if (!where)
        return ED_ENOMEM;
    int rc = ed_external_read(&tensor->data, &r->external, tensor->nbytes, t, where);
    ed_free(where);
    return rc;
}

static int check_type(const ed_wire_type **out, const ed_reader *r, const Onnx__TensorProto *t,
                      const char *what)
{
    *out = ed_wire_type_of(t->data_type);
    ED_FAIL_IF(!*out, ED_EFORMAT, "%s: %s has the element type %d, which ONNX does not define",
               r->path, what, (int)t->data_type);
    ED_FAIL_IF((*out)->dtype == ED_DTYPE_NONE || (*out)->dtype == ED_STRING, ED_EUNSUPPORTED,
               "%s: %s is of type %s, which is not supported; export the model in float32", r->path,
               what, (*out)->name);
    ED_FAIL_IF(t->segment, ED_EUNSUPPORTED,
               "%s: %s is stored in segments, which is not supported; save the model again",
               r->path, what);
    return ED_OK;
}

int ed_read_tensor(ed_tensor **out, ed_reader *r, Onnx__TensorProto *t, const char *what)
{
    *out = NULL;
    const ed_wire_type *type;
    ed_shape shape;
    ED_TRY(check_type(&type, r, t, what));
    ED_TRY(ed_read_dims(&shape, r, t->dims, t->n_dims, what));
    ed_tensor *tensor = ed_calloc(1, sizeof *tensor);
    if (!tensor)
        return ED_ENOMEM;
    int rc = ed_tensor_view(tensor, type->dtype, &shape, NULL);
    tensor->owned = true;
    if (rc == ED_OK && t->data_location == 1)
        rc = from_external(tensor, r, t, what);
    else if (rc == ED_OK && t->has_raw_data)
        rc = from_raw(tensor, r, t, what);
    else if (rc == ED_OK)
        rc = from_field(tensor, r, t, type->field, what);
    release_data(t);
    if (rc != ED_OK) {
        ed_tensor_free(tensor);
        return rc;
    }
    *out = tensor;
    return ED_OK;
}
