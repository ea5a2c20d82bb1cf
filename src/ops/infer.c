/*
 * Shape inference: of one node, and of a whole graph in topological order. Dimensions may be
 * unknown (-1) or symbols (a symbolic batch); what is known is checked, what is not stays open.
 */
#include "ops/op.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- sentences ---- */
static int fail_va(const ed_graph *g, const ed_node *node, int code, const char *format,
                   va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    return ed_error_set(code, "%s: %s", ed_node_label(g, node), text);
}

int ed_node_fail(const ed_graph *g, const ed_node *node, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_va(g, node, code, format, args);
    va_end(args);
    return code;
}

int ed_infer_fail(const ed_infer *ctx, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_va(ctx->graph, ctx->node, code, format, args);
    va_end(args);
    return code;
}

/* ---- what the families share ---- */
static const char *input_name(const ed_infer *ctx, uint32_t i)
{
    ed_id id = ed_node_in(ctx->node, i);
    return id == ED_NONE ? "" : ctx->graph->values[id].name;
}

int ed_infer_dtypes(const ed_infer *ctx, uint32_t i, unsigned dtypes)
{
    if (i >= ctx->n_in || ctx->in[i].dtype == ED_DTYPE_NONE ||
        (dtypes & (1u << ctx->in[i].dtype)) != 0)
        return ED_OK;
    const char *wanted = "";
    for (int d = ED_DTYPE_COUNT - 1; d > ED_DTYPE_NONE; d--)
        if (dtypes & (1u << d))
            wanted = ed_dtype_name((ed_dtype)d);
    return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                         "input %u ('%s') is %s, which this operator does not run on; export the "
                         "model with %s here",
                         i, input_name(ctx, i), ed_dtype_name(ctx->in[i].dtype), wanted);
}

int ed_infer_f32(const ed_infer *ctx)
{
    for (uint32_t i = 0; i < ctx->n_in; i++)
        ED_TRY(ed_infer_dtypes(ctx, i, 1u << ED_F32));
    return ED_OK;
}

int ed_infer_axis(const ed_infer *ctx, int64_t axis, int rank, int *out)
{
    int64_t positive = axis < 0 ? axis + rank : axis;
    if (positive < 0 || positive >= rank)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "axis %lld is outside of the input's %d dimensions (%d to %d)",
                             (long long)axis, rank, -rank, rank - 1);
    *out = (int)positive;
    return ED_OK;
}

int ed_infer_input_shape(const ed_infer *ctx, const ed_ints *list, ed_shape *out)
{
    int64_t numel = 0;
    *out = (ed_shape){ .rank = list->n };
    if (list->n < 0 || list->n > ED_MAX_RANK)
        return ed_infer_fail(ctx, ED_EFORMAT, "input_shape must hold at most %d dimensions",
                             ED_MAX_RANK);
    for (int i = 0; i < list->n; i++)
        out->dim[i] = list->v[i];
    if (!ed_shape_known(out) || ed_shape_numel(&numel, out) != ED_OK)
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "input_shape holds a negative dimension, or too many elements");
    return ED_OK;
}

int ed_infer_unused_output(ed_infer *ctx, uint32_t i, ed_dtype dtype, const char *name)
{
    if (i >= ctx->n_out || ctx->node->out[i] == ED_NONE)
        return ED_OK;
    if (ed_value_uses(&ctx->graph->values[ctx->node->out[i]]) > 0)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "its output %s is used, which is not computed here; export the model "
                             "without it",
                             name);
    ctx->out[i] = (ed_type){ dtype, ctx->out[0].shape };
    return ED_OK;
}

int ed_infer_scales(const ed_infer *ctx, uint32_t i)
{
    const ed_tensor *scale = ctx->constant[i];
    for (int64_t k = 0; scale && k < scale->numel; k++) {
        double s = ed_tensor_get_f64(scale, k);
        if (!(s > 0) || isinf(s))
            return ed_infer_fail(ctx, ED_EFORMAT,
                                 "scale %lld is %g; a scale must be positive and finite",
                                 (long long)k, s);
    }
    return ED_OK;
}

