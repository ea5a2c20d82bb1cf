/*
 * Nodes and their attributes. An attribute of a kind that this library does not look into (graphs,
 * types, sparse tensors, tensors of strings) is kept as the bytes of its message.
 */
#include "onnx/read.h"

#include <string.h>

int ed_unpack_attribute(Onnx__AttributeProto **out, ed_reader *r, const ProtobufCBinaryData *bytes,
                        const char *what)
{
    *out = NULL;
    Onnx__AttributeProto *a =
        onnx__attribute_proto__unpack(&r->memory.base, bytes->len, bytes->data);
    if (!a && r->memory.failed)
        return ED_ENOMEM;
    bool damaged = !a, named = a && a->name && a->name[0];
    if (a && !named)
        ed_release_attribute(r, a);
    ED_FAIL_IF(!named, ED_EFORMAT, "%s: an attribute of %s %s; the file is no valid ONNX model",
               r->path, what, damaged ? "is damaged" : "has no name");
    *out = a;
    return ED_OK;
}

void ed_release_attribute(ed_reader *r, Onnx__AttributeProto *a)
{
    onnx__attribute_proto__free_unpacked(a, &r->memory.base);
}

/* Files before IR version 4 may leave the type out. */
static int type_of(const Onnx__AttributeProto *a)
{
    if (a->has_type && a->type)
        return a->type;
    return a->has_f       ? ED_WIRE_ATTR_FLOAT
           : a->has_i     ? ED_WIRE_ATTR_INT
           : a->has_s     ? ED_WIRE_ATTR_STRING
           : a->t         ? ED_WIRE_ATTR_TENSOR
           : a->n_floats  ? ED_WIRE_ATTR_FLOATS
           : a->n_ints    ? ED_WIRE_ATTR_INTS
           : a->n_strings ? ED_WIRE_ATTR_STRINGS
                          : 0;
}

static bool is_known_tensor(const Onnx__TensorProto *t)
{
    const ed_wire_type *type = ed_wire_type_of(t->data_type);
    return type && type->dtype != ED_DTYPE_NONE && type->dtype != ED_STRING;
}

static int set_strings(ed_graph *g, ed_id node, const Onnx__AttributeProto *a)
{
    ed_bytes *list = ed_calloc(a->n_strings + 1, sizeof *list);
    if (!list)
        return ED_ENOMEM;
    for (size_t i = 0; i < a->n_strings; i++)
        list[i] = (ed_bytes){ (const char *)a->strings[i].data, a->strings[i].len };
    int rc = ed_node_set_attr(
        g, node,
        &(ed_attr){
            .name = a->name, .type = ED_ATTR_STRINGS, .strings = list, .count = a->n_strings });
    ed_free(list);
    return rc;
}

static int set_tensor(ed_reader *r, ed_id node, const Onnx__AttributeProto *a, const char *what)
{
    ed_tensor *tensor;
    char *where = ed_asprintf("attribute '%s' of %s", a->name, what);
    if (!where)
        return ED_ENOMEM;
    int rc = ed_read_tensor(&tensor, r, a->t, where);
    ed_free(where);
    ED_TRY(rc);
    return ed_node_set_attr(
        r->g, node, &(ed_attr){ .name = a->name, .type = ED_ATTR_TENSOR, .tensor = tensor });
}

static int set_raw(ed_graph *g, ed_id node, const char *name, const void *data, size_t size)
{
    return ed_node_set_attr(g, node,
                            &(ed_attr){ .name = name, .type = ED_ATTR_RAW, .s = { data, size } });
}

static int set_attribute(ed_reader *r, ed_id node, const Onnx__AttributeProto *a,
                         const ProtobufCBinaryData *bytes, const char *what)
{
    ed_attr attr = { .name = a->name };
    if (a->ref_attr_name && a->ref_attr_name[0])
        return set_raw(r->g, node, a->name, bytes->data, bytes->len);
    switch (type_of(a)) {
    case ED_WIRE_ATTR_FLOAT:
        return ed_node_set_float(r->g, node, a->name, a->f);
    case ED_WIRE_ATTR_INT:
        return ed_node_set_int(r->g, node, a->name, a->i);
    case ED_WIRE_ATTR_STRING:
        attr.type = ED_ATTR_STRING;
        attr.s = (ed_bytes){ (const char *)a->s.data, a->s.len };
        return ed_node_set_attr(r->g, node, &attr);
    case ED_WIRE_ATTR_FLOATS:
        attr.type = ED_ATTR_FLOATS;
        attr.floats = a->floats;
        attr.count = a->n_floats;
        return ed_node_set_attr(r->g, node, &attr);
    case ED_WIRE_ATTR_INTS:
        return ed_node_set_ints(r->g, node, a->name, a->ints, a->n_ints);
    case ED_WIRE_ATTR_STRINGS:
        return set_strings(r->g, node, a);
    case ED_WIRE_ATTR_TENSOR:
        if (a->t && is_known_tensor(a->t))
            return set_tensor(r, node, a, what);
        break;
    default:
        break;
    }
    return set_raw(r->g, node, a->name, bytes->data, bytes->len);
}

