/*
 * Scales, and the ranges of weights per channel.
 *
 *   scale = amax / (2^(bits-1) - 1), computed in double, rounded to float once.
 *
 * "minmax": amax = max |w| of the channel. "mse": the amax among fractions of max |w| that has the
 * least sum (w - fake_quant(w))^2 over the channel's real values: 50 steps of 1 % from 1 down to
 * 0.5, then 9 steps of 0.2 % around the best. The error is measured in units of the scale and
 * summed in 16 lanes, always in the same order: the answer depends on neither CPU nor threads.
 */
#include "base/clones.h"
#include "base/parallel.h"
#include "base/scale.h"
#include "calib/calib.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { LANES = 16, GRAIN = 32768 /* weights worth a thread */ };

float ed_scale_of(double amax, unsigned bits, bool *floored)
{
    if (floored)
        *floored = !(amax >= ED_LEAST_AMAX);
    return ed_scale_for(amax, (1 << (bits - 1)) - 1);
}

/* One block of 16: add the squared errors in units of the scale. x / scale < 2^22, where adding and
 * subtracting 2^23 rounds half to even. */
ED_BODY void add_errors(float *restrict sum, const float *restrict x, float inverse, float qmax)
{
    for (int j = 0; j < LANES; j++) {
        float v = fabsf(x[j]) * inverse, q = (v + 0x1p23f) - 0x1p23f;
        float d = v - (q < qmax ? q : qmax);
        sum[j] += d * d;
    }
}

ED_BODY double squared_error_body(const float *x, int64_t n, float inverse, float qmax)
{
    float sum[LANES] = { 0 }, rest[LANES] = { 0 };
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        add_errors(sum, x + i, inverse, qmax);
    if (i < n) {
        memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
        add_errors(sum, rest, inverse, qmax);
    }
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            sum[j] += sum[j + width];
    return (double)sum[0];
}
ED_CLONES(double, squared_error, (const float *x, int64_t n, float inverse, float qmax),
          (x, n, inverse, qmax))

ED_BODY float absmax_body(const float *x, int64_t n)
{
    int32_t most = 0; /* the bits of |x| sort like |x|, NaN above all */
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float result;
    memcpy(&result, &most, sizeof result);
    return result;
}
ED_CLONES(float, absmax, (const float *x, int64_t n), (x, n))

typedef double (*amax_fn)(const float *x, int64_t n, double most, unsigned qmax);

static double minmax_amax(const float *x, int64_t n, double most, unsigned qmax)
{
    (void)x;
    (void)n;
    (void)qmax;
    return most;
}

static double mse_amax(const float *x, int64_t n, double most, unsigned qmax)
{
    double best = 1.0, least = INFINITY, middle = 1.0;
    for (int step = 0; step <= 50 + 9 && most >= ED_LEAST_AMAX; step++) {
        if (step == 51)
            middle = best;
        double fraction = step <= 50 ? 1.0 - 0.01 * step : middle + 0.002 * (step - 55);
        double scale = fraction * most / qmax;
        double error = squared_error(x, n, (float)(1.0 / scale), (float)qmax) * fraction * fraction;
        if (error < least && fraction <= 1.0) {
            least = error;
            best = fraction;
        }
    }
    return best * most;
}

static const struct weight_method {
    const char *name;
    amax_fn amax;
} weight_methods[] = {
    { "mse", mse_amax },
    { "minmax", minmax_amax },
};

/* A tensor seen as [outer, channels, inner]. */
typedef struct job {
    float *scales;
    const float *data;
    int64_t outer, channels, inner;
    amax_fn amax;
    unsigned bits;
    float *scratch; /* [threads][outer * inner] where a channel is not contiguous; or NULL */
    atomic_bool nonfinite;
} job;

static void scale_channels(void *ctx, int64_t begin, int64_t end, int thread)
{
    job *j = ctx;
    int64_t n = j->outer * j->inner;
    size_t run = (size_t)j->inner * sizeof(float);

    for (int64_t c = begin; c < end; c++) {
        const float *x = j->data + c * j->inner;
        if (j->scratch) {
            float *copy = j->scratch + thread * n;
            for (int64_t o = 0; o < j->outer; o++)
                memcpy(copy + o * j->inner, x + o * j->channels * j->inner, run);
            x = copy;
        }
        float most = absmax(x, n);
        if (!isfinite(most))
            atomic_store(&j->nonfinite, true);
        double amax = isfinite(most) ? j->amax(x, n, most, (1u << (j->bits - 1)) - 1) : 0.0;
        j->scales[c] = ed_scale_of(amax, j->bits, NULL);
    }
}

static void split_shape(job *j, const ed_shape *shape, int axis)
{
    j->outer = j->channels = j->inner = 1;
    for (int d = 0; d < shape->rank; d++)
        *(d == axis ? &j->channels : d < axis ? &j->outer : &j->inner) *= shape->dim[d];
}

static int scale_tensor(job *j, const ed_tensor *tensor)
{
    int64_t n = j->outer * j->inner;
    j->data = tensor->data;
    if (j->outer > 1) {
        j->scratch = ed_calloc((size_t)ed_threads_get() * (size_t)n, sizeof(float));
        if (!j->scratch)
            return ED_ENOMEM;
    }
    ed_parallel_for(j->channels, 1 + GRAIN / (n ? n : 1), scale_channels, j);
    ed_free(j->scratch);
    ED_FAIL_IF(atomic_load(&j->nonfinite), ED_ENONFINITE,
               "the weights hold NaN or infinity; no scale can be found for them");
    return ED_OK;
}

int ed_weight_scales(float *scales, const ed_tensor *tensor, int axis, const char *method,
                     unsigned bits)
{
    amax_fn amax = NULL;
    for (size_t i = 0; i < ED_LENGTH(weight_methods); i++)
        if (strcmp(weight_methods[i].name, method) == 0)
            amax = weight_methods[i].amax;
    ED_FAIL_IF(!amax, ED_ENOTFOUND, "there is no weight method '%s'; take mse or minmax", method);
    ED_FAIL_IF(bits < 2 || bits > 8, ED_EINVAL, "weights of %u bits; it must be 2 to 8", bits);
    ED_FAIL_IF(axis < -1 || axis >= tensor->shape.rank, ED_ESHAPE,
               "axis %d of a weight of rank %d; it must be below the rank, or -1", axis,
               tensor->shape.rank);
    job j = { .scales = scales, .amax = amax, .bits = bits };
    split_shape(&j, &tensor->shape, axis);
    if (tensor->dtype == ED_F32)
        return scale_tensor(&j, tensor);
    ed_tensor *floats = NULL;
    ED_TRY(ed_tensor_cast(&floats, tensor, ED_F32));
    int rc = scale_tensor(&j, floats);
    ed_tensor_free(floats);
    return rc;
}
