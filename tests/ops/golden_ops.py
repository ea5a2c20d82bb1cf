"""The operators in NumPy, from the ONNX specification: float64 inside, slow and plain."""

import itertools
import math

import numpy as np

OPS = {}


def op(*names):
    def register(fn):
        for name in names:
            OPS[name] = fn
        return fn

    return register


# ---- activations ----
@op("Relu")
def relu(x, attrs, opset):
    return np.where(x[0] < 0, np.float32(0), x[0])


@op("LeakyRelu")
def leaky_relu(x, attrs, opset):
    return np.where(x[0] < 0, np.float64(np.float32(attrs.get("alpha", 0.01))) * x[0], x[0])


@op("Clip")
def clip(x, attrs, opset):
    low, high = np.finfo(np.float32).min, np.finfo(np.float32).max  # also where an input is omitted
    if opset < 11:
        low, high = attrs.get("min", low), attrs.get("max", high)
    low = x[1] if len(x) > 1 and x[1] is not None else low
    high = x[2] if len(x) > 2 and x[2] is not None else high
    return np.minimum(np.maximum(x[0], np.float32(low)), np.float32(high))


@op("Sigmoid")
def sigmoid(x, attrs, opset):
    return 1 / (1 + np.exp(-x[0].astype(np.float64)))


@op("HardSigmoid")
def hard_sigmoid(x, attrs, opset):
    alpha, beta = np.float32(attrs.get("alpha", 0.2)), np.float32(attrs.get("beta", 0.5))
    return np.clip(np.float64(alpha) * x[0] + beta, 0, 1)


@op("HardSwish")
def hard_swish(x, attrs, opset):
    wide = x[0].astype(np.float64)
    return wide * np.clip(wide / 6 + 0.5, 0, 1)


@op("Tanh")
def tanh(x, attrs, opset):
    return np.tanh(x[0].astype(np.float64))


@op("Mish")
def mish(x, attrs, opset):
    wide = x[0].astype(np.float64)
    return wide * np.tanh(np.logaddexp(0, wide))


# ---- arithmetic ----
@op("Add")
def add(x, attrs, opset):
    return x[0] + x[1]


@op("Sub")
def sub(x, attrs, opset):
    return x[0] - x[1]


@op("Mul")
def mul(x, attrs, opset):
    return x[0] * x[1]


@op("Div")
def div(x, attrs, opset):
    if np.issubdtype(x[0].dtype, np.floating):
        return x[0] / x[1]
    a, b = np.broadcast_arrays(x[0], x[1])
    quotient = abs(a.astype(object)) // abs(b.astype(object)) * np.sign(a) * np.sign(b)
    bits = 8 * x[0].dtype.itemsize
    return (((quotient + 2 ** (bits - 1)) % 2**bits) - 2 ** (bits - 1)).astype(x[0].dtype)


# ---- normalization, softmax, reduction, quantization ----
@op("BatchNormalization")
def batch_normalization(x, attrs, opset):
    scale, b, mean, var = (v.astype(np.float64).reshape([-1] + [1] * (x[0].ndim - 2)) for v in x[1:])
    running = []
    if attrs.get("training_mode"):
        axes, momentum = (0, *range(2, x[0].ndim)), np.float64(np.float32(attrs.get("momentum", 0.9)))
        before, wide = (mean, var), x[0].astype(np.float64)
        mean, var = wide.mean(axes).reshape(mean.shape), wide.var(axes).reshape(var.shape)
        running = [(old * momentum + now * (1 - momentum)).ravel() for old, now in zip(before, (mean, var))]
    return [(x[0] - mean) / np.sqrt(var + np.float32(attrs.get("epsilon", 1e-5))) * scale + b, *running]


@op("Softmax")
def softmax(x, attrs, opset):
    shape, wide = x[0].shape, x[0].astype(np.float64)
    axis = attrs.get("axis", 1 if opset < 13 else -1)
    if opset < 13:
        axis += len(shape) if axis < 0 else 0
        wide, axis = wide.reshape(math.prod(shape[:axis]), math.prod(shape[axis:])), 1
    if wide.size == 0:
        return x[0]
    e = np.exp(wide - wide.max(axis, keepdims=True))
    return (e / e.sum(axis, keepdims=True)).reshape(shape)


