/*
 * Tensors in files: the ending of the name says which format.
 */
#include "common.h"

#include <string.h>

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcmp(path + n - m, ending);
}

int tool_tensor_read(ed_tensor **out, const char *path)
{
    *out = NULL;
    if (ends_with(path, ".npy"))
        return npy_read(out, path);
    if (ends_with(path, ".pb"))
        return ed_onnx_read_tensor(out, path);
    return tool_fail(ED_EINVAL, "%s: a file of numpy (.npy) or of ONNX (.pb) was expected", path);
}

int tool_tensor_write(const ed_tensor *tensor, const char *name, const char *path)
{
    return ends_with(path, ".pb") ? ed_onnx_write_tensor(tensor, name, path)
                                  : npy_write(tensor, path);
}
