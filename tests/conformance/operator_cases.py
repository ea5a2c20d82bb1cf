"""Single-node models for test_operators.py: what each operator is asked to do.

A case is a dict: name, op, opset, inputs (arrays; Const(array) for an initializer, None for an omitted
one), attrs, exact (bit for bit), outputs (how many). The op "QDQ" is a QuantizeLinear and a DequantizeLinear.
"""
import numpy as np


class Const:
    """An input that is an initializer of the model."""

    def __init__(self, array):
        self.array = np.asarray(array)


CASES = []
_rng = np.random.default_rng(7)


def normal(*shape):
    return _rng.standard_normal(shape).astype(np.float32)


def ints(*values):
    return Const(np.array(values, dtype=np.int64))


def shape_text(value):
    if value is None:
        return "none"
    shape = value.array.shape if isinstance(value, Const) else value.shape
    return "x".join(map(str, shape)) or "scalar"


def case(op, *inputs, opset=13, exact=False, note="", outputs=1, **attrs):
    name = "-".join([f"{len(CASES):03d}", f"{op}{opset}"] + [shape_text(i) for i in inputs] +
                    [f"{k}={v}" for k, v in attrs.items()] + ([note] if note else [])).replace(" ", "")
    inputs = [i if i is None or isinstance(i, Const) else np.asarray(i) for i in inputs]
    CASES.append(dict(name=name, op=op, opset=opset, inputs=inputs, attrs=attrs, exact=exact, outputs=outputs))


# ---- convolutions ----
def conv(x, w, bias=True, opset=11, op="Conv", **attrs):
    m = w[1] * attrs.get("group", 1) if op == "ConvTranspose" else w[0]
    inputs = [normal(*x), Const(normal(*w))] + ([Const(normal(m))] if bias else [])
    case(op, *inputs, opset=opset, **attrs)


for opset in (7, 11, 22):
    conv((2, 3, 9, 8), (4, 3, 3, 3), opset=opset, pads=[1, 1, 1, 1])
conv((1, 3, 9, 8), (4, 3, 3, 3), bias=False)
conv((2, 3, 9, 8), (4, 3, 3, 3), strides=[2, 1], pads=[0, 1, 2, 1])
conv((2, 3, 9, 8), (5, 3, 3, 2), dilations=[2, 3], pads=[2, 0, 1, 3])
conv((2, 4, 9, 9), (8, 2, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1])
conv((3, 6, 7, 7), (6, 1, 3, 3), group=6, pads=[1, 1, 1, 1])
conv((3, 6, 7, 7), (12, 1, 5, 5), group=6, pads=[2, 2, 2, 2], strides=[2, 2])
conv((2, 17, 5, 5), (19, 17, 1, 1))
conv((2, 16, 5, 5), (32, 16, 1, 1), strides=[2, 2])
conv((1, 1, 1, 1), (1, 1, 1, 1))
conv((1, 3, 4, 4), (4, 3, 4, 4))
conv((2, 3, 11), (4, 3, 3), pads=[1, 0], strides=[2])
conv((2, 3, 11), (4, 3, 3), dilations=[4], pads=[3, 4])
conv((2, 2, 5, 6, 7), (3, 2, 2, 3, 3), pads=[0, 1, 1, 1, 0, 1], strides=[1, 2, 1])
conv((2, 4, 5, 6, 7), (4, 2, 3, 3, 3), group=2, pads=[2, 2, 2, 2, 2, 2], dilations=[2, 1, 2])
conv((2, 3, 3, 3), (4, 3, 3, 3), pads=[4, 4, 4, 4])
conv((2, 3, 2, 2), (4, 3, 3, 3), pads=[5, 0, 5, 7], strides=[3, 4])
for pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
    conv((2, 3, 9, 8), (4, 3, 3, 4), auto_pad=pad, strides=[2, 1])
    conv((2, 3, 10, 7), (4, 3, 2, 5), auto_pad=pad, strides=[3, 2])
    conv((2, 3, 10, 7), (4, 3, 1, 1), auto_pad=pad, strides=[3, 2])
    conv((2, 3, 10), (4, 3, 4), auto_pad=pad)
conv((2, 3, 9, 8), (4, 3, 3, 3), kernel_shape=[3, 3])
conv((0, 3, 9, 8), (4, 3, 3, 3))
case("Conv", normal(2, 3, 6, 6), normal(4, 3, 3, 3), normal(4), opset=11, note="computed-weight")

