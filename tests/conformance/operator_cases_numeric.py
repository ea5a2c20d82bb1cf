"""More cases of operator_cases.py: numeric operators, most of them of transformers."""
import numpy as np

from operator_cases import Const, case, ints, normal

SMALL = np.array([5, -5, 9, 12, -7, 1], np.int64)
for op, opsets in (("Erf", (9, 13)), ("Exp", (7, 13)), ("Floor", (7, 13)), ("Ceil", (7, 13)), ("Abs", (7, 13)), ("Neg", (7, 13)),
                   ("Softplus", (7, 22)), ("Elu", (7, 22))):
    for opset in opsets:
        case(op, normal(2, 3, 5, 7) * 3, opset=opset)
    case(op, normal(2, 16, 5, 5), opset=opsets[-1])
for op in ("Log", "Sqrt", "Reciprocal"):
    case(op, np.abs(normal(2, 3, 5)) + 0.1, opset=13)
for approximate in ("none", "tanh"):
    case("Gelu", normal(2, 65, 192) * 3, opset=20, approximate=approximate)
for shape in ((3, 1, 1), (1,), (2, 3, 4, 5)):
    case("PRelu", normal(2, 3, 4, 5), Const(normal(*shape)), opset=16)
for exponent in (2, 3, 0.5, -1, 1.7):
    case("Pow", np.abs(normal(2, 3, 8)) + 0.1, Const(np.float32(exponent)), opset=13, note=str(exponent))
case("Pow", normal(2, 3, 8), ints(2), opset=13)
for op in ("Min", "Max"):
    for opset in (8, 12, 13):
        case(op, normal(2, 3, 4), normal(3, 1), Const(normal(4)), opset=opset, exact=True)
case("Mod", SMALL, ints(3), opset=10, exact=True)
case("Mod", SMALL, ints(-3), opset=13, exact=True)
case("Mod", normal(6) * 5, Const(np.float32(1.5)), opset=13, exact=True, fmod=1)
for op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
    case(op, SMALL, ints(1), opset=13, exact=True)
    case(op, normal(2, 3, 4), normal(3, 1), opset=13, exact=True)
for op in ("And", "Or", "Xor"):
    case(op, normal(2, 3) > 0, normal(2, 1) > 0, opset=7, exact=True)
case("Not", normal(2, 3) > 0, opset=7, exact=True)
for opset in (9, 16):
    case("Where", normal(2, 1, 4) > 0, normal(3, 1), Const(np.float32(-1e9)), opset=opset, exact=True)
case("Where", SMALL > 0, SMALL, ints(0), opset=16, exact=True)
for to in (1, 6, 7, 9, 10, 11):
    case("Cast", normal(2, 3) * 10, opset=13, exact=True, to=to)
    case("Cast", SMALL, opset=13, exact=True, to=to, note="int64")
case("LogSoftmax", normal(2, 65) * 5, opset=13)
case("LogSoftmax", normal(2, 3, 4) * 5, opset=11, axis=1)
for shape, axis in (((2, 65, 192), -1), ((2, 7, 33), 2), ((2, 3, 4, 5), 2), ((5, 768), 1)):
    size = shape[axis:]
    case("LayerNormalization", normal(*shape), Const(normal(*size)), Const(normal(*size)), opset=17, axis=axis, epsilon=1e-6)
case("LayerNormalization", normal(2, 7, 32), Const(normal(32)), opset=17)
case("InstanceNormalization", normal(2, 3, 5, 6), Const(normal(3)), Const(normal(3)), opset=11)
case("GroupNormalization", normal(2, 6, 5, 6), Const(normal(3)), Const(normal(3)), opset=18, num_groups=3)
case("GroupNormalization", normal(2, 6, 5, 6), Const(normal(6)), Const(normal(6)), opset=21, num_groups=3)
for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
    case(op, normal(2, 3, 4, 5), opset=11, axes=[1, -1], keepdims=0)
    case(op, normal(2, 3, 4, 5), ints(1, 2), opset=18)
    case(op, normal(2, 3, 4, 5), opset=18)
for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
    case(op, SMALL.reshape(2, 3), ints(1), opset=18, exact=True)
for op in ("ArgMax", "ArgMin"):
    case(op, normal(2, 3, 4), opset=13, exact=True, axis=1)
    case(op, normal(2, 3, 4), opset=11, exact=True, axis=-1, keepdims=0)
case("CumSum", normal(2, 3, 4), ints(1), opset=14, note="scalar")
case("CumSum", SMALL, ints(0), opset=14, exact=True, exclusive=1, reverse=1)
