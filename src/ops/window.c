/*
 * Windows: from the attributes of Conv, ConvTranspose and pooling to numbers (ONNX operator
 * specification, the same for opsets 1 to 23).
 *
 *   extent = (kernel - 1) * dilation + 1
 *   Conv, pooling   out = floor((in + pad_begin + pad_end - extent) / stride) + 1
 *   SAME_*          pads such that out = ceil(in / stride)
 *   ConvTranspose   out = (in - 1) * stride + extent + output_padding - pad_begin - pad_end
 *   SAME_* there    pads such that out = in * stride; with output_shape such that out is that
 *
 * ed_window.pad_end of a ConvTranspose has output_padding already subtracted and may be negative,
 * so that out = (in - 1) * stride + extent - pad_begin - pad_end in every case.
 */
#include "ops/window.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const ed_auto_pad_words[] = { "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", NULL };

/* What a sentence needs to name the node; kernels have no graph at hand, and no errors left. */
typedef struct subject {
    const ed_graph *g;
    const ed_node *node;
} subject;

static int fail(const subject *s, int code, const char *format, ...) ED_PRINTF(3, 4);

static int fail(const subject *s, int code, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ed_error_set(code, "%s: %s", s->g ? ed_node_label(s->g, s->node) : s->node->op_type,
                        text);
}

/* A list attribute of `count` numbers in [least, 2^31), or `preset` for each when it is absent. */
static int read_list(const subject *s, const char *name, const ed_ints *list, int count,
                     int64_t least, int64_t preset, int64_t *out)
{
    if (list->n >= 0 && list->n != count)
        return fail(s, ED_ESHAPE, "attribute %s has %d numbers; the input's rank wants %d", name,
                    list->n, count);
    for (int i = 0; i < count; i++) {
        out[i] = list->n < 0 ? preset : list->v[i];
        if (out[i] < least || out[i] > INT32_MAX)
            return fail(s, ED_ESHAPE, "attribute %s holds %lld; it must be %lld to %d", name,
                        (long long)out[i], (long long)least, INT32_MAX);
    }
    return ED_OK;
}

static int spatial_rank(const subject *s, const ed_shape *x, int *out)
{
    if (x->rank < 3)
        return fail(
            s, ED_ESHAPE,
            "the input has rank %d; it must be [batch, channels, 1 to 3 spatial dimensions]",
            x->rank);
    if (x->rank > 5)
        return fail(s, ED_EUNSUPPORTED,
                    "the input has %d spatial dimensions; up to 3 are supported", x->rank - 2);
    *out = x->rank - 2;
    return ED_OK;
}

static int64_t extent(const ed_window *w, int i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* Strides, dilations and explicit pads; ONNX Runtime too ignores pads unless auto_pad is NOTSET. */
static int read_common(const subject *s, ed_window *w, int auto_pad, const ed_ints *strides,
                       const ed_ints *dilations, const ed_ints *pads)
{
    int64_t pad[6] = { 0 };

    ED_TRY(read_list(s, "strides", strides, w->rank, 1, 1, w->stride));
    ED_TRY(read_list(s, "dilations", dilations, w->rank, 1, 1, w->dilation));
    if (auto_pad == ED_PAD_NOTSET)
        ED_TRY(read_list(s, "pads", pads, 2 * w->rank, 0, 0, pad));
    memcpy(w->pad_begin, pad, (size_t)w->rank * sizeof *pad);
    memcpy(w->pad_end, pad + w->rank, (size_t)w->rank * sizeof *pad);
    return ED_OK;
}

/* Where the odd one of `total` padding goes. */
static void split_padding(ed_window *w, int i, int64_t total, bool more_at_end)
{
    w->pad_begin[i] = more_at_end ? total / 2 : total - total / 2;
    w->pad_end[i] = total - w->pad_begin[i];
}

/* Pads of SAME_* where the sizes are known, then: does the window fit into the padded input? */
static int settle_forward(const subject *s, ed_window *w, int auto_pad, const ed_shape *x)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t in = x->dim[2 + i];

        if (in < 0 || w->kernel[i] < 0)
            continue;
        if (auto_pad == ED_PAD_SAME_UPPER || auto_pad == ED_PAD_SAME_LOWER) {
            int64_t out = in / w->stride[i] + (in % w->stride[i] != 0);
            int64_t total = (out - 1) * w->stride[i] + extent(w, i) - in;

            split_padding(w, i, total > 0 ? total : 0, auto_pad == ED_PAD_SAME_UPPER);
        }
        int64_t padded = in + w->pad_begin[i] + w->pad_end[i];

        if (padded < extent(w, i))
            return fail(
                s, ED_ESHAPE,
                "spatial dimension %d of the input is %lld and %lld with padding; the window "
                "spans %lld, so give a larger input",
                i, (long long)in, (long long)padded, (long long)extent(w, i));
    }
    return ED_OK;
}

