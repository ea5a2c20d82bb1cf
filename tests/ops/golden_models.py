#!/usr/bin/env python3
"""Reference gradients of whole models for test_model_gradients: golden_models.py SHARED_FOLDER OUTPUT_FOLDER.

Reads SHARED/referee/gradients and writes OUTPUT/<model>.onnx, OUTPUT/<model>.bin: tensors under the FNV-1a hash
of their names, in the form that golden.py tells.

    <run>x, <run>labels, <run>loss        run is "" (float) or "fqr_" (fake-quantized, one image)
    small_lr, small_loss, sgd_lr, sgd_loss   learning rates, and the loss after one step of plain SGD with each
    <run>norm:P, sum:P, l1:P, idx:P, val:P   of the gradient of initializer P: L2 norm, sum, sum of |.|, some elements
    <run>scale:V, <run>dscale:V           of the quantizer of the value V (the inputs of weighted operators)
    <run>wscale:P, axis:P                 of the quantizer of the weight P
Exit status 77 without NumPy, onnx or the data.
"""

import json
import os
import shutil
import struct
import subprocess
import sys

try:
    import numpy as np
    import onnx  # noqa: F401 (the writer of the vit's weights needs it)

    from golden_case import fnv1a
except ImportError as error:
    print(f"skipped: {error}; install NumPy and onnx to compare the gradients of models")
    sys.exit(77)

CODES = {"float32": b"f32", "float64": b"f64", "int64": b"i64"}


def write(path, tensors):
    with open(path + ".tmp", "wb") as file:
        file.write(b"EDGOLD1\n")
        for name, t in tensors.items():
            t = np.asarray(t)
            file.write(struct.pack("<Q4si", fnv1a(name.encode()), CODES[t.dtype.name], t.ndim))
            file.write(struct.pack(f"<{t.ndim}q", *t.shape))
            file.write(np.ascontiguousarray(t).tobytes())
    os.replace(path + ".tmp", path)


def of_run(run, golden, quantizers):
    tensors = {run + "x": golden["x"], run + "labels": golden["labels"], run + "loss": golden[run + "loss"]}
    if not run:
        tensors |= {"small_lr": golden["small_lr"], "small_loss": golden["loss_after_small_step"]}
        tensors |= {"sgd_lr": golden["sgd_lr"], "sgd_loss": golden["loss_after_sgd_step"]}
    if run:
        image = int(golden["fqr_image"])
        tensors[run + "x"] = golden["x"][image : image + 1]
        tensors[run + "labels"] = golden["labels"][image : image + 1]
        for q, scale, gradient in zip(
            quantizers["activations"], golden[run + "act_scale"], golden[run + "act_scale_grad"]
        ):
            tensors[f"{run}scale:{q['value']}"] = np.float32(scale)
            tensors[f"{run}dscale:{q['value']}"] = np.float64(gradient)
        for q in quantizers["weights"]:
            tensors[f"{run}wscale:{q['initializer']}"] = golden[f"fq_wscale:{q['initializer']}"]
            tensors[f"axis:{q['initializer']}"] = np.int64(q["axis"])
    for key in golden.files:
        if not key.startswith(run + "grad_norm:"):
            continue
        name = key.partition(":")[2]
        for what in ("norm", "sum", "l1"):
            tensors[f"{run}{what}:{name}"] = golden[f"{run}grad_{what}:{name}"]
        full = f"{run}grad:{name}" in golden
        values = golden[f"{run}grad:{name}"].ravel() if full else golden[f"{run}grad_val:{name}"]
        tensors[f"{run}val:{name}"] = values.astype(np.float32)
        tensors[f"{run}idx:{name}"] = np.arange(values.size) if full else golden[f"grad_idx:{name}"]
    return tensors


def main(shared, output):
    source = os.path.join(shared, "referee", "gradients")
    if not os.path.exists(os.path.join(source, "make_vit_data.py")):
        print(f"skipped: {source} is not there")
        return 77
    os.makedirs(output, exist_ok=True)
    shutil.copyfile(os.path.join(source, "resnet20_cifar10_folded.onnx"), os.path.join(output, "resnet20.onnx"))
    subprocess.run([sys.executable, os.path.join(source, "make_vit_data.py"), output], check=True)
    os.replace(os.path.join(output, "vit_cifar10_folded.onnx"), os.path.join(output, "vit.onnx"))
    for model in ("resnet20", "vit"):
        with open(os.path.join(source, f"{model}_cifar10_fq.json"), encoding="utf-8") as file:
            quantizers = json.load(file)
        with np.load(os.path.join(source, f"{model}_cifar10_golden.npz")) as golden:
            tensors = of_run("", golden, quantizers) | of_run("fqr_", golden, quantizers)
        write(os.path.join(output, f"{model}.bin"), tensors)
        print(f"{model}: {len(tensors)} tensors")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