@op("ReduceMean")
def reduce_mean(x, attrs, opset):
    axes = attrs.get("axes") if opset < 18 else x[1].tolist() if len(x) > 1 and x[1] is not None else None
    if not axes and attrs.get("noop_with_empty_axes"):
        return x[0]
    axes = tuple({a % x[0].ndim for a in axes}) if axes else None
    return x[0].astype(np.float64).mean(axes, keepdims=bool(attrs.get("keepdims", 1)))


@op("ed::FakeQuantize")
def fake_quantize(x, attrs, opset):
    """QuantizeLinear in float32, then DequantizeLinear; NaN is the lowest integer."""
    axis, low, high = attrs.get("axis", -1), attrs.get("qmin", -128), attrs.get("qmax", 127)
    shape = [-1 if i == axis else 1 for i in range(x[0].ndim)] if axis >= 0 else []
    scale = x[1].reshape(shape)
    zero_point = x[2].reshape(shape).astype(np.int64) if len(x) > 2 and x[2] is not None else 0
    ratio = np.rint(x[0] / scale).astype(np.float64) + zero_point
    q = np.where(np.isnan(ratio), low, np.clip(ratio, low, high)).astype(np.int64)
    return (q - zero_point).astype(np.float32) * scale


def spread(v, x, attrs):
    """Scales or zero points in the shape of x."""
    axis, block = attrs.get("axis", 1), attrs.get("block_size", 0)
    if block:
        return np.take(np.repeat(v, block, axis), range(x.shape[axis]), axis)
    return v.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)] if v.size > 1 else [])


@op("QuantizeLinear")
def quantize_linear(x, attrs, opset):
    dtype = {2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16}[attrs.get("output_dtype", 2)]
    zero = 0
    if len(x) > 2:
        dtype, zero = x[2].dtype, spread(x[2], x[0], attrs).astype(np.int64)
    ratio = np.rint(x[0] / spread(x[1], x[0], attrs)).astype(np.float64) + zero
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return np.where(np.isnan(ratio), low, np.clip(ratio, low, high)).astype(dtype)


@op("DequantizeLinear")
def dequantize_linear(x, attrs, opset):
    zero = spread(x[2], x[0], attrs).astype(np.int64) if len(x) > 2 else 0
    return (x[0].astype(np.int64) - zero).astype(np.float32) * spread(x[1], x[0], attrs)


# ---- matrices ----
@op("Gemm")
def gemm(x, attrs, opset):
    a, b = x[0].astype(np.float64), x[1].astype(np.float64)
    a = a.T if attrs.get("transA") else a
    b = b.T if attrs.get("transB") else b
    y = np.float32(attrs.get("alpha", 1.0)) * (a @ b)
    return y + np.float64(np.float32(attrs.get("beta", 1.0))) * x[2] if len(x) > 2 and x[2] is not None else y


@op("MatMul")
def matmul(x, attrs, opset):
    return np.matmul(x[0].astype(np.float64), x[1].astype(np.float64))


