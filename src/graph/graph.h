/*
 * The graph inside: nodes and values in arrays, named by 32-bit ids; strings, attributes and lists
 * live in the graph's arena. Ids stay valid through edits; removed nodes are marked dead.
 */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include "ed/graph.h"
#include "base/mem.h"
#include "base/strmap.h"

typedef uint32_t ed_id;
#define ED_NONE UINT32_MAX

typedef enum ed_attr_type {
    ED_ATTR_INT,
    ED_ATTR_FLOAT,
    ED_ATTR_STRING,
    ED_ATTR_INTS,
    ED_ATTR_FLOATS,
    ED_ATTR_STRINGS,
    ED_ATTR_TENSOR,
    ED_ATTR_RAW /* a kind that is only kept: the serialized AttributeProto in `s` */
} ed_attr_type;

typedef struct ed_bytes { /* may hold NUL; data[size] is NUL all the same */
    const char *data;
    size_t size;
} ed_bytes;

typedef struct ed_attr {
    const char *name;
    ed_attr_type type;
    int64_t i;
    float f;
    ed_bytes s;
    size_t count; /* of ints, floats, strings */
    const int64_t *ints;
    const float *floats;
    const ed_bytes *strings;
    const ed_tensor *tensor; /* owned by the graph */
} ed_attr;

typedef struct ed_value {
    const char *name; /* unique */
    ed_dtype dtype;
    ed_shape shape;
    ed_id producer;      /* node, or ED_NONE: an input or a constant */
    ed_tensor *constant; /* an initializer: owned by the graph; NULL otherwise */
    bool is_input, is_output;
    ed_id *uses; /* consuming nodes, once per consuming input */
    size_t use_count, use_capacity;
} ed_value;

typedef struct ed_node {
    const char *op_type, *domain, *name,
        *doc;        /* domain "" is ai.onnx; name is never NULL, may be "" */
    ed_id *in, *out; /* ED_NONE: an omitted optional one */
    uint32_t n_in, n_out;
    ed_attr *attrs;
    uint32_t n_attrs;
    ed_id group;          /* index of the fused group, or ED_NONE */
    const char *overload; /* of a model function, as the file has it; NULL: none */
    ed_bytes *metadata;   /* serialized StringStringEntryProto */
    size_t n_metadata;
    bool dead;
} ed_node;

typedef struct ed_group {
    const char *kind, *name;
    ed_id *nodes; /* in topological order; the last one is the root */
    uint32_t n_nodes;
} ed_group;

typedef struct ed_opset {
    const char *domain;
    int64_t version;
} ed_opset;

typedef struct ed_graph_meta { /* what only the file format knows; kept from reading to writing */
    int64_t ir_version, model_version;
    const char *producer_name, *producer_version, *domain, *doc, *graph_doc;
    ed_bytes *metadata; /* pairs: key, value */
    size_t n_metadata;
    ed_bytes *functions; /* serialized FunctionProto */
    size_t n_functions;
    ed_bytes *graph_metadata; /* serialized StringStringEntryProto */
    size_t n_graph_metadata;
} ed_graph_meta;

struct ed_graph {
    ed_arena *arena;
    const char *name;
    ed_opset *opsets;
    size_t n_opsets, opset_capacity;
    ed_node *nodes;
    size_t n_nodes, node_capacity;
    ed_value *values;
    size_t n_values, value_capacity;
    ed_id *inputs, *outputs;
    size_t n_inputs, input_capacity, n_outputs, output_capacity;
    ed_group *groups;
    size_t n_groups, group_capacity;
    const char **symbols; /* names of symbolic dimensions: dimension -2 - k is symbol k */
    size_t n_symbols, symbol_capacity;
    ed_tensor **tensors; /* tensors of attributes */
    size_t n_tensors, tensor_capacity;
    ed_strmap value_ids; /* name -> id */
    ed_graph_meta meta;
    uint32_t next_name;
};

