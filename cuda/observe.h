/* Launchers of observe.cu, search.cu and decode.cu. */
#ifndef CUDA_OBSERVE_H
#define CUDA_OBSERVE_H

/* What was seen of a value: the fields of ed_seen (backend.h), which it is copied to as it is. All
 * zeros before the first batch. */
typedef struct ed_cuda_seen {
    double range, min, max, ema_min, ema_max;
    unsigned long long total, nonfinite;
} ed_cuda_seen;

/* One batch on its way; all zeros between two batches, but for `again`. */
typedef struct ed_cuda_tally {
    unsigned highest, lowest; /* keys (observe.cu) of the greatest x and of the greatest -x */
    unsigned blocks;          /* that are through */
    int again;                /* the batch reached the range: count it a second time */
    unsigned long long nonfinite;
} ed_cuda_tally;

/* An observer and the memory for the batch, all on the device. `bins` is a power of two. */
typedef struct ed_cuda_observed {
    ed_cuda_seen *seen;
    unsigned long long *counts; /* [bins] */
    ed_cuda_tally *tally;
    unsigned long long *batch; /* [bins], zeros between two batches */
    unsigned bins;
    double ema; /* weight of a batch in the averages */
} ed_cuda_observed;

/* Add n floats (or bfloat16 numbers) in any order. */
int ed_cuda_observe(const ed_cuda_observed *o, const void *data, int64_t n, bool bf16,
                    int multiprocessors, ed_stream stream);

/* Searches over n histograms [n][bins]: the answers of ed_kl_search() and ed_mse_search()
 * (src/calib/), [n], -1: none. The scratch memory is 8-byte aligned. */
typedef struct ed_cuda_histograms {
    const unsigned long long *counts;
    size_t n, bins;
    void *scratch;
    long long *answers;
} ed_cuda_histograms;
size_t ed_cuda_search_scratch(size_t n, size_t bins); /* bytes */
int ed_cuda_search_kl(const ed_cuda_histograms *h, unsigned start, unsigned levels,
                      ed_stream stream);
int ed_cuda_search_mse(const ed_cuda_histograms *h, unsigned start, unsigned qmax,
                       ed_stream stream);

/* y [samples][channels][plane] = (float(x) - mean[c]) / std[c]; x is of `from` (an ed_dtype), in
 * the same order or [samples][plane][channels]. NaN and infinity in y are added to *bad. */
typedef struct ed_cuda_samples {
    int from;
    bool channels_last;
    int64_t samples, channels, plane;
    const float *mean, *std; /* [channels], or both NULL */
} ed_cuda_samples;
int ed_cuda_decode_samples(float *y, const void *x, const ed_cuda_samples *how,
                           unsigned long long *bad, ed_stream stream);

#endif
