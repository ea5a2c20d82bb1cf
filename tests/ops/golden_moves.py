"""Shapes, parts, places and Einsum in NumPy; see golden_ops.py."""

import math

import numpy as np

from golden_ops import op


# ---- shapes as tensors ----
def listed(x, i):
    """Input i as a list of integers, None when it is omitted."""
    return [int(v) for v in x[i].ravel()] if len(x) > i and x[i] is not None else None


@op("Shape")
def shape_of(x, attrs, opset):
    return np.array(x[0].shape, np.int64)[attrs.get("start", 0) : attrs.get("end")]


@op("Size")
def size_of(x, attrs, opset):
    return np.array(x[0].size, np.int64)


@op("ConstantOfShape")
def constant_of_shape(x, attrs, opset):
    value = attrs.get("value", np.zeros(1, np.float32))
    return np.full(x[0].tolist(), value.ravel()[0], value.dtype)


@op("Range")
def range_of(x, attrs, opset):
    start, limit, delta = (v.item() for v in x)
    return (start + np.arange(max(math.ceil((limit - start) / delta), 0)) * delta).astype(x[0].dtype)


# ---- parts and repetitions ----
@op("Slice")
def slice_of(x, attrs, opset):
    if opset < 10:
        starts, ends, axes, steps = attrs["starts"], attrs["ends"], attrs.get("axes"), None
    else:
        starts, ends, axes, steps = (listed(x, i) for i in (1, 2, 3, 4))
    where = [slice(None)] * x[0].ndim
    for i, axis in enumerate(axes or range(len(starts))):
        step = steps[i] if steps else 1
        end = None if step < 0 and ends[i] < -x[0].shape[axis] else ends[i]  # an end before the first element
        where[axis] = slice(starts[i], end, step)
    return x[0][tuple(where)]


@op("Split")
def split(x, attrs, opset):
    axis, n = attrs.get("axis", 0), attrs["outputs"]
    sizes = attrs.get("split") or listed(x, 1)
    if not sizes:
        sizes = [-(-x[0].shape[axis] // n)] * n
    return np.split(x[0], np.cumsum(sizes)[:-1], axis)


@op("Squeeze")
def squeeze(x, attrs, opset):
    axes = attrs.get("axes") if opset < 13 else listed(x, 1)
    return np.squeeze(x[0], None if axes is None else tuple(axes))


@op("Unsqueeze")
def unsqueeze(x, attrs, opset):
    return np.expand_dims(x[0], tuple(attrs["axes"] if opset < 13 else listed(x, 1)))


@op("Expand")
def expand(x, attrs, opset):
    return np.broadcast_to(x[0], np.broadcast_shapes(x[0].shape, tuple(listed(x, 1))))


@op("Tile")
def tile(x, attrs, opset):
    return np.tile(x[0], listed(x, 1)) if x[0].ndim else x[0]


# ---- indices ----
@op("Gather")
def gather(x, attrs, opset):
    return np.take(x[0], x[1], axis=attrs.get("axis", 0))


@op("GatherElements")
def gather_elements(x, attrs, opset):
    axis = attrs.get("axis", 0)
    y = np.zeros(x[1].shape, x[0].dtype)
    for at in np.ndindex(*x[1].shape):
        source = list(at)
        source[axis] = x[1][at]
        y[at] = x[0][tuple(source)]
    return y


@op("GatherND")
def gather_nd(x, attrs, opset):
    batch = attrs.get("batch_dims", 0)
    y = [x[0][at[:batch] + tuple(x[1][at])] for at in np.ndindex(*x[1].shape[:-1])]
    tail = x[0].shape[batch + x[1].shape[-1] :]
    return np.array(y, x[0].dtype).reshape(x[1].shape[:-1] + tail)


REDUCTIONS = {"none": lambda old, new: new, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


@op("ScatterND")
def scatter_nd(x, attrs, opset):
    y, reduce = x[0].copy(), REDUCTIONS[attrs.get("reduction", "none")]
    for at in np.ndindex(*x[1].shape[:-1]):
        y[tuple(x[1][at])] = reduce(y[tuple(x[1][at])], x[2][at])
    return y


@op("ScatterElements", "Scatter")
def scatter_elements(x, attrs, opset):
    y, reduce, axis = x[0].copy(), REDUCTIONS[attrs.get("reduction", "none")], attrs.get("axis", 0)
    for at in np.ndindex(*x[1].shape):
        target = list(at)
        target[axis] = x[1][at]
        y[tuple(target)] = reduce(y[tuple(target)], x[2][at])
    return y


@op("DepthToSpace")
def depth_to_space(x, attrs, opset):
    (n, c, h, w), b = x[0].shape, attrs["blocksize"]
    if attrs.get("mode", "DCR") == "DCR":
        return x[0].reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
    return x[0].reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)


@op("SpaceToDepth")
def space_to_depth(x, attrs, opset):
    (n, c, h, w), b = x[0].shape, attrs["blocksize"]
    return x[0].reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


# ---- by position ----
@op("TopK")
def top_k(x, attrs, opset):
    axis, k = attrs.get("axis", -1), attrs["k"] if opset < 10 else int(x[1].item())
    keys = -x[0].astype(np.float64) if attrs.get("largest", 1) else x[0]
    order = np.take(np.argsort(keys, axis, kind="stable"), np.arange(k), axis)
    return [np.take_along_axis(x[0], order, axis), order.astype(np.int64)]


@op("Trilu")
def trilu(x, attrs, opset):
    k = int(np.clip(x[1], -1000, 1000)) if len(x) > 1 else 0
    return (np.triu if attrs.get("upper", 1) else np.tril)(x[0], k)


@op("OneHot")
def one_hot(x, attrs, opset):
    depth, axis = int(x[1].item()), attrs.get("axis", -1)
    index = x[0].astype(np.int64)
    index = np.where(index < 0, index + depth, index)
    on = np.expand_dims(index, axis) == np.arange(depth).reshape([-1] + [1] * ((x[0].ndim - axis) if axis >= 0 else -1 - axis))
    return np.where(on, x[2][1], x[2][0]).astype(x[2].dtype)


@op("Einsum")
def einsum(x, attrs, opset):
    return np.einsum(attrs["equation"], *(v.astype(np.float64) for v in x))
