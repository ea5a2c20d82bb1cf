/*
 * Graph to ONNX model: nodes, the initializers they read, inputs and outputs with their symbolic
 * sizes, and what was kept from the file that was read. Version rules: the model's own opset and an
 * IR version that knows it; at least 4, so that initializers need not be listed as inputs.
 */
#include "onnx/write.h"

#include <inttypes.h>
#include <string.h>

static int64_t ir_version_of(const ed_graph *g)
{
    /* the first IR version whose release knew an opset (ONNX's Versioning.md) */
    static const struct {
        int64_t opset, ir;
    } rows[] = { { 23, 11 }, { 21, 10 }, { 19, 9 }, { 15, 8 }, { 12, 7 }, { 11, 6 }, { 10, 5 } };
    int64_t needed = 4;
    for (size_t i = ED_LENGTH(rows); i-- > 0;)
        if (ed_graph_opset(g, "") >= rows[i].opset)
            needed = rows[i].ir;
    return g->meta.ir_version > needed ? g->meta.ir_version : needed;
}

/* ---- values ---- */

static int write_shape(ed_writer *w, Onnx__TypeProto__Tensor *type, const ed_shape *shape)
{
    Onnx__TensorShapeProto *s = ed_writer_alloc(w, 1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    onnx__tensor_shape_proto__init(s);
    s->dim = ed_writer_alloc(w, (size_t)shape->rank, sizeof *s->dim);
    if (!s->dim)
        return ED_ENOMEM;
    for (int i = 0; i < shape->rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = ed_writer_alloc(w, 1, sizeof *d);
        if (!d)
            return ED_ENOMEM;
        onnx__tensor_shape_proto__dimension__init(d);
        if (shape->dim[i] >= 0) {
            d->has_dim_value = 1;
            d->dim_value = shape->dim[i];
        } else if (shape->dim[i] <= -2 && (size_t)(-2 - shape->dim[i]) < w->g->n_symbols) {
            d->dim_param = (char *)w->g->symbols[-2 - shape->dim[i]];
        }
        s->dim[s->n_dim++] = d;
    }
    type->shape = s;
    return ED_OK;
}

static int write_info(Onnx__ValueInfoProto **out, ed_writer *w, const ed_value *v)
{
    Onnx__ValueInfoProto *info = ed_writer_alloc(w, 1, sizeof *info);
    Onnx__TypeProto *type = ed_writer_alloc(w, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = ed_writer_alloc(w, 1, sizeof *tensor);
    if (!info || !type || !tensor)
        return ED_ENOMEM;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    info->name = (char *)v->name;
    *out = info;
    if (v->dtype == ED_DTYPE_NONE)
        return ED_OK;
    info->type = type;
    type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = ed_wire_number_of(v->dtype);
    return v->shape.rank < 0 ? ED_OK : write_shape(w, tensor, &v->shape);
}

static int write_infos(Onnx__ValueInfoProto ***out, size_t *count, ed_writer *w, const ed_id *ids,
                       size_t n)
{
    *out = ed_writer_alloc(w, n, sizeof **out);
    if (!*out)
        return ED_ENOMEM;
    for (; *count < n; ++*count)
        ED_TRY(write_info(&(*out)[*count], w, &w->g->values[ids[*count]]));
    return ED_OK;
}

/* A graph inside of an attribute, which is only kept, may read any value. */
static bool has_subgraph(const ed_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; !g->nodes[i].dead && k < g->nodes[i].n_attrs; k++)
            if (g->nodes[i].attrs[k].type == ED_ATTR_RAW)
                return true;
    return false;
}

static int write_initializers(ed_writer *w)
{
    bool all = has_subgraph(w->g);
    for (size_t i = 0; i < w->g->n_values; i++) {
        const ed_value *v = &w->g->values[i];
        bool lowered = w->zero_points[i].name && strcmp(w->zero_points[i].name, v->name) == 0;
        if (v->constant && !lowered && (all || w->needed[i] || v->is_output))
            ED_TRY(ed_write_initializer(w, v->name, v->constant));
    }
    return ED_OK;
}

/* ---- the model ---- */

static char *text_or_null(const char *text)
{
    return text && text[0] ? (char *)text : NULL;
}

static int write_opsets(ed_writer *w)
{
    Onnx__ModelProto *m = &w->model;
    m->opset_import = ed_writer_alloc(w, w->g->n_opsets, sizeof *m->opset_import);
    if (!m->opset_import)
        return ED_ENOMEM;
    for (size_t i = 0; i < w->g->n_opsets; i++) {
        if (strcmp(w->g->opsets[i].domain, "ed") == 0)
            continue;
        Onnx__OperatorSetIdProto *o = ed_writer_alloc(w, 1, sizeof *o);
        if (!o)
            return ED_ENOMEM;
        onnx__operator_set_id_proto__init(o);
        o->domain = (char *)w->g->opsets[i].domain;
        o->has_version = 1;
        o->version = w->g->opsets[i].version;
        m->opset_import[m->n_opset_import++] = o;
    }
    return ED_OK;
}

static int write_metadata(ed_writer *w)
{
    const ed_graph_meta *meta = &w->g->meta;
    Onnx__ModelProto *m = &w->model;
    m->metadata_props = ed_writer_alloc(w, meta->n_metadata, sizeof *m->metadata_props);
    if (!m->metadata_props)
        return ED_ENOMEM;
    for (size_t i = 0; i < meta->n_metadata; i++) {
        Onnx__StringStringEntryProto *e = ed_writer_alloc(w, 1, sizeof *e);
        if (!e)
            return ED_ENOMEM;
        onnx__string_string_entry_proto__init(e);
        e->key = (char *)meta->metadata[2 * i].data;
        e->value = (char *)meta->metadata[2 * i + 1].data;
        m->metadata_props[m->n_metadata_props++] = e;
    }
    ED_TRY(ed_write_kept(w, &m->functions, &m->n_functions, meta->functions, meta->n_functions));
    return ed_write_kept(w, &w->graph.metadata_props, &w->graph.n_metadata_props,
                         meta->graph_metadata, meta->n_graph_metadata);
}

static void write_head(ed_writer *w)
{
    const ed_graph_meta *meta = &w->g->meta;
    Onnx__ModelProto *m = &w->model;
    m->has_ir_version = 1;
    m->ir_version = ir_version_of(w->g);
    m->producer_name = meta->producer_name ? (char *)meta->producer_name : (char *)"ed";
    m->producer_version = text_or_null(meta->producer_version);
    m->domain = text_or_null(meta->domain);
    m->has_model_version = meta->model_version != 0;
    m->model_version = meta->model_version;
    m->doc_string = text_or_null(meta->doc);
    m->graph = &w->graph;
    w->graph.name = w->g->name[0] ? (char *)w->g->name : (char *)"graph";
    w->graph.doc_string = text_or_null(meta->graph_doc);
}

/* Names that the file will have. A FakeQuantize becomes nodes with names of their own. */
static int take_names(ed_writer *w)
{
    for (size_t i = 0; i < w->g->n_values; i++) {
        const ed_value *v = &w->g->values[i];
        if (v->producer != ED_NONE || v->is_input || v->constant)
            ED_TRY(ed_strmap_put(&w->value_names, v->name, 0));
    }
    for (size_t i = 0; i < w->g->n_nodes; i++) {
        const ed_node *n = &w->g->nodes[i];
        if (!n->dead && !ed_is_fake_quantize(n))
            ED_TRY(ed_strmap_put(&w->node_names, n->name, 0));
    }
    return ED_OK;
}

static int build(ed_writer *w)
{
    const ed_graph *g = w->g;
    w->arena = ed_arena_new();
    if (!w->arena)
        return ED_ENOMEM;
    w->needed = ed_writer_alloc(w, g->n_values, sizeof *w->needed);
    w->zero_points = ed_writer_alloc(w, g->n_values, sizeof *w->zero_points);
    if (!w->needed || !w->zero_points)
        return ED_ENOMEM;
    ED_TRY(take_names(w));
    write_head(w);
    ED_TRY(write_opsets(w));
    ED_TRY(write_metadata(w));
    ED_TRY(write_infos(&w->graph.input, &w->graph.n_input, w, g->inputs, g->n_inputs));
    ED_TRY(write_infos(&w->graph.output, &w->graph.n_output, w, g->outputs, g->n_outputs));
    ED_TRY(ed_write_nodes(w));
    return write_initializers(w);
}

int ed_onnx_write(const ed_graph *graph, const char *path, const ed_onnx_write_options *opts)
{
    ed_writer w = { .g = graph,
                    .path = path,
                    .weights = opts ? opts->weights : ED_WEIGHTS_INT8,
                    .model = ONNX__MODEL_PROTO__INIT,
                    .graph = ONNX__GRAPH_PROTO__INIT };
    int rc = build(&w);
    if (rc == ED_OK)
        rc = ed_write_file(&w, opts && opts->external_data);
    ed_free(w.graph.node);
    ed_free(w.graph.initializer);
    ed_strmap_clear(&w.value_names);
    ed_strmap_clear(&w.node_names);
    ed_arena_free(w.arena);
    return rc;
}
