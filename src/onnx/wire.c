/* Memory of protobuf-c, and the table of ONNX's element types (TensorProto.DataType). */
#include "onnx/wire.h"

#include <stdlib.h>

/* raw_data is copied as it is into tensors and back */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ONNX files are little-endian");

static const ed_wire_type types[] = {
    { 1, ED_F32, ED_FIELD_FLOAT, "float32" },
    { 2, ED_U8, ED_FIELD_INT32, "uint8" },
    { 3, ED_I8, ED_FIELD_INT32, "int8" },
    { 4, ED_U16, ED_FIELD_INT32, "uint16" },
    { 5, ED_I16, ED_FIELD_INT32, "int16" },
    { 6, ED_I32, ED_FIELD_INT32, "int32" },
    { 7, ED_I64, ED_FIELD_INT64, "int64" },
    { 8, ED_STRING, ED_FIELD_STRING, "string" },
    { 9, ED_BOOL, ED_FIELD_INT32, "bool" },
    { 10, ED_F16, ED_FIELD_INT32, "float16" },
    { 11, ED_F64, ED_FIELD_DOUBLE, "float64" },
    { 12, ED_U32, ED_FIELD_UINT64, "uint32" },
    { 13, ED_U64, ED_FIELD_UINT64, "uint64" },
    { 14, ED_DTYPE_NONE, ED_FIELD_NONE, "complex64" },
    { 15, ED_DTYPE_NONE, ED_FIELD_NONE, "complex128" },
    { 16, ED_BF16, ED_FIELD_INT32, "bfloat16" },
    { 17, ED_DTYPE_NONE, ED_FIELD_NONE, "float8e4m3fn" },
    { 18, ED_DTYPE_NONE, ED_FIELD_NONE, "float8e4m3fnuz" },
    { 19, ED_DTYPE_NONE, ED_FIELD_NONE, "float8e5m2" },
    { 20, ED_DTYPE_NONE, ED_FIELD_NONE, "float8e5m2fnuz" },
    { 21, ED_U4, ED_FIELD_INT32, "uint4" },
    { 22, ED_I4, ED_FIELD_INT32, "int4" },
    { 23, ED_DTYPE_NONE, ED_FIELD_NONE, "float4e2m1" },
    { 24, ED_DTYPE_NONE, ED_FIELD_NONE, "float8e8m0" },
    { 25, ED_DTYPE_NONE, ED_FIELD_NONE, "uint2" },
    { 26, ED_DTYPE_NONE, ED_FIELD_NONE, "int2" },
};

const ed_wire_type *ed_wire_type_of(int32_t number)
{
    for (size_t i = 0; i < ED_LENGTH(types); i++)
        if (types[i].number == number)
            return &types[i];
    return NULL;
}

int32_t ed_wire_number_of(ed_dtype dtype)
{
    for (size_t i = 0; dtype != ED_DTYPE_NONE && i < ED_LENGTH(types); i++)
        if (types[i].dtype == dtype)
            return types[i].number;
    return 0;
}

enum { ALIGNED_FROM = 1024 };

static void *wire_alloc(void *data, size_t size)
{
    void *p = size >= ALIGNED_FROM ? ed_aligned_alloc(size) : ed_malloc(size);
    if (!p)
        ((ed_wire_memory *)data)->failed = true;
    return p;
}

static void wire_free(void *data, void *p)
{
    (void)data;
    ed_free(p);
}

void ed_wire_memory_init(ed_wire_memory *memory)
{
    *memory = (ed_wire_memory){ { wire_alloc, wire_free, memory }, false };
}
