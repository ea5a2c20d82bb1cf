#!/usr/bin/env python3
"""PyTorch's training steps on a GPU, beside bench_train_gpu: ResNet-50 or another convolutional model.

  bench_train_torch.py MODEL [--batch N] [--repeats N] [--ours BENCH_TRAIN_GPU QUANTIZED]

MODEL is the float ONNX model with its BatchNormalization. Timed, in channels_last, SGD with Nesterov momentum:

  graph tf32, graph bf16   the plain float step of the network with BatchNormalization folded, as a CUDA graph; bf16 by
                           autocast: the least that a step of quantization-aware training could cost in PyTorch
  fx qat                   torch.ao.quantization.prepare_qat_fx, default x86 mapping, tf32
  modelopt qat             NVIDIA ModelOpt's INT8_DEFAULT_CFG on the folded network, tf32, when it is installed

The module's logits are compared with ONNX's reference first. Milliseconds are the median on the device's clock, memory is
the largest that was allocated. With --ours that program is run on QUANTIZED, the model that ed-calibrate wrote, and the
ratios of this run, ours over PyTorch's, come last.
"""
import argparse
import gc
import json
import subprocess
import sys

import numpy as np
import onnx
import torch
from torch.ao.quantization import get_default_qat_qconfig_mapping
from torch.ao.quantization.quantize_fx import prepare_qat_fx
from torch.fx.experimental.optimization import fuse

import onnx_torch

RATE, MOMENTUM, DECAY, WARM = 1e-3, 0.9, 1e-4, 5


class Step:
    """One step of training over a fixed batch."""

    def __init__(self, model, x, labels, autocast=False):
        self.model, self.x, self.labels, self.autocast = model, x, labels, autocast
        self.optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY)

    def __call__(self):
        self.optimizer.zero_grad(set_to_none=True)
        # without the cache of casts: a graph replays what was recorded, and weights change
        with torch.autocast(self.x.device.type, dtype=torch.bfloat16, enabled=self.autocast, cache_enabled=False):
            loss = torch.nn.functional.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss


def recorded(step):
    """The step as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # kernels are chosen and the momentum is made outside of the graph
        for _ in range(WARM):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay():
        graph.replay()
        return step  # which owns the memory that the graph reads

    return replay


def milliseconds(run, repeats):
    times = []
    for i in range(WARM + repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return float(np.median(times[WARM:]))


def measure(make, repeats):
    """Milliseconds and peak memory of what make() returns; a failure is told, not hidden."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        return {"milliseconds": milliseconds(make(), repeats), "peak_mib": torch.cuda.max_memory_allocated() / 2**20}
    except (RuntimeError, ImportError) as error:
        return {"failed": str(error).splitlines()[0]}


def fx_qat(path, x):
    return prepare_qat_fx(onnx_torch.load(path).train(), get_default_qat_qconfig_mapping("x86"), (x[:1].cpu(),))


def modelopt_qat(path, x):
    import modelopt.torch.quantization as mtq
    return mtq.quantize(fuse(onnx_torch.load(path).eval()).to(x.device), mtq.INT8_DEFAULT_CFG, lambda model: model(x))


def on_device(model):
    return model.cuda().train().to(memory_format=torch.channels_last)


def their_times(args, x, labels):
    def folded():
        return on_device(fuse(onnx_torch.load(args.model).eval()))

    sides = {
        "graph tf32": lambda: recorded(Step(folded(), x, labels)),
        "graph bf16": lambda: recorded(Step(folded(), x, labels, autocast=True)),
        "fx qat": lambda: Step(on_device(fx_qat(args.model, x)), x, labels),
        "modelopt qat": lambda: Step(on_device(modelopt_qat(args.model, x)), x, labels),
    }
    return {name: measure(make, args.repeats) for name, make in sides.items()}


def our_times(args):
    """bench_train_gpu prints a JSON object with "milliseconds" in a line of its own."""
    program, quantized = args.ours
    times = {}
    for precision in ["tf32", "bf16"]:
        command = [program, quantized, "-", str(args.batch), "cuda", precision, str(args.repeats)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        lines = [line for line in output.splitlines() if line.startswith("{") and '"milliseconds"' in line]
        if not lines:
            sys.exit(f"bench_train_torch.py: {program} printed no JSON object with \"milliseconds\" but: {output}")
        times[precision] = json.loads(lines[0])
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--ours", nargs=2, metavar=("BENCH_TRAIN_GPU", "QUANTIZED"))
    args = parser.parse_args()

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    shape = [d.dim_value for d in onnx.load(args.model).graph.input[0].type.tensor_type.shape.dim[1:]]
    random = np.random.default_rng(0)
    pictures = random.standard_normal([args.batch] + shape, dtype=np.float32)
    difference = onnx_torch.check_logits(onnx_torch.load(args.model), args.model, pictures[:1])
    ours = our_times(args) if args.ours else {}
    x = torch.from_numpy(pictures).cuda().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        classes = onnx_torch.load(args.model).eval()(x[:1].cpu()).shape[1]
    labels = torch.from_numpy(random.integers(0, classes, args.batch)).cuda()
    theirs = their_times(args, x, labels)
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "batch": args.batch, "logits_difference": difference, "ours": ours,
                      "pytorch": theirs}, indent=1))
    for precision, mine in ours.items():
        for name in [f"graph {precision}", "fx qat", "modelopt qat"]:
            if "milliseconds" in theirs[name]:
                a, b = mine["milliseconds"], theirs[name]["milliseconds"]
                print(f"training {precision}: {a:.2f} ms, PyTorch {name} {b:.2f} ms, ratio {a / b:.3f}")


if __name__ == "__main__":
    main()
