#!/usr/bin/env python3
"""Expected outputs of all case lines: golden.py CASES_FOLDER OUTPUT_FILE. Needs only NumPy.

The file holds "EDGOLD1\\n", then for every case that must not fail: its key (u64), dtype (4 characters), rank
(i32), dimensions (i64) and elements of output 0, little-endian. Exit status 77 without NumPy.
"""

import glob
import os
import struct
import sys

try:
    import numpy as np

    import golden_case
    import golden_ops
except ImportError as error:
    print(f"skipped: {error}; install NumPy to compare operators with it")
    sys.exit(77)

CODES = {np.dtype(dtype): code for code, dtype in golden_case.DTYPES.items()}


def expected(case):
    data = [None if t is None else t for t in case.inputs]
    with np.errstate(all="ignore"):
        y = np.asarray(golden_ops.OPS[case.op](data, case.attrs, case.opset))
        # arithmetic may have been done in float64; the result is of input 0's type
        return y.astype(data[0].dtype) if y.dtype != data[0].dtype else y


def main(folder, output):
    cases = []
    for path in sorted(glob.glob(os.path.join(folder, "*.txt"))):
        cases += golden_case.read(path)
    with open(output + ".tmp", "wb") as file:
        file.write(b"EDGOLD1\n")
        for case in cases:
            if case.fails:
                continue
            try:
                y = expected(case)
            except Exception as error:
                raise SystemExit(f"{case.line}\n  opset {case.opset}: {error!r}")
            file.write(struct.pack("<Q4si", case.key(), CODES[y.dtype].encode(), y.ndim))
            file.write(struct.pack(f"<{y.ndim}q", *y.shape))
            file.write(np.ascontiguousarray(y).tobytes())
    os.replace(output + ".tmp", output)
    print(f"{sum(not c.fails for c in cases)} expected outputs of {len(cases)} cases")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
