/*
 * Pictures of a few channels for convolutions on tensor cores: NCHW to NHWC, with zeros as further
 * channels up to 16 bytes a point. A thread writes one point.
 */
#include "launch.cuh"

static __device__ __forceinline__ void put(float4 *y, const float (&v)[4])
{
    *y = make_float4(v[0], v[1], v[2], v[3]);
}

static __device__ __forceinline__ void put(uint4 *y, const float (&v)[8])
{
    __nv_bfloat162 pair[4];
    for (int i = 0; i < 4; i++)
        pair[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    *y = *reinterpret_cast<uint4 *>(pair);
}

template <typename V, int WIDTH>
static __global__ void lift_kernel(V *y, const float *x, int64_t total, int channels,
                                   int64_t points)
{
    ED_GRID_LOOP(i, total)
    {
        int64_t n = i / points, q = i - n * points;
        const float *from = x + n * channels * points + q;
        float v[WIDTH];
#pragma unroll
        for (int c = 0; c < WIDTH; c++)
            v[c] = c < channels ? from[c * points] : 0.0f;
        put(y + i, v);
    }
}

extern "C" int ed_cuda_lift(void *y, bool bf16, const float *x, int64_t n, int64_t channels,
                            int64_t points, int64_t lifted, ed_stream stream)
{
    const int threads = 256;
    int64_t total = n * points;
    if (total == 0)
        return 0;
    if (lifted != (bf16 ? 8 : 4) || channels > lifted)
        return (int)cudaErrorInvalidValue;
    if (bf16)
        lift_kernel<uint4, 8><<<ed_blocks(total, threads), threads, 0, stream>>>(
            (uint4 *)y, x, total, (int)channels, points);
    else
        lift_kernel<float4, 4><<<ed_blocks(total, threads), threads, 0, stream>>>(
            (float4 *)y, x, total, (int)channels, points);
    return (int)cudaGetLastError();
}
