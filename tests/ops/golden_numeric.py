"""Numeric operators in NumPy, from the ONNX specification; see golden_ops.py."""

import math

import numpy as np

from golden_ops import op

wide_erf = np.vectorize(math.erf, otypes=[np.float64])
wide_erfc = np.vectorize(math.erfc, otypes=[np.float64])


# ---- one number ----
def of_double(name, fn):
    op(name)(lambda x, attrs, opset: fn(x[0].astype(np.float64)))


for name, fn in (("Erf", wide_erf), ("Exp", np.exp), ("Log", np.log), ("Sqrt", np.sqrt), ("Ceil", np.ceil),
                 ("Floor", np.floor), ("Reciprocal", lambda x: 1 / x), ("Softplus", lambda x: np.logaddexp(x, 0))):
    of_double(name, fn)
for name, fn in (("Sin", np.sin), ("Cos", np.cos), ("Tan", np.tan), ("Asin", np.arcsin), ("Acos", np.arccos),
                 ("Atan", np.arctan), ("Sinh", np.sinh), ("Cosh", np.cosh), ("Asinh", np.arcsinh),
                 ("Acosh", np.arccosh), ("Atanh", np.arctanh), ("Round", np.rint), ("Sign", np.sign)):
    of_double(name, fn)


@op("Abs")
def absolute(x, attrs, opset):
    return np.abs(x[0])


@op("Neg")
def neg(x, attrs, opset):
    return -x[0]


@op("Gelu")
def gelu(x, attrs, opset):
    wide = x[0].astype(np.float64)
    if attrs.get("approximate", "none") == "tanh":
        return 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return 0.5 * wide * wide_erfc(-wide / math.sqrt(2))


@op("Elu")
def elu(x, attrs, opset):
    wide = x[0].astype(np.float64)
    return np.where(wide < 0, np.float32(attrs.get("alpha", 1.0)) * np.expm1(wide), wide)


@op("PRelu")
def prelu(x, attrs, opset):
    return np.where(x[0] < 0, x[0] * x[1], x[0])


