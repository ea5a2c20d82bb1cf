/*
 * Observers, searches and decoding on the GPU give what the CPU's give, to the last bit. With
 * ED_TEST_SMALL=1 on less data that still takes every branch of every kernel, for tools that make
 * each access slow: compute-sanitizer --tool racecheck.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "calib/calib.h"
#include "data/convert.h"
#include "tensor/dtype.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ed_device *device;
static bool small;
static uint32_t seed = 1;

static uint32_t draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8; /* 24 bits */
}

static void ok(int rc)
{
    if (rc != ED_OK)
        fail_msg("%s", device->api->error());
}

/* `size` bytes of the host's on the device, `skip` bytes behind an aligned address. */
static void *on_device(void **memory, const void *data, size_t size, size_t skip)
{
    const ed_backend *api = device->api;
    ok(api->alloc(device->handle, memory, size + skip));
    char *to = (char *)*memory + skip;
    if (size)
        ok(api->copy_in(device->handle, to, data, size));
    ok(api->sync(device->handle));
    return to;
}

/* ---- observers ---- */

/* An observer on either side; `index` among the device's. */
typedef struct pair {
    ed_observer *cpu;
    void *gpu;
    size_t index, n, bins;
} pair;

static pair pair_new(size_t bins, double ema)
{
    pair p = { .index = 1, .n = 3, .bins = bins };
    assert_int_equal(ed_observer_new(&p.cpu, bins, ema), ED_OK);
    ok(device->api->observers_new(device->handle, &p.gpu, p.n, bins, ema));
    return p;
}

static void pair_free(pair *p)
{
    device->api->observers_free(p->gpu);
    ed_observer_free(p->cpu);
}

static void assert_same(const pair *p)
{
    ed_observation cpu = ed_observer_get(p->cpu);
    ed_seen seen[3];
    uint64_t *counts = malloc(p->n * p->bins * sizeof *counts);
    ok(device->api->observers_get(p->gpu, seen, counts));
    const ed_seen *gpu = &seen[p->index];
    if (gpu->total != cpu.total || gpu->nonfinite != cpu.nonfinite || gpu->range != cpu.range)
        fail_msg("total %llu nonfinite %llu range %g, on the CPU %llu, %llu, %g",
                 (unsigned long long)gpu->total, (unsigned long long)gpu->nonfinite, gpu->range,
                 (unsigned long long)cpu.total, (unsigned long long)cpu.nonfinite, cpu.range);
    assert_memory_equal(&gpu->min, &cpu.min, sizeof(double));
    assert_memory_equal(&gpu->max, &cpu.max, sizeof(double));
    assert_memory_equal(&gpu->ema_min, &cpu.ema_min, sizeof(double));
    assert_memory_equal(&gpu->ema_max, &cpu.ema_max, sizeof(double));
    for (size_t k = 0; k < p->bins; k++)
        if (counts[p->index * p->bins + k] != cpu.counts[k])
            fail_msg("bin %zu holds %llu, on the CPU %llu", k,
                     (unsigned long long)counts[p->index * p->bins + k],
                     (unsigned long long)cpu.counts[k]);
    for (size_t i = 0; i < p->n; i += 2) /* its neighbours stay empty */
        assert_true(seen[i].total == 0 && seen[i].range == 0.0 && counts[i * p->bins] == 0);
    free(counts);
}

static void add(const pair *p, const float *data, int64_t n, size_t skip)
{
    void *memory;
    const void *x = on_device(&memory, data, (size_t)n * sizeof *data, skip * sizeof *data);
    assert_int_equal(ed_observer_add(p->cpu, data, n, 0), ED_OK);
    ok(device->api->observers_add(p->gpu, p->index, x, ED_LAYOUT_PLAIN, n));
    ok(device->api->sync(device->handle));
    device->api->free(device->handle, memory);
}

static void add_bf16(const pair *p, const float *data, int64_t n, size_t skip)
{
    void *memory;
    uint16_t *half = malloc((size_t)n * sizeof *half + 1);
    float *wide = malloc((size_t)n * sizeof *wide + 1);
    for (int64_t i = 0; i < n; i++) {
        half[i] = ed_f32_to_bf16(data[i]);
        wide[i] = ed_bf16_to_f32(half[i]);
    }
    const void *x = on_device(&memory, half, (size_t)n * sizeof *half, skip * sizeof *half);
    assert_int_equal(ed_observer_add(p->cpu, wide, n, 0), ED_OK);
    ok(device->api->observers_add(p->gpu, p->index, x, ED_LAYOUT_CHANNELS_LAST_BF16, n));
    ok(device->api->sync(device->handle));
    device->api->free(device->handle, memory);
    free(half);
    free(wide);
}

