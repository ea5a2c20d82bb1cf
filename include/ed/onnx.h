/**
 * @file ed/onnx.h
 * @brief Read and write ONNX files (IR versions 3 to 11, ai.onnx opsets 7 to 23).
 */
#ifndef ED_ONNX_H
#define ED_ONNX_H

#include "ed/graph.h"

ED_BEGIN_DECL

/**
 * Read a model. Constant nodes become initializers; QuantizeLinear/DequantizeLinear pairs are
 * raised to FakeQuantize nodes (an initializer behind DequantizeLinear to its float value and a
 * FakeQuantize). Those of blocked or computed scales, of two scales, or whose integers something
 * else reads, stay what they are. External data must lie in the model's folder.
 *
 * @param[out] out  the graph; release it with ed_graph_free()
 * @return ED_OK, ED_ENOTFOUND, ED_EIO, ED_EFORMAT, ED_EUNSUPPORTED, ED_ENOMEM
 */
ED_API int ed_onnx_read(ed_graph **out, const char *path);
/** As ed_onnx_read() from memory; `path` is used in messages and to find external data. */
ED_API int ed_onnx_read_memory(ed_graph **out, const void *data, size_t size, const char *path);

/** How weights behind a FakeQuantize are stored. */
typedef enum ed_weights_form {
    ED_WEIGHTS_INT8, /**< integer initializers behind DequantizeLinear (the default) */
    ED_WEIGHTS_FLOAT /**< float initializers behind QuantizeLinear and DequantizeLinear */
} ed_weights_form;

/** Options of writing; zeroed or NULL means the defaults. */
typedef struct ed_onnx_write_options {
    ed_weights_form weights;
    bool external_data; /**< initializers of 1 KiB and more to "<file>.data"; always above 2 GB */
} ed_onnx_write_options;

/**
 * Write a model; FakeQuantize nodes are lowered to pairs with int8 zero points, constants that only
 * rewrites left behind are dropped. The file appears whole or not at all.
 *
 * @return ED_OK, ED_EIO (the old file stays), ED_EUNSUPPORTED, ED_ENOMEM
 */
ED_API int ed_onnx_write(const ed_graph *graph, const char *path,
                         const ed_onnx_write_options *opts);

/** Read one tensor: a serialized TensorProto (.pb). Release with ed_tensor_free().
 *  @return ED_OK, ED_ENOTFOUND, ED_EIO, ED_EFORMAT, ED_EUNSUPPORTED (element type), ED_ENOMEM */
ED_API int ed_onnx_read_tensor(ed_tensor **out, const char *path);
/** Write one; the file appears whole or not at all. */
ED_API int ed_onnx_write_tensor(const ed_tensor *tensor, const char *name, const char *path);

ED_END_DECL

#endif
