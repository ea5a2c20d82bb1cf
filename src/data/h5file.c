/*
 * HDF5 files, through the 1.10 API: opening with a reason when it fails, types, chunk cache, rows.
 *
 * Rows are read in the stored type (only the byte order is changed), so that convert.c decides how
 * a number becomes a float; HDF5's own conversions are slow for 16-bit floats and clip integers.
 */
#include "data/h5file.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CACHE_SLOTS = 10007, MAX_LISTED = 16, REASON_SIZE = 192 };
static const size_t cache_min = (size_t)1 << 20, cache_max = (size_t)32 << 20;

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;
static H5E_auto2_t printer; /* the process's own error printer; guarded by `library` */
static void *printer_ctx;

void ed_h5_enter(void)
{
    pthread_mutex_lock(&library);
    H5Eget_auto2(H5E_DEFAULT, &printer, &printer_ctx);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void ed_h5_leave(void)
{
    H5Eset_auto2(H5E_DEFAULT, printer, printer_ctx);
    pthread_mutex_unlock(&library);
}

void ed_h5_close(hid_t id)
{
    if (id > 0)
        H5Idec_ref(id);
}

static herr_t keep_innermost(unsigned n, const H5E_error2_t *error, void *ctx)
{
    if (n == 0 && error->desc)
        snprintf(ctx, REASON_SIZE, "%s", error->desc);
    return 0;
}

/* What HDF5 says of its last failure, e.g. "truncated file: eof = 96, ...". */
static const char *reason(char buf[REASON_SIZE])
{
    snprintf(buf, REASON_SIZE, "no reason given");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, buf);
    return buf;
}

int ed_h5_open(hid_t *out, const char *path)
{
    struct stat st;
    char why[REASON_SIZE];
    *out = 0;
    if (stat(path, &st) != 0 || access(path, R_OK) != 0) {
        int error = errno;
        return ed_error_set(error == ENOENT ? ED_ENOTFOUND : ED_EIO,
                            "%s: cannot open: %s; give the path of an HDF5 file", path,
                            strerror(error));
    }
    ED_FAIL_IF(!S_ISREG(st.st_mode), ED_EIO,
               "%s: cannot open: it is not a regular file; give the path of an HDF5 file", path);
    ED_FAIL_IF(H5Fis_hdf5(path) == 0, ED_EFORMAT,
               "%s: not an HDF5 file (its signature is missing); write the data as ed-dataset(5) "
               "tells",
               path);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    ED_FAIL_IF(file < 0, ED_EFORMAT,
               "%s: HDF5 cannot open it (%s); the file is truncated or damaged, or being written: "
               "write or copy it again",
               path, reason(why));
    *out = file;
    return ED_OK;
}

bool ed_h5_has(hid_t file, const char *name)
{
    return name[0] && H5Lexists(file, name, H5P_DEFAULT) > 0;
}

void ed_h5_list(ed_strbuf *out, hid_t file)
{
    H5G_info_t info;
    if (H5Gget_info(file, &info) < 0)
        return;
    int listed = 0;
    for (hsize_t i = 0; i < info.nlinks && listed < MAX_LISTED; i++) {
        char name[128];
        if (H5Lget_name_by_idx(file, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                               H5P_DEFAULT) < 0)
            continue;
        hid_t object = H5Oopen(file, name, H5P_DEFAULT);
        if (object >= 0 && H5Iget_type(object) == H5I_DATASET)
            ed_strbuf_printf(out, "%s'%s'", listed++ ? ", " : "", name);
        ed_h5_close(object);
    }
}

/* ---- types ---- */

static const struct int_row {
    size_t size;
    H5T_sign_t sign;
    ed_dtype dtype;
} int_rows[] = {
    { 1, H5T_SGN_2, ED_I8 },     { 1, H5T_SGN_NONE, ED_U8 },  { 2, H5T_SGN_2, ED_I16 },
    { 2, H5T_SGN_NONE, ED_U16 }, { 4, H5T_SGN_2, ED_I32 },    { 4, H5T_SGN_NONE, ED_U32 },
    { 8, H5T_SGN_2, ED_I64 },    { 8, H5T_SGN_NONE, ED_U64 },
};

/* IEEE 754 binary16, 32, 64: bit positions and sizes of sign, exponent, mantissa; exponent bias */
static const struct float_row {
    size_t size, sign, exponent, exponent_bits, mantissa, mantissa_bits, bias;
    ed_dtype dtype;
} float_rows[] = {
    { 2, 15, 10, 5, 0, 10, 15, ED_F16 },
    { 4, 31, 23, 8, 0, 23, 127, ED_F32 },
    { 8, 63, 52, 11, 0, 52, 1023, ED_F64 },
};