/* Number i of output_shape, which lists the spatial sizes or the whole shape. */
static int wanted_size(const subject *s, const ed_window *w, const ed_ints *list, int i,
                       int64_t *out)
{
    if (list->n != w->rank && list->n != w->rank + 2)
        return fail(s, ED_ESHAPE, "attribute output_shape has %d numbers; %d were expected",
                    list->n, w->rank);
    *out = list->v[list->n - w->rank + i];
    if (*out < 1 || *out > INT32_MAX)
        return fail(s, ED_ESHAPE, "attribute output_shape holds %lld; it must be 1 to %d",
                    (long long)*out, INT32_MAX);
    return ED_OK;
}

static int settle_transposed(const subject *s, ed_window *w, const ed_conv_params *p,
                             const ed_shape *x)
{
    bool same = p->auto_pad == ED_PAD_SAME_UPPER || p->auto_pad == ED_PAD_SAME_LOWER;
    int64_t more[3];

    ED_TRY(read_list(s, "output_padding", &p->output_padding, w->rank, 0, 0, more));
    for (int i = 0; i < w->rank; i++) {
        int64_t in = x->dim[2 + i], natural, wanted;

        w->pad_end[i] -= more[i];
        if (in < 0 || w->kernel[i] < 0)
            continue;
        if (!ed_mul_i64(in - 1, w->stride[i], &natural) || natural > INT64_MAX / 4)
            return fail(s, ED_ESHAPE, "input size %lld with stride %lld overflows", (long long)in,
                        (long long)w->stride[i]);
        natural += extent(w, i);
        wanted = natural - w->pad_begin[i] - w->pad_end[i];
        if (p->output_shape.n > 0)
            ED_TRY(wanted_size(s, w, &p->output_shape, i, &wanted));
        else if (same)
            wanted = in * w->stride[i];
        if (same || p->output_shape.n > 0) {
            int64_t total = natural + more[i] - wanted;

            split_padding(w, i, total > 0 ? total : 0, p->auto_pad == ED_PAD_SAME_UPPER);
            /* total < 0: what lies beyond the window's reach is bias alone */
            wanted = p->output_shape.n > 0 || total >= 0 ? wanted : natural + more[i];
            w->pad_end[i] = natural - w->pad_begin[i] - wanted;
        }
        if (wanted < 1)
            return fail(s, ED_ESHAPE,
                        "spatial dimension %d of the output would be %lld; reduce pads", i,
                        (long long)wanted);
    }
    return ED_OK;
}

