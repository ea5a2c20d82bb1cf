#!/usr/bin/env python3
"""Train the demo's float model: train_digits.py [--epochs N] [--out digits.onnx]

Reads digits_train.h5 and digits_test.h5 beside this script and writes an ONNX model (opset 17) with
BatchNormalization and the residual Add kept as nodes. NumPy does the training, forward and backward;
onnx and h5py are needed besides. About ten seconds on one core; the seed is fixed.

  conv1 1->16  BN ReLU
  conv2 16->32 BN ReLU, stride 2
  conv3 32->32 BN ReLU, conv4 32->32 BN, + the input of conv3, ReLU
  GlobalAveragePool, Flatten, Gemm 32->10

Activations are [N, H, W, C] here and [N, C, H, W] in the model.
"""
import argparse
import pathlib
import time

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
EPS = 1e-5  # of BatchNormalization
BATCH, PEAK_RATE, MOMENTUM, DECAY = 32, 0.1, 0.9, 5e-4


class Conv:
    """3x3, one pixel of padding. y = cols(x) W, where cols(x) lays out each output's 9 C inputs."""

    def __init__(self, rng, name, cin, cout, stride=1):
        self.name, self.stride = name, stride
        self.w = rng.normal(0, np.sqrt(2 / (9 * cin)), (9 * cin, cout)).astype(np.float32)
        self.params = ["w"]

    def windows(self, padded, size):
        """The nine shifted views of a padded [N, H + 2, W + 2, C] array."""
        s = self.stride
        return [padded[:, i:i + s * (size - 1) + 1:s, j:j + s * (size - 1) + 1:s]
                for i in range(3) for j in range(3)]

    def forward(self, x, train):
        size = (x.shape[1] - 1) // self.stride + 1
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        self.cols = np.concatenate(self.windows(padded, size), axis=3).reshape(-1, len(self.w))
        self.shape = padded.shape, size
        return (self.cols @ self.w).reshape(len(x), size, size, -1)

    def backward(self, dy):
        shape, size = self.shape
        flat = dy.reshape(-1, dy.shape[3])
        self.dw = self.cols.T @ flat
        dcols = (flat @ self.w.T).reshape(len(dy), size, size, 9, -1)
        dx = np.zeros(shape, np.float32)
        for k, view in enumerate(self.windows(dx, size)):
            view += dcols[:, :, :, k]
        return dx[:, 1:-1, 1:-1]

    def export(self, model, x):
        cin = len(self.w) // 9
        w = self.w.reshape(3, 3, cin, -1).transpose(3, 2, 0, 1)
        return model.node("Conv", self.name, [x], {"weight": w}, kernel_shape=[3, 3],
                          pads=[1, 1, 1, 1], strides=[self.stride] * 2)


class BatchNorm:
    """y = (x - mean) / sqrt(var + eps) g + b over all but the channels."""

    def __init__(self, name, channels):
        self.name, self.params = name, ["g", "b"]
        self.g, self.b = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        self.mean, self.var = np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def forward(self, x, train):
        mean, var = self.mean, self.var
        if train:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.mean += 0.1 * (mean - self.mean)
            self.var += 0.1 * (var - self.var)
        self.inv = 1 / np.sqrt(var + np.float32(EPS))
        self.xhat = (x - mean) * self.inv
        return self.xhat * self.g + self.b

    def backward(self, dy):
        self.dg, self.db = (dy * self.xhat).sum((0, 1, 2)), dy.sum((0, 1, 2))
        n = np.float32(dy.size / dy.shape[3])
        return self.g * self.inv * (dy - self.db / n - self.xhat * self.dg / n)

    def export(self, model, x):
        return model.node("BatchNormalization", self.name, [x],
                          {"scale": self.g, "bias": self.b, "mean": self.mean, "var": self.var},
                          epsilon=EPS)


class ReLU:
    def __init__(self, name):
        self.name, self.params = name, []

    def forward(self, x, train):
        self.on = x > 0
        return x * self.on

    def backward(self, dy):
        return dy * self.on

    def export(self, model, x):
        return model.node("Relu", self.name, [x], {})


class Residual:
    """y = x + inner(x)"""

    def __init__(self, name, inner):
        self.name, self.inner, self.params = name, inner, []

    def forward(self, x, train):
        y = x
        for layer in self.inner:
            y = layer.forward(y, train)
        return x + y

    def backward(self, dy):
        dx = dy
        for layer in reversed(self.inner):
            dx = layer.backward(dx)
        return dx + dy

    def export(self, model, x):
        y = x
        for layer in self.inner:
            y = layer.export(model, y)
        return model.node("Add", self.name, [y, x], {})


