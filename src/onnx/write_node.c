/* Nodes, attributes and tensors as messages of protobuf-c, in topological order. */
#include "onnx/write.h"

#include <stdio.h>
#include <string.h>

void *ed_writer_alloc(ed_writer *w, size_t count, size_t size)
{
    return ed_arena_alloc(w->arena, count, size);
}

const char *ed_writer_unique(ed_writer *w, ed_strmap *taken, const char *stem, const char *suffix)
{
    const char *name = ed_arena_printf(w->arena, "%s%s", stem, suffix);
    for (unsigned i = 1; name && ed_strmap_get(taken, name, NULL); i++)
        name = ed_arena_printf(w->arena, "%s%s_%u", stem, suffix, i);
    return name && ed_strmap_put(taken, name, 0) == ED_OK ? name : NULL;
}

int ed_write_new_node(Onnx__NodeProto **out, ed_writer *w, const char *op_type, const char *name,
                      size_t n_in, size_t n_out)
{
    Onnx__GraphProto *graph = &w->graph;
    ED_TRY(ed_grow(&graph->node, &w->node_capacity, graph->n_node + 1, sizeof *graph->node));
    Onnx__NodeProto *node = ed_writer_alloc(w, 1, sizeof *node);
    if (!node)
        return ED_ENOMEM;
    onnx__node_proto__init(node);
    node->op_type = (char *)op_type;
    node->name = name[0] ? (char *)name : NULL;
    node->input = ed_writer_alloc(w, n_in, sizeof *node->input);
    node->output = ed_writer_alloc(w, n_out, sizeof *node->output);
    if (!node->input || !node->output)
        return ED_ENOMEM;
    node->n_input = n_in;
    node->n_output = n_out;
    graph->node[graph->n_node++] = node;
    *out = node;
    return ED_OK;
}

void ed_write_tensor(Onnx__TensorProto *t, const ed_tensor *tensor)
{
    t->has_data_type = 1;
    t->data_type = ed_wire_number_of(tensor->dtype);
    t->n_dims = (size_t)tensor->shape.rank;
    t->dims = (int64_t *)tensor->shape.dim;
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){ tensor->nbytes, tensor->data };
}

int ed_write_initializer(ed_writer *w, const char *name, const ed_tensor *tensor)
{
    Onnx__GraphProto *graph = &w->graph;
    ED_TRY(ed_grow(&graph->initializer, &w->initializer_capacity, graph->n_initializer + 1,
                   sizeof *graph->initializer));
    Onnx__TensorProto *t = ed_writer_alloc(w, 1, sizeof *t);
    if (!t)
        return ED_ENOMEM;
    onnx__tensor_proto__init(t);
    ed_write_tensor(t, tensor);
    t->name = (char *)name;
    graph->initializer[graph->n_initializer++] = t;
    return ED_OK;
}

static const int32_t attribute_types[] = {
    [ED_ATTR_INT] = ED_WIRE_ATTR_INT,       [ED_ATTR_FLOAT] = ED_WIRE_ATTR_FLOAT,
    [ED_ATTR_STRING] = ED_WIRE_ATTR_STRING, [ED_ATTR_INTS] = ED_WIRE_ATTR_INTS,
    [ED_ATTR_FLOATS] = ED_WIRE_ATTR_FLOATS, [ED_ATTR_STRINGS] = ED_WIRE_ATTR_STRINGS,
    [ED_ATTR_TENSOR] = ED_WIRE_ATTR_TENSOR,
};

