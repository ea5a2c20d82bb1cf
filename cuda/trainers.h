/* The functions of training in the backend's table (trainers.c). */
#ifndef CUDA_TRAINERS_H
#define CUDA_TRAINERS_H

#include "backend/backend.h"

int ed_cuda_trainer_new(void *device, void **out, ed_device_optimizer optimizer,
                        const ed_device_parameter *list, size_t n);
int ed_cuda_trainer_sum(void *trainer, bool first);
int ed_cuda_trainer_set(void *trainer, const ed_device_update *update);
int ed_cuda_trainer_update(void *trainer);
int ed_cuda_trainer_requantize(void *trainer);
int ed_cuda_trainer_get(void *trainer, ed_device_updated *out);
void ed_cuda_trainer_free(void *trainer);
int ed_cuda_largest(void *device, float *largest, const void *data, ed_layout layout,
                    int64_t numel);
int ed_cuda_follow(void *device, const ed_device_scales *scales);

#endif
