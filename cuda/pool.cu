/*
 * MaxPool and AveragePool over windows with up to 3 axes, in NHWC (a thread owns neighbouring
 * channels of one position) and in row-major order (a thread owns one position).
 *
 * y = the largest of the taps inside of the input (a NaN wins; -infinity of none), or their sum, in
 * the order of the taps, / their count: with include_pad the taps inside of the padded input.
 */
#include "units.cuh"
#include "vectors.cuh"

namespace
{

enum { THREADS = 256 };

__device__ __forceinline__ float larger(float best, float x)
{
    return x > best || isnan(x) ? x : best;
}

/* Taps of the window that begins at `first` which lie inside of the padded input. */
__device__ __forceinline__ int taps_in_padded(const ed_cuda_pool_axis &a, int first)
{
    const int count = (a.padded - first + a.dilation - 1) / a.dilation;
    return first >= a.padded ? 0 : count < a.kernel ? count : a.kernel;
}

/* Where the outputs, or vectors of V channels of them, are. */
template <typename I> struct windows {
    ed_cuda_pool pool;
    ed_divider<I> vectors, axis[3];
    I outputs, plane;
};

template <typename T, int V, bool LAST, bool AVERAGE, typename I>
__global__ void __launch_bounds__(THREADS)
    pool_windows(T *y, const T *x, const __grid_constant__ windows<I> p)
{
    const ed_cuda_pool_axis &d = p.pool.axis[0], &h = p.pool.axis[1], &w = p.pool.axis[2];
    const I across = LAST ? (I)p.pool.channels : 1;
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < p.outputs;
         i += (I)gridDim.x * blockDim.x) {
        I rest = i;
        const I c = LAST ? ed_divide(&rest, p.vectors) : 0;
        const int w0 = (int)ed_divide(&rest, p.axis[2]) * w.stride - w.pad;
        const int h0 = (int)ed_divide(&rest, p.axis[1]) * h.stride - h.pad;
        const int d0 = (int)ed_divide(&rest, p.axis[0]) * d.stride - d.pad;
        const T *from = x + rest * p.plane + c * V;
        float acc[V], v[V];
        int count = 0;
#pragma unroll
        for (int k = 0; k < V; k++)
            acc[k] = AVERAGE ? 0.0f : -INFINITY;
        for (int kd = 0, id = d0; kd < d.kernel; kd++, id += d.dilation) {
            if (id < 0 || id >= d.in)
                continue;
            for (int kh = 0, ih = h0; kh < h.kernel; kh++, ih += h.dilation) {
                if (ih < 0 || ih >= h.in)
                    continue;
                const T *line = from + ((I)id * h.in + ih) * w.in * across;
                for (int kw = 0, iw = w0; kw < w.kernel; kw++, iw += w.dilation) {
                    if (iw < 0 || iw >= w.in)
                        continue;
                    ed_load_vector(v, line + (I)iw * across);
                    count++;
#pragma unroll
                    for (int k = 0; k < V; k++)
                        acc[k] = AVERAGE ? acc[k] + v[k] : larger(acc[k], v[k]);
                }
            }
        }
        if (AVERAGE && p.pool.include_pad)
            count = taps_in_padded(d, d0) * taps_in_padded(h, h0) * taps_in_padded(w, w0);
#pragma unroll
        for (int k = 0; k < V; k++)
            if (AVERAGE)
                acc[k] = count > 0 ? acc[k] / (float)count : 0.0f;
        ed_store_vector(y + i * V, acc);
    }
}

template <typename T, int V, bool LAST, bool AVERAGE, typename I>
void launch_as(T *y, const T *x, int64_t outputs, const ed_cuda_pool *p, ed_stream stream)
{
    windows<I> w = { *p, {}, {}, (I)(outputs / V), (I)(LAST ? p->channels : 1) };
    w.vectors.set(p->channels / V);
    for (int a = 0; a < 3; a++) {
        w.axis[a].set(p->axis[a].out);
        w.plane *= (I)p->axis[a].in;
    }
    pool_windows<T, V, LAST, AVERAGE>
        <<<ed_blocks(outputs / V, THREADS), THREADS, 0, stream>>>(y, x, w);
}

template <typename T, int V, bool LAST, bool AVERAGE>
void launch(T *y, const T *x, int64_t inputs, int64_t outputs, const ed_cuda_pool *p,
            ed_stream stream)
{
    if (ed_is_small(inputs) && ed_is_small(outputs))
        launch_as<T, V, LAST, AVERAGE, uint32_t>(y, x, outputs, p, stream);
    else
        launch_as<T, V, LAST, AVERAGE, uint64_t>(y, x, outputs, p, stream);
}

template <typename T, int V, bool LAST>
void choose(T *y, const T *x, int64_t inputs, int64_t outputs, const ed_cuda_pool *p,
            ed_stream stream)
{
    if (p->average)
        launch<T, V, LAST, true>(y, x, inputs, outputs, p, stream);
    else
        launch<T, V, LAST, false>(y, x, inputs, outputs, p, stream);
}

template <typename T> int run(void *py, const void *px, const ed_cuda_pool *p, ed_stream stream)
{
    int64_t inputs = p->n * p->channels, outputs = inputs;
    T *y = static_cast<T *>(py);
    const T *x = static_cast<const T *>(px);
    for (int a = 0; a < 3; a++) {
        inputs *= p->axis[a].in;
        outputs *= p->axis[a].out;
    }
    if (outputs == 0)
        return 0;
    if (!p->channels_last)
        choose<T, 1, false>(y, x, inputs, outputs, p, stream);
    else if (p->channels % ed_wide<T> == 0)
        choose<T, ed_wide<T>, true>(y, x, inputs, outputs, p, stream);
    else
        choose<T, 1, true>(y, x, inputs, outputs, p, stream);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int ed_cuda_pooling(void *y, const void *x, bool bf16, const ed_cuda_pool *pool,
                               ed_stream stream)
{
    return bf16 ? run<__nv_bfloat16>(y, x, pool, stream) : run<float>(y, x, pool, stream);
}