for opset in (7, 11, 22):
    conv((2, 4, 5, 6), (4, 3, 3, 3), op="ConvTranspose", opset=opset, strides=[2, 2], pads=[1, 1, 1, 1])
conv((2, 4, 5, 6), (4, 3, 3, 3), op="ConvTranspose")
conv((2, 4, 5, 6), (4, 3, 2, 2), op="ConvTranspose", strides=[2, 2])
conv((2, 4, 5, 6), (4, 3, 2, 2), op="ConvTranspose", strides=[3, 4])
conv((2, 4, 5, 6), (4, 3, 3, 3), op="ConvTranspose", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
conv((2, 4, 5, 6), (4, 3, 3, 3), op="ConvTranspose", strides=[3, 2], pads=[0, 1, 2, 1], output_padding=[2, 0])
conv((2, 4, 5, 6), (4, 3, 3, 3), op="ConvTranspose", dilations=[2, 3], pads=[1, 2, 0, 1])
conv((2, 4, 5, 6), (4, 3, 3, 3), op="ConvTranspose", group=2, strides=[2, 1])
conv((2, 4, 5, 6), (4, 1, 3, 3), op="ConvTranspose", group=4, strides=[2, 2], pads=[1, 1, 1, 1])
conv((2, 4, 5, 6), (4, 1, 3, 3), op="ConvTranspose", bias=False, output_shape=[10, 12], strides=[2, 2])
conv((2, 4, 5, 6), (4, 1, 3, 3), op="ConvTranspose", output_shape=[9, 11], strides=[2, 2], auto_pad="SAME_UPPER")
conv((2, 4, 5, 6), (4, 1, 3, 3), op="ConvTranspose", output_shape=[10, 12], strides=[2, 2], auto_pad="SAME_LOWER")
conv((2, 4, 5, 6), (4, 2, 3, 3), op="ConvTranspose", strides=[2, 2], auto_pad="SAME_UPPER")
conv((2, 4, 5, 6), (4, 2, 3, 4), op="ConvTranspose", strides=[2, 1], auto_pad="SAME_LOWER")
conv((2, 4, 5, 6), (4, 2, 2, 2), op="ConvTranspose", strides=[3, 3], auto_pad="SAME_UPPER")
conv((2, 4, 5, 6), (4, 2, 3, 3), op="ConvTranspose", strides=[2, 2], auto_pad="VALID")
conv((2, 4, 7), (4, 3, 4), op="ConvTranspose", strides=[2], pads=[1, 2])
conv((1, 2, 3, 4, 5), (2, 3, 2, 3, 3), op="ConvTranspose", strides=[2, 1, 2], pads=[0, 1, 1, 1, 0, 1])

# ---- matrix products ----
for opset in (7, 9, 11, 13):
    case("Gemm", normal(3, 5), Const(normal(5, 4)), Const(normal(4)), opset=opset)
    case("Gemm", normal(3, 5), Const(normal(4, 5)), Const(normal(4)), opset=opset, transB=1)
case("Gemm", normal(5, 3), normal(4, 5), normal(3, 4), transA=1, transB=1, alpha=0.5, beta=2.0)
case("Gemm", normal(5, 3), normal(5, 4), normal(3, 1), transA=1, alpha=-1.5)
case("Gemm", normal(3, 5), normal(5, 4), normal(1, 4), beta=0.25)
case("Gemm", normal(3, 5), normal(5, 4), Const(np.float32(3.0)))
case("Gemm", normal(3, 5), normal(5, 4), Const(normal(1)))
case("Gemm", normal(3, 5), normal(5, 4), normal(1, 1))
case("Gemm", normal(3, 5), normal(5, 4))
case("Gemm", normal(1, 1), normal(1, 1))
case("Gemm", normal(0, 5), normal(5, 4), normal(4))
case("Gemm", normal(65, 130), Const(normal(70, 130)), Const(normal(70)), transB=1)
for a, b in (((3, 5), (5, 4)), ((5,), (5, 4)), ((3, 5), (5,)), ((5,), (5,)), ((2, 3, 5), (5, 4)),
             ((2, 3, 5), (2, 5, 4)), ((2, 1, 3, 5), (4, 5, 2)), ((3, 5), (2, 6, 5, 4)), ((5,), (2, 5, 4)),
             ((2, 3, 3, 5), (5,)), ((1, 3, 5), (4, 5, 2)), ((2, 3, 4, 3, 5), (3, 1, 5, 2)), ((0, 3, 5), (5, 4)),
             ((1, 1), (1, 1)), ((2, 1, 64), (64, 100))):
    case("MatMul", normal(*a), normal(*b))
case("MatMul", normal(2, 7, 5), Const(normal(5, 6)), opset=8)
case("MatMul", normal(2, 7, 5), Const(normal(5, 6)), opset=9)

# ---- pooling ----
for op in ("MaxPool", "AveragePool"):
    for opset in (7, 8, 10, 11, 12, 19, 22):
        case(op, normal(2, 3, 9, 8), opset=opset, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for opset in (10, 12, 19, 22):
        for shape, attrs in (((2, 3, 9, 8), dict(kernel_shape=[3, 3], strides=[2, 2])),
                             ((2, 3, 9, 8), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
                             ((1, 2, 4, 4), dict(kernel_shape=[2, 2], strides=[3, 3], pads=[0, 0, 1, 1])),
                             ((1, 2, 6, 7), dict(kernel_shape=[3, 2], strides=[4, 5], pads=[2, 0, 2, 1])),
                             ((1, 2, 5), dict(kernel_shape=[3], strides=[2], pads=[0, 2])),
                             ((2, 2, 5, 6, 7), dict(kernel_shape=[2, 3, 2], strides=[2, 2, 3], pads=[1, 0, 1, 0, 1, 1]))):
            case(op, normal(*shape), opset=opset, ceil_mode=1, **attrs)
    for pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
        case(op, normal(2, 3, 9, 8), opset=12, kernel_shape=[3, 2], strides=[2, 3], auto_pad=pad)
        case(op, normal(2, 3, 10, 7), opset=12, kernel_shape=[2, 4], strides=[1, 2], auto_pad=pad)
    case(op, normal(2, 3, 8), opset=11, kernel_shape=[3], strides=[1])
    case(op, normal(2, 3, 5, 6, 7), opset=11, kernel_shape=[2, 3, 3], strides=[1, 2, 2], pads=[0, 1, 1, 1, 0, 2])
    case(op, normal(1, 1, 1, 1), opset=11, kernel_shape=[1, 1])
    case(op, normal(2, 3, 7, 7), opset=11, kernel_shape=[7, 7])
    case(op, normal(0, 3, 7, 7), opset=11, kernel_shape=[2, 2])
    case(op, normal(1, 3, 112, 112), opset=11, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    case(op, normal(2, 3, 9, 8), opset=19, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 2, 1])
    case(op, normal(2, 3, 9, 8), opset=19, kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 2], ceil_mode=1)
case("MaxPool", normal(2, 3, 9, 8), opset=12, kernel_shape=[2, 2], storage_order=1)
case("MaxPool", -np.abs(normal(2, 3, 5, 5)) - 1, opset=12, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
for opset in (7, 11, 19, 22):
    case("AveragePool", normal(2, 3, 9, 8), opset=opset, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    case("AveragePool", normal(2, 3, 9, 8), opset=opset, kernel_shape=[3, 3], strides=[1, 2], pads=[0, 1, 2, 0], count_include_pad=1)
case("AveragePool", normal(2, 3, 9, 8), opset=22, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 2, 1], count_include_pad=1)
for shape, attrs in (((2, 3, 9, 8), dict(kernel_shape=[3, 3], strides=[2, 2])),
                     ((1, 2, 8, 8), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
                     ((1, 2, 5), dict(kernel_shape=[3], strides=[2], pads=[0, 1])),
                     ((1, 2, 4, 4), dict(kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1]))):
    for opset in (11, 19, 22):
        case("AveragePool", normal(*shape), opset=opset, ceil_mode=1, count_include_pad=1, **attrs)
for op in ("GlobalAveragePool", "GlobalMaxPool"):
    for shape in ((2, 3, 7, 7), (2, 3, 9), (2, 3, 2, 3, 4), (1, 1, 1, 1), (0, 3, 4, 4)):
        case(op, normal(*shape), opset=11)

# ---- shapes and moves ----
for axis in (0, 1, 2, 3, 4, -1, -2):
    case("Flatten", normal(2, 3, 4, 5), exact=True, axis=axis)
case("Flatten", normal(2, 3, 4, 5), opset=9, exact=True)
case("Flatten", np.array(2, np.float32), exact=True, axis=0)
for target in ((6, 20), (-1,), (0, -1), (2, 0, -1), (0, 0, 20), (-1, 5, 4, 3), (0, 3, 2, 2, 5), (1, -1, 1, 120)):
    case("Reshape", normal(2, 3, 4, 5), ints(*target), exact=True)
    case("Reshape", normal(2, 3, 4, 5), ints(*target), opset=7, exact=True, note=str(target))
case("Reshape", normal(0, 3, 4), ints(3, 0, 4), opset=14, exact=True, allowzero=1)
case("Reshape", normal(1), Const(np.zeros(0, np.int64)), exact=True)
case("Reshape", np.arange(24, dtype=np.int64).reshape(2, 3, 4), ints(4, -1), exact=True)
for perm in ([0, 1, 2, 3], [0, 2, 3, 1], [3, 1, 0, 2], [0, 1, 3, 2], [2, 3, 0, 1]):
    case("Transpose", normal(2, 3, 4, 5), exact=True, perm=perm)
case("Transpose", normal(2, 3, 4, 5), exact=True)
case("Transpose", normal(7), exact=True)
case("Transpose", normal(0, 3, 4), exact=True, perm=[1, 0, 2])
case("Transpose", normal(2, 3, 2, 3, 2, 3), exact=True, perm=[5, 0, 3, 2, 4, 1])
for dtype in (np.int64, np.int8, np.int32, np.float64, np.uint8):
    case("Transpose", np.arange(24).reshape(2, 3, 4).astype(dtype), exact=True, perm=[2, 0, 1], note=np.dtype(dtype).name)
    case("Concat", np.arange(6).reshape(2, 3).astype(dtype), np.arange(4).reshape(2, 2).astype(dtype), exact=True, axis=1, note=np.dtype(dtype).name)
for axis in (0, 1, -1):
    case("Concat", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4), exact=True, axis=axis)
case("Concat", normal(2, 3, 4, 4), normal(2, 17, 4, 4), normal(2, 1, 4, 4), exact=True, axis=1)
case("Concat", normal(2, 3), exact=True, axis=0)
case("Concat", normal(2, 3), normal(0, 3), normal(1, 3), exact=True, axis=0)
case("Concat", normal(2, 3, 4), Const(normal(2, 1, 4)), opset=7, exact=True, axis=1)
PADS = ((0, 0, 1, 2, 0, 0, 3, 4), (1, 0, 0, 0, 0, 2, 0, 0), (0, 0, 0, 0, 0, 0, 0, 0), (0, 0, 3, 3, 0, 0, 3, 3))
for pads in PADS:
    for mode in ("constant", "reflect", "edge"):
        x = normal(2, 3, 5, 6)
        if mode == "reflect" and pads[0]:
            continue
        case("Pad", x, opset=7, exact=True, mode=mode, pads=list(pads))
        case("Pad", x, ints(*pads), opset=11, exact=True, mode=mode, note=str(pads))
        case("Pad", x, ints(*pads), opset=13, exact=True, mode=mode, note=str(pads))
    case("Pad", normal(2, 3, 5, 6), ints(*pads), opset=19, exact=True, mode="wrap", note=str(pads))
case("Pad", normal(2, 3, 5, 6), opset=7, exact=True, pads=[0, 0, 1, 1, 0, 0, 1, 1], value=2.5)
case("Pad", normal(2, 3, 5, 6), ints(0, 0, 1, 1, 0, 0, 1, 1), Const(np.float32(-3)), exact=True)
case("Pad", normal(2, 3, 5, 6), ints(0, 0, -1, 1, 0, -1, -2, 1), Const(np.float32(-3)), exact=True)
case("Pad", normal(2, 3, 5, 6), ints(1, 2, 3, 0), Const(np.float32(1)), ints(2, -1), opset=18, exact=True)
case("Pad", normal(2, 3, 5, 6), ints(1, 1), None, ints(-2), opset=18, exact=True, mode="edge")
case("Pad", np.arange(6, dtype=np.int64).reshape(2, 3), ints(1, 1, 0, 2), Const(np.int64(9)), exact=True)
for opset in (7, 13, 14):
    case("Identity", normal(2, 3), opset=opset, exact=True)
for opset in (7, 10):
    case("Dropout", normal(2, 3), opset=opset, exact=True, ratio=0.3)
case("Dropout", normal(2, 3), Const(np.float32(0.3)), opset=12, exact=True)
case("Dropout", normal(2, 3), Const(np.float32(0.3)), Const(np.array(False)), opset=13, exact=True)

# ---- elementwise, activations, normalization, reductions ----
EDGES = np.array([0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, 3.0, -3.0, 6.0, 88.8, -88.8, 1.0], np.float32).reshape(3, 4)
for op in ("Add", "Sub", "Mul", "Div"):
    for opset in (7, 13, 14):
        case(op, normal(2, 3, 4), normal(2, 3, 4), opset=opset)
    for a, b in (((2, 3, 4, 5), (5,)), ((5,), (2, 3, 4, 5)), ((2, 3, 4, 5), (3, 1, 1)), ((2, 1, 4, 1), (3, 1, 5)),
                 ((2, 3), ()), ((), ()), ((1,), (2, 3)), ((0, 3), (3,)), ((2, 3, 7, 7), (2, 3, 1, 1))):
        case(op, normal(*a), normal(*b))
    case(op, np.array([7, -7, 9, 12], np.int64), np.array([2, 2, -3, 5], np.int64), exact=True, note="int64")
for op, attrs in (("Relu", {}), ("LeakyRelu", {}), ("LeakyRelu", dict(alpha=0.3)), ("Sigmoid", {}), ("Tanh", {}),
                  ("HardSigmoid", {}), ("HardSigmoid", dict(alpha=0.3, beta=0.1)), ("HardSwish", {})):
    for x in (normal(2, 3, 5, 7) * 4, EDGES, normal(0, 3), normal(1)):
        case(op, x, opset=14, **attrs)
for x in (normal(2, 3, 4) * 4, EDGES):
    case("Clip", x, opset=7, min=-1.0, max=2.0)
    case("Clip", x, opset=7, max=6.0)
    case("Clip", x, Const(np.float32(0)), Const(np.float32(6)), opset=11)
    case("Clip", x, None, Const(np.float32(1)), opset=13)
    case("Clip", x, Const(np.float32(-0.5)), opset=13)
    case("Clip", x, opset=13)
for opset, axes in ((11, (0, 1, 2, -1)), (13, (0, 1, 2, -1, -3))):
    for axis in axes:
        case("Softmax", normal(2, 3, 4) * 5, opset=opset, axis=axis)
    case("Softmax", normal(2, 3, 4), opset=opset)
case("Softmax", normal(2, 1000) * 30)
case("Softmax", normal(0, 5))
for opset in (7, 9, 14, 15):
    case("BatchNormalization", normal(2, 3, 4, 5), Const(normal(3)), Const(normal(3)), Const(normal(3)), Const(np.abs(normal(3))), opset=opset)
case("BatchNormalization", normal(2, 3), Const(normal(3)), Const(normal(3)), Const(normal(3)), Const(np.abs(normal(3))), opset=15, epsilon=0.01)
case("BatchNormalization", normal(2, 3, 7), Const(normal(3)), Const(normal(3)), Const(normal(3)), Const(np.zeros(3, np.float32)), opset=9)
for axes in ([2, 3], [1], [-1], [0, 1, 2, 3], [-1, 1]):
    for keep in (0, 1):
        case("ReduceMean", normal(2, 3, 4, 5), opset=11, axes=axes, keepdims=keep)
        case("ReduceMean", normal(2, 3, 4, 5), ints(*axes), opset=18, keepdims=keep, note=str(axes))
case("ReduceMean", normal(2, 3, 4), opset=13)
case("ReduceMean", normal(2, 3, 4), opset=18)
case("ReduceMean", normal(2, 3, 4), opset=18, noop_with_empty_axes=1)


# ---- quantization: a pair of nodes ----
def pair(x, scale, zero_point, opset=13, **attrs):
    case("QDQ", x, Const(np.asarray(scale, np.float32)), Const(zero_point), opset=opset, exact=True, **attrs)


pair(normal(4, 5) * 3, 0.02, np.int8(0))
pair(normal(4, 5) * 3, 0.02, np.uint8(7), opset=10)
pair(EDGES, 0.5, np.int8(0))
pair((np.arange(-300, 300) / np.float32(2)).astype(np.float32), 1.0, np.int8(0))
pair(normal(4, 5, 3), [0.1, 0.02, 0.3, 0.004], np.zeros(4, np.int8), axis=0)
pair(normal(4, 5, 3), [0.1, 0.02, 0.3, 0.004, 1.0], np.array([1, 2, 3, 4, 5], np.int8), axis=1)