@op("Cast")
def cast(x, attrs, opset):
    kinds = {1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8", 12: "u4", 13: "u8"}
    return x[0].astype(kinds[attrs["to"]])


# ---- two numbers and more ----
@op("CastLike")
def cast_like(x, attrs, opset):
    return x[0].astype(x[1].dtype)


@op("Sum")
def total(x, attrs, opset):
    return sum(x[1:], x[0])


@op("Pow")
def power(x, attrs, opset):
    a, b = np.broadcast_arrays(x[0].astype(np.float64), x[1].astype(np.float64))
    y = np.power(a, b.copy())  # of a single exponent 0.5 NumPy takes the root, which differs at -inf
    return y if x[0].dtype == np.float32 else np.trunc(y).astype(x[0].dtype)


@op("Mod")
def mod(x, attrs, opset):
    return np.fmod(x[0], x[1]) if attrs.get("fmod") else np.mod(x[0], x[1])


@op("Min")
def least(x, attrs, opset):
    y = x[0]
    for other in x[1:]:
        y = np.minimum(y, other)
    return y


@op("Max")
def largest(x, attrs, opset):
    y = x[0]
    for other in x[1:]:
        y = np.maximum(y, other)
    return y


def of_two(name, fn):
    op(name)(lambda x, attrs, opset: fn(x[0], x[1]))


for name, fn in (("Equal", np.equal), ("Greater", np.greater), ("Less", np.less), ("GreaterOrEqual", np.greater_equal),
                 ("LessOrEqual", np.less_equal), ("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor)):
    of_two(name, fn)


@op("Not")
def logical_not(x, attrs, opset):
    return ~x[0]


@op("Where")
def where(x, attrs, opset):
    return np.where(x[0], x[1], x[2])


# ---- normalization ----
def normalized(wide, axes, epsilon):
    """The normalized input, its mean and 1 / deviation."""
    if wide.size == 0:
        return wide, wide, wide
    mean = wide.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(((wide - mean) ** 2).mean(axes, keepdims=True) + np.float32(epsilon))
    return (wide - mean) * inverse, mean, inverse


@op("LayerNormalization")
def layer_normalization(x, attrs, opset):
    wide, axis = x[0].astype(np.float64), attrs.get("axis", -1)
    axes = tuple(range(axis % wide.ndim, wide.ndim))
    y, mean, inverse = normalized(wide, axes, attrs.get("epsilon", 1e-5))
    y = y * x[1] + (x[2] if len(x) > 2 and x[2] is not None else 0)
    return y, mean, inverse


@op("InstanceNormalization")
def instance_normalization(x, attrs, opset):
    axes = tuple(range(2, x[0].ndim))
    y = normalized(x[0].astype(np.float64), axes, attrs.get("epsilon", 1e-5))[0]
    scale, b = (v.reshape([-1] + [1] * len(axes)) for v in x[1:])
    return y * scale + b


@op("GroupNormalization")
def group_normalization(x, attrs, opset):
    groups, shape = attrs["num_groups"], x[0].shape
    grouped = x[0].astype(np.float64).reshape(shape[0], groups, math.prod(shape[1:]) // groups)
    y = normalized(grouped, (2,), attrs.get("epsilon", 1e-5))[0].reshape(shape)
    repeats = shape[1] // groups if opset < 21 else 1
    scale, b = (np.repeat(v, repeats).reshape([-1] + [1] * (len(shape) - 2)) for v in x[1:])
    return y * scale + b


@op("LogSoftmax")
def log_softmax(x, attrs, opset):
    axis = attrs.get("axis", 1 if opset < 13 else -1)
    shape, wide = x[0].shape, x[0].astype(np.float64)
    if wide.size == 0:
        return x[0]
    if opset < 13:
        wide, axis = wide.reshape(math.prod(shape[: axis % len(shape)]), -1), 1
    shifted = wide - wide.max(axis, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))).reshape(shape)


# ---- reductions ----
def reduction(name, fn, attribute_until):
    def golden(x, attrs, opset):
        listed = x[1].tolist() if len(x) > 1 and x[1] is not None else None
        axes = attrs.get("axes") if opset <= attribute_until else listed
        none = () if attrs.get("noop_with_empty_axes") else tuple(range(x[0].ndim))
        axes = tuple({a % x[0].ndim for a in axes}) if axes else none
        wide = x[0].astype(np.float64) if x[0].dtype.kind == "f" else x[0]
        return np.asarray(fn(wide, axis=axes, keepdims=bool(attrs.get("keepdims", 1)))).astype(x[0].dtype)

    op(name)(golden)


reduction("ReduceSum", np.sum, 12)
reduction("ReduceMax", np.max, 17)
reduction("ReduceMin", np.min, 17)
reduction("ReduceProd", np.prod, 17)
reduction("ReduceL2", lambda x, **kw: np.sqrt((x.astype(np.float64) ** 2).sum(**kw)), 17)
reduction("ReduceL1", lambda x, **kw: np.abs(x).sum(**kw), 17)
reduction("ReduceSumSquare", lambda x, **kw: (x * x).sum(**kw), 17)


def arg_reduction(name, fn):
    def golden(x, attrs, opset):
        axis, data = attrs.get("axis", 0), x[0]
        if attrs.get("select_last_index"):
            y = data.shape[axis] - 1 - fn(np.flip(data, axis), axis)
        else:
            y = fn(data, axis)
        return (np.expand_dims(y, axis) if attrs.get("keepdims", 1) else np.asarray(y)).astype(np.int64)

    op(name)(golden)


arg_reduction("ArgMax", np.argmax)
arg_reduction("ArgMin", np.argmin)


@op("CumSum")
def cumsum(x, attrs, opset):
    axis = int(x[1].ravel()[0])
    data = x[0].astype(np.float64) if x[0].dtype.kind == "f" else x[0]
    data = np.flip(data, axis) if attrs.get("reverse") else data
    y = np.cumsum(data, axis, dtype=data.dtype)
    y = y - data if attrs.get("exclusive") else y
    return np.flip(y, axis) if attrs.get("reverse") else y
