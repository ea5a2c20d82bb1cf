/* Attributes of a node into its operator's parameter struct, by the row's attribute table. */
#include "ops/op.h"

#include <string.h>

static const char *const type_names[] = {
    [ED_ATTR_INT] = "an integer",          [ED_ATTR_FLOAT] = "a float",
    [ED_ATTR_STRING] = "a string",         [ED_ATTR_INTS] = "a list of integers",
    [ED_ATTR_FLOATS] = "a list of floats", [ED_ATTR_STRINGS] = "a list of strings",
    [ED_ATTR_TENSOR] = "a tensor",         [ED_ATTR_RAW] = "something else",
};

/* The attribute type that a kind is read from. */
static const ed_attr_type kind_types[] = {
    [ED_KIND_I64] = ED_ATTR_INT,
    [ED_KIND_F32] = ED_ATTR_FLOAT,
    [ED_KIND_INTS] = ED_ATTR_INTS,
    [ED_KIND_ENUM] = ED_ATTR_STRING,
};

static void set_preset(const ed_attr_spec *spec, void *field)
{
    if (spec->kind == ED_KIND_I64)
        *(int64_t *)field = (int64_t)spec->preset;
    else if (spec->kind == ED_KIND_F32)
        *(float *)field = (float)spec->preset;
    else if (spec->kind == ED_KIND_INTS)
        ((ed_ints *)field)->n = -1;
    else
        *(int *)field = (int)spec->preset;
}

static int set_ints(const ed_attr *attr, const ed_graph *g, const ed_node *node, ed_ints *field)
{
    if (attr->count > ED_OP_MAX_INTS)
        return ed_node_fail(g, node, ED_EUNSUPPORTED,
                            "attribute '%s' has %zu numbers; up to %d are supported", attr->name,
                            attr->count, ED_OP_MAX_INTS);
    field->n = (int)attr->count;
    for (size_t i = 0; i < attr->count; i++)
        field->v[i] = attr->ints[i];
    return ED_OK;
}

static int set_word(const ed_attr_spec *spec, const ed_attr *attr, const ed_graph *g,
                    const ed_node *node, int *field)
{
    for (int i = 0; spec->words[i]; i++) {
        if (strlen(spec->words[i]) == attr->s.size &&
            memcmp(spec->words[i], attr->s.data, attr->s.size) == 0) {
            *field = i;
            return ED_OK;
        }
    }
    return ed_node_fail(g, node, ED_EFORMAT,
                        "attribute '%s' is '%.40s', which is not one of its words (such as '%s')",
                        spec->name, attr->s.data, spec->words[0]);
}

static int set_field(const ed_attr_spec *spec, const ed_attr *attr, const ed_graph *g,
                     const ed_node *node, void *field)
{
    ed_attr_type wanted = kind_types[spec->kind];
    if (attr->type != wanted)
        return ed_node_fail(g, node, ED_EFORMAT, "attribute '%s' is %s; it must be %s", spec->name,
                            type_names[attr->type], type_names[wanted]);
    if (spec->kind == ED_KIND_INTS)
        return set_ints(attr, g, node, field);
    if (spec->kind == ED_KIND_ENUM)
        return set_word(spec, attr, g, node, field);
    if (spec->kind == ED_KIND_I64)
        *(int64_t *)field = attr->i;
    else
        *(float *)field = attr->f;
    return ED_OK;
}

int ed_op_params(const ed_op *op, const ed_graph *g, const ed_node *node, void *params)
{
    if (op->params_size)
        memset(params, 0, op->params_size);
    for (const ed_attr_spec *spec = op->attrs; spec && spec->name; spec++) {
        void *field = (char *)params + spec->offset;
        const ed_attr *attr = ed_node_attr(node, spec->name);
        if (attr)
            ED_TRY(set_field(spec, attr, g, node, field));
        else if (spec->required)
            return ed_node_fail(g, node, ED_EFORMAT,
                                "the attribute '%s' is missing; this operator requires it",
                                spec->name);
        else
            set_preset(spec, field);
    }
    return ED_OK;
}
