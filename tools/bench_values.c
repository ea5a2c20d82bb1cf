/*
 * What a method's range does to each value, from its histogram:
 *
 *   SQNR = 10 log10( sum n c^2 / sum n (c - q(c))^2 ),  q(c) = min(rint(c / scale), qmax) scale
 *
 * over the bins, c the middle of a bin of |x| and n its count; the first bin, which holds the
 * zeros, stands for zero.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double bench_sqnr(const ed_observation *seen, double scale, unsigned bits)
{
    double qmax = (double)((1u << (bits - 1)) - 1), signal = 0, noise = 0;
    for (size_t k = 1; k < seen->bins; k++) {
        double n = (double)seen->counts[k];
        double c = ((double)k + 0.5) / (double)seen->bins * seen->range;
        double d = c - fmin(rint(c / scale), qmax) * scale;
        signal += n * c * c;
        noise += n * d * d;
    }
    return noise > 0 ? 10 * log10(signal / noise) : INFINITY;
}

void bench_columns(double *columns, size_t n, const ed_observation *seen, double largest)
{
    for (size_t c = 0; c < n; c++)
        columns[c] = 0;
    for (size_t k = 0; k < seen->bins && largest > 0; k++) {
        double middle = ((double)k + 0.5) / (double)seen->bins * seen->range;
        size_t c = (size_t)fmin(middle / largest * (double)n, (double)(n - 1));
        columns[c] += (double)seen->counts[k];
    }
}

static int by_sqnr(const void *a, const void *b)
{
    const bench_value *x = a, *y = b;
    int order = (x->sqnr[0] > y->sqnr[0]) - (x->sqnr[0] < y->sqnr[0]);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

int bench_list_values(bench *b)
{
    size_t n = ed_ranges_count(b->ranges[0]);
    b->values = calloc(n + 1, sizeof *b->values);
    double *sqnr = calloc(n * b->methods + 1, sizeof *sqnr);
    if (!b->values || !sqnr) {
        free(sqnr);
        return tool_fail(ED_ENOMEM, "memory ran out");
    }
    b->sqnr = sqnr;
    b->value_count = n;
    for (size_t i = 0; i < n; i++) {
        const ed_observation *seen = ed_ranges_seen(b->ranges[0], i);
        b->values[i] = (bench_value){ .row = i,
                                      .sqnr = sqnr + i * b->methods,
                                      .largest = fmax(fabs(seen->min), fabs(seen->max)) };
        for (size_t m = 0; m < b->methods; m++)
            sqnr[i * b->methods + m] =
                bench_sqnr(seen, (double)ed_ranges_at(b->ranges[m], i)->scale, b->activation_bits);
    }
    qsort(b->values, n, sizeof *b->values, by_sqnr);
    return ED_OK;
}

/* ---- what the forms share ---- */

bool bench_labelled(const bench *b)
{
    return b->models[0].result.top1 >= 0;
}

double bench_drop(const bench *b, size_t i)
{
    return b->models[0].result.top1 - b->models[i].result.top1;
}

size_t bench_best(const bench *b)
{
    size_t best = 1;
    for (size_t i = 2; i < b->count; i++) {
        const ed_eval_result *a = &b->models[i].result, *c = &b->models[best].result;
        if (a->top1 > c->top1 || (!(a->top1 < c->top1) && a->sqnr_db > c->sqnr_db))
            best = i;
    }
    return best;
}

const char *bench_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
