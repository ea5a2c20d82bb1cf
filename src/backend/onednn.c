/*
 * oneDNN: engine, memory descriptions, and the life of a primitive (create, pack weights, run).
 *
 * The scratchpad is the caller's (one for all primitives), data pointers are set at each run, so a
 * primitive holds code and descriptions only.
 */
#include "backend/onednn_impl.h"

#include <string.h>

int ed_dnn_status(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return ED_OK;
    if (status == dnnl_out_of_memory)
        return ed_error_set(ED_ENOMEM, "out of memory in oneDNN (%s); use a smaller batch", what);
    return ed_error_set(ED_EINTERNAL,
                        "oneDNN failed with status %d in %s; please report it with "
                        "the model",
                        (int)status, what);
}

int ed_dnn_new(ed_dnn **out)
{
    int rc = ED_OK;
    ed_dnn *dnn = ed_calloc(1, sizeof *dnn);
    if (!dnn)
        return ED_ENOMEM;
    ED_GOTO(ed_dnn_status(dnnl_engine_create(&dnn->engine, dnnl_cpu, 0), "engine_create"));
    ED_GOTO(ed_dnn_status(dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags),
                          "stream_create"));
    *out = dnn;
    return ED_OK;
done:
    ed_dnn_free(dnn);
    return rc;
}

void ed_dnn_free(ed_dnn *dnn)
{
    if (!dnn)
        return;
    if (dnn->stream)
        dnnl_stream_destroy(dnn->stream);
    if (dnn->engine)
        dnnl_engine_destroy(dnn->engine);
    ed_free(dnn);
}

ed_layout ed_dnn_blocked(const ed_dnn *dnn)
{
    (void)dnn;
    bool avx512 = dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core;
    return avx512 ? ED_LAYOUT_BLOCKED16 : ED_LAYOUT_BLOCKED8;
}

int ed_dnn_memory_desc(dnnl_memory_desc_t *md, const ed_dnn_tensor *tensor)
{
    static const dnnl_format_tag_t tags[ED_LAYOUT_COUNT][3] = {
        /* rank 3, 4, 5 */
        [ED_LAYOUT_CHANNELS_LAST] = { dnnl_nwc, dnnl_nhwc, dnnl_ndhwc },
        [ED_LAYOUT_BLOCKED8] = { dnnl_nCw8c, dnnl_nChw8c, dnnl_nCdhw8c },
        [ED_LAYOUT_BLOCKED16] = { dnnl_nCw16c, dnnl_nChw16c, dnnl_nCdhw16c },
    };
    const ed_shape *s = tensor->shape;
    dnnl_dims_t dims = { 0 }, strides = { 0 };
    int64_t step = 1;
    memcpy(dims, s->dim, (size_t)s->rank * sizeof dims[0]);
    if (tensor->layout != ED_LAYOUT_PLAIN)
        return ed_dnn_status(dnnl_memory_desc_init_by_tag(md, s->rank, dims, dnnl_f32,
                                                          tags[tensor->layout][s->rank - 3]),
                             "memory_desc");
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[i] = tensor->step ? tensor->step[i] : step;
        step *= s->dim[i];
    }
    return ed_dnn_status(dnnl_memory_desc_init_by_strides(md, s->rank, dims, dnnl_f32, strides),
                         "memory_desc");
}

static int make_memory(dnnl_memory_t *mem, ed_dnn *dnn, const dnnl_memory_desc_t *md)
{
    if (!md || dnnl_memory_desc_get_size(md) == 0)
        return ED_OK;
    return ed_dnn_status(dnnl_memory_create(mem, md, dnn->engine, DNNL_MEMORY_NONE),
                         "memory_create");
}

/* The binary post-op's argument number, or 0: the only one a primitive of ours can have. */
static int other_argument(const_dnnl_primitive_desc_t desc)
{
    const_dnnl_primitive_attr_t attr;
    const_dnnl_post_ops_t posts;
    if (dnnl_primitive_desc_get_attr(desc, &attr) || dnnl_primitive_attr_get_post_ops(attr, &posts))
        return 0;
    for (int i = 0; i < dnnl_post_ops_len(posts); i++)
        if (dnnl_post_ops_get_kind(posts, i) == dnnl_binary)
            return DNNL_ARG_ATTR_MULTIPLE_POST_OP(i) | DNNL_ARG_SRC_1;
    return 0;
}

/* What each of our arguments is to a primitive, by the direction of the pass. */
typedef struct argument {
    int id; /* 0: it has none */
    dnnl_query_t query;
    int index;
} argument;

