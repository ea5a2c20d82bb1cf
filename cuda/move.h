/* Launchers of move.cu, join.cu, pad.cu: elements of 1, 2, 4 or 8 bytes to other places. */
#ifndef CUDA_MOVE_H
#define CUDA_MOVE_H

/* y[walk.step[0]] = x[walk.step[1]] over the index space of a folded walk; steps of x may be 0 or
 * negative. Elements of y lie at different places. */
int ed_cuda_walk_copy(void *y, const void *x, size_t width, const ed_walk *walk, ed_stream stream);

/* Parts of the rows of a matrix [rows, row]: part k is [rows, start[k + 1] - start[k]], dense. */
enum { ED_JOIN_PARTS = 16 };
typedef struct ed_cuda_parts {
    int count;
    void *data[ED_JOIN_PARTS]; /* NULL: left alone */
    int64_t start[ED_JOIN_PARTS + 1];
} ed_cuda_parts;
/* Copy the parts into the whole, or out of it. */
int ed_cuda_join(void *whole, const ed_cuda_parts *parts, int64_t rows, int64_t row, size_t width,
                 ed_stream stream);
int ed_cuda_part(const void *whole, const ed_cuda_parts *parts, int64_t rows, int64_t row,
                 size_t width, ed_stream stream);

/* y[i] = x[i - begin] along each dimension, in the order of memory; outside of x as the mode says.
 */
enum { ED_CUDA_PAD_CONSTANT, ED_CUDA_PAD_REFLECT, ED_CUDA_PAD_EDGE, ED_CUDA_PAD_WRAP };
typedef struct ed_cuda_padding {
    int mode, rank;
    int64_t from[ED_WALK_RANK], to[ED_WALK_RANK], begin[ED_WALK_RANK];
    uint64_t value; /* the bytes of the constant, lowest first */
} ed_cuda_padding;
/* `value`: the constant on the device, in place of padding->value; NULL */
int ed_cuda_pad(void *y, const void *x, size_t width, const ed_cuda_padding *padding,
                const void *value, ed_stream stream);

#endif
