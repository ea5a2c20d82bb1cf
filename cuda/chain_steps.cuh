/* What the kernels of chains share: vectors of the operands, and the steps. */
#ifndef CUDA_CHAIN_STEPS_CUH
#define CUDA_CHAIN_STEPS_CUH

#include "operand.cuh"
#include "posts.cuh"
#include "quantize.cuh"
#include "slopes.cuh"

enum { ED_CHAIN_THREADS = 128 };

/* Elements of a vector of 16 bytes. */
template <class T> constexpr int ed_chain_lanes = 16 / (int)sizeof(T);

/* Loaded by one access. A scale is operand c. */
struct alignas(16) ed_cuda_step : ed_chain_step {
};

/* The step with its scale as operand c. */
static inline ed_chain_step ed_scale_last(ed_chain_step step)
{
    if (step.code == ED_CHAIN_QUANTIZE) {
        step.from[2] = step.from[1];
        step.from[1] = ED_CHAIN_NOTHING;
    }
    return step;
}

/* Operand of the walk: one element for all. */
static inline bool ed_is_scalar(const ed_walk *w, int operand)
{
    for (int d = 0; d < w->rank; d++)
        if (w->step[operand][d] != 0)
            return false;
    return true;
}

/* Elements at to at + W of a dense tensor of n elements; zeros behind its end. */
template <int W, class T>
__device__ __forceinline__ ed_pack<T, W> ed_load_dense(const T *p, unsigned at, unsigned n)
{
    ed_pack<T, W> pack;
    if (at + W <= n)
        return ed_load_pack<W>(p + at);
#pragma unroll
    for (int l = 0; l < W; l++)
        pack.v[l] = at + l < n ? p[at + l] : ed_narrow<T>(0.0f);
    return pack;
}

/* The same for V vectors, the last of which is the farthest: without a decision between the loads
 * for all blocks but the last. */
template <int W, int V, class T>
__device__ __forceinline__ void ed_load_all(ed_pack<T, W> (&held)[V], const T *p,
                                            const unsigned (&at)[V], unsigned n)
{
    if (at[V - 1] - threadIdx.x * W + ED_CHAIN_THREADS * W <= n) {
#pragma unroll
        for (int u = 0; u < V; u++)
            held[u] = ed_load_pack<W>(p + at[u]);
        return;
    }
#pragma unroll
    for (int u = 0; u < V; u++)
        held[u] = ed_load_dense<W>(p, at[u], n);
}

/* W floats to elements at to at + W, as far as there are n. */
template <int W, class T>
__device__ __forceinline__ void ed_store_dense(T *y, const float *v, unsigned at, unsigned n)
{
    ed_pack<T, W> out;
#pragma unroll
    for (int l = 0; l < W; l++)
        out.v[l] = ed_narrow<T>(v[l]);
    if (at + W <= n)
        ed_store_pack<W>(y + at, out);
    else
#pragma unroll
        for (int l = 0; l < W; l++)
            if (at + l < n)
                y[at + l] = out.v[l];
}

/* ---- steps ---- */
#define ED_CHAIN_STEP(EXPR)                                                                        \
    _Pragma("unroll") for (int l = 0; l < N; l++)                                                  \
    {                                                                                              \
        const float x = y[l];                                                                      \
        y[l] = (EXPR);                                                                             \
    }                                                                                              \
    break

