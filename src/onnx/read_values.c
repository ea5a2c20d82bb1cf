/*
 * The values of a graph: inputs, initializers, outputs of nodes, with the types and shapes that the
 * file gives. An initializer that is listed as an input (IR version 3, or a default) is a constant.
 */
#include "onnx/read.h"

#include <inttypes.h>

static int read_dimension(int64_t *out, ed_reader *r, const Onnx__TensorShapeProto__Dimension *d,
                          const char *kind, const char *name, size_t axis)
{
    *out = ED_DIM_UNKNOWN;
    if (d->dim_param && d->dim_param[0]) {
        *out = ed_graph_symbol(r->g, d->dim_param);
        return *out == ED_DIM_UNKNOWN ? ED_ENOMEM : ED_OK;
    }
    if (!d->has_dim_value)
        return ED_OK;
    ED_FAIL_IF(d->dim_value < 0 || d->dim_value > (int64_t)1 << 48, ED_EFORMAT,
               "%s: dimension %zu of the %s '%s' is %" PRId64
               "; expected a size from 0 to 2^48, or a "
               "name where it is free",
               r->path, axis, kind, name, d->dim_value);
    *out = d->dim_value;
    return ED_OK;
}

static int read_shape(ed_shape *out, ed_reader *r, const Onnx__TensorShapeProto *shape,
                      const char *kind, const char *name)
{
    ED_FAIL_IF(shape->n_dim > ED_MAX_RANK, ED_EUNSUPPORTED,
               "%s: the %s '%s' has %zu dimensions; at most %d are supported", r->path, kind, name,
               shape->n_dim, ED_MAX_RANK);
    for (size_t i = 0; i < shape->n_dim; i++)
        ED_TRY(read_dimension(&out->dim[i], r, shape->dim[i], kind, name, i));
    out->rank = (int)shape->n_dim;
    return ED_OK;
}

/* Type and shape of a value that is no constant. */
static int read_info(ed_reader *r, const Onnx__ValueInfoProto *info, ed_id id, const char *kind)
{
    if (!info->type || r->g->values[id].constant)
        return ED_OK;
    const char *name = info->name;
    ED_FAIL_IF(!info->type->tensor_type, ED_EUNSUPPORTED,
               "%s: the %s '%s' is no tensor (a sequence, map or optional); only tensors are "
               "supported",
               r->path, kind, name);
    int32_t number = info->type->tensor_type->elem_type;
    const ed_wire_type *type = ed_wire_type_of(number);
    ED_FAIL_IF(number && !type, ED_EFORMAT,
               "%s: the %s '%s' has the element type %d, which ONNX does not define", r->path, kind,
               name, (int)number);
    ED_FAIL_IF(number && type->dtype == ED_DTYPE_NONE, ED_EUNSUPPORTED,
               "%s: the %s '%s' is of type %s, which is not supported; export the model in float32",
               r->path, kind, name, type->name);
    r->g->values[id].dtype = number ? type->dtype : ED_DTYPE_NONE;
    if (!info->type->tensor_type->shape)
        return ED_OK;
    return read_shape(&r->g->values[id].shape, r, info->type->tensor_type->shape, kind, name);
}

static int add_value(ed_id *out, ed_reader *r, const char *name, const char *kind,
                     const char *source)
{
    ED_FAIL_IF(!name || !name[0], ED_EFORMAT, "%s: %s%s%s has no name", r->path, kind,
               source[0] ? " of " : "", source);
    ED_FAIL_IF(ed_graph_find_value(r->g, name) != ED_NONE, ED_EFORMAT,
               "%s: the %s '%s'%s%s has the name of another value; names must be unique", r->path,
               kind, name, source[0] ? " of " : "", source);
    return ed_graph_add_value(r->g, out, name);
}

