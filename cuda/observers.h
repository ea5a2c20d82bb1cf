/* Calibration on the device: the functions of ed_backend (backend.h) for observers and decoding. */
#ifndef CUDA_OBSERVERS_H
#define CUDA_OBSERVERS_H

#include "device.h"

int ed_cuda_observers_new(void *device, void **out, size_t n, size_t bins, double ema);
int ed_cuda_observers_add(void *observers, size_t i, const void *data, ed_layout layout,
                          int64_t numel);
int ed_cuda_observers_get(void *observers, ed_seen *seen, uint64_t *counts);
int ed_cuda_observers_search(void *observers, ed_search search, unsigned start, unsigned levels,
                             int64_t *answers);
void ed_cuda_observers_free(void *observers);
int ed_cuda_decode(void *device, float *to, const void *from, const ed_decode *how, uint64_t *bad);

#endif
