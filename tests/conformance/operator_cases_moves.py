"""Cases of operators on shapes, on parts and places of tensors, Resize and Einsum; see operator_cases.py."""
import numpy as np
from onnx import numpy_helper

from operator_cases import Const, case, ints, normal

LAST = 2**63 - 1


def whole(*shape, dtype=np.int64):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# ---- shapes as tensors ----
for opset in (7, 13, 15, 21):
    case("Shape", normal(2, 3, 4), opset=opset)
    case("Size", normal(2, 3, 4), opset=opset)
for start, end in ((1, None), (-1, None), (0, -1), (1, 2), (-9, 9), (2, 1)):
    case("Shape", normal(2, 3, 4), opset=15, start=start, **({} if end is None else dict(end=end)))
for value in (np.float32([2.5]), np.int64([-3]), np.array([7], np.uint8), np.array([True])):
    case("ConstantOfShape", whole(0), opset=13, value=numpy_helper.from_array(value), note=value.dtype.name)

# ---- parts ----
for opset in (10, 11, 13):
    case("Slice", normal(4, 5, 6), ints(1, 2), ints(3, 5), opset=opset, exact=True)
for starts, ends, axes, steps in (((1,), (LAST,), (-1,), (1,)), ((-1,), (-LAST - 1,), (1,), (-1,)),
                                  ((0, 1), (4, 6), (0, 2), (2, 3)), ((LAST, 4), (-9, 0), (2, 1), (-2, -3)),
                                  ((3,), (3,), (1,), (1,)), ((-99,), (99,), (0,), (2,))):
    case("Slice", normal(4, 5, 6), ints(*starts), ints(*ends), ints(*axes), ints(*steps), exact=True,
         note=f"{starts}{ends}{axes}{steps}")
case("Slice", normal(4, 5, 6), opset=7, exact=True, starts=[1, -3], ends=[LAST, -1], axes=[2, 0])
for dtype in (np.int64, np.int32, np.uint8, np.float64, np.bool_):
    case("Slice", whole(3, 4, dtype=dtype), ints(1), ints(3), ints(1), exact=True, note=np.dtype(dtype).name)
case("Split", normal(4, 6), opset=7, outputs=3, exact=True, axis=1, split=[1, 2, 3])
case("Split", normal(4, 6), opset=11, outputs=2, exact=True, axis=-1)
case("Split", normal(4, 6), ints(1, 0, 3), opset=13, outputs=3, exact=True)
case("Split", normal(7, 2), opset=18, outputs=3, exact=True, num_outputs=3)
case("Squeeze", normal(1, 3, 1, 4), opset=11, exact=True, axes=[0, -2])
case("Squeeze", normal(1, 3, 1, 4), ints(0, 2), exact=True)
case("Unsqueeze", normal(3, 4), opset=11, exact=True, axes=[0, -1])
case("Unsqueeze", normal(3, 4), ints(3, 0), exact=True)

# ---- repetitions ----
for shape in ((2, 1, 4), (3, 1), (1,), (2, 2, 3, 4)):
    case("Expand", normal(3, 1), ints(*shape), exact=True, note=str(shape))
case("Expand", whole(1, 1, 3), ints(5, 1, 1), exact=True)
for repeats in ((2, 2), (1, 3), (0, 2)):
    case("Tile", normal(2, 3), ints(*repeats), exact=True, note=str(repeats))

# ---- places ----
for opset in (7, 11, 13):
    case("Gather", normal(4, 5), np.array([[0, 3], [1, 1]]), opset=opset, exact=True)
case("Gather", normal(4, 5, 3), np.array([-1, 0, -5]), exact=True, axis=1)
case("Gather", normal(4, 5, 3), np.array([2, 0], np.int32), exact=True, axis=-1)
case("Gather", whole(4), Const(np.int64(2)), exact=True)
case("GatherElements", normal(3, 4), np.array([[0, 1, 2, 0], [2, -1, -3, 1]]), exact=True)
case("GatherElements", normal(3, 4), np.array([[0, 3], [1, -1], [-4, 2]], np.int32), exact=True, axis=1)
case("GatherND", normal(3, 4, 5), np.array([[0, 1], [2, -1]]), exact=True)
case("GatherND", normal(2, 3, 4), np.array([[[0], [2]], [[1], [-1]]]), opset=12, exact=True, batch_dims=1)
for reduction in ("none", "add", "mul", "max", "min"):
    opset = 18 if reduction in ("max", "min") else 16
    case("ScatterND", normal(4, 5), np.array([[1], [1], [-1]]), normal(3, 5), opset=opset, reduction=reduction)
    case("ScatterElements", normal(2, 5), np.array([[1, 1, -1]]), normal(1, 3), opset=opset, axis=1, reduction=reduction)
