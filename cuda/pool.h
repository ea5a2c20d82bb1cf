/* Launchers of pool.cu and interpolate.cu. `bf16`: the values are stored as bfloat16. */
#ifndef CUDA_POOL_H
#define CUDA_POOL_H

/* One axis: tap k at output position o reads o * stride - pad + k * dilation. */
typedef struct ed_cuda_pool_axis {
    int in, out, kernel, stride, dilation, pad;
    int padded; /* first position beyond the right padding */
} ed_cuda_pool_axis;

typedef struct ed_cuda_pool {
    int64_t n, channels;
    ed_cuda_pool_axis axis[3]; /* depth, height, width */
    bool average, include_pad;
    bool channels_last; /* [n][depth][height][width][channels], else [n][channels][depth]... */
} ed_cuda_pool;

int ed_cuda_pooling(void *y, const void *x, bool bf16, const ed_cuda_pool *pool, ed_stream stream);

/* ---- Resize ---- */
enum { ED_CUDA_RESIZE_WEIGHED = 4 }; /* most axes of ed_cuda_resample() */

/* The input positions of each output position along one axis, and their weights. */
typedef struct ed_cuda_taps {
    int count;              /* of a position */
    const int32_t *index;   /* [out][count] */
    const float *weight;    /* [out][count]; NULL: one of weight 1 */
    const uint8_t *outside; /* [out]: the extrapolation value stands there */
    int64_t step;           /* from one position of the input to the next */
} ed_cuda_taps;

/* The output in its storage order, the fastest dimension last. */
typedef struct ed_cuda_resize {
    int rank, n;                                   /* n: axes that are resampled */
    int64_t dim[ED_WALK_RANK], step[ED_WALK_RANK]; /* of the output; of the input */
    int axis[ED_WALK_RANK];          /* number in taps[]; -1: the position is that of the input */
    ed_cuda_taps taps[ED_WALK_RANK]; /* in the order in which they are resampled */
    int64_t outputs, inputs;         /* elements */
    float extrapolation;
} ed_cuda_resize;

/* y = x at index[0] along each axis; `width` bytes an element: 1, 2, 4, 8. */
int ed_cuda_pick(void *y, const void *x, size_t width, const ed_cuda_resize *r, ed_stream stream);
/* Weighted sums along ED_CUDA_RESIZE_WEIGHED axes at most. */
int ed_cuda_resample(void *y, const void *x, bool bf16, const ed_cuda_resize *r, ed_stream stream);

#endif
