/*
 * A small valid model as protobuf-c messages that a test changes before it is packed:
 *
 *     input x: f32[N, 4];  const w: f32[4, 3] = 0, 1, .. 11;  y = MatMul(x, w);  output y
 */
#ifndef TESTS_MODEL_BYTES_H
#define TESTS_MODEL_BYTES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ed/onnx.h"
#include "onnx/wire.h"

enum { MAX_NODES = 8, MAX_INITIALIZERS = 32, MAX_ATTRIBUTES = 8 };

typedef struct model_bytes {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opsets[2], *opset_list[2];
    Onnx__StringStringEntryProto metadata, *metadata_list[1];
    Onnx__NodeProto nodes[MAX_NODES], *node_list[MAX_NODES];
    ProtobufCBinaryData attributes[MAX_NODES][MAX_ATTRIBUTES];
    char *in[MAX_NODES][4], *out[MAX_NODES][2];
    Onnx__TensorProto initializers[MAX_INITIALIZERS], *initializer_list[MAX_INITIALIZERS];
    Onnx__ValueInfoProto infos[4], *info_list[4]; /* 0, 1: inputs; 2, 3: outputs */
    Onnx__TypeProto types[4];
    Onnx__TypeProto__Tensor tensor_types[4];
    Onnx__TensorShapeProto shapes[4];
    Onnx__TensorShapeProto__Dimension dims[4][9], *dim_lists[4][9];
    int64_t w_dims[2];
    float w[12];
    uint8_t *bytes;
    size_t size;
} model_bytes;

void model_bytes_init(model_bytes *m);
/* Further parts; the result may be changed until the model is packed. */
Onnx__TensorProto *model_bytes_add_initializer(model_bytes *m, const char *name, int32_t type,
                                               int64_t *dims, size_t n_dims);
Onnx__NodeProto *model_bytes_add_node(model_bytes *m, const char *op_type, const char *out);
void model_bytes_add_attribute(model_bytes *m, size_t node, const Onnx__AttributeProto *attribute);
/* Pack into m->bytes, m->size. */
void model_bytes_pack(model_bytes *m);
/* Pack and read as the file "model.onnx". */
int model_bytes_read(ed_graph **out, model_bytes *m);
void model_bytes_free(model_bytes *m);

/* The messages of a file that was written; release with onnx__model_proto__free_unpacked(m, NULL).
 */
Onnx__ModelProto *unpack_file(const char *path);
/* The initializer of that name; the test fails when there is none. */
const Onnx__TensorProto *find_initializer(const Onnx__ModelProto *m, const char *name);
/* A new temporary folder below the working directory, and a path in it (static buffers). */
const char *make_folder(void);
const char *path_in(const char *folder, const char *name);
void remove_folder(const char *folder);
void write_bytes(const char *path, const void *data, size_t size);

/* The call failed with this code, and the sentence holds the text. */
#define assert_fails(rc, code, text)                                                               \
    do {                                                                                           \
        assert_int_equal(rc, code);                                                                \
        if (!strstr(ed_error_last(), text))                                                        \
            fail_msg("expected \"%s\" in \"%s\"", text, ed_error_last());                          \
    } while (0)
#define assert_ok(rc)                                                                              \
    do {                                                                                           \
        if ((rc) != ED_OK)                                                                         \
            fail_msg("%s", ed_error_last());                                                       \
    } while (0)

#endif
