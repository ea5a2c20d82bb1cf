/* Statuses of the CUDA libraries as codes and sentences. */
#include "device.h"

/* After these every call fails, until the process ends. */
static bool is_lost(cudaError_t status)
{
    static const cudaError_t statuses[] = { cudaErrorIllegalAddress,
                                            cudaErrorMisalignedAddress,
                                            cudaErrorInvalidAddressSpace,
                                            cudaErrorInvalidPc,
                                            cudaErrorIllegalInstruction,
                                            cudaErrorHardwareStackError,
                                            cudaErrorAssert,
                                            cudaErrorLaunchFailure,
                                            cudaErrorLaunchTimeout,
                                            cudaErrorECCUncorrectable,
                                            cudaErrorNvlinkUncorrectable,
                                            cudaErrorContextIsDestroyed,
                                            cudaErrorDeviceUninitialized };
    for (size_t i = 0; i < ED_LENGTH(statuses); i++)
        if (statuses[i] == status)
            return true;
    return false;
}

int ed_cuda_status(int status, const char *what)
{
    if (status == cudaSuccess)
        return ED_OK;
    const char *text = cudaGetErrorString((cudaError_t)status);
    (void)cudaGetLastError(); /* an error that was told is not found again by the next launch */
    if (status == cudaErrorMemoryAllocation)
        return ed_error_set(ED_ENOMEM,
                            "%s: the GPU's memory ran out; use a smaller --batch, or free the "
                            "memory that other processes hold",
                            what);
    if (is_lost((cudaError_t)status))
        return ed_error_set(ED_EINTERNAL,
                            "%s: the GPU was lost: CUDA failed: %s; an earlier kernel may be the "
                            "cause, CUDA_LAUNCH_BLOCKING=1 in the environment tells which",
                            what, text);
    return ed_error_set(ED_EINTERNAL, "%s: CUDA failed: %s", what, text);
}

int ed_cuda_check(const char *what)
{
    cudaError_t status = cudaDeviceSynchronize();
    if (is_lost(status))
        return ed_cuda_status(status, what);
    (void)cudaGetLastError();
    return ED_OK;
}

int ed_cuda_cudnn_status(cudnnStatus_t status, const char *what)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return ED_OK;
    if (status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
        return ed_cuda_status(cudaErrorMemoryAllocation, what);
    ED_TRY(ed_cuda_check(what)); /* the library does not tell */
    return ed_error_set(ED_EINTERNAL, "%s: cuDNN failed: %s", what, cudnnGetErrorString(status));
}

int ed_cuda_cublas_status(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return ED_OK;
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        return ed_cuda_status(cudaErrorMemoryAllocation, what);
    ED_TRY(ed_cuda_check(what));
    return ed_error_set(ED_EINTERNAL, "%s: cuBLASLt failed: %s", what,
                        cublasLtGetStatusString(status));
}
