/*
 * Chains: a tree of elementwise nodes in one pass over memory, as the interpreter of a program
 * (ops/chain_program.h). All threads are at the same step, so that each decision is one branch for
 * a vector of elements; values between the steps are floats in registers, whatever the storage.
 */
#include "operand.cuh"
#include "posts.cuh"
#include "quantize.cuh"
#include "slopes.cuh"

namespace
{
enum { THREADS = 128, MOST = ED_CHAIN_MAX_INPUTS };

/* Elements of a vector of 16 bytes. */
template <class T> constexpr int lanes = 16 / (int)sizeof(T);

enum chain_read {
    READ_HELD,   /* lies as the output does, in its storage: loaded before the first step */
    READ_SCALAR, /* one element */
    READ_SPACE   /* by the space: repeats, lies otherwise, or is of the other storage */
};

struct chain_args {
    ed_chain_program program;
    const void *in[MOST];
    uint8_t read[MOST]; /* chain_read */
    bool b16[MOST];
    unsigned n; /* below 2^31 */
    ed_space<MOST> space;
};

/* ---- operands ---- */
/* Elements at to at + W of a dense tensor of n elements; zeros behind its end. */
template <int W, class T>
__device__ __forceinline__ ed_pack<T, W> load_dense(const T *p, unsigned at, unsigned n)
{
    ed_pack<T, W> pack;
    if (at + W <= n)
        return ed_load_pack<W>(p + at);
#pragma unroll
    for (int l = 0; l < W; l++)
        pack.v[l] = at + l < n ? p[at + l] : ed_narrow<T>(0.0f);
    return pack;
}

/* Input k for the elements at to at + W of the output. Only what is dense or apart may end within
 * these: else W divides n. */
template <int W, class T>
__device__ __forceinline__ ed_pack<T, W> load_space(const T *p, const chain_args &c, int k,
                                                    unsigned at)
{
    const int how = c.space.how[k];
    ed_pack<T, W> pack;
    if (how == ED_READ_DENSE)
        return load_dense<W>(p, at, c.n);
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
    float last[V * W], slot[S][V * W];

    __device__ __forceinline__ void hold(const chain_args &c)
    {
#pragma unroll
        for (int k = 0; k < K; k++) {
            if (k >= c.program.inputs || c.read[k] != READ_HELD)
                continue;
#pragma unroll
            for (int u = 0; u < V; u++)
                held[k][u] = load_dense<W>((const T *)c.in[k], at[u], c.n);
        }
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
            const float number = c.program.number[from - ED_CHAIN_NUMBER];
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
        for (int u = 0; u < V; u++) {
            ed_pack<T, W> out;
#pragma unroll
            for (int l = 0; l < W; l++)
                out.v[l] = ed_narrow<T>(last[u * W + l]);
            if (at[u] + W <= n)
                ed_store_pack<W>(y + at[u], out);
            else
#pragma unroll
                for (int l = 0; l < W; l++)
                    if (at[u] + l < n)
                        y[at[u] + l] = out.v[l];
        }
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

/* ---- steps ---- */
#define LANES(EXPR)                                                                                \
    _Pragma("unroll") for (int l = 0; l < N; l++)                                                  \
    {                                                                                              \
        const float x = a[l];                                                                      \
        y[l] = (EXPR);                                                                             \
    }                                                                                              \
    break

template <int N>
__device__ __forceinline__ void quantize(float (&y)[N], const float (&a)[N], const float (&b)[N],
                                         float lo, float hi)
{
    const ed_one_scale f = { b[0], lo, hi, 1.0 / (double)b[0] };
#pragma unroll
    for (int l = 0; l < N; l++)
        y[l] = f(a[l]);
}

/* `b` is what was quantized, with the scale c[0]. */
template <int N>
__device__ __forceinline__ void quantize_grad(float (&y)[N], const float (&a)[N],
                                              const float (&b)[N], const float (&c)[N], float lo,
                                              float hi)
{
#pragma unroll
    for (int l = 0; l < N; l++)
        y[l] = ed_quantize_grad(a[l], b[l], c[0], lo, hi);
}

/* The formulas of ops/chain_steps.c. */
template <int N>
__device__ __forceinline__ void apply(float (&y)[N], const ed_chain_step &step, const float (&a)[N],
                                      const float (&b)[N])
{
    const float p0 = step.p[0], p1 = step.p[1];
    switch (step.code) {
    case ED_CHAIN_ADD:
        LANES(x + b[l]);
    case ED_CHAIN_SUB:
        LANES(x - b[l]);
    case ED_CHAIN_MUL:
        LANES(x * b[l]);
    case ED_CHAIN_DIV:
        LANES(x / b[l]);
    case ED_CHAIN_MIN:
        LANES(x < b[l] || isnan(x) ? x : b[l]);
    case ED_CHAIN_MAX:
        LANES(x > b[l] || isnan(x) ? x : b[l]);
    case ED_CHAIN_NEG:
        LANES(-x);
    case ED_CHAIN_ABS:
        LANES(fabsf(x));
    case ED_CHAIN_RELU:
        LANES(ed_relu(x, 0.0f));
    case ED_CHAIN_LEAKY_RELU:
        LANES(x < 0.0f ? p0 * x : x);
    case ED_CHAIN_CLIP:
        LANES(ed_clip(x, p0, p1));
    case ED_CHAIN_SIGMOID:
        LANES(ed_sigmoid(x));
    case ED_CHAIN_TANH:
        LANES(tanhf(x));
    case ED_CHAIN_HARD_SIGMOID:
        LANES(ed_clip(p0 * x + p1, 0.0f, 1.0f));
    case ED_CHAIN_HARD_SWISH:
        LANES(ed_hard_swish(x));
    case ED_CHAIN_ERF:
        LANES(erff(x));
    case ED_CHAIN_GELU:
        LANES(ed_gelu(x));
    case ED_CHAIN_GELU_TANH:
        LANES(ed_gelu_tanh(x));
    case ED_CHAIN_EXP:
        LANES(expf(x));
    case ED_CHAIN_LOG:
        LANES(logf(x));
    case ED_CHAIN_SQRT:
        LANES(sqrtf(x));
    case ED_CHAIN_RECIPROCAL:
        LANES(1.0f / x);
    case ED_CHAIN_SQUARE:
        LANES(x * x);
    case ED_CHAIN_CUBE:
        LANES(x * x * x);
    case ED_CHAIN_ROOT_POWER: /* as map_root_power of unary.cu */
        LANES(x == -INFINITY ? INFINITY : sqrtf(x + 0.0f));
    case ED_CHAIN_POW:
        LANES(powf(x, b[l]));
    case ED_CHAIN_QUANTIZE:
        quantize(y, a, b, p0, p1);
        break;
    case ED_CHAIN_RELU_GRAD:
        LANES((ed_relu_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_LEAKY_RELU_GRAD:
        LANES((ed_leaky_relu_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_CLIP_GRAD:
        LANES((ed_clip_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_SIGMOID_GRAD:
        LANES((ed_sigmoid_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_HARD_SIGMOID_GRAD:
        LANES((ed_hard_sigmoid_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_HARD_SWISH_GRAD:
        LANES((ed_hard_swish_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_TANH_GRAD:
        LANES((ed_tanh_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_MISH_GRAD:
        LANES((ed_mish_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_ELU_GRAD:
        LANES((ed_elu_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_GELU_GRAD:
        LANES((ed_gelu_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_GELU_TANH_GRAD:
        LANES((ed_gelu_tanh_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_ERF_GRAD:
        LANES((ed_erf_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_ABS_GRAD:
        LANES((ed_abs_grad{ p0, p1 })(x, b[l]));
    default:
        break;
    }
}

/* ---- the kernel ---- */
/* A block takes V vectors for each of its threads: as many blocks as that needs, for the steps take
 * registers, and a grid of the size of the chip would end in a part of a wave. */
template <class T, int K, int S, int V>
__global__ void __launch_bounds__(THREADS) chain_kernel(T *y, const __grid_constant__ chain_args c)
{
    constexpr int W = lanes<T>;
    chain_thread<T, K, S, W, V> t;
#pragma unroll
    for (int u = 0; u < V; u++)
        t.at[u] = ((blockIdx.x * V + u) * THREADS + threadIdx.x) * W;
    t.hold(c);
#pragma unroll 1
    for (int s = 0; s < c.program.steps; s++) {
        const ed_chain_step &step = c.program.step[s];
        float a[V * W], b[V * W];
        t.pick(a, c, step.from[0]);
        if (step.from[1] != ED_CHAIN_NOTHING)
            t.pick(b, c, step.from[1]);
        if (step.code == ED_CHAIN_QUANTIZE_GRAD) {
            float scale[V * W];
            t.pick(scale, c, step.from[2]);
            quantize_grad(t.last, a, b, scale, step.p[0], step.p[1]);
        } else {
            apply(t.last, step, a, b);
        }
        t.keep(step.keep);
    }
    t.store(y, c.n);
}

/* ---- launchers ---- */
static bool is_scalar(const ed_walk *w, int operand)
{
    for (int d = 0; d < w->rank; d++)
        if (w->step[operand][d] != 0)
            return false;
    return true;
}

template <class T> chain_args args_of(const ed_cuda_chain *c)
{
    chain_args args = {};
    args.program = *c->program;
    args.n = (unsigned)ed_walk_numel(&c->walk);
    args.space = ed_space_of<MOST>(&c->walk, lanes<T>);
    for (int k = 0; k < c->program->inputs; k++) {
        const bool same = c->b16[k] == (sizeof(T) == 2);
        args.in[k] = c->in[k];
        args.b16[k] = c->b16[k];
        args.read[k] = is_scalar(&c->walk, k + 1)                   ? READ_SCALAR
                       : same && args.space.how[k] == ED_READ_DENSE ? READ_HELD
                                                                    : READ_SPACE;
    }
    return args;
}

template <class T, int K, int S, int V> int launch(const ed_cuda_chain *c, ed_stream stream)
{
    const chain_args args = args_of<T>(c);
    const unsigned each = V * lanes<T> * THREADS, blocks = (args.n - 1) / each + 1;
    chain_kernel<T, K, S, V><<<blocks, THREADS, 0, stream>>>((T *)c->y, args);
    return (int)cudaGetLastError();
}

/* The small kernels keep more threads under way. None of them spills registers. */
template <class T> int launch_any(const ed_cuda_chain *c, ed_stream stream)
{
    if (c->program->inputs <= 2 && c->program->slots <= 1)
        return launch < T, 2, 1, sizeof(T) == 4 ? 2 : 1 > (c, stream);
    if (c->program->inputs <= 4 && c->program->slots <= 2)
        return launch<T, 4, 2, 1>(c, stream);
    return launch<T, MOST, ED_CHAIN_MAX_SLOTS, 1>(c, stream);
}
} // namespace

extern "C" int ed_cuda_chain_steps(const ed_cuda_chain *c, ed_stream stream)
{
    const int64_t n = ed_walk_numel(&c->walk);
    if (n <= 0)
        return 0;
    if (n > INT32_MAX)
        return (int)cudaErrorInvalidValue;
    return c->y_b16 ? launch_any<__nv_bfloat16>(c, stream) : launch_any<float>(c, stream);
}
