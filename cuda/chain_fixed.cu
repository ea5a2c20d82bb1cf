/*
 * The most frequent chains as kernels of their own, without the interpreter's decisions: one row of
 * a table each. Tensors lie as the output does, in its storage.
 */
#include "chain_steps.cuh"

namespace
{
enum { MOST_STEPS = 3, MOST_TENSORS = 3 };

/* Operands: of a step before, tensors in the order in which the steps read them, a scale (a
 * constant, or in memory). */
enum from { NONE, LAST, X, Y, Z, SCALE };

struct fixed_step {
    ed_chain_code code;
    from a, b, c;
};

#define QUANTIZE(a)                                                                                \
    {                                                                                              \
        ED_CHAIN_QUANTIZE, a, NONE, SCALE                                                          \
    }
#define QUANTIZE_GRAD(a, b)                                                                        \
    {                                                                                              \
        ED_CHAIN_QUANTIZE_GRAD, a, b, SCALE                                                        \
    }
#define UNARY(code, a)                                                                             \
    {                                                                                              \
        ED_CHAIN_##code, a, NONE, NONE                                                             \
    }
#define BINARY(code, a, b)                                                                         \
    {                                                                                              \
        ED_CHAIN_##code, a, b, NONE                                                                \
    }

/* name, tensors, steps; of an ADD the result of the step before is the first operand */
#define PROGRAMS(ROW)                                                                              \
    ROW(relu_quantize, 1, UNARY(RELU, X), QUANTIZE(LAST))                                          \
    ROW(clip_quantize, 1, UNARY(CLIP, X), QUANTIZE(LAST))                                          \
    ROW(add_relu, 2, BINARY(ADD, X, Y), UNARY(RELU, LAST))                                         \
    ROW(add_quantize, 2, BINARY(ADD, X, Y), QUANTIZE(LAST))                                        \
    ROW(add_relu_quantize, 2, BINARY(ADD, X, Y), UNARY(RELU, LAST), QUANTIZE(LAST))                \
    ROW(back_quantize_relu, 2, QUANTIZE_GRAD(X, Y), BINARY(RELU_GRAD, LAST, Y))                    \
    ROW(back_quantize_clip, 2, QUANTIZE_GRAD(X, Y), BINARY(CLIP_GRAD, LAST, Y))                    \
    ROW(back_quantize_add, 3, QUANTIZE_GRAD(X, Y), BINARY(ADD, LAST, Z))                           \
    ROW(back_quantize_add_relu, 3, QUANTIZE_GRAD(X, Y), BINARY(ADD, LAST, Z),                      \
        BINARY(RELU_GRAD, LAST, Y))                                                                \
    ROW(back_add_quantize, 3, BINARY(ADD, X, Y), QUANTIZE_GRAD(LAST, Z))                           \
    ROW(back_add_quantize_relu, 3, BINARY(ADD, X, Y), QUANTIZE_GRAD(LAST, Z),                      \
        BINARY(RELU_GRAD, LAST, Z))

#define DEFINE(name, n, ...)                                                                       \
    struct name {                                                                                  \
        static constexpr int tensors = n;                                                          \
        static constexpr fixed_step step[] = { __VA_ARGS__ };                                      \
        static constexpr int steps = sizeof step / sizeof *step;                                   \
        static_assert(steps <= MOST_STEPS && tensors <= MOST_TENSORS, "what fixed_args holds");    \
    };
PROGRAMS(DEFINE)

struct fixed_args {
    const void *in[MOST_TENSORS];
    const void *scale[MOST_STEPS]; /* NULL: the number */
    float number[MOST_STEPS], p[MOST_STEPS][2];
    bool scale_b16[MOST_STEPS];
    unsigned n;
};

/* ---- the kernel ---- */
template <int S> __device__ __forceinline__ float scale_of(const fixed_args &c)
{
    if (!c.scale[S])
        return c.number[S];
    return c.scale_b16[S] ? ed_widen(*(const __nv_bfloat16 *)c.scale[S])
                          : *(const float *)c.scale[S];
}

/* V vectors of W elements of one tensor as floats. */
template <class T, int W, int V>
__device__ __forceinline__ void widen(float (&to)[V * W], const ed_pack<T, W> (&from)[V])
{
#pragma unroll
    for (int l = 0; l < V * W; l++)
        to[l] = ed_widen(from[l / W].v[l % W]);
}

template <class P, int S, class T, int W, int V>
__device__ __forceinline__ void
run_steps(float (&y)[V * W], const ed_pack<T, W> (&held)[P::tensors][V], const fixed_args &c)
{
    if constexpr (S < P::steps) {
        constexpr fixed_step now = P::step[S];
        ed_cuda_step step = {};
        float b[V * W], scale = 0.0f;
        step.code = now.code;
        step.p[0] = c.p[S][0];
        step.p[1] = c.p[S][1];
        if constexpr (now.a != LAST)
            widen<T, W, V>(y, held[now.a - X]);
        if constexpr (now.b != NONE)
            widen<T, W, V>(b, held[now.b - X]);
        if constexpr (now.c == SCALE)
            scale = scale_of<S>(c);
        ed_chain_apply(y, step, b, scale);
        run_steps<P, S + 1, T, W, V>(y, held, c);
    }
}

template <class P, class T, int V>
__global__ void __launch_bounds__(ED_CHAIN_THREADS)
    fixed_kernel(T *y, const __grid_constant__ fixed_args c)
{
    constexpr int W = ed_chain_lanes<T>;
    unsigned at[V];
    ed_pack<T, W> held[P::tensors][V];
    float last[V * W];
#pragma unroll
    for (int u = 0; u < V; u++)
        at[u] = ((blockIdx.x * V + u) * ED_CHAIN_THREADS + threadIdx.x) * W;
#pragma unroll
    for (int k = 0; k < P::tensors; k++)
        ed_load_all(held[k], (const T *)c.in[k], at, c.n);
    run_steps<P, 0, T, W, V>(last, held, c);
#pragma unroll
    for (int u = 0; u < V; u++)
        ed_store_dense<W>(y, last + u * W, at[u], c.n);
}

/* 64 bytes of one tensor or 32 of several are on their way to each thread; half of it in bfloat16,
 * whose floats take as many registers. */
template <class P, class T> int launch(T *y, const fixed_args &c, ed_stream stream)
{
    constexpr int V = (P::tensors == 1 ? 4 : 2) / (sizeof(T) == 2 ? 2 : 1);
    const unsigned each = V * ed_chain_lanes<T> * ED_CHAIN_THREADS, blocks = (c.n - 1) / each + 1;
    fixed_kernel<P, T, V><<<blocks, ED_CHAIN_THREADS, 0, stream>>>(y, c);
    return (int)cudaGetLastError();
}

/* ---- the table ---- */
struct fixed_program {
    const fixed_step *step;
    int steps;
    int (*f32)(float *y, const fixed_args &c, ed_stream stream);
    int (*b16)(__nv_bfloat16 *y, const fixed_args &c, ed_stream stream);
};

#define TABLE_ROW(name, n, ...)                                                                    \
    { name::step, name::steps, launch<name, float>, launch<name, __nv_bfloat16> },
const fixed_program programs[] = { PROGRAMS(TABLE_ROW) };

/* ---- is it this one? ---- */
struct match {
    const ed_cuda_chain *chain;
    fixed_args args;
    int input[MOST_TENSORS], tensors; /* which input each of the tensors is */
};

/* A tensor that lies as y does. */
bool is_dense(const ed_cuda_chain *c, int input)
{
    const ed_walk *w = &c->walk;
    for (int d = 0; d < w->rank; d++)
        if (w->step[input + 1][d] != w->step[0][d])
            return false;
    return c->b16[input] == c->y_b16;
}

bool takes_tensor(match *m, from want, int input)
{
    const int k = want - X;
    if (k > m->tensors || !is_dense(m->chain, input))
        return false;
    if (k == m->tensors) {
        m->input[m->tensors++] = input;
        m->args.in[k] = m->chain->in[input];
    }
    return m->input[k] == input;
}

bool takes_scale(match *m, int s, int from)
{
    const ed_cuda_chain *c = m->chain;
    if (from >= ED_CHAIN_NUMBER) {
        m->args.number[s] = c->program->number[from - ED_CHAIN_NUMBER];
        return true;
    }
    if (from < ED_CHAIN_INPUT || !ed_is_scalar(&c->walk, from - ED_CHAIN_INPUT + 1))
        return false;
    m->args.scale[s] = c->in[from - ED_CHAIN_INPUT];
    m->args.scale_b16[s] = c->b16[from - ED_CHAIN_INPUT];
    return true;
}

bool takes_operand(match *m, int s, from want, int from)
{
    if (want == SCALE)
        return takes_scale(m, s, from);
    if (want == NONE || want == LAST)
        return from == (want == LAST ? ED_CHAIN_LAST : ED_CHAIN_NOTHING);
    return from >= ED_CHAIN_INPUT && from < ED_CHAIN_NUMBER &&
           takes_tensor(m, want, from - ED_CHAIN_INPUT);
}

bool takes_step(match *m, const fixed_step &want, int s)
{
    const ed_chain_step step = ed_scale_last(m->chain->program->step[s]);
    const bool turn = step.code == ED_CHAIN_ADD && step.from[1] == ED_CHAIN_LAST;
    m->args.p[s][0] = step.p[0];
    m->args.p[s][1] = step.p[1];
    return step.code == want.code && step.keep == ED_CHAIN_NOTHING &&
           takes_operand(m, s, want.a, step.from[turn]) &&
           takes_operand(m, s, want.b, step.from[!turn]) &&
           takes_operand(m, s, want.c, step.from[2]);
}
} // namespace

extern "C" int ed_cuda_chain_fixed(const ed_cuda_chain *c, ed_stream stream)
{
    for (const fixed_program &p : programs) {
        match m = {};
        int s = 0;
        m.chain = c;
        m.args.n = (unsigned)ed_walk_numel(&c->walk);
        while (s < p.steps && p.steps == c->program->steps && takes_step(&m, p.step[s], s))
            s++;
        if (s == p.steps)
            return c->y_b16 ? p.b16((__nv_bfloat16 *)c->y, m.args, stream)
                            : p.f32((float *)c->y, m.args, stream);
    }
    return -1;
}
