/* The kernel of functions of two numbers, y = F::of(a, b), whose operands repeat as they like. */
#ifndef CUDA_BINARY_CUH
#define CUDA_BINARY_CUH

#include "operand.cuh"

namespace
{
enum { BINARY_THREADS = 256 };

/* Neighbours that a thread takes: 16 bytes of y, or of the operands where y holds truth values; at
 * most 8. */
template <class Y, class A>
constexpr int binary_lanes = 16 / (int)(sizeof(Y) > 1   ? sizeof(Y)
                                        : sizeof(A) > 2 ? sizeof(A)
                                                        : 2);

template <class F, class Y, class A, class B>
__global__ void __launch_bounds__(BINARY_THREADS)
    binary_kernel(Y *y, const A *a, const B *b, int64_t n, const __grid_constant__ ed_space<2> s)
{
    constexpr int N = binary_lanes<Y, A>;
    const int64_t packs = ed_vectors<N>(s, n);

    ED_GRID_LOOP(i, packs)
    {
        const ed_pack<A, N> va = ed_read_operand<N>(a, s, 0, i * N);
        const ed_pack<B, N> vb = ed_read_operand<N>(b, s, 1, i * N);
        ed_pack<Y, N> out;
#pragma unroll
        for (int l = 0; l < N; l++)
            out.v[l] = ed_narrow<Y>(F::of(ed_widen(va.v[l]), ed_widen(vb.v[l])));
        ed_store_pack<N>(y + i * N, out);
    }
    ED_GRID_LOOP(k, n - packs * N)
    {
        const int64_t i = packs * N + k;
        y[i] = ed_narrow<Y>(F::of(ed_read_one(a, s, 0, i), ed_read_one(b, s, 1, i)));
    }
}

/* What a launcher was called with. */
struct binary_call {
    void *y;
    const void *a, *b;
    const ed_walk *walk;
    ed_stream stream;
};

template <class F, class Y, class A, class B> int binary_launch(const binary_call &c)
{
    constexpr int N = binary_lanes<Y, A>;
    const int64_t n = ed_walk_numel(c.walk);
    if (n <= 0)
        return 0;
    const ed_space<2> s = ed_space_of<2>(c.walk, N);
    const unsigned blocks = ed_blocks(s.vectors ? n / N + 1 : n, BINARY_THREADS);
    binary_kernel<F, Y, A, B>
        <<<blocks, BINARY_THREADS, 0, c.stream>>>((Y *)c.y, (const A *)c.a, (const B *)c.b, n, s);
    return (int)cudaGetLastError();
}
} // namespace

#endif
