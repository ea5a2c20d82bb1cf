/*
 * Operands of other shapes and layouts than the output's. The output lies dense, so that a flat
 * index i is its place; an operand's place is the sum of its steps along the coordinates of i. A
 * thread takes N neighbours of the output at a time where for every operand these lie side by side
 * or are one element, else one after the other.
 */
#ifndef CUDA_OPERAND_CUH
#define CUDA_OPERAND_CUH

#include "pack.cuh"

enum ed_read {
    ED_READ_DENSE, /* lies as the output does */
    ED_READ_PACK,  /* the N elements are neighbours, aligned */
    ED_READ_ONE,   /* one element for all N */
    ED_READ_APART  /* each has its own place */
};

template <int K> struct ed_space {
    int rank;
    bool narrow;  /* places fit 31 bits */
    bool vectors; /* no operand is read apart */
    int how[K];
    unsigned mul[ED_WALK_RANK], shift[ED_WALK_RANK]; /* division by dim, when narrow */
    int64_t dim[ED_WALK_RANK], step[K][ED_WALK_RANK];
};

/* Elements of the space. */
static inline int64_t ed_walk_numel(const ed_walk *w)
{
    int64_t n = 1;
    for (int d = 0; d < w->rank; d++)
        n *= w->dim[d];
    return n;
}

static inline int ed_read_of(const ed_walk *w, int k, int lanes)
{
    const int last = w->rank - 1;
    bool dense = true, aligned = true;
    for (int d = 0; d <= last; d++)
        dense = dense && w->step[k][d] == w->step[0][d];
    for (int d = 0; d < last; d++)
        aligned = aligned && w->step[k][d] % lanes == 0;
    if (dense)
        return ED_READ_DENSE;
    if (w->dim[last] % lanes != 0 || w->step[k][last] > 1)
        return ED_READ_APART;
    if (w->step[k][last] == 0)
        return ED_READ_ONE;
    return aligned ? ED_READ_PACK : ED_READ_APART;
}

/* Operand 0 of the folded walk is the output, which is dense; operands 1 to K are read. */
template <int K> ed_space<K> ed_space_of(const ed_walk *w, int lanes)
{
    ed_space<K> s = {};
    s.rank = w->rank;
    s.narrow = ed_walk_numel(w) <= INT32_MAX;
    s.vectors = true;
    for (int k = 0; k < K; k++) {
        s.how[k] = ed_read_of(w, k + 1, lanes);
        s.vectors = s.vectors && s.how[k] != ED_READ_APART;
    }
    for (int d = 0; d < w->rank; d++) {
        s.dim[d] = w->dim[d];
        for (int k = 0; k < K; k++)
            s.step[k][d] = w->step[k + 1][d];
        if (!s.narrow)
            continue;
        /* i / n = (floor(i mul / 2^32) + i) / 2^shift for i < 2^31 (Granlund and Montgomery,
         * Division by Invariant Integers using Multiplication, 1994) */
        while (((int64_t)1 << s.shift[d]) < w->dim[d])
            s.shift[d]++;
        s.mul[d] =
            (unsigned)((((uint64_t)1 << 32) * (((uint64_t)1 << s.shift[d]) - (uint64_t)w->dim[d])) /
                           (uint64_t)w->dim[d] +
                       1);
    }
    return s;
}

/* The walk of one number per channel over [rows][channels][inner]. */
static inline ed_walk ed_channel_walk(int64_t rows, int64_t channels, int64_t inner)
{
    ed_walk w = {};
    const int64_t dim[3] = { rows, channels, inner };
    const int64_t dense[3] = { channels * inner, inner, 1 }, step[3] = { 0, 1, 0 };
    w.rank = inner == 1 ? 2 : 3;
    w.operands = 2;
    for (int d = 0; d < w.rank; d++) {
        w.dim[d] = dim[d];
        w.step[0][d] = dense[d];
        w.step[1][d] = step[d];
    }
    return w;
}

/* Place of operand k for element i of the output, when narrow. */
template <int K>
__device__ __forceinline__ unsigned ed_narrow_at(const ed_space<K> &s, int k, unsigned i)
{
    unsigned at = 0;
    for (int d = s.rank - 1; d > 0; d--) {
        const unsigned q = (__umulhi(i, s.mul[d]) + i) >> s.shift[d];
        at += (i - q * (unsigned)s.dim[d]) * (unsigned)s.step[k][d];
        i = q;
    }
    return at + i * (unsigned)s.step[k][0];
}

/* Place of operand k for element i of the output. */
template <int K> __device__ __forceinline__ int64_t ed_at(const ed_space<K> &s, int k, int64_t i)
{
    if (s.how[k] == ED_READ_DENSE)
        return i;
    if (s.narrow)
        return ed_narrow_at(s, k, (unsigned)i);
    int64_t at = 0;
    for (int d = s.rank - 1; d > 0; d--) {
        const int64_t q = i / s.dim[d];
        at += (i - q * s.dim[d]) * s.step[k][d];
        i = q;
    }
    return at + i * s.step[k][0];
}

/* How many vectors of N elements are taken; what is left of the n goes one by one. */
template <int N, int K>
__device__ __forceinline__ int64_t ed_vectors(const ed_space<K> &s, int64_t n)
{
    return s.vectors ? n / N : 0;
}

/* Operand k, which is not read apart, for elements i to i + N of the output; N divides i. They stay
 * as they are stored, so that nothing waits for one operand before the next is on its way. */
template <int N, int K, class T>
__device__ __forceinline__ ed_pack<T, N> ed_read_operand(const T *p, const ed_space<K> &s, int k,
                                                         int64_t i)
{
    const int64_t at = ed_at(s, k, i);
    ed_pack<T, N> pack;
    if (s.how[k] != ED_READ_ONE)
        return ed_load_pack<N>(p + at);
    pack.v[0] = p[at];
#pragma unroll
    for (int l = 1; l < N; l++)
        pack.v[l] = pack.v[0];
    return pack;
}

/* Operand k for element i alone. */
template <int K, class T>
__device__ __forceinline__ typename ed_number<T>::type ed_read_one(const T *p, const ed_space<K> &s,
                                                                   int k, int64_t i)
{
    return ed_widen(p[ed_at(s, k, i)]);
}

#endif
