/* Optimizers: how a parameter follows its gradient. ed_optimizer_at() is here. */
#ifndef QAT_OPTIMIZER_H
#define QAT_OPTIMIZER_H

#include "backend/backend.h"
#include "ed/qat.h"

/* Numbers of one update. */
typedef struct ed_update {
    double learning_rate, momentum, weight_decay, beta1, beta2, epsilon;
    int64_t t; /* count of updates, this one included: 1 for the first */
} ed_update;

enum { ED_OPTIMIZER_SLOTS = 2 };

typedef struct ed_optimizer_row {
    ed_qat_choice choice;
    ed_device_optimizer device; /* the same one there */
    size_t slots;               /* state arrays of a parameter's size, zeros at first; at most 2 */
    /* n elements of parameter, gradient and slots; each element for itself, so any split gives the
     * same bits. */
    void (*update)(float *w, const float *g, float *const *slot, int64_t n, const ed_update *u);
} ed_optimizer_row;

/* A row by name; NULL: the default. ED_EINVAL. */
int ed_optimizer_find(const ed_optimizer_row **out, const char *name);

#endif
