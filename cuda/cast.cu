/*
 * Cast (ops/cast.c): y[i] = x[i] as another number type. Elements pass through int64 (from
 * integers) or double (from floats), of which each type has one conversion.
 */
#include "pack.cuh"

#include <cuda_fp16.h>

namespace
{
enum { THREADS = 256 };

__host__ __device__ __forceinline__ bool is_float(int type)
{
    return type <= ED_CUDA_BF16;
}

__device__ __forceinline__ double load_float(const void *x, int type, int64_t i)
{
    switch (type) {
    case ED_CUDA_F64:
        return ((const double *)x)[i];
    case ED_CUDA_F16:
        return (double)__half2float(((const __half *)x)[i]);
    case ED_CUDA_BF16:
        return (double)ed_widen(((const __nv_bfloat16 *)x)[i]);
    default:
        return (double)((const float *)x)[i];
    }
}

/* Of a uint64 the same bits. */
__device__ __forceinline__ int64_t load_integer(const void *x, int type, int64_t i)
{
    switch (type) {
    case ED_CUDA_I8:
        return ((const int8_t *)x)[i];
    case ED_CUDA_I16:
        return ((const int16_t *)x)[i];
    case ED_CUDA_U16:
        return ((const uint16_t *)x)[i];
    case ED_CUDA_I32:
        return ((const int32_t *)x)[i];
    case ED_CUDA_U32:
        return ((const uint32_t *)x)[i];
    case ED_CUDA_I64:
    case ED_CUDA_U64:
        return ((const int64_t *)x)[i];
    default: /* uint8, bool */
        return ((const uint8_t *)x)[i];
    }
}

/* A number as double, and rounded once as float. */
__device__ __forceinline__ void store_float(void *y, int type, int64_t i, double wide, float v)
{
    switch (type) {
    case ED_CUDA_F64:
        ((double *)y)[i] = wide;
        break;
    case ED_CUDA_F16:
        ((__half *)y)[i] = __float2half_rn(v);
        break;
    case ED_CUDA_BF16:
        ((__nv_bfloat16 *)y)[i] = ed_narrow<__nv_bfloat16>(v);
        break;
    default:
        ((float *)y)[i] = v;
        break;
    }
}

/* The low bits; bool has been made 0 or 1. */
__device__ __forceinline__ void store_integer(void *y, int type, int64_t i, int64_t v)
{
    switch (type) {
    case ED_CUDA_I16:
    case ED_CUDA_U16:
        ((uint16_t *)y)[i] = (uint16_t)v;
        break;
    case ED_CUDA_I32:
    case ED_CUDA_U32:
        ((uint32_t *)y)[i] = (uint32_t)v;
        break;
    case ED_CUDA_I64:
    case ED_CUDA_U64:
        ((int64_t *)y)[i] = v;
        break;
    default:
        ((uint8_t *)y)[i] = (uint8_t)v;
        break;
    }
}

/* A float as an integer of that type, in the low bits; outside of the range what x86 gives. */
__device__ __forceinline__ int64_t truncated(double x, int type)
{
    if (type == ED_CUDA_BOOL)
        return x != 0; /* NaN too */
    if (type == ED_CUDA_U64 && x >= 0x1p63 && x < 0x1p64)
        return (int64_t)(uint64_t)x;
    if (type == ED_CUDA_I64 || type == ED_CUDA_U64 || type == ED_CUDA_U32)
        return x > -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
    return x > -0x1p31 - 1 && x < 0x1p31 ? (int64_t)x : (int64_t)INT32_MIN;
}

__global__ void __launch_bounds__(THREADS)
    cast_floats(void *y, int to, const void *x, int from, int64_t n)
{
    ED_GRID_LOOP(i, n)
    {
        const double v = load_float(x, from, i);
        if (is_float(to))
            store_float(y, to, i, v, (float)v);
        else
            store_integer(y, to, i, truncated(v, to));
    }
}

__global__ void __launch_bounds__(THREADS)
    cast_integers(void *y, int to, const void *x, int from, int64_t n)
{
    ED_GRID_LOOP(i, n)
    {
        const int64_t v = load_integer(x, from, i);
        if (!is_float(to))
            store_integer(y, to, i, to == ED_CUDA_BOOL ? v != 0 : v);
        else if (from == ED_CUDA_U64)
            store_float(y, to, i, (double)(uint64_t)v, (float)(uint64_t)v);
        else
            store_float(y, to, i, (double)v, (float)v);
    }
}
} // namespace

extern "C" int ed_cuda_cast(void *y, int to, const void *x, int from, int64_t n, ed_stream stream)
{
    if (n <= 0)
        return 0;
    if (is_float(from))
        cast_floats<<<ed_blocks(n, THREADS), THREADS, 0, stream>>>(y, to, x, from, n);
    else
        cast_integers<<<ed_blocks(n, THREADS), THREADS, 0, stream>>>(y, to, x, from, n);
    return (int)cudaGetLastError();
}