static float uniform(void)
{
    return (float)draw() / 8388608.0f - 1.0f;
}

static float normal(void)
{
    float x = 0.0f;
    for (int i = 0; i < 8; i++)
        x += uniform();
    return x;
}

enum { KINDS = 10 };
static float sample(int kind)
{
    float x = normal();
    switch (kind) {
    case 0:
        return x;
    case 1: /* after a ReLU */
        return x > 0.0f ? x : 0.0f;
    case 2:
        return 3.5f;
    case 3: /* powers of two, where the range decides */
        return ldexpf(x < 0.0f ? -1.0f : 1.0f, (int)(draw() % 9) - 4);
    case 4: /* all magnitudes, most of them in bin 0 */
        return ldexpf(x, (int)(draw() % 250) - 125);
    case 5: /* ranges that are no float */
        return ldexpf(x, -149 + (int)(draw() % 12));
    case 6:
        return draw() % 50 ? x : draw() % 2 ? INFINITY : draw() % 2 ? NAN : -INFINITY;
    case 7: /* two values in turn */
        return draw() % 2 ? 1.25f : -2.0f;
    case 8: /* small ones below a large one */
        return draw() % 100000 ? 0.01f * x : 1000.0f * x;
    default: /* long runs */
        return seed % 64 ? 0.75f : x;
    }
}

/* Counters of a block in several copies, in one, and none; one block and several. */
static void test_batches_of_all_kinds(void **state)
{
    (void)state;
    static const size_t bins[] = { 256, 8192, 65536, 2048 };
    static const int64_t sizes[] = { 1023, 1, 70001, 0, 7, 8193, 100003, 31, 4096, 2500001, 2049 };
    size_t n_bins = small ? 3 : ED_LENGTH(bins), n_sizes = small ? 3 : ED_LENGTH(sizes);
    float *data = malloc(2500001 * sizeof *data);
    for (int kind = 0; kind < KINDS; kind += small ? 3 : 1) {
        for (size_t b = 0; b < n_bins; b++) {
            pair wide = pair_new(bins[b], 0.1), half = pair_new(bins[b], 0.0);
            for (size_t s = 0; s < n_sizes; s++) {
                if (sizes[s] > 1000000 && b < 2)
                    continue;
                for (int64_t i = 0; i < sizes[s]; i++)
                    data[i] = sample(kind);
                add(&wide, data, sizes[s], s % 5);
                add_bf16(&half, data, sizes[s], s % 9);
            }
            assert_same(&wide);
            assert_same(&half);
            pair_free(&wide);
            pair_free(&half);
        }
    }
    free(data);
}

static void test_edges_one_after_another(void **state)
{
    (void)state;
    static const struct {
        int n;
        float x[8];
    } batches[] = {
        { 4, { NAN, INFINITY, -INFINITY, -NAN } },
        { 5, { 0.0f, -0.0f, 0.0f, -0.0f, -0.0f } },
        { 0, { 0 } },
        { 1, { 0x1p-149f } },
        { 3, { -0x1.8p-140f, NAN, 0.0f } },
        { 1, { -FLT_MIN } },
        { 2, { 0x1.004p-120f, 0x1.ffcp-121f } },
        { 2, { -0.7f, 0.3f } },
        { 1, { -1.0f } },
        { 1, { 0x1.fffffep-1f } },
        { 4, { 3.5f, 3.5f, 3.5f, 3.5f } },
        { 8, { 4.0f, 4.0f, 4.0f, 4.0f, NAN, NAN, NAN, NAN } },
        { 4, { -FLT_MAX, FLT_MAX, INFINITY, 0x1p-149f } },
        { 1, { FLT_MAX } },
    };
    static const size_t bins[] = { 256, 65536, 2048 };
    for (size_t b = 0; b < (small ? 2 : ED_LENGTH(bins)); b++) {
        for (size_t first = 0; first < (small ? 1 : ED_LENGTH(batches)); first++) {
            pair wide = pair_new(bins[b], 0.5), half = pair_new(bins[b], 1.0);
            for (size_t i = first; i < ED_LENGTH(batches); i++) {
                add(&wide, batches[i].x, batches[i].n, 0);
                add_bf16(&half, batches[i].x, batches[i].n, 0);
                assert_same(&wide);
                assert_same(&half);
            }
            pair_free(&wide);
            pair_free(&half);
        }
    }
}

