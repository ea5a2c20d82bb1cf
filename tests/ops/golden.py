#!/usr/bin/env python3
"""Expected outputs of all case lines: golden.py CASES_FOLDER OUTPUT_FILE. Needs only NumPy.

The file holds "EDGOLD1\\n", then for every case that must not fail: its key (u64), dtype (4 characters), rank
(i32), dimensions (i64) and elements of the compared output, little-endian. Exit status 77 without NumPy.
"""

import glob
import os
import struct
import sys

try:
    import numpy as np

    import golden_case
    import golden_gradients_moves  # noqa: F401 (registers its operators)
    import golden_conv_grad  # noqa: F401 (registers its operators)
    import golden_gradients  # noqa: F401 (registers its operators)
    import golden_loss  # noqa: F401 (registers its operators)
    import golden_moves  # noqa: F401
    import golden_numeric  # noqa: F401
    import golden_ops
    import golden_resize  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}; install NumPy to compare operators with it")
    sys.exit(77)

CODES = {np.dtype(dtype): code for code, dtype in golden_case.DTYPES.items()}


def expected(case):
    attrs = dict(case.attrs, outputs=case.outputs)
    with np.errstate(all="ignore"):
        y = golden_ops.OPS[case.op](case.inputs, attrs, case.opset)
        y = np.asarray(y[case.output] if isinstance(y, (list, tuple)) else y)
        # arithmetic may have been done in float64; the result is then of input 0's type
        widened = y.dtype == np.float64 and case.inputs[0].dtype.kind == "f" and case.op != "Cast"
        return y.astype(case.inputs[0].dtype) if widened else y


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
