/* Parts of the writer. Messages live in one arena and borrow the graph's strings and tensors. */
#ifndef ONNX_WRITE_H
#define ONNX_WRITE_H

#include "ed/onnx.h"
#include "onnx/wire.h"

/* The initializer that a zero_point constant became. */
typedef struct ed_zero_point {
    const char *name; /* NULL: none yet */
    ed_dtype dtype;
} ed_zero_point;

typedef struct ed_writer {
    const ed_graph *g;
    const char *path; /* for messages */
    ed_weights_form weights;
    ed_arena *arena;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    size_t node_capacity, initializer_capacity;
    ed_strmap value_names, node_names; /* taken ones */
    bool *needed;                      /* by value: a constant that some written node reads */
    ed_zero_point *zero_points;        /* by value */
} ed_writer;

/* A message or a string of the writer's arena, NULL when memory ran out. */
void *ed_writer_alloc(ed_writer *w, size_t count, size_t size);
/* "<stem><suffix>", or with a number behind it when `taken` has that name; it is taken then. */
const char *ed_writer_unique(ed_writer *w, ed_strmap *taken, const char *stem, const char *suffix);

/* Append an empty node with room for its names; an initializer of that name. The tensor is borrowed
 * until the file is written. */
int ed_write_new_node(Onnx__NodeProto **out, ed_writer *w, const char *op_type, const char *name,
                      size_t n_in, size_t n_out);
int ed_write_initializer(ed_writer *w, const char *name, const ed_tensor *tensor);
/* Fill a tensor's message. */
void ed_write_tensor(Onnx__TensorProto *t, const ed_tensor *tensor);
/* Append an attribute to a node; `count` is how many it will have in all. */
int ed_write_attribute(ed_writer *w, Onnx__NodeProto *node, const ed_attr *attr, size_t count);
/* A list of kept messages; *list is NULL when there is none. */
int ed_write_kept(ed_writer *w, ProtobufCBinaryData **list, size_t *count, const ed_bytes *kept,
                  size_t n);
/* All nodes of the graph; FakeQuantize is lowered. */
int ed_write_nodes(ed_writer *w);

/* FakeQuantize as QuantizeLinear and DequantizeLinear. */
bool ed_is_fake_quantize(const ed_node *node);
int ed_onnx_lower(ed_writer *w, const ed_node *node);

/* Stream the model to its file; external: large initializers to "<path>.data". */
int ed_write_file(ed_writer *w, bool external);

#endif
