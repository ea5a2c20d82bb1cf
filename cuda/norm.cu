/*
 * Normalization of contiguous rows:  y = (x - mean) / sqrt(variance + epsilon) * scale + bias
 *
 * A row that fits is held in the registers of a warp or a block and read once. Its mean is found
 * twice: from x, and as a correction from x less the first one, together with the squares; so
 * neither a large mean nor equal elements cost precision. Long rows are cut in parts: one kernel
 * sums each part in double, relative to the row's first element, a second one normalizes.
 */
#include "vectors.cuh"

namespace
{

/* Scale and bias of the elements [at, at + V) of a row; `group` is row % period. */
template <int V>
__device__ __forceinline__ void parameters(float (&v)[V], const float *list,
                                           const ed_cuda_norm &how, int64_t group, int at)
{
    if (how.mode == ED_CUDA_NORM_ELEMENT) {
        ed_load_vector(v, list + at);
        return;
    }
    const bool one = how.mode == ED_CUDA_NORM_ROW;
    const float *from = list + (one ? group : group * (how.n / how.run));
    const bool shared = one || how.run % V == 0;
    const float first = from[one ? 0 : at / how.run];
#pragma unroll
    for (int k = 0; k < V; k++)
        v[k] = shared ? first : from[(at + k) / how.run];
}

template <int V>
__device__ __forceinline__ void finish(float (&v)[V], float inverse, const float *scale,
                                       const float *bias, const ed_cuda_norm &how, int64_t group,
                                       int at)
{
    float s[V], b[V] = {};
    parameters(s, scale, how, group, at);
    if (bias)
        parameters(b, bias, how, group, at);
#pragma unroll
    for (int k = 0; k < V; k++)
        v[k] = v[k] * inverse * s[k] + b[k];
}

template <typename T, int V, int PER, int TEAM>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    norm_held(T *y, const T *x, const __grid_constant__ ed_cuda_norm how, const float *scale,
              const float *bias, float *mean, float *inverse)
{
    constexpr int TEAMS = ED_ROW_THREADS / TEAM;
    const int lane = threadIdx.x % TEAM;
    const float n = (float)how.n;
    for (int64_t row = blockIdx.x * (int64_t)TEAMS + threadIdx.x / TEAM; row < how.rows;
         row += (int64_t)gridDim.x * TEAMS) {
        float v[PER][V], sum = 0, squares = 0;
#pragma unroll
        for (int p = 0; p < PER; p++) {
            const int at = (p * TEAM + lane) * V;
#pragma unroll
            for (int k = 0; k < V; k++)
                v[p][k] = 0;
            if (at < how.n)
                ed_load_vector(v[p], x + row * how.n + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum += v[p][k];
        }
        const float near = ed_team_sum<TEAM>(sum) / n;
        sum = 0;
#pragma unroll
        for (int p = 0; p < PER; p++) {
            const int at = (p * TEAM + lane) * V;
#pragma unroll
            for (int k = 0; k < V; k++) {
                v[p][k] = at < how.n ? v[p][k] - near : 0;
                sum += v[p][k];
                squares += v[p][k] * v[p][k];
            }
        }
        const float rest = ed_team_sum<TEAM>(sum) / n;
        const float variance = ed_team_sum<TEAM>(squares) / n - rest * rest;
        const float scaled = 1.0f / sqrtf((variance < 0 ? 0 : variance) + how.epsilon);
        const int64_t group = row % how.period;
#pragma unroll
        for (int p = 0; p < PER; p++) {
            const int at = (p * TEAM + lane) * V;
            if (at >= how.n)
                continue;
#pragma unroll
            for (int k = 0; k < V; k++)
                v[p][k] -= rest;
            finish(v[p], scaled, scale, bias, how, group, at);
            ed_store_vector(y + row * how.n + at, v[p]);
        }
        if (lane == 0 && mean)
            mean[row] = near + rest;
        if (lane == 0 && inverse)
            inverse[row] = scaled;
    }
}

/* ---- long rows ---- */
struct moments { /* of one part, relative to the row's first element */
    double pivot, sum, squares;
};
enum { PART = 4096, MAX_PARTS = 64, PER_BLOCK = 8 };

int parts_of(const ed_cuda_norm *how)
{
    const int64_t wanted = 4 * 132 / how->rows, most = how->n / PART;
    int parts = 1;
    while (parts < MAX_PARTS && 2 * parts <= wanted && 2 * parts <= most)
        parts *= 2;
    return parts;
}

template <typename T, int V>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    norm_moments(moments *out, const T *x, int64_t rows, int n, int parts, int chunk)
{
    for (int64_t unit = blockIdx.x; unit < rows * parts; unit += gridDim.x) {
        const int64_t row = unit / parts;
        const int64_t begin = (unit - row * parts) * chunk;
        const int end = (int)(begin + chunk < n ? begin + chunk : n);
        const double pivot = (double)ed_load(x, row * n);
        double sum = 0, squares = 0;
        for (int64_t at = begin + threadIdx.x * V; at < end; at += ED_ROW_THREADS * V) {
            float v[V];
            ed_load_vector(v, x + row * n + at);
#pragma unroll
            for (int k = 0; k < V; k++) {
                const double d = (double)v[k] - pivot;
                sum += d;
                squares += d * d;
            }
        }
        sum = ed_team_sum<ED_ROW_THREADS>(sum);
        squares = ed_team_sum<ED_ROW_THREADS>(squares);
        if (threadIdx.x == 0)
            out[unit] = { pivot, sum, squares };
    }
}

template <typename T, int V>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    norm_streamed(T *y, const T *x, const __grid_constant__ ed_cuda_norm how, const moments *in,
                  int parts, const float *scale, const float *bias, float *mean, float *inverse)
{
    constexpr int SPAN = ED_ROW_THREADS * V * PER_BLOCK;
    const int64_t spans = (how.n + SPAN - 1) / SPAN;
    for (int64_t unit = blockIdx.x; unit < how.rows * spans; unit += gridDim.x) {
        const int64_t row = unit / spans, begin = (unit - row * spans) * SPAN;
        const int64_t end = begin + SPAN < how.n ? begin + SPAN : how.n;
        double sum = 0, squares = 0;
        for (int p = threadIdx.x % 32; p < parts; p += 32) {
            sum += in[row * parts + p].sum;
            squares += in[row * parts + p].squares;
        }
        sum = ed_team_sum<32>(sum) / how.n;
        const double variance = ed_team_sum<32>(squares) / how.n - sum * sum;
        const double centre = in[row * parts].pivot + sum;
        const float high = (float)centre, low = (float)(centre - high);
        const float scaled =
            (float)(1.0 / sqrt((variance < 0 ? 0 : variance) + (double)how.epsilon));
        const int64_t group = row % how.period;
        for (int64_t at = begin + threadIdx.x * V; at < end; at += ED_ROW_THREADS * V) {
            float v[V];
            ed_load_vector(v, x + row * how.n + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                v[k] = v[k] - high - low;
            finish(v, scaled, scale, bias, how, group, (int)at);
            ed_store_vector(y + row * how.n + at, v);
        }
        if (begin == 0 && threadIdx.x == 0 && mean)
            mean[row] = high;
        if (begin == 0 && threadIdx.x == 0 && inverse)
            inverse[row] = scaled;
    }
}

template <typename T> struct norm_call {
    T *y;
    const T *x;
    const ed_cuda_norm *how;
    const float *scale, *bias;
    float *mean, *inverse;
    void *scratch;
    ed_stream stream;

    template <int V, int PER, int TEAM> void held() const
    {
        norm_held<T, V, PER, TEAM>
            <<<ed_blocks(how->rows, ED_ROW_THREADS / TEAM), ED_ROW_THREADS, 0, stream>>>(
                y, x, *how, scale, bias, mean, inverse);
    }
    template <int V> void streamed() const
    {
        moments *part = static_cast<moments *>(scratch);
        const int parts = parts_of(how), chunk = ((how->n + parts - 1) / parts + V - 1) / V * V;
        const int64_t spans = how->n / (ED_ROW_THREADS * V * PER_BLOCK) + 1;
        norm_moments<T, V><<<ed_blocks(how->rows * parts, 1), ED_ROW_THREADS, 0, stream>>>(
            part, x, how->rows, how->n, parts, chunk);
        norm_streamed<T, V><<<ed_blocks(how->rows * spans, 1), ED_ROW_THREADS, 0, stream>>>(
            y, x, *how, part, parts, scale, bias, mean, inverse);
    }
};

} // namespace

extern "C" size_t ed_cuda_norm_scratch(const ed_cuda_norm *norm, bool bf16)
{
    const int held = bf16 ? ed_row_held<__nv_bfloat16>(norm->n) : ed_row_held<float>(norm->n);
    if (norm->rows == 0 || norm->n <= held)
        return 0;
    return (size_t)norm->rows * (size_t)parts_of(norm) * sizeof(moments);
}

extern "C" int ed_cuda_normalize(void *y, const void *x, bool bf16, const ed_cuda_norm *norm,
                                 const float *scale, const float *bias, float *mean, float *inverse,
                                 void *scratch, ed_stream stream)
{
    if (norm->rows == 0 || norm->n == 0)
        return 0;
    if (bf16)
        ed_row_dispatch<__nv_bfloat16>(
            norm->n, norm_call<__nv_bfloat16>{ static_cast<__nv_bfloat16 *>(y),
                                               static_cast<const __nv_bfloat16 *>(x), norm, scale,
                                               bias, mean, inverse, scratch, stream });
    else
        ed_row_dispatch<float>(
            norm->n, norm_call<float>{ static_cast<float *>(y), static_cast<const float *>(x), norm,
                                       scale, bias, mean, inverse, scratch, stream });
    return (int)cudaGetLastError();
}