class Head:
    """The mean over the picture, then a linear layer."""

    def __init__(self, rng, cin, cout):
        self.w = rng.normal(0, np.sqrt(1 / cin), (cin, cout)).astype(np.float32)
        self.b = np.zeros(cout, np.float32)
        self.params = ["w", "b"]

    def forward(self, x, train):
        self.shape, self.x = x.shape, x.mean((1, 2))
        return self.x @ self.w + self.b

    def backward(self, dy):
        self.dw, self.db = self.x.T @ dy, dy.sum(0)
        dx = dy @ self.w.T / np.float32(self.shape[1] * self.shape[2])
        return np.broadcast_to(dx[:, None, None], self.shape)

    def export(self, model, x):
        x = model.node("GlobalAveragePool", "pool", [x], {})
        x = model.node("Flatten", "flatten", [x], {}, axis=1)
        return model.node("Gemm", "fc", [x], {"weight": self.w.T, "bias": self.b},
                          output="logits", transB=1)


def build(rng):
    return [Conv(rng, "conv1", 1, 16), BatchNorm("bn1", 16), ReLU("relu1"),
            Conv(rng, "conv2", 16, 32, stride=2), BatchNorm("bn2", 32), ReLU("relu2"),
            Residual("add", [Conv(rng, "conv3", 32, 32), BatchNorm("bn3", 32), ReLU("relu3"),
                             Conv(rng, "conv4", 32, 32), BatchNorm("bn4", 32)]), ReLU("relu4"),
            Head(rng, 32, 10)]


def forward(net, x, train=False):
    for layer in net:
        x = layer.forward(x, train)
    return x


def accuracy(net, x, labels):
    return 100 * np.mean(forward(net, x).argmax(1) == labels)


def shifted(rng, x):
    """Each picture moved by up to a pixel; what comes in repeats the edge."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    di, dj = rng.integers(0, 3, (2, len(x), 1, 1))
    rows, cols = np.arange(8)[None, :, None] + di, np.arange(8)[None, None, :] + dj
    return padded[np.arange(len(x))[:, None, None], rows, cols]


def train(net, rng, x, labels, epochs):
    """SGD with momentum and weight decay; the rate rises for a tenth, then falls as a cosine."""
    layers = [part for layer in net for part in (layer, *getattr(layer, "inner", []))]
    speed = {(i, p): 0 for i, layer in enumerate(layers) for p in layer.params}
    steps = epochs * (len(x) // BATCH)
    for step in range(steps):
        if step % (len(x) // BATCH) == 0:
            order = rng.permutation(len(x))
        at = step % (len(x) // BATCH) * BATCH
        rows = order[at:at + BATCH]
        logits = forward(net, shifted(rng, x[rows]), train=True)
        grad = np.exp(logits - logits.max(1, keepdims=True))
        grad /= grad.sum(1, keepdims=True)
        grad[np.arange(BATCH), labels[rows]] -= 1
        grad /= np.float32(BATCH)
        for layer in reversed(net):
            grad = layer.backward(grad)
        rate = PEAK_RATE * min(step / (0.1 * steps), 0.5 + 0.5 * np.cos(np.pi * step / steps))
        for (i, p), v in speed.items():
            value, gradient = getattr(layers[i], p), getattr(layers[i], "d" + p)
            decay = DECAY if p == "w" else 0
            speed[i, p] = MOMENTUM * v + gradient + np.float32(decay) * value
            value -= np.float32(rate) * speed[i, p]


class Model:
    """Collects the nodes and initializers of the ONNX graph."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def node(self, op_type, name, inputs, weights, output=None, **attributes):
        for suffix, value in weights.items():
            inputs = inputs + [f"{name}.{suffix}"]
            value = np.ascontiguousarray(value, dtype=np.float32)
            self.initializers.append(numpy_helper.from_array(value, inputs[-1]))
        output = output or f"{name}.out"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))
        return output


def save(net, path):
    model, x = Model(), "input"
    for layer in net:
        x = layer.export(model, x)
    graph = helper.make_graph(
        model.nodes, "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        model.initializers)
    proto = helper.make_model(graph, producer_name="train_digits.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def load(name):
    with h5py.File(HERE / f"digits_{name}.h5") as file:
        data = file["input"]
        x = (data[:].astype(np.float32) - data.attrs["mean"]) / data.attrs["std"]
        return x.transpose(0, 2, 3, 1), file["labels"][:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "digits.onnx")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    net, start = build(rng), time.time()
    train(net, rng, *load("train"), args.epochs)
    save(net, args.out)
    right = [round(accuracy(net, *load(name)), 2) for name in ("train", "test")]
    print(f"{args.out}: {right[0]} % of the training, {right[1]} % of the test pictures right, "
          f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