/* A recorded batch counts every time it is replayed, with what lies in its memory then. */
static void test_recorded_batches(void **state)
{
    (void)state;
    enum { N = 50000 };
    const ed_backend *api = device->api;
    pair p = pair_new(2048, 0.0);
    float *data = calloc(N, sizeof *data);
    void *memory, *graph = NULL;
    float *x = on_device(&memory, data, N * sizeof *data, 0);
    ok(api->capture_begin(device->handle));
    ok(api->observers_add(p.gpu, p.index, x, ED_LAYOUT_PLAIN, N));
    ok(api->capture_end(device->handle, &graph));
    for (int round = 0; round < 5; round++) {
        ok(api->copy_in(device->handle, x, data, N * sizeof *data));
        ok(api->replay(device->handle, graph));
        assert_int_equal(ed_observer_add(p.cpu, data, N, 0), ED_OK);
        assert_same(&p);
        for (int i = 0; i < N; i++)
            data[i] = ldexpf(normal(), 3 * round);
    }
    api->graph_free(device->handle, graph);
    api->free(device->handle, memory);
    free(data);
    pair_free(&p);
}

static void test_arguments(void **state)
{
    (void)state;
    static const size_t bad[] = { 0, 128, 3000, 131072 };
    void *gpu;
    for (size_t i = 0; i < ED_LENGTH(bad); i++) {
        assert_int_equal(device->api->observers_new(device->handle, &gpu, 1, bad[i], 0.0),
                         ED_EINVAL);
        assert_null(gpu);
    }
    device->api->observers_free(NULL);
}

/* ---- searches ---- */

enum { TENSORS = 13 };

static size_t tensors(void)
{
    return small ? 5 : TENSORS;
}

/* One histogram a kind, then a few that no sample gives: far from 0, zeros, nothing seen. */
static void fill(void *gpu, size_t i)
{
    size_t kind = small && i > 1 ? i + TENSORS - tensors() : i;
    int n = small ? 3000 : 30000;
    float *data = malloc((size_t)n * sizeof *data);
    void *memory;
    for (int k = 0; k < n; k++)
        data[k] = kind < KINDS ? sample((int)kind) : kind == KINDS ? 3.0f + normal() / 8.0f : 0.0f;
    const void *x = on_device(&memory, data, (size_t)n * sizeof *data, 0);
    if (kind != TENSORS - 1)
        ok(device->api->observers_add(gpu, i, x, ED_LAYOUT_PLAIN, n));
    ok(device->api->sync(device->handle));
    device->api->free(device->handle, memory);
    free(data);
}

static void check_searches(void *gpu, const uint64_t *counts, size_t bins, unsigned start,
                           unsigned levels)
{
    int64_t kl[TENSORS], mse[TENSORS];
    unsigned qmax = levels > 1 ? levels - 1 : 1;
    ok(device->api->observers_search(gpu, ED_SEARCH_KL, start, levels, kl));
    ok(device->api->observers_search(gpu, ED_SEARCH_MSE, start, qmax, mse));
    for (size_t i = 0; i < tensors(); i++) {
        int64_t cpu = ed_kl_search(counts + i * bins, bins, start, levels);
        if (kl[i] != cpu)
            fail_msg("KL of tensor %zu, %zu bins, %u levels: %lld, on the CPU %lld", i, bins,
                     levels, (long long)kl[i], (long long)cpu);
        cpu = ed_mse_search(counts + i * bins, bins, start, qmax);
        if (mse[i] != cpu)
            fail_msg("MSE of tensor %zu, %zu bins, qmax %u: %lld, on the CPU %lld", i, bins, qmax,
                     (long long)mse[i], (long long)cpu);
    }
}

static void test_searches(void **state)
{
    (void)state;
    static const size_t bins[] = { 256, 2048, 16384 };
    for (size_t b = 0; b < (small ? 2 : ED_LENGTH(bins)); b++) { /* one tile of sums, two, more */
        void *gpu;
        ed_seen seen[TENSORS];
        uint64_t *counts = malloc(TENSORS * bins[b] * sizeof *counts);
        ok(device->api->observers_new(device->handle, &gpu, tensors(), bins[b], 0.0));
        for (size_t i = 0; i < tensors(); i++)
            fill(gpu, i);
        ok(device->api->observers_get(gpu, seen, counts));
        check_searches(gpu, counts, bins[b], 128, 128);
        check_searches(gpu, counts, bins[b], 128, 256);
        check_searches(gpu, counts, bins[b], 8, 16);
        check_searches(gpu, counts, bins[b], 2, 2);
        check_searches(gpu, counts, bins[b], (unsigned)bins[b], 128);
        check_searches(gpu, counts, bins[b], (unsigned)bins[b] + 1, 128);
        device->api->observers_free(gpu);
        free(counts);
    }
}

