#!/usr/bin/env python3
"""Calibration from start to written file beside ONNX Runtime's bare inference of the same samples.

  bench_calibrate.py ED_CALIBRATE MODEL CALIB.h5 [--large TRAIN.h5] [--method entropy] [--rounds N] [--threads N]

First the written model must load and compute in ONNX Runtime; then the two take turns; medians and their ratio are
printed, and the peak memory of ed-calibrate for CALIB.h5 and, with --large, for a file of many more samples.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np
import onnxruntime as ort


def calibrate(args, data, out, watch=False):
    """Wall seconds and, when watched, peak kilobytes of one run of the command."""
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    command = [args.program, args.model, "--data", data, "-o", out, "--method", args.method, "--quiet",
               "--threads", str(args.threads)]
    peak = 0
    begin = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as child:
        while watch and child.poll() is None:  # getrusage would tell this program's own peak, kept through exec
            try:
                with open(f"/proc/{child.pid}/status") as status:
                    peak = max([peak] + [int(line.split()[1]) for line in status if line.startswith("VmHWM")])
            except OSError:
                break
            time.sleep(0.002)
    if child.returncode:
        sys.exit("bench_calibrate.py: ed-calibrate failed")
    return time.perf_counter() - begin, peak


def session_of(path, threads, optimize=True):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--large")
    parser.add_argument("--method", default="entropy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()

    with h5py.File(args.data) as file:
        data = file["input"]
        mean, std = (data.attrs[k].reshape(1, -1, 1, 1) for k in ("mean", "std"))
        x = (data[:].astype(np.float32) - mean) / std
    session = session_of(args.model, args.threads)
    name = session.get_inputs()[0].name
    batches = [x[i:i + args.batch] for i in range(0, len(x), args.batch)]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "int8.onnx")
        _, memory = calibrate(args, args.data, out, watch=True)
        a, b = (session_of(p, args.threads, False).run(None, {name: batches[0]})[0] for p in (args.model, out))
        sqnr = 10 * np.log10((a.astype(np.float64) ** 2).sum() / ((a - b).astype(np.float64) ** 2).sum())
        if not sqnr > 10:
            sys.exit(f"bench_calibrate.py: the written model is {sqnr:.1f} dB from the float one; more than 10 expected")
        times = {"theirs": [], "ours": []}
        for _ in range(args.rounds):
            begin = time.perf_counter()
            for batch in batches:
                session.run(None, {name: batch})
            times["theirs"].append(time.perf_counter() - begin)
            times["ours"].append(calibrate(args, args.data, out)[0])
        theirs, mine = np.median(times["theirs"]), np.median(times["ours"])
        print(f"{os.path.basename(args.model)}: {len(x)} samples, {args.method}, {args.threads} threads: onnxruntime's "
              f"inference {theirs:.3f} s, calibration start to file {mine:.3f} s, ratio {mine / theirs:.2f}, "
              f"peak {memory / 1024:.0f} MB, {sqnr:.1f} dB")
        if args.large:
            _, more = calibrate(args, args.large, out, watch=True)
            print(f"peak memory with {os.path.basename(args.large)}: {more / 1024:.0f} MB, ratio {more / memory:.3f}")


if __name__ == "__main__":
    main()
