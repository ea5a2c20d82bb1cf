"""ed-qat on a real model and data: the accuracy that it prints is the referee's of the file that it writes, in 8 and in
4 bits. Run by ctest, or: python test_qat.py TOOLS ED_RUN_MODEL SHARED_FOLDER [pytest arguments]
"""
import json
import subprocess
import sys

from common import SHARED, referee, start, tool

if __name__ == "__main__":
    start(__file__, ["onnx", "onnxruntime", "numpy", "h5py", "PIL", "pytest"])

import onnx
import pytest

IMAGES = 3  # of 5,000 that may differ: rounding ties cascade
TRAINING = 1280


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    subprocess.run([sys.executable, str(SHARED / "data" / "make_h5.py"), str(folder), "--train", str(TRAINING)],
                   check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("options, opset", [([], 17), (["--bits-w", "4"], 21)])
def test_accuracy_is_that_of_the_written_model(options, opset, data, tmp_path):
    model, test, out = SHARED / "models" / "resnet20_cifar10.onnx", data / "cifar10_test.h5", tmp_path / "qat.onnx"
    printed = json.loads(tool("ed-qat", model, "--data", data / "cifar10_train.h5", "--val", test, "--epochs", "1",
                              "-o", out, "--json", "--quiet", *options))
    top1 = {row["model"]: row["top1"] for row in printed["models"]}
    verdict = referee(model, out, test)
    print(options, top1, f"{printed['seconds']:.1f} s", verdict)
    written = onnx.load(out)
    assert written.opset_import[0].version == opset
    assert (onnx.TensorProto.INT4 in [i.data_type for i in written.graph.initializer]) == (opset == 21)
    assert printed["steps"] == TRAINING // printed["options"]["batch"]
    assert verdict["violations"] == []
    one = 100 / verdict["samples"]
    assert abs(top1["float"] - verdict["float_top1"]) <= (IMAGES + 0.1) * one
    assert abs(top1["trained"] - verdict["int8_top1"]) <= (IMAGES + 0.1) * one
    assert top1["trained"] >= top1["calibrated"]
