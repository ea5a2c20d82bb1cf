/*
 * Gradients of BatchNormalization, x [N, C, ...], sums over all but the channels:
 *
 *     r = 1 / sqrt(var + epsilon),  xn = (x - mean) * r
 *     db = sum dy,  dscale = sum dy * xn
 *     inference   dx = dy * scale * r,  dmean = -scale * r * db,
 *                 dvar = -scale * r^2 * dscale / 2
 *     training    mean and var are those of x, of n elements each:
 *                 dx = scale * r * (dy - db / n - xn * dscale / n), and through the running mean
 *                 and variance dx = (1 - momentum) (drunning_mean + 2 drunning_var (x - mean)) / n
 */
#include "ops/gradient.h"

/* Values of the shape [C], and the same as [C, 1, ...] that broadcast along x. */
typedef struct batch_norm {
    ed_shape channels, spread;
    bool training;
    float n;           /* elements of a channel */
    ed_id r, gain;     /* [C]: 1 / deviation; scale * r */
    ed_id centred, xn; /* of x's shape: x - mean, and that times r */
    ed_id db, dscale;  /* [C] */
} batch_norm;

static int sum_channels(ed_grad *g, ed_id *out, ed_id x, const batch_norm *b)
{
    int64_t axes[ED_MAX_RANK];
    size_t n = 0;
    for (int i = 0; i < ed_grad_shape(g, x)->rank; i++)
        if (i != 1)
            axes[n++] = i;
    ED_TRY(ed_grad_reduce_sum(g, out, x, axes, n));
    return ed_grad_reshape(g, out, *out, &b->channels);
}

/* x op v, v [C] */
static int with_channels(ed_grad *g, ed_id *out, const char *type, ed_id x, ed_id v,
                         const batch_norm *b)
{
    ed_id spread;
    ED_TRY(ed_grad_reshape(g, &spread, v, &b->spread));
    return ed_grad_binary(g, out, type, x, spread);
}

/* The statistics: inputs 3 and 4, or those of x. */
static int find_statistics(ed_grad *g, batch_norm *b, float epsilon)
{
    ed_id mean = g->in[3], var = g->in[4], number;
    if (b->training) {
        ED_TRY(sum_channels(g, &mean, g->in[0], b));
        ED_TRY(ed_grad_scale(g, &mean, mean, 1.0f / b->n));
    }
    ED_TRY(with_channels(g, &b->centred, "Sub", g->in[0], mean, b));
    if (b->training) {
        ED_TRY(ed_grad_binary(g, &var, "Mul", b->centred, b->centred));
        ED_TRY(sum_channels(g, &var, var, b));
        ED_TRY(ed_grad_scale(g, &var, var, 1.0f / b->n));
    }
    ED_TRY(ed_grad_f32(g, &number, epsilon));
    ED_TRY(ed_grad_binary(g, &b->r, "Add", var, number));
    ED_TRY(ed_grad_unary(g, &b->r, "Sqrt", b->r));
    ED_TRY(ed_grad_unary(g, &b->r, "Reciprocal", b->r));
    ED_TRY(ed_grad_binary(g, &b->gain, "Mul", g->in[1], b->r));
    return with_channels(g, &b->xn, "Mul", b->centred, b->r, b);
}

static int find_sums(ed_grad *g, batch_norm *b)
{
    ED_TRY(sum_channels(g, &b->db, ed_grad_dy(g), b));
    ED_TRY(ed_grad_binary(g, &b->dscale, "Mul", ed_grad_dy(g), b->xn));
    return sum_channels(g, &b->dscale, b->dscale, b);
}

static int give_input(ed_grad *g, const batch_norm *b)
{
    ed_id dx = ed_grad_dy(g), part;
    if (b->training) {
        ED_TRY(ed_grad_scale(g, &part, b->db, 1.0f / b->n));
        ED_TRY(with_channels(g, &dx, "Sub", dx, part, b));
        ED_TRY(ed_grad_scale(g, &part, b->dscale, 1.0f / b->n));
        ED_TRY(with_channels(g, &part, "Mul", b->xn, part, b));
        ED_TRY(ed_grad_binary(g, &dx, "Sub", dx, part));
    }
    ED_TRY(with_channels(g, &dx, "Mul", dx, b->gain, b));
    return ed_grad_give(g, 0, dx);
}

static int give_statistics(ed_grad *g, const batch_norm *b)
{
    ed_id d;
    if (ed_grad_wants(g, 3)) {
        ED_TRY(ed_grad_binary(g, &d, "Mul", b->gain, b->db));
        ED_TRY(ed_grad_unary(g, &d, "Neg", d));
        ED_TRY(ed_grad_give(g, 3, d));
    }
    if (!ed_grad_wants(g, 4))
        return ED_OK;
    ED_TRY(ed_grad_binary(g, &d, "Mul", b->gain, b->r));
    ED_TRY(ed_grad_binary(g, &d, "Mul", d, b->dscale));
    ED_TRY(ed_grad_scale(g, &d, d, -0.5f));
    return ed_grad_give(g, 4, d);
}

/* Outputs 1 and 2: input * momentum + that of x * (1 - momentum). */
static int give_running(ed_grad *g, const batch_norm *b)
{
    const ed_batch_norm_params *p = g->params;
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    const float share = (1 - p->momentum) / b->n;
    for (uint32_t i = 1; i < g->n_out && i < 3; i++) {
        ed_id d;
        if (g->dout[i] == ED_NONE)
            continue;
        ED_TRY(ed_grad_scale(g, &d, g->dout[i], p->momentum));
        ED_TRY(ed_grad_give(g, 2 + i, d));
        ED_TRY(ed_grad_scale(g, &d, g->dout[i], i == 1 ? share : 2 * share));
        if (i == 2) {
            ED_TRY(with_channels(g, &d, "Mul", b->centred, d, b));
        } else {
            ED_TRY(ed_grad_reshape(g, &d, d, &b->spread));
            ED_TRY(ed_grad_expand(g, &d, d, &x));
        }
        ED_TRY(ed_grad_give(g, 0, d));
    }
    return ED_OK;
}

int ed_gradient_batch_norm(ed_grad *g)
{
    const ed_batch_norm_params *p = g->params;
    const ed_shape x = *ed_grad_shape(g, g->in[0]);
    batch_norm b = { .channels = ED_SHAPE(x.dim[1]),
                     .spread = { .rank = x.rank - 1, .dim = { x.dim[1] } },
                     .training = p->training_mode != 0 };
    int64_t numel;

    for (int i = 1; i < b.spread.rank; i++)
        b.spread.dim[i] = 1;
    ED_TRY(ed_shape_numel(&numel, &x));
    b.n = x.dim[1] ? (float)(numel / x.dim[1]) : 0.0f;
    ED_TRY(find_statistics(g, &b, p->epsilon));
    ED_TRY(give_running(g, &b));
    if (ed_grad_dy(g) == ED_NONE)
        return ED_OK;
    ED_TRY(find_sums(g, &b));
    if (ed_grad_wants(g, 0))
        ED_TRY(give_input(g, &b));
    ED_TRY(ed_grad_give(g, 1, b.dscale));
    ED_TRY(ed_grad_give(g, 2, b.db));
    return b.training ? ED_OK : give_statistics(g, &b);
}
