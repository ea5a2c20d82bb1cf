"""The models of the zoo, as two exporters wrote them: same numbers as ONNX Runtime before and after conversions and
fusions, calibrated, exported, judged by the referee; and attention in 13 forms. Run by ctest, or:
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
                 "mobilenet_v3_large", "mnasnet0_5", "inception_v3", "efficientnet_b0", "shufflenet_v2_x0_5",
                 "convnext_tiny", "vit_b_32", "swin_t"]
BATCH_OF_ONE = ["vit_b_32_dynamo", "swin_t_dynamo"]
# Of both exporters; the Conv is the head, converted.
GROUPS = {"resnet50": {"StemConvBNReLUMaxPool": 1, "ConvBNAddReLU": 16, "ConvBNReLU": 32, "ConvBN": 4,
                       "AdaptiveAvgPool": 1, "Conv": 1},
          "swin_t": {"ConvBN": 1, "LinearGELU": 12, "Linear": 63, "LayerNorm": 29, "AdaptiveAvgPool": 1,
                     "ScaledDotProductAttention": 12, "Conv": 1}}


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_model(architecture, exporter, tmp_path):
    sys.path.insert(0, str(SHARED / "zoo"))
    import fill
    name = f"{architecture}_{exporter}"
    if not (SHARED / "zoo" / f"{name}.onnx.gz").exists():
        pytest.skip(f"the zoo has no {name}")
    path, quantized = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    onnx.save(fill.fill(SHARED / "zoo" / f"{name}.onnx.gz"), path)
    size = 299 if architecture == "inception_v3" else 224
    x = np.random.default_rng(1).standard_normal((1 if name in BATCH_OF_ONE else 2, 3, size, size), dtype=np.float32)

    want = run_onnxruntime(path, x)
    plain, fused = relative(run_ours(path, x, tmp_path), want), relative(run_ours(path, x, tmp_path, "-t"), want)
    assert plain <= 1e-4 and fused <= 1e-4, (plain, fused)

    with h5py.File(tmp_path / "calib.h5", "w") as file:
        file["input"] = x
    report = json.loads(tool("ed-calibrate", path, "--data", tmp_path / "calib.h5", "-o", quantized, "--batch", len(x),
                             "--json"))
    verdict = referee(path, quantized)
    assert verdict["violations"] == [], verdict
    weighted = sum(n.op_type in ("Conv", "Gemm") for n in onnx.load(path, load_external_data=False).graph.node)
    counts = verdict["counts"]
    assert counts.get("Conv", 0) + counts.get("Gemm", 0) + counts.get("MatMul", 0) >= weighted, verdict
    assert not [key for key in ("Conv in float", "Gemm in float", "MatMul in float") if key in counts], verdict
    ours = relative(run_ours(quantized, x, tmp_path, "-t"), run_onnxruntime(quantized, x))
    print(f"{name}: {plain:.1e} {fused:.1e} fused, quantized {ours:.1e}; {report['groups']}")
    wanted = GROUPS.get(architecture, {})
    assert {kind: report["groups"].get(kind) for kind in wanted} == wanted


def attention_models():
    return sorted(path.stem for path in (SHARED / "zoo" / "attention").glob("*.onnx"))


@pytest.mark.parametrize("name", attention_models())
def test_attention(name, tmp_path):
    path, quantized = SHARED / "zoo" / "attention" / f"{name}.onnx", tmp_path / "int8.onnx"
    with np.load(path.with_suffix(".npz")) as golden:
        x, y = golden["x"], golden["y"]
    fused = relative(run_ours(path, x, tmp_path, "-t"), y)
    assert fused <= 1e-5
    with h5py.File(tmp_path / "calib.h5", "w") as file:
        file[onnx.load(path).graph.input[0].name] = x
    groups = json.loads(tool("ed-calibrate", path, "--data", tmp_path / "calib.h5", "-o", quantized, "--batch", len(x),
                             "--json"))["groups"]
    print(f"{name}: {fused:.1e}; {groups}")
    assert groups["ScaledDotProductAttention"] == 1
    assert groups["Linear"] == 4  # Q, K, V and the output
    assert referee(path, quantized)["violations"] == []
