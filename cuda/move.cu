/*
 * The strided copy behind Transpose, Slice, Expand, Tile, DepthToSpace, SpaceToDepth:
 *
 *   y[i . step[0]] = x[i . step[1]] for every index i of the walk
 *
 * Three ways, the first that fits:
 *   one run                     a copy
 *   turned: x is contiguous     square tiles through shared memory, so that both sides are read and
 *   along another dimension     written in whole lines
 *   anything else               a thread a unit; a unit is up to 16 bytes where the innermost runs
 *                               of both are contiguous, else an element
 */
#include "units.cuh"

/* ---- a unit a thread ---- */

template <typename I> struct copy_plan {
    int rank;
    int64_t n;
    ed_divider<I> size[ED_WALK_RANK];
    int64_t y[ED_WALK_RANK], x[ED_WALK_RANK];
};

template <typename T, typename I>
__global__ void __launch_bounds__(ED_MOVE_THREADS)
    copy_kernel(T *__restrict__ y, const T *__restrict__ x, const __grid_constant__ copy_plan<I> p)
{
    ED_GRID_LOOP(i, p.n)
    {
        I rest = (I)i;
        int64_t to = 0, from = 0;
        for (int d = p.rank - 1; d > 0; d--) {
            I at = ed_divide(&rest, p.size[d]);
            to += (int64_t)at * p.y[d];
            from += (int64_t)at * p.x[d];
        }
        y[to + (int64_t)rest * p.y[0]] = x[from + (int64_t)rest * p.x[0]];
    }
}

/* ---- tiles: rows are contiguous in y, columns in x ---- */

enum { TURN_LANES = 32, TURN_WARPS = 8, TURN_LEAST = 16 };

struct turn_plan {
    int rank; /* of the dimensions around the tiles */
    uint32_t tiles;
    int64_t rows, columns;   /* y steps by 1 along a row's index, x along a column's */
    int64_t x_row, y_column; /* and the other way round by these */
    ed_divider<uint32_t> row_tiles, column_tiles, size[ED_WALK_RANK];
    int64_t y[ED_WALK_RANK], x[ED_WALK_RANK];
};

/* A line of a tile in shared memory is an odd number of 4-byte banks: columns have no conflicts. */
template <typename T> struct turn_tile {
    enum { SIDE = sizeof(T) <= 2 ? 64 : 32, PITCH = SIDE + (sizeof(T) < 4 ? 4 / sizeof(T) : 1) };
};

/* Each thread moves DOWN x ACROSS elements of a tile, all of them in flight at once. */
template <typename T>
__global__ void __launch_bounds__(TURN_LANES *TURN_WARPS)
    turn_kernel(T *__restrict__ y, const T *__restrict__ x, const __grid_constant__ turn_plan p)
{
    constexpr int SIDE = turn_tile<T>::SIDE, DOWN = SIDE / TURN_WARPS, ACROSS = SIDE / TURN_LANES;
    __shared__ T tile[SIDE][turn_tile<T>::PITCH];
    T held[DOWN][ACROSS];

    for (uint32_t t = blockIdx.x; t < p.tiles; t += gridDim.x) {
        uint32_t rest = t;
        const int64_t column = (int64_t)ed_divide(&rest, p.column_tiles) * SIDE;
        const int64_t row = (int64_t)ed_divide(&rest, p.row_tiles) * SIDE;
        int64_t to = row + column * p.y_column, from = column + row * p.x_row;
        for (int d = p.rank - 1; d >= 0; d--) {
            const int64_t at = ed_divide(&rest, p.size[d]);
            to += at * p.y[d];
            from += at * p.x[d];
        }
        const int64_t rows = p.rows - row, columns = p.columns - column;
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++) {
                const int r = threadIdx.y + i * TURN_WARPS, c = threadIdx.x + j * TURN_LANES;
                held[i][j] = r < rows && c < columns ? x[from + r * p.x_row + c] : T();
            }
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++)
                tile[threadIdx.y + i * TURN_WARPS][threadIdx.x + j * TURN_LANES] = held[i][j];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++) {
                const int c = threadIdx.y + i * TURN_WARPS, r = threadIdx.x + j * TURN_LANES;
                if (r < rows && c < columns)
                    y[to + c * p.y_column + r] = tile[r][c];
            }
        __syncthreads(); /* the next tile overwrites this one */
    }
}

