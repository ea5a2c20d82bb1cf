/*
 * Entries as HDF5 datasets.
 *
 * A tensor is a dataset of its numbers, a text one of a single string. '/' in a name makes groups;
 * what HDF5 would read in another way is written with '%', so that every name has its own path:
 *
 *   '%'               "%25"
 *   a part "."        "%2E"     (HDF5: the group itself)
 *   an empty part     "%"       ("a//b" is "a/%/b")
 *   "a", with "a/b"   "a%"      (a dataset beside the group)
 *
 * The dataset "%names" has all names in order, each ended by a zero byte: nothing is searched for,
 * so a strange file leads nowhere. The file is made in memory, because HDF5 does not survive a disk
 * that is full.
 */
#include "base/mem.h"
#include "base/strbuf.h"
#include "data/h5file.h"
#include "qat/checkpoint_impl.h"

#include <string.h>

#define NAMES "%names"
enum {
    INCREMENT = 1 << 16, /* bytes by which the file in memory grows */
    MAX_TEXT = 1 << 30   /* of all names, or of one text */
};

typedef struct type_row {
    ed_dtype dtype;
    hid_t stored, native;
} type_row;

/* Row i; ED_DTYPE_NONE at the end. HDF5's types are variables, so the table is no constant. */
static type_row type_at(size_t i)
{
    const type_row rows[] = {
        { ED_F32, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT },
        { ED_F64, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE },
        { ED_I8, H5T_STD_I8LE, H5T_NATIVE_INT8 },
        { ED_U8, H5T_STD_U8LE, H5T_NATIVE_UINT8 },
        { ED_I16, H5T_STD_I16LE, H5T_NATIVE_INT16 },
        { ED_U16, H5T_STD_U16LE, H5T_NATIVE_UINT16 },
        { ED_I32, H5T_STD_I32LE, H5T_NATIVE_INT32 },
        { ED_U32, H5T_STD_U32LE, H5T_NATIVE_UINT32 },
        { ED_I64, H5T_STD_I64LE, H5T_NATIVE_INT64 },
        { ED_U64, H5T_STD_U64LE, H5T_NATIVE_UINT64 },
        { ED_DTYPE_NONE, 0, 0 },
    };
    return rows[i];
}

static type_row type_of(ed_dtype dtype)
{
    size_t i = 0;
    while (type_at(i).dtype != dtype && type_at(i).dtype != ED_DTYPE_NONE)
        i++;
    return type_at(i);
}

bool ed_checkpoint_holds(ed_dtype dtype)
{
    ed_h5_enter();
    bool known = dtype != ED_DTYPE_NONE && type_of(dtype).dtype == dtype;
    ed_h5_leave();
    return known;
}

/* The path of a name, without the last "%" of a dataset beside a group. */
static void write_path(ed_strbuf *out, const char *name)
{
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0)
            ed_strbuf_printf(out, "%%");
        else if (n == 1 && part[0] == '.')
            ed_strbuf_printf(out, "%%2E");
        else
            for (size_t i = 0; i < n; i++)
                ed_strbuf_printf(out, part[i] == '%' ? "%%25" : "%c", part[i]);
        part += n;
        if (!*part)
            return;
        ed_strbuf_printf(out, "/");
    }
}

static bool is_group(hid_t file, const char *path)
{
    hid_t object = H5Oopen(file, path, H5P_DEFAULT);
    bool group = object >= 0 && H5Iget_type(object) == H5I_GROUP;
    ed_h5_close(object);
    return group;
}

/* ---- writing ---- */

/* A file in memory, and the property lists that its objects are made with. */
typedef struct writer {
    hid_t file, link, dataset;
} writer;

static bool create_file(writer *w, size_t ahead)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
    if (H5Pset_fapl_core(access, INCREMENT, 0) >= 0 && H5Pset_userblock(create, ahead) >= 0)
        w->file = H5Fcreate("checkpoint", H5F_ACC_TRUNC, create, access);
    ed_h5_close(access);
    ed_h5_close(create);
    w->link = H5Pcreate(H5P_LINK_CREATE);
    w->dataset = H5Pcreate(H5P_DATASET_CREATE);
    return w->file > 0 && H5Pset_char_encoding(w->link, H5T_CSET_UTF8) >= 0 &&
           H5Pset_obj_track_times(w->dataset, false) >= 0; /* the same contents, the same bytes */
}

static void close_file(writer *w)
{
    ed_h5_close(w->dataset);
    ed_h5_close(w->link);
    ed_h5_close(w->file);
}

