"""Whole models on a GPU: the zoo and the CIFAR models in fp32 mode against ONNX Runtime, ranges from the GPU's
calibration against the CPU's. Skipped where no GPU works. Run by ctest, or:
python test_cuda_models.py TOOLS ED_RUN_MODEL SHARED_FOLDER [pytest arguments]
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))
import common  # noqa: E402

if __name__ == "__main__":
    tools = pathlib.Path(sys.argv[1])
    checked = subprocess.run([tools / "ed-inspect", "--devices", "--json"], capture_output=True, text=True)
    if '"cuda:0"' not in checked.stdout:
        print(f"skipped: {checked.stderr.strip()}")
        sys.exit(common.SKIPPED)
    common.start(__file__, ["onnx", "onnxruntime", "numpy", "h5py", "pytest"])

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import pytest  # noqa: E402

common.TOOLS, _, common.SHARED = (pathlib.Path(p).resolve() for p in sys.argv[1:4])  # of a worker process
BATCH_OF_ONE = ["vit_b_32_dynamo", "swin_t_dynamo"]
ZOO = sorted(p.name.removesuffix(".onnx.gz") for p in (common.SHARED / "zoo").glob("*.onnx.gz"))
CIFAR = sorted(p.stem for p in (common.SHARED / "models").glob("*_cifar10.onnx"))


def run_on_gpu(path, x, folder, *options):
    name = onnx.load(path, load_external_data=False).graph.input[0].name
    np.save(folder / "x.npy", x)
    common.tool("ed-run", path, "--input", f"{name}={folder / 'x.npy'}", "--output-dir", folder / "out", "--device", "cuda",
                "--quiet", *options)
    return np.load(next((folder / "out").glob("*.npy")))


def model_of(name, folder):
    if name in CIFAR:
        return common.SHARED / "models" / f"{name}.onnx", (5, 3, 32, 32)
    sys.path.insert(0, str(common.SHARED / "zoo"))
    import fill
    path = folder / "model.onnx"
    onnx.save(fill.fill(common.SHARED / "zoo" / f"{name}.onnx.gz"), path)
    size = 299 if name.startswith("inception_v3") else 224
    return path, (1 if name in BATCH_OF_ONE else 2, 3, size, size)


@pytest.mark.parametrize("name", ZOO + CIFAR)
def test_model(name, tmp_path):
    path, shape = model_of(name, tmp_path)
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    want = common.run_onnxruntime(path, x)
    limits = {"fp32": 1e-4, "tf32": 2e-2, "bf16": 2e-1}
    errors = {p: common.relative(run_on_gpu(path, x, tmp_path, "--transform", "--precision", p), want) for p in limits}
    plain = common.relative(run_on_gpu(path, x, tmp_path, "--precision", "fp32"), want)
    print(f"{name}: not transformed {plain:.1e}, " + ", ".join(f"{p} {e:.1e}" for p, e in errors.items()))
    assert plain <= limits["fp32"]
    assert all(errors[p] <= limits[p] for p in limits), errors


@pytest.mark.parametrize("method", ["minmax", "entropy", "mse", "percentile"])
@pytest.mark.parametrize("name", CIFAR)
def test_ranges(name, method, tmp_path):
    """uint8 pictures, a ragged last batch; the CPU's ranges within the float error of the activations."""
    path = common.SHARED / "models" / f"{name}.onnx"
    with h5py.File(tmp_path / "calib.h5", "w") as file:
        pictures = np.random.default_rng(2).integers(0, 256, (77, 32, 32, 3), dtype=np.uint8)
        data = file.create_dataset("input", data=pictures)
        data.attrs.update(layout="NHWC", mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
    ranges = {}
    for device in ["cpu", "cuda"]:
        ranges[device] = tmp_path / f"{device}.json"
        common.tool("ed-calibrate", path, "--data", tmp_path / "calib.h5", "--batch", 32, "--method", method, "--ranges",
                    ranges[device], "-o", tmp_path / f"{device}.onnx", "--device", device, "--precision", "fp32", "--quiet")
    cpu, cuda = ({r["value"]: r for r in json.loads(ranges[d].read_text())["ranges"]} for d in ["cpu", "cuda"])
    assert cpu.keys() == cuda.keys()
    assert all(cpu[v]["total"] == cuda[v]["total"] for v in cpu)
    differences = sorted(abs(cpu[v]["amax"] - cuda[v]["amax"]) / cpu[v]["amax"] for v in cpu)
    print(f"{name} {method}: largest differences of a range {differences[-3:]}")
    assert method != "minmax" or differences[-1] <= 1e-4
    # a search may jump where two candidates are as good and some activations' rounding moves them to the next bin
    assert sum(d > 1e-3 for d in differences) <= len(differences) // 10


@pytest.fixture(scope="session")
def cifar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    subprocess.run([sys.executable, str(common.SHARED / "data" / "make_h5.py"), str(folder), "--train", "64"], check=True,
                   capture_output=True)
    return folder


@pytest.mark.parametrize("name", CIFAR)
def test_referee_figures(name, cifar, tmp_path):
    """A model calibrated on the GPU is as good as one calibrated on the CPU. In tf32 mode activations differ by 1e-3 of
    their size, and a few of the 5,000 pictures (0.02 points each) change sides by chance."""
    path = common.SHARED / "models" / f"{name}.onnx"
    verdicts = {}
    for device, precision in [("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "tf32")]:
        out = tmp_path / f"{device}_{precision}.onnx"
        common.tool("ed-calibrate", path, "--data", cifar / "cifar10_calib.h5", "-o", out, "--device", device, "--precision",
                    precision, "--quiet")
        verdicts[device, precision] = common.referee(path, out, cifar / "cifar10_test.h5")
        assert verdicts[device, precision]["violations"] == []
    cpu, fp32, tf32 = verdicts.values()
    print(f"{name}: drop {[v['drop_points'] for v in verdicts.values()]}, "
          f"SQNR {[round(v['sqnr_db'], 2) for v in verdicts.values()]}")
    assert abs(cpu["drop_points"] - fp32["drop_points"]) <= 0.05 + 1e-9
    assert abs(cpu["drop_points"] - tf32["drop_points"]) <= 0.15 and abs(cpu["sqnr_db"] - tf32["sqnr_db"]) <= 0.2
