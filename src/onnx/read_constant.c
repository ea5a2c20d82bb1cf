/*
 * Constant nodes: their number or tensor becomes the initializer of their output. Strings and
 * sparse tensors are only kept; such a node stays. The reverse for an initializer of strings: it
 * becomes a Constant node whose attribute is kept as bytes.
 */
#include "onnx/read.h"

#include <string.h>

bool ed_is_constant_node(const Onnx__NodeProto *n)
{
    return strcmp(n->op_type, "Constant") == 0 && n->n_attribute == 1 &&
           (!n->domain || !n->domain[0] || strcmp(n->domain, "ai.onnx") == 0);
}

/* The forms of a value besides a tensor: attribute, element type, rank. */
static const struct {
    const char *name;
    ed_dtype dtype;
    int rank;
} forms[] = {
    { "value_float", ED_F32, 0 },
    { "value_floats", ED_F32, 1 },
    { "value_int", ED_I64, 0 },
    { "value_ints", ED_I64, 1 },
};

static int from_numbers(ed_tensor **out, const Onnx__AttributeProto *a, size_t form)
{
    const void *data[] = { &a->f, a->floats, &a->i, a->ints };
    size_t count[] = { 1, a->n_floats, 1, a->n_ints };
    ed_shape shape = { forms[form].rank, { (int64_t)count[form] } };
    return ed_tensor_from(out, forms[form].dtype, &shape, data[form]);
}

static int value_of(ed_tensor **out, ed_reader *r, Onnx__AttributeProto *a, const char *what)
{
    *out = NULL;
    for (size_t i = 0; i < ED_LENGTH(forms); i++)
        if (strcmp(a->name, forms[i].name) == 0)
            return from_numbers(out, a, i);
    const ed_wire_type *type = a->t ? ed_wire_type_of(a->t->data_type) : NULL;
    if (strcmp(a->name, "value") != 0 || !a->t || (type && type->dtype == ED_STRING))
        return ED_OK;
    return ed_read_tensor(out, r, a->t, what);
}

int ed_read_constant(bool *done, ed_reader *r, const Onnx__NodeProto *n, ed_id out,
                     const char *what)
{
    Onnx__AttributeProto *a;
    ed_tensor *tensor;
    *done = false;
    ED_TRY(ed_unpack_attribute(&a, r, &n->attribute[0], what));
    int rc = value_of(&tensor, r, a, what);
    ed_release_attribute(r, a);
    ED_TRY(rc);
    *done = tensor != NULL;
    return tensor ? ed_graph_set_constant_take(r->g, out, tensor) : ED_OK;
}

int ed_read_kept_tensor(ed_reader *r, Onnx__TensorProto *t, ed_id out)
{
    Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
    char name[] = "value";
    a.name = name;
    a.has_type = 1;
    a.type = ED_WIRE_ATTR_TENSOR;
    a.t = t;
    size_t size = onnx__attribute_proto__get_packed_size(&a);
    uint8_t *bytes = ed_malloc(size);
    if (!bytes)
        return ED_ENOMEM;
    onnx__attribute_proto__pack(&a, bytes);
    ed_id node;
    int rc = ed_graph_add_node(r->g, &node, "Constant", "", NULL, 0, &out, 1);
    if (rc == ED_OK)
        rc = ed_node_set_attr(
            r->g, node,
            &(ed_attr){ .name = name, .type = ED_ATTR_RAW, .s = { (const char *)bytes, size } });
    ed_free(bytes);
    return rc;
}