/* ---- making (graph.c) ---- */
int ed_graph_new(ed_graph **out, const char *name);
/* Version of a domain's opset; 0 if the model imports none. */
ED_PLUGIN int64_t ed_graph_opset(const ed_graph *g, const char *domain);
int ed_graph_set_opset(ed_graph *g, const char *domain, int64_t version);
/* The dimension number (-2 - k) of a named symbol, made when new. ED_ENOMEM: returns
 * ED_DIM_UNKNOWN. */
int64_t ed_graph_symbol(ed_graph *g, const char *name);
/* A value of that name; ED_EFORMAT when it exists already. */
int ed_graph_add_value(ed_graph *g, ed_id *out, const char *name);
/* A value with a new unique name that begins with `stem`. */
int ed_graph_add_fresh_value(ed_graph *g, ed_id *out, const char *stem);
ed_id ed_graph_find_value(const ed_graph *g, const char *name);
ed_id ed_graph_find_node(const ed_graph *g, const char *name);
int ed_graph_add_input(ed_graph *g, ed_id value);
int ed_graph_add_output(ed_graph *g, ed_id value);
/* Make `value` an initializer; takes the tensor (also on failure). */
int ed_graph_set_constant_take(ed_graph *g, ed_id value, ed_tensor *tensor);
/* A fresh constant value. */
int ed_graph_add_constant_take(ed_graph *g, ed_id *out, const char *stem, ed_tensor *tensor);
/* A node; in and out are copied, links are set. ED_EFORMAT when an output has a producer already.
 */
int ed_graph_add_node(ed_graph *g, ed_id *out, const char *op_type, const char *name,
                      const ed_id *in, size_t n_in, const ed_id *outputs, size_t n_out);
/* A node of the type, domain and attributes of node `like`, of as many inputs and outputs; the two
 * share the attributes, which must not be changed afterwards. */
int ed_graph_add_like(ed_graph *g, ed_id *out, ed_id like, const char *name, const ed_id *in,
                      const ed_id *outputs);
/* Store a copy of an attribute (lists and strings are copied, a tensor is taken), replacing one of
 * the same name. */
int ed_node_set_attr(ed_graph *g, ed_id node, const ed_attr *attr);
int ed_node_set_int(ed_graph *g, ed_id node, const char *name, int64_t value);
int ed_node_set_float(ed_graph *g, ed_id node, const char *name, float value);
int ed_node_set_ints(ed_graph *g, ed_id node, const char *name, const int64_t *v, size_t n);
ED_PLUGIN const ed_attr *ed_node_attr(const ed_node *node, const char *name);

/* ---- looking ---- */
/* Input i of a node, ED_NONE when omitted or beyond the list. */
static inline ed_id ed_node_in(const ed_node *node, uint32_t i)
{
    return i < node->n_in ? node->in[i] : ED_NONE;
}
/* The constant behind input i, or NULL. */
ED_PLUGIN const ed_tensor *ed_node_constant(const ed_graph *g, const ed_node *node, uint32_t i);
/* "Conv 'conv1'" (or by its first output when it has no name), in a per-thread ring buffer. */
ED_PLUGIN const char *ed_node_label(const ed_graph *g, const ed_node *node);
/* Number of consuming inputs, plus one if it is a graph output. */
size_t ed_value_uses(const ed_value *value);

/* ---- editing (edit.c) ---- */
int ed_node_set_input(ed_graph *g, ed_id node, uint32_t i, ed_id value);
/* All consumers of `from` (and the outputs list) read `to` instead. When `from` is a graph output,
 * the values swap names so that the model's output keeps its name. */
int ed_graph_replace_value(ed_graph *g, ed_id from, ed_id to);
void ed_graph_remove_node(ed_graph *g, ed_id node);
/* Remove nodes whose outputs nobody uses, and constants without consumers. */
int ed_graph_remove_unused(ed_graph *g);
/* Group nodes (each in none so far); the name is kind_<count of that kind>. */
int ed_graph_add_group(ed_graph *g, ed_id *out, const char *kind, const ed_id *nodes, size_t n);
void ed_graph_clear_groups(ed_graph *g);

/* ---- order (topo.c) ---- */
/* Live nodes, producers first, otherwise in id order; malloced. ED_EFORMAT names a cycle. */
int ed_graph_topological(const ed_graph *g, ed_id **order, size_t *count);

#endif
