"""Gradients of operators that move elements, pool and normalize, in NumPy; see golden_ops.py."""

import numpy as np

from golden_ops import op


@op("ed::GatherGrad")
def gather_grad(x, attrs, opset):
    shape, axis = attrs["input_shape"], attrs.get("axis", 0)
    dx = np.zeros(shape)
    np.add.at(np.moveaxis(dx, axis, 0), x[1], np.moveaxis(x[0], range(axis % len(shape), axis % len(shape) + x[1].ndim), range(x[1].ndim)))
    return dx
