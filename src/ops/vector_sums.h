/* Sums along a row in 16 lanes, always in the same order: what the normalizations share. */
#ifndef OPS_VECTOR_SUMS_H
#define OPS_VECTOR_SUMS_H

#include "base/clones.h"

#include <stdint.h>

enum { ED_SUM_LANES = 16 };

/* In double. */
ED_BODY double ed_sum_of(const float *x, int64_t n)
{
    double lane[ED_SUM_LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + ED_SUM_LANES <= n; i += ED_SUM_LANES)
        for (int k = 0; k < ED_SUM_LANES; k++)
            lane[k] += (double)x[i + k];
    for (; i < n; i++)
        sum += (double)x[i];
    for (int k = 0; k < ED_SUM_LANES; k++)
        sum += lane[k];
    return sum;
}

/* Of the squares of x - mean. Blocks keep the float sums short. */
ED_BODY double ed_squares_of(const float *x, int64_t n, float mean)
{
    enum { BLOCK = 64 * ED_SUM_LANES };
    double sum = 0;
    int64_t i = 0;
    while (i + ED_SUM_LANES <= n) {
        float lane[ED_SUM_LANES] = { 0 };
        int64_t end = n - i < BLOCK ? n : i + BLOCK;
        for (; i + ED_SUM_LANES <= end; i += ED_SUM_LANES)
            for (int k = 0; k < ED_SUM_LANES; k++)
                lane[k] += (x[i + k] - mean) * (x[i + k] - mean);
        for (int k = 0; k < ED_SUM_LANES; k++)
            sum += (double)lane[k];
    }
    for (; i < n; i++)
        sum += (double)((x[i] - mean) * (x[i] - mean));
    return sum;
}

#endif
