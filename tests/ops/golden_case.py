"""Case lines of the operator harness: syntax and input data, as case.c and generate.c have them too.

    Op opset=N[,N] [exact|close] [fastnan] [constant|fixed|dynamic] [nograd] [outputs=N] [output=K] name=type[dims][:generator] ... [| attr=value ...]
       [=> code: part of the sentence]

exact: to the bit; close: every element to a few units in the last place; else the mean squared error. fastnan:
a fast row may give a number where the reference gives NaN (oneDNN's relu and clip do). Lines that begin with # are comments, `_` is an omitted input. The last part makes it a case that must
fail. A generator is normal (default of float32), normal(s), positive, fill(v), halves, special,
nonzero, or a list {1,2,3}; integers are small numbers from -8 to 8 by default. Integers after input 0 are
constants of the graph, unless the case is `dynamic`; all inputs of a `constant` one are, all but input 0 of
a `fixed` one. The gradients of a `nograd` one are not compared (test_gradients). Output K of several is compared (0). An attribute type[dims]:{1,2} is a tensor.
"""

import re
from dataclasses import dataclass, field, replace

import numpy as np

DTYPES = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "i8": np.int8,
    "i16": np.int16,
    "u8": np.uint8,
    "u16": np.uint16,
    "u32": np.uint32,
    "u64": np.uint64,
    "i32": np.int32,
    "i64": np.int64,
    "bool": np.bool_,
}

SPECIAL = np.array(
    "nan inf -inf -0 0 1e30 -1e30 1e-40 -1e-40 0.5 -0.5 1.5 2.5 -1.5 3 -3 126.5 127.5 -128.5 88 -104 6 "
    "3.0000002".split(),
    np.float64,
).astype(np.float32)

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def fnv1a(data, h=0xCBF29CE484222325):
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & M64
    return h


def hashes(seed, n):
    """splitmix64: n numbers of 64 bits."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def normal(seed, n):
    """Sums of four 16-bit numbers, variance 1: the same bits in C."""
    h = hashes(seed, n)
    total = sum((h >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48))
    return ((total.astype(np.float64) - 131070.0) / 37837.0).astype(np.float32)


def generate(generator, dtype, shape, seed):
    n = int(np.prod(shape, dtype=np.int64))
    name, _, arg = generator.partition("(")
    arg = float(arg[:-1]) if arg else 1.0
    if name.startswith("{"):
        items = [v for v in name[1:-1].split(",") if v]
        if np.issubdtype(dtype, np.floating):
            flat = np.array(items, np.float64).astype(dtype)
        else:
            flat = np.array([int(v) for v in items], np.uint64 if dtype == np.uint64 else np.int64).astype(dtype)
        assert flat.size == n, f"{generator} has {flat.size} numbers, the shape {n}"
    elif name == "fill":
        flat = np.full(n, arg).astype(dtype)
    elif name == "halves":
        flat = ((np.arange(n) - n // 2) * 0.5).astype(dtype)
    elif name == "special":
        flat = np.resize(SPECIAL, n)
    elif np.issubdtype(dtype, np.floating):
        flat = normal(seed, n)
        if name == "positive":
            flat = np.abs(flat) + np.float32(0.1)
        elif name == "normal":
            flat = flat * np.float32(arg)
        else:
            raise ValueError(f"no generator '{generator}'")
        flat = flat.astype(dtype)
    else:
        wide = (hashes(seed, n) % np.uint64(17)).astype(np.int64) - 8
        if name == "nonzero":
            wide[wide == 0] = 1
        if np.issubdtype(dtype, np.unsignedinteger):
            wide = np.abs(wide)
        flat = wide.astype(dtype)
    return flat.reshape(shape)


@dataclass
class Case:
    line: str
    op: str
    opset: int
    outputs: int = 1
    output: int = 0
    fails: bool = False
    inputs: list = field(default_factory=list)
    attrs: dict = field(default_factory=dict)

    def key(self):
        return fnv1a(f"{self.opset} {self.line}".encode())


def attribute(text):
    if "]:" in text:
        return tensor("attribute", 0, "value=" + text)
    if text.startswith("["):
        return [float(np.float32(v)) if "." in text else int(v) for v in text[1:-1].split(",") if v]
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    return float(np.float32(text)) if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text) else text


def tensor(line, index, text):
    if text == "_":
        return None
    kind, dims, generator = re.fullmatch(r"\w+=(\w+)\[([\d,]*)\](?::(\S+))?", text).groups()
    shape = [int(d) for d in dims.split(",") if d]
    seed = fnv1a(bytes([index]), fnv1a(line.encode()))
    return generate(generator or "normal", DTYPES[kind], shape, seed)


def parse(line):
    """The cases of one line: one for each opset."""
    rest, _, failure = line.partition(" => ")
    head, _, tail = rest.partition("|")
    words = head.split()
    case = Case(line, words[0], 0, fails=bool(failure))
    opsets = []
    for word in words[1:]:
        if word.startswith("opset="):
            opsets = [int(v) for v in word[6:].split(",")]
        elif word.startswith("outputs="):
            case.outputs = int(word[8:])
        elif word.startswith("output="):
            case.output = int(word[7:])
        elif word not in ("exact", "close", "fastnan", "constant", "fixed", "dynamic", "nograd") and not case.fails:
            case.inputs.append(tensor(line, len(case.inputs), word))
    for word in tail.split():
        name, _, value = word.partition("=")
        case.attrs[name] = attribute(value)
    return [replace(case, opset=v) for v in opsets]


def read(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [case for line in lines if line and not line.startswith("#") for case in parse(line)]
