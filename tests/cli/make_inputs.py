"""Writes the files of the command-line tests into a folder: a small model, data for it, broken ones."""

import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 4


def write_model(path, nodes, initializers, opset=17, ir_version=8, batch="N"):
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                              ir_version=ir_version)
    onnx.save(model, path)


def tiny(rng):
    """Conv, BatchNormalization, Relu; a residual block; pooling and a classifier."""
    def weight(*shape):
        return (rng.standard_normal(shape) * (2.0 / np.prod(shape[1:])) ** 0.5).astype(np.float32)

    nodes, initializers = [], {}

    def conv_bn(name, source, channels_in, channels):
        initializers[name + ".w"] = weight(channels, channels_in, 3, 3)
        for part, value in (("scale", 1 + 0.1 * rng.standard_normal(channels)),
                            ("shift", 0.1 * rng.standard_normal(channels)),
                            ("mean", 0.1 * rng.standard_normal(channels)),
                            ("var", 1 + 0.1 * rng.random(channels))):
            initializers[f"{name}.{part}"] = value.astype(np.float32)
        nodes.append(helper.make_node("Conv", [source, name + ".w"], [name + ".conv"], name=name,
                                      pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node(
            "BatchNormalization",
            [name + ".conv"] + [f"{name}.{p}" for p in ("scale", "shift", "mean", "var")],
            [name + ".bn"], name=name + "_bn"))
        return name + ".bn"

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output.split(".")[0] + "_" + op,
                                      **attributes))
        return output

    a = node("Relu", [conv_bn("conv1", "input", 3, 8)], "conv1.relu")
    b = node("Relu", [conv_bn("conv2", a, 8, 8)], "conv2.relu")
    c = node("Add", [conv_bn("conv3", b, 8, 8), a], "sum")
    d = node("Relu", [c], "sum.relu")
    node("GlobalAveragePool", [d], "pooled")
    node("Flatten", ["pooled"], "flat")
    initializers["head.w"] = weight(CLASSES, 8)
    initializers["head.b"] = weight(CLASSES)
    nodes.append(helper.make_node("Gemm", ["flat", "head.w", "head.b"], ["logits"], name="head",
                                  transB=1))
    return nodes, initializers


def models(folder, rng):
    nodes, initializers = tiny(rng)
    write_model(folder / "tiny.onnx", nodes, initializers)
    write_model(folder / "fixed.onnx", nodes, initializers, batch=2)
    whole = (folder / "tiny.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "text.onnx").write_text("This is not a model at all, it is a line of text.\n")
    write_model(folder / "opset6.onnx", nodes, initializers, opset=6)
    missing = {name: value for name, value in initializers.items() if name != "conv2.w"}
    write_model(folder / "missing.onnx", nodes, missing)
    write_model(folder / "cycle.onnx", [
        helper.make_node("Relu", ["b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Add", ["a", "input"], ["logits"], name="sum")], {})
    write_model(folder / "unknown.onnx", [
        helper.make_node("Det", ["input"], ["x"], name="determinant"),
        helper.make_node("Relu", ["x"], ["logits"], name="last")], {})
    write_model(folder / "nothing.onnx", [
        helper.make_node("Relu", ["input"], ["x"], name="only"),
        helper.make_node("Flatten", ["x"], ["logits"], name="flat")], {})


def tensors(folder, rng):
    """Files for ed-run: x as .npy in every form, as TensorProto, and broken ones; a model with two inputs."""
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    np.save(folder / "double.npy", x.astype(np.float64))
    np.save(folder / "big_endian.npy", x.astype(">f4"))
    np.save(folder / "complex.npy", x.astype(np.complex64))
    np.save(folder / "wrong.npy", x[:, :, :7])
    with open(folder / "x2.npy", "wb") as file:
        np.lib.format.write_array(file, x, version=(2, 0))
    whole = (folder / "x.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-1])
    (folder / "head.npy").write_bytes(whole[:40])
    (folder / "huge.npy").write_bytes(whole.replace(b"(2, 3, 8, 8)", b"(9999999999)"))
    (folder / "text.npy").write_text("no numbers\n")
    (folder / "x.pb").write_bytes(numpy_helper.from_array(x, "input").SerializeToString())
    (folder / "text.pb").write_text("no tensor\n")
    onnx.save(helper.make_model(helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["out/sum"]), helper.make_node("Equal", ["a", "b"], ["same"])],
        "two",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["N"]) for n in "ab"],
        [helper.make_tensor_value_info("out/sum", TensorProto.INT64, ["N"]),
         helper.make_tensor_value_info("same", TensorProto.BOOL, ["N"])]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "two.onnx")
    np.save(folder / "a.npy", np.array([1, 2, 3]))
    np.save(folder / "b.npy", np.array([1, -2, 30]))
    np.save(folder / "none.npy", np.zeros(0, np.int64))


def data(folder, rng):
    pictures = rng.standard_normal((48, 3, 8, 8)).astype(np.float32)
    labels = rng.integers(0, CLASSES, 48)

    def write(name, labels=labels, **datasets):
        with h5py.File(folder / name, "w") as file:
            for key, value in datasets.items():
                file[key] = value
            if labels is not None:
                file["labels"] = labels
            file.attrs["model"] = "tiny.onnx"

    write("data.h5", input=pictures)
    write("one.h5", input=pictures[:1], labels=labels[:1])
    write("no_labels.h5", labels=None, input=pictures)
    write("high_label.h5", labels=np.where(np.arange(48) == 7, CLASSES + 5, labels), input=pictures)
    write("low_label.h5", labels=np.where(np.arange(48) == 7, -1, labels), input=pictures)
    write("short_labels.h5", labels=labels[:40], input=pictures)
    write("other_name.h5", pixels=pictures, more=pictures)
    write("wrong_shape.h5", input=pictures[:, :, :7])
    write("wrong_rank.h5", input=pictures.reshape(48, -1))
    write("text_type.h5", input=np.full((48, 3, 8, 8), b"x"))
    write("empty.h5", input=pictures[:0], labels=labels[:0])
    broken = pictures.copy()
    broken[5, 1, 2, 3] = np.nan
    broken[5, 1, 2, 4] = np.inf
    write("nan.h5", input=broken)
    write("zeros.h5", input=np.zeros_like(pictures))
    (folder / "text.h5").write_text("no HDF5\n")
    whole = (folder / "data.h5").read_bytes()
    (folder / "truncated.h5").write_bytes(whole[: len(whole) // 2])
    with h5py.File(folder / "no_model.h5", "w") as file:
        file["input"] = pictures
    with h5py.File(folder / "endless.h5", "w") as file:  # chunks never written take no space
        file.create_dataset("input", (50_000_000, 3, 8, 8), "uint8", chunks=(1024, 3, 8, 8))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    generator = np.random.default_rng(1)
    models(target, generator)
    data(target, generator)
    tensors(target, generator)