/* The groups that a path goes through; the path is as before at the end. */
static bool create_groups(const writer *w, char *path)
{
    bool good = true;
    for (char *slash = strchr(path, '/'); slash && good; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (H5Lexists(w->file, path, H5P_DEFAULT) <= 0) {
            hid_t group = H5Gcreate2(w->file, path, w->link, H5P_DEFAULT, H5P_DEFAULT);
            good = group >= 0;
            ed_h5_close(group);
        }
        *slash = '/';
    }
    return good;
}

static bool write_dataset(const writer *w, const char *path, hid_t stored, hid_t native,
                          const ed_shape *shape, const void *data)
{
    hsize_t dims[ED_MAX_RANK];
    for (int i = 0; i < shape->rank; i++)
        dims[i] = (hsize_t)shape->dim[i];
    hid_t space = shape->rank ? H5Screate_simple(shape->rank, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(w->file, path, stored, space, w->link, w->dataset, H5P_DEFAULT);
    bool good = set >= 0 && H5Dwrite(set, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    ed_h5_close(set);
    ed_h5_close(space);
    return good;
}

static bool write_text(const writer *w, const char *path, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    bool good = H5Tset_size(type, strlen(text) + 1) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
                write_dataset(w, path, type, type, &ED_SHAPE_SCALAR, text);
    ed_h5_close(type);
    return good;
}

static bool write_entry(const writer *w, const ed_checkpoint_entry *e, const char *path)
{
    if (e->text)
        return write_text(w, path, e->text);
    type_row type = type_of(e->tensor->dtype);
    return write_dataset(w, path, type.stored, type.native, &e->tensor->shape, e->tensor->data);
}

static bool write_names(const writer *w, const ed_checkpoint *c)
{
    size_t size = 0;
    for (size_t i = 0; i < c->count; i++)
        size += strlen(c->entries[i].name) + 1;
    char *names = ed_malloc(size), *end = names;
    for (size_t i = 0; names && i < c->count; i++)
        end = stpcpy(end, c->entries[i].name) + 1;
    bool good = names && write_dataset(w, NAMES, H5T_STD_U8LE, H5T_NATIVE_UINT8,
                                       &ED_SHAPE((int64_t)size), names);
    ed_free(names);
    return good;
}

/* All groups first: whether a name is one shows then. */
static bool write_all(const writer *w, const ed_checkpoint *c)
{
    bool good = write_names(w, c);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < c->count && good; i++) {
            ed_strbuf path = { 0 };
            write_path(&path, c->entries[i].name);
            if (pass == 1 && is_group(w->file, ed_strbuf_text(&path)))
                ed_strbuf_printf(&path, "%%");
            good = !path.failed && (pass == 0 ? create_groups(w, path.data)
                                              : write_entry(w, &c->entries[i], path.data));
            ed_strbuf_free(&path);
        }
    return good;
}

int ed_checkpoint_encode(void **out, size_t *size, const ed_checkpoint *c, size_t ahead)
{
    writer w = { 0 };
    int rc = ED_OK;
    *out = NULL;
    ed_h5_enter();
    bool good =
        create_file(&w, ahead) && write_all(&w, c) && H5Fflush(w.file, H5F_SCOPE_GLOBAL) >= 0;
    ssize_t bytes = good ? H5Fget_file_image(w.file, NULL, 0) : 0;
    if (bytes <= 0)
        rc = ed_error_set(
            ED_ENOMEM, "a checkpoint of %zu tensors and texts cannot be made in memory; free some",
            c->count);
    else if (!(*out = ed_malloc((size_t)bytes)))
        rc = ED_ENOMEM;
    else
        *size = (size_t)H5Fget_file_image(w.file, *out, (size_t)bytes);
    close_file(&w);
    ed_h5_leave();
    return rc;
}

/* ---- reading ---- */

static int fail_read(const char *path, const char *name)
{
    return ed_error_set(ED_EFORMAT,
                        "%s: '%s' in this checkpoint is not what a checkpoint holds; it was not "
                        "written by this program, or by a newer one",
                        path, name);
}

static bool read_shape(ed_shape *shape, hid_t set)
{
    hsize_t dims[H5S_MAX_RANK] = { 0 };
    hid_t space = H5Dget_space(set);
    int rank = H5Sget_simple_extent_ndims(space);
    bool good = H5Sget_simple_extent_type(space) != H5S_NULL && rank >= 0 && rank <= ED_MAX_RANK &&
                H5Sget_simple_extent_dims(space, dims, NULL) >= 0;
    *shape = (ed_shape){ .rank = good ? rank : 0 };
    for (int i = 0; i < shape->rank; i++) {
        good = good && dims[i] < (hsize_t)1 << 48;
        shape->dim[i] = (int64_t)dims[i];
    }
    ed_h5_close(space);
    return good;
}

static int read_tensor(ed_tensor **out, hid_t set, hid_t stored, const char *path, const char *name)
{
    ed_shape shape;
    ed_tensor seen;
    size_t i = 0;
    *out = NULL;
    while (type_at(i).dtype != ED_DTYPE_NONE && H5Tequal(type_at(i).stored, stored) <= 0)
        i++;
    type_row type = type_at(i);
    if (type.dtype == ED_DTYPE_NONE || !read_shape(&shape, set) ||
        ed_tensor_view(&seen, type.dtype, &shape, NULL) != ED_OK ||
        seen.nbytes != H5Dget_storage_size(set)) /* else memory for what is not there */
        return fail_read(path, name);
    ED_TRY(ed_tensor_new(out, type.dtype, &shape));
    if (seen.numel == 0 ||
        H5Dread(set, type.native, H5S_ALL, H5S_ALL, H5P_DEFAULT, (*out)->data) >= 0)
        return ED_OK;
    ed_tensor_free(*out);
    *out = NULL;
    return fail_read(path, name);
}

static int read_text(char **out, hid_t set, hid_t type, const char *path, const char *name)
{
    ed_shape shape;
    size_t size = H5Tget_size(type);
    *out = NULL;
    if (H5Tis_variable_str(type) || size > MAX_TEXT || !read_shape(&shape, set) || shape.rank ||
        H5Dget_storage_size(set) != size)
        return fail_read(path, name);
    *out = ed_calloc(size + 1, 1);
    if (!*out)
        return ED_ENOMEM;
    if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) >= 0)
        return ED_OK;
    ed_free(*out);
    *out = NULL;
    return fail_read(path, name);
}

