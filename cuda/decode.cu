/*
 * A batch as the file stores it to the model's input:
 *
 *   y[s][c][p] = (float(x) - mean[c]) / std[c],   x[s][c][p] or x[s][p][c]
 *
 * A subtraction and a division, each rounded to float32: the bits of src/data/convert.c.
 */
#include "launch.cuh"

#include "ed/tensor.h"

#include <cuda_fp16.h>
#include <math.h>

namespace
{

typedef unsigned long long u64;
enum { THREADS = 256 };

/* To nearest even; what is beyond float32 becomes infinity. */
template <typename T> __device__ float to_float(T x)
{
    return (float)x;
}
template <> __device__ float to_float(__half x)
{
    return __half2float(x);
}

__device__ float normalize(float x, const float *mean, const float *std, int64_t channel)
{
    return mean ? (x - __ldg(mean + channel)) / __ldg(std + channel) : x;
}

/* Add the threads' numbers to *bad. All threads of the block come here. */
__device__ void tell_bad(u64 *bad, unsigned found)
{
    found = __reduce_add_sync(~0u, found);
    if (threadIdx.x % 32 == 0 && found)
        atomicAdd(bad, (u64)found);
}

/* One element after another; I holds n and a step beyond. */
template <typename T, typename I>
__global__ void __launch_bounds__(THREADS)
    decode(float *y, const T *x, const ed_cuda_samples how, I n, u64 *bad)
{
    unsigned found = 0;
    I channels = (I)how.channels, plane = (I)how.plane, step = (I)gridDim.x * THREADS;
    for (I i = (I)blockIdx.x * THREADS + threadIdx.x; i < n; i += step) {
        I row = i / plane, p = i - row * plane;
        I sample = row / channels, c = row - sample * channels;
        I from = how.channels_last ? (sample * plane + p) * channels + c : i;
        float v = normalize(to_float(x[from]), how.mean, how.std, (int64_t)c);
        y[i] = v;
        found += !(fabsf(v) < INFINITY);
    }
    tell_bad(bad, found);
}

/* Pictures of three bytes a point: four points, 12 bytes, in three words. `fours` of them, whole
 * ones in every plane. */
__global__ void __launch_bounds__(THREADS)
    decode_rgb(float *y, const unsigned *x, const ed_cuda_samples how, int64_t fours, u64 *bad)
{
    unsigned found = 0;
    float mean[3], std[3];
    for (int c = 0; c < 3; c++) {
        mean[c] = how.mean ? how.mean[c] : 0.0f;
        std[c] = how.mean ? how.std[c] : 1.0f;
    }
    int64_t of_plane = how.plane / 4;
    ED_GRID_LOOP(i, fours)
    {
        int64_t sample = i / of_plane, p = i - sample * of_plane;
        unsigned w[3] = { __ldg(x + 3 * i), __ldg(x + 3 * i + 1), __ldg(x + 3 * i + 2) };
        float4 *to = (float4 *)y + sample * 3 * of_plane + p;
#pragma unroll
        for (int c = 0; c < 3; c++) {
            float v[4];
#pragma unroll
            for (int k = 0; k < 4; k++) {
                int byte = 3 * k + c;
                v[k] = ((float)(w[byte / 4] >> byte % 4 * 8 & 255u) - mean[c]) / std[c];
                found += !(fabsf(v[k]) < INFINITY);
            }
            to[c * of_plane] = make_float4(v[0], v[1], v[2], v[3]);
        }
    }
    tell_bad(bad, found);
}

template <typename T>
int launch(float *y, const void *x, const ed_cuda_samples *how, u64 *bad, cudaStream_t stream)
{
    int64_t n = how->samples * how->channels * how->plane;
    unsigned blocks = ed_blocks(n, THREADS);
    if (n <= INT32_MAX)
        decode<T, unsigned>
            <<<blocks, THREADS, 0, stream>>>(y, (const T *)x, *how, (unsigned)n, bad);
    else
        decode<T, u64><<<blocks, THREADS, 0, stream>>>(y, (const T *)x, *how, (u64)n, bad);
    return (int)cudaGetLastError();
}

bool is_rgb(const float *y, const void *x, const ed_cuda_samples *how)
{
    return how->from == ED_U8 && how->channels_last && how->channels == 3 && how->plane % 4 == 0 &&
           (uintptr_t)x % 4 == 0 && (uintptr_t)y % 16 == 0;
}

} // namespace

extern "C" int ed_cuda_decode_samples(float *y, const void *x, const ed_cuda_samples *how,
                                      unsigned long long *bad, ed_stream stream)
{
    if (how->samples == 0 || how->channels == 0 || how->plane == 0)
        return cudaSuccess;
    if (is_rgb(y, x, how)) {
        int64_t fours = how->samples * (how->plane / 4);
        decode_rgb<<<ed_blocks(fours, THREADS), THREADS, 0, stream>>>(y, (const unsigned *)x, *how,
                                                                      fours, bad);
        return (int)cudaGetLastError();
    }
    switch (how->from) {
    case ED_U8:
        return launch<uint8_t>(y, x, how, bad, stream);
    case ED_I8:
        return launch<int8_t>(y, x, how, bad, stream);
    case ED_U16:
        return launch<uint16_t>(y, x, how, bad, stream);
    case ED_I16:
        return launch<int16_t>(y, x, how, bad, stream);
    case ED_U32:
        return launch<uint32_t>(y, x, how, bad, stream);
    case ED_I32:
        return launch<int32_t>(y, x, how, bad, stream);
    case ED_I64:
        return launch<int64_t>(y, x, how, bad, stream);
    case ED_F16:
        return launch<__half>(y, x, how, bad, stream);
    case ED_F32:
        return launch<float>(y, x, how, bad, stream);
    case ED_F64:
        return launch<double>(y, x, how, bad, stream);
    default:
        return cudaErrorInvalidValue;
    }
}