/* y is operand a and the result. The formulas of ops/chain_steps.c. */
template <int N>
__device__ __forceinline__ void ed_chain_apply(float (&y)[N], const ed_cuda_step &step,
                                               const float (&b)[N], float scale)
{
    const float p0 = step.p[0], p1 = step.p[1];
    switch (step.code) {
    case ED_CHAIN_ADD:
        ED_CHAIN_STEP(x + b[l]);
    case ED_CHAIN_SUB:
        ED_CHAIN_STEP(x - b[l]);
    case ED_CHAIN_MUL:
        ED_CHAIN_STEP(x * b[l]);
    case ED_CHAIN_DIV:
        ED_CHAIN_STEP(x / b[l]);
    case ED_CHAIN_MIN:
        ED_CHAIN_STEP(x < b[l] || isnan(x) ? x : b[l]);
    case ED_CHAIN_MAX:
        ED_CHAIN_STEP(x > b[l] || isnan(x) ? x : b[l]);
    case ED_CHAIN_NEG:
        ED_CHAIN_STEP(-x);
    case ED_CHAIN_ABS:
        ED_CHAIN_STEP(fabsf(x));
    case ED_CHAIN_RELU:
        ED_CHAIN_STEP(ed_relu(x, 0.0f));
    case ED_CHAIN_LEAKY_RELU:
        ED_CHAIN_STEP(x < 0.0f ? p0 * x : x);
    case ED_CHAIN_CLIP:
        ED_CHAIN_STEP(ed_clip(x, p0, p1));
    case ED_CHAIN_SIGMOID:
        ED_CHAIN_STEP(ed_sigmoid(x));
    case ED_CHAIN_TANH:
        ED_CHAIN_STEP(tanhf(x));
    case ED_CHAIN_HARD_SIGMOID:
        ED_CHAIN_STEP(ed_clip(p0 * x + p1, 0.0f, 1.0f));
    case ED_CHAIN_HARD_SWISH:
        ED_CHAIN_STEP(ed_hard_swish(x));
    case ED_CHAIN_ERF:
        ED_CHAIN_STEP(erff(x));
    case ED_CHAIN_GELU:
        ED_CHAIN_STEP(ed_gelu(x));
    case ED_CHAIN_GELU_TANH:
        ED_CHAIN_STEP(ed_gelu_tanh(x));
    case ED_CHAIN_EXP:
        ED_CHAIN_STEP(expf(x));
    case ED_CHAIN_LOG:
        ED_CHAIN_STEP(logf(x));
    case ED_CHAIN_SQRT:
        ED_CHAIN_STEP(sqrtf(x));
    case ED_CHAIN_RECIPROCAL:
        ED_CHAIN_STEP(1.0f / x);
    case ED_CHAIN_SQUARE:
        ED_CHAIN_STEP(x * x);
    case ED_CHAIN_CUBE:
        ED_CHAIN_STEP(x * x * x);
    case ED_CHAIN_ROOT_POWER: /* as map_root_power of unary.cu */
        ED_CHAIN_STEP(x == -INFINITY ? INFINITY : sqrtf(x + 0.0f));
    case ED_CHAIN_POW:
        ED_CHAIN_STEP(powf(x, b[l]));
    case ED_CHAIN_QUANTIZE: {
        const ed_one_scale f = { scale, p0, p1, 1.0 / (double)scale };
        ED_CHAIN_STEP(f(x));
    }
    case ED_CHAIN_RELU_GRAD:
        ED_CHAIN_STEP(ed_relu_grad()(x, b[l]));
    case ED_CHAIN_LEAKY_RELU_GRAD:
        ED_CHAIN_STEP(ed_leaky_relu_grad{ p0 }(x, b[l]));
    case ED_CHAIN_CLIP_GRAD:
        ED_CHAIN_STEP((ed_clip_grad{ p0, p1 })(x, b[l]));
    case ED_CHAIN_SIGMOID_GRAD:
        ED_CHAIN_STEP(ed_sigmoid_grad()(x, b[l]));
    case ED_CHAIN_HARD_SIGMOID_GRAD:
        ED_CHAIN_STEP(ed_hard_sigmoid_grad{ p0 }(x, b[l]));
    case ED_CHAIN_HARD_SWISH_GRAD:
        ED_CHAIN_STEP(ed_hard_swish_grad()(x, b[l]));
    case ED_CHAIN_TANH_GRAD:
        ED_CHAIN_STEP(ed_tanh_grad()(x, b[l]));
    case ED_CHAIN_MISH_GRAD:
        ED_CHAIN_STEP(ed_mish_grad()(x, b[l]));
    case ED_CHAIN_ELU_GRAD:
        ED_CHAIN_STEP(ed_elu_grad{ p0 }(x, b[l]));
    case ED_CHAIN_GELU_GRAD:
        ED_CHAIN_STEP(ed_gelu_grad()(x, b[l]));
    case ED_CHAIN_GELU_TANH_GRAD:
        ED_CHAIN_STEP(ed_gelu_tanh_grad()(x, b[l]));
    case ED_CHAIN_ERF_GRAD:
        ED_CHAIN_STEP(ed_erf_grad()(x, b[l]));
    case ED_CHAIN_ABS_GRAD:
        ED_CHAIN_STEP(ed_abs_grad()(x, b[l]));
    case ED_CHAIN_QUANTIZE_GRAD: {
        const ed_one_scale f = { scale, p0, p1, 1.0 / (double)scale };
        ED_CHAIN_STEP(f.gradient(x, b[l]));
    }
    default:
        break;
    }
}
#undef ED_CHAIN_STEP

#endif
