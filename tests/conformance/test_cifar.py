"""The main job on real models and data: accuracy after calibration with default options, judged by the referee;
our evaluation against ONNX Runtime's; a model that ONNX Runtime quantized. Run by ctest, or:
python test_cifar.py TOOLS ED_RUN_MODEL SHARED_FOLDER [pytest arguments]
"""
import json
import subprocess
import sys

from common import SHARED, referee, relative, run_onnxruntime, run_ours, start, tool

if __name__ == "__main__":
    start(__file__, ["onnx", "onnxruntime", "numpy", "h5py", "PIL", "pytest"])

import h5py
import numpy as np
import onnx
import pytest
from onnxruntime import quantization

BARS = {"resnet20": (0.10, 31.0), "mobilenetv2": (0.15, 30.0), "vit": (0.20, 22.0)}  # drop in points, SQNR in dB
BATCH = 500


def model_path(name):
    return SHARED / "models" / f"{name}_cifar10.onnx"


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    subprocess.run([sys.executable, str(SHARED / "data" / "make_h5.py"), str(folder), "--train", "64"], check=True,
                   capture_output=True)
    return folder


@pytest.fixture(scope="session")
def test_images(data):
    with h5py.File(data / "cifar10_test.h5") as file:
        x, labels = file["input"], file["labels"][:]
        mean, std = (x.attrs[k].reshape(1, -1, 1, 1) for k in ("mean", "std"))
        return (x[:].astype(np.float32) - mean) / std, labels


def in_batches(run, x):
    return np.concatenate([run(x[i:i + BATCH]) for i in range(0, len(x), BATCH)])


@pytest.mark.parametrize("name", BARS)
def test_calibrated_model(name, data, test_images, tmp_path):
    out = tmp_path / "int8.onnx"
    tool("ed-calibrate", model_path(name), "--data", data / "cifar10_calib.h5", "-o", out)
    verdict = referee(model_path(name), out, data / "cifar10_test.h5")
    print(name, verdict)
    counts, nodes = verdict["counts"], [n.op_type for n in onnx.load(model_path(name)).graph.node]
    assert verdict["violations"] == []
    quantized = sum(counts.get(kind, 0) for kind in ("Conv", "Gemm", "MatMul"))
    assert quantized >= sum(kind in ("Conv", "Gemm", "MatMul") for kind in nodes)
    assert not [key for key in counts if key in ("Conv in float", "Gemm in float", "MatMul in float",
                                                 "MatMul of two activations")]
    assert verdict["drop_points"] <= BARS[name][0] and verdict["sqnr_db"] >= BARS[name][1]

    x, _ = test_images
    exact = 0.999 if name != "vit" else 0.99  # rounding ties cascade through attention
    for path, same, close in ((model_path(name), 1.0, 1e-4), (out, exact, None)):
        ours = in_batches(lambda part: run_ours(path, part, tmp_path, "-t"), x)
        theirs = in_batches(lambda part: run_onnxruntime(path, part), x)
        agreement = float((ours.argmax(1) == theirs.argmax(1)).mean())
        print(f"{path.name}: top-1 agreement {100 * agreement:.2f} %, relative {relative(ours, theirs):.1e}")
        assert agreement >= same
        assert close is None or relative(ours, theirs) <= close


class Reader(quantization.CalibrationDataReader):
    def __init__(self, x):
        self.batches = iter([{"input": x[i:i + 64]} for i in range(0, len(x), 64)])

    def get_next(self):
        return next(self.batches, None)


@pytest.mark.parametrize("symmetric", [True, False])
def test_model_quantized_by_onnxruntime(symmetric, data, test_images, tmp_path):
    """QInt8 symmetric per channel, and QUInt8 asymmetric activations."""
    x, labels = test_images
    folded, path = tmp_path / "folded.onnx", tmp_path / "ort.onnx"
    quantization.shape_inference.quant_pre_process(str(model_path("resnet20")), str(folded), skip_symbolic_shape=True)
    activation = quantization.QuantType.QInt8 if symmetric else quantization.QuantType.QUInt8
    quantization.quantize_static(str(folded), str(path), Reader(x[:256]), per_channel=symmetric,
                                 quant_format=quantization.QuantFormat.QDQ, activation_type=activation,
                                 weight_type=quantization.QuantType.QInt8,
                                 extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True})
    theirs = in_batches(lambda part: run_onnxruntime(path, part), x)
    top1 = 100 * float((theirs.argmax(1) == labels).mean())
    result = json.loads(tool("ed-eval", model_path("resnet20"), path, "--data", data / "cifar10_test.h5", "--json"))
    ours = result["models"][1]["top1"]
    print(f"quantize_static, symmetric={symmetric}: ONNX Runtime {top1:.2f} %, ed-eval {ours:.2f} %")
    assert abs(ours - top1) <= 0.06  # 3 of 5,000: rounding ties cascade
