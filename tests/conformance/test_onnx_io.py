"""Reading and writing ONNX files, judged by onnx.checker and ONNX Runtime with its optimizations off.

A model that ed_roundtrip read and wrote must pass the full check and compute the same bits. Models that
ONNX Runtime quantized must survive, too, in both forms of weights. Run by ctest, or:
python test_onnx_io.py ED_ROUNDTRIP SHARED_FOLDER [pytest arguments]
"""
import glob
import importlib.util
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
    from onnxruntime import quantization
except ImportError as missing:
    if __name__ == "__main__":
        print(f"skipped: {missing}; install onnx, onnxruntime, numpy and pytest to run this test")
        sys.exit(SKIPPED)
    raise

TOOL = os.environ.get("ED_ROUNDTRIP")
SHARED = os.environ.get("ED_SHARED_DIR", "")
ZOO = ["squeezenet1_1_script", "squeezenet1_1_dynamo", "mnasnet0_5_script", "mnasnet0_5_dynamo",
       "shufflenet_v2_x0_5_script"]  # small ones of both exporters
NUMPY = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


def shared(pattern):
    return sorted(glob.glob(os.path.join(SHARED, pattern)))


def roundtrip(path, out, *options):
    done = subprocess.run([TOOL, *options, str(path), str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(out)


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs_of(path):
    session, random = session_of(path), np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else 2 for d in value.shape]
        feeds[value.name] = random.standard_normal(shape).astype(NUMPY[value.type])
    return session.run(None, feeds)


def assert_same_model(path, out):
    onnx.checker.check_model(out, full_check=True)
    expected, got = outputs_of(path), outputs_of(out)
    assert len(expected) == len(got)
    for a, b in zip(expected, got):
        np.testing.assert_array_equal(a, b)
    before, after = onnx.load(path, load_external_data=False), onnx.load(out, load_external_data=False)
    for kind in ("input", "output"):
        names = [[v.name for v in getattr(m.graph, kind)] for m in (before, after)]
        initializers = {t.name for t in before.graph.initializer}
        assert [n for n in names[0] if n not in initializers] == names[1]
    assert {(o.domain, o.version) for o in before.opset_import} == {(o.domain, o.version)
                                                                     for o in after.opset_import}


@pytest.mark.parametrize("options", [[], ["--external"]], ids=["whole", "external"])
@pytest.mark.parametrize("path", shared("models/*.onnx") + shared("zoo/attention/*.onnx"),
                         ids=os.path.basename)
def test_shared_model(path, options, tmp_path):
    assert_same_model(path, roundtrip(path, tmp_path / "out.onnx", *options))


@pytest.mark.parametrize("name", ZOO)
def test_zoo_model(name, tmp_path):
    skeleton = os.path.join(SHARED, "zoo", name + ".onnx.gz")
    if not os.path.exists(skeleton):
        pytest.skip(f"{skeleton} is not there")
    spec = importlib.util.spec_from_file_location("fill", os.path.join(SHARED, "zoo", "fill.py"))
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    path = tmp_path / "in.onnx"
    onnx.save(fill.fill(skeleton), path)
    assert_same_model(str(path), roundtrip(path, tmp_path / "out.onnx"))


def small_model(nodes, initializers, inputs=("x",), outputs=("y",), opset=17, **more):
    def info(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(nodes, "small", [info(n) for n in inputs], [info(n) for n in outputs],
                              initializers, doc_string="about the graph")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)


def test_what_is_only_kept(tmp_path):
    """Metadata, documentation, functions, other domains, a graph inside of an attribute."""
    then = helper.make_graph([helper.make_node("Add", ["r", "outer"], ["t"])], "then", [],
                             [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
    other = helper.make_graph([helper.make_node("Identity", ["r"], ["e"])], "else", [],
                              [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)])
    twice = helper.make_function("test", "Twice", ["a"], ["b"],
                                 [helper.make_node("Add", ["a", "a"], ["b"])],
                                 [helper.make_opsetid("", 17)], overload="a")
    nodes = [helper.make_node("Twice", ["x"], ["r"], name="twice", domain="test", doc_string="doubles",
                              overload="a"),
             helper.make_node("If", ["flag"], ["y"], name="branch", then_branch=then, else_branch=other)]
    model = small_model(nodes, [numpy_helper.from_array(np.array(True), "flag"),
                                numpy_helper.from_array(np.float32([1, 2, 3, 4]), "outer")],
                        functions=[twice], ir_version=10, producer_name="us", model_version=7,
                        doc_string="about the model", domain="org.example")
    model.opset_import.append(helper.make_opsetid("test", 1))
    helper.set_model_props(model, {"key": "value", "empty": ""})
    for owner in (model.graph, model.graph.node[0]):
        entry = owner.metadata_props.add()
        entry.key, entry.value = "from", "somewhere"
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    out = roundtrip(path, tmp_path / "out.onnx")
    assert_same_model(str(path), out)
    after = onnx.load(out)
    for owner in (after.graph, after.graph.node[0]):
        assert [(p.key, p.value) for p in owner.metadata_props] == [("from", "somewhere")]
    assert after.graph.node[0].overload == "a" and after.functions[0].overload == "a"
    for field in ("producer_name", "model_version", "doc_string", "domain", "ir_version"):
        assert getattr(after, field) == getattr(model, field)
    assert {p.key: p.value for p in after.metadata_props} == {"key": "value", "empty": ""}
    assert after.functions[0] == twice
    assert after.graph.doc_string == "about the graph"
    assert after.graph.node[0].doc_string == "doubles" and after.graph.node[0].domain == "test"
    assert after.graph.input[0] == model.graph.input[0]
    assert after.graph.node[1].attribute[0].g in (then, other)


def test_strings_are_kept(tmp_path):
    nodes = [helper.make_node("LabelEncoder", ["keys"], ["n"], domain="ai.onnx.ml",
                              keys_strings=["a", "b"], values_floats=[1.0, 2.0]),
             helper.make_node("Add", ["x", "n"], ["y"])]
    words = helper.make_tensor("keys", TensorProto.STRING, [4], [b"a", b"b", b"", b"a"])
    model = small_model(nodes, [words], ir_version=8)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    assert_same_model(str(path), roundtrip(path, tmp_path / "out.onnx"))


def test_external_data_of_onnx(tmp_path):
    w = np.random.default_rng(1).standard_normal((4, 4)).astype(np.float32)
    model = small_model([helper.make_node("MatMul", ["x", "w"], ["y"])],
                        [numpy_helper.from_array(w, "w")], ir_version=8)
    path = tmp_path / "in.onnx"
    onnx.save(model, path, save_as_external_data=True, location="sub.bin", size_threshold=0)
    assert_same_model(str(path), roundtrip(path, tmp_path / "out.onnx"))


@pytest.mark.parametrize("opset", range(7, 24))
def test_opsets(opset, tmp_path):
    model = small_model([helper.make_node("Relu", ["x"], ["y"])], [], opset=opset,
                        ir_version=3 if opset < 9 else 4 if opset < 10 else 7 if opset < 15 else 11)
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    assert_same_model(str(path), roundtrip(path, tmp_path / "out.onnx"))


class RandomPictures(quantization.CalibrationDataReader):
    def __init__(self):
        random = np.random.default_rng(2)
        self.batches = iter([{"input": random.standard_normal((8, 3, 32, 32)).astype(np.float32)}] * 2)

    def get_next(self):
        return next(self.batches, None)


S8, U8, U16 = (getattr(quantization.QuantType, n) for n in ("QInt8", "QUInt8", "QUInt16"))
SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}
QUANTIZED = [("int8 symmetric", S8, S8, False, SYMMETRIC), ("int8 per channel", S8, S8, True, SYMMETRIC),
             ("uint8 asymmetric", U8, U8, False, {}), ("uint8 per channel", U8, S8, True, {}),
             ("float weights", S8, S8, True, {"AddQDQPairToWeight": True, "QuantizeBias": False}),
             ("uint16 activations", U16, S8, True, {})]


@pytest.mark.parametrize("case", QUANTIZED, ids=[c[0] for c in QUANTIZED])
def test_models_that_onnx_runtime_quantized(case, tmp_path):
    _, activations, weights, per_channel, extra = case
    source = os.path.join(SHARED, "models", "resnet20_cifar10.onnx")
    if not os.path.exists(source):
        pytest.skip(f"{source} is not there")
    path = tmp_path / "in.onnx"
    quantization.quantize_static(source, path, RandomPictures(),
                                 quant_format=quantization.QuantFormat.QDQ, activation_type=activations,
                                 weight_type=weights, per_channel=per_channel, extra_options=extra)
    out = roundtrip(path, tmp_path / "out.onnx")
    assert_same_model(str(path), out)
    assert_same_model(str(path), roundtrip(path, tmp_path / "float.onnx", "--float"))
    again = roundtrip(out, tmp_path / "again.onnx")
    with open(out, "rb") as a, open(again, "rb") as b:
        assert a.read() == b.read()  # names and order are stable
    counts = [sum(n.op_type == "QuantizeLinear" for n in onnx.load(p).graph.node)
              for p in (out, tmp_path / "float.onnx")]
    assert 0 < counts[0] < counts[1]
    for tensor in onnx.load(out).graph.initializer:
        if tensor.name.endswith("_zero_point"):
            assert tensor.data_type in (TensorProto.INT8, TensorProto.UINT8, TensorProto.UINT16)


def test_truncated_file_is_one_sentence(tmp_path):
    model = small_model([helper.make_node("Relu", ["x"], ["y"])], [], ir_version=8)
    data = model.SerializeToString()
    for size in range(0, len(data) - 1, 7):
        path = tmp_path / "in.onnx"
        path.write_bytes(data[:size])
        done = subprocess.run([TOOL, str(path), str(tmp_path / "out.onnx")], capture_output=True, text=True)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "in.onnx: " in done.stderr
    assert not (tmp_path / "out.onnx").exists()


if __name__ == "__main__":
    os.environ["ED_ROUNDTRIP"] = os.path.abspath(sys.argv[1])
    os.environ["ED_SHARED_DIR"] = os.path.abspath(sys.argv[2])
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__] + sys.argv[3:]))
