#!/usr/bin/env python3
"""The forward pass on a GPU beside PyTorch: eager, torch.compile, and bfloat16 by autocast.

  bench_gpu.py BENCH_GPU MODEL [--batch N] [--repeats N] [--no-compile] [--tune]

MODEL is ResNet-50 as torchvision's TorchScript exporter writes it, with its BatchNormalization: both run the
same weights on the same pictures. The outputs are compared first (1e-2 of
the largest value: both shorten mantissas), then each is timed on the device's own clock, pictures already
there. The last lines are the ratios of this run, ours over PyTorch's.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
import torchvision
from onnx import numpy_helper


def milliseconds(run, repeats):
    for _ in range(5):
        run()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return float(np.median(times))


def torch_times(model, x, args):
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    model = model.cuda().eval().to(memory_format=torch.channels_last)
    x = x.cuda().to(memory_format=torch.channels_last)
    times = {}
    with torch.inference_mode():
        output = model(x).float().cpu().numpy()
        times["eager tf32"] = milliseconds(lambda: model(x), args.repeats)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            times["autocast bf16"] = milliseconds(lambda: model(x), args.repeats)
        if not args.no_compile:
            compiled = torch.compile(model)
            times["compile tf32"] = milliseconds(lambda: compiled(x), args.repeats)
    return output, times


def our_times(args, x, folder):
    results, outputs = {}, {}
    x.tofile(os.path.join(folder, "x.f32"))
    for precision in ["tf32", "bf16", "fp32"]:
        path = os.path.join(folder, "y.f32")
        command = [args.program, args.model, str(args.batch), os.path.join(folder, "x.f32"), path, "cuda", precision,
                   str(args.repeats)] + (["tune"] if args.tune and precision != "fp32" else [])
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
        results[precision] = json.loads(line)
        outputs[precision] = np.fromfile(path, np.float32)
    return results, outputs


def resnet50(graph):
    """torchvision's module with the weights of its export: layers come in the same order in both."""
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:  # equal initializers are stored once
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    model = torchvision.models.resnet50(weights=None)
    layers = {"Conv": (torch.nn.Conv2d, ["weight"]), "Gemm": (torch.nn.Linear, ["weight", "bias"]),
              "BatchNormalization": (torch.nn.BatchNorm2d, ["weight", "bias", "running_mean", "running_var"])}
    for op_type, (kind, names) in layers.items():
        modules = [m for m in model.modules() if isinstance(m, kind)]
        nodes = [n for n in graph.node if n.op_type == op_type]
        if len(modules) != len(nodes):
            sys.exit(f"bench_gpu.py: the model has {len(nodes)} {op_type}, not ResNet-50's {len(modules)}; use "
                     "resnet50_script")
        for module, node in zip(modules, nodes):
            for name, value in zip(names, node.input[1:]):
                getattr(module, name).data.copy_(torch.from_numpy(values[value].copy()))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--tune", action="store_true")
    args = parser.parse_args()

    model = resnet50(onnx.load(args.model).graph)
    x = np.random.default_rng(0).standard_normal((args.batch, 3, 224, 224), dtype=np.float32)

    with tempfile.TemporaryDirectory() as folder:
        ours, outputs = our_times(args, x, folder)
        want, theirs = torch_times(model, torch.from_numpy(x), args)
    for precision, limit in [("tf32", 1e-2), ("fp32", 1e-2), ("bf16", 5e-2)]:
        error = float(np.abs(outputs[precision] - want.ravel()).max() / np.abs(want).max())
        ours[precision]["difference"] = error
        if not error <= limit:
            sys.exit(f"bench_gpu.py: {precision} outputs differ by {error:.2e} relative; at most {limit} is allowed")
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "batch": args.batch, "ours": ours, "pytorch": theirs},
                     indent=1))
    for precision, name in [("tf32", "compile tf32"), ("tf32", "eager tf32"), ("bf16", "autocast bf16")]:
        if name in theirs:
            mine = ours[precision]["milliseconds"]
            print(f"{precision}: {mine:.2f} ms, PyTorch {name} {theirs[name]:.2f} ms, ratio {mine / theirs[name]:.3f}")


if __name__ == "__main__":
    main()
