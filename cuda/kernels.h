/*
 * Launchers of the kernels in *.cu: pointers on the device, sizes, a stream. They return
 * cudaGetLastError() as an int and do nothing for empty tensors.
 */
#ifndef CUDA_KERNELS_H
#define CUDA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/chain_program.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *ed_stream;

/* A tensor as the kernels walk it: dimensions of a common index space and a step (in elements) for
 * each operand; 0 repeats. Neighbours that lie behind each other are merged by ed_cuda_walk_fold().
 */
enum { ED_WALK_RANK = 8, ED_WALK_OPERANDS = 7 };
typedef struct ed_walk {
    int rank, operands;
    int64_t dim[ED_WALK_RANK];
    int64_t step[ED_WALK_OPERANDS][ED_WALK_RANK];
} ed_walk;

/* ---- what follows a product in its fused group: ed_post with the types of C++ ---- */
enum { ED_CUDA_MAX_POSTS = 4 };
typedef struct ed_cuda_posts {
    int count;
    int kind[ED_CUDA_MAX_POSTS]; /* ed_post_kind; ED_POST_ADD reads `residual` */
    float a[ED_CUDA_MAX_POSTS], b[ED_CUDA_MAX_POSTS];
} ed_cuda_posts;

#include "elementwise.h"
#include "norm.h"
#include "pool.h"
#include "move.h"
#include "index.h"
#include "observe.h"
#include "direct_conv.h"
#include "lift.h"

#ifdef __cplusplus
}
#endif

#endif
