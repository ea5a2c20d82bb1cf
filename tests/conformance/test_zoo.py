"""The convolutional models of the zoo, as two exporters wrote them: same numbers as ONNX Runtime before and
after conversions and fusions, calibrated, exported, judged by the referee. Run by ctest, or:
python test_zoo.py TOOLS ED_RUN_MODEL SHARED_FOLDER [pytest arguments]
"""
import json
import sys

from common import SHARED, referee, relative, run_onnxruntime, run_ours, start, tool

if __name__ == "__main__":
    start(__file__, ["onnx", "onnxruntime", "numpy", "h5py", "pytest"])

import h5py
import numpy as np
import onnx
import pytest

ARCHITECTURES = ["alexnet", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "squeezenet1_1", "mobilenet_v2",
                 "mobilenet_v3_large", "mnasnet0_5", "inception_v3", "efficientnet_b0"]
RESNET50 = {"StemConvBNReLUMaxPool": 1, "ConvBNAddReLU": 16, "ConvBNReLU": 32, "ConvBN": 4}


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_model(architecture, exporter, tmp_path):
    sys.path.insert(0, str(SHARED / "zoo"))
    import fill
    name = f"{architecture}_{exporter}"
    path, quantized = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    onnx.save(fill.fill(SHARED / "zoo" / f"{name}.onnx.gz"), path)
    size = 299 if architecture == "inception_v3" else 224
    x = np.random.default_rng(1).standard_normal((2, 3, size, size), dtype=np.float32)

    want = run_onnxruntime(path, x)
    plain, fused = relative(run_ours(path, x, tmp_path), want), relative(run_ours(path, x, tmp_path, "-t"), want)
    assert plain <= 1e-4 and fused <= 1e-4, (plain, fused)

    with h5py.File(tmp_path / "calib.h5", "w") as file:
        file["input"] = x
    report = json.loads(tool("ed-calibrate", path, "--data", tmp_path / "calib.h5", "-o", quantized, "--batch", 2,
                             "--json"))
    verdict = referee(path, quantized)
    assert verdict["violations"] == [], verdict
    convolutions = sum(n.op_type == "Conv" for n in onnx.load(path, load_external_data=False).graph.node)
    assert verdict["counts"]["Conv"] == convolutions and "Conv in float" not in verdict["counts"], verdict
    ours = relative(run_ours(quantized, x, tmp_path, "-t"), run_onnxruntime(quantized, x))
    print(f"{name}: {plain:.1e} {fused:.1e} fused, quantized {ours:.1e}; {report['groups']}")
    if architecture == "resnet50":
        counts = {kind: report["groups"].get(kind) for kind in RESNET50}
        assert counts == RESNET50
