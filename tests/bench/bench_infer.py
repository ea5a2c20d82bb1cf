#!/usr/bin/env python3
"""Float inference, ONNX Runtime and this library side by side in one run, with 2 threads.

  bench_infer.py BENCH_INFER MODEL SAMPLES BATCH [--rounds N] [--threads N] [--limit RATIO]

Both compute the same random pictures. First the outputs must agree (1e-4 relative to the largest value),
then the two take turns; the medians and their ratio (ours / ONNX Runtime's) are printed. With --limit the
exit status is 1 when the ratio is above it.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort


class Ours:
    def __init__(self, program, model, batch, folder, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        # libgomp's threads spin for about 16 ms before they sleep; where other programs (here:
        # ONNX Runtime's own waiting threads) want the cores, that costs up to four times the work.
        env.setdefault("GOMP_SPINCOUNT", "1000")
        self.output = os.path.join(folder, "output.f32")
        self.process = subprocess.Popen(
            [program, model, str(batch), os.path.join(folder, "input.f32"), self.output],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.compiled = self.process.stdout.readline().strip()

    def seconds(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench_infer.py: our program stopped")
        return float(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("samples", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float)
    args = parser.parse_args()

    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    info = session.get_inputs()[0]
    shape = [args.samples] + list(info.shape[1:])
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    batches = [x[i:i + args.batch] for i in range(0, args.samples, args.batch)]

    with tempfile.TemporaryDirectory() as folder:
        x.tofile(os.path.join(folder, "input.f32"))
        ours = Ours(args.program, args.model, args.batch, folder, args.threads)
        expected = np.concatenate([session.run(None, {info.name: b})[0] for b in batches])
        ours.seconds()  # warm; the outputs are written now
        got = np.fromfile(ours.output, np.float32).reshape(expected.shape)
        error = float(np.abs(got - expected).max() / np.abs(expected).max())
        if not error <= 1e-4:
            sys.exit(f"bench_infer.py: outputs differ by {error:.2e} relative; at most 1e-4 is allowed")
        times = {"theirs": [], "ours": []}
        for _ in range(args.rounds):
            begin = time.perf_counter()
            for b in batches:
                session.run(None, {info.name: b})
            times["theirs"].append(time.perf_counter() - begin)
            times["ours"].append(ours.seconds())
    theirs, mine = np.median(times["theirs"]), np.median(times["ours"])
    ratio = mine / theirs
    print(f"{os.path.basename(args.model)}: {args.samples} samples, batch {args.batch}, "
          f"{args.threads} threads: onnxruntime {theirs:.4f} s, ours {mine:.4f} s, "
          f"ratio {ratio:.3f}, largest difference {error:.1e} ({ours.compiled})")
    return 1 if args.limit and ratio > args.limit else 0


if __name__ == "__main__":
    sys.exit(main())
