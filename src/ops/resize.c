/*
 * Resize and Upsample: sizes and scales per axis; resample.c computes.
 *
 * Upsample (ONNX opset 7 attribute `scales`; 9 input)  out = floor(in * scale)
 * Resize (10; 11, 13 roi and sizes; 18 axes, antialias, aspect ratio; 19)   the same, or `sizes`;
 *     the scale is then out / in. not_larger, not_smaller: one scale for all axes, the least or the
 *     largest, and out = round(in * scale)
 */
#include "ops/gradient.h"
#include "ops/resize.h"
#include "ops/strided.h"

#include <math.h>

const char *const ed_resize_modes[] = { "nearest", "linear", "cubic", NULL };
const char *const ed_resize_coordinates[] = { "half_pixel",           "align_corners",
                                              "asymmetric",           "pytorch_half_pixel",
                                              "half_pixel_symmetric", "tf_crop_and_resize",
                                              "tf_half_pixel_for_nn", NULL };
static const char *const nearests[] = { "round_prefer_floor", "round_prefer_ceil", "floor", "ceil",
                                        NULL };
static const char *const policies[] = { "stretch", "not_larger", "not_smaller", NULL };

enum { POLICY_STRETCH, POLICY_NOT_LARGER, POLICY_NOT_SMALLER, MAX_SIZE = ED_RESIZE_MAX_SIZE };

#define ENUM_PRESET(name, field, preset, words)                                                    \
    {                                                                                              \
        name, ED_KIND_ENUM, offsetof(ed_resize_params, field), preset, words, false                \
    }

/* Before opset 11 there is one way to find coordinates. */
static const ed_attr_spec early_attrs[] = {
    ED_ATTR_ENUM_OF("mode", ed_resize_params, mode, ed_resize_modes),
    ENUM_PRESET("coordinate_transformation_mode", coordinates, ED_COORD_ASYMMETRIC,
                ed_resize_coordinates),
    ENUM_PRESET("nearest_mode", nearest, ED_NEAREST_SIMPLE, nearests),
    ED_ATTR_INTS_OF("axes", ed_resize_params, axes),
    { 0 },
};

static const ed_attr_spec attrs[] = {
    ED_ATTR_ENUM_OF("mode", ed_resize_params, mode, ed_resize_modes),
    ED_ATTR_ENUM_OF("coordinate_transformation_mode", ed_resize_params, coordinates,
                    ed_resize_coordinates),
    ED_ATTR_ENUM_OF("nearest_mode", ed_resize_params, nearest, nearests),
    ED_ATTR_ENUM_OF("keep_aspect_ratio_policy", ed_resize_params, policy, policies),
    ED_ATTR_F32_OF("cubic_coeff_a", ed_resize_params, cubic_coeff, -0.75),
    ED_ATTR_F32_OF("extrapolation_value", ed_resize_params, extrapolation, 0),
    ED_ATTR_I64_OF("exclude_outside", ed_resize_params, exclude_outside, 0),
    ED_ATTR_I64_OF("antialias", ed_resize_params, antialias, 0),
    ED_ATTR_INTS_OF("axes", ed_resize_params, axes),
    { 0 },
};

/* ---- where the numbers come from ---- */

typedef struct source {
    const ed_resize_params *p;
    const float *scales; /* one per listed axis; or NULL: sizes say */
    int64_t n_scales;
    const ed_tensor *sizes, *roi;
} source;

static const ed_tensor *filled(const ed_tensor *const *in, uint32_t n, uint32_t i)
{
    return i < n && in[i] && in[i]->numel > 0 ? in[i] : NULL; /* an empty one stands for none */
}

/* Upsample 7 has one input, Upsample 9 and Resize 10 have x and scales, Resize 11 has x, roi,
 * scales, sizes. */
static source find_source(const ed_node *node, const void *params, const ed_tensor *const *in)
{
    source s = { .p = params };
    const ed_attr *attr = node->n_in == 1 ? ed_node_attr(node, "scales") : NULL;
    const ed_tensor *scales = filled(in, node->n_in, node->n_in == 2 ? 1 : 2);

    if (attr && attr->type == ED_ATTR_FLOATS) {
        s.scales = attr->floats;
        s.n_scales = (int64_t)attr->count;
    } else if (scales && scales->dtype == ED_F32) {
        s.scales = scales->data;
        s.n_scales = scales->numel;
    }
    s.sizes = filled(in, node->n_in, 3);
    s.roi = node->n_in > 2 ? filled(in, node->n_in, 1) : NULL;
    return s;
}

