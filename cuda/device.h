/* The open device, and how calls of the CUDA libraries become codes and sentences of ours. */
#ifndef CUDA_DEVICE_H
#define CUDA_DEVICE_H

#include "backend/backend.h"
#include "base/mem.h"
#include "ops/fast.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <pthread.h>

enum { ED_CUDA_WORKSPACE = 32 << 20, ED_CUDA_MAX_IDLE = 256 };

/* Behind the `void *device` of ed_backend, ed_kernel_plan and ed_call. */
typedef struct ed_cuda {
    int index, multiprocessors;
    ed_device_options opts;
    cudaStream_t stream, upload;
    cudaEvent_t uploaded, decoded;
    cudnnHandle_t cudnn; /* made when the first convolution asks; runs everything */
    cudnnHandle_t idle[ED_CUDA_MAX_IDLE]; /* to compile with */
    int n_idle;
    pthread_mutex_t mutex;       /* of the idle ones and the plans */
    cublasLtHandle_t cublaslt;   /* made when the first product asks */
    struct ed_cuda_plans *plans; /* compiled so far, by problem (plans.c) */
    void *workspace;             /* of cuBLASLt */
} ed_cuda;

/* ED_OK, ED_ENOMEM or ED_EINTERNAL with "<what>: CUDA says ...". */
int ed_cuda_status(int status, const char *what);
/* Wait for the GPU: an error when it was lost, whatever else failed. */
int ed_cuda_check(const char *what);
int ed_cuda_cudnn_status(cudnnStatus_t status, const char *what);
int ed_cuda_cublas_status(cublasStatus_t status, const char *what);
#define ED_CUDA_TRY(call, what) ED_TRY(ed_cuda_status((int)(call), what))

/* The handles, made at the first call. */
int ed_cuda_cudnn(cudnnHandle_t *out, ed_cuda *device);
/* One that no other thread uses, to compile with. */
int ed_cuda_cudnn_take(cudnnHandle_t *out, ed_cuda *device);
void ed_cuda_cudnn_give(ed_cuda *device, cudnnHandle_t handle);
int ed_cuda_cublaslt(cublasLtHandle_t *out, ed_cuda *device);

/* Memory on the device with a copy of `nbytes` of the host's; release with cudaFree(). */
int ed_cuda_upload(void **out, const void *data, size_t nbytes);

/* Release the compiled plans. */
void ed_cuda_plans_free(ed_cuda *device);

static inline bool ed_cuda_bf16(const ed_cuda *device)
{
    return device->opts.precision == ED_PRECISION_BF16;
}

#endif