static const char *const class_names[] = {
    [H5T_INTEGER] = "integers",   [H5T_FLOAT] = "floats",         [H5T_TIME] = "times",
    [H5T_STRING] = "strings",     [H5T_BITFIELD] = "bit fields",  [H5T_OPAQUE] = "opaque bytes",
    [H5T_COMPOUND] = "compounds", [H5T_REFERENCE] = "references", [H5T_ENUM] = "enumerations",
    [H5T_VLEN] = "lists",         [H5T_ARRAY] = "arrays",
};

static ed_dtype int_dtype(hid_t type)
{
    size_t size = H5Tget_size(type);
    if (H5Tget_precision(type) != 8 * size || H5Tget_offset(type) != 0)
        return ED_DTYPE_NONE;
    for (size_t i = 0; i < ED_LENGTH(int_rows); i++)
        if (int_rows[i].size == size && int_rows[i].sign == H5Tget_sign(type))
            return int_rows[i].dtype;
    return ED_DTYPE_NONE;
}

static ed_dtype float_dtype(hid_t type)
{
    struct float_row t = { .size = H5Tget_size(type), .bias = H5Tget_ebias(type) };
    if (H5Tget_fields(type, &t.sign, &t.exponent, &t.exponent_bits, &t.mantissa, &t.mantissa_bits) <
        0)
        return ED_DTYPE_NONE;
    for (size_t i = 0; i < ED_LENGTH(float_rows); i++) {
        const struct float_row *row = &float_rows[i];
        if (row->size == t.size && row->sign == t.sign && row->exponent == t.exponent &&
            row->exponent_bits == t.exponent_bits && row->mantissa == t.mantissa &&
            row->mantissa_bits == t.mantissa_bits && row->bias == t.bias)
            return row->dtype;
    }
    return ED_DTYPE_NONE;
}

static int check_type(ed_h5_dataset *d)
{
    hid_t type = H5Dget_type(d->id);
    H5T_class_t class = H5Tget_class(type);
    size_t bits = 8 * H5Tget_size(type);
    if (class == H5T_INTEGER)
        d->dtype = int_dtype(type);
    else if (class == H5T_FLOAT)
        d->dtype = float_dtype(type);
    if (d->dtype != ED_DTYPE_NONE) {
        d->memory_type = H5Tcopy(type);
        H5Tset_order(d->memory_type, H5Tget_order(H5T_NATIVE_INT));
    }
    ed_h5_close(type);
    ED_FAIL_IF(d->dtype == ED_DTYPE_NONE, ED_EUNSUPPORTED,
               "%s: dataset '%s' holds %s of %zu bits; store it as uint8, int8 to int64, float16, "
               "float32 or float64",
               d->path, d->name,
               class >= 0 && (size_t) class < ED_LENGTH(class_names) ? class_names[class]
                                                                     : "values",
               bits);
    return ED_OK;
}

/* ---- datasets ---- */

static int check_shape(ed_h5_dataset *d)
{
    hsize_t dims[H5S_MAX_RANK] = { 0 };
    d->space = H5Dget_space(d->id);
    int rank = H5Sget_simple_extent_ndims(d->space);
    ED_FAIL_IF(rank < 1 || H5Sget_simple_extent_type(d->space) != H5S_SIMPLE, ED_ESHAPE,
               "%s: dataset '%s' has no axis; its first axis must be the samples", d->path,
               d->name);
    ED_FAIL_IF(rank > ED_MAX_RANK, ED_ESHAPE, "%s: dataset '%s' has %d axes; at most %d are read",
               d->path, d->name, rank, ED_MAX_RANK);
    H5Sget_simple_extent_dims(d->space, dims, NULL);
    d->shape.rank = rank;
    d->row_bytes = ed_dtype_bits(d->dtype) / 8;
    bool fits = true;
    for (int i = 0; i < rank; i++) {
        ED_FAIL_IF(dims[i] == 0, ED_EFORMAT,
                   i == 0 ? "%s: dataset '%s' is empty; write at least one sample into it"
                          : "%s: dataset '%s' has samples without elements (an axis of size 0)",
                   d->path, d->name);
        fits = fits && dims[i] < (hsize_t)1 << 48;
        d->shape.dim[i] = (int64_t)dims[i];
        if (i > 0 && fits)
            fits = ed_mul_size(d->row_bytes, (size_t)dims[i], &d->row_bytes);
    }
    ED_FAIL_IF(!fits || d->row_bytes >= (size_t)1 << 48, ED_ESHAPE,
               "%s: dataset '%s' declares absurdly large axes; the file is damaged", d->path,
               d->name);
    return ED_OK;
}

/* *bytes: of all chunks that one sample crosses, 0 when the dataset is not chunked.
 * A chunk beyond a fixed axis cannot be made; HDF5 1.10 would read outside of its buffers in such a
 * damaged file. */
