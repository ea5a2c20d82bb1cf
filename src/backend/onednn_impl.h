/* Shared by onednn.c and primitives.c: the only files that include the library's header. */
#ifndef BACKEND_ONEDNN_IMPL_H
#define BACKEND_ONEDNN_IMPL_H

#include "backend/onednn.h"
#include "base/mem.h"

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR != 2
#error "these files are written for oneDNN 2.x (Debian: libdnnl-dev 2.6)"
#endif

struct ed_dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

struct ed_prim {
    ed_dnn *dnn;
    dnnl_primitive_t primitive;
    const_dnnl_primitive_desc_t desc; /* belongs to the primitive */
    dnnl_memory_t mem[ED_ARG_COUNT];  /* NULL: not an argument */
    dnnl_memory_t scratch;
    int arg_id[ED_ARG_COUNT];
    dnnl_memory_desc_t plain_weights; /* as ed_prim_pack() gets them */
};

/* ED_OK, ED_ENOMEM or ED_EINTERNAL with a sentence that names `what`. */
int ed_dnn_status(dnnl_status_t status, const char *what);
/* The library's description of a tensor. */
int ed_dnn_memory_desc(dnnl_memory_desc_t *md, const ed_dnn_tensor *tensor);
/* A primitive from the first implementation that `accept` (NULL: every one) likes; takes `attr`. */
int ed_prim_new(ed_prim **out, ed_dnn *dnn, const_dnnl_op_desc_t op, dnnl_primitive_attr_t attr,
                bool (*accept)(const char *name));
/* The same for an implementation already chosen; takes `desc`. */
int ed_prim_from_desc(ed_prim **out, ed_dnn *dnn, dnnl_primitive_desc_t desc);

#endif