static int pack_attribute(ProtobufCBinaryData *out, ed_writer *w, const ed_attr *attr)
{
    Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
    Onnx__TensorProto t = ONNX__TENSOR_PROTO__INIT;
    a.name = (char *)attr->name;
    a.has_type = 1;
    a.type = attribute_types[attr->type];
    a.has_i = attr->type == ED_ATTR_INT;
    a.i = attr->i;
    a.has_f = attr->type == ED_ATTR_FLOAT;
    a.f = attr->f;
    a.has_s = attr->type == ED_ATTR_STRING;
    a.s = (ProtobufCBinaryData){ attr->s.size, (uint8_t *)attr->s.data };
    if (attr->type == ED_ATTR_INTS) {
        a.n_ints = attr->count;
        a.ints = (int64_t *)attr->ints;
    } else if (attr->type == ED_ATTR_FLOATS) {
        a.n_floats = attr->count;
        a.floats = (float *)attr->floats;
    } else if (attr->type == ED_ATTR_STRINGS) {
        a.strings = ed_writer_alloc(w, attr->count, sizeof *a.strings);
        for (size_t i = 0; a.strings && i < attr->count; i++)
            a.strings[i] =
                (ProtobufCBinaryData){ attr->strings[i].size, (uint8_t *)attr->strings[i].data };
        a.n_strings = a.strings ? attr->count : 0;
        if (!a.strings)
            return ED_ENOMEM;
    } else if (attr->type == ED_ATTR_TENSOR) {
        ed_write_tensor(&t, attr->tensor);
        a.t = &t;
    }
    out->len = onnx__attribute_proto__get_packed_size(&a);
    out->data = ed_writer_alloc(w, out->len, 1);
    if (!out->data)
        return ED_ENOMEM;
    onnx__attribute_proto__pack(&a, out->data);
    return ED_OK;
}

int ed_write_attribute(ed_writer *w, Onnx__NodeProto *node, const ed_attr *attr, size_t count)
{
    if (!node->attribute)
        node->attribute = ed_writer_alloc(w, count, sizeof *node->attribute);
    if (!node->attribute)
        return ED_ENOMEM;
    ProtobufCBinaryData *to = &node->attribute[node->n_attribute];
    if (attr->type == ED_ATTR_RAW)
        *to = (ProtobufCBinaryData){ attr->s.size, (uint8_t *)attr->s.data };
    else
        ED_TRY(pack_attribute(to, w, attr));
    node->n_attribute++;
    return ED_OK;
}

static char *name_of(const ed_graph *g, ed_id id)
{
    return id == ED_NONE ? (char *)"" : (char *)g->values[id].name;
}

int ed_write_kept(ed_writer *w, ProtobufCBinaryData **list, size_t *count, const ed_bytes *kept,
                  size_t n)
{
    *list = n ? ed_writer_alloc(w, n, sizeof **list) : NULL;
    if (n && !*list)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++)
        (*list)[i] = (ProtobufCBinaryData){ kept[i].size, (uint8_t *)kept[i].data };
    *count = n;
    return ED_OK;
}

static int write_node(ed_writer *w, const ed_node *n)
{
    Onnx__NodeProto *node;
    ED_FAIL_IF(
        strcmp(n->domain, "ed") == 0, ED_EUNSUPPORTED,
        "%s: %s is an operator of this library that ONNX does not have; it cannot be written",
        w->path, ed_node_label(w->g, n));
    ED_TRY(ed_write_new_node(&node, w, n->op_type, n->name, n->n_in, n->n_out));
    node->domain = n->domain[0] ? (char *)n->domain : NULL;
    node->doc_string = n->doc[0] ? (char *)n->doc : NULL;
    node->overload = (char *)n->overload;
    ED_TRY(ed_write_kept(w, &node->metadata_props, &node->n_metadata_props, n->metadata,
                         n->n_metadata));
    for (uint32_t i = 0; i < n->n_in; i++) {
        node->input[i] = name_of(w->g, n->in[i]);
        if (n->in[i] != ED_NONE)
            w->needed[n->in[i]] = true;
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        node->output[i] = name_of(w->g, n->out[i]);
    for (uint32_t i = 0; i < n->n_attrs; i++)
        ED_TRY(ed_write_attribute(w, node, &n->attrs[i], n->n_attrs));
    return ED_OK;
}

int ed_write_nodes(ed_writer *w)
{
    ed_id *order;
    size_t n;
    ED_TRY(ed_graph_topological(w->g, &order, &n));
    int rc = ED_OK;
    for (size_t i = 0; rc == ED_OK && i < n; i++) {
        const ed_node *node = &w->g->nodes[order[i]];
        rc = ed_is_fake_quantize(node) ? ed_onnx_lower(w, node) : write_node(w, node);
    }
    ed_free(order);
    return rc;
}