int ed_conv_window(ed_window *w, const ed_graph *g, const ed_node *node, const ed_conv_params *p,
                   const ed_shape *x, const ed_shape *weight)
{
    subject s = { g, node };

    memset(w, 0, sizeof *w);
    ED_TRY(spatial_rank(&s, x, &w->rank));
    if (weight && weight->rank >= 0 && weight->rank != x->rank)
        return fail(&s, ED_ESHAPE, "the weight has rank %d, the input %d; they must be the same",
                    weight->rank, x->rank);
    ED_TRY(read_list(&s, "kernel_shape", &p->kernel_shape, w->rank, 1, 1, w->kernel));
    for (int i = 0; i < w->rank; i++) {
        int64_t size = weight && weight->rank >= 0 ? weight->dim[2 + i] : ED_DIM_UNKNOWN;

        if (p->kernel_shape.n < 0)
            w->kernel[i] = size < 0 ? ED_DIM_UNKNOWN : size;
        else if (size >= 0 && size != w->kernel[i])
            return fail(&s, ED_ESHAPE, "kernel_shape is %lld where the weight has %lld",
                        (long long)w->kernel[i], (long long)size);
        if (w->kernel[i] == 0 || w->kernel[i] > INT32_MAX)
            return fail(&s, ED_ESHAPE, "the weight's spatial size is %lld; it must be 1 to %d",
                        (long long)w->kernel[i], INT32_MAX);
    }
    ED_TRY(read_common(&s, w, p->auto_pad, &p->strides, &p->dilations, &p->pads));
    return strcmp(node->op_type, "ConvTranspose") == 0 ? settle_transposed(&s, w, p, x)
                                                       : settle_forward(&s, w, p->auto_pad, x);
}

int ed_pool_window(ed_window *w, const ed_graph *g, const ed_node *node, const ed_pool_params *p,
                   const ed_shape *x)
{
    subject s = { g, node };

    memset(w, 0, sizeof *w);
    ED_TRY(spatial_rank(&s, x, &w->rank));
    if (p->kernel_shape.n < 0)
        return fail(&s, ED_EFORMAT, "the required attribute kernel_shape is missing");
    ED_TRY(read_list(&s, "kernel_shape", &p->kernel_shape, w->rank, 1, 1, w->kernel));
    ED_TRY(read_common(&s, w, p->auto_pad, &p->strides, &p->dilations, &p->pads));
    for (int i = 0; i < w->rank; i++) {
        int64_t pad = w->pad_begin[i] > w->pad_end[i] ? w->pad_begin[i] : w->pad_end[i];

        if (pad >= extent(w, i))
            return fail(&s, ED_ESHAPE,
                        "the padding %lld is not smaller than the window's span %lld",
                        (long long)pad, (long long)extent(w, i));
    }
    return settle_forward(&s, w, p->auto_pad, x);
}

int64_t ed_window_positions(const ed_window *w, int i, int64_t in, bool ceil_mode)
{
    int64_t room, out;

    if (in < 0 || w->kernel[i] < 0)
        return ED_DIM_UNKNOWN;
    room = in + w->pad_begin[i] + w->pad_end[i] - extent(w, i);
    out = room / w->stride[i] + 1;
    if (ceil_mode && room % w->stride[i] != 0 && out * w->stride[i] < in + w->pad_begin[i])
        out++;
    return out;
}

void ed_window_axes(ed_window_axis axes[3], const ed_window *w, const ed_shape *x,
                    const ed_shape *y)
{
    int first = 3 - w->rank;

    for (int a = 0; a < first; a++)
        axes[a] = (ed_window_axis){ 1, 1, 1, 1, 1, 0 };
    for (int i = 0; i < w->rank; i++)
        axes[first + i] = (ed_window_axis){ x->dim[2 + i], y->dim[2 + i],  w->kernel[i],
                                            w->stride[i],  w->dilation[i], w->pad_begin[i] };
}

void ed_window_valid(const ed_window_axis *a, int64_t k, int64_t *lo, int64_t *hi)
{
    int64_t shift =
        a->pad - k * a->dilation; /* reads o * stride - shift, which must be in [0, in) */
    int64_t last = a->in - 1 + shift;

    *lo = shift > 0 ? (shift + a->stride - 1) / a->stride : 0;
    *hi = last < 0 ? 0 : last / a->stride + 1;
    if (*hi > a->out)
        *hi = a->out;
    if (*lo > *hi)
        *lo = *hi;
}
