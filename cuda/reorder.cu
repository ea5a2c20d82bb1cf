/*
 * Change of order and storage: [batches][rows][columns] to [batches][columns][rows], float32 or
 * bfloat16 on either side. NCHW to NHWC has the channels as rows and the picture points as columns,
 * the way back the other way round.
 *
 * A block moves a tile through shared memory, so that neighbours in memory go together on both
 * sides. Tiles have 4096 elements, 64 by 64 unless there are fewer rows or columns: three channels
 * make tiles of 4 (one empty) by 1024.
 */
#include "pack.cuh"

namespace
{
enum { THREADS = 256, TILE = 4096, SIDE = 64, PER_THREAD = TILE / THREADS, AT_ONCE = 8 };

struct tiling {
    int row_bits, column_bits; /* logarithms of the tile's sides */
    int pitch;                 /* floats from row to row in shared memory */
    unsigned across;           /* tiles side by side */
};

template <class Y, class X>
__global__ void __launch_bounds__(THREADS)
    transpose_kernel(Y *__restrict__ to, const X *__restrict__ from, int64_t batches, int64_t rows,
                     int64_t columns, tiling t)
{
    extern __shared__ float tile[];
    const int64_t row0 = (int64_t)(blockIdx.x / t.across) << t.row_bits;
    const int64_t column0 = (int64_t)(blockIdx.x % t.across) << t.column_bits;
    /* of the tile, what there is */
    const int height = (int)min(rows - row0, (int64_t)1 << t.row_bits);
    const int width = (int)min(columns - column0, (int64_t)1 << t.column_bits);

    for (int64_t batch = blockIdx.y; batch < batches; batch += gridDim.y) {
        const X *x = from + batch * rows * columns + row0 * columns + column0;
        Y *y = to + batch * rows * columns + column0 * rows + row0;

        for (int k = 0; k < PER_THREAD; k += AT_ONCE) {
            float v[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) {
                const int e = (k + j) * THREADS + (int)threadIdx.x;
                const int r = e >> t.column_bits, c = e & ((1 << t.column_bits) - 1);
                v[j] = r < height && c < width ? ed_widen(x[r * columns + c]) : 0.0f;
            }
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) {
                const int e = (k + j) * THREADS + (int)threadIdx.x;
                const int r = e >> t.column_bits, c = e & ((1 << t.column_bits) - 1);
                if (r < height && c < width)
                    tile[r * t.pitch + c] = v[j];
            }
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < PER_THREAD; k++) {
            const int e = k * THREADS + (int)threadIdx.x;
            const int c = e >> t.row_bits, r = e & ((1 << t.row_bits) - 1);
            if (r < height && c < width)
                y[c * rows + r] = ed_narrow<Y>(tile[r * t.pitch + c]);
        }
        __syncthreads();
    }
}

struct same {
    __device__ __forceinline__ float operator()(float x) const
    {
        return x;
    }
};

template <class Y, class X>
__global__ void __launch_bounds__(THREADS) storage_kernel(Y *to, const X *from, int64_t n)
{
    ed_map<2>(to, from, n, same());
}

/* ---- launchers ---- */
/* The logarithm of the least power of two that is at least n, at most `most`. */
int bits_for(int64_t n, int most)
{
    int bits = 0;
    while (bits < most && ((int64_t)1 << bits) < n)
        bits++;
    return bits;
}

/* A side that is short leaves its part of the tile to the other. Rows in shared memory are padded
 * so that reading down a column meets all banks. */
tiling tiling_of(int64_t rows, int64_t columns)
{
    const int side = bits_for(SIDE, 30), all = bits_for(TILE, 30);
    tiling t = { bits_for(rows, side), bits_for(columns, side), 0, 0 };
    if (t.row_bits < side)
        t.column_bits = bits_for(columns, all - t.row_bits);
    else
        t.row_bits = bits_for(rows, all - t.column_bits);
    const int tall = 1 << t.row_bits, wide = 1 << t.column_bits;
    t.pitch = wide + (tall < 32 ? 32 / tall : 1);
    t.across = (unsigned)((columns + wide - 1) / wide);
    return t;
}

template <class Y, class X>
int launch(void *to, const void *from, int64_t batches, int64_t rows, int64_t columns,
           ed_stream stream)
{
    const int64_t most_batches = 65535; /* of a grid's second dimension */
    if (rows == 1 || columns == 1) {
        const int64_t n = batches * rows * columns;
        storage_kernel<Y, X>
            <<<ed_blocks(n / (2 * ed_map_lanes<Y, X>)+1, THREADS), THREADS, 0, stream>>>(
                (Y *)to, (const X *)from, n);
        return (int)cudaGetLastError();
    }
    const tiling t = tiling_of(rows, columns);
    const int64_t down = (rows + ((int64_t)1 << t.row_bits) - 1) >> t.row_bits;
    const dim3 grid((unsigned)(down * t.across),
                    (unsigned)(batches < most_batches ? batches : most_batches));
    const size_t shared = sizeof(float) * (size_t)t.pitch << t.row_bits;
    transpose_kernel<Y, X>
        <<<grid, THREADS, shared, stream>>>((Y *)to, (const X *)from, batches, rows, columns, t);
    return (int)cudaGetLastError();
}
} // namespace

extern "C" int ed_cuda_convert(void *to, bool to_bf16, const void *from, bool from_bf16,
                               int64_t batches, int64_t rows, int64_t columns, ed_stream stream)
{
    typedef __nv_bfloat16 b16;
    if (batches <= 0 || rows <= 0 || columns <= 0)
        return 0;
    if (to_bf16)
        return from_bf16 ? launch<b16, b16>(to, from, batches, rows, columns, stream)
                         : launch<b16, float>(to, from, batches, rows, columns, stream);
    return from_bf16 ? launch<float, b16>(to, from, batches, rows, columns, stream)
                     : launch<float, float>(to, from, batches, rows, columns, stream);
}
