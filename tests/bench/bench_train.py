#!/usr/bin/env python3
"""A step of training on the CPU beside PyTorch's, with 2 threads, in one run.

  bench_train.py BENCH_TRAIN ED_CALIBRATE MODEL DATA.h5 [--batch N] [--steps N] [--rounds N] [--threads N] [--json]

Three steps of SGD with Nesterov momentum on the labels of the same pictures take turns, --steps at a time, --rounds times:

  ours           the model that ed-calibrate writes: BatchNormalization folded, activations' and weights' FakeQuantize
  torch QAT      torch.ao.quantization.prepare_qat_fx, default x86 mapping: BatchNormalization inside the fused
                 convolution, observers
  torch float    the model as it is, with BatchNormalization in training mode

First the module must compute the ONNX model's logits (1e-4 relative to the largest), and bench_train compares its own
gradients with those of the reference kernels.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

# Waiting threads that spin take the core from the other program, and from whoever else is there: both sides sleep soon.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import h5py
import numpy as np
import torch
from torch.ao.quantization import get_default_qat_qconfig_mapping
from torch.ao.quantization.quantize_fx import prepare_qat_fx

import onnx_torch

RATE, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4


class Ours:
    def __init__(self, args, quantized, x, labels, folder):
        paths = [os.path.join(folder, name) for name in ("x.f32", "labels.i64")]
        x.tofile(paths[0])
        labels.tofile(paths[1])
        env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
        self.process = subprocess.Popen(
            [args.program, quantized, str(args.batch), str(args.steps)] + paths, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=env)
        self.about = self.line()
        self.line()  # the first steps warm it up

    def line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            sys.exit("bench_train.py: our program stopped")
        return line

    def seconds(self):
        """Least and median seconds of a step."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return [float(word) for word in self.line().split()[:2]]


class Theirs:
    def __init__(self, model, x, labels, batch, steps):
        self.model, self.steps = model, steps
        self.batches = [(torch.from_numpy(x[i:i + batch]), torch.from_numpy(labels[i:i + batch]))
                        for i in range(0, len(x), batch)]
        self.optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY)
        self.seconds()

    def seconds(self):
        times = []
        for i in range(self.steps):
            x, labels = self.batches[i % len(self.batches)]
            begin = time.perf_counter()
            self.optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(self.model(x), labels).backward()
            self.optimizer.step()
            times.append(time.perf_counter() - begin)
        return [min(times), float(np.median(times))]


def samples(path, count):
    with h5py.File(path) as file:
        data = file["input"]
        mean, std = (data.attrs[k].reshape(1, -1, 1, 1) for k in ("mean", "std"))
        x = (data[:count].astype(np.float32) - mean) / std
        return x.astype(np.float32), file["labels"][:count].astype(np.int64)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("calibrate", metavar="ed_calibrate")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    x, labels = samples(args.data, 4 * args.batch)
    difference = onnx_torch.check_logits(onnx_torch.load(args.model), args.model, x[:8])
    with tempfile.TemporaryDirectory() as folder:
        quantized = os.path.join(folder, "int8.onnx")
        subprocess.run([args.calibrate, args.model, "--data", args.data, "--limit", "512", "--quiet", "-o", quantized],
                       check=True)
        qat = prepare_qat_fx(onnx_torch.load(args.model).train(), get_default_qat_qconfig_mapping("x86"),
                             (torch.from_numpy(x[:args.batch]),))
        sides = {"ours": Ours(args, quantized, x, labels, folder), "torch QAT": Theirs(qat, x, labels, args.batch, args.steps),
                 "torch float": Theirs(onnx_torch.load(args.model).train(), x, labels, args.batch, args.steps)}
        times = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, side in sides.items():
                times[name].append(side.seconds())
    least = {name: min(t[0] for t in all_times) for name, all_times in times.items()}
    median = {name: float(np.median([t[1] for t in all_times])) for name, all_times in times.items()}
    result = {"model": os.path.basename(args.model), "batch": args.batch, "threads": args.threads, "least_seconds": least,
              "median_seconds": median, "logits_difference": difference, "ours": sides["ours"].about}
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['model']}: batch {args.batch}, {args.threads} threads; logits' largest difference {difference:.1e}; "
          f"ours: {result['ours']}")
    for name in sides:
        print(f"{name:12} least {least[name]:.4f} s, median {median[name]:.4f} s; ours / {name}: "
              f"{least['ours'] / least[name]:.3f} of the least, {median['ours'] / median[name]:.3f} of the medians")


if __name__ == "__main__":
    main()
