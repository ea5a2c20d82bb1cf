/* Observers and decoding on the device: memory and arguments; the work is in the .cu files. */
#include "observers.h"
#include "kernels.h"

#include <assert.h>

enum { MIN_BINS = 256, MAX_BINS = 65536 };

/* Everything lies in one piece of the device's memory, in this order; zeros are empty observers. */
typedef struct observers {
    ed_cuda *device;
    size_t n, bins;
    double ema;
    ed_cuda_seen *seen; /* [n]; the start of the piece */
    ed_cuda_tally *tally;
    unsigned long long *batch;  /* [bins] */
    unsigned long long *counts; /* [n][bins] */
} observers;

static_assert(sizeof(ed_cuda_seen) == sizeof(ed_seen), "get() copies them as they are");
static_assert(offsetof(ed_cuda_seen, ema_max) == offsetof(ed_seen, ema_max), "");
static_assert(offsetof(ed_cuda_seen, nonfinite) == offsetof(ed_seen, nonfinite), "");
static_assert(sizeof(uint64_t) == sizeof(unsigned long long), "counts");

static int clear(const observers *o)
{
    size_t size = (char *)(o->counts + o->n * o->bins) - (char *)o->seen;
    ED_CUDA_TRY(cudaMemsetAsync(o->seen, 0, size, o->device->stream), "clearing the histograms");
    return ED_OK;
}

static int allocate(observers *o)
{
    size_t counters = o->bins * sizeof *o->counts;
    size_t head = o->n * sizeof *o->seen + sizeof *o->tally, size;
    void *memory = NULL;
    ED_FAIL_IF(!ed_mul_size(counters, o->n + 1, &size) || !ed_add_size(size, head, &size),
               ED_ENOMEM, "%zu histograms of %zu bins do not fit into memory", o->n, o->bins);
    ED_CUDA_TRY(cudaMalloc(&memory, size), "allocating the histograms");
    o->seen = memory;
    o->tally = (void *)(o->seen + o->n);
    o->batch = (void *)(o->tally + 1);
    o->counts = o->batch + o->bins;
    return clear(o);
}

/* A kernel's first launch loads it: before the first batch, on one of the zeros at hand. */
static int load_kernels(observers *o)
{
    bool bf16 = ed_cuda_bf16(o->device);
    ED_TRY(ed_cuda_observers_add(o, 0, o->counts, ed_layout_with_bf16(ED_LAYOUT_PLAIN, bf16), 1));
    return clear(o);
}

int ed_cuda_observers_new(void *device, void **out, size_t n, size_t bins, double ema)
{
    *out = NULL;
    ED_FAIL_IF(bins < MIN_BINS || bins > MAX_BINS || (bins & (bins - 1)), ED_EINVAL,
               "%zu histogram bins were asked for; it must be a power of two from %d to %d", bins,
               MIN_BINS, MAX_BINS);
    observers *o = ed_calloc(1, sizeof *o);
    if (!o)
        return ED_ENOMEM;
    o->device = device;
    o->n = n;
    o->bins = bins;
    o->ema = ema > 0.0 ? ema : 0.01;
    int rc = allocate(o);
    if (rc == ED_OK && n > 0)
        rc = load_kernels(o);
    if (rc != ED_OK) {
        ed_cuda_observers_free(o);
        return rc;
    }
    *out = o;
    return ED_OK;
}

int ed_cuda_observers_add(void *of, size_t i, const void *data, ed_layout layout, int64_t numel)
{
    observers *o = of;
    assert(i < o->n && ed_layout_block(layout) == 1);
    ed_cuda_observed value = {
        .seen = o->seen + i,
        .counts = o->counts + i * o->bins,
        .tally = o->tally,
        .batch = o->batch,
        .bins = (unsigned)o->bins,
        .ema = o->ema,
    };
    ED_CUDA_TRY(ed_cuda_observe(&value, data, numel, ed_layout_element(layout) == 2,
                                o->device->multiprocessors, o->device->stream),
                "the kernel of an observer");
    return ED_OK;
}

int ed_cuda_observers_get(void *of, ed_seen *seen, uint64_t *counts)
{
    observers *o = of;
    cudaStream_t stream = o->device->stream;
    ED_CUDA_TRY(cudaMemcpyAsync(seen, o->seen, o->n * sizeof *seen, cudaMemcpyDeviceToHost, stream),
                "copying the observers");
    ED_CUDA_TRY(cudaMemcpyAsync(counts, o->counts, o->n * o->bins * sizeof *counts,
                                cudaMemcpyDeviceToHost, stream),
                "copying the histograms");
    ED_CUDA_TRY(cudaStreamSynchronize(stream), "waiting for the observers");
    return ED_OK;
}

static int search_in(const observers *o, void *memory, ed_search search, unsigned start,
                     unsigned levels, int64_t *answers)
{
    cudaStream_t stream = o->device->stream;
    ed_cuda_histograms h = {
        .counts = o->counts,
        .n = o->n,
        .bins = o->bins,
        .answers = memory,
        .scratch = (long long *)memory + o->n,
    };
    if (search == ED_SEARCH_KL)
        ED_CUDA_TRY(ed_cuda_search_kl(&h, start, levels, stream), "the kernels of a search");
    else
        ED_CUDA_TRY(ed_cuda_search_mse(&h, start, levels, stream), "the kernels of a search");
    ED_CUDA_TRY(
        cudaMemcpyAsync(answers, h.answers, o->n * sizeof *answers, cudaMemcpyDeviceToHost, stream),
        "copying the answers of a search");
    ED_CUDA_TRY(cudaStreamSynchronize(stream), "waiting for a search");
    return ED_OK;
}

int ed_cuda_observers_search(void *of, ed_search search, unsigned start, unsigned levels,
                             int64_t *answers)
{
    const observers *o = of;
    void *memory = NULL;
    size_t size = o->n * sizeof(long long) + ed_cuda_search_scratch(o->n, o->bins);
    if (o->n == 0)
        return ED_OK;
    ED_CUDA_TRY(cudaMalloc(&memory, size), "allocating the memory of a search");
    int rc = search_in(o, memory, search, start, levels, answers);
    cudaFree(memory);
    return rc;
}

void ed_cuda_observers_free(void *of)
{
    observers *o = of;
    if (!o)
        return;
    cudaFree(o->seen);
    ed_free(o);
}

int ed_cuda_decode(void *device, float *to, const void *from, const ed_decode *how, uint64_t *bad)
{
    ed_cuda *d = device;
    ed_cuda_samples samples = {
        .from = (int)how->from,
        .channels_last = how->channels_last,
        .samples = how->samples,
        .channels = how->channels,
        .plane = how->plane,
        .mean = how->mean,
        .std = how->std,
    };
    ED_CUDA_TRY(ed_cuda_decode_samples(to, from, &samples, (unsigned long long *)bad, d->stream),
                "the kernel that decodes samples");
    return ED_OK;
}
