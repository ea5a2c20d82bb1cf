"""Every operator against ONNX Runtime with its graph optimizations off.

Each case of operator_cases.py becomes a model file; ed_run_model runs it with the reference kernels and
with the fast ones. Run by ctest, or: python test_operators.py ED_RUN_MODEL [pytest arguments]
"""
import os
import subprocess
import sys

SKIPPED = 77  # what ctest takes for "skipped"

try:
    import numpy as np
    import onnx
    import onnxruntime
    import pytest
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    if __name__ == "__main__":
        print(f"skipped: {missing}; install onnx, onnxruntime, numpy and pytest to run this test")
        sys.exit(SKIPPED)
    raise

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from operator_cases import CASES, Const  # noqa: E402
import operator_cases_moves  # noqa: E402,F401  (adds to CASES)
import operator_cases_numeric  # noqa: E402,F401

TOOL = os.environ.get("ED_RUN_MODEL")


def onnx_type(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def output_names(case):
    return [f"y{i}" for i in range(case["outputs"])]


def nodes_of(case, names, attrs):
    if case["op"] != "QDQ":
        return [helper.make_node(case["op"], names, output_names(case), name="node", **attrs)]
    return [helper.make_node("QuantizeLinear", names, ["q"], name="q", **attrs),
            helper.make_node("DequantizeLinear", ["q"] + names[1:], ["y0"], name="dq", **attrs)]


def make_model(case):
    """The model and what to feed it; the first dimension of fed inputs of rank > 2 is symbolic."""
    names, inputs, constants, feeds = [], [], [], []
    for i, value in enumerate(case["inputs"]):
        name = "" if value is None else f"x{i}"
        names.append(name)
        if isinstance(value, Const):
            constants.append(numpy_helper.from_array(value.array, name))
        elif value is not None:
            dims = list(value.shape)
            if len(dims) > 2:
                dims[0] = f"n{i}"
            inputs.append(helper.make_tensor_value_info(name, onnx_type(value), dims))
            feeds.append((name, value))
    outputs = [onnx.ValueInfoProto(name=name) for name in output_names(case)]  # of the type that follows
    graph = helper.make_graph(nodes_of(case, names, case["attrs"]), "case", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case["opset"])], ir_version=8)
    return model, feeds


def run_runtime(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def run_ours(folder, model, feeds, reference):
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    args = [TOOL] + (["-r"] if reference else []) + [path, os.path.join(folder, "out")]
    for name, array in feeds:
        array.tofile(os.path.join(folder, name))
        args.append(os.path.join(folder, name) + ":" + ",".join(map(str, array.shape)))
    # waiting threads sleep: small jobs on a busy machine otherwise spin at their barriers
    environment = dict(os.environ, OMP_WAIT_POLICY="passive")
    done = subprocess.run(args, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    return [read_output(folder, i, line) for i, line in enumerate(done.stdout.splitlines())]


def read_output(folder, i, line):
    dtype, _, dims = line.partition(" ")
    shape = [int(d) for d in dims.split(",") if d]
    return np.fromfile(os.path.join(folder, f"out{i}.bin"), np.dtype(dtype)).reshape(shape)


def compare(got, expected, exact):
    assert got.dtype == expected.dtype and got.shape == expected.shape
    if exact or expected.dtype != np.float32:
        np.testing.assert_array_equal(got, expected)
    elif got.size:
        peak = np.abs(expected).max()
        assert np.isfinite(got).all()
        assert np.abs(got.astype(np.float64) - expected).max() <= 2e-6 * max(peak, 1e-30)


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_operator(case, kernels, tmp_path):
    model, feeds = make_model(case)
    expected = run_runtime(model, feeds)
    got = run_ours(str(tmp_path), model, feeds, kernels == "reference")
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected):
        compare(ours, theirs, case["exact"])


if __name__ == "__main__":
    os.environ["ED_RUN_MODEL"] = os.path.abspath(sys.argv[1])
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__] + sys.argv[2:]))
