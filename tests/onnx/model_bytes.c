/* The model that tests change, and helpers around files. */
#include "model_bytes.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void init_info(model_bytes *m, size_t i, const char *name, const char *symbol, int64_t size)
{
    onnx__value_info_proto__init(&m->infos[i]);
    onnx__type_proto__init(&m->types[i]);
    onnx__type_proto__tensor__init(&m->tensor_types[i]);
    onnx__tensor_shape_proto__init(&m->shapes[i]);
    for (size_t k = 0; k < ED_LENGTH(m->dims[i]); k++) {
        onnx__tensor_shape_proto__dimension__init(&m->dims[i][k]);
        m->dim_lists[i][k] = &m->dims[i][k];
    }
    m->info_list[i] = &m->infos[i];
    m->infos[i].name = (char *)name;
    m->infos[i].type = &m->types[i];
    m->types[i].tensor_type = &m->tensor_types[i];
    m->tensor_types[i].has_elem_type = 1;
    m->tensor_types[i].elem_type = 1;
    m->tensor_types[i].shape = &m->shapes[i];
    m->shapes[i].n_dim = 2;
    m->shapes[i].dim = m->dim_lists[i];
    m->dims[i][0].dim_param = (char *)symbol;
    m->dims[i][1].has_dim_value = 1;
    m->dims[i][1].dim_value = size;
}

void model_bytes_init(model_bytes *m)
{
    memset(m, 0, sizeof *m);
    onnx__model_proto__init(&m->model);
    onnx__graph_proto__init(&m->graph);
    m->model.has_ir_version = 1;
    m->model.ir_version = 8;
    m->model.graph = &m->graph;
    m->model.opset_import = m->opset_list;
    m->model.n_opset_import = 1;
    for (size_t i = 0; i < 2; i++) {
        onnx__operator_set_id_proto__init(&m->opsets[i]);
        m->opset_list[i] = &m->opsets[i];
        m->opsets[i].has_version = 1;
    }
    m->opsets[0].version = 17;
    onnx__string_string_entry_proto__init(&m->metadata);
    m->metadata_list[0] = &m->metadata;
    m->graph.name = (char *)"small";
    m->graph.node = m->node_list;
    m->graph.initializer = m->initializer_list;
    init_info(m, 0, "x", "N", 4);
    init_info(m, 1, "x2", "N", 4);
    init_info(m, 2, "y", "N", 3);
    init_info(m, 3, "y2", "N", 3);
    m->graph.input = &m->info_list[0];
    m->graph.n_input = 1;
    m->graph.output = &m->info_list[2];
    m->graph.n_output = 1;
    Onnx__NodeProto *node = model_bytes_add_node(m, "MatMul", "y");
    node->name = (char *)"product";
    node->input[0] = (char *)"x";
    node->input[1] = (char *)"w";
    node->n_input = 2;
    m->w_dims[0] = 4;
    m->w_dims[1] = 3;
    for (int i = 0; i < 12; i++)
        m->w[i] = (float)i;
    Onnx__TensorProto *w = model_bytes_add_initializer(m, "w", 1, m->w_dims, 2);
    w->has_raw_data = 1;
    w->raw_data = (ProtobufCBinaryData){ sizeof m->w, (uint8_t *)m->w };
}

Onnx__TensorProto *model_bytes_add_initializer(model_bytes *m, const char *name, int32_t type,
                                               int64_t *dims, size_t n_dims)
{
    size_t i = m->graph.n_initializer++;
    assert_true(i < MAX_INITIALIZERS);
    Onnx__TensorProto *t = &m->initializers[i];
    onnx__tensor_proto__init(t);
    m->initializer_list[i] = t;
    t->name = (char *)name;
    t->has_data_type = 1;
    t->data_type = type;
    t->dims = dims;
    t->n_dims = n_dims;
    return t;
}

Onnx__NodeProto *model_bytes_add_node(model_bytes *m, const char *op_type, const char *out)
{
    size_t i = m->graph.n_node++;
    assert_true(i < MAX_NODES);
    Onnx__NodeProto *n = &m->nodes[i];
    onnx__node_proto__init(n);
    m->node_list[i] = n;
    n->op_type = (char *)op_type;
    n->input = m->in[i];
    n->output = m->out[i];
    n->output[0] = (char *)out;
    n->n_output = 1;
    n->attribute = m->attributes[i];
    return n;
}

void model_bytes_add_attribute(model_bytes *m, size_t node, const Onnx__AttributeProto *attribute)
{
    Onnx__NodeProto *n = &m->nodes[node];
    assert_true(n->n_attribute < MAX_ATTRIBUTES);
    ProtobufCBinaryData *to = &n->attribute[n->n_attribute++];
    to->len = onnx__attribute_proto__get_packed_size(attribute);
    to->data = malloc(to->len);
    assert_non_null(to->data);
    onnx__attribute_proto__pack(attribute, to->data);
}

void model_bytes_pack(model_bytes *m)
{
    free(m->bytes);
    m->size = onnx__model_proto__get_packed_size(&m->model);
    m->bytes = malloc(m->size);
    assert_non_null(m->bytes);
    onnx__model_proto__pack(&m->model, m->bytes);
}

int model_bytes_read(ed_graph **out, model_bytes *m)
{
    model_bytes_pack(m);
    return ed_onnx_read_memory(out, m->bytes, m->size, "model.onnx");
}

void model_bytes_free(model_bytes *m)
{
    for (size_t i = 0; i < m->graph.n_node; i++)
        for (size_t k = 0; k < m->nodes[i].n_attribute; k++)
            free(m->attributes[i][k].data);
    free(m->bytes);
}

Onnx__ModelProto *unpack_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint8_t *data = malloc((size_t)st.st_size);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)st.st_size, f), (size_t)st.st_size);
    fclose(f);
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, (size_t)st.st_size, data);
    free(data);
    assert_non_null(m);
    return m;
}

const Onnx__TensorProto *find_initializer(const Onnx__ModelProto *m, const char *name)
{
    for (size_t i = 0; i < m->graph->n_initializer; i++)
        if (strcmp(m->graph->initializer[i]->name, name) == 0)
            return m->graph->initializer[i];
    fail_msg("no initializer '%s'", name);
    return NULL;
}

const char *make_folder(void)
{
    static char folder[64];
    snprintf(folder, sizeof folder, "onnx_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

const char *path_in(const char *folder, const char *name)
{
    static char ring[4][256];
    static unsigned next;
    char *path = ring[next++ % 4];
    int n = snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    assert_true(n > 0 && (size_t)n < sizeof ring[0]);
    return path;
}

void remove_folder(const char *folder)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            unlink(path_in(folder, e->d_name));
    closedir(d);
    assert_int_equal(rmdir(folder), 0); /* fails when a temporary file was left behind */
}

void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}