static int read_entry(ed_checkpoint *c, hid_t file, const char *path, const char *name)
{
    ed_strbuf inside = { 0 };
    ed_tensor *tensor = NULL;
    char *text = NULL;
    write_path(&inside, name);
    if (is_group(file, ed_strbuf_text(&inside)))
        ed_strbuf_printf(&inside, "%%");
    hid_t set = inside.failed ? -1 : H5Dopen2(file, ed_strbuf_text(&inside), H5P_DEFAULT);
    hid_t type = set >= 0 ? H5Dget_type(set) : -1;
    int rc = inside.failed                      ? ED_ENOMEM
             : type < 0                         ? fail_read(path, name)
             : H5Tget_class(type) == H5T_STRING ? read_text(&text, set, type, path, name)
                                                : read_tensor(&tensor, set, type, path, name);
    ed_h5_close(type);
    ed_h5_close(set);
    ed_strbuf_free(&inside);
    return rc == ED_OK ? ed_checkpoint_put_take(c, name, tensor, text) : rc;
}

static int read_all(ed_checkpoint *c, hid_t file, const char *path)
{
    ed_tensor *names = NULL;
    hid_t set = H5Dopen2(file, NAMES, H5P_DEFAULT), type = set >= 0 ? H5Dget_type(set) : -1;
    int rc = type < 0 ? fail_read(path, NAMES) : read_tensor(&names, set, type, path, NAMES);
    ed_h5_close(type);
    ed_h5_close(set);
    ED_TRY(rc);
    const char *name = names->data, *end = name + names->nbytes;
    if (names->dtype != ED_U8 || (names->nbytes && end[-1]))
        rc = fail_read(path, NAMES);
    for (; rc == ED_OK && name < end; name += strlen(name) + 1)
        rc = read_entry(c, file, path, name);
    ed_tensor_free(names);
    return rc;
}

int ed_checkpoint_decode(ed_checkpoint **out, const char *path)
{
    hid_t file = 0;
    ED_TRY(ed_checkpoint_new(out));
    ed_h5_enter();
    int rc = ed_h5_open(&file, path);
    if (rc == ED_OK)
        rc = read_all(*out, file, path);
    ed_h5_close(file);
    ed_h5_leave();
    if (rc != ED_OK) {
        ed_checkpoint_free(*out);
        *out = NULL;
    }
    return rc;
}
