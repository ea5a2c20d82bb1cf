"""A quantized (QDQ) ONNX model as PyTorch's autograd computes it, to compare training with.

Each operator is a line of OPERATORS. A QuantizeLinear with its DequantizeLinear is a fake-quantization written out here, by
the rules that the library documents: y = clamp(rne(x / scale), qmin, qmax) scale with zero_point 0, a gradient that passes
where the rounded value lies in [qmin, qmax] (STE), activation scales that stay as the file has them, and a scale of absmax /
qmax per channel for weights in every step.
"""

import math

import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

LEAST_AMAX = 2.0**-24


class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, qmin, qmax):
        rounded = torch.round(x / scale)
        ctx.save_for_backward((rounded >= qmin) & (rounded <= qmax))
        return rounded.clamp(qmin, qmax) * scale

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0], None, None, None


def conv(x, a):
    pads = a.get("pads", [0, 0, 0, 0])
    assert pads[:2] == pads[2:]
    return F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, a.get("strides", 1), pads[:2], a.get("dilations", 1),
                    a.get("group", 1))


def gemm(x, a):
    left = x[0].mT if a.get("transA") else x[0]
    y = a.get("alpha", 1.0) * left @ (x[1].mT if a.get("transB") else x[1])
    return y + a.get("beta", 1.0) * x[2] if len(x) > 2 else y


def layer_norm(x, a):
    axis = a.get("axis", -1) % x[0].dim()
    return F.layer_norm(x[0], x[0].shape[axis:], x[1], x[2] if len(x) > 2 else None, a.get("epsilon", 1e-5))


def reshape(x, a):
    return x[0].reshape([x[0].shape[i] if n == 0 else n for i, n in enumerate(x[1].tolist())])


def gather(x, a):
    axis = a.get("axis", 0)
    return x[0].index_select(axis, x[1].reshape(-1)).reshape(
        x[0].shape[:axis] + x[1].shape + x[0].shape[axis % x[0].dim() + 1:])


OPERATORS = {
    "Conv": conv, "Gemm": gemm, "LayerNormalization": layer_norm, "Reshape": reshape, "Gather": gather,
    "MatMul": lambda x, a: x[0] @ x[1], "Add": lambda x, a: x[0] + x[1], "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1], "Div": lambda x, a: x[0] / x[1],
    "Relu": lambda x, a: x[0].relu(), "Clip": lambda x, a: x[0].clamp(x[1], x[2]), "Erf": lambda x, a: x[0].erf(),
    "Softmax": lambda x, a: x[0].softmax(a.get("axis", -1)),
    "GlobalAveragePool": lambda x, a: x[0].mean((2, 3), keepdim=True),
    "Flatten": lambda x, a: x[0].reshape(math.prod(x[0].shape[:a.get("axis", 1)]), -1),
    "Transpose": lambda x, a: x[0].permute(a["perm"]), "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "Shape": lambda x, a: torch.tensor(x[0].shape), "Expand": lambda x, a: x[0] * torch.ones(x[1].tolist()),
    "Identity": lambda x, a: x[0],
}


class Model:
    """forward(x) with `constants`, by name; those that are to train are made parameters by trains()."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self.constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.input, self.output, self.nodes = graph.input[0].name, graph.output[0].name, []
        for node in graph.node:
            attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self.constants[node.output[0]] = torch.from_numpy(numpy_helper.to_array(attrs["value"]).copy())
            else:
                self.nodes.append((node.op_type, list(node.input), node.output[0], attrs))

    def trains(self, names):
        for name in names:
            self.constants[name].requires_grad_()
        return [self.constants[name] for name in names]

    def quantize(self, names, attrs):
        x, scale, zero_point = (self.values[name] for name in names)
        assert not zero_point.any()
        limits = torch.iinfo(zero_point.dtype)
        if names[0] in self.constants:
            axis = attrs.get("axis", 1)
            others = [i for i in range(x.dim()) if i != axis or scale.dim() == 0]
            amax = x.detach().abs().amax(others, keepdim=True)
            scale = amax.clamp_min(LEAST_AMAX) / limits.max
        return FakeQuantize.apply(x, scale, limits.min, limits.max)

    def forward(self, x):
        self.values = dict(self.constants, **{self.input: x})
        for op_type, inputs, output, attrs in self.nodes:
            if op_type == "QuantizeLinear":
                self.values[output] = self.quantize(inputs, attrs)
            elif op_type == "DequantizeLinear":
                self.values[output] = self.values[inputs[0]]
            else:
                self.values[output] = OPERATORS[op_type]([self.values[name] for name in inputs if name], attrs)
        return self.values[self.output]