static const argument forward_arguments[ED_ARG_COUNT] = {
    [ED_ARG_SRC] = { DNNL_ARG_SRC, dnnl_query_src_md, 0 },
    [ED_ARG_WEIGHTS] = { DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0 },
    [ED_ARG_BIAS] = { DNNL_ARG_BIAS, dnnl_query_weights_md, 1 },
    [ED_ARG_DST] = { DNNL_ARG_DST, dnnl_query_dst_md, 0 },
};
static const argument input_grad_arguments[ED_ARG_COUNT] = {
    [ED_ARG_SRC] = { DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0 },
    [ED_ARG_WEIGHTS] = { DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0 },
    [ED_ARG_DST] = { DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, 0 },
};
static const argument weight_grad_arguments[ED_ARG_COUNT] = {
    [ED_ARG_SRC] = { DNNL_ARG_SRC, dnnl_query_src_md, 0 },
    [ED_ARG_OTHER] = { DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0 },
    [ED_ARG_BIAS] = { DNNL_ARG_DIFF_BIAS, dnnl_query_diff_weights_md, 1 },
    [ED_ARG_DST] = { DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md, 0 },
};

static const argument *arguments_of(const_dnnl_primitive_desc_t desc)
{
    dnnl_prop_kind_t kind = dnnl_prop_kind_undef;
    if (dnnl_primitive_desc_query(desc, dnnl_query_prop_kind, 0, &kind) != dnnl_success)
        return forward_arguments; /* a reorder has no direction */
    return kind == dnnl_backward_data      ? input_grad_arguments
           : kind == dnnl_backward_weights ? weight_grad_arguments
                                           : forward_arguments;
}

static int make_memories(ed_prim *p)
{
    const argument *args = arguments_of(p->desc);
    for (int i = 0; i < ED_ARG_COUNT; i++) {
        const dnnl_memory_desc_t *md = NULL;
        p->arg_id[i] = args[i].id;
        if (args[i].id)
            md = dnnl_primitive_desc_query_md(p->desc, args[i].query, args[i].index);
        else if (i == ED_ARG_OTHER && (p->arg_id[i] = other_argument(p->desc)) != 0)
            md = dnnl_primitive_desc_query_md(p->desc, dnnl_query_dst_md, 0);
        ED_TRY(make_memory(&p->mem[i], p->dnn, md));
    }
    return make_memory(&p->scratch, p->dnn,
                       dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0));
}

int ed_prim_from_desc(ed_prim **out, ed_dnn *dnn, dnnl_primitive_desc_t desc)
{
    int rc = ED_OK;
    ed_prim *p = ed_calloc(1, sizeof *p);
    if (!p) {
        rc = ED_ENOMEM;
        goto done;
    }
    p->dnn = dnn;
    ED_GOTO(ed_dnn_status(dnnl_primitive_create(&p->primitive, desc), "primitive_create"));
    ED_GOTO(ed_dnn_status(dnnl_primitive_get_primitive_desc(p->primitive, &p->desc), "get_desc"));
    ED_GOTO(make_memories(p));
    *out = p;
    p = NULL;
done:
    dnnl_primitive_desc_destroy(desc);
    ed_prim_free(p);
    return rc;
}

static const char *desc_name(const_dnnl_primitive_desc_t desc)
{
    const char *name = NULL;
    if (dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) || !name)
        return "onednn";
    return name;
}

int ed_prim_new(ed_prim **out, ed_dnn *dnn, const_dnnl_op_desc_t op,
                const_dnnl_primitive_desc_t forward, dnnl_primitive_attr_t attr,
                bool (*accept)(const char *name))
{
    dnnl_primitive_desc_iterator_t it = NULL;
    dnnl_primitive_desc_t chosen = NULL;
    *out = NULL;
    dnnl_status_t status = dnnl_primitive_desc_iterator_create(&it, op, attr, dnn->engine, forward);
    while (status == dnnl_success && !chosen) {
        dnnl_primitive_desc_t desc = dnnl_primitive_desc_iterator_fetch(it);
        if (!desc || !accept || accept(desc_name(desc)))
            chosen = desc;
        else
            dnnl_primitive_desc_destroy(desc);
        if (!chosen)
            status = desc ? dnnl_primitive_desc_iterator_next(it) : dnnl_out_of_memory;
    }
    if (it)
        dnnl_primitive_desc_iterator_destroy(it);
    dnnl_primitive_attr_destroy(attr);
    if (status == dnnl_out_of_memory)
        return ed_dnn_status(status, "choosing an implementation");
    return chosen ? ed_prim_from_desc(out, dnn, chosen) : ED_OK;
}

