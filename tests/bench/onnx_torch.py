"""A convolutional ONNX model as a PyTorch module, for benchmarks of training beside PyTorch.

Conv, BatchNormalization, Relu, Clip(0, 6), Add, GlobalAveragePool, Flatten, Gemm, MaxPool, Identity; the module is made of
torch.nn layers through torch.fx, so that PyTorch's own quantization finds the patterns it knows.
"""

import sys

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx, nn


def tensor(array):
    return torch.from_numpy(array.copy())


def conv(node, attrs, weights):
    weight = weights[node.input[1]]
    pads = attrs.get("pads", [0, 0, 0, 0])
    assert pads[:2] == pads[2:], node.name
    layer = nn.Conv2d(weight.shape[1] * attrs.get("group", 1), weight.shape[0], weight.shape[2:], attrs.get("strides", 1),
                      pads[:2], attrs.get("dilations", 1), attrs.get("group", 1), bias=len(node.input) > 2)
    layer.weight.data = tensor(weight)
    if len(node.input) > 2:
        layer.bias.data = tensor(weights[node.input[2]])
    return layer


def batch_norm(node, attrs, weights):
    scale, bias, mean, var = (weights[name] for name in node.input[1:5])
    layer = nn.BatchNorm2d(len(scale), eps=attrs["epsilon"])
    layer.weight.data, layer.bias.data = tensor(scale), tensor(bias)
    layer.running_mean, layer.running_var = tensor(mean), tensor(var)
    return layer


def gemm(node, attrs, weights):
    weight = weights[node.input[1]]
    weight = weight if attrs.get("transB") else weight.T
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = tensor(weight), tensor(weights[node.input[2]])
    return layer


def max_pool(node, attrs, weights):
    return nn.MaxPool2d(attrs["kernel_shape"], attrs["strides"], attrs["pads"][:2])


def clip(node, attrs, weights):
    assert [float(weights[name]) for name in node.input[1:]] == [0, 6]
    return nn.ReLU6()


LAYERS = {
    "Conv": conv, "BatchNormalization": batch_norm, "Gemm": gemm, "MaxPool": max_pool, "Clip": clip,
    "Relu": lambda *_: nn.ReLU(), "GlobalAveragePool": lambda *_: nn.AdaptiveAvgPool2d(1), "Flatten": lambda *_: nn.Flatten(),
}


def load(path):
    """A torch.fx.GraphModule that computes the model's first output from its first input."""
    model = onnx.load(path)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    graph, root, values = fx.Graph(), nn.Module(), {}
    values[model.graph.input[0].name] = graph.placeholder("x")
    for i, node in enumerate(model.graph.node):
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            weights[node.output[0]] = numpy_helper.to_array(attrs["value"])
        elif node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
        elif node.op_type == "Add":
            values[node.output[0]] = graph.call_function(torch.add, tuple(values[name] for name in node.input))
        else:
            name = f"{node.op_type.lower()}_{i}"
            root.add_module(name, LAYERS[node.op_type](node, attrs, weights))
            values[node.output[0]] = graph.call_module(name, (values[node.input[0]],))
    graph.output(values[model.graph.output[0].name])
    return fx.GraphModule(root, graph)


def check_logits(model, path, x):
    """The largest difference between the module's outputs and those of ONNX's own reference, relative to the largest
    output; above 1e-4 the program ends."""
    proto = onnx.load(path)
    want = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x})[0]
    with torch.inference_mode():
        got = model.eval()(torch.from_numpy(x)).numpy()
    error = float(np.abs(got - want).max() / np.abs(want).max())
    if not error <= 1e-4:
        sys.exit(f"{path}: the module's outputs differ by {error:.2e} relative; at most 1e-4 is allowed")
    return error
