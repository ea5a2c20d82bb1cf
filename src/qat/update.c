/*
 * Updates of the state: gradients are checked and clipped, weights and learned scales follow them,
 * averaged scales follow what was seen.
 *
 *   LSQ (Esser et al., 2020): the gradient of an activation's scale is multiplied by
 *   1 / sqrt(n qmax), n elements of one sample.
 *   EMA: m += 0.01 (largest |x| of the step - m), scale = m / qmax.
 */
#include "qat/state.h"

#include "base/parallel.h"
#include "qat/clip.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { GRAIN = 32768 /* elements worth a thread */ };

double ed_lsq_factor(const ed_train_scale *scale)
{
    double n = scale->numel > 0 ? (double)scale->numel : 1.0;
    return 1.0 / sqrt(n * (double)scale->qmax);
}

int ed_state_requantize(ed_train_state *s)
{
    for (size_t i = 0; i < s->plan->n_params; i++) {
        int rc = ed_weight_step(&s->weights[i], NULL, NULL, NULL, 0, 1);
        if (rc != ED_OK)
            return ed_error_context(rc, "the parameter '%s'",
                                    s->plan->graph->values[s->plan->params[i].value].name);
    }
    return ED_OK;
}

/* ---- averages ---- */

/* The largest |x|, as bits: without the sign they sort like the numbers, NaN above all. */
typedef struct largest_job {
    const float *x;
    atomic_uint bits;
} largest_job;

static void find_largest(void *ctx, int64_t begin, int64_t end, int thread)
{
    largest_job *job = ctx;
    unsigned most = 0;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        unsigned bits;
        memcpy(&bits, &job->x[i], sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    unsigned seen = atomic_load(&job->bits);
    while (seen < most && !atomic_compare_exchange_weak(&job->bits, &seen, most))
        ;
}

int ed_state_observe(void *ctx, const char *value, const float *data, int64_t numel,
                     int64_t padding)
{
    ed_train_state *s = ctx;
    const ed_train_graph *plan = s->plan;
    ed_id id = ed_graph_find_value(plan->graph, value);
    largest_job job = { .x = data };
    float most;
    (void)padding; /* zeros */
    ed_parallel_for(numel, GRAIN, find_largest, &job);
    unsigned bits = atomic_load(&job.bits);
    memcpy(&most, &bits, sizeof most);
    for (size_t i = 0; i < plan->n_quantizers; i++) {
        size_t scale = plan->scale_of[i];
        if (plan->quantizers[i].input != id || scale == SIZE_MAX)
            continue;
        float *largest = &s->largest[scale];
        *largest = isnan(*largest) || most <= *largest ? *largest : most;
    }
    return ED_OK;
}

void ed_state_follow(ed_train_state *s)
{
    for (size_t i = 0; i < s->plan->n_scales; i++) {
        float most = s->largest[i];
        s->largest[i] = 0;
        if (!isfinite(most))
            continue; /* the loss tells */
        s->averages[i] += (float)(ED_EMA_WEIGHT * ((double)most - (double)s->averages[i]));
        s->scales[i] = fmaxf(s->averages[i], ED_LEAST_AMAX) / (float)s->plan->scales[i].qmax;
    }
}

/* ---- gradients ---- */

static const char *reader_of(const ed_graph *g, ed_id value)
{
    const ed_value *v = &g->values[value];
    const ed_node *node = v->use_count ? &g->nodes[v->uses[0]] : NULL;
    if (!node)
        return "nothing";
    return node->group == ED_NONE ? ed_node_label(g, node) : g->groups[node->group].name;
}

int ed_state_fail_gradient(const ed_train_state *s, size_t i)
{
    const ed_graph *g = s->plan->graph;
    const ed_value *v = &g->values[g->inputs[s->plan->first_param + i]];
    return ed_error_set(ED_ENONFINITE,
                        "the gradient of '%s', which %s reads, is NaN or infinite; try a smaller "
                        "--lr, or --clip",
                        v->name, reader_of(g, g->inputs[s->plan->first_param + i]));
}

/* What gradients are multiplied by: the mean of the steps, of a norm within the limit. */
static int find_factor(double *factor, const ed_train_state *s)
{
    const ed_train_graph *plan = s->plan;
    double mean = 1.0 / (double)s->summed, sum = 0;
    for (size_t i = 0; i < plan->n_params + plan->n_scales; i++) {
        if (!s->gradients[i])
            continue;
        double part = ed_sum_of_squares(s->gradients[i], s->inputs[i]->numel);
        if (!isfinite(part))
            return ed_state_fail_gradient(s, i);
        double own =
            i < plan->n_params ? mean : mean * ed_lsq_factor(&plan->scales[i - plan->n_params]);
        sum += part * own * own;
    }
    *factor = mean * ed_clip_factor(sum, s->settings->opts.clip);
    return ED_OK;
}

static void update_scales(ed_train_state *s, const ed_update *u, double factor)
{
    const ed_train_graph *plan = s->plan;
    ed_update undecayed = *u;
    undecayed.weight_decay = 0;
    for (size_t i = 0; i < plan->n_scales; i++) {
        if (!s->gradients[plan->n_params + i])
            continue;
        float *slots[ED_OPTIMIZER_SLOTS] = { 0 };
        for (size_t k = 0; k < s->settings->optimizer->slots; k++)
            slots[k] = &s->scale_slots[k][i];
        float g = (float)((double)*s->gradients[plan->n_params + i] * factor *
                          ed_lsq_factor(&plan->scales[i]));
        s->settings->optimizer->update(&s->scales[i], &g, slots, 1, &undecayed);
        s->scales[i] = fmaxf(s->scales[i], ED_LEAST_AMAX / (float)plan->scales[i].qmax);
    }
}

ed_update ed_state_numbers(const ed_train_state *s, double learning_rate)
{
    const ed_qat_options *o = &s->settings->opts;
    return (ed_update){ .learning_rate = learning_rate,
                        .momentum = ed_qat_number(o->momentum),
                        .weight_decay = ed_qat_number(o->weight_decay),
                        .beta1 = ed_qat_number(o->momentum),
                        .beta2 = 0.999,
                        .epsilon = 1e-8,
                        .t = s->updates + 1 };
}

int ed_state_update(ed_train_state *s, double learning_rate)
{
    const ed_update u = ed_state_numbers(s, learning_rate);
    double factor = 1;
    ED_TRY(find_factor(&factor, s));
    for (size_t i = 0; i < s->plan->n_params; i++) {
        if (!s->gradients[i])
            continue;
        int rc = ed_weight_step(&s->weights[i], s->gradients[i], s->settings->optimizer, &u,
                                learning_rate, (float)factor);
        if (rc != ED_OK)
            return ed_error_context(rc, "the parameter '%s' after update %lld",
                                    s->plan->graph->values[s->plan->params[i].value].name,
                                    (long long)u.t);
    }
    update_scales(s, &u, factor);
    s->updates++;
    s->summed = 0;
    return ED_OK;
}