static int axis_count(const source *s, int rank)
{
    return s->p->axes.n < 0 ? rank : s->p->axes.n;
}

static int axis_at(const source *s, int rank, int k)
{
    int64_t axis = s->p->axes.n < 0 ? k : s->p->axes.v[k];
    return (int)(axis < 0 ? axis + rank : axis);
}

/* The one scale of a policy: the least or the largest of size / in. */
static float common_scale(const source *s, const ed_shape *x)
{
    float common = 0.0f;

    for (int k = 0; k < axis_count(s, x->rank); k++) {
        float one = (float)ed_tensor_get_i64(s->sizes, k) / (float)x->dim[axis_at(s, x->rank, k)];
        bool better = s->p->policy == POLICY_NOT_LARGER ? one < common : one > common;
        common = k == 0 || better ? one : common;
    }
    return common;
}

/* The k-th listed axis of a known shape. */
static ed_resize_axis resolve(const source *s, const ed_shape *x, int k)
{
    int axis = axis_at(s, x->rank, k), n = axis_count(s, x->rank);
    ed_resize_axis a = { .axis = axis, .in = x->dim[axis], .end = 1.0f };

    if (s->p->coordinates == ED_COORD_CROP && s->roi) {
        a.begin = (float)ed_tensor_get_f64(s->roi, k);
        a.end = (float)ed_tensor_get_f64(s->roi, n + k);
    }
    if (s->scales) {
        a.scale = s->scales[k];
        a.out = (int64_t)floorf((float)a.in * (a.end - a.begin) * a.scale);
    } else if (s->p->policy == POLICY_STRETCH) {
        a.out = ed_tensor_get_i64(s->sizes, k);
        a.scale = (float)a.out / (float)a.in;
    } else {
        a.scale = common_scale(s, x);
        a.out = (int64_t)floorf((float)a.in * a.scale + 0.5f);
    }
    return a;
}

/* ---- inference ---- */

static int check_axes(const ed_infer *ctx, const source *s, int rank)
{
    unsigned seen = 0;

    for (int k = 0; k < axis_count(s, rank) && s->p->axes.n >= 0; k++) {
        int axis;

        ED_TRY(ed_infer_axis(ctx, s->p->axes.v[k], rank, &axis));
        if (seen & (1u << axis))
            return ed_infer_fail(ctx, ED_ESHAPE, "axis %d is listed twice; it may be once", axis);
        seen |= 1u << axis;
    }
    return ED_OK;
}

static int check_count(const ed_infer *ctx, int64_t have, int64_t want, const char *what)
{
    if (have != want)
        return ed_infer_fail(ctx, ED_ESHAPE, "there are %lld %s for %lld axes", (long long)have,
                             what, (long long)want);
    return ED_OK;
}

static int check_numbers(const ed_infer *ctx, const source *s, int rank)
{
    int n = axis_count(s, rank);

    if (s->scales)
        ED_TRY(check_count(ctx, s->n_scales, n, "scales"));
    else
        ED_TRY(check_count(ctx, s->sizes->numel, n, "sizes"));
    for (int k = 0; k < n; k++) {
        if (s->scales && !(s->scales[k] > 0 && s->scales[k] <= (float)MAX_SIZE))
            return ed_infer_fail(ctx, ED_ESHAPE, "a scale is %g; it must be greater than 0",
                                 (double)s->scales[k]);
        if (!s->scales && ed_tensor_get_i64(s->sizes, k) < 0)
            return ed_infer_fail(ctx, ED_ESHAPE, "a size is %lld; it must not be negative",
                                 (long long)ed_tensor_get_i64(s->sizes, k));
    }
    for (int64_t k = 0; s->roi && k < s->roi->numel; k++)
        if (!(fabs(ed_tensor_get_f64(s->roi, k)) < 1e6))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "roi holds %g; it is in parts of the axis, such "
                                 "as 0 to 1",
                                 ed_tensor_get_f64(s->roi, k));
    return s->roi && s->p->coordinates == ED_COORD_CROP
               ? check_count(ctx, s->roi->numel, 2 * n, "limits in roi")
               : ED_OK;
}

/* The size of one axis of which not all is known. */
static int64_t open_size(const source *s, int64_t dim, int k)
{
    if (s->scales)
        return s->scales[k] == 1.0f && s->p->coordinates != ED_COORD_CROP ? dim : ED_DIM_UNKNOWN;
    return s->p->policy == POLICY_STRETCH ? ed_tensor_get_i64(s->sizes, k) : ED_DIM_UNKNOWN;
}

