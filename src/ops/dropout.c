/*
 * Dropout (ONNX opset 12, 13, 22): x, ratio (0.5), training_mode (false).
 *
 *     y = x in inference, or with a ratio of 0; the mask is true
 *     y = mask * x / (1 - ratio) in training;   mask = u >= ratio, u uniform in [0, 1)
 *
 * u comes from the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), 53 bits each, begun
 * with the attribute seed (0 when absent): the numbers of NumPy's RandomState(seed), as ONNX's
 * reference draws them. So a run can be repeated, and masks compared across runtimes.
 */
#include "ops/gradient.h"

#include <string.h>

typedef struct dropout_params {
    int64_t seed;
} dropout_params;

/* ---- random numbers ---- */

enum { TWISTER = 624, SHIFTED = 397 };

typedef struct twister {
    uint32_t word[TWISTER];
    int next;
} twister;

static void twister_begin(twister *t, uint32_t seed)
{
    t->next = TWISTER;
    for (uint32_t i = 0; i < TWISTER; i++) {
        t->word[i] = seed;
        seed = 1812433253U * (seed ^ seed >> 30) + i + 1;
    }
}

static uint32_t twister_word(twister *t)
{
    if (t->next == TWISTER) {
        for (int i = 0; i < TWISTER; i++) {
            uint32_t y = (t->word[i] & 0x80000000U) | (t->word[(i + 1) % TWISTER] & 0x7fffffffU);
            t->word[i] = t->word[(i + SHIFTED) % TWISTER] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfU : 0);
        }
        t->next = 0;
    }
    uint32_t y = t->word[t->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680U;
    y ^= y << 15 & 0xefc60000U;
    return y ^ y >> 18;
}

/* In [0, 1), 53 bits. */
static double twister_uniform(twister *t)
{
    uint32_t high = twister_word(t) >> 5, low = twister_word(t) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

/* ---- kernel ---- */

static const ed_tensor *input(const ed_call *c, uint32_t i)
{
    return i < c->n_in ? c->in[i] : NULL;
}

static int dropout_forward(const ed_call *c)
{
    const dropout_params *p = c->params;
    const ed_tensor *x = c->in[0], *ratio = input(c, 1), *training = input(c, 2);
    float *y = c->out[0]->data;
    bool *mask = c->n_out > 1 && c->out[1] ? c->out[1]->data : NULL;
    double drop = ratio ? ed_tensor_get_f64(ratio, 0) : 0.5;

    if (!training || !ed_tensor_get_i64(training, 0))
        drop = 0;
    ED_FAIL_IF(!(drop >= 0 && drop < 1), ED_EFORMAT,
               "its ratio is %g; it must be at least 0 and less than 1", drop);
    if (drop == 0) {
        memmove(y, x->data, x->nbytes);
        if (mask)
            memset(mask, 1, (size_t)x->numel);
        return ED_OK;
    }
    twister random;
    twister_begin(&random, (uint32_t)p->seed);
    for (int64_t i = 0; i < x->numel; i++) {
        bool keep = twister_uniform(&random) >= drop;
        y[i] = keep ? (float)(((const float *)x->data)[i] * (1 / (1 - drop))) : 0;
        if (mask)
            mask[i] = keep;
    }
    return ED_OK;
}

/* ---- inference and row ---- */

static int dropout_infer(ed_infer *ctx)
{
    static const char *const names[] = { "x", "ratio", "training_mode" };
    const ed_tensor *training = ctx->n_in > 2 ? ctx->constant[2] : NULL;
    bool inference = ed_node_in(ctx->node, 2) == ED_NONE ||
                     (training && training->numel == 1 && !ed_tensor_get_i64(training, 0));

    ED_TRY(ed_infer_dtypes(ctx, 0, inference ? ED_DTYPES_STORED : 1u << ED_F32));
    ED_TRY(ed_infer_dtypes(ctx, 1, 1u << ED_F32 | 1u << ED_F64 | 1u << ED_F16));
    ED_TRY(ed_infer_dtypes(ctx, 2, 1u << ED_BOOL));
    for (uint32_t i = 1; i < ctx->n_in; i++) {
        const ed_shape *s = &ctx->in[i].shape;
        if (s->rank > 1 || (s->rank == 1 && s->dim[0] >= 0 && s->dim[0] != 1))
            return ed_infer_fail(ctx, ED_ESHAPE, "%s must be one number", names[i]);
    }
    ED_TRY(ed_infer_same_as_input(ctx));
    if (ctx->n_out > 1)
        ctx->out[1] = (ed_type){ ED_BOOL, ctx->out[0].shape };
    return ED_OK;
}

/* y is linear in x, and which elements stay depends on the seed and the shape alone: dx is a
 * Dropout of dy, of any ratio and mode; nothing to do where it is known to be inference. */
static int dropout_gradient(ed_grad *g)
{
    const ed_tensor *training = g->n_in > 2 ? ed_grad_constant(g, g->in[2]) : NULL;
    const ed_id in[3] = { ed_grad_dy(g), g->n_in > 1 ? g->in[1] : ED_NONE,
                          g->n_in > 2 ? g->in[2] : ED_NONE };
    ed_id dx = in[0];
    if (in[2] != ED_NONE && !(training && training->numel && !ed_tensor_get_i64(training, 0)))
        ED_TRY(ed_grad_emit_like(g, &dx, "Dropout", in, 3));
    return ed_grad_give(g, 0, dx);
}

static const ed_attr_spec dropout_attrs[] = {
    ED_ATTR_I64_OF("seed", dropout_params, seed, 0),
    { 0 },
};

const ed_op ed_ops_dropout[] = {
    { .type = "Dropout",
      .opset = { 12, 0 },
      .arity = { 1, 3, 2 },
      .attrs = dropout_attrs,
      .params_size = sizeof(dropout_params),
      .infer = dropout_infer,
      .forward = { ED_REFERENCE(dropout_forward) },
      .gradient = dropout_gradient },
    { 0 },
};