/* ---- launchers ---- */

template <typename I>
static void copy_units(void *y, const void *x, size_t unit, const ed_walk *w, int64_t n,
                       ed_stream stream)
{
    copy_plan<I> p = {};
    p.rank = w->rank;
    p.n = n;
    for (int d = 0; d < w->rank; d++) {
        p.size[d].set(w->dim[d]);
        p.y[d] = w->step[0][d];
        p.x[d] = w->step[1][d];
    }
    ED_WITH_UNIT(unit, T,
                 copy_kernel<T, I><<<ed_blocks(n, ED_MOVE_THREADS), ED_MOVE_THREADS, 0, stream>>>(
                     (T *)y, (const T *)x, p));
}

/* The runs along the last dimension in the largest units; the walk counts in these then. */
static size_t widen(ed_walk *w, const void *y, const void *x, size_t width)
{
    int last = w->rank - 1;
    uint64_t bits = (uint64_t)y | (uint64_t)x | (uint64_t)w->dim[last] * width;
    for (int d = 0; d < last; d++)
        bits |= ((uint64_t)w->step[0][d] | (uint64_t)w->step[1][d]) * width;
    size_t unit = ed_unit(bits);
    int64_t elements = (int64_t)(unit / width);
    w->dim[last] /= elements;
    for (int d = 0; d < last; d++) {
        w->step[0][d] /= elements;
        w->step[1][d] /= elements;
    }
    return unit;
}

/* The dimension along which x is contiguous, when tiles of it and the last one pay; -1 */
static int turned(const ed_walk *w)
{
    int last = w->rank - 1;
    if (w->step[0][last] != 1 || w->step[1][last] == 1 || w->dim[last] < TURN_LEAST)
        return -1;
    for (int d = 0; d < last; d++)
        if (w->step[1][d] == 1 && w->dim[d] >= TURN_LEAST)
            return d;
    return -1;
}

template <typename T>
static bool copy_turned(void *y, const void *x, const ed_walk *w, int columns, ed_stream stream)
{
    const int64_t side = turn_tile<T>::SIDE;
    int last = w->rank - 1;
    turn_plan p = {};
    p.rows = w->dim[last];
    p.columns = w->dim[columns];
    p.x_row = w->step[1][last];
    p.y_column = w->step[0][columns];
    int64_t row_tiles = (p.rows + side - 1) / side, column_tiles = (p.columns + side - 1) / side;
    int64_t tiles = row_tiles * column_tiles;
    for (int d = 0; d < last; d++) {
        if (d == columns)
            continue;
        p.size[p.rank].set(w->dim[d]);
        p.y[p.rank] = w->step[0][d];
        p.x[p.rank++] = w->step[1][d];
        tiles *= w->dim[d];
    }
    if (!ed_is_small(tiles))
        return false;
    p.tiles = (uint32_t)tiles;
    p.row_tiles.set(row_tiles);
    p.column_tiles.set(column_tiles);
    turn_kernel<T>
        <<<ed_blocks(tiles, 1), dim3(TURN_LANES, TURN_WARPS), 0, stream>>>((T *)y, (const T *)x, p);
    return true;
}

extern "C" int ed_cuda_walk_copy(void *y, const void *x, size_t width, const ed_walk *walk,
                                 ed_stream stream)
{
    ed_walk w = *walk;
    int last = w.rank - 1, columns = turned(&w);
    int64_t n = 1;
    for (int d = 0; d < w.rank; d++)
        n *= w.dim[d];
    if (n == 0)
        return cudaSuccess;
    bool runs = w.step[0][last] == 1 && w.step[1][last] == 1;
    if (runs && w.rank == 1)
        return cudaMemcpyAsync(y, x, (size_t)n * width, cudaMemcpyDeviceToDevice, stream);
    if (columns >= 0) {
        bool done = false;
        ED_WITH_ELEMENT(width, T, done = copy_turned<T>(y, x, &w, columns, stream));
        if (done)
            return (int)cudaGetLastError();
    }
    size_t unit = runs ? widen(&w, y, x, width) : width;
    n /= (int64_t)(unit / width);
    if (ed_is_small(n))
        copy_units<uint32_t>(y, x, unit, &w, n, stream);
    else
        copy_units<uint64_t>(y, x, unit, &w, n, stream);
    return (int)cudaGetLastError();
}
