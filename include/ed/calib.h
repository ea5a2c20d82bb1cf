/**
 * @file ed/calib.h
 * @brief From observed values to scales: histograms, methods, ranges files, calibration,
 * evaluation.
 */
#ifndef ED_CALIB_H
#define ED_CALIB_H

#include "ed/dataset.h"
#include "ed/exec.h"
#include "ed/plan.h"

ED_BEGIN_DECL

enum { ED_HISTOGRAM_BINS = 2048 };

/**
 * What was seen of a value. Counts of |x| over `bins` equal bins of [0, range); range is a power of
 * two above the largest |x|, 0 while only zeros (or nothing) were seen: zeros count in bin 0.
 */
typedef struct ed_observation {
    size_t bins;
    const uint64_t *counts;    /**< [bins] */
    double range;              /**< upper edge of the last bin */
    double min, max;           /**< of the finite values; 0 when there was none */
    double ema_min, ema_max;   /**< exponential averages of the batches' min and max */
    uint64_t total, nonfinite; /**< finite values; NaN and infinite ones */
} ed_observation;

/** Parameters of the methods; zeroed fields mean the defaults. */
typedef struct ed_method_params {
    double percentile; /**< in percent, 99.99 */
    double ema;        /**< weight of a batch, 0.01 */
    unsigned bits;     /**< 8 */
    bool is_unsigned;  /**< levels 2^bits instead of 2^(bits-1) */
} ed_method_params;

/** An answer: the range is [-amax, amax]. */
typedef struct ed_range {
    double amax;      /**< finite, >= 0 */
    int64_t index;    /**< bin edge (entropy, percentile) or bin centre (mse) chosen; -1: none */
    const char *note; /**< what was unusual ("kept the observed maximum: ..."), or NULL */
} ed_range;

/** A row of the method table. */
typedef struct ed_method {
    const char *name, *help;
    /**
     * Pure: the same observation gives the same range. Never fails; amax is finite and >= 0.
     * Nothing or only zeros seen: 0. A search without a sound candidate (one non-empty bin, all in
     * the first bin, fewer bins than levels): the observed maximum, index -1 and a note.
     */
    ed_range (*range)(const ed_observation *seen, const ed_method_params *params);
    bool weights; /**< may be named for weights too (--weight-method) */
} ed_method;
/** Row i of the table; NULL at the end. The first one is the default. */
ED_API const ed_method *ed_method_at(size_t i);
/** The row of that name; NULL if there is none. */
ED_API const ed_method *ed_method_find(const char *name);

/** A streaming observer of one value. */
typedef struct ed_observer ed_observer;
/** @param bins  a power of two from 256 to 65536; 0: ED_HISTOGRAM_BINS. @return ED_OK, ED_EINVAL,
 * ED_ENOMEM */
ED_API int ed_observer_new(ed_observer **out, size_t bins, double ema);
/** Add one batch of n floats, of which `padding` are zeros that do not count. Any split into
 * batches gives the same counts.
 *  @return ED_OK, ED_ENOMEM, ED_EINTERNAL (fewer zeros than padding) */
ED_API int ed_observer_add(ed_observer *observer, const float *data, int64_t n, int64_t padding);
/** What was seen so far; borrows from the observer. */
ED_API ed_observation ed_observer_get(const ed_observer *observer);
ED_API void ed_observer_free(ed_observer *observer);

/** scale = amax / 127 for int8; a floor (and *floored) below 2^-24. */
ED_API float ed_scale_of(double amax, unsigned bits, bool *floored);
/** Per-channel weight scales of `tensor` along `axis` (-1: one) by "minmax" or "mse"; scales has
 * room for the axis. @return ED_OK, ED_ENOTFOUND (method), ED_EINVAL (bits 2 to 8), ED_ESHAPE
 * (axis), ED_ENONFINITE, ED_ENOMEM */
ED_API int ed_weight_scales(float *scales, const ed_tensor *tensor, int axis, const char *method,
                            unsigned bits);

