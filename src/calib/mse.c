/*
 * The search of the `mse` method: the amax that loses least when the bin centres are
 * fake-quantized.
 *
 * In units of a bin: centres c = k + 1/2, candidates a = i + 1/2, step s = a / qmax, and level q
 * holds the centres in ((q - 1/2) s, (q + 1/2) s], the last one everything above. With b(q) the
 * first bin of level q and suffix sums U[k] of h c and V[k] of h from bin k on (each level adds to
 * all below it)
 *
 *   sum h (c - q s)^2 = sum h c^2 - 2 s sum_q U[b(q)] + s^2 sum_q (2 q - 1) V[b(q)],   q = 1 ..
 * qmax
 *
 * so a candidate costs qmax steps, whatever the number of bins. A centre on the border of two
 * levels has the same error in both. Working in bins makes the answer independent of the tensor's
 * scale.
 */
#include "base/clones.h"
#include "calib/calib.h"

#include <math.h>

enum { MAX_QMAX = 256, LANES = 8 };

/* sum_q (s^2 (2 q - 1) V - 2 s U) for candidate i. */
ED_BODY double level_sum_body(const double *u, const double *v, unsigned i, unsigned qmax)
{
    double term[MAX_QMAX + LANES], sum[LANES] = { 0 };
    double s = (i + 0.5) / qmax;

    for (unsigned j = 0; j < qmax; j++) { /* level q = j + 1 */
        double border = ((int)j + 0.5) * s - 0.5;
        int k = (int)border;
        k += k < border;
        term[j] = s * ((int)(2 * j + 1) * s * v[k] - 2.0 * u[k]);
    }
    for (unsigned j = qmax; j % LANES; j++)
        term[j] = 0.0;
    for (unsigned j = 0; j < qmax; j += LANES)
        for (unsigned lane = 0; lane < LANES; lane++)
            sum[lane] += term[j + lane];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
ED_CLONES(double, level_sum, (const double *u, const double *v, unsigned i, unsigned qmax),
          (u, v, i, qmax))

int64_t ed_mse_search(const uint64_t *counts, size_t bins, unsigned start, unsigned qmax)
{
    size_t n = bins + 1;
    double *memory = ed_malloc(3 * n * sizeof(double));
    if (!memory)
        return ED_ENOMEM;
    double *u = memory, *v = u + n, *loss = v + n, square = 0.0, least = INFINITY;
    u[bins] = v[bins] = 0.0;
    for (size_t k = bins; k-- > 0;) {
        double h = (double)counts[k], c = (double)k + 0.5;
        u[k] = u[k + 1] + h * c;
        v[k] = v[k + 1] + h;
        square += h * c * c;
    }
    for (unsigned i = start; i < bins; i++) {
        loss[i] = square + level_sum(u, v, i, qmax);
        least = loss[i] < least ? loss[i] : least;
    }
    /* The last of the least: at the same error the wider range clips less. What the sums' rounding
     * alone tells apart counts as equal. Nothing above the first bin: every candidate rounds all to
     * zero. */
    int64_t best = -1;
    for (size_t i = bins; i-- > start && best < 0 && v[1] > 0.0;)
        if (loss[i] <= least + 1e-13 * square)
            best = (int64_t)i;
    ed_free(memory);
    return best;
}