static int read_initializer(ed_reader *r, Onnx__TensorProto *t)
{
    ed_id id;
    ED_TRY(add_value(&id, r, t->name, "initializer", ""));
    if (t->data_type == ed_wire_number_of(ED_STRING) && t->data_location != 1)
        return ed_read_kept_tensor(r, t, id);
    char *what = ed_asprintf("the initializer '%s'", t->name);
    if (!what)
        return ED_ENOMEM;
    ed_tensor *tensor;
    int rc = ed_read_tensor(&tensor, r, t, what);
    ed_free(what);
    return rc == ED_OK ? ed_graph_set_constant_take(r->g, id, tensor) : rc;
}

static int read_input(ed_reader *r, const Onnx__ValueInfoProto *info)
{
    ed_id id = info->name ? ed_graph_find_value(r->g, info->name) : ED_NONE;
    bool has_default = id != ED_NONE && !r->g->values[id].is_input;
    if (has_default)
        return ED_OK;
    ED_TRY(add_value(&id, r, info->name, "input", ""));
    ED_TRY(ed_graph_add_input(r->g, id));
    return read_info(r, info, id, "input");
}

static int add_node_outputs(ed_reader *r, const Onnx__NodeProto *n)
{
    for (size_t i = 0; i < n->n_output; i++) {
        ed_id id;
        if (n->output[i][0])
            ED_TRY(add_value(&id, r, n->output[i], "output", n->op_type ? n->op_type : "a node"));
    }
    return ED_OK;
}

int ed_read_values(ed_reader *r, const Onnx__GraphProto *graph)
{
    ED_FAIL_IF(graph->n_sparse_initializer, ED_EUNSUPPORTED,
               "%s: the initializer '%s' is sparse, which is not supported; export it dense",
               r->path,
               graph->sparse_initializer[0]->values && graph->sparse_initializer[0]->values->name
                   ? graph->sparse_initializer[0]->values->name
                   : "");
    for (size_t i = 0; i < graph->n_initializer; i++)
        ED_TRY(read_initializer(r, graph->initializer[i]));
    for (size_t i = 0; i < graph->n_input; i++)
        ED_TRY(read_input(r, graph->input[i]));
    for (size_t i = 0; i < graph->n_node; i++)
        ED_TRY(add_node_outputs(r, graph->node[i]));
    return ED_OK;
}

/* A value's info is a help, not a part of the model: what cannot be stored is left out. */
static int read_value_infos(ed_reader *r, const Onnx__GraphProto *graph)
{
    for (size_t i = 0; i < graph->n_value_info; i++) {
        const Onnx__ValueInfoProto *info = graph->value_info[i];
        ed_id id = info->name ? ed_graph_find_value(r->g, info->name) : ED_NONE;
        if (id == ED_NONE || r->g->values[id].producer == ED_NONE)
            continue;
        ed_value *v = &r->g->values[id];
        int rc = read_info(r, info, id, "value");
        if (rc == ED_ENOMEM)
            return rc;
        if (rc != ED_OK) {
            v->dtype = ED_DTYPE_NONE;
            v->shape = ED_SHAPE_UNKNOWN;
        }
    }
    return ED_OK;
}

int ed_read_outputs(ed_reader *r, const Onnx__GraphProto *graph)
{
    ED_TRY(read_value_infos(r, graph));
    ED_FAIL_IF(!graph->n_output, ED_EFORMAT, "%s: the graph has no output; export the model again",
               r->path);
    for (size_t i = 0; i < graph->n_output; i++) {
        const Onnx__ValueInfoProto *info = graph->output[i];
        ed_id id = info->name ? ed_graph_find_value(r->g, info->name) : ED_NONE;
        ED_FAIL_IF(id == ED_NONE, ED_EFORMAT,
                   "%s: the output '%s' is not computed by any node; export the model again",
                   r->path, info->name ? info->name : "");
        ED_FAIL_IF(r->g->values[id].is_output, ED_EFORMAT, "%s: the output '%s' is listed twice",
                   r->path, info->name);
        ED_TRY(ed_graph_add_output(r->g, id));
        if (!r->g->values[id].is_input)
            ED_TRY(read_info(r, info, id, "output"));
    }
    return ED_OK;
}