/** The range of one point, as the table prints it and a ranges file stores it. */
typedef struct ed_range_row {
    const char *value, *group, *rule, *method;
    double min, max, amax;
    float scale;
    uint64_t total, nonfinite;
    bool floored;
    const char *note; /**< or NULL */
} ed_range_row;
/** Activation ranges with their provenance. */
typedef struct ed_ranges ed_ranges;
ED_API size_t ed_ranges_count(const ed_ranges *ranges);
ED_API const ed_range_row *ed_ranges_at(const ed_ranges *ranges, size_t i);
/** What was seen of row i's value; borrowed. NULL unless `keep_observations` asked for it. */
ED_API const ed_observation *ed_ranges_seen(const ed_ranges *ranges, size_t i);
/** JSON; replaced whole or not at all. */
ED_API int ed_ranges_write(const ed_ranges *ranges, const char *path);
ED_API int ed_ranges_read(ed_ranges **out, const char *path);
ED_API void ed_ranges_free(ed_ranges *ranges);

/** Seconds of the parts of a calibration. */
typedef struct ed_calib_times {
    double compile; /**< the executor: choosing kernels, packing weights, compiling */
    double pass;    /**< reading and running the samples, observers included */
    double search;  /**< the method on all values */
} ed_calib_times;

/** Options of calibration; zeroed or NULL means the defaults. */
typedef struct ed_calib_options {
    const char *method; /**< NULL: the default row */
    ed_method_params params;
    size_t bins;
    const char *weight_method; /**< "mse" or "minmax"; NULL: the default, see ed-calibrate --help */
    const char *device, *precision; /**< as in ed_exec_options */
    bool autotune;
    ed_progress_fn progress;
    void *progress_ctx;
    ed_calib_times *times;  /**< receives them, one a method; NULL */
    bool keep_observations; /**< the (first) ranges keep the histograms, for ed_ranges_seen() */
} ed_calib_options;

/**
 * One pass over the data, then the method on every value.
 * @param graph   transformed, float
 * @param plan    of phase QUANTIZE, built from `graph`
 * @param[out] out  release with ed_ranges_free()
 */
ED_API int ed_calibrate(ed_ranges **out, const ed_graph *graph, const ed_plan *plan,
                        ed_dataset *data, const ed_calib_options *opts);
/**
 * One pass over the data, then several methods on every value: what ed_calibrate() gives for each.
 * @param[out] out  [n] ranges, in the order of `methods`; all NULL after an error
 * @param methods   [n] names, NULL for the default; opts->method is not looked at
 */
ED_API int ed_calibrate_methods(ed_ranges **out, const ed_graph *graph, const ed_plan *plan,
                                ed_dataset *data, const ed_calib_options *opts,
                                const char *const *methods, size_t n);
/** Give the plan its scales: activations from `ranges` (ED_EMISMATCH if made for another model or
 * if a value is missing), weights by opts->weight_method. */
ED_API int ed_calibrate_apply(ed_plan *plan, const ed_graph *graph, const ed_ranges *ranges,
                              const ed_calib_options *opts);

/** Figures of comparing models. Percent and dB; accuracies are of the samples that have a label
 * (not -100), and -1 when none has. */
typedef struct ed_eval_result {
    int64_t samples;
    double top1, top5; /**< of this model */
    double agreement;  /**< same top-1 as the first model */
    double sqnr_db;    /**< of the first output against the first model's; infinity when equal */
    double max_rel;    /**< largest |difference| over the largest |value| of the first model */
} ed_eval_result;
/** SQNR of one group's output (by its value's name), quantized against float. */
typedef struct ed_eval_group {
    char name[128];
    size_t group; /**< its index in ed_graph_group() of model 0 */
    double sqnr_db;
} ed_eval_group;

typedef struct ed_eval_options {
    const char *device, *precision; /**< as in ed_exec_options */
    bool autotune;
    ed_progress_fn progress;
    void *progress_ctx;
    ed_eval_group **groups; /**< not NULL: receives the groups' SQNR of model 1 against 0, worst
                                 first; release with free() */
    size_t *group_count;
} ed_eval_options;
/** Evaluate `count` graphs side by side; results[0] is the first one's own. */
ED_API int ed_evaluate(ed_eval_result *results, const ed_graph *const *graphs, size_t count,
                       ed_dataset *data, const ed_eval_options *opts);

ED_END_DECL

#endif
