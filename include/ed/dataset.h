/**
 * @file ed/dataset.h
 * @brief Samples in an HDF5 file, read in batches by a prefetch thread.
 *
 * Schema (man page ed-dataset(5)): one dataset per graph input, named like it, first axis the
 * samples; an optional `labels`; attributes `mean`, `std`, `layout`. The model's input is
 * (value - mean) / std in float32.
 */
#ifndef ED_DATASET_H
#define ED_DATASET_H

#include "ed/graph.h"

ED_BEGIN_DECL

typedef struct ed_dataset ed_dataset;

/** Options of opening; zeroed or NULL means the defaults. */
typedef struct ed_dataset_options {
    int64_t batch;        /**< samples a batch; 0: 64 */
    int64_t limit;        /**< at most so many samples; 0: all */
    bool need_labels;     /**< a file without `labels` is an error */
    bool allow_nonfinite; /**< NaN and infinity are counted and passed on; else ED_ENONFINITE */
} ed_dataset_options;

/** One batch. Tensors belong to the dataset and are valid until the next call. */
typedef struct ed_batch {
    int64_t size;                   /**< samples, the last batch may be smaller */
    const ed_tensor *const *inputs; /**< per graph input, of the input's dtype, NCHW */
    const int64_t *labels;          /**< [size], NULL when the file has none */
} ed_batch;

/** Root attribute `model` of a file: the path of its model, relative paths seen from the data
 * file's folder. *out is released with free(). @return ED_OK, ED_ENOTFOUND, ED_EIO, ED_EFORMAT,
 * ED_ENOMEM */
ED_API int ed_dataset_model_path(char **out, const char *path);

/**
 * Open a file for the inputs of a graph and check shapes and types.
 * @return ED_OK, ED_EINVAL (options), ED_ENOTFOUND, ED_EIO, ED_EFORMAT, ED_ESHAPE, ED_EUNSUPPORTED
 * (a type of the file or the model), ED_ENOMEM
 */
ED_API int ed_dataset_open(ed_dataset **out, const char *path, const ed_graph *graph,
                           const ed_dataset_options *opts);
/** Number of samples that will be read (limit applied). */
ED_API int64_t ed_dataset_count(const ed_dataset *dataset);
ED_API int64_t ed_dataset_batch_size(const ed_dataset *dataset);
/** The shapes that the graph's inputs have for a batch of n samples of this file. */
ED_API int ed_dataset_shapes(ed_shape *shapes, const ed_dataset *dataset, int64_t n);
/** Next batch; batch->size 0 at the end. @return ED_OK, ED_EIO, ED_EFORMAT, ED_ENONFINITE (dataset,
 *  sample and how many) */
ED_API int ed_dataset_next(ed_dataset *dataset, ed_batch *batch);
/** Begin again at the first sample. */
ED_API int ed_dataset_rewind(ed_dataset *dataset);
/** NaN and infinite values met since the first sample. */
ED_API int64_t ed_dataset_nonfinite(const ed_dataset *dataset);
/** The file's name without its folder; belongs to the dataset. */
ED_API const char *ed_dataset_name(const ed_dataset *dataset);
/** A hash of the file's name, size, time and dataset shapes: provenance of ranges. */
ED_API uint64_t ed_dataset_hash(const ed_dataset *dataset);
/** Release; stops the prefetch thread; NULL is allowed. */
ED_API void ed_dataset_close(ed_dataset *dataset);

ED_END_DECL

#endif
