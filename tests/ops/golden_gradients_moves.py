"""Gradients of operators that move elements, pool and normalize, in NumPy; see golden_ops.py."""

import numpy as np

from golden_ops import Window, inside, op
from golden_resize import Resampling


@op("ed::GatherGrad")
def gather_grad(x, attrs, opset):
    shape, axis = attrs["input_shape"], attrs.get("axis", 0) % len(attrs["input_shape"])
    dx = np.zeros(shape)
    rows = np.moveaxis(x[0], range(axis, axis + x[1].ndim), range(x[1].ndim))
    np.add.at(np.moveaxis(dx, axis, 0), x[1], rows)
    return dx


def windows(x, attrs):
    """Of each output position its place, the places of its taps inside, and what an average divides by."""
    dims = x.shape[2:]
    window = Window(attrs, dims)
    padded = [n + e for n, e in zip(dims, window.end)]
    for position in np.ndindex(*window.outputs(dims, bool(attrs.get("ceil_mode", 0)))):
        places = [window.place(position, tap) for tap in window.taps()]
        taps = [tuple(at) for at in places if inside(at, dims)]
        count = len(taps)
        if attrs.get("count_include_pad"):
            count = sum(all(-b <= i < n for i, b, n in zip(at, window.begin, padded)) for at in places)
        yield position, taps, count


@op("ed::MaxPoolGrad")
def max_pool_grad(x, attrs, opset):
    dy, data = x
    dx = np.zeros(data.shape)
    for position, taps, _ in windows(data, attrs):
        for n, c in np.ndindex(*data.shape[:2]) if taps else ():
            values = np.array([data[(n, c, *at)] for at in taps])
            dx[(n, c, *taps[np.argmax(values)])] += dy[(n, c, *position)]  # the first NaN, where there is one
    return dx


@op("ed::AveragePoolGrad")
def average_pool_grad(x, attrs, opset):
    dy, data = x
    dx = np.zeros(data.shape)
    for position, taps, count in windows(data, attrs):
        for at in taps:
            dx[(slice(None), slice(None), *at)] += dy[(slice(None), slice(None), *position)].astype(np.float64) / count
    return dx


@op("ed::LayerNormalizationGrad")
def layer_normalization_grad(x, attrs, opset):
    dy, data = x[0].astype(np.float64), x[1].astype(np.float64)
    axis = attrs.get("axis", -1) % data.ndim
    inner = tuple(range(axis, data.ndim))
    scale = x[2] if len(x) > 2 else np.ones(data.shape[axis:], np.float32)
    centred = data - data.mean(inner, keepdims=True)
    inverse = 1 / np.sqrt((centred**2).mean(inner, keepdims=True) + np.float32(attrs.get("epsilon", 1e-5)))
    normal, g = centred * inverse, dy * scale
    dx = inverse * (g - g.mean(inner, keepdims=True) - normal * (g * normal).mean(inner, keepdims=True))
    outer = tuple(range(axis))
    return dx, (dy * normal).sum(outer).reshape(scale.shape), dy.sum(outer).reshape(scale.shape)


@op("ed::ResizeGrad")
def resize_grad(x, attrs, opset):
    dx, shape, axes = x[0].astype(np.float64), attrs["input_shape"], attrs["axes"]
    resampling = Resampling.__new__(Resampling)  # its weights alone; the sizes are given
    resampling.attrs, resampling.mode = attrs, attrs.get("mode", "nearest")
    resampling.where = attrs.get("coordinate_transformation_mode", "half_pixel")
    resampling.nearest = attrs.get("nearest_mode", "round_prefer_floor")
    roi = np.reshape(attrs.get("roi", [0.0] * len(axes) + [1.0] * len(axes)), (2, -1)).astype(np.float32)
    for i, axis in enumerate(axes):
        n, out = shape[axis], dx.shape[axis]
        rows = [resampling.weights(o, n, out, np.float32(attrs["scales"][i]), roi[:, i]) for o in range(out)]
        matrix = np.array([np.zeros(n) if row is None else row for row in rows]).reshape(out, n)
        dx = np.moveaxis(np.tensordot(dx, matrix, (axis, 0)), -1, axis)
    return dx