void ed_prim_free(ed_prim *prim)
{
    if (!prim)
        return;
    for (int i = 0; i < ED_ARG_COUNT; i++)
        if (prim->mem[i])
            dnnl_memory_destroy(prim->mem[i]);
    if (prim->scratch)
        dnnl_memory_destroy(prim->scratch);
    if (prim->primitive)
        dnnl_primitive_destroy(prim->primitive);
    ed_free(prim);
}

size_t ed_prim_scratch(const ed_prim *prim)
{
    const dnnl_memory_desc_t *md =
        dnnl_primitive_desc_query_md(prim->desc, dnnl_query_scratchpad_md, 0);
    return md ? dnnl_memory_desc_get_size(md) : 0;
}

const char *ed_prim_name(const ed_prim *prim)
{
    return desc_name(prim->desc);
}

/* The library takes all pointers as writable, and writes to the output only. */
static void *writable(const void *data)
{
    void *p;
    memcpy(&p, &data, sizeof p);
    return p;
}

int ed_prim_run(ed_prim *prim, const void *const data[ED_ARG_COUNT], void *scratch)
{
    dnnl_exec_arg_t args[ED_ARG_COUNT + 1];
    int n = 0;
    for (int i = 0; i < ED_ARG_COUNT; i++) {
        if (!prim->mem[i])
            continue;
        ED_TRY(ed_dnn_status(dnnl_memory_set_data_handle(prim->mem[i], writable(data[i])),
                             "set_data"));
        args[n++] = (dnnl_exec_arg_t){ prim->arg_id[i], prim->mem[i] };
    }
    if (prim->scratch) {
        ED_TRY(ed_dnn_status(dnnl_memory_set_data_handle(prim->scratch, scratch), "set_data"));
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, prim->scratch };
    }
    dnnl_stream_t stream = prim->dnn->stream;
    ED_TRY(ed_dnn_status(dnnl_primitive_execute(prim->primitive, stream, n, args), "execute"));
    return ed_dnn_status(dnnl_stream_wait(stream), "execute");
}

static const dnnl_memory_desc_t *packed_desc(const ed_prim *prim)
{
    bool computes = arguments_of(prim->desc) == weight_grad_arguments;
    return dnnl_primitive_desc_query_md(
        prim->desc, computes ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
}

bool ed_prim_same_pack(const ed_prim *a, const ed_prim *b)
{
    return dnnl_memory_desc_equal(packed_desc(a), packed_desc(b)) != 0;
}

size_t ed_prim_packed_bytes(const ed_prim *prim)
{
    return dnnl_memory_desc_get_size(packed_desc(prim));
}

int ed_prim_packer_new(ed_prim **out, const ed_prim *prim)
{
    const dnnl_memory_desc_t *from = &prim->plain_weights, *to = packed_desc(prim);
    dnnl_engine_t engine = prim->dnn->engine;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_attr_t attr = NULL;
    *out = NULL;
    if (arguments_of(prim->desc) == weight_grad_arguments) {
        from = to;
        to = &prim->plain_weights;
    }
    if (dnnl_memory_desc_equal(from, to))
        return ED_OK;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine, attr);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    ED_TRY(ed_dnn_status(status, "packing weights"));
    return ed_prim_from_desc(out, prim->dnn, desc);
}

int ed_prim_pack(void **out, size_t *nbytes, const ed_prim *prim, const float *plain)
{
    int rc = ED_OK;
    ed_prim *packer = NULL;
    void *scratch = NULL;
    *nbytes = ed_prim_packed_bytes(prim);
    void *packed = ed_aligned_alloc(*nbytes);
    if (!packed)
        return ED_ENOMEM;
    ED_GOTO(ed_prim_packer_new(&packer, prim));
    if (packer) {
        scratch = ed_aligned_alloc(ed_prim_scratch(packer));
        const void *data[ED_ARG_COUNT] = { [ED_ARG_SRC] = plain, [ED_ARG_DST] = packed };
        rc = scratch ? ed_prim_run(packer, data, scratch) : ED_ENOMEM;
    } else {
        memcpy(packed, plain, *nbytes);
    }
done:
    ed_free(scratch);
    ed_prim_free(packer);
    *out = rc == ED_OK ? packed : NULL;
    if (rc != ED_OK)
        ed_free(packed);
    return rc;
}
