/* Launchers of index.cu, scatter.cu, select.cu. */
#ifndef CUDA_INDEX_H
#define CUDA_INDEX_H

/* Indices on the device, int64 or int32; negative ones count from the end. */
typedef struct ed_cuda_indices {
    const void *data;
    bool wide; /* int64 */
} ed_cuda_indices;

/* Tuples of indices that name rows of a tensor [size[0], size[1], ..., inner]. */
typedef struct ed_cuda_tuples {
    ed_cuda_indices indices; /* [tuples, length] */
    int length;
    int64_t size[ED_WALK_RANK];
} ed_cuda_tuples;

/* Gather, GatherND: row r of y is the one that a tuple names in batch r / per of x. */
typedef struct ed_cuda_gathering {
    ed_cuda_tuples tuples;
    int64_t rows, per; /* of y; of them in one batch */
    int64_t range;     /* rows of x in one batch */
    int64_t inner;     /* elements of a row */
    bool shared;       /* every batch has the same `per` tuples, else row r has tuple r */
} ed_cuda_gathering;
/* An index outside reads the nearest row; x has rows. */
int ed_cuda_gather(void *y, const void *x, size_t width, const ed_cuda_gathering *how,
                   ed_stream stream);

/* One index for each element of `dim`: it names the element of a tensor with these steps that has
 * the index in place of its own coordinate along `axis`. */
typedef struct ed_cuda_elements {
    ed_cuda_indices indices;
    int rank, axis;
    int64_t dim[ED_WALK_RANK], step[ED_WALK_RANK];
    int64_t size; /* of the tensor's axis */
} ed_cuda_elements;
int ed_cuda_gather_elements(void *y, const void *x, size_t width, const ed_cuda_elements *how,
                            ed_stream stream);

/* y = x, and at the rows that are named: the update, or what stands there combined with the
 * updates, in their order. Indices outside change nothing. y may be x. */
typedef enum ed_scatter {
    ED_SCATTER_REPLACE, /* the last of several */
    ED_SCATTER_ADD,
    ED_SCATTER_MUL,
    ED_SCATTER_MAX,
    ED_SCATTER_MIN
} ed_scatter;
typedef struct ed_cuda_scattering {
    ed_scatter combine;
    int type;            /* ed_cuda_type, of F32, F64, I32, I64; REPLACE takes any */
    int64_t rows, inner; /* of y */
    int64_t updates;     /* rows of the updates */
} ed_cuda_scattering;
/* `lists` is scratch memory of ed_cuda_scatter_scratch() bytes; rows and updates are below 2^31. */
size_t ed_cuda_scatter_scratch(const ed_cuda_scattering *how);
int ed_cuda_scatter_tuples(void *y, const void *x, const void *updates, size_t width,
                           const ed_cuda_scattering *how, const ed_cuda_tuples *tuples, void *lists,
                           ed_stream stream);
/* Elements are rows of one. */
int ed_cuda_scatter_elements(void *y, const void *x, const void *updates, size_t width,
                             const ed_cuda_scattering *how, const ed_cuda_elements *elements,
                             void *lists, ed_stream stream);

/* y [outer, depth, inner]: values[1] where the index of [outer, inner] is d, else values[0]; a
 * negative index counts from the end, one outside is none. `type` is the indices': F32, I32, I64.
 */
int ed_cuda_one_hot(void *y, const void *indices, int type, const void *values, size_t width,
                    int64_t outer, int64_t depth, int64_t inner, ed_stream stream);

/* y = x [.., rows, columns] on and above (upper) or below diagonal k, 0 elsewhere; k is *k_at when
 * there is one on the device. */
int ed_cuda_trilu(void *y, const void *x, size_t width, int64_t n, int64_t rows, int64_t columns,
                  int64_t k, const int64_t *k_at, bool upper, ed_stream stream);

/* The k best of [outer, n, inner] over n, in order, the first of equal ones first; NaN is the
 * largest. values, indices: NULL when not wanted. All types of numbers but F16 and BF16. */
int ed_cuda_topk(void *values, int64_t *indices, const void *x, int type, int64_t outer, int64_t n,
                 int64_t inner, int64_t k, bool largest, ed_stream stream);

#endif
