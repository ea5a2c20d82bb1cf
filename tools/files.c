/*
 * Paths of the commands: which model is meant, what an output may not overwrite.
 */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tool_model_path(char **out, const settings *s)
{
    *out = NULL;
    if (!s->operands.count)
        return ed_dataset_model_path(out, s->data);
    *out = strdup(s->operands.items[0]);
    return *out ? ED_OK : tool_fail(ED_ENOMEM, "memory ran out");
}

int tool_output_beside(char **out, const char *model, const char *suffix)
{
    size_t stem = strlen(model);
    if (stem > 5 && !strcmp(model + stem - 5, ".onnx"))
        stem -= 5;
    return asprintf(out, "%.*s%s", (int)stem, model, suffix) < 0
               ? tool_fail(ED_ENOMEM, "memory ran out")
               : ED_OK;
}

bool tool_same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    if (!a || !b)
        return false;
    if (!strcmp(a, b))
        return true;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

int tool_check_output(const char *path)
{
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return tool_fail(ED_EIO, "%s: cannot write: it is a folder; name a file in it", path);
    if (there && !S_ISREG(st.st_mode))
        return tool_fail(ED_EIO, "%s: cannot write: it is not a regular file; name another one",
                         path);
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder)
        return tool_fail(ED_ENOMEM, "memory ran out");
    int rc = ED_OK;
    if (access(folder, W_OK | X_OK) != 0)
        rc = tool_fail(ED_EIO, "%s: cannot write into its folder: %s; choose another path", path,
                       strerror(errno));
    free(folder);
    return rc;
}

int tool_check_outputs(const char *const *outputs, size_t n, const char *const *inputs, size_t m)
{
    for (size_t o = 0; o < n; o++) {
        for (size_t i = 0; i < m; i++)
            if (tool_same_file(outputs[o], inputs[i]))
                return tool_fail(ED_EINVAL,
                                 "%s: it is read and would be overwritten; choose "
                                 "another file to write",
                                 outputs[o]);
        for (size_t k = 0; k < o; k++)
            if (tool_same_file(outputs[o], outputs[k]))
                return tool_fail(ED_EINVAL, "%s: it would be written twice; choose another file",
                                 outputs[o]);
        if (outputs[o])
            TRY(tool_check_output(outputs[o]));
    }
    return ED_OK;
}

/* Closes the file in every case. */
static int close_written(FILE *file, int rc, const char *path)
{
    bool good = fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
    good = fclose(file) == 0 && good;
    if (rc == ED_OK && !good)
        rc = tool_fail(ED_EIO, "%s: cannot write: %s", path, strerror(errno ? errno : EIO));
    return rc;
}

int tool_write_file(const char *path, int (*put)(FILE *file, const void *ctx), const void *ctx)
{
    char *aside = NULL;
    if (asprintf(&aside, "%s.tmp-%ld", path, (long)getpid()) < 0)
        return tool_fail(ED_ENOMEM, "memory ran out");
    errno = 0;
    FILE *file = fopen(aside, "wb");
    int rc = file ? close_written(file, put(file, ctx), path) : ED_EIO;
    if (!file || (rc == ED_OK && rename(aside, path) != 0))
        rc = tool_fail(ED_EIO, "%s: cannot write: %s", path, strerror(errno));
    if (rc != ED_OK && file)
        unlink(aside);
    free(aside);
    return rc;
}
