/*
 * ONNX file to graph: the file is mapped, unpacked by protobuf-c, its values, nodes and what only
 * the format knows go into a graph, then quantization pairs are raised. Peak memory is the file's
 * clean pages plus one copy of the tensors.
 */
#include "onnx/read.h"

#include "ed/onnx.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the file's outermost structure, for a better sentence than "cannot parse" ---- */

static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

/* True when the file begins like a model, but a field runs past its end. */
static bool is_truncated(const uint8_t *p, size_t size)
{
    const uint8_t *end = p + size;
    if (size < 2 || (p[0] != 0x08 && p[0] != 0x3a)) /* ir_version or graph comes first */
        return false;
    while (p < end) {
        uint64_t key, n;
        if (!read_varint(&p, end, &key))
            return true;
        if (key >> 3 == 0 || key >> 3 > 100)
            return false;
        if ((key & 7) == 0) {
            if (!read_varint(&p, end, &n))
                return true;
        } else if ((key & 7) == 2) {
            if (!read_varint(&p, end, &n) || n > (size_t)(end - p))
                return true;
            p += n;
        } else {
            return false;
        }
    }
    return false;
}

static int unpack(Onnx__ModelProto **out, ed_reader *r, const void *data, size_t size)
{
    ED_FAIL_IF(!size, ED_EFORMAT, "%s: not an ONNX file: it is empty", r->path);
    *out = onnx__model_proto__unpack(&r->memory.base, size, data);
    if (!*out && r->memory.failed)
        return ED_ENOMEM;
    ED_FAIL_IF(
        !*out && is_truncated(data, size), ED_EFORMAT,
        "%s: the file is truncated: it ends in the middle of the model after %zu bytes; copy "
        "or export it again",
        r->path, size);
    ED_FAIL_IF(!*out || !(*out)->graph || !(*out)->has_ir_version, ED_EFORMAT,
               "%s: not an ONNX file: %s; expected a model that an ONNX exporter saved", r->path,
               !*out            ? "its bytes are no model"
               : !(*out)->graph ? "it holds no graph"
                                : "it names no IR version");
    return ED_OK;
}

/* ---- versions and what only the format knows ---- */

static int read_opsets(ed_reader *r, const Onnx__ModelProto *m)
{
    ED_FAIL_IF(m->ir_version < ED_ONNX_MIN_IR, ED_EUNSUPPORTED,
               "%s: the file has IR version %" PRId64 "; version %d or later is needed: export the "
               "model again",
               r->path, m->ir_version, ED_ONNX_MIN_IR);
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *o = m->opset_import[i];
        const char *domain = o->domain && strcmp(o->domain, "ai.onnx") != 0 ? o->domain : "";
        ED_TRY(ed_graph_set_opset(r->g, domain, o->version));
    }
    int64_t version = ed_graph_opset(r->g, "");
    ED_FAIL_IF(!version, ED_EFORMAT,
               "%s: the model imports no opset of ai.onnx; export it with one from %d to %d",
               r->path, ED_ONNX_MIN_OPSET, ED_ONNX_MAX_OPSET);
    ED_FAIL_IF(version < ED_ONNX_MIN_OPSET || version > ED_ONNX_MAX_OPSET, ED_EUNSUPPORTED,
               "%s: the model has opset %" PRId64
               "; opsets %d to %d are supported: export it with one "
               "of these or convert it with onnx.version_converter",
               r->path, version, ED_ONNX_MIN_OPSET, ED_ONNX_MAX_OPSET);
    return ED_OK;
}

static bool keep_bytes(ed_graph *g, ed_bytes *out, const void *data, size_t size)
{
    char *copy = ed_arena_alloc(g->arena, size + 1, 1);
    if (copy && size)
        memcpy(copy, data, size);
    *out = (ed_bytes){ copy, size };
    return copy != NULL;
}

bool ed_keep_text(ed_graph *g, const char **out, const char *text)
{
    *out = text ? ed_arena_strdup(g->arena, text) : NULL;
    return !text || *out;
}