bool ed_dim_unify(int64_t *out, int64_t a, int64_t b)
{
    *out = a >= 0 || b == ED_DIM_UNKNOWN ? a : b;
    if (a < 0 || b < 0 || a == b)
        return true;
    *out = ED_DIM_UNKNOWN;
    return false;
}

int ed_infer_same_as_input(ed_infer *ctx)
{
    ctx->out[0] = ctx->in[0];
    return ED_OK;
}

int ed_infer_same_as_inputs(ed_infer *ctx, uint32_t a, uint32_t b)
{
    const ed_shape *x = &ctx->in[a].shape, *y = &ctx->in[b].shape;
    ed_shape *both = &ctx->out[0].shape;
    char text[2][128];
    bool same = x->rank < 0 || y->rank < 0 || x->rank == y->rank;
    ctx->out[0] = ctx->in[x->rank < 0 ? b : a];
    for (int i = 0; same && x->rank >= 0 && y->rank >= 0 && i < x->rank; i++)
        same = x->dim[i] == y->dim[i] || ed_dim_unify(&both->dim[i], x->dim[i], y->dim[i]);
    if (same)
        return ED_OK;
    return ed_infer_fail(ctx, ED_ESHAPE,
                         "inputs %u and %u have the shapes %s and %s; they must "
                         "be of one shape",
                         a, b, ed_shape_format(text[0], sizeof text[0], x),
                         ed_shape_format(text[1], sizeof text[1], y));
}

/* One dimension of two broadcast shapes. An unknown one is 1 or equal to the other. */
static bool broadcast_dim(int64_t *out, int64_t a, int64_t b)
{
    if (a == 1 || b == 1) {
        *out = a == 1 ? b : a;
        return true;
    }
    if (a >= 0 || b >= 0)
        return ed_dim_unify(out, a, b);
    *out = a == b ? a : ED_DIM_UNKNOWN;
    return true;
}

static bool broadcast(ed_shape *out, const ed_shape *a, const ed_shape *b)
{
    if (a->rank < 0 || b->rank < 0) {
        *out = ED_SHAPE_UNKNOWN;
        return true;
    }
    ed_shape y = { a->rank > b->rank ? a->rank : b->rank, { 0 } };
    for (int i = 0; i < y.rank; i++) { /* aligned at the last dimension */
        int ia = i - (y.rank - a->rank), ib = i - (y.rank - b->rank);
        if (!broadcast_dim(&y.dim[i], ia < 0 ? 1 : a->dim[ia], ib < 0 ? 1 : b->dim[ib]))
            return false;
    }
    *out = y;
    return true;
}

/* Merge the shape of input i into output 0's. */
static int broadcast_input(ed_infer *ctx, uint32_t first, uint32_t i)
{
    char a[128], b[128];
    ed_shape y;
    if (!broadcast(&y, &ctx->out[0].shape, &ctx->in[i].shape))
        return ed_infer_fail(ctx, ED_ESHAPE,
                             "the shapes %s and %s of '%s' and '%s' do not broadcast; "
                             "dimensions must be equal or 1",
                             ed_shape_format(a, sizeof a, &ctx->out[0].shape),
                             ed_shape_format(b, sizeof b, &ctx->in[i].shape),
                             input_name(ctx, first), input_name(ctx, i));
    ctx->out[0].shape = y;
    return ED_OK;
}

int ed_infer_broadcast_from(ed_infer *ctx, uint32_t first)
{
    ctx->out[0] = ctx->in[first];
    for (uint32_t i = first + 1; i < ctx->n_in; i++) {
        const ed_type *in = &ctx->in[i];
        if (ctx->out[0].dtype == ED_DTYPE_NONE)
            ctx->out[0].dtype = in->dtype;
        if (in->dtype != ED_DTYPE_NONE && in->dtype != ctx->out[0].dtype)
            return ed_infer_fail(ctx, ED_ESHAPE,
                                 "inputs '%s' and '%s' are %s and %s; they must be of one type",
                                 input_name(ctx, first), input_name(ctx, i),
                                 ed_dtype_name(ctx->out[0].dtype), ed_dtype_name(in->dtype));
        ED_TRY(broadcast_input(ctx, first, i));
    }
    for (uint32_t i = 0; i < first; i++)
        ED_TRY(broadcast_input(ctx, first, i));
    return ED_OK;
}

