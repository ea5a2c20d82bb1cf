/*
 * Reading external data. The location must be relative and, with every symbolic link resolved, name
 * a regular file inside the model's folder: a model must not read other files of its user.
 */
#include "onnx/external.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *entry(const Onnx__TensorProto *t, const char *key)
{
    for (size_t i = 0; i < t->n_external_data; i++)
        if (t->external_data[i]->key && strcmp(t->external_data[i]->key, key) == 0)
            return t->external_data[i]->value ? t->external_data[i]->value : "";
    return NULL;
}

/* A byte count in decimal digits; absent: `preset`. */
static int number(uint64_t *out, const Onnx__TensorProto *t, const char *key, uint64_t preset,
                  const char *what)
{
    const char *text = entry(t, key);
    *out = preset;
    if (!text)
        return ED_OK;
    errno = 0;
    char *end;
    *out = strtoull(text, &end, 10);
    ED_FAIL_IF(text[0] < '0' || text[0] > '9' || *end || errno || *out > INT64_MAX, ED_EFORMAT,
               "%s: the external data's %s is '%.40s', not a number of bytes; save the model again",
               what, key, text);
    return ED_OK;
}

static int find_folder(ed_external *ext, const char *what)
{
    char real[PATH_MAX];
    char *folder = ext->model ? ed_path_beside(ext->model, ".") : NULL;
    if (ext->model && !folder)
        return ED_ENOMEM;
    bool found = folder && realpath(folder, real);
    ed_free(folder);
    if (!found) {
        ed_error_set(ED_EIO, "%s: its data is external, but the model's folder is not found: %s",
                     what, ext->model ? strerror(errno) : "read the model from a file");
        return ED_EIO;
    }
    ext->folder = ed_strdup(real);
    return ext->folder ? ED_OK : ED_ENOMEM;
}

/* The checked real path of `location`, PATH_MAX bytes at `real`. */
static int resolve(ed_external *ext, char *real, const char *location, const char *what)
{
    ED_FAIL_IF(
        !location[0] || location[0] == '/', ED_EFORMAT,
        "%s: the external data's location is '%s'; it must be a path relative to the model's "
        "folder",
        what, location);
    if (!ext->folder)
        ED_TRY(find_folder(ext, what));
    char *path = ed_asprintf("%s/%s", ext->folder, location);
    if (!path)
        return ED_ENOMEM;
    bool found = realpath(path, real) != NULL;
    int error = errno;
    ed_free(path);
    ED_FAIL_IF(!found, error == ENOENT ? ED_ENOTFOUND : ED_EIO,
               "%s: cannot open its external data '%s': %s; put the file beside the model", what,
               location, strerror(error));
    size_t n = strlen(ext->folder);
    if (n == 1)
        n = 0; /* the root folder */
    ED_FAIL_IF(
        strncmp(real, ext->folder, n) != 0 || real[n] != '/', ED_EFORMAT,
        "%s: the external data's location '%s' leads out of the model's folder; move the file "
        "into it",
        what, location);
    return ED_OK;
}

static void close_file(ed_external *ext)
{
    if (ext->location)
        close(ext->fd);
    ed_free(ext->location);
    ext->location = NULL;
}

static int open_file(ed_external *ext, const char *location, const char *what)
{
    if (ext->location && strcmp(ext->location, location) == 0)
        return ED_OK;
    close_file(ext);
    char real[PATH_MAX];
    ED_TRY(resolve(ext, real, location, what));
    int fd = open(real, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    ED_FAIL_IF(fd < 0, ED_EIO, "%s: cannot open its external data '%s': %s", what, location,
               strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ed_error_set(ED_EIO, "%s: its external data '%s' is not a regular file", what,
                            location);
    }
    ext->location = ed_strdup(location);
    if (!ext->location) {
        close(fd);
        return ED_ENOMEM;
    }
    ext->fd = fd;
    ext->size = (size_t)st.st_size;
    return ED_OK;
}

static int read_range(ed_external *ext, void *dst, size_t size, uint64_t begin, const char *what)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(ext->fd, (char *)dst + done, size - done, (off_t)(begin + done));
        if (n < 0 && errno == EINTR)
            continue;
        ED_FAIL_IF(n <= 0, ED_EIO, "%s: cannot read its external data '%s': %s", what,
                   ext->location, n < 0 ? strerror(errno) : "the file shrank meanwhile");
        done += (size_t)n;
    }
    return ED_OK;
}

int ed_external_read(void **out, ed_external *ext, size_t size, const Onnx__TensorProto *t,
                     const char *what)
{
    *out = NULL;
    const char *location = entry(t, "location");
    ED_FAIL_IF(!location, ED_EFORMAT,
               "%s: its data is external, but no location is given; save the model again", what);
    uint64_t begin, length;
    ED_TRY(number(&begin, t, "offset", 0, what));
    ED_TRY(number(&length, t, "length", size, what));
    ED_FAIL_IF(length != size, ED_EFORMAT,
               "%s: its external data has %" PRIu64
               " bytes, but its shape needs %zu; save the model "
               "again",
               what, length, size);
    ED_TRY(open_file(ext, location, what));
    ED_FAIL_IF(begin > ext->size || size > ext->size - begin, ED_EFORMAT,
               "%s: its external data is bytes %" PRIu64 " to %" PRIu64
               " of '%s', which has only %zu; "
               "the file is truncated or belongs to another model",
               what, begin, begin + size, location, ext->size);
    void *data = ed_aligned_alloc(size);
    if (!data)
        return ED_ENOMEM;
    int rc = read_range(ext, data, size, begin, what);
    if (rc == ED_OK)
        *out = data;
    else
        ed_free(data);
    return rc;
}

void ed_external_close(ed_external *ext)
{
    close_file(ext);
    ed_free(ext->folder);
    ext->folder = NULL;
}
