/* The norm of gradients: blocks summed in lanes, each block by one thread, then all in order. */
#include "qat/clip.h"

#include "base/clones.h"
#include "base/parallel.h"

#include <math.h>

enum { LANES = 16, BLOCKS = 64, LEAST_BLOCK = 4096 };

ED_BODY double sum_block_body(const float *x, int64_t n)
{
    double sum[LANES] = { 0 };
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sum[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++)
        sum[j] += (double)x[i] * (double)x[i];
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            sum[j] += sum[j + width];
    return sum[0];
}
ED_CLONES(double, sum_block, (const float *x, int64_t n), (x, n))

typedef struct sum_job {
    const float *x;
    int64_t n, block; /* elements; their number depends on n alone */
    double *sums;
} sum_job;

static void sum_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const sum_job *job = ctx;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * job->block, left = job->n - first;
        job->sums[b] = sum_block(job->x + first, left < job->block ? left : job->block);
    }
}

double ed_sum_of_squares(const float *x, int64_t n)
{
    double sums[BLOCKS], sum = 0.0;
    int64_t block = n / BLOCKS + 1;
    sum_job job = { x, n, block < LEAST_BLOCK ? LEAST_BLOCK : block, sums };
    int64_t blocks = (n + job.block - 1) / job.block;
    ed_parallel_for(blocks, 1, sum_blocks, &job);
    for (int64_t b = 0; b < blocks; b++)
        sum += sums[b];
    return sum;
}

double ed_clip_factor(double sum_of_squares, double limit)
{
    double norm = sqrt(sum_of_squares);
    return limit > 0.0 && norm > limit ? limit / norm : 1.0;
}