case("ScatterND", whole(4, 2), np.array([[0, 1], [3, 0]]), whole(2), opset=11, exact=True)
for opset, attrs in ((7, {}), (11, dict(mode="DCR")), (13, dict(mode="CRD"))):
    case("DepthToSpace", normal(2, 8, 3, 5), opset=opset, exact=True, blocksize=2, **attrs)
case("SpaceToDepth", normal(2, 3, 4, 6), exact=True, blocksize=2)
case("TopK", normal(4, 6), opset=7, outputs=2, exact=True, k=3, axis=0)
for attrs in ({}, dict(largest=0), dict(axis=0), dict(axis=1, largest=0, sorted=1)):
    case("TopK", normal(4, 6, 3), ints(2), opset=11, outputs=2, exact=True, **attrs)
case("TopK", np.zeros((2, 9), np.int64), ints(4), opset=11, outputs=2, exact=True)
for k in (-2, 0, 1, 9):
    for upper in (0, 1):
        case("Trilu", normal(2, 5, 4), Const(np.int64(k)), opset=14, exact=True, upper=upper, note=f"k={k}")
case("OneHot", np.array([[0, -1], [-3, 3]]), Const(np.int64(3)), Const(np.float32([-1, 5])), opset=11, exact=True, axis=1)
for perm in ([0, 2, 1, 3], [0, 1, 3, 2], [2, 3, 1, 0]):
    case("Transpose", normal(2, 50, 3, 64), exact=True, perm=perm)

# ---- resampling ----
for opset, scales in ((7, None), (9, (1, 1, 2, 3)), (9, (1, 1, 1.6, 2.4))):
    for mode in ("nearest", "linear"):
        inputs = [] if scales is None else [Const(np.float32(scales))]
        attrs = dict(scales=[1.0, 1.0, 2.0, 2.0]) if scales is None else {}
        case("Upsample", normal(1, 2, 3, 4), *inputs, opset=opset, mode=mode, note=str(scales), **attrs)
for mode in ("nearest", "linear"):
    case("Resize", normal(1, 2, 6, 8), Const(np.float32([1, 1, 0.5, 1.6])), opset=10, mode=mode)
NONE = Const(np.zeros(0, np.float32))
for opset in (11, 13, 19):
    for mode in ("nearest", "linear", "cubic"):
        for where in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            case("Resize", normal(2, 3, 6, 7), NONE, Const(np.float32([1, 1, 2, 0.6])), opset=opset, mode=mode,
                 coordinate_transformation_mode=where)
            case("Resize", normal(2, 3, 6, 7), NONE, NONE, ints(2, 3, 9, 4), opset=opset, mode=mode, note="sizes",
                 coordinate_transformation_mode=where)
for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
    for size in (3, 11, 14):
        case("Resize", normal(1, 1, 7, 7), NONE, NONE, ints(1, 1, size, size), exact=True, nearest_mode=rounding, note=str(size))
case("Resize", normal(2, 3, 7), None, Const(np.float32([1, 1, 2.5])), mode="linear")
case("Resize", normal(1, 2, 3, 4, 5), None, Const(np.float32([1, 1, 2, 1.5, 2])), mode="linear")
case("Resize", normal(1, 2, 5, 6), None, None, ints(9, 8), opset=18, mode="linear", axes=[2, 3])
case("Resize", normal(1, 2, 9, 8), None, None, ints(1, 2, 4, 5), opset=18, mode="linear", antialias=1)

# ---- Einsum ----
case("Einsum", normal(2, 3, 4, 5), normal(2, 3, 6, 5), equation="bhid,bhjd->bhij")
case("Einsum", normal(2, 3, 4, 6), normal(2, 3, 6, 5), equation="bhij,bhjd->bhid")
case("Einsum", normal(2, 4, 5), normal(5, 3), equation="...d,de->...e")
case("Einsum", normal(3, 4), normal(4, 5), equation="ij,jk")
case("Einsum", normal(2, 5, 3, 4), normal(2, 6, 3, 4), equation="bqnd, bknd -> bnqk")
case("Einsum", normal(3, 4), equation="ij->ji")
case("Einsum", normal(2, 4, 4), equation="bii->bi")
