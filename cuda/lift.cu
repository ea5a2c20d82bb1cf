/*
 * Pictures of a few channels for convolutions on tensor cores, which read 16 bytes of channels at a
 * time: NCHW to NHWC with zeros as further channels, or with the points of each 2 x 2 block as
 * channels of one point. A thread writes 16 bytes.
 */
#include "launch.cuh"

static __device__ __forceinline__ void put(float4 *y, const float (&v)[4])
{
    *y = make_float4(v[0], v[1], v[2], v[3]);
}

static __device__ __forceinline__ void put(uint4 *y, const float (&v)[8])
{
    __nv_bfloat162 pair[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        pair[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    *y = *reinterpret_cast<uint4 *>(pair);
}

template <typename V, int WIDTH>
static __global__ void lift_kernel(V *y, const float *x, int64_t total, const ed_cuda_lifting how)
{
    const int chunks = how.width / WIDTH, channels = (int)how.channels, block = how.block;
    ED_GRID_LOOP(i, total)
    {
        int64_t point = i / chunks, row = point / how.columns;
        int first = (int)(i - point * chunks) * WIDTH;
        int64_t n = row / how.rows;
        int64_t top = (row - n * how.rows - how.top) * block;
        int64_t left = (point - row * how.columns - how.left) * block;
        const float *from = x + n * channels * how.h * how.w;
        float v[WIDTH];
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            int at = (first + k) / channels, c = first + k - at * channels;
            int64_t r = top + at / block, q = left + at % block;
            bool inside = at < block * block && r >= 0 && r < how.h && q >= 0 && q < how.w;
            v[k] = inside ? from[(c * how.h + r) * how.w + q] : 0.0f;
        }
        put(y + i, v);
    }
}

extern "C" int ed_cuda_lift(void *y, bool bf16, const float *x, const ed_cuda_lifting *how,
                            ed_stream stream)
{
    const int threads = 256, width = bf16 ? 8 : 4;
    int64_t total = how->n * how->rows * how->columns * (how->width / width);
    if (total == 0)
        return 0;
    if (bf16)
        lift_kernel<uint4, 8>
            <<<ed_blocks(total, threads), threads, 0, stream>>>((uint4 *)y, x, total, *how);
    else
        lift_kernel<float4, 4>
            <<<ed_blocks(total, threads), threads, 0, stream>>>((float4 *)y, x, total, *how);
    return (int)cudaGetLastError();
}
