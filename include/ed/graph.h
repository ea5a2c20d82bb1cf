/**
 * @file ed/graph.h
 * @brief A model as a graph of nodes and values: to look at, copy, print and compare.
 *
 * Graphs come from ed_onnx_read() or ed_graph_parse() and are changed by passes (ed/plan.h).
 */
#ifndef ED_GRAPH_H
#define ED_GRAPH_H

#include "ed/tensor.h"

#include <stdio.h>

ED_BEGIN_DECL

typedef struct ed_graph ed_graph;

/** Name, type and shape of an input, an output or another value. `name` belongs to the graph. */
typedef struct ed_value_info {
    const char *name;
    ed_dtype dtype;
    ed_shape shape;
} ed_value_info;

/** A deep copy. @return ED_OK or ED_ENOMEM */
ED_API int ed_graph_clone(ed_graph **out, const ed_graph *graph);
/** Release; NULL is allowed. */
ED_API void ed_graph_free(ed_graph *graph);

/** Inputs that a caller feeds (initializers are none). Index out of range: name is NULL. */
ED_API size_t ed_graph_input_count(const ed_graph *graph);
ED_API ed_value_info ed_graph_input(const ed_graph *graph, size_t i);
ED_API size_t ed_graph_output_count(const ed_graph *graph);
ED_API ed_value_info ed_graph_output(const ed_graph *graph, size_t i);
/** ed_shape_format() with the names of the graph's symbols: "[N, 3, 32, 32]". `size` is at least 1;
 * what is too long is cut. */
ED_API const char *ed_graph_shape_format(char *buf, size_t size, const ed_graph *graph,
                                         const ed_shape *shape);
/** Number of (live) nodes; with an op_type, of nodes of that type. */
ED_API size_t ed_graph_node_count(const ed_graph *graph, const char *op_type);

/** The initializer of that name, borrowed; NULL if there is none. */
ED_API const ed_tensor *ed_graph_constant(const ed_graph *graph, const char *name);

/** A fused group: what the fusion phase made of some nodes. Strings belong to the graph. */
typedef struct ed_group_info {
    const char *kind;   /**< pattern name, e.g. "ConvBNAddReLU" */
    const char *name;   /**< unique, e.g. "ConvBNAddReLU_3" */
    const char *anchor; /**< name of its last node, as in the ONNX file */
    const char *output; /**< the value it computes */
} ed_group_info;
ED_API size_t ed_graph_group_count(const ed_graph *graph);
ED_API ed_group_info ed_graph_group(const ed_graph *graph, size_t i);

/** A hash of nodes, attributes, initializers, inputs and outputs: equal for equal models. */
ED_API uint64_t ed_graph_hash(const ed_graph *graph);

/** Print the text form (see ed_graph_parse()). @return ED_OK or ED_EIO */
ED_API int ed_graph_print(const ed_graph *graph, FILE *file);

/**
 * Read the text form. One statement a line, `#` begins a comment:
 *
 *     graph tiny opset 17
 *     input x: f32[N, 3, 8, 8]
 *     const w: f32[4, 3, 3, 3] = random(1)     # normal numbers, mean 0, std 1, of that seed
 *     const b: f32[4] = {0, 0.5, 1, 2}         # or fill(0.25)
 *     c = Conv(x, w, b) {pads=[1, 1, 1, 1]} @ConvBNReLU_0
 *     y = Relu(c) @ConvBNReLU_0
 *     output y
 *
 * Names of other characters than letters, digits and _ . / : - are quoted with "". An omitted
 * optional input is `_`. `{...}` holds attributes: integers, floats (with a point or exponent),
 * strings in quotes, lists. `@name` puts the node into a fused group. `name:` before an operator,
 * as in `y = conv1: Conv(...)`, names the node. `domain::Op` gives a domain.
 *
 * @return ED_OK, ED_EFORMAT (with line and column), ED_ENOMEM
 */
ED_API int ed_graph_parse(ed_graph **out, const char *text);

/** Check every invariant (names, links, single assignment, no cycle). @return ED_OK or ED_EFORMAT
 */
ED_API int ed_graph_verify(const ed_graph *graph);

ED_END_DECL

#endif
