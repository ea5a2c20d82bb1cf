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
    dnnl_memory_desc_t plain_weights; /* as ed_prim_pack() gets them, row-major */
};

/* ED_OK, ED_ENOMEM or ED_EINTERNAL with a sentence that names `what`. */
int ed_dnn_status(dnnl_status_t status, const char *what);
/* The library's description of a tensor. */
int ed_dnn_memory_desc(dnnl_memory_desc_t *md, const ed_dnn_tensor *tensor);
/* The same without a layout: the library chooses. */
int ed_dnn_any_desc(dnnl_memory_desc_t *md, int rank, const int64_t *dims);
/* Attributes of all our primitives: the caller's scratchpad, and the post-ops (NULL: none). */
int ed_dnn_attr(dnnl_primitive_attr_t *out, const ed_posts *posts, const dnnl_memory_desc_t *y);
/* "ref" kernels are slower than our own. */
bool ed_dnn_not_reference(const char *name);
/* A primitive from the first implementation that `accept` (NULL: every one) likes; takes `attr`.
 * `forward`: of which `op` is the backward pass, or NULL. */
int ed_prim_new(ed_prim **out, ed_dnn *dnn, const_dnnl_op_desc_t op,
                const_dnnl_primitive_desc_t forward, dnnl_primitive_attr_t attr,
                bool (*accept)(const char *name));
/* The same for an implementation already chosen; takes `desc`. */
int ed_prim_from_desc(ed_prim **out, ed_dnn *dnn, dnnl_primitive_desc_t desc);

#endif
