/*
 * Chains: a tree of elementwise nodes in one pass over memory, as the interpreter of a program
 * (ops/chain_program.h). All threads are at the same step, so that each decision is one branch for
 * a vector of elements; values between the steps are floats in registers, whatever the storage.
 */
#include "chain_steps.cuh"

namespace
{
enum { MOST = ED_CHAIN_MAX_INPUTS };

enum chain_read {
    READ_HELD,   /* lies as the output does, in its storage: loaded before the first step */
    READ_SCALAR, /* one element */
    READ_SPACE   /* by the space: repeats, lies otherwise, or is of the other storage */
};

struct chain_args {
    ed_cuda_step step[ED_CHAIN_MAX_STEPS];
    float number[ED_CHAIN_MAX_NUMBERS];
    int steps, inputs;
    const void *in[MOST];
    uint8_t read[MOST]; /* chain_read */
    bool b16[MOST];
    unsigned n; /* below 2^31 */
    ed_space<MOST> space;
};

/* ---- operands ---- */
/* Input k for the elements at to at + W of the output. Only what is dense or apart may end within
 * these: else W divides n. */
template <int W, class T>
__device__ __forceinline__ ed_pack<T, W> load_space(const T *p, const chain_args &c, int k,
                                                    unsigned at)
{
    const int how = c.space.how[k];
    ed_pack<T, W> pack;
    if (how == ED_READ_DENSE)
        return ed_load_dense<W>(p, at, c.n);
    at = at < c.n ? at : 0; /* a vector behind the end is not stored */
    if (how == ED_READ_PACK)
        return ed_load_pack<W>(p + ed_narrow_at(c.space, k, at));
    pack.v[0] = p[ed_narrow_at(c.space, k, at)];
#pragma unroll
    for (int l = 1; l < W; l++)
        pack.v[l] =
            how == ED_READ_ONE ? pack.v[0] : p[ed_narrow_at(c.space, k, at + l < c.n ? at + l : 0)];
    return pack;
}

template <int W, int V, class T>
__device__ __forceinline__ void read_input(float (&v)[V * W], const T *p, const chain_args &c,
                                           int k, const unsigned (&at)[V])
{
    if (c.read[k] == READ_SCALAR) {
        const float one = ed_widen(p[0]);
#pragma unroll
        for (int l = 0; l < V * W; l++)
            v[l] = one;
        return;
    }
#pragma unroll
    for (int u = 0; u < V; u++) {
        const ed_pack<T, W> pack = load_space<W>(p, c, k, at[u]);
#pragma unroll
        for (int l = 0; l < W; l++)
            v[u * W + l] = ed_widen(pack.v[l]);
    }
}

/* What a thread holds: V vectors of W elements of K inputs, and of S results that wait. */
template <class T, int K, int S, int W, int V> struct chain_thread {
    unsigned at[V];
    ed_pack<T, W> held[K][V];
    float last[V * W], slot[S ? S : 1][V * W];

    __device__ __forceinline__ void hold(const chain_args &c)
    {
#pragma unroll
        for (int k = 0; k < K; k++)
            if (k < c.inputs && c.read[k] == READ_HELD)
                ed_load_all(held[k], (const T *)c.in[k], at, c.n);
    }

    __device__ __forceinline__ void pick_held(float (&v)[V * W], int input) const
    {
#pragma unroll
        for (int k = 0; k < K; k++) {
            if (k != input)
                continue;
#pragma unroll
            for (int l = 0; l < V * W; l++)
                v[l] = ed_widen(held[k][l / W].v[l % W]);
        }
    }

    __device__ __forceinline__ void pick(float (&v)[V * W], const chain_args &c, int from) const
    {
        if (from == ED_CHAIN_LAST) {
#pragma unroll
            for (int l = 0; l < V * W; l++)
                v[l] = last[l];
        } else if (from >= ED_CHAIN_NUMBER) {
            const float number = c.number[from - ED_CHAIN_NUMBER];
#pragma unroll
            for (int l = 0; l < V * W; l++)
                v[l] = number;
        } else if (from >= ED_CHAIN_INPUT) {
            const int k = from - ED_CHAIN_INPUT;
            if (c.read[k] == READ_HELD)
                pick_held(v, k);
            else if (c.b16[k])
                read_input<W, V>(v, (const __nv_bfloat16 *)c.in[k], c, k, at);
            else
                read_input<W, V>(v, (const float *)c.in[k], c, k, at);
        } else {
#pragma unroll
            for (int s = 0; s < S; s++)
#pragma unroll
                for (int l = 0; l < V * W; l++)
                    v[l] = from == ED_CHAIN_SLOT + s ? slot[s][l] : v[l];
        }
    }

    __device__ __forceinline__ void store(T *y, unsigned n) const
    {
#pragma unroll
        for (int u = 0; u < V; u++)
            ed_store_dense<W>(y, last + u * W, at[u], n);
    }

    __device__ __forceinline__ void keep(int to)
    {
#pragma unroll
        for (int s = 0; s < S; s++) {
            if (to != ED_CHAIN_SLOT + s)
                continue;
#pragma unroll
            for (int l = 0; l < V * W; l++)
                slot[s][l] = last[l];
        }
    }
};

/* ---- the kernel ---- */
/* A block takes V vectors for each of its threads: as many blocks as that needs, for the steps take
 * registers, and a grid of the size of the chip would end in a part of a wave. */
template <class T, int K, int S, int V, int BLOCKS>
__global__ void __launch_bounds__(ED_CHAIN_THREADS, BLOCKS)
    chain_kernel(T *y, const __grid_constant__ chain_args c)
{
    constexpr int W = ed_chain_lanes<T>;
    chain_thread<T, K, S, W, V> t;
#pragma unroll
    for (int u = 0; u < V; u++)
        t.at[u] = ((blockIdx.x * V + u) * ED_CHAIN_THREADS + threadIdx.x) * W;
    t.hold(c);
#pragma unroll 1
    for (int s = 0; s < c.steps; s++) {
        const ed_cuda_step step = c.step[s];
        float b[V * W], scale[V * W]; /* of which one is read */
        if (step.from[1] != ED_CHAIN_NOTHING)
            t.pick(b, c, step.from[1]);
        if (step.from[2] != ED_CHAIN_NOTHING)
            t.pick(scale, c, step.from[2]);
        if (step.from[0] != ED_CHAIN_LAST)
            t.pick(t.last, c, step.from[0]);
        ed_chain_apply(t.last, step, b, scale[0]);
        t.keep(step.keep);
    }
    t.store(y, c.n);
}

/* ---- launchers ---- */
template <class T> chain_args args_of(const ed_cuda_chain *c)
{
    const ed_chain_program *program = c->program;
    chain_args args = {};
    args.n = (unsigned)ed_walk_numel(&c->walk);
    args.space = ed_space_of<MOST>(&c->walk, ed_chain_lanes<T>);
    args.steps = program->steps;
    args.inputs = program->inputs;
    for (int s = 0; s < program->steps; s++)
        static_cast<ed_chain_step &>(args.step[s]) = ed_scale_last(program->step[s]);
    for (int i = 0; i < program->numbers; i++)
        args.number[i] = program->number[i];
    for (int k = 0; k < program->inputs; k++) {
        const bool same = c->b16[k] == (sizeof(T) == 2);
        args.in[k] = c->in[k];
        args.b16[k] = c->b16[k];
        args.read[k] = ed_is_scalar(&c->walk, k + 1)                ? READ_SCALAR
                       : same && args.space.how[k] == ED_READ_DENSE ? READ_HELD
                                                                    : READ_SPACE;
    }
    return args;
}

template <class T, int K, int S, int V, int BLOCKS>
int launch(const chain_args &args, T *y, ed_stream stream)
{
    const unsigned each = V * ed_chain_lanes<T> * ED_CHAIN_THREADS,
                   blocks = (args.n - 1) / each + 1;
    chain_kernel<T, K, S, V, BLOCKS><<<blocks, ED_CHAIN_THREADS, 0, stream>>>(y, args);
    return (int)cudaGetLastError();
}

/* How many of the first inputs may be held. */
static int held_of(const chain_args &args)
{
    int most = 0;
    for (int k = 0; k < args.inputs; k++)
        most = args.read[k] == READ_HELD ? k + 1 : most;
    return most;
}

/* The smallest kernel keeps most bytes under way: what is held takes registers, and so do results
 * that wait. The last number is the blocks that one multiprocessor shall hold, as many as registers
 * allow without spilling more than one. */
template <class T> int launch_any(const ed_cuda_chain *c, ed_stream stream)
{
    constexpr bool wide = sizeof(T) == 4;
    constexpr int few = wide ? 2 : 1, some_held = wide ? 8 : 5, all_held = wide ? 6 : 4;
    const chain_args args = args_of<T>(c);
    const int held = held_of(args), slots = c->program->slots;
    T *y = (T *)c->y;
    if (held <= 1 && slots == 0)
        return launch<T, 1, 0, 2 * few, 6>(args, y, stream);
    if (held <= 2 && slots == 0)
        return launch<T, 2, 0, few, 7>(args, y, stream);
    if (held <= 3 && slots == 0)
        return launch<T, 3, 0, few, 6>(args, y, stream);
    if (held <= 4 && slots <= 2)
        return launch<T, 4, 2, 1, some_held>(args, y, stream);
    return launch<T, MOST, ED_CHAIN_MAX_SLOTS, 1, all_held>(args, y, stream);
}
} // namespace

extern "C" int ed_cuda_chain_steps(const ed_cuda_chain *c, ed_stream stream)
{
    const int64_t n = ed_walk_numel(&c->walk);
    if (n <= 0)
        return 0;
    if (n > INT32_MAX)
        return (int)cudaErrorInvalidValue;
    const int fixed = ed_cuda_chain_fixed(c, stream);
    if (fixed >= 0)
        return fixed;
    return c->y_b16 ? launch_any<__nv_bfloat16>(c, stream) : launch_any<float>(c, stream);
}
