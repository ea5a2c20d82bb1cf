/* Indices for plan() and run(): shared by the rows that gather and those that scatter. */
#ifndef CUDA_INDEX_ROWS_H
#define CUDA_INDEX_ROWS_H

#include "stored.h"
#include "walk.h"

#include <string.h>

/* True when index i counts one of size[i % length] elements; of indices that are computed at run
 * time (NULL) nothing is known. */
bool ed_cuda_indices_fit(const ed_tensor *indices, const int64_t *size, int64_t length);
/* Of a tensor on the device. */
ed_cuda_indices ed_cuda_indices_of(const ed_tensor *tensor);
/* GatherElements, ScatterElements: what input 1 names in input 0, without the indices themselves.
 */
ed_cuda_elements ed_cuda_elements_of(const ed_kernel_plan *p);

#endif
