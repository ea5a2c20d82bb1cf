/* Evaluation inside: signal and noise, and the comparison of two models group by group. */
#ifndef CALIB_EVALUATE_H
#define CALIB_EVALUATE_H

#include "base/strmap.h"
#include "ed/calib.h"

/* SQNR = 10 log10(signal / noise) */
typedef struct ed_noise {
    double signal, noise; /* sums of a^2 and (a - b)^2 */
} ed_noise;

void ed_noise_add(ed_noise *sum, const float *a, const float *b, int64_t n);
/* Infinity when nothing differs; -infinity when a difference is NaN or infinite. */
double ed_noise_decibel(const ed_noise *sum);
/* a - b; 0 for two NaN and for equal infinities. */
double ed_difference(float a, float b);

/* Values of the groups' outputs of the first model for the present batch, and the noise of the
 * second's. */
typedef struct ed_layers {
    size_t count;
    const char **values; /* [count] */
    size_t *groups;      /* of the first model */
    float **copies;
    int64_t *sizes, *capacities;
    ed_noise *errors;
    ed_strmap index; /* value -> position */
} ed_layers;         /* a zeroed struct is empty */

/* List the groups' outputs that both graphs compute. */
int ed_layers_init(ed_layers *l, const ed_graph *first, const ed_graph *second);
/* Observers (ed_observe_fn, plain) of the two executors, the first one runs first; ctx is the
 * ed_layers. */
int ed_layers_see_first(void *ctx, const char *value, const float *data, int64_t n,
                        int64_t padding);
int ed_layers_see_second(void *ctx, const char *value, const float *data, int64_t n,
                         int64_t padding);
/* Worst first; *out is released with free(). */
int ed_layers_report(ed_eval_group **out, size_t *count, const ed_layers *l, const ed_graph *first);
void ed_layers_clear(ed_layers *l);

#endif
