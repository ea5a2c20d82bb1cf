/*
 * NumPy's .npy format (numpy.lib.format): "\x93NUMPY", version, length of the header, the header (a
 * Python dict of descr, fortran_order and shape), padded so that the numbers begin at a multiple of
 * 64. Versions 1 to 3 are read, 1 is written; little-endian, C order.
 */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_HEADER = 1 << 16, PREFIX = 10, ALIGN = 64 };

static const char magic[] = "\x93NUMPY";

static const struct {
    ed_dtype dtype;
    const char *descr;
} types[] = {
    { ED_F32, "<f4" }, { ED_F64, "<f8" }, { ED_F16, "<f2" }, { ED_I8, "|i1" },
    { ED_U8, "|u1" },  { ED_I16, "<i2" }, { ED_U16, "<u2" }, { ED_I32, "<i4" },
    { ED_U32, "<u4" }, { ED_I64, "<i8" }, { ED_U64, "<u8" }, { ED_BOOL, "|b1" },
};
enum { TYPES = sizeof types / sizeof types[0] };

/* ---- reading ---- */

/* The text behind 'key': in the header, or NULL. */
static const char *field(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    return at ? at + strlen(quoted) + strspn(at + strlen(quoted), " ") : NULL;
}

static int read_descr(ed_dtype *out, const char *header, const char *path)
{
    const char *at = field(header, "descr");
    char descr[16];
    if (!at || sscanf(at, "'%15[^']'", descr) != 1)
        return tool_fail(ED_EFORMAT,
                         "%s: its header has no simple element type (descr); save one array of "
                         "numbers",
                         path);
    if (descr[0] == '>')
        return tool_fail(ED_EUNSUPPORTED,
                         "%s: its numbers are big-endian ('%s'); save it little-endian, with "
                         "x.astype('<f4')",
                         path, descr);
    for (size_t i = 0; i < TYPES; i++) {
        if (!strcmp(types[i].descr + 1, descr + 1)) {
            *out = types[i].dtype;
            return ED_OK;
        }
    }
    return tool_fail(ED_EUNSUPPORTED, "%s: the element type '%s' is not supported", path, descr);
}

static int read_shape(ed_shape *shape, const char *header, const char *path)
{
    const char *order = field(header, "fortran_order"), *at = field(header, "shape");
    if (!order || !at || *at != '(')
        return tool_fail(ED_EFORMAT, "%s: its header has no fortran_order or no shape", path);
    if (!strncmp(order, "True", 4))
        return tool_fail(ED_EUNSUPPORTED,
                         "%s: it is in Fortran order; save it with numpy.ascontiguousarray(x)",
                         path);
    *shape = (ed_shape){ 0 };
    for (at++; *at != ')'; at += strspn(at, ", ")) {
        char *end;
        errno = 0;
        long long n = strtoll(at, &end, 10);
        if (end == at || errno || n < 0)
            return tool_fail(ED_EFORMAT, "%s: its header has a broken shape", path);
        if (shape->rank == ED_MAX_RANK)
            return tool_fail(ED_EUNSUPPORTED, "%s: it has more than %d dimensions", path,
                             ED_MAX_RANK);
        shape->dim[shape->rank++] = n;
        at = end;
    }
    return ED_OK;
}

/* The header as text; release with free(). */
static int read_header(char **out, FILE *file, const char *path)
{
    unsigned char head[PREFIX + 2];
    *out = NULL;
    if (fread(head, 1, PREFIX, file) != PREFIX || memcmp(head, magic, 6) != 0)
        return tool_fail(ED_EFORMAT, "%s: it is no .npy file", path);
    if (head[6] < 1 || head[6] > 3)
        return tool_fail(ED_EUNSUPPORTED, "%s: .npy version %d is not 1, 2 or 3", path, head[6]);
    size_t n = head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) {
        if (fread(head + PREFIX, 1, 2, file) != 2)
            return tool_fail(ED_EFORMAT, "%s: the file is truncated", path);
        n |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    if (n > MAX_HEADER)
        return tool_fail(ED_EFORMAT, "%s: its header of %zu bytes is too long", path, n);
    char *text = calloc(n + 1, 1);
    if (!text)
        return tool_fail(ED_ENOMEM, "memory ran out");
    if (fread(text, 1, n, file) != n) {
        free(text);
        return tool_fail(ED_EFORMAT, "%s: the file is truncated", path);
    }
    *out = text;
    return ED_OK;
}

