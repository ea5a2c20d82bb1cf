/* What reader and writer share: memory of protobuf-c, ONNX's element types, limits of versions. */
#ifndef ONNX_WIRE_H
#define ONNX_WIRE_H

#include "graph/graph.h"
#include "onnx.pb-c.h"

enum {
    ED_ONNX_MIN_IR = 3,
    ED_ONNX_MIN_OPSET = 7,
    ED_ONNX_MAX_OPSET = 23,
};

/* AttributeProto.type */
enum {
    ED_WIRE_ATTR_FLOAT = 1,
    ED_WIRE_ATTR_INT = 2,
    ED_WIRE_ATTR_STRING = 3,
    ED_WIRE_ATTR_TENSOR = 4,
    ED_WIRE_ATTR_GRAPH = 5,
    ED_WIRE_ATTR_FLOATS = 6,
    ED_WIRE_ATTR_INTS = 7,
    ED_WIRE_ATTR_STRINGS = 8,
    ED_WIRE_ATTR_GRAPHS = 10
};

/* The field of a TensorProto that holds the elements when raw_data does not. */
typedef enum ed_wire_field {
    ED_FIELD_NONE,
    ED_FIELD_FLOAT,
    ED_FIELD_INT32,
    ED_FIELD_INT64,
    ED_FIELD_DOUBLE,
    ED_FIELD_UINT64,
    ED_FIELD_STRING
} ed_wire_field;

/* One of ONNX's element types; dtype is ED_DTYPE_NONE for those that this library does not have. */
typedef struct ed_wire_type {
    int32_t number;
    ed_dtype dtype;
    ed_wire_field field;
    const char *name;
} ed_wire_type;

/* NULL for a number that ONNX does not define. */
const ed_wire_type *ed_wire_type_of(int32_t number);
/* ONNX's number of a dtype; 0 for ED_DTYPE_NONE. */
int32_t ed_wire_number_of(ed_dtype dtype);

/* protobuf-c's memory through base/mem.h; `failed` tells a failed allocation from bad input.
 * Blocks of 1 KiB and more are 64-byte aligned, so that tensors can take them over. */
typedef struct ed_wire_memory {
    ProtobufCAllocator base;
    bool failed;
} ed_wire_memory;
void ed_wire_memory_init(ed_wire_memory *memory);

#endif
