/*
 * Resize by tables that the host made, one an axis: input positions and weights of every output
 * position (src/ops/resample.c). Nearest picks elements of any type, in words of up to 16 bytes;
 * the others are weighted sums, nested so that each is added in the order of the reference kernel,
 * which resamples one axis after the other: the first axis is the innermost sum.
 */
#include "units.cuh"
#include "vectors.cuh"

namespace
{

enum { THREADS = 256 };

/* The output's dimensions; coordinates are the remainders of an index, the fastest first. */
template <typename I> struct places {
    ed_cuda_resize r;
    ed_divider<I> dim[ED_WALK_RANK];
};

template <typename W, typename I>
__global__ void __launch_bounds__(THREADS)
    pick(W *y, const W *x, const __grid_constant__ places<I> p)
{
    const ed_cuda_resize &r = p.r;
    const I outputs = (I)r.outputs;
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < outputs;
         i += (I)gridDim.x * blockDim.x) {
        I rest = i, from = 0;
        for (int k = r.rank - 1; k >= 0; k--) {
            const I at = ed_divide(&rest, p.dim[k]);
            const int axis = r.axis[k];
            from += (axis < 0 ? at : (I)r.taps[axis].index[at]) * (I)r.step[k];
        }
        y[i] = x[from];
    }
}

/* The value at output position o[] of the first AXES axes; x is where the other ones are. */
template <int AXES> struct sampler {
    template <typename T, int V>
    static __device__ __forceinline__ void at(float (&v)[V], const T *x, const ed_cuda_resize &r,
                                              const int *o)
    {
        const ed_cuda_taps &t = r.taps[AXES - 1];
        const int position = o[AXES - 1];
        if (AXES > r.n) {
            sampler<AXES - 1>::at(v, x, r, o);
            return;
        }
        if (t.outside && t.outside[position]) {
#pragma unroll
            for (int k = 0; k < V; k++)
                v[k] = r.extrapolation;
            return;
        }
        const int32_t *index = t.index + (int64_t)position * t.count;
        const float *weight = t.weight ? t.weight + (int64_t)position * t.count : NULL;
        for (int tap = 0; tap < t.count; tap++) {
            float inner[V];
            const float w = weight ? weight[tap] : 1.0f;
            sampler<AXES - 1>::at(inner, x + index[tap] * t.step, r, o);
#pragma unroll
            for (int k = 0; k < V; k++)
                v[k] = tap == 0 ? w * inner[k] : v[k] + w * inner[k];
        }
    }
};

template <> struct sampler<0> {
    template <typename T, int V>
    static __device__ __forceinline__ void at(float (&v)[V], const T *x, const ed_cuda_resize &,
                                              const int *)
    {
        ed_load_vector(v, x);
    }
};

/* outputs and the last dimension count vectors; AXES >= r.n. */
template <typename T, int V, int AXES, typename I>
__global__ void __launch_bounds__(THREADS)
    resample(T *y, const T *x, const __grid_constant__ places<I> p)
{
    const ed_cuda_resize &r = p.r;
    const I outputs = (I)r.outputs;
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < outputs;
         i += (I)gridDim.x * blockDim.x) {
        I rest = i, from = 0;
        int o[AXES] = {};
        for (int k = r.rank - 1; k >= 0; k--) {
            const I at = ed_divide(&rest, p.dim[k]);
            const int axis = r.axis[k];
            from += axis < 0 ? at * (I)r.step[k] : 0;
#pragma unroll
            for (int a = 0; a < AXES; a++) /* not o[axis]: it stays in registers */
                o[a] = a == axis ? (int)at : o[a];
        }
        float v[V];
        sampler<AXES>::at(v, x + from, r, o);
        ed_store_vector(y + i * V, v);
    }
}

/* The same with neighbours of the last dimension as one element, where they lie together. */
bool widen(ed_cuda_resize *r, int v)
{
    const int last = r->rank - 1;
    if (r->axis[last] >= 0 || r->step[last] != 1 || r->dim[last] % v != 0)
        return false;
    for (int k = 0; k < last; k++)
        if (r->step[k] % v != 0)
            return false;
    r->dim[last] /= v;
    r->outputs /= v;
    return true;
}

template <typename I> places<I> places_of(const ed_cuda_resize &r)
{
    places<I> p = { r, {} };
    for (int k = 0; k < r.rank; k++)
        p.dim[k].set(r.dim[k]);
    return p;
}

template <typename W>
void launch_pick(void *y, const void *x, const ed_cuda_resize &r, ed_stream stream)
{
    W *to = static_cast<W *>(y);
    const W *from = static_cast<const W *>(x);
    const unsigned blocks = ed_blocks(r.outputs, THREADS);
    if (ed_is_small(r.outputs) && ed_is_small(r.inputs))
        pick<<<blocks, THREADS, 0, stream>>>(to, from, places_of<uint32_t>(r));
    else
        pick<<<blocks, THREADS, 0, stream>>>(to, from, places_of<uint64_t>(r));
}

template <typename T, int V, int AXES>
void launch_resample(void *y, const void *x, const ed_cuda_resize &r, ed_stream stream)
{
    T *to = static_cast<T *>(y);
    const T *from = static_cast<const T *>(x);
    const unsigned blocks = ed_blocks(r.outputs, THREADS);
    if (ed_is_small(r.outputs * V) && ed_is_small(r.inputs))
        resample<T, V, AXES><<<blocks, THREADS, 0, stream>>>(to, from, places_of<uint32_t>(r));
    else
        resample<T, V, AXES><<<blocks, THREADS, 0, stream>>>(to, from, places_of<uint64_t>(r));
}

template <typename T>
void choose(void *y, const void *x, const ed_cuda_resize *wanted, ed_stream stream)
{
    ed_cuda_resize r = *wanted;
    if (r.n > 2)
        launch_resample<T, 1, ED_CUDA_RESIZE_WEIGHED>(y, x, r, stream);
    else if (widen(&r, ed_wide<T>)) {
        r.step[r.rank - 1] = ed_wide<T>;
        launch_resample<T, ed_wide<T>, 2>(y, x, r, stream);
    } else
        launch_resample<T, 1, 2>(y, x, r, stream);
}

} // namespace

extern "C" int ed_cuda_pick(void *y, const void *x, size_t width, const ed_cuda_resize *wanted,
                            ed_stream stream)
{
    ed_cuda_resize r = *wanted;
    if (r.outputs == 0)
        return 0;
    for (int v = (int)(16 / width); v > 1; v /= 2) {
        if (!widen(&r, v))
            continue;
        for (int k = 0; k < r.rank - 1; k++)
            r.step[k] /= v;
        width *= (size_t)v;
        break;
    }
    if (width == 16)
        launch_pick<uint4>(y, x, r, stream);
    else if (width == 8)
        launch_pick<uint2>(y, x, r, stream);
    else if (width == 4)
        launch_pick<uint32_t>(y, x, r, stream);
    else if (width == 2)
        launch_pick<uint16_t>(y, x, r, stream);
    else
        launch_pick<uint8_t>(y, x, r, stream);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_resample(void *y, const void *x, bool bf16, const ed_cuda_resize *r,
                                ed_stream stream)
{
    if (r->outputs == 0)
        return 0;
    if (bf16)
        choose<__nv_bfloat16>(y, x, r, stream);
    else
        choose<float>(y, x, r, stream);
    return (int)cudaGetLastError();
}
