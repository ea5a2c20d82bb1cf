/*
 * Concat and Split: dense parts [rows, length_k] of the matrix [rows, row], side by side.
 *
 *   whole[r][start_k + c] = part_k[r][c], or the other way round
 */
#include "units.cuh"

template <typename I> struct join_plan {
    int64_t rows, row;
    void *part[ED_JOIN_PARTS];
    int64_t start[ED_JOIN_PARTS + 1];
    ed_divider<I> length[ED_JOIN_PARTS];
};

/* A row of blocks for each part. */
template <typename T, typename I, bool JOIN>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    join_kernel(T *__restrict__ whole, const __grid_constant__ join_plan<I> p)
{
    const int k = blockIdx.y;
    T *__restrict__ part = (T *)p.part[k];
    const int64_t start = p.start[k], length = p.start[k + 1] - start;
    if (!part || length == 0)
        return;
    ED_GRID_LOOP(i, p.rows * length)
    {
        I row = (I)i;
        int64_t column = ed_divide(&row, p.length[k]), at = (int64_t)row * p.row + start + column;
        if (JOIN)
            whole[at] = part[i];
        else
            part[i] = whole[at];
    }
}

/* ---- launchers ---- */

/* All parts in the largest unit that fits each of them. */
static size_t unit_of(const void *whole, const ed_cuda_parts *parts, int64_t row, size_t width)
{
    uint64_t bits = (uint64_t)whole | (uint64_t)row * width;
    for (int k = 0; k < parts->count; k++)
        bits |= (uint64_t)parts->data[k] | (uint64_t)parts->start[k] * width;
    return ed_unit(bits | (uint64_t)parts->start[parts->count] * width);
}

template <typename I, bool JOIN>
static void launch(void *whole, const ed_cuda_parts *parts, int64_t rows, int64_t row, size_t width,
                   size_t unit, ed_stream stream)
{
    join_plan<I> p = {};
    const int64_t elements = (int64_t)(unit / width);
    int64_t longest = 0;
    p.rows = rows;
    p.row = row / elements;
    for (int k = 0; k < parts->count; k++) {
        int64_t length = (parts->start[k + 1] - parts->start[k]) / elements;
        p.part[k] = parts->data[k];
        p.start[k] = parts->start[k] / elements;
        p.start[k + 1] = p.start[k] + length;
        p.length[k].set(length > 0 ? length : 1);
        longest = length > longest ? length : longest;
    }
    const dim3 grid(ed_blocks(rows * longest, ED_MOVE_THREADS), (unsigned)parts->count);
    ED_WITH_UNIT(unit, T,
                 join_kernel<T, I, JOIN><<<grid, ED_MOVE_THREADS, 0, stream>>>((T *)whole, p));
}

template <bool JOIN>
static int move_parts(void *whole, const ed_cuda_parts *parts, int64_t rows, int64_t row,
                      size_t width, ed_stream stream)
{
    if (parts->count == 0 || rows == 0 || row == 0)
        return cudaSuccess;
    const size_t unit = unit_of(whole, parts, row, width);
    if (ed_is_small(rows * row))
        launch<uint32_t, JOIN>(whole, parts, rows, row, width, unit, stream);
    else
        launch<uint64_t, JOIN>(whole, parts, rows, row, width, unit, stream);
    return (int)cudaGetLastError();
}

extern "C" int ed_cuda_join(void *whole, const ed_cuda_parts *parts, int64_t rows, int64_t row,
                            size_t width, ed_stream stream)
{
    return move_parts<true>(whole, parts, rows, row, width, stream);
}

extern "C" int ed_cuda_part(const void *whole, const ed_cuda_parts *parts, int64_t rows,
                            int64_t row, size_t width, ed_stream stream)
{
    return move_parts<false>((void *)whole, parts, rows, row, width, stream);
}