bool ed_keep_list(ed_graph *g, ed_bytes **out, size_t *count, const ProtobufCBinaryData *list,
                  size_t n)
{
    *out = n ? ed_arena_alloc(g->arena, n, sizeof **out) : NULL;
    bool good = !n || *out;
    for (size_t i = 0; good && i < n; i++, ++*count)
        good = keep_bytes(g, &(*out)[i], list[i].data, list[i].len);
    return good;
}

static int read_meta(ed_reader *r, const Onnx__ModelProto *m)
{
    ed_graph *g = r->g;
    ed_graph_meta *meta = &g->meta;
    meta->ir_version = m->ir_version;
    meta->model_version = m->model_version;
    bool good = ed_keep_text(g, &meta->producer_name, m->producer_name) &&
                ed_keep_text(g, &meta->producer_version, m->producer_version) &&
                ed_keep_text(g, &meta->domain, m->domain) &&
                ed_keep_text(g, &meta->doc, m->doc_string) &&
                ed_keep_text(g, &meta->graph_doc, m->graph->doc_string);
    if (good && m->n_metadata_props)
        good = (meta->metadata = ed_arena_alloc(g->arena, 2 * m->n_metadata_props,
                                                sizeof *meta->metadata)) != NULL;
    for (size_t i = 0; good && i < m->n_metadata_props; i++, meta->n_metadata++) {
        const char *pair[] = { m->metadata_props[i]->key, m->metadata_props[i]->value };
        for (size_t k = 0; good && k < 2; k++)
            good =
                keep_bytes(g, &meta->metadata[2 * i + k], pair[k], pair[k] ? strlen(pair[k]) : 0);
    }
    good = good &&
           ed_keep_list(g, &meta->functions, &meta->n_functions, m->functions, m->n_functions) &&
           ed_keep_list(g, &meta->graph_metadata, &meta->n_graph_metadata, m->graph->metadata_props,
                        m->graph->n_metadata_props);
    return good ? ED_OK : ED_ENOMEM;
}

/* ---- the graph ---- */

static int read_graph(ed_reader *r, const Onnx__ModelProto *m)
{
    ED_TRY(ed_graph_new(&r->g, m->graph->name ? m->graph->name : ""));
    ED_TRY(read_opsets(r, m));
    ED_TRY(read_meta(r, m));
    ED_TRY(ed_read_values(r, m->graph));
    ED_TRY(ed_read_nodes(r, m->graph));
    ED_TRY(ed_read_outputs(r, m->graph));
    int rc = ed_graph_verify(r->g);
    if (rc == ED_OK)
        rc = ed_onnx_raise(r->g);
    return rc == ED_OK || rc == ED_ENOMEM ? rc : ed_error_context(rc, "%s", r->path);
}

static int read_model(ed_graph **out, const void *data, size_t size, const char *path)
{
    ed_reader r = { .path = path ? path : "model", .external = { .model = path } };
    Onnx__ModelProto *model = NULL;
    int rc;
    *out = NULL;
    ed_wire_memory_init(&r.memory);
    ED_GOTO(unpack(&model, &r, data, size));
    ED_GOTO(read_graph(&r, model));
    *out = r.g;
    r.g = NULL;
done:
    if (model)
        onnx__model_proto__free_unpacked(model, &r.memory.base);
    ed_graph_free(r.g);
    ed_external_close(&r.external);
    return rc;
}

int ed_onnx_read_memory(ed_graph **out, const void *data, size_t size, const char *path)
{
    return read_model(out, data, size, path);
}

int ed_onnx_read(ed_graph **out, const char *path)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ED_FAIL_IF(fd < 0, errno == ENOENT ? ED_ENOTFOUND : ED_EIO, "%s: cannot open the model: %s",
               path, strerror(errno));
    struct stat st;
    int rc = ED_OK;
    void *data = NULL;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = ed_error_set(ED_EIO, "%s: cannot read the model: it is not a regular file", path);
    } else if (st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (data == MAP_FAILED) {
            data = NULL;
            rc = ed_error_set(ED_EIO, "%s: cannot read the model: %s", path, strerror(errno));
        }
    }
    close(fd);
    if (rc == ED_OK)
        rc = read_model(out, data ? data : "", (size_t)st.st_size, path);
    if (data)
        munmap(data, (size_t)st.st_size);
    return rc;
}
