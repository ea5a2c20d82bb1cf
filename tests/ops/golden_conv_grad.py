"""Gradients of convolutions in float64: the sums of the forward operator with the operands exchanged."""

import itertools

import numpy as np

from golden_ops import Window, inside, op


def pairs(attrs, x_shape, kernel):
    """Every output position with every tap that reads inside of x, and what it reads."""
    dims = x_shape[2:]
    window = Window(attrs, dims, kernel)
    for position, tap in itertools.product(np.ndindex(*window.outputs(dims)), window.taps()):
        at = window.place(position, tap)
        if inside(at, dims):
            yield position, tap, at


@op("ed::ConvInputGrad")
def conv_input_grad(x, attrs, opset):
    dy, weight, group = x[0].astype(np.float64), x[1].astype(np.float64), attrs.get("group", 1)
    dx = np.zeros(attrs["input_shape"])
    c, m = dx.shape[1] // group, weight.shape[0] // group
    for position, tap, at in pairs(attrs, dx.shape, weight.shape[2:]):
        for g in range(group):
            part = weight[(slice(g * m, (g + 1) * m), slice(None), *tap)]
            dx[(slice(None), slice(g * c, (g + 1) * c), *at)] += dy[(slice(None), slice(g * m, (g + 1) * m), *position)] @ part
    return dx


@op("ed::ConvWeightGrad")
def conv_weight_grad(x, attrs, opset):
    dy, data, group = x[0].astype(np.float64), x[1].astype(np.float64), attrs.get("group", 1)
    c, m = data.shape[1] // group, dy.shape[1] // group
    dw = np.zeros([dy.shape[1], c, *attrs["kernel_shape"]])
    for position, tap, at in pairs(attrs, data.shape, attrs["kernel_shape"]):
        for g in range(group):
            rows = dy[(slice(None), slice(g * m, (g + 1) * m), *position)]
            dw[(slice(g * m, (g + 1) * m), slice(None), *tap)] += rows.T @ data[(slice(None), slice(g * c, (g + 1) * c), *at)]
    return [dw, dy.sum(axis=(0, *range(2, dy.ndim)))]