static int read_body(ed_tensor **out, FILE *file, const char *header, const char *path)
{
    ed_dtype dtype = ED_DTYPE_NONE;
    ed_shape shape;
    TRY(read_descr(&dtype, header, path));
    TRY(read_shape(&shape, header, path));
    /* the file's size first: a damaged shape must not ask for memory */
    long begin = ftell(file);
    if (begin < 0 || fseek(file, 0, SEEK_END) != 0)
        return tool_fail(ED_EIO, "%s: cannot read: %s", path, strerror(errno));
    int64_t numel, bytes = ftell(file) - begin;
    if (ed_shape_numel(&numel, &shape) != ED_OK)
        return tool_fail(ED_EFORMAT, "%s: %s", path, ed_error_last());
    numel *= ed_dtype_bits(dtype) / 8;
    if (numel != bytes)
        return tool_fail(ED_EFORMAT, "%s: it holds %lld bytes of numbers, its shape needs %lld",
                         path, (long long)bytes, (long long)numel);
    TRY(ed_tensor_new(out, dtype, &shape));
    if (fseek(file, begin, SEEK_SET) == 0 &&
        fread((*out)->data, 1, (*out)->nbytes, file) == (*out)->nbytes)
        return ED_OK;
    ed_tensor_free(*out);
    *out = NULL;
    return tool_fail(ED_EIO, "%s: cannot read: %s", path, strerror(errno));
}

int npy_read(ed_tensor **out, const char *path)
{
    char *header;
    *out = NULL;
    FILE *file = fopen(path, "rb");
    if (!file)
        return tool_fail(errno == ENOENT ? ED_ENOTFOUND : ED_EIO, "%s: cannot open: %s", path,
                         strerror(errno));
    int rc = read_header(&header, file, path);
    if (rc == ED_OK)
        rc = read_body(out, file, header, path);
    free(header);
    fclose(file);
    return rc;
}

/* ---- writing ---- */

static int make_header(char *text, size_t size, const ed_tensor *t, const char *path)
{
    char shape[256] = "";
    const char *descr = NULL;
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].dtype == t->dtype)
            descr = types[i].descr;
    if (!descr)
        return tool_fail(ED_EUNSUPPORTED, "%s: numpy has no type %s; write --format pb", path,
                         ed_dtype_name(t->dtype));
    for (int i = 0; i < t->shape.rank; i++) {
        size_t used = strlen(shape);
        snprintf(shape + used, sizeof shape - used, i ? " %lld," : "%lld,",
                 (long long)t->shape.dim[i]);
    }
    if (t->shape.rank > 1)
        shape[strlen(shape) - 1] = 0;
    snprintf(text, size, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    return ED_OK;
}

typedef struct content {
    const char *header;
    const ed_tensor *tensor;
} content;

static int write_all(FILE *file, const void *ctx)
{
    const content *c = ctx;
    size_t used = PREFIX + strlen(c->header) + 1, n = (used + ALIGN - 1) / ALIGN * ALIGN - PREFIX;
    unsigned char head[PREFIX] = {
        0, 0, 0, 0, 0, 0, 1, 0, (unsigned char)n, (unsigned char)(n >> 8)
    };
    memcpy(head, magic, 6);
    fwrite(head, 1, PREFIX, file);
    fprintf(file, "%-*s\n", (int)n - 1, c->header);
    fwrite(c->tensor->data, 1, c->tensor->nbytes, file);
    return ED_OK;
}

int npy_write(const ed_tensor *tensor, const char *path)
{
    char header[512];
    TRY(make_header(header, sizeof header, tensor, path));
    return tool_write_file(path, write_all, &(content){ header, tensor });
}
