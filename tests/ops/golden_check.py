#!/usr/bin/env python3
"""Judge the judge: golden_check.py CASES_FOLDER compares golden_ops.py with ONNX Runtime on the case lines.

Cases that this ONNX Runtime does not run are counted, not compared; -v names them. Exit status 77 without onnx and onnxruntime.
"""

import glob
import os
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    import golden
    import golden_case
except ImportError as error:
    print(f"skipped: {error}; install onnx and onnxruntime to check the expected outputs")
    sys.exit(77)


def nodes_of(case, names):
    if case.op != "ed::FakeQuantize":
        attrs = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in case.attrs.items()}
        outputs = ["y" if i == case.output else f"out{i}" for i in range(case.outputs)]
        return [helper.make_node(case.op, names, outputs, **attrs)], {}
    attrs = {"axis": case.attrs["axis"]} if "axis" in case.attrs else {}
    low, high = case.attrs.get("qmin", -128), case.attrs.get("qmax", 127)
    kind = {(-128, 127): np.int8, (0, 255): np.uint8}[low, high]  # what opset 13 has
    zero = case.inputs[2] if len(case.inputs) > 2 else np.zeros_like(case.inputs[1])
    quantize = helper.make_node("QuantizeLinear", ["in0", "in1", "zero"], ["q"], **attrs)
    dequantize = helper.make_node("DequantizeLinear", ["q", "in1", "zero"], ["y"], **attrs)
    return [quantize, dequantize], {"zero": zero.astype(kind)}


def undecided(case):
    """ONNX Runtime draws random numbers of its own. The least integer / -1 ends ONNX Runtime with SIGFPE; ONNX leaves the mean of nothing undefined. ONNX
    Runtime's size of a crop does not count the region."""
    if case.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return len(case.inputs) == 3
    if case.op == "Dropout":
        return len(case.inputs) > 2 and bool(case.inputs[2])
    if case.op == "Div":
        return any(t.dtype.kind == "i" and np.iinfo(t.dtype).min in t for t in case.inputs)
    return case.op == "ReduceMean" and golden.expected(case).size > 0 and case.inputs[0].size == 0


def run(case):
    names = ["" if t is None else f"in{i}" for i, t in enumerate(case.inputs)]
    nodes, extra = nodes_of(case, names)
    feeds = {name: t for name, t in zip(names, case.inputs) if name}
    constants = {name: t for name, t in feeds.items() if name != "in0"} | extra
    info = [helper.make_tensor_value_info("in0", helper.np_dtype_to_tensor_dtype(feeds["in0"].dtype), feeds["in0"].shape)]
    output = onnx.ValueInfoProto(name="y")  # the runtime infers its type
    stored = [
        helper.make_tensor(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape, v.tobytes(), raw=True)
        for k, v in constants.items()
    ]
    graph = helper.make_graph(nodes, "case", info, [output], stored)
    opset = 13 if "::" in case.op else case.opset
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"in0": feeds["in0"]})[0]


def differ(got, want, exact):
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} {got.shape} instead of {want.dtype} {want.shape}"
    if exact or want.dtype != np.float32:
        return "" if np.array_equal(got, want, equal_nan=want.dtype.kind == "f") else "not the same bits"
    return "" if np.allclose(got, want, rtol=1e-4, atol=1e-5, equal_nan=True) else "not close"


def main(folder):
    compared = different = refused = 0
    for path in sorted(glob.glob(os.path.join(folder, "*.txt"))):
        for case in golden_case.read(path):
            if case.fails or undecided(case):
                continue
            try:
                got = run(case)
            except Exception as error:
                refused += 1
                if "-v" in sys.argv:
                    print(f"not run: opset {case.opset}: {case.line}: {str(error)[:150]}")
                continue
            compared += 1
            text = differ(got, golden.expected(case), " exact " in case.line)
            if text:
                different += 1
                print(f"{os.path.basename(path)}: opset {case.opset}: {case.line}\n    {text}")
    print(f"{compared} cases compared with ONNX Runtime, {different} differ, {refused} it does not run")
    return different > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
