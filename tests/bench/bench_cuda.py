#!/usr/bin/env python3
"""PyTorch's counterparts of what bench_cuda.c times, as one JSON object of the same form.

  bench_cuda.py [ELEMENTS]
"""
import json
import sys

import torch

REPEAT = 15


def seconds_of(run):
    """Median of one run, by events in the stream."""
    for _ in range(3):
        run()
    times = []
    for _ in range(REPEAT):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return sorted(times)[REPEAT // 2]


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 256 << 20
    x = torch.randn(n, device="cuda")
    y = torch.empty_like(x)
    # name, what runs, bytes read and written for each element
    rows = [
        ("copy", lambda: y.copy_(x), 8),
        ("fake quantize", lambda: torch.fake_quantize_per_tensor_affine(x, 0.03125, 0, -128, 127), 8),
        ("abs, max", lambda: x.abs().max(), 4),
    ]
    kinds = {"normal": x, "half zeros": x.relu(), "constant": torch.full_like(x, 3.5)}
    for kind, data in kinds.items():
        # as an observer does: extremes, then the histogram of |x| within a range that is known
        rows.append((f"observer, {kind}",
                     lambda data=data: (torch.aminmax(data), torch.histc(data.abs(), 2048, 0.0, 8.0)), 4))
        rows.append((f"histc, {kind}", lambda data=data: torch.histc(data, 2048, -8.0, 8.0), 4))
    results, copy = [], None
    for name, run, nbytes in rows:
        seconds = seconds_of(run)
        rate = nbytes * n / seconds * 1e-9
        copy = copy or rate
        results.append({"name": name, "ms": round(seconds * 1e3, 4), "gb_per_s": round(rate, 1),
                        "share": round(rate / copy, 3)})
    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "elements": n,
                      "results": results}))


if __name__ == "__main__":
    main()
