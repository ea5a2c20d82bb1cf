/* Batches as the file stores them, for a device that decodes them itself. */
#ifndef DATA_RAW_H
#define DATA_RAW_H

#include "data/convert.h"
#include "ed/dataset.h"

/* Where the numbers are read to: page-locked memory of the device's library. */
typedef struct ed_raw_memory {
    void *ctx;
    int (*alloc)(void *ctx, void **out, size_t nbytes);
    void (*free)(void *ctx, void *memory);
} ed_raw_memory;

/* True when every input is made of integers of 8 bits: there is much less to copy. */
bool ed_dataset_raw_possible(const ed_dataset *dataset);
/* From the first sample on batches are not converted: their tensors have no data.
 * ED_ENOMEM, or what alloc() fails with. End it before `memory` goes. */
int ed_dataset_raw_begin(ed_dataset *dataset, const ed_raw_memory *memory);
void ed_dataset_raw_end(ed_dataset *dataset);
/* Inputs of a batch. */
size_t ed_dataset_raw_inputs(const ed_dataset *dataset);
/* Input i of the batch that ed_dataset_next() returned, and how it is decoded. */
const void *ed_dataset_raw(const ed_dataset *dataset, size_t i, const ed_convert **how);
/* The device counted so many NaN and infinite values: as ed_dataset_nonfinite() says, or
 * ED_ENONFINITE unless the dataset allows them. */
int ed_dataset_raw_judge(ed_dataset *dataset, int64_t nonfinite);
/* Bytes of a full batch of input i. */
size_t ed_dataset_raw_bytes(const ed_dataset *dataset, size_t i);

#endif
