"""same_scales.py A.onnx B.onnx: the QuantizeLinear scales of both models agree to 1e-5."""

import sys

import numpy as np
import onnx
from onnx import numpy_helper


def scales(path):
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    return {n.input[1]: constants[n.input[1]] for n in graph.node if n.op_type == "QuantizeLinear"}


first, second = scales(sys.argv[1]), scales(sys.argv[2])
assert first and first.keys() == second.keys(), (first.keys(), second.keys())
for name in first:
    np.testing.assert_allclose(first[name], second[name], rtol=1e-5, err_msg=name)
