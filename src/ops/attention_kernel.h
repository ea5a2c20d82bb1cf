/* The arithmetic of one attention head, on strided rows. */
#ifndef OPS_ATTENTION_KERNEL_H
#define OPS_ATTENTION_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ed_head {
    int64_t n, m, d, dv; /* Q [n, d], K [m, d], V [m, dv], y [n, dv] */
    float scale;
    const float *q, *k, *v, *mask; /* mask [n, m], NULL: none */
    float *y;
    int64_t q_row, k_row, k_column, v_row, y_row; /* steps; the columns of q, v and y are dense */
    int64_t mask_row, mask_column;
} ed_head;

/* Floats of scratch for one head. */
size_t ed_head_scratch(int64_t m, int64_t d, int64_t dv);
/* y = Softmax(scale Q K^T + mask) V */
void ed_head_run(const ed_head *head, float *scratch);

#endif
