/*
 * Builders of oneDNN primitives: matmul, pooling, eltwise, reorder (conv_primitives.c:
 * convolution).
 *
 * Padding channels of a blocked output are zero after every primitive; the library sees to it even
 * where a post-op does not keep zero.
 */
#include "backend/onednn_impl.h"

#include <math.h>
#include <string.h>

static const struct {
    dnnl_alg_kind_t alg;
    float alpha; /* used instead of the post's own numbers when they have no meaning there */
    bool own;    /* the post's a and b are alpha and beta */
} eltwise[] = {
    [ED_POST_RELU] = { dnnl_eltwise_relu, 0.0f, true },
    [ED_POST_CLIP] = { dnnl_eltwise_clip, 0.0f, true },
    [ED_POST_LINEAR] = { dnnl_eltwise_linear, 0.0f, true },
    [ED_POST_SIGMOID] = { dnnl_eltwise_logistic, 0.0f, false },
    [ED_POST_TANH] = { dnnl_eltwise_tanh, 0.0f, false },
    [ED_POST_SWISH] = { dnnl_eltwise_swish, 1.0f, false },
    [ED_POST_HARDSWISH] = { dnnl_eltwise_hardswish, 0.0f, false },
    [ED_POST_GELU] = { dnnl_eltwise_gelu_erf, 0.0f, false },
    [ED_POST_GELU_TANH] = { dnnl_eltwise_gelu_tanh, 0.0f, false },
};

static float alpha_of(const ed_post *f)
{
    return eltwise[f->kind].own ? f->a : eltwise[f->kind].alpha;
}

static dnnl_status_t append_post(dnnl_post_ops_t ops, const ed_post *f, const dnnl_memory_desc_t *y)
{
    if (f->kind == ED_POST_SUM)
        return dnnl_post_ops_append_sum(ops, 1.0f);
    if (f->kind == ED_POST_ADD)
        return dnnl_post_ops_append_binary(ops, dnnl_binary_add, y);
    return dnnl_post_ops_append_eltwise(ops, 1.0f, eltwise[f->kind].alg, alpha_of(f), f->b);
}

int ed_dnn_attr(dnnl_primitive_attr_t *out, const ed_posts *posts, const dnnl_memory_desc_t *y)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(&attr);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success && posts && posts->count) {
        s = dnnl_post_ops_create(&ops);
        for (size_t i = 0; s == dnnl_success && i < posts->count; i++)
            s = append_post(ops, &posts->at[i], y);
        if (s == dnnl_success)
            s = dnnl_primitive_attr_set_post_ops(attr, ops);
        if (ops)
            dnnl_post_ops_destroy(ops);
    }
    if (s != dnnl_success && attr)
        dnnl_primitive_attr_destroy(attr);
    *out = s == dnnl_success ? attr : NULL;
    return ed_dnn_status(s, "attributes");
}

bool ed_dnn_not_reference(const char *name)
{
    return !strstr(name, "ref") && !strstr(name, "simple");
}

int ed_dnn_any_desc(dnnl_memory_desc_t *md, int rank, const int64_t *dims)
{
    dnnl_dims_t d = { 0 };
    memcpy(d, dims, (size_t)rank * sizeof d[0]);
    return ed_dnn_status(dnnl_memory_desc_init_by_tag(md, rank, d, dnnl_f32, dnnl_format_tag_any),
                         "memory_desc");
}

int ed_dnn_matmul_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_matmul *m)
{
    dnnl_memory_desc_t x, y, w, plain, b = { 0 };
    int rank = m->y.shape->rank;
    *out = NULL;
    ED_TRY(ed_dnn_memory_desc(&x, &m->x));
    ED_TRY(ed_dnn_memory_desc(&y, &m->y));
    ED_TRY(ed_dnn_memory_desc(&plain, &m->w));
    w = plain;
    if (m->constant)
        ED_TRY(ed_dnn_any_desc(&w, rank, m->w.shape->dim));
    if (m->bias) {
        ed_shape row = { .rank = rank };
        for (int i = 0; i < rank; i++)
            row.dim[i] = i == rank - 1 ? m->y.shape->dim[i] : 1;
        ED_TRY(ed_dnn_memory_desc(&b, &(ed_dnn_tensor){ .shape = &row }));
    }
    dnnl_matmul_desc_t desc;
    if (dnnl_matmul_desc_init(&desc, &x, &w, m->bias ? &b : NULL, &y) != dnnl_success)
        return ED_OK;
    dnnl_primitive_attr_t attr;
    ED_TRY(ed_dnn_attr(&attr, &m->posts, &y));
    ED_TRY(ed_prim_new(out, dnn, &desc, NULL, attr, ed_dnn_not_reference));
    if (*out)
        (*out)->plain_weights = plain;
    return ED_OK;
}

int ed_dnn_pool_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_pool *p)
{
    static const dnnl_alg_kind_t algs[] = {
        [ED_POOL_MAX] = dnnl_pooling_max,
        [ED_POOL_AVG] = dnnl_pooling_avg_exclude_padding,
        [ED_POOL_AVG_WITH_PADS] = dnnl_pooling_avg_include_padding,
    };
    dnnl_memory_desc_t x, y;
    dnnl_dims_t kernel = { 0 }, stride = { 0 }, dilation = { 0 }, begin = { 0 }, end = { 0 };
    *out = NULL;
    ED_TRY(ed_dnn_memory_desc(&x, &p->x));
    ED_TRY(ed_dnn_memory_desc(&y, &p->y));
    for (int i = 0; i < p->x.shape->rank - 2; i++) {
        kernel[i] = p->kernel[i];
        stride[i] = p->stride[i];
        dilation[i] = p->dilation[i] - 1;
        begin[i] = p->pad_begin[i];
        end[i] = p->pad_end[i];
    }
    dnnl_pooling_v2_desc_t desc;
    if (dnnl_pooling_v2_forward_desc_init(&desc, dnnl_forward_inference, algs[p->kind], &x, &y,
                                          stride, kernel, dilation, begin, end) != dnnl_success)
        return ED_OK;
    dnnl_primitive_attr_t attr;
    ED_TRY(ed_dnn_attr(&attr, NULL, NULL));
    return ed_prim_new(out, dnn, &desc, NULL, attr, ed_dnn_not_reference);
}

int ed_dnn_eltwise_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_tensor *x, const ed_post *f)
{
    dnnl_memory_desc_t md;
    dnnl_eltwise_desc_t desc;
    *out = NULL;
    ED_TRY(ed_dnn_memory_desc(&md, x));
    if (dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_inference, eltwise[f->kind].alg, &md,
                                       alpha_of(f), f->b) != dnnl_success)
        return ED_OK;
    dnnl_primitive_attr_t attr;
    ED_TRY(ed_dnn_attr(&attr, NULL, NULL));
    return ed_prim_new(out, dnn, &desc, NULL, attr, ed_dnn_not_reference);
}

int ed_dnn_reorder_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_tensor *from, ed_layout to)
{
    dnnl_memory_desc_t x, y;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_attr_t attr;
    ED_TRY(ed_dnn_memory_desc(&x, from));
    ED_TRY(ed_dnn_memory_desc(&y, &(ed_dnn_tensor){ .shape = from->shape, .layout = to }));
    ED_TRY(ed_dnn_attr(&attr, NULL, NULL));
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&desc, &x, dnn->engine, &y, dnn->engine, attr);
    dnnl_primitive_attr_destroy(attr);
    ED_TRY(ed_dnn_status(status, "reorder"));
    return ed_prim_from_desc(out, dnn, desc);
}
