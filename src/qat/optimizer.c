/*
 * The table of optimizers, in float32.
 *
 *   sgd    Nesterov momentum as in PyTorch (torch.optim.SGD, dampening 0):
 *              d = g + weight_decay w;  m = momentum m + d;  w -= rate (d + momentum m)
 *   adamw  Loshchilov and Hutter, 2019, as in PyTorch (torch.optim.AdamW):
 *              w -= rate weight_decay w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *              w -= rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
 */
#include "qat/optimizer.h"

#include "base/clones.h"
#include "qat/choice.h"

#include <math.h>

ED_BODY void sgd_body(float *w, const float *g, float *const *slot, int64_t n, const ed_update *u)
{
    const float rate = (float)u->learning_rate, momentum = (float)u->momentum;
    const float decay = (float)u->weight_decay;
    float *m = slot[0];
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] + decay * w[i], sum = momentum * m[i] + d;
        m[i] = sum;
        w[i] -= rate * (d + momentum * sum);
    }
}
ED_CLONES_VOID(sgd, (float *w, const float *g, float *const *slot, int64_t n, const ed_update *u),
               (w, g, slot, n, u))

/* What does not depend on the element, each number rounded to float once. */
typedef struct adam_numbers {
    float keep, beta1, rest1, beta2, rest2, rate, root, epsilon;
} adam_numbers;

ED_BODY void adamw_loop_body(float *w, const float *g, float *m, float *v, int64_t n,
                             const adam_numbers *k)
{
    ED_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float mean = k->beta1 * m[i] + k->rest1 * g[i];
        float square = k->beta2 * v[i] + k->rest2 * (g[i] * g[i]);
        m[i] = mean;
        v[i] = square;
        w[i] = k->keep * w[i] - k->rate * mean / (sqrtf(square) * k->root + k->epsilon);
    }
}
ED_CLONES_VOID(adamw_loop,
               (float *w, const float *g, float *m, float *v, int64_t n, const adam_numbers *k),
               (w, g, m, v, n, k))

static void adamw(float *w, const float *g, float *const *slot, int64_t n, const ed_update *u)
{
    double t = (double)u->t;
    const adam_numbers k = {
        .keep = (float)(1.0 - u->learning_rate * u->weight_decay),
        .beta1 = (float)u->beta1,
        .rest1 = (float)(1.0 - u->beta1),
        .beta2 = (float)u->beta2,
        .rest2 = (float)(1.0 - u->beta2),
        .rate = (float)(u->learning_rate / (1.0 - pow(u->beta1, t))),
        .root = (float)(1.0 / sqrt(1.0 - pow(u->beta2, t))),
        .epsilon = (float)u->epsilon,
    };
    adamw_loop(w, g, slot[0], slot[1], n, &k);
}

static const ed_optimizer_row rows[] = {
    { { "sgd", "stochastic gradient descent with Nesterov momentum" }, ED_DEVICE_SGD, 1, sgd },
    { { "adamw", "Adam with decoupled weight decay" }, ED_DEVICE_ADAMW, 2, adamw },
};

const ed_qat_choice *ed_optimizer_at(size_t i)
{
    return i < ED_LENGTH(rows) ? &rows[i].choice : NULL;
}

int ed_optimizer_find(const ed_optimizer_row **out, const char *name)
{
    size_t i;
    ED_TRY(ed_choice_find(&i, ed_optimizer_at, "optimizer", name));
    *out = &rows[i];
    return ED_OK;
}
