/* External data: initializers whose bytes lie in another file of the model's folder. */
#ifndef ONNX_EXTERNAL_H
#define ONNX_EXTERNAL_H

#include "base/file.h"
#include "onnx/wire.h"

typedef struct ed_external {
    const char *model; /* path of the model; NULL: it came from memory alone */
    char *folder;      /* real path of its folder; NULL until needed */
    char *location;    /* the file now open; NULL: none */
    int fd;
    size_t size;
} ed_external;

/* The `size` bytes of the external tensor `t`, aligned, for ed_free(). `what` ("model.onnx:
 * initializer 'w'") begins every sentence. ED_EFORMAT: refused location, or a range outside of the
 * file. */
int ed_external_read(void **out, ed_external *ext, size_t size, const Onnx__TensorProto *t,
                     const char *what);
void ed_external_close(ed_external *ext);

#endif
