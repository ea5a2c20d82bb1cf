/* Launchers of softmax.cu, norm.cu, batch_norm.cu, reduce.cu and argreduce.cu. `bf16`: the values
 * are stored as bfloat16. */
#ifndef CUDA_NORM_H
#define CUDA_NORM_H

/* A tensor as its storage order sees one axis: element k of line (o, i) is at
 * (o * n + k) * inner + i. */
typedef struct ed_lines {
    int64_t outer, n, inner;
} ed_lines;
enum { ED_LINE_MAX = 1 << 30 }; /* longest n of softmax and normalizations */

/* y may be x. */
int ed_cuda_softmax(void *y, const void *x, bool bf16, const ed_lines *lines, bool log,
                    ed_stream stream);

/* ---- LayerNormalization, InstanceNormalization, GroupNormalization ---- */
/* Which scale and bias belong to element i of a row. */
enum {
    ED_CUDA_NORM_ELEMENT, /* number i */
    ED_CUDA_NORM_ROW,     /* number row % period */
    ED_CUDA_NORM_RUN,     /* number row % period * (n / run) + i / run */
};

typedef struct ed_cuda_norm {
    int64_t rows;
    int n; /* elements that share a mean: contiguous; ED_LINE_MAX at most */
    int run, period, mode;
    float epsilon;
} ed_cuda_norm;

/* Bytes of scratch. */
size_t ed_cuda_norm_scratch(const ed_cuda_norm *norm, bool bf16);
/* y may be x; bias, mean and inverse (float32, one a row) may be NULL. */
int ed_cuda_normalize(void *y, const void *x, bool bf16, const ed_cuda_norm *norm,
                      const float *scale, const float *bias, float *mean, float *inverse,
                      void *scratch, ed_stream stream);

/* ---- BatchNormalization: table[0 .. 3 * channels) is mean, gain, b ---- */
int ed_cuda_batch_norm_table(float *table, const float *scale, const float *b, const float *mean,
                             const float *var, float epsilon, int64_t channels, ed_stream stream);
/* x is [outer][channels][inner] elements; y may be x. */
int ed_cuda_batch_norm(void *y, const void *x, bool bf16, const float *table, int64_t outer,
                       int64_t channels, int64_t inner, ed_stream stream);

/* ---- reductions ---- */
enum {
    ED_CUDA_MEAN,
    ED_CUDA_SUM,
    ED_CUDA_PROD,
    ED_CUDA_MAX,
    ED_CUDA_MIN,
    ED_CUDA_L1,
    ED_CUDA_L2,
    ED_CUDA_SUM_SQUARE,
};

typedef struct ed_cuda_reduction {
    int kind;
    bool y_f32;    /* sums are float32, whatever the values are stored as */
    ed_walk kept;  /* the output in its own order; operand 0 is the output, 1 the input */
    ed_walk along; /* what is folded into one output; operand 0 is the input */
    int64_t outputs, reduced;
    /* filled by ed_cuda_reduce_plan() */
    bool by_rows;  /* neighbouring threads read along `along`, else along `kept` */
    bool wide;     /* with 16-byte accesses */
    int team;      /* by_rows: threads an output; else outputs (or vectors of them) side by side */
    int splits;    /* parts of `along` that different blocks fold */
    int64_t chunk; /* of a part */
} ed_cuda_reduction;

/* How to run it; returns the bytes of scratch. */
size_t ed_cuda_reduce_plan(ed_cuda_reduction *r, bool bf16);
int ed_cuda_reduce(void *y, const void *x, bool bf16, const ed_cuda_reduction *r, void *scratch,
                   ed_stream stream);

/* ---- along one axis ---- */
/* y[line]: the index of the largest (least) element; of equal ones the first (last). */
int ed_cuda_arg(int64_t *y, const void *x, bool bf16, const ed_lines *lines, bool least, bool last,
                ed_stream stream);

enum { ED_CUDA_SUMS_F32, ED_CUDA_SUMS_BF16, ED_CUDA_SUMS_32, ED_CUDA_SUMS_64 };
/* Sums of what stands before and at each element. */
int ed_cuda_cumsum(void *y, const void *x, int type, const ed_lines *lines, bool exclusive,
                   bool reverse, ed_stream stream);

#endif