static int read_attributes(ed_reader *r, const Onnx__NodeProto *n, ed_id node, const char *what)
{
    for (size_t i = 0; i < n->n_attribute; i++) {
        Onnx__AttributeProto *a;
        ED_TRY(ed_unpack_attribute(&a, r, &n->attribute[i], what));
        int rc = ed_node_attr(&r->g->nodes[node], a->name)
                     ? ed_error_set(ED_EFORMAT, "%s: %s has the attribute '%s' twice", r->path,
                                    what, a->name)
                     : set_attribute(r, node, a, &n->attribute[i], what);
        ed_release_attribute(r, a);
        ED_TRY(rc);
    }
    return ED_OK;
}

/* Ids of the values in a list of names; "" is an omitted one. */
static int find_values(ed_id *ids, ed_reader *r, char **names, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = names[i][0] ? ed_graph_find_value(r->g, names[i]) : ED_NONE;
        ED_FAIL_IF(names[i][0] && ids[i] == ED_NONE, ED_EFORMAT,
                   "%s: %s reads '%s', but no input, initializer or node of the graph provides it; "
                   "export the model again",
                   r->path, what, names[i]);
    }
    return ED_OK;
}

static int keep_texts(ed_graph *g, ed_node *node, const Onnx__NodeProto *n)
{
    bool good = true;
    if (n->domain && n->domain[0] && strcmp(n->domain, "ai.onnx") != 0)
        good = ed_keep_text(g, &node->domain, n->domain);
    if (good && n->doc_string && n->doc_string[0])
        good = ed_keep_text(g, &node->doc, n->doc_string);
    if (good && n->overload && n->overload[0])
        good = ed_keep_text(g, &node->overload, n->overload);
    good = good && ed_keep_list(g, &node->metadata, &node->n_metadata, n->metadata_props,
                                n->n_metadata_props);
    return good ? ED_OK : ED_ENOMEM;
}

static int add_node(ed_reader *r, const Onnx__NodeProto *n, const char *what)
{
    ed_id node;
    ed_id *ids = ed_calloc(n->n_input + n->n_output + 1, sizeof *ids);
    if (!ids)
        return ED_ENOMEM;
    int rc;
    ED_GOTO(find_values(ids, r, n->input, n->n_input, what));
    ED_GOTO(find_values(ids + n->n_input, r, n->output, n->n_output, what));
    ED_GOTO(ed_graph_add_node(r->g, &node, n->op_type, n->name, ids, n->n_input, ids + n->n_input,
                              n->n_output));
    ED_GOTO(keep_texts(r->g, &r->g->nodes[node], n));
    rc = read_attributes(r, n, node, what);
done:
    ed_free(ids);
    return rc;
}

static int read_node(ed_reader *r, const Onnx__NodeProto *n, size_t index)
{
    ED_FAIL_IF(!n->op_type || !n->op_type[0], ED_EFORMAT,
               "%s: node %zu ('%s') has no operator type; the file is no valid ONNX model", r->path,
               index, n->name ? n->name : "");
    char *what = n->name && n->name[0] ? ed_asprintf("node %s '%s'", n->op_type, n->name)
                                       : ed_asprintf("node %zu (%s)", index, n->op_type);
    if (!what)
        return ED_ENOMEM;
    ed_id out = n->n_output == 1 ? ed_graph_find_value(r->g, n->output[0]) : ED_NONE;
    bool done = false;
    int rc = ED_OK;
    if (out != ED_NONE && ed_is_constant_node(n))
        rc = ed_read_constant(&done, r, n, out, what);
    if (rc == ED_OK && !done)
        rc = add_node(r, n, what);
    ed_free(what);
    return rc;
}

int ed_read_nodes(ed_reader *r, const Onnx__GraphProto *graph)
{
    for (size_t i = 0; i < graph->n_node; i++)
        ED_TRY(read_node(r, graph->node[i], i));
    return ED_OK;
}
