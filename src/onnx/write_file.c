/*
 * A model to its file: protobuf-c packs straight into the stream, so the serialized model is never
 * in memory. Large initializers may go to "<file>.data", which appears before the model that names
 * it. A message of protobuf ends at 2 GiB; a model that would be larger is written with external
 * data.
 */
#include "onnx/write.h"

#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    EXTERNAL_FROM = 1024,
    SMALL_ALIGN = 64,
    LARGE_ALIGN = 4096, /* pages: runtimes map the file */
    LARGE_FROM = 64 * 1024
};

typedef struct stream {
    ProtobufCBuffer base;
    FILE *file;
    int error; /* errno of the first failure */
} stream;

static void append(ProtobufCBuffer *base, size_t size, const uint8_t *data)
{
    stream *s = (stream *)base;
    if (s->error || !size)
        return;
    errno = 0;
    if (fwrite(data, 1, size, s->file) != size)
        s->error = errno ? errno : EIO;
}

static int finish(stream *s, const char *path)
{
    errno = 0;
    if (!s->error && fflush(s->file) != 0)
        s->error = errno ? errno : EIO;
    ED_FAIL_IF(s->error, ED_EIO, "%s: cannot write: %s; nothing was changed", path,
               strerror(s->error));
    return ED_OK;
}

/* One initializer's bytes leave the model: entries location, offset, length. */
static int externalize(ed_writer *w, Onnx__TensorProto *t, const char *location, uint64_t offset)
{
    const char *pairs[][2] = {
        { "location", location },
        { "offset", ed_arena_printf(w->arena, "%" PRIu64, offset) },
        { "length", ed_arena_printf(w->arena, "%zu", t->raw_data.len) },
    };
    t->external_data = ed_writer_alloc(w, ED_LENGTH(pairs), sizeof *t->external_data);
    Onnx__StringStringEntryProto *entries = ed_writer_alloc(w, ED_LENGTH(pairs), sizeof *entries);
    if (!t->external_data || !entries || !pairs[1][1] || !pairs[2][1])
        return ED_ENOMEM;
    for (size_t i = 0; i < ED_LENGTH(pairs); i++) {
        onnx__string_string_entry_proto__init(&entries[i]);
        entries[i].key = (char *)pairs[i][0];
        entries[i].value = (char *)pairs[i][1];
        t->external_data[i] = &entries[i];
    }
    t->n_external_data = ED_LENGTH(pairs);
    t->has_data_location = 1;
    t->data_location = 1;
    t->has_raw_data = 0;
    return ED_OK;
}

static int write_data(ed_writer *w, stream *s, const char *location)
{
    static const uint8_t zeros[LARGE_ALIGN];
    uint64_t offset = 0;
    for (size_t i = 0; i < w->graph.n_initializer; i++) {
        Onnx__TensorProto *t = w->graph.initializer[i];
        if (t->raw_data.len < EXTERNAL_FROM)
            continue;
        uint64_t align = t->raw_data.len >= LARGE_FROM ? LARGE_ALIGN : SMALL_ALIGN;
        uint64_t gap = (align - offset % align) % align;
        append(&s->base, gap, zeros);
        append(&s->base, t->raw_data.len, t->raw_data.data);
        ED_TRY(externalize(w, t, location, offset + gap));
        offset += gap + t->raw_data.len;
    }
    return ED_OK;
}

static int write_external(ed_atomic_file **out, ed_writer *w)
{
    const char *slash = strrchr(w->path, '/');
    const char *location = ed_arena_printf(w->arena, "%s.data", slash ? slash + 1 : w->path);
    const char *path = ed_arena_printf(w->arena, "%s.data", w->path);
    if (!location || !path)
        return ED_ENOMEM;
    ED_TRY(ed_atomic_open(out, path));
    stream s = { { append }, ed_atomic_stream(*out), 0 };
    ED_TRY(write_data(w, &s, location));
    return finish(&s, path);
}

static int write_model(ed_atomic_file **out, ed_writer *w)
{
    ED_FAIL_IF(onnx__model_proto__get_packed_size(&w->model) > INT32_MAX, ED_EUNSUPPORTED,
               "%s: the model without its initializers is larger than 2 GB, which no ONNX file can "
               "hold",
               w->path);
    ED_TRY(ed_atomic_open(out, w->path));
    stream s = { { append }, ed_atomic_stream(*out), 0 };
    onnx__model_proto__pack_to_buffer(&w->model, &s.base);
    return finish(&s, w->path);
}

int ed_write_file(ed_writer *w, bool external)
{
    ed_atomic_file *data = NULL, *model = NULL;
    external = external || onnx__model_proto__get_packed_size(&w->model) > INT32_MAX;
    int rc = external ? write_external(&data, w) : ED_OK;
    if (rc == ED_OK)
        rc = write_model(&model, w);
    if (rc != ED_OK) {
        ed_atomic_abort(data);
        ed_atomic_abort(model);
        return rc;
    }
    rc = data ? ed_atomic_commit(data) : ED_OK;
    if (rc == ED_OK)
        return ed_atomic_commit(model);
    ed_atomic_abort(model);
    return rc;
}