# ---- windows ----
class Window:
    """Sizes along the spatial axes; dims is the shape that the window moves over."""

    def __init__(self, attrs, dims, kernel=None):
        self.rank = len(dims)
        self.kernel = list(kernel or attrs["kernel_shape"])
        self.stride = attrs.get("strides", [1] * self.rank)
        self.dilation = attrs.get("dilations", [1] * self.rank)
        self.auto = attrs.get("auto_pad", "NOTSET")
        self.extent = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation)]
        pads = attrs.get("pads", [0] * 2 * self.rank) if self.auto == "NOTSET" else [0] * 2 * self.rank
        self.begin, self.end = list(pads[: self.rank]), list(pads[self.rank :])
        if self.auto.startswith("SAME"):
            for i, (n, s, e) in enumerate(zip(dims, self.stride, self.extent)):
                self.split(i, max((-(-n // s) - 1) * s + e - n, 0), self.auto == "SAME_UPPER")

    def split(self, i, total, more_at_end):
        small = total // 2
        self.begin[i], self.end[i] = (small, total - small) if more_at_end else (total - small, small)

    def outputs(self, dims, ceil=False):
        out = []
        for i, n in enumerate(dims):
            room = n + self.begin[i] + self.end[i] - self.extent[i]
            count = (-(-room // self.stride[i]) if ceil else room // self.stride[i]) + 1
            if ceil and (count - 1) * self.stride[i] >= n + self.begin[i]:
                count -= 1
            out.append(count)
        return out

    def taps(self):
        return itertools.product(*(range(k) for k in self.kernel))

    def place(self, position, tap):
        """Input coordinates of a tap of the window at an output position."""
        return [p * s - b + t * d for p, s, b, t, d in zip(position, self.stride, self.begin, tap, self.dilation)]


def inside(at, dims):
    return all(0 <= i < n for i, n in zip(at, dims))


@op("Conv")
def conv(x, attrs, opset):
    data, weight, group = x[0].astype(np.float64), x[1].astype(np.float64), attrs.get("group", 1)
    dims = data.shape[2:]
    window = Window(attrs, dims, weight.shape[2:])
    out = window.outputs(dims)
    n, per_group, m = data.shape[0], data.shape[1] // group, weight.shape[0] // group
    y = np.zeros([n, weight.shape[0], *out])
    for position, tap in itertools.product(np.ndindex(*out), window.taps()):
        at = window.place(position, tap)
        if not inside(at, dims):
            continue
        for g in range(group):
            source = data[(slice(None), slice(g * per_group, (g + 1) * per_group), *at)]
            part = weight[(slice(g * m, (g + 1) * m), slice(None), *tap)]
            y[(slice(None), slice(g * m, (g + 1) * m), *position)] += source @ part.T
    if len(x) > 2 and x[2] is not None:
        y += x[2].reshape([-1] + [1] * len(dims))
    return y


@op("ConvTranspose")
def conv_transpose(x, attrs, opset):
    data, weight, group = x[0].astype(np.float64), x[1].astype(np.float64), attrs.get("group", 1)
    dims, rank = data.shape[2:], data.ndim - 2
    window = Window({k: v for k, v in attrs.items() if k != "auto_pad"}, dims, weight.shape[2:])
    extra, auto = attrs.get("output_padding", [0] * rank), attrs.get("auto_pad", "NOTSET")
    full = [(n - 1) * s + e + o for n, s, e, o in zip(dims, window.stride, window.extent, extra)]
    wanted = attrs.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(dims, window.stride)]
    if auto == "VALID":
        window.begin, window.end = [0] * rank, [0] * rank
    if wanted:
        for i in range(rank):
            window.split(i, max(full[i] - wanted[i], 0), auto == "SAME_UPPER")
    out = wanted or [f - b - e for f, b, e in zip(full, window.begin, window.end)]
    per_group, m = data.shape[1] // group, weight.shape[1]
    y = np.zeros([data.shape[0], m * group, *out])
    for position, tap in itertools.product(np.ndindex(*dims), window.taps()):
        at = window.place(position, tap)
        if not inside(at, out):
            continue
        for g in range(group):
            channels = slice(g * per_group, (g + 1) * per_group)
            source = data[(slice(None), channels, *position)]
            y[(slice(None), slice(g * m, (g + 1) * m), *at)] += source @ weight[(channels, slice(None), *tap)]
    if len(x) > 2 and x[2] is not None:
        y += x[2].reshape([-1] + [1] * rank)
    return y


def pool(x, attrs, average):
    dims = x[0].shape[2:]
    window = Window(attrs, dims)
    out = window.outputs(dims, bool(attrs.get("ceil_mode", 0)))
    padded = [n + e for n, e in zip(dims, window.end)]
    y = np.zeros([*x[0].shape[:2], *out])
    for position in np.ndindex(*out):
        places = [window.place(position, tap) for tap in window.taps()]
        values = [x[0][(slice(None), slice(None), *at)] for at in places if inside(at, dims)]
        count = len(values)
        if attrs.get("count_include_pad"):
            count = sum(all(-b <= i < n for i, b, n in zip(at, window.begin, padded)) for at in places)
        where = (slice(None), slice(None), *position)
        y[where] = sum(v.astype(np.float64) for v in values) / count if average else np.max(values, axis=0)
    return y


@op("MaxPool")
def max_pool(x, attrs, opset):
    shape = x[0].shape
    y = pool(x, attrs, average=False).astype(x[0].dtype)
    order = range(len(shape) - 1, 1, -1) if attrs.get("storage_order") else range(2, len(shape))
    at = np.arange(x[0].size).reshape([shape[i] for i in (0, 1, *order)])
    at = at.transpose([0, 1, *(2 + list(order).index(i) for i in range(2, len(shape)))])
    # the first tap that equals the largest (or is the first NaN)
    window, indices = Window(attrs, shape[2:]), np.full(y.shape, -1, np.int64)
    for position in np.ndindex(*y.shape[2:]):
        where = (slice(None), slice(None), *position)
        for place in (window.place(position, tap) for tap in window.taps()):
            if inside(place, shape[2:]):
                source = (slice(None), slice(None), *place)
                hit = (x[0][source] == y[where]) | (np.isnan(x[0][source]) & np.isnan(y[where]))
                indices[where] = np.where((indices[where] < 0) & hit, at[source], indices[where])
    return y, indices


@op("AveragePool")
def average_pool(x, attrs, opset):
    return pool(x, attrs, average=True)


@op("GlobalAveragePool")
def global_average_pool(x, attrs, opset):
    return x[0].astype(np.float64).mean(tuple(range(2, x[0].ndim)), keepdims=True)


@op("GlobalMaxPool")
def global_max_pool(x, attrs, opset):
    return x[0].max(tuple(range(2, x[0].ndim)), keepdims=True)


# ---- moving data ----
@op("Identity")
def identity(x, attrs, opset):
    return x[0]


@op("Dropout")
def dropout(x, attrs, opset):
    ratio = (0.5 if len(x) < 2 or x[1] is None else float(x[1])) if len(x) > 2 and x[2] else 0
    mask = np.random.RandomState(attrs.get("seed", 0)).uniform(size=x[0].shape) >= ratio
    return np.where(mask, x[0] / (1 - ratio), 0).astype(x[0].dtype), mask


@op("Flatten")
def flatten(x, attrs, opset):
    axis, shape = attrs.get("axis", 1), x[0].shape
    axis += len(shape) if axis < 0 else 0
    return x[0].reshape(math.prod(shape[:axis]), math.prod(shape[axis:]))


@op("Reshape")
def reshape(x, attrs, opset):
    wanted = [int(d) for d in x[1]]
    if not attrs.get("allowzero"):
        wanted = [x[0].shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    if -1 in wanted:
        known = math.prod(d for d in wanted if d != -1)
        wanted[wanted.index(-1)] = x[0].size // known if known else 0
    return x[0].reshape(wanted)


@op("Transpose")
def transpose(x, attrs, opset):
    return np.transpose(x[0], attrs.get("perm"))


@op("Concat")
def concat(x, attrs, opset):
    return np.concatenate(x, attrs["axis"])


@op("Pad")
def pad(x, attrs, opset):
    rank, mode = x[0].ndim, attrs.get("mode", "constant")
    pads = attrs["pads"] if opset < 11 else x[1].tolist()
    value = attrs.get("value", 0.0) if opset < 11 else x[2] if len(x) > 2 and x[2] is not None else 0
    axes = x[3].tolist() if len(x) > 3 else list(range(rank))
    both = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        both[axis] = (pads[i], pads[i + len(axes)])
    y = x[0]
    cut = tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(both, y.shape))
    grow = [(max(b, 0), max(e, 0)) for b, e in both]
    if mode == "constant":
        return np.pad(y[cut], grow, constant_values=np.asarray(value, y.dtype).reshape(()))
    return np.pad(y[cut], grow, mode=mode)
