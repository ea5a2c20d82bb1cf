"""What the conformance tests share: ONNX Runtime as written, our tools, data files."""
import os
import pathlib
import subprocess
import sys

SKIPPED = 77  # what ctest takes for "skipped"
SHARED = TOOLS = RUN_MODEL = pathlib.Path()  # set by start(): test data, folder of the commands, ed_run_model


def start(file, packages):
    """Main of a test file: FILE TOOLS ED_RUN_MODEL SHARED [pytest arguments]; skips what is missing."""
    global SHARED, TOOLS, RUN_MODEL
    for name in packages:
        try:
            __import__(name)
        except ImportError as missing:
            print(f"skipped: {missing}; install {', '.join(packages)} to run this test")
            sys.exit(SKIPPED)
    TOOLS, RUN_MODEL, SHARED = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
    if not SHARED.is_dir():
        print(f"skipped: there is no folder {SHARED} (CMake variable ED_SHARED_DIR)")
        sys.exit(SKIPPED)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # tests run side by side: threads must not spin
    import pytest
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-s", file, *sys.argv[4:]]))


def session_of(path):
    """Graph optimizations off: Q and DQ one by one, no integer kernel's saturation."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnxruntime(path, x):
    session = session_of(path)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def run_ours(path, x, folder, *options):
    """The first output of a single-input model."""
    import numpy as np
    x.tofile(folder / "x.bin")
    shape = ",".join(map(str, x.shape))
    done = subprocess.run([str(RUN_MODEL), *options, str(path), str(folder / "y"),
                           f"{folder / 'x.bin'}:{shape}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = done.stdout.splitlines()[0].split()[1]
    return np.fromfile(folder / "y0.bin", np.float32).reshape([int(d) for d in out.split(",")])


def relative(a, b):
    """Largest difference, relative to the largest value of b."""
    import numpy as np
    return float(np.abs(a.astype(np.float64) - b).max() / np.abs(b).max())


def tool(name, *arguments):
    done = subprocess.run([str(TOOLS / name), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def referee(*arguments):
    """The independent judge's JSON object."""
    import json
    done = subprocess.run([sys.executable, str(SHARED / "referee" / "qdq_referee.py"),
                           *map(str, arguments)], capture_output=True, text=True)
    return json.loads(done.stdout)
