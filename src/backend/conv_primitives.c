/* oneDNN convolutions: forward, and the gradients of their input and weights. */
#include "backend/onednn_impl.h"

#include <string.h>

/* GEMM based convolutions are slower than a change of the layout. */
static bool direct_only(const char *name)
{
    return ed_dnn_not_reference(name) && !strstr(name, "gemm");
}

/* A convolution's weights: [K, C/g, ...] or, grouped, [g, K/g, C/g, ...]; the same bytes. */
static ed_shape grouped_weight(const ed_dnn_conv *c)
{
    if (c->group == 1)
        return *c->weight;
    ed_shape w = { .rank = c->weight->rank + 1, .dim = { c->group } };
    memcpy(w.dim + 1, c->weight->dim, (size_t)c->weight->rank * sizeof w.dim[0]);
    w.dim[1] /= c->group;
    return w;
}

/* A case in the library's terms. */
typedef struct described {
    dnnl_memory_desc_t x, y, w, plain, b;
    dnnl_dims_t stride, dilation, begin, end;
} described;

static int describe(described *d, const ed_dnn_conv *c)
{
    ed_shape weight = grouped_weight(c);
    memset(d, 0, sizeof *d);
    ED_TRY(ed_dnn_memory_desc(&d->x, &c->x));
    ED_TRY(ed_dnn_memory_desc(&d->y, &c->y));
    ED_TRY(ed_dnn_any_desc(&d->w, weight.rank, weight.dim));
    ED_TRY(ed_dnn_memory_desc(&d->plain, &(ed_dnn_tensor){ .shape = &weight }));
    if (c->bias)
        ED_TRY(ed_dnn_any_desc(&d->b, 1, c->y.shape->dim + 1));
    for (int i = 0; i < c->x.shape->rank - 2; i++) {
        d->stride[i] = c->stride[i];
        d->dilation[i] = c->dilation[i] - 1; /* the library counts the gaps */
        d->begin[i] = c->pad_begin[i];
        d->end[i] = c->pad_end[i];
    }
    return ED_OK;
}

static dnnl_status_t forward_desc(dnnl_convolution_desc_t *desc, const described *d,
                                  const ed_dnn_conv *c, dnnl_prop_kind_t kind)
{
    dnnl_alg_kind_t alg = c->winograd ? dnnl_convolution_winograd : dnnl_convolution_direct;
    return dnnl_dilated_convolution_forward_desc_init(desc, kind, alg, &d->x, &d->w,
                                                      c->bias ? &d->b : NULL, &d->y, d->stride,
                                                      d->dilation, d->begin, d->end);
}

static int finish(ed_prim **out, ed_dnn *dnn, const dnnl_convolution_desc_t *desc,
                  const_dnnl_primitive_desc_t forward, const described *d, const ed_dnn_conv *c,
                  const ed_posts *posts)
{
    dnnl_primitive_attr_t attr;
    ED_TRY(ed_dnn_attr(&attr, posts, &d->y));
    ED_TRY(
        ed_prim_new(out, dnn, desc, forward, attr, c->gemm ? ed_dnn_not_reference : direct_only));
    if (*out)
        (*out)->plain_weights = d->plain;
    return ED_OK;
}

int ed_dnn_conv_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c)
{
    described d;
    dnnl_convolution_desc_t desc;
    *out = NULL;
    ED_TRY(describe(&d, c));
    if (forward_desc(&desc, &d, c, dnnl_forward_inference) != dnnl_success)
        return ED_OK;
    return finish(out, dnn, &desc, NULL, &d, c, &c->posts);
}

/* A backward primitive is asked for together with the description of a forward one. */
static int backward_new(ed_prim **out, ed_dnn *dnn, const dnnl_convolution_desc_t *desc,
                        const described *d, const ed_dnn_conv *c)
{
    dnnl_convolution_desc_t forward;
    dnnl_primitive_desc_t hint = NULL;
    if (forward_desc(&forward, d, c, dnnl_forward_training) != dnnl_success ||
        dnnl_primitive_desc_create(&hint, &forward, NULL, dnn->engine, NULL) != dnnl_success)
        return ED_OK;
    int rc = finish(out, dnn, desc, hint, d, c, NULL);
    dnnl_primitive_desc_destroy(hint);
    return rc;
}

int ed_dnn_conv_input_grad_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c)
{
    described d;
    dnnl_convolution_desc_t desc;
    *out = NULL;
    ED_TRY(describe(&d, c));
    if (dnnl_dilated_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, &d.x, &d.w,
                                                         &d.y, d.stride, d.dilation, d.begin,
                                                         d.end) != dnnl_success)
        return ED_OK;
    return backward_new(out, dnn, &desc, &d, c);
}

int ed_dnn_conv_weight_grad_new(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c)
{
    described d;
    dnnl_convolution_desc_t desc;
    *out = NULL;
    ED_TRY(describe(&d, c));
    if (dnnl_dilated_convolution_backward_weights_desc_init(
            &desc, dnnl_convolution_direct, &d.x, &d.w, c->bias ? &d.b : NULL, &d.y, d.stride,
            d.dilation, d.begin, d.end) != dnnl_success)
        return ED_OK;
    return backward_new(out, dnn, &desc, &d, c);
}
