/*
 * BatchNormalization for inference: y = (x - mean[c]) * gain[c] + b[c], where
 * gain = scale / sqrt(var + epsilon), for x as [outer][channels][inner]; in NHWC order inner is 1.
 */
#include "vectors.cuh"

namespace
{

__global__ void batch_norm_table(float *table, const float *scale, const float *b,
                                 const float *mean, const float *var, double epsilon,
                                 int64_t channels)
{
    ED_GRID_LOOP(c, channels)
    {
        table[c] = mean[c];
        table[channels + c] = (float)((double)scale[c] / sqrt((double)var[c] + epsilon));
        table[2 * channels + c] = b[c];
    }
}

/* Vectors lie within one channel (inner is a multiple of V), or hold V channels (inner is 1). I is
 * an unsigned type that holds the number of elements. */
template <typename T, int V, bool CHANNELS, typename I>
__global__ void __launch_bounds__(256)
    batch_norm(T *y, const T *x, const float *table, I vectors, I channels, I inner)
{
    const I step = (I)gridDim.x * blockDim.x, per_row = CHANNELS ? channels / V : inner / V;
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < vectors; i += step) {
        float v[V], mean[V], gain[V], add[V];
        if (CHANNELS) {
            const float *at = table + i % per_row * V;
            ed_load_vector(mean, at);
            ed_load_vector(gain, at + channels);
            ed_load_vector(add, at + 2 * channels);
        } else {
            const float *at = table + i / per_row % channels;
#pragma unroll
            for (int k = 0; k < V; k++) {
                mean[k] = at[0];
                gain[k] = at[channels];
                add[k] = at[2 * channels];
            }
        }
        ed_load_vector(v, x + i * V);
#pragma unroll
        for (int k = 0; k < V; k++)
            v[k] = (v[k] - mean[k]) * gain[k] + add[k];
        ed_store_vector(y + i * V, v);
    }
}

template <typename T, int V, bool CHANNELS>
void launch(T *y, const T *x, const float *table, int64_t numel, int64_t channels, int64_t inner,
            ed_stream stream)
{
    const unsigned blocks = ed_blocks(numel / V, 256);
    if (numel <= INT32_MAX)
        batch_norm<T, V, CHANNELS, uint32_t><<<blocks, 256, 0, stream>>>(
            y, x, table, (uint32_t)(numel / V), (uint32_t)channels, (uint32_t)inner);
    else
        batch_norm<T, V, CHANNELS, uint64_t><<<blocks, 256, 0, stream>>>(
            y, x, table, (uint64_t)(numel / V), (uint64_t)channels, (uint64_t)inner);
}

template <typename T>
int run(void *py, const void *px, const float *table, int64_t outer, int64_t channels,
        int64_t inner, ed_stream stream)
{
    constexpr int WIDE = ed_wide<T>;
    const int64_t numel = outer * channels * inner;
    T *y = static_cast<T *>(py);
    const T *x = static_cast<const T *>(px);
    if (numel == 0)
        return 0;
    if (inner % WIDE == 0)
        launch<T, WIDE, false>(y, x, table, numel, channels, inner, stream);
    else if (inner == 1 && channels % WIDE == 0)
        launch<T, WIDE, true>(y, x, table, numel, channels, inner, stream);
    else
        launch<T, 1, false>(y, x, table, numel, channels, inner, stream);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int ed_cuda_batch_norm_table(float *table, const float *scale, const float *b,
                                        const float *mean, const float *var, float epsilon,
                                        int64_t channels, ed_stream stream)
{
    if (channels == 0)
        return 0;
    batch_norm_table<<<ed_blocks(channels, 256), 256, 0, stream>>>(table, scale, b, mean, var,
                                                                   (double)epsilon, channels);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_batch_norm(void *y, const void *x, bool bf16, const float *table,
                                  int64_t outer, int64_t channels, int64_t inner, ed_stream stream)
{
    return bf16 ? run<__nv_bfloat16>(y, x, table, outer, channels, inner, stream)
                : run<float>(y, x, table, outer, channels, inner, stream);
}
