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
