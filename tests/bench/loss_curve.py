#!/usr/bin/env python3
"""The loss of every step of ed-qat beside that of PyTorch's autograd, from the same start.

  loss_curve.py ED_CALIBRATE ED_QAT MODEL DATA.h5 [--steps N] [--batch N] [--lr RATE] [--limit SHARE] [--finer] [--again]

ed-calibrate writes the quantized model; both sides train it on the labels with SGD (Nesterov momentum 0.9, weight decay
1e-4, constant rate), the same samples in the same order (the seed's permutation is made again here), scales of activations
frozen, no augmentation. What trains is what `ed-qat -v` says. Printed: both losses of some steps, the largest relative
difference of all. With --limit the exit status is 1 when it is above that.

Sums that end in other roundings move values to the next of 256 levels and through ReLU's zero, and training amplifies that:
the two drift apart without either being wrong. With --again PyTorch trains a second time without oneDNN, in other roundings:
how far two runs of the very same rules drift apart. --finer gives everything 16 bits, which makes the drift smaller.
"""
import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

from bench_train import DECAY, MOMENTUM, samples  # before torch: it sets how its threads wait
import onnx
import onnx_qat
import torch
from onnx import numpy_helper

MASK = 2**64 - 1


class SplitMix:
    """src/base/random.h."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)


def permutation(seed, epoch, count):
    """The order of an epoch's samples: Fisher and Yates, as src/data/order.c has it."""
    mixed = SplitMix(SplitMix(seed).next() ^ epoch)
    random, order = SplitMix(mixed.next()), list(range(count))
    for i in range(count - 1, 0, -1):
        j = (random.next() * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return order


def our_losses(args, quantized, folder):
    """The losses, and (name, decays) of what trained."""
    log = os.path.join(folder, "log.csv")
    command = [args.ed_qat, quantized, "--data", args.data, "--limit", str(args.steps * args.batch), "--batch",
               str(args.batch), "--epochs", "1", "--loss", "labels", "--schedule", "constant", "--lr", str(args.lr),
               "--momentum", str(MOMENTUM), "--weight-decay", str(DECAY), "--threads", str(args.threads), "--log", log, "-v",
               "-o", os.path.join(folder, "trained.onnx")]
    said = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    trained = [(m[1], ", decays" in m[2]) for m in re.finditer(r"trains (\S+) \[[^]]*\](.*)", said)]
    with open(log, newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["kind"] == "step"], trained


def their_losses(args, quantized, trained):
    torch.set_num_threads(args.threads)
    model, losses = onnx_qat.Model(quantized), []
    groups = [{"params": model.trains([n for n, decays in trained if decays == which]), "weight_decay": which * DECAY}
              for which in (True, False)]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=args.lr, momentum=MOMENTUM, nesterov=True)
    x, labels = samples(args.data, args.steps * args.batch)
    order = np.array(permutation(0, 0, len(x)))
    for i in range(0, len(x), args.batch):
        now = order[i:i + args.batch]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model.forward(torch.from_numpy(x[now])), torch.from_numpy(labels[now]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def refine(path):
    """The same ranges in 256 times as many levels: int16."""
    model = onnx.load(path)
    nodes = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales, zero_points = ({n.input[i] for n in nodes} for i in (1, 2))
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in scales:
            tensor.CopyFrom(numpy_helper.from_array(array / np.float32(256), tensor.name))
        elif tensor.name in zero_points:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.int16), tensor.name))
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, 21)
    onnx.save(model, path)


def differences(a, b):
    return np.abs(np.array(a) - np.array(b)) / np.abs(np.array(b))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ed_calibrate")
    parser.add_argument("ed_qat")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float)
    parser.add_argument("--finer", action="store_true")
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        quantized = os.path.join(folder, "qdq.onnx")
        subprocess.run([args.ed_calibrate, args.model, "--data", args.data, "--limit", "512", "--weights", "float", "--quiet",
                        "-o", quantized], check=True)
        if args.finer:
            refine(quantized)
        ours, trained = our_losses(args, quantized, folder)
        theirs = their_losses(args, quantized, trained)
        if args.again:
            with torch.backends.mkldnn.flags(enabled=False):
                drift = differences(their_losses(args, quantized, trained), theirs)
    if len(ours) != len(theirs):
        sys.exit(f"loss_curve.py: the log has {len(ours)} steps; {len(theirs)} are expected")
    error = differences(ours, theirs)
    print("step  ours      PyTorch   difference")
    for i in sorted({*range(0, args.steps, 10), args.steps - 1, int(error.argmax())}):
        print(f"{i + 1:4}  {ours[i]:.6f}  {theirs[i]:.6f}  {100 * error[i]:.3f} %")
    mean = 100 * abs(np.mean(ours) / np.mean(theirs) - 1)
    print(f"{os.path.basename(args.model)}: {args.steps} steps, batch {args.batch}, rate {args.lr:g}, {len(trained)} "
          f"parameters: largest relative difference of the loss {100 * error.max():.3f} %, mean {100 * error.mean():.3f} %, "
          f"of the mean loss {mean:.3f} %")
    if args.again:
        print(f"PyTorch without oneDNN beside itself: largest {100 * drift.max():.3f} %, mean {100 * drift.mean():.3f} %")
    return 1 if args.limit and not error.max() <= args.limit else 0


if __name__ == "__main__":
    sys.exit(main())
