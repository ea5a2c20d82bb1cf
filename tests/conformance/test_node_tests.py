"""ONNX's own node tests (onnx.backend.test): every case whose operators the library lists, of float32, integer and
boolean tensors, with the case's own tolerances: with the fast kernels, the reference kernels, and transformed.

What a case is changed in, so that it can run:
- Opsets above 23, the newest that the library reads, are lowered to 23 when all inputs, outputs and attributes
  that the case uses are in the operators' forms of opset 23; a case that needs a newer form is skipped.
- Inputs that decide a shape (CONSTANT: axes, shapes, starts, scales, k, ...) become initializers, because the
  executor compiles for known shapes. In the expanded form of an operator they are those of the operator itself.
- An operator that only a conversion expands runs transformed alone.

Run by ctest, or: python test_node_tests.py ED_RUN_MODEL
"""
import collections
import copy
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

SKIPPED = 77  # what ctest takes for "skipped"

try:
    import numpy as np
    import onnx
    from onnx import numpy_helper
    from onnx.backend.test.case.node import collect_testcases
except ImportError as missing:
    print(f"skipped: {missing}; install onnx and numpy to run this test")
    sys.exit(SKIPPED)

NEWEST = 23
MODES = {"fast": [], "reference": ["-r"], "transformed": ["-t"]}
TYPES = {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32"}
NIBBLES = {"int4", "uint4"}
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
CONSTANT = {**{f"Reduce{kind}": [1] for kind in REDUCTIONS}, "Squeeze": [1], "Unsqueeze": [1], "Reshape": [1],
            "Expand": [1], "Tile": [1], "CumSum": [1], "Slice": [1, 2, 3, 4], "Pad": [1, 3], "Resize": [1, 2, 3],
            "Upsample": [1], "TopK": [1], "Split": [1], "ConstantOfShape": [0], "Range": [0, 1, 2], "OneHot": [1],
            "CenterCropPad": [1], "BlackmanWindow": [0], "HammingWindow": [0], "HannWindow": [0]}
# What the library refuses on purpose, by the words of its sentence.
LIMITS = {
    "imports no opset of ai.onnx": "a model without ai.onnx",
    "opsets 7 to 23 are supported": "an opset below 7",
    "is no tensor (a sequence, map or optional)": "a sequence, an optional or a map",
    "is float64, which this operator does not run on": "element type float64 inside",
}
DISPUTED = {f"test_resize_downsample_scales_{mode}_align_corners":
            "Resize by align_corners of an unrounded size, not ONNX Runtime's either" for mode in ("linear", "cubic")}


class Skip(Exception):
    """The reason for which a case does not run."""


def fits(node, schema):
    """Whether the inputs, outputs and attributes that a node uses are all in a form of its operator."""
    return len(node.input) <= schema.max_input and len(node.output) <= schema.max_output and \
        all(attribute.name in schema.attributes for attribute in node.attribute)


def lower_opset(model):
    for opset in model.opset_import:
        if opset.domain or opset.version <= NEWEST:
            continue
        for node in model.graph.node:
            if node.domain:
                continue
            try:
                schema = onnx.defs.get_schema(node.op_type, NEWEST)
            except onnx.defs.SchemaError as unknown:
                raise Skip(f"not in opset {NEWEST}: {node.op_type}") from unknown
            if not fits(node, schema):
                raise Skip(f"a form newer than opset {NEWEST}: {node.op_type}")
        opset.version = NEWEST


def arrays_of(values):
    arrays = []
    for value in values:
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        if not isinstance(value, (np.ndarray, np.generic)):
            raise Skip("a sequence, an optional or a map")
        array = np.asarray(value)
        if array.dtype.name not in TYPES | NIBBLES:
            raise Skip(f"element type {'string' if array.dtype.kind in 'OSUT' else array.dtype.name}")
        arrays.append(array)
    return arrays


def fix_inputs(model, origin, arrays):
    """Turns inputs that must be constants into initializers; returns the arrays still to be fed."""
    fixed = {node.input[i] for graph in (model.graph, origin) for node in graph.node
             for i in CONSTANT.get(node.op_type, ()) if i < len(node.input)}
    fed = []
    for value, array in zip(list(model.graph.input), arrays):
        if value.name in fixed:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
        else:
            fed.append(array)
    return fed


def pack(array):
    """Bytes of an array: 4-bit elements two a byte, the first in the low half."""
    if array.dtype.name not in NIBBLES:
        return np.ascontiguousarray(array).tobytes()
    flat = array.astype(np.int8).ravel().view(np.uint8) & 15
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return (flat[::2] | flat[1::2] << 4).tobytes()


def unpack(data, dtype, shape):
    if dtype not in NIBBLES:
        return np.frombuffer(data, dtype).reshape(shape)
    both = np.frombuffer(data, np.uint8)
    flat = np.stack([both & 15, both >> 4], 1).ravel()[:int(np.prod(shape))].astype(np.int8)
    return np.where((dtype == "int4") & (flat > 7), flat - 16, flat).reshape(shape)


def prepare(case, origin, folder):
    """Writes the model and its inputs; returns the operands of ed_run_model and the expected outputs."""
    if case.name in DISPUTED:
        raise Skip(DISPUTED[case.name])
    if case.model is None or not case.data_sets:
        raise Skip("no model or data")
    model = copy.deepcopy(case.model)
    inputs, outputs = (arrays_of(values) for values in case.data_sets[0])
    lower_opset(model)
    fed = fix_inputs(model, origin.graph, inputs)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    operands = [str(folder / "model.onnx"), str(folder / "out")]
    for i, array in enumerate(fed):
        (folder / f"in{i}").write_bytes(pack(array))
        operands.append(f"{folder / f'in{i}'}:{','.join(map(str, array.shape))}")
    return operands, outputs


def compare(case, folder, lines, expected):
    """None, or what differs."""
    if len(lines) != len(expected):
        return f"{len(lines)} outputs, not {len(expected)}"
    for i, (line, want) in enumerate(zip(lines, expected)):
        dtype, _, dims = line.partition(" ")
        shape = tuple(int(d) for d in dims.split(",") if d)
        if dtype != want.dtype.name or shape != want.shape:
            return f"output {i} is {dtype} {shape}, not {want.dtype.name} {want.shape}"
        got = unpack((folder / f"out{i}.bin").read_bytes(), dtype, shape)
        if dtype == "float32":
            same = np.isclose(got.astype(np.float64), want, rtol=case.rtol, atol=case.atol, equal_nan=True)
        else:
            same = got == (want.astype(np.int8) if dtype in NIBBLES else want)
        if not same.all():
            at = tuple(np.argwhere(~same)[0])
            return f"output {i}: {(~same).sum()} of {same.size} differ, first at {at}: {got[at]}, not {want[at]}"
    return None


def run_all(tool, options, work):
    """Per case: the lines of its outputs and the last line, of one process."""
    text = "".join(" ".join(operands) + "\n" for operands in work)
    environment = dict(os.environ, OMP_WAIT_POLICY="passive")  # small jobs do not spin at barriers
    done = subprocess.run([tool, *options, "-b"], input=text, capture_output=True, text=True, env=environment)
    answers, lines = [], []
    for line in done.stdout.splitlines():
        if line.split(" ")[0] in ("ok", "missing", "failed"):
            answers.append((lines, line))
            lines = []
        else:
            lines.append(line)
    if len(answers) < len(work):
        print(f"ended by {done.returncode} at {' '.join(work[len(answers)])}\n{done.stderr}")
        sys.exit(1)
    return answers


def judge(work, tool):
    """Runs the cases in each mode; returns the failures, and the reasons of the cases that no mode runs."""
    failures, refused = [], collections.defaultdict(list)
    for mode, options in MODES.items():
        answers = run_all(tool, options, [operands for _, operands, _ in work])
        for (case, operands, expected), (lines, last) in zip(work, answers):
            word, _, sentence = last.partition(" ")
            reason = f"no operator {sentence}" if word == "missing" else \
                next((why for words, why in LIMITS.items() if word == "failed" and words in sentence), None)
            if reason:
                refused[case.name].append(reason)
                continue
            folder = pathlib.Path(operands[0]).parent
            difference = sentence if word == "failed" else compare(case, folder, lines, expected)
            if difference:
                failures.append(f"{case.name} ({mode}): {difference}")
    return failures, {name: reasons[0] for name, reasons in refused.items() if len(reasons) == len(MODES)}


def main():
    tool = os.path.abspath(sys.argv[1])
    skipped, work = collections.defaultdict(list), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinities and NaN on purpose
        cases = collect_testcases(None)
    by_name = {case.name: case for case in cases}
    with tempfile.TemporaryDirectory() as name:
        for i, case in enumerate(cases):
            origin = by_name.get(case.name.partition("_expanded")[0], case)
            try:
                work.append((case, *prepare(case, origin.model, pathlib.Path(name) / str(i))))
            except Skip as reason:
                skipped[str(reason)].append(case.name)
        failures, refused = judge(work, tool)
    for case, reason in refused.items():
        skipped[reason].append(case)
    report(len(work) - len(refused), skipped, failures)


def report(tried, skipped, failures):
    for reason, names in sorted(skipped.items(), key=lambda item: -len(item[1])):
        print(f"skipped {len(names):4}: {reason}: {', '.join(names)}")
    for failure in failures:
        print(f"FAILED {failure}")
    failed = len({failure.split(" ")[0] for failure in failures})
    count = sum(map(len, skipped.values()))
    print(f"{tried - failed} passed, {failed} failed, {count} skipped")
    sys.exit(failed > 0 or count >= tried)


if __name__ == "__main__":
    main()
