/* Parts of the reader. */
#ifndef ONNX_READ_H
#define ONNX_READ_H

#include "onnx/external.h"

typedef struct ed_reader {
    const char *path; /* for messages */
    ed_wire_memory memory;
    ed_external external;
    ed_graph *g;
} ed_reader;

/* A tensor from its message; raw_data is taken over where its alignment allows, and the message's
 * data is released either way. `what` ("initializer 'w'") and the path begin every sentence.
 * ED_EFORMAT, ED_EUNSUPPORTED (element type), ED_ENOMEM and the errors of external data. */
int ed_read_tensor(ed_tensor **out, ed_reader *r, Onnx__TensorProto *t, const char *what);
/* Dimensions of a tensor; checks rank, signs and size. */
int ed_read_dims(ed_shape *out, const ed_reader *r, const int64_t *dims, size_t n,
                 const char *what);

/* Copies in the graph's arena. */
bool ed_keep_text(ed_graph *g, const char **out, const char *text);
bool ed_keep_list(ed_graph *g, ed_bytes **out, size_t *count, const ProtobufCBinaryData *list,
                  size_t n);
/* One attribute, unpacked; release with ed_release_attribute(). */
int ed_unpack_attribute(Onnx__AttributeProto **out, ed_reader *r, const ProtobufCBinaryData *bytes,
                        const char *what);
void ed_release_attribute(ed_reader *r, Onnx__AttributeProto *a);

bool ed_is_constant_node(const Onnx__NodeProto *n);
/* A Constant node: *done when its value became the initializer of `out`; else (strings, sparse
 * tensors) it stays a node. */
int ed_read_constant(bool *done, ed_reader *r, const Onnx__NodeProto *n, ed_id out,
                     const char *what);
/* A string tensor, which the graph only keeps: a Constant node that computes value `out`. */
int ed_read_kept_tensor(ed_reader *r, Onnx__TensorProto *t, ed_id out);

/* Inputs, initializers and the outputs of nodes become values; then nodes; then the graph's outputs
 * and the shapes that the file tells. */
int ed_read_values(ed_reader *r, const Onnx__GraphProto *graph);
int ed_read_nodes(ed_reader *r, const Onnx__GraphProto *graph);
int ed_read_outputs(ed_reader *r, const Onnx__GraphProto *graph);

/* QuantizeLinear/DequantizeLinear to FakeQuantize, in place. */
int ed_onnx_raise(ed_graph *g);

#endif