static int infer_sizes(ed_infer *ctx, const source *s)
{
    const ed_shape *x = &ctx->in[0].shape;
    ed_shape *y = &ctx->out[0].shape;
    bool known = s->p->policy == POLICY_STRETCH || ed_shape_known(x);

    for (int k = 0; k < axis_count(s, x->rank); k++) {
        int axis = axis_at(s, x->rank, k);

        if (x->dim[axis] < 0 || !known) {
            y->dim[axis] = open_size(s, x->dim[axis], k);
            continue;
        }
        ed_resize_axis a = resolve(s, x, k);
        if (a.in > MAX_SIZE || a.out > MAX_SIZE || a.out < 0 || (a.in == 0 && a.out > 0))
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "axis %d is to be resized from %lld to %lld; "
                                 "sizes are 1 to %d",
                                 axis, (long long)a.in, (long long)a.out, MAX_SIZE);
        y->dim[axis] = a.out;
    }
    return ED_OK;
}

/* A list that is there and varies leaves the sizes open. */
static bool is_open(const ed_infer *ctx, uint32_t i)
{
    const ed_shape *shape = i < ctx->n_in ? &ctx->in[i].shape : NULL;
    return ed_node_in(ctx->node, i) != ED_NONE && !ctx->constant[i] &&
           !(shape->rank == 1 && shape->dim[0] == 0);
}

static int resize_infer(ed_infer *ctx)
{
    source s = find_source(ctx->node, ctx->params, ctx->constant);
    bool moves = s.p->mode == ED_RESIZE_NEAREST && s.p->coordinates != ED_COORD_CROP;
    const ed_shape *x = &ctx->in[0].shape;

    ED_TRY(ed_infer_dtypes(ctx, 0, moves ? ED_DTYPES_BYTES : 1u << ED_F32));
    for (uint32_t i = 1; i < ctx->n_in; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, i == 3 ? 1u << ED_I64 : 1u << ED_F32));
    ctx->out[0] = ctx->in[0];
    if (x->rank < 0)
        return ED_OK;
    ED_TRY(check_axes(ctx, &s, x->rank));
    if (is_open(ctx, 1) || is_open(ctx, 2) || is_open(ctx, 3)) {
        for (int k = 0; k < axis_count(&s, x->rank); k++)
            ctx->out[0].shape.dim[axis_at(&s, x->rank, k)] = ED_DIM_UNKNOWN;
        return ED_OK;
    }
    if ((s.scales != NULL) == (s.sizes != NULL))
        return ed_infer_fail(ctx, ED_EFORMAT, "it has %s; it must have scales or sizes",
                             s.scales ? "scales and sizes" : "neither scales nor sizes");
    ED_TRY(check_numbers(ctx, &s, x->rank));
    return infer_sizes(ctx, &s);
}

int ed_resize_axes(ed_resize_axis axes[ED_MAX_RANK], const ed_node *node, const ed_resize_params *p,
                   const ed_tensor *const *in, const ed_shape *x)
{
    source s = find_source(node, p, in);
    int n = 0;

    for (int k = 0; k < axis_count(&s, x->rank); k++) {
        ed_resize_axis a = resolve(&s, x, k);
        if (a.in != a.out || a.scale != 1.0f || p->coordinates == ED_COORD_CROP)
            axes[n++] = a;
    }
    return n;
}

static int resize_forward(const ed_call *c)
{
    ed_resize_axis axes[ED_MAX_RANK];
    int n = ed_resize_axes(axes, c->node, c->params, c->in, &c->in[0]->shape);

    return ed_resample(c->out[0], c->in[0], c->params, axes, n);
}

#define RESIZE_ROW(name, first, last, least, most, attributes)                                     \
    {                                                                                              \
        .type = name, .opset = { first, last }, .arity = { least, most, 1 }, .attrs = attributes,  \
        .params_size = sizeof(ed_resize_params), .infer = resize_infer,                            \
        .forward = { ED_REFERENCE(resize_forward) }, .gradient = ed_gradient_resize                \
    }

const ed_op ed_ops_resize[] = {
    RESIZE_ROW("Upsample", 7, 8, 1, 1, early_attrs),
    RESIZE_ROW("Upsample", 9, 0, 2, 2, early_attrs),
    RESIZE_ROW("Resize", 10, 10, 2, 2, early_attrs),
    RESIZE_ROW("Resize", 11, 0, 1, 4, attrs),
    { 0 },
};
