/*
 * Pictures of a few channels for convolutions on tensor cores, which read 16 bytes of channels at a
 * time: NCHW to NHWC with zeros as further channels, or with the points of each 2 x 2 block as
 * channels of one point. A thread writes 16 bytes. And the weights that belong to them, to and fro.
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

/* ---- weights ---- */
/* Element of the lifted weights that is element i of the original ones. */
static __device__ __forceinline__ int64_t lifted(int64_t i, const ed_cuda_lifted_taps &t)
{
    const int64_t row = i / t.kernel[1], plane = row / t.kernel[0], filter = plane / t.channels;
    const int h = (int)(row - plane * t.kernel[0]) + t.shift[0];
    const int v = (int)(i - row * t.kernel[1]) + t.shift[1];
    const int at = h % t.block * t.block + v % t.block;
    const int channel = at * t.channels + (int)(plane - filter * t.channels);
    return ((filter * t.size[0] + h / t.block) * t.size[1] + v / t.block) * t.width + channel;
}

template <typename T>
static __global__ void lift_taps(T *to, const float *w, int64_t total, ed_cuda_lifted_taps t)
{
    ED_GRID_LOOP(i, total)
    {
        ed_store(to, lifted(i, t), w[i]);
    }
}

template <typename T>
static __global__ void lower_taps(float *w, const T *from, int64_t total, ed_cuda_lifted_taps t)
{
    ED_GRID_LOOP(i, total)
    {
        w[i] = ed_load(from, lifted(i, t));
    }
}

static int64_t taps_of(const ed_cuda_lifted_taps *t)
{
    return t->filters * t->channels * t->kernel[0] * t->kernel[1];
}

extern "C" int ed_cuda_lift_taps(void *to, bool bf16, const float *w,
                                 const ed_cuda_lifted_taps *taps, ed_stream stream)
{
    const int threads = 256;
    const int64_t total = taps_of(taps);
    const int64_t all = taps->filters * taps->size[0] * taps->size[1] * taps->width;
    if (total == 0)
        return 0;
    int rc = (int)cudaMemsetAsync(to, 0, (size_t)all * (bf16 ? 2 : 4), stream);
    if (rc != cudaSuccess)
        return rc;
    if (bf16)
        lift_taps<<<ed_blocks(total, threads), threads, 0, stream>>>((__nv_bfloat16 *)to, w, total,
                                                                     *taps);
    else
        lift_taps<<<ed_blocks(total, threads), threads, 0, stream>>>((float *)to, w, total, *taps);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_lower_taps(float *w, const void *from, bool bf16,
                                  const ed_cuda_lifted_taps *taps, ed_stream stream)
{
    const int threads = 256;
    const int64_t total = taps_of(taps);
    if (total == 0)
        return 0;
    if (bf16)
        lower_taps<<<ed_blocks(total, threads), threads, 0, stream>>>(
            w, (const __nv_bfloat16 *)from, total, *taps);
    else
        lower_taps<<<ed_blocks(total, threads), threads, 0, stream>>>(w, (const float *)from, total,
                                                                      *taps);
    return (int)cudaGetLastError();
}
