"""The gradient operators of domain "ed" in NumPy."""

import math

import numpy as np

from golden_ops import op

erfc = np.vectorize(math.erfc, otypes=[np.float64])


def wide(t):
    return t.astype(np.float64)


def slope(attrs, name, preset):
    return np.float64(np.float32(attrs.get(name, preset)))


# ---- functions of one number ----
@op("ed::ReluGrad")
def relu_grad(x, attrs, opset):
    return np.where(x[1] > 0, x[0], np.float32(0))


@op("ed::LeakyReluGrad")
def leaky_relu_grad(x, attrs, opset):
    return x[0] * np.where(x[1] > 0, 1, slope(attrs, "alpha", 0.01))


@op("ed::ClipGrad")
def clip_grad(x, attrs, opset):
    low, high = np.finfo(np.float32).min, np.finfo(np.float32).max
    low, high = np.float32(attrs.get("min", low)), np.float32(attrs.get("max", high))
    low = x[2] if len(x) > 2 and x[2] is not None else low
    high = x[3] if len(x) > 3 and x[3] is not None else high
    blocked = ((x[1] <= low) & ~np.isneginf(low)) | ((x[1] >= high) & ~np.isposinf(high))
    return np.where(blocked | np.isnan(x[1]), np.float32(0), x[0])


@op("ed::SigmoidGrad")
def sigmoid_grad(x, attrs, opset):
    return x[0] * (wide(x[1]) * (1 - wide(x[1])))


@op("ed::HardSigmoidGrad")
def hard_sigmoid_grad(x, attrs, opset):
    return x[0] * np.where((x[1] > 0) & (x[1] < 1), slope(attrs, "alpha", 0.2), 0)


@op("ed::HardSwishGrad")
def hard_swish_grad(x, attrs, opset):
    return x[0] * np.where(x[1] <= -3, 0, np.where(x[1] >= 3, 1, wide(x[1]) / 3 + 0.5))


@op("ed::TanhGrad")
def tanh_grad(x, attrs, opset):
    return x[0] * (1 - wide(x[1]) ** 2)


@op("ed::MishGrad")
def mish_grad(x, attrs, opset):
    v = np.clip(wide(x[1]), -200, 200)
    t = np.tanh(np.logaddexp(0, v))
    return x[0] * (t + v * (1 - t * t) / (1 + np.exp(-v)))


@op("ed::EluGrad")
def elu_grad(x, attrs, opset):
    return x[0] * np.where(x[1] > 0, 1, slope(attrs, "alpha", 1) * np.exp(np.minimum(wide(x[1]), 0)))


@op("ed::GeluGrad")
def gelu_grad(x, attrs, opset):
    v = np.clip(wide(x[1]), -100, 100)
    if attrs.get("approximate") == "tanh":
        root = math.sqrt(2 / math.pi)
        t = np.tanh(root * (v + 0.044715 * v**3))
        return x[0] * ((1 + t) / 2 + v / 2 * (1 - t * t) * root * (1 + 3 * 0.044715 * v * v))
    return x[0] * (erfc(-v / math.sqrt(2)) / 2 + v * np.exp(-v * v / 2) / math.sqrt(2 * math.pi))


@op("ed::ErfGrad")
def erf_grad(x, attrs, opset):
    return x[0] * (2 / math.sqrt(math.pi) * np.exp(-(wide(x[1]) ** 2)))


@op("ed::AbsGrad")
def abs_grad(x, attrs, opset):
    return x[0] * np.where(x[1] > 0, 1, np.where(x[1] < 0, -1, 0))


# ---- FakeQuantize ----
def quantized(x, attrs):
    """x / scale, the same rounded, and the range, in float64 from the float32 quotient; NaN is below."""
    axis, low, high = attrs.get("axis", -1), attrs.get("qmin", -128), attrs.get("qmax", 127)
    shape = [-1 if i == axis else 1 for i in range(x[0].ndim)] if axis >= 0 else []
    zero_point = wide(x[2]).reshape(shape) if len(x) > 2 and x[2] is not None else 0.0
    ratio = wide(x[0] / x[1].reshape(shape))
    ratio = np.where(np.isnan(ratio), -np.inf, ratio)
    return ratio, np.rint(ratio), low - zero_point, high - zero_point


@op("ed::FakeQuantizeGrad")
def fake_quantize_grad(x, attrs, opset):
    _, r, low, high = quantized(x[1:], attrs)
    return np.where((r >= low) & (r <= high), x[0], np.float32(0))


@op("ed::FakeQuantizeScaleGrad")
def fake_quantize_scale_grad(x, attrs, opset):
    ratio, r, low, high = quantized(x[1:], attrs)
    terms = x[0] * np.where(r < low, low, np.where(r > high, high, r - ratio))
    axis = attrs.get("axis", -1)
    return terms.sum(tuple(i for i in range(terms.ndim) if i != axis)).reshape(x[2].shape)


# ---- Softmax ----
def rows(t, attrs):
    """The tensor and the axes that the sum goes over."""
    axis = attrs.get("axis", -1) % t.ndim
    return wide(t), tuple(range(axis, t.ndim)) if attrs.get("flatten") else axis


@op("ed::SoftmaxGrad")
def softmax_grad(x, attrs, opset):
    (dy, axes), y = rows(x[0], attrs), wide(x[1])
    return y * (dy - (dy * y).sum(axes, keepdims=True))


@op("ed::LogSoftmaxGrad")
def log_softmax_grad(x, attrs, opset):
    (dy, axes), y = rows(x[0], attrs), wide(x[1])
    return dy - np.exp(y) * dy.sum(axes, keepdims=True)


# ---- reductions ----
@op("ed::ReduceProdGrad")
def reduce_prod_grad(x, attrs, opset):
    """The product of the other elements, each by itself."""
    axes = attrs.get("axes") or range(x[1].ndim)
    axes = sorted(a % x[1].ndim for a in axes)
    kept = [i for i in range(x[1].ndim) if i not in axes]
    order = kept + axes
    moved = wide(x[1]).transpose(order)
    sizes = moved.shape[len(kept) :]
    flat = moved.reshape(moved.shape[: len(kept)] + (int(np.prod(sizes)),))
    n = flat.shape[-1]
    others = [np.delete(flat, k, axis=-1).prod(-1) for k in range(n)]
    others = np.stack(others, -1) if n else np.zeros(flat.shape)
    return x[0] * others.reshape(moved.shape).transpose(np.argsort(order))
