/*
 * How fast calibration's inner parts are: nanoseconds a float for the observer, milliseconds a
 * tensor for the searches, nanoseconds a weight for weight scales. Each result is checked before it
 * is timed.
 *
 *   bench_calib [THREADS]
 */
#include <ed/ed.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FLOATS = 8 << 20, REPEAT = 7 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_calib: %s: %s\n", what, ed_error_last());
    exit(1);
}

static float draw(unsigned *seed)
{
    float x = 0.0f;
    for (int i = 0; i < 8; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        x += (float)(*seed >> 8) / 16777216.0f - 0.5f;
    }
    return x;
}

static float fill_normal(float x)
{
    return x;
}
static float fill_relu(float x)
{
    return x > 0.0f ? x : 0.0f;
}
static float fill_constant(float x)
{
    (void)x;
    return 3.5f;
}
static float fill_zero(float x)
{
    (void)x;
    return 0.0f;
}

static const struct {
    const char *name;
    float (*fill)(float x);
} kinds[] = { { "normal", fill_normal },
              { "half zeros", fill_relu },
              { "constant", fill_constant },
              { "all zeros", fill_zero } };

/* The first 100,000 floats against a plain loop. */
static void check_counts(const float *data)
{
    enum { N = 100000 };
    ed_observer *o;
    check(ed_observer_new(&o, 0, 0.0) == ED_OK && ed_observer_add(o, data, N, 0) == ED_OK,
          "observer");
    ed_observation seen = ed_observer_get(o);
    uint64_t *counts = calloc(seen.bins, sizeof *counts);
    for (int i = 0; i < N; i++)
        counts[data[i] == 0.0f
                   ? 0
                   : (size_t)(fabs((double)data[i]) * (double)seen.bins / seen.range)]++;
    for (size_t k = 0; k < seen.bins; k++)
        check(counts[k] == seen.counts[k], "a count is wrong");
    free(counts);
    ed_observer_free(o);
}

static void time_methods(const ed_observer *o)
{
    ed_observation seen = ed_observer_get(o);
    ed_method_params params = { 0 };
    const ed_method *m;
    for (size_t i = 0; (m = ed_method_at(i)) != NULL; i++) {
        double best = INFINITY;
        ed_range range = { 0 };
        for (int r = 0; r < 20; r++) {
            double start = now();
            range = m->range(&seen, &params);
            best = fmin(best, now() - start);
        }
        check(isfinite(range.amax) && range.amax > 0.0, m->name);
        printf("    %-12s %8.3f ms  amax %g\n", m->name, 1e3 * best, range.amax);
    }
}

static void time_observer(const char *name, const float *data, int64_t batch)
{
    ed_observer *o;
    double best = INFINITY;
    check(ed_observer_new(&o, 0, 0.0) == ED_OK, "observer");
    for (int r = 0; r < REPEAT; r++) {
        double start = now();
        for (int64_t i = 0; i < FLOATS; i += batch)
            check(ed_observer_add(o, data + i, batch, 0) == ED_OK, "observer");
        best = fmin(best, now() - start);
    }
    printf("observer  %-12s batches of %8lld floats: %6.3f ns a float, %5.1f GB/s\n", name,
           (long long)batch, 1e9 * best / FLOATS, 4e-9 * FLOATS / best);
    if (batch == FLOATS && ed_observer_get(o).range > 0.0)
        time_methods(o);
    ed_observer_free(o);
}

static void time_weights(float *data, const ed_shape *shape, int axis, const char *method)
{
    ed_tensor t;
    float *scales = malloc((size_t)shape->dim[axis] * sizeof *scales);
    double best = INFINITY;
    char text[64];
    check(ed_tensor_view(&t, ED_F32, shape, data) == ED_OK, "tensor");
    for (int r = 0; r < REPEAT; r++) {
        double start = now();
        check(ed_weight_scales(scales, &t, axis, method, 8) == ED_OK, "weights");
        best = fmin(best, now() - start);
    }
    check(scales[0] > 0.0f && scales[0] < 4.0f / 127.0f, "a weight scale is wrong");
    printf("weights   %-12s %-20s axis %d: %6.2f ns a weight, %7.3f ms\n", method,
           ed_shape_format(text, sizeof text, shape), axis, 1e9 * best / (double)t.numel,
           1e3 * best);
    free(scales);
}

int main(int argc, char **argv)
{
    static const ed_shape shapes[] = { { 4, { 1280, 320, 1, 1 } },
                                       { 4, { 960, 1, 3, 3 } },
                                       { 4, { 512, 512, 3, 3 } },
                                       { 2, { 192, 768 } } };
    float *data = malloc(FLOATS * sizeof *data);
    unsigned seed = 1;
    check(data && ed_threads_set(argc > 1 ? atoi(argv[1]) : 0) == ED_OK, "arguments");
    printf("%d threads\n", ed_threads_get());
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (int i = 0; i < FLOATS; i++)
            data[i] = kinds[k].fill(draw(&seed));
        check_counts(data);
        time_observer(kinds[k].name, data, FLOATS);
        time_observer(kinds[k].name, data, 1 << 14);
    }
    for (int i = 0; i < FLOATS; i++)
        data[i] = draw(&seed);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        time_weights(data, &shapes[i], 0, "minmax");
        time_weights(data, &shapes[i], 0, "mse");
    }
    time_weights(data, &shapes[3], 1, "mse");
    free(data);
    return 0;
}
