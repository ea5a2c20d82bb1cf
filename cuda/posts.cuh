/* Activations that follow a product or stand alone, with the reference kernels' treatment of NaN,
 * infinity and the sign of zero. */
#ifndef CUDA_POSTS_CUH
#define CUDA_POSTS_CUH

#include "launch.cuh"

/* y < 0 ? a y : y, where a = 0 gives +0 also of -infinity */
__device__ __forceinline__ float ed_relu(float y, float a)
{
    return y < 0.0f ? (a == 0.0f ? 0.0f : a * y) : y;
}

/* A bound that is NaN limits nothing; a NaN in y passes. */
__device__ __forceinline__ float ed_clip(float y, float lo, float hi)
{
    y = y < lo ? lo : y;
    return y > hi ? hi : y;
}

__device__ __forceinline__ float ed_sigmoid(float y)
{
    return 1.0f / (1.0f + expf(-y));
}

__device__ __forceinline__ float ed_hard_swish(float y)
{
    return y * ed_clip(y / 6.0f + 0.5f, 0.0f, 1.0f);
}

/* erfc keeps the digits of large negative numbers. */
__device__ __forceinline__ float ed_gelu(float y)
{
    return 0.5f * y * erfcf(-0.707106781f * y);
}

/* (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) */
__device__ __forceinline__ float ed_gelu_tanh(float y)
{
    const float u = 0.797884561f * (y + 0.044715f * (y * y) * y); /* sqrt(2 / pi) */
    return y / (1.0f + expf(-2.0f * u));
}

#define ED_POST_LANES(EXPR)                                                                        \
    _Pragma("unroll") for (int l = 0; l < N; l++) y[l] = (EXPR);                                   \
    break

/* N numbers behind one decision about the kind; ADD and SUM, which read memory, leave y alone. */
template <int N>
__device__ __forceinline__ void ed_apply_post(int kind, float a, float b, float (&y)[N])
{
    switch (kind) {
    case ED_CUDA_POST_RELU:
        ED_POST_LANES(ed_relu(y[l], a));
    case ED_CUDA_POST_CLIP:
        ED_POST_LANES(ed_clip(y[l], a, b));
    case ED_CUDA_POST_LINEAR:
        ED_POST_LANES(a * y[l] + b);
    case ED_CUDA_POST_SIGMOID:
        ED_POST_LANES(ed_sigmoid(y[l]));
    case ED_CUDA_POST_TANH:
        ED_POST_LANES(tanhf(y[l]));
    case ED_CUDA_POST_SWISH:
        ED_POST_LANES(y[l] / (1.0f + expf(-y[l])));
    case ED_CUDA_POST_HARDSWISH:
        ED_POST_LANES(ed_hard_swish(y[l]));
    case ED_CUDA_POST_GELU:
        ED_POST_LANES(ed_gelu(y[l]));
    case ED_CUDA_POST_GELU_TANH:
        ED_POST_LANES(ed_gelu_tanh(y[l]));
    default:
        break;
    }
}

__device__ __forceinline__ float ed_apply_post(int kind, float a, float b, float y)
{
    float one[1] = { y };
    ed_apply_post<1>(kind, a, b, one);
    return one[0];
}

#endif
