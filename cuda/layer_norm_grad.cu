/*
 * LayerNormalizationGrad (ops/layer_norm_grad.c): with xn = (x - mean) inverse, g = dy scale,
 *
 *     dx = inverse (g - mean(g) - xn mean(g xn)),  dscale = sum dy xn,  dbias = sum dy
 *
 * A warp or a block takes a row; it is read from memory once, then from a cache. The parameters'
 * sums are a second pass: blocks of LANES columns add up a part of the rows, with what the first
 * pass left of each row (mean, inverse), and a last kernel the parts, always in the same order.
 */
#include "grad.h"
#include "vectors.cuh"

namespace
{

enum { LANES = 32, ROWS = 8, THREADS = LANES * ROWS, MOST_PARTS = 256, LEAST_PART = 4 * ROWS };

struct row_numbers {
    float mean, inverse;
};

template <typename T, int V, int TEAM>
__global__ void __launch_bounds__(ED_ROW_THREADS)
    rows_kernel(T *dx, row_numbers *numbers, const T *dy, const T *x, const float *scale,
                const __grid_constant__ ed_cuda_norm_grad norm)
{
    constexpr int TEAMS = ED_ROW_THREADS / TEAM;
    const int lane = threadIdx.x % TEAM, n = norm.n;
    for (int64_t row = blockIdx.x * (int64_t)TEAMS + threadIdx.x / TEAM; row < norm.rows;
         row += (int64_t)gridDim.x * TEAMS) {
        const T *from = x + row * n, *grad = dy + row * n;
        float v[V], g[V], s[V], sum = 0.0f, sum_gx = 0.0f;
        for (int at = lane * V; at < n; at += TEAM * V) {
            ed_load_vector(v, from + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum += v[k];
        }
        const float mean = ed_team_sum<TEAM>(sum) / (float)n;
        sum = 0.0f;
        for (int at = lane * V; at < n; at += TEAM * V) {
            ed_load_vector(v, from + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                sum = fmaf(v[k] - mean, v[k] - mean, sum);
        }
        const float inverse = 1.0f / sqrtf(ed_team_sum<TEAM>(sum) / (float)n + norm.epsilon);
        sum = 0.0f;
#pragma unroll
        for (int k = 0; k < V; k++)
            s[k] = 1.0f;
        for (int at = lane * V; at < n; at += TEAM * V) {
            ed_load_vector(v, from + at);
            ed_load_vector(g, grad + at);
            if (scale)
                ed_load_vector(s, scale + at);
#pragma unroll
            for (int k = 0; k < V; k++) {
                sum = fmaf(g[k], s[k], sum);
                sum_gx = fmaf(g[k] * s[k], (v[k] - mean) * inverse, sum_gx);
            }
        }
        const float mean_g = ed_team_sum<TEAM>(sum) / (float)n;
        const float mean_gx = ed_team_sum<TEAM>(sum_gx) / (float)n;
        if (numbers && lane == 0)
            numbers[row] = { mean, inverse };
        for (int at = lane * V; at < n; at += TEAM * V) {
            ed_load_vector(v, from + at);
            ed_load_vector(g, grad + at);
            if (scale)
                ed_load_vector(s, scale + at);
#pragma unroll
            for (int k = 0; k < V; k++)
                v[k] = inverse * (g[k] * s[k] - mean_g - (v[k] - mean) * inverse * mean_gx);
            ed_store_vector(dx + row * n + at, v);
        }
    }
}

/* ---- dscale, dbias ---- */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    columns_kernel(float2 *parts, const T *dy, const T *x, const row_numbers *numbers,
                   const __grid_constant__ ed_cuda_norm_grad norm, int64_t chunk)
{
    __shared__ float2 shared[ROWS][LANES];
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    const int column = (int)blockIdx.x * LANES + lane;
    const int64_t begin = blockIdx.y * chunk;
    const int64_t end = begin + chunk < norm.rows ? begin + chunk : norm.rows;
    float2 sum = make_float2(0.0f, 0.0f);
    for (int64_t r = begin + row; column < norm.n && r < end; r += ROWS) {
        const float g = ed_load(dy, r * norm.n + column), v = ed_load(x, r * norm.n + column);
        const row_numbers k = numbers[r];
        sum.x = fmaf(g, (v - k.mean) * k.inverse, sum.x);
        sum.y += g;
    }
    shared[row][lane] = sum;
    __syncthreads();
    if (row != 0 || column >= norm.n)
        return;
    for (int r = 1; r < ROWS; r++) {
        sum.x += shared[r][lane].x;
        sum.y += shared[r][lane].y;
    }
    parts[(int64_t)blockIdx.y * norm.n + column] = sum;
}

__global__ void add_parts(float *dscale, float *dbias, const float2 *parts, int count, int n)
{
    ED_GRID_LOOP(i, n)
    {
        double scale = 0, bias = 0;
        for (int k = 0; k < count; k++) {
            scale += (double)parts[(int64_t)k * n + i].x;
            bias += (double)parts[(int64_t)k * n + i].y;
        }
        if (dscale)
            dscale[i] = (float)scale;
        if (dbias)
            dbias[i] = (float)bias;
    }
}

int parts_of(const ed_cuda_norm_grad *norm)
{
    const int64_t tiles = (norm->n + LANES - 1) / LANES, enough = (4 * 132 + tiles - 1) / tiles;
    const int64_t most = (norm->rows + LEAST_PART - 1) / LEAST_PART;
    int64_t parts = most < enough ? most : enough;
    parts = parts < MOST_PARTS ? parts : (int64_t)MOST_PARTS;
    return (int)(parts < 1 ? 1 : parts);
}

size_t numbers_bytes(const ed_cuda_norm_grad *norm)
{
    return ((size_t)norm->rows * sizeof(row_numbers) + 255) / 256 * 256;
}

template <typename T, int V>
void launch_rows(T *dx, row_numbers *numbers, const T *dy, const T *x, const float *scale,
                 const ed_cuda_norm_grad *norm, ed_stream stream)
{
    if (norm->n <= 32 * 8 * V)
        rows_kernel<T, V, 32>
            <<<ed_blocks(norm->rows, ED_ROW_THREADS / 32), ED_ROW_THREADS, 0, stream>>>(
                dx, numbers, dy, x, scale, *norm);
    else
        rows_kernel<T, V, ED_ROW_THREADS><<<ed_blocks(norm->rows, 1), ED_ROW_THREADS, 0, stream>>>(
            dx, numbers, dy, x, scale, *norm);
}

template <typename T>
int launch(T *dx, float *dscale, float *dbias, const T *dy, const T *x, const float *scale,
           const ed_cuda_norm_grad *norm, char *scratch, ed_stream stream)
{
    constexpr int WIDE = ed_wide<T>;
    const bool sums = dscale || dbias;
    row_numbers *numbers = sums ? (row_numbers *)scratch : nullptr;
    float2 *parts = (float2 *)(scratch + numbers_bytes(norm));
    if (norm->rows > 0 && norm->n % WIDE == 0)
        launch_rows<T, WIDE>(dx, numbers, dy, x, scale, norm, stream);
    else if (norm->rows > 0)
        launch_rows<T, 1>(dx, numbers, dy, x, scale, norm, stream);
    if (!sums)
        return (int)cudaGetLastError();
    const int count = parts_of(norm);
    const dim3 grid((unsigned)((norm->n + LANES - 1) / LANES), (unsigned)count);
    columns_kernel<<<grid, THREADS, 0, stream>>>(parts, dy, x, numbers, *norm,
                                                 (norm->rows + count - 1) / count);
    add_parts<<<ed_blocks(norm->n, THREADS), THREADS, 0, stream>>>(dscale, dbias, parts, count,
                                                                   norm->n);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" size_t ed_cuda_norm_grad_scratch(const ed_cuda_norm_grad *norm)
{
    return numbers_bytes(norm) + (size_t)parts_of(norm) * (size_t)norm->n * sizeof(float2);
}

extern "C" int ed_cuda_layer_norm_grad(void *dx, float *dscale, float *dbias, const void *dy,
                                       const void *x, bool bf16, const float *scale,
                                       const ed_cuda_norm_grad *norm, void *scratch,
                                       ed_stream stream)
{
    typedef __nv_bfloat16 b16;
    char *memory = static_cast<char *>(scratch);
    return bf16 ? launch((b16 *)dx, dscale, dbias, (const b16 *)dy, (const b16 *)x, scale, norm,
                         memory, stream)
                : launch((float *)dx, dscale, dbias, (const float *)dy, (const float *)x, scale,
                         norm, memory, stream);
}