static int chunk_row_bytes(size_t *bytes, const ed_h5_dataset *d)
{
    hsize_t chunk[H5S_MAX_RANK] = { 0 }, dims[H5S_MAX_RANK], max[H5S_MAX_RANK];
    *bytes = 0;
    hid_t plist = H5Dget_create_plist(d->id);
    bool chunked = plist >= 0 && H5Pget_layout(plist) == H5D_CHUNKED &&
                   H5Pget_chunk(plist, d->shape.rank, chunk) == d->shape.rank;
    ed_h5_close(plist);
    if (!chunked)
        return ED_OK;
    H5Sget_simple_extent_dims(d->space, dims, max);
    *bytes = ed_dtype_bits(d->dtype) / 8;
    for (int i = 0; i < d->shape.rank; i++) {
        bool good = chunk[i] > 0 && (max[i] == H5S_UNLIMITED || chunk[i] <= max[i]);
        hsize_t across = !good || i == 0 ? 1 : (dims[i] - 1) / chunk[i] + 1;
        good = good && ed_mul_size(*bytes, across * chunk[i], bytes);
        ED_FAIL_IF(!good, ED_EFORMAT,
                   "%s: dataset '%s' has chunks of %llu along axis %d of size %llu; the file is "
                   "damaged, write or copy it again",
                   d->path, d->name, (unsigned long long)chunk[i], i, (unsigned long long)dims[i]);
    }
    return ED_OK;
}

/* Open again with a cache for two rows of chunks, so that a batch that ends inside a chunk does not
 * make it be read (and decompressed) twice. */
static int set_cache(ed_h5_dataset *d, hid_t file)
{
    size_t row = 0;
    ED_TRY(chunk_row_bytes(&row, d));
    if (row <= cache_min / 2)
        return ED_OK;
    if (row > cache_max)
        ed_log(ED_LOG_WARNING,
               "%s: dataset '%s' has chunks of %zu MiB, which are read again for each batch; write "
               "it with chunks of about a batch",
               d->path, d->name, row >> 20);
    hid_t plist = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(plist, CACHE_SLOTS, row < cache_max / 2 ? 2 * row : cache_max, 1.0);
    ed_h5_close(d->id);
    d->id = H5Dopen2(file, d->name, plist);
    ed_h5_close(plist);
    ED_FAIL_IF(d->id < 0, ED_EIO, "%s: dataset '%s' cannot be opened again", d->path, d->name);
    return ED_OK;
}

int ed_h5_dataset_open(ed_h5_dataset *out, hid_t file, const char *path, const char *name)
{
    char why[REASON_SIZE];
    ed_h5_dataset d = { .path = path, .name = ed_strdup(name) };
    int rc = ED_OK;
    if (!d.name) {
        rc = ED_ENOMEM;
        goto done;
    }
    d.id = H5Dopen2(file, name, H5P_DEFAULT);
    if (d.id < 0) {
        rc = ed_error_set(ED_EFORMAT, "%s: '%s' cannot be opened as a dataset (%s)", path, name,
                          reason(why));
        goto done;
    }
    ED_GOTO(check_type(&d));
    ED_GOTO(check_shape(&d));
    ED_GOTO(set_cache(&d, file));
done:
    if (rc != ED_OK)
        ed_h5_dataset_close(&d);
    *out = d;
    return rc;
}

int ed_h5_read_rows(const ed_h5_dataset *d, int64_t first, int64_t count, hid_t type, void *data)
{
    char why[REASON_SIZE];
    hsize_t start[ED_MAX_RANK] = { 0 }, size[ED_MAX_RANK];
    start[0] = (hsize_t)first;
    size[0] = (hsize_t)count;
    for (int i = 1; i < d->shape.rank; i++)
        size[i] = (hsize_t)d->shape.dim[i];
    hid_t rows = H5Screate_simple(d->shape.rank, size, NULL);
    bool good =
        rows >= 0 && H5Sselect_hyperslab(d->space, H5S_SELECT_SET, start, NULL, size, NULL) >= 0 &&
        H5Dread(d->id, type ? type : d->memory_type, rows, d->space, H5P_DEFAULT, data) >= 0;
    int rc = ED_OK;
    if (!good)
        rc = ed_error_set(ED_EIO,
                          "%s: dataset '%s', samples %lld to %lld: HDF5 cannot read them (%s); the "
                          "file is damaged, or its compression is not installed",
                          d->path, d->name, (long long)first, (long long)(first + count - 1),
                          reason(why));
    ed_h5_close(rows);
    return rc;
}

void ed_h5_dataset_close(ed_h5_dataset *d)
{
    ed_h5_close(d->memory_type);
    ed_h5_close(d->space);
    ed_h5_close(d->id);
    ed_free(d->name);
    *d = (ed_h5_dataset){ 0 };
}
