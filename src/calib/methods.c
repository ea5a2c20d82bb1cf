/*
 * Calibration methods: pure functions from an observation to a range, and their table. To add one:
 * a function, a row, a golden in tests/calib/.
 *
 * Whatever was seen, amax is finite and >= 0. Nothing or only zeros: 0. Where a search has no sound
 * candidate (all of the mass in one bin, fewer bins than levels): the observed maximum, with a
 * note.
 */
#include "calib/calib.h"

#include <math.h>
#include <string.h>

static double observed_max(const ed_observation *seen)
{
    return fmax(fabs(seen->min), fabs(seen->max));
}

/* True, and the answer, when there is nothing to search. */
static bool nothing_seen(ed_range *out, const ed_observation *seen)
{
    *out = (ed_range){ 0.0, -1, NULL };
    if (seen->total == 0)
        out->note = "no finite value was seen";
    else if (!(seen->range > 0.0))
        out->note = "only zeros were seen";
    return out->note != NULL;
}

static ed_range keep_max(const ed_observation *seen, const char *note)
{
    return (ed_range){ observed_max(seen), -1, note };
}

const char ed_note_no_memory[] = "kept the observed maximum: memory ran out";

/* As keep_max() after a search that failed with `code`. */
static ed_range keep_max_after(const ed_observation *seen, int64_t code, const char *note)
{
    return keep_max(seen, code == ED_ENOMEM ? ed_note_no_memory : note);
}

ed_method_params ed_method_params_complete(const ed_method_params *params)
{
    ed_method_params p = *params;
    p.percentile = p.percentile > 0.0 ? fmin(p.percentile, 100.0) : 99.99;
    p.ema = p.ema > 0.0 ? p.ema : 0.01;
    p.bits = !p.bits ? 8 : p.bits < 2 ? 2 : p.bits > 8 ? 8 : p.bits;
    return p;
}

/* amax = max |x| */
static ed_range minmax_range(const ed_observation *seen, const ed_method_params *params)
{
    (void)params;
    ed_range range;
    return nothing_seen(&range, seen) ? range : keep_max(seen, NULL);
}

/* amax of the batches' averaged min and max */
static ed_range ema_range(const ed_observation *seen, const ed_method_params *params)
{
    (void)params;
    ed_range range;
    if (!nothing_seen(&range, seen))
        range.amax = fmax(fabs(seen->ema_min), fabs(seen->ema_max));
    return range;
}

/* amax = lower edge of the first bin whose cumulative share is >= p. */
static ed_range percentile_range(const ed_observation *seen, const ed_method_params *params)
{
    ed_range range;
    if (nothing_seen(&range, seen))
        return range;
    double p = ed_method_params_complete(params).percentile / 100.0;
    uint64_t sum = 0;
    size_t k = 0;
    /* 99.99 / 100 is no binary fraction: a share that reaches it exactly must not miss by rounding
     */
    for (; k < seen->bins - 1; k++) {
        sum += seen->counts[k];
        if ((double)sum / (double)seen->total >= p - 1e-12)
            break;
    }
    range.index = (int64_t)k;
    range.amax = (double)k / (double)seen->bins * seen->range;
    if (k == 0)
        range.note = "the percentile falls into the first bin: take a higher one";
    return range;
}

/* ---- the two searches, which a device can make too ---- */

static unsigned signed_levels(const ed_method_params *params)
{
    return 1u << (ed_method_params_complete(params).bits - 1);
}

/* amax = the bin edge with the least KL divergence (kl.c). */
static ed_range entropy_answer(const ed_observation *seen, int64_t i)
{
    ed_range range;
    if (nothing_seen(&range, seen))
        return range;
    if (i < 0)
        return keep_max_after(seen, i,
                              "kept the observed maximum: no range holds half of the values "
                              "in two bins or more");
    range.index = i;
    range.amax = (double)i / (double)seen->bins * seen->range;
    return range;
}

static ed_range entropy_range(const ed_observation *seen, const ed_method_params *params)
{
    unsigned start = signed_levels(params);
    bool any = seen->total && seen->range > 0.0;
    return entropy_answer(seen, any ? ed_kl_search(seen->counts, seen->bins, start,
                                                   params->is_unsigned ? 2 * start : start)
                                    : -1);
}