/* ---- decoding ---- */

static void fill_raw(char *raw, ed_dtype type, int64_t n)
{
    size_t size = ed_dtype_bits(type) / 8;
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = (uint64_t)draw() << 48 ^ (uint64_t)draw() << 24 ^ draw();
        double d = draw() % 8 ? ldexp((double)normal(), (int)(draw() % 300) - 150) : 0x1p300;
        memcpy(raw + i * (int64_t)size, type == ED_F64 ? (void *)&d : (void *)&bits, size);
    }
}

static void check_decode(const ed_convert *c, int64_t samples)
{
    const ed_backend *api = device->api;
    int64_t n = samples * c->channels * c->plane;
    size_t size = (size_t)n * ed_dtype_bits(c->from) / 8, of_stats = (size_t)c->channels * 4;
    char *raw = malloc(size + 1);
    float *cpu = malloc((size_t)n * sizeof *cpu + 1), *gpu = malloc((size_t)n * sizeof *gpu + 1);
    uint64_t bad = 5;
    void *x, *y, *mean, *std, *counter;
    fill_raw(raw, c->from, n);
    on_device(&x, raw, size, 0);
    on_device(&y, cpu, 0, (size_t)n * sizeof *cpu);
    on_device(&mean, c->mean, c->mean ? of_stats : 0, 0);
    on_device(&std, c->std, c->mean ? of_stats : 0, 0);
    on_device(&counter, &bad, sizeof bad, 0);
    ed_decode how = { c->from,
                      c->channels_last,
                      samples,
                      c->channels,
                      c->plane,
                      c->mean ? mean : NULL,
                      c->mean ? std : NULL };
    ok(api->decode(device->handle, y, x, &how, counter));
    if (n)
        ok(api->copy_out(device->handle, gpu, y, (size_t)n * sizeof *gpu));
    ok(api->copy_out(device->handle, &bad, counter, sizeof bad));
    ed_convert_bad found = ed_convert_run(c, cpu, raw, samples);
    assert_int_equal(bad, 5 + found.count);
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&cpu[i], &gpu[i], sizeof *cpu) != 0 && !(isnan(cpu[i]) && isnan(gpu[i])))
            fail_msg("%s element %lld: %a, on the CPU %a", ed_dtype_name(c->from), (long long)i,
                     (double)gpu[i], (double)cpu[i]);
    void *all[] = { x, y, mean, std, counter };
    for (size_t i = 0; i < ED_LENGTH(all); i++)
        api->free(device->handle, all[i]);
    free(raw);
    free(cpu);
    free(gpu);
}

static void test_decoding(void **state)
{
    (void)state;
    static const ed_dtype types[] = { ED_U8,  ED_I8,  ED_U16, ED_I16, ED_U32,
                                      ED_I32, ED_I64, ED_F16, ED_F32, ED_F64 };
    static const int64_t planes[] = { 1024, 5, 1, 3136 }, channels[] = { 3, 1, 5 };
    size_t n_planes = small ? 2 : ED_LENGTH(planes), n_channels = small ? 1 : ED_LENGTH(channels);
    static const float mean[] = { 123.675f, 116.28f, 103.53f, -0.1f, 0.0f };
    static const float std[] = { 58.395f, 57.12f, 57.375f, 0.3f, 1e-30f };
    for (size_t t = 0; t < ED_LENGTH(types); t++)
        for (size_t p = 0; p < n_planes; p++)
            for (size_t k = 0; k < n_channels; k++)
                for (int bits = 0; bits < 4; bits++) {
                    ed_convert c = { types[t],
                                     ED_F32,
                                     channels[k],
                                     planes[p],
                                     bits & 1,
                                     bits & 2 ? mean : NULL,
                                     bits & 2 ? std : NULL };
                    check_decode(&c, 7);
                }
    check_decode(&(ed_convert){ ED_U8, ED_F32, 3, 16, true, mean, std }, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_of_all_kinds),
        cmocka_unit_test(test_edges_one_after_another),
        cmocka_unit_test(test_recorded_batches),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_searches),
        cmocka_unit_test(test_decoding),
    };
    const char *less = getenv("ED_TEST_SMALL");
    small = less && strcmp(less, "0") != 0;
    if (ed_device_open(&device, "cuda", NULL) != ED_OK) {
        printf("skipped, no usable GPU: %s\n", ed_error_last());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