int ed_infer_broadcast(ed_infer *ctx)
{
    return ed_infer_broadcast_from(ctx, 0);
}

/* ---- one node ---- */
static uint32_t count_present(const ed_id *ids, uint32_t n)
{
    while (n && ids[n - 1] == ED_NONE)
        n--;
    return n;
}

static int check_arity(const ed_op *op, const ed_graph *g, const ed_node *node)
{
    uint32_t n_in = count_present(node->in, node->n_in);
    uint32_t n_out = count_present(node->out, node->n_out);

    if (n_in < op->arity.min_in || n_in > op->arity.max_in)
        return ed_node_fail(g, node, ED_EFORMAT, "it has %u inputs; %s takes %s %u", n_in, op->type,
                            n_in < op->arity.min_in ? "at least" : "at most",
                            n_in < op->arity.min_in ? op->arity.min_in : op->arity.max_in);
    for (uint32_t i = 0; i < op->arity.min_in; i++)
        if (node->in[i] == ED_NONE)
            return ed_node_fail(g, node, ED_EFORMAT, "input %u is omitted; %s requires it", i,
                                op->type);
    if (n_out < 1)
        return ed_node_fail(g, node, ED_EFORMAT, "it has no output; %s computes one", op->type);
    if (n_out > op->arity.max_out)
        return ed_node_fail(g, node, ED_EUNSUPPORTED,
                            "it has %u outputs, %s computes up to %u here; export the model for "
                            "inference",
                            n_out, op->type, op->arity.max_out);
    return ED_OK;
}

/* More elements than a tensor can have, whatever the sizes that are not known yet. */
static bool is_absurd(const ed_shape *shape)
{
    ed_shape sizes = *shape;
    int64_t numel;
    for (int i = 0; i < sizes.rank; i++)
        sizes.dim[i] = sizes.dim[i] < 0 ? 1 : sizes.dim[i];
    return sizes.rank >= 0 && ed_shape_numel(&numel, &sizes) != ED_OK;
}

int ed_op_infer_inputs(const ed_op *op, const ed_graph *g, const ed_node *node, const void *params,
                       const ed_type *in, const ed_tensor *const *constant, ed_type *out)
{
    ED_TRY(check_arity(op, g, node));
    for (uint32_t i = 0; i < node->n_out; i++)
        out[i] = (ed_type){ ED_DTYPE_NONE, ED_SHAPE_UNKNOWN };
    ed_infer ctx = { g, node, params, node->n_in, node->n_out, in, constant, out };
    ED_TRY(op->infer(&ctx));

    for (uint32_t i = 0; i < node->n_out; i++) {
        if (is_absurd(&out[i].shape)) {
            char text[160];
            return ed_node_fail(g, node, ED_ESHAPE,
                                "its output %u would have the shape %s, which is too large", i,
                                ed_shape_format(text, sizeof text, &out[i].shape));
        }
    }
    return ED_OK;
}

int ed_op_infer(const ed_op *op, const ed_graph *g, const ed_node *node, const void *params,
                const ed_type *types, const ed_tensor *const *constants, ed_type *out)
{
    int rc = ED_OK;
    ed_type *in = ed_calloc(node->n_in, sizeof *in);
    const ed_tensor **constant = ed_calloc(node->n_in, sizeof(void *));
    if (!in || !constant)
        ED_GOTO(ED_ENOMEM);
    for (uint32_t i = 0; i < node->n_in; i++) {
        ed_id id = node->in[i];
        in[i] = id == ED_NONE ? (ed_type){ ED_DTYPE_NONE, ED_SHAPE_UNKNOWN } : types[id];
        constant[i] = id == ED_NONE ? NULL : constants[id];
    }
    rc = ed_op_infer_inputs(op, g, node, params, in, constant, out);
done:
    ed_free(in);
    ed_free(constant);
    return rc;
}