/* amax = the bin centre with the least squared error (mse.c). */
static ed_range mse_answer(const ed_observation *seen, int64_t i)
{
    ed_range range;
    if (nothing_seen(&range, seen))
        return range;
    if (i < 0)
        return keep_max_after(seen, i, "kept the observed maximum: every range has the same error");
    range.index = i;
    range.amax = ((double)i + 0.5) / (double)seen->bins * seen->range;
    return range;
}

static ed_range mse_range(const ed_observation *seen, const ed_method_params *params)
{
    unsigned start = signed_levels(params);
    bool any = seen->total && seen->range > 0.0;
    return mse_answer(seen, any ? ed_mse_search(seen->counts, seen->bins, start,
                                                params->is_unsigned ? 2 * start - 1 : start - 1)
                                : -1);
}

/* sum_k h[k] |c_k - fake_quant(c_k)|^2.4 over the bin centres c_k, in bins, for amax = `edge` bins.
 */
static double lp_error(const ed_observation *seen, size_t edge, double levels)
{
    double scale = (double)edge / levels, sum = 0;
    for (size_t k = 0; k < seen->bins; k++) {
        double c = (double)k + 0.5, q = fmin(rint(c / scale), levels) * scale;
        if (seen->counts[k])
            sum += (double)seen->counts[k] * pow(fabs(c - q), 2.4);
    }
    return sum;
}

/* amax = the bin edge with the least error to the power of 2.4, which clips less than mse (Nahshan
 * et al., Loss aware post-training quantization, 2019, compare such norms). Every 16th edge, then
 * all around the best one; of equal errors the widest range. */
static ed_range lp_range(const ed_observation *seen, const ed_method_params *params)
{
    ed_range range;
    if (nothing_seen(&range, seen))
        return range;
    size_t levels = (1u << (ed_method_params_complete(params).bits - 1)) - 1, best = seen->bins;
    double least = lp_error(seen, best, (double)levels);
    for (size_t step = 16; step; step /= 16) {
        size_t from = step > 1 ? levels + 1 : best > levels + 16 ? best - 15 : levels + 1;
        size_t to = step > 1 || best + 15 > seen->bins ? seen->bins : best + 15;
        for (size_t edge = from; edge <= to; edge += step) {
            double error = lp_error(seen, edge, (double)levels);
            if (error < least || (error == least && edge > best)) {
                least = error;
                best = edge;
            }
        }
    }
    range.index = (int64_t)best;
    range.amax = fmin((double)best / (double)seen->bins * seen->range, observed_max(seen));
    return range;
}

static const ed_method methods[] = {
    { "mse", "least squared error of the quantized histogram", mse_range, true },
    { "entropy", "least KL divergence between the histogram and its 8-bit version", entropy_range,
      false },
    { "percentile", "the value below which a share of all |x| lies", percentile_range, false },
    { "minmax", "the largest |x|", minmax_range, true },
    { "ema", "the batches' smallest and largest x, averaged exponentially", ema_range, false },
    { "lp", "least error to the power of 2.4: between mse and minmax", lp_range, false },
};

const ed_method *ed_method_at(size_t i)
{
    return i < ED_LENGTH(methods) ? &methods[i] : NULL;
}

const ed_method *ed_method_find(const char *name)
{
    for (size_t i = 0; i < ED_LENGTH(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

bool ed_method_search(ed_search *kind, unsigned *start, unsigned *levels, const ed_method *method,
                      const ed_method_params *params)
{
    *start = signed_levels(params);
    *kind = method->range == entropy_range ? ED_SEARCH_KL : ED_SEARCH_MSE;
    *levels = params->is_unsigned ? 2 * *start : *start;
    if (*kind == ED_SEARCH_MSE)
        --*levels;
    return method->range == entropy_range || method->range == mse_range;
}

ed_range ed_method_answer(const ed_method *method, const ed_observation *seen, int64_t answer)
{
    return method->range == entropy_range ? entropy_answer(seen, answer) : mse_answer(seen, answer);
}
