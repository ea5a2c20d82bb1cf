/* Clipping by the norm of all gradients together. */
#ifndef QAT_CLIP_H
#define QAT_CLIP_H

#include "base/error.h"

/* Sum of x^2 in double; the same bits on any CPU and number of threads. NaN or infinite when an
 * element is, and for no other reason. */
double ed_sum_of_squares(const float *x, int64_t n);
/* What gradients with this sum of squares are multiplied by, so that their norm is at most `limit`;
 * limit 0: 1. */
double ed_clip_factor(double sum_of_squares, double limit);

#endif
