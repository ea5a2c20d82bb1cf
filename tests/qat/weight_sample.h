/* Weights of all kinds of shapes, with their gradients. */
#ifndef TESTS_QAT_WEIGHT_SAMPLE_H
#define TESTS_QAT_WEIGHT_SAMPLE_H

#include "base/random.h"
#include "qat/weight_quant.h"

/* From -1 to 1. */
float uniform(ed_random *r);
/* n zeros; n may be 0. */
float *floats(int64_t n);

/* A weight with all its arrays, and a gradient. */
typedef struct fixture {
    ed_weight w;
    float *gradient;
    int64_t numel;
} fixture;
fixture make(int64_t outer, int64_t channels, int64_t inner, ed_weight_scaling scaling);
void release(fixture *f);
int64_t channel_of(const ed_weight *w, int64_t i);
const ed_optimizer_row *optimizer(const char *name);

/* These assert that it works. */
void step_good(fixture *f, const char *name, const ed_update *u, double scale_rate, float factor);
void quantize_good(ed_weight *w);
/* What is written is the operator's answer for the scales. */
void expect_quantized(const ed_weight *w);

/* outer, channels, inner */
enum { SHAPES = 15 };
extern const int64_t shapes[SHAPES][3];

#endif
