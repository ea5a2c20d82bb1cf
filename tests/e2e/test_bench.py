"""ed-bench on the handwritten digits: its numbers are those of ed-calibrate, ed-qat and ed-eval done one by one, and
its page is well-formed, escaped and asks for nothing from elsewhere. Run by ctest, or:
python test_bench.py TOOLS SOURCE
"""
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

TOOLS, DATASETS = Path(sys.argv[1]), Path(sys.argv[2]) / "datasets"
VOID = {"meta", "br", "link", "img", "input", "hr"}
TRAINING = ["--epochs", "2", "--seed", "3"]


def tool(name, *arguments):
    run = subprocess.run([TOOLS / name, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, (name, run.stderr)
    return run.stdout


class Page(HTMLParser):
    """Checks that tags are closed in order; gathers attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.ids, self.tags, self.text = [], [], [], set(), ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):  # <path/> of an inline SVG
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open, self.getpos())
        self.open.pop()

    def handle_data(self, data):
        self.text += data


def check_page(text):
    page = Page(text)
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}, names
    assert not [name for name in names if name.startswith("on")], names
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\(|@import|https?:|//[a-z]", text), "something is fetched"
    assert len(page.ids) == len(set(page.ids))
    for name, value in page.attributes:
        if name == "aria-labelledby":
            assert value in page.ids, value
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE), "a number that is none"
    assert "prefers-color-scheme:dark" in text and "@media print" in text
    return page


def check_sanity(bench):
    floating, *others = bench["models"]
    assert floating["drop"] == 0 and floating["agreement"] == 100 and floating["sqnr_db"] is None
    for model in others:
        assert math.isclose(model["drop"], floating["top1"] - model["top1"], abs_tol=1e-6)
        assert 25 < model["sqnr_db"] < 60 and model["agreement"] > 98 and model["seconds"] > 0
        assert model["top1"] <= model["top5"] <= 100
    best = max(others, key=lambda m: (m["top1"], m["sqnr_db"]))
    assert bench["best"] == best["name"]
    for name in ("calibrated_sqnr_db", "trained_sqnr_db"):
        assert all(20 < group[name] < 80 for group in bench["groups"])
    sqnr = [group["calibrated_sqnr_db"] for group in bench["groups"]]
    assert sqnr == sorted(sqnr) and len(sqnr) >= 6
    for value in bench["values"]:
        assert sum(value["counts"]) == value["count"] and len(value["counts"]) <= value["bins"]
        largest = max(-value["min"], value["max"])
        assert math.isclose(value["methods"]["minmax"]["amax"], largest, rel_tol=1e-6)
        errors = {name: -row["sqnr_db"] for name, row in value["methods"].items()}
        assert errors["mse"] <= min(errors.values()) + 0.05, (value["value"], errors)  # what mse is about


def same(one, other):
    """A model of ed-bench, and the row of ed-eval for the file that another command wrote."""
    for key in ("top1", "top5", "drop", "agreement"):
        assert math.isclose(one[key], other[key], abs_tol=1e-6), (one["name"], key, one[key], other[key])
    assert math.isclose(one["sqnr_db"], other["sqnr_db"], abs_tol=0.02), (one, other)


def check_against_single_commands(bench, folder):
    model, calib, test = (DATASETS / f"digits{part}" for part in (".onnx", "_calib.h5", "_test.h5"))
    methods = [m["name"] for m in bench["models"] if m["kind"] == "calibrated"]
    paths = []
    for name in methods:
        paths.append(folder / f"{name}.onnx")
        report = json.loads(tool("ed-calibrate", model, "--data", calib, "-m", name, "--json", "-o", paths[-1]))
        ours = {value["value"]: value["methods"][name] for value in bench["values"]}
        assert {row["value"] for row in report["ranges"]} == set(ours)
        for row in report["ranges"]:
            assert math.isclose(row["scale"], ours[row["value"]]["scale"], rel_tol=1e-6), (name, row)
    paths.append(folder / "qat.onnx")
    tool("ed-qat", model, "--data", DATASETS / "digits_train.h5", "--calib", calib, "--val",
         test, *TRAINING, "-q", "-o", paths[-1])
    rows = json.loads(tool("ed-eval", model, *paths, "--data", test, "--json"))["models"]
    assert math.isclose(bench["models"][0]["top1"], rows[0]["top1"], abs_tol=1e-6)
    for ours, theirs in zip(bench["models"][1:], rows[1:], strict=True):
        same(ours, theirs)


def run_bench(folder, model, *arguments):
    page, numbers = folder / "bench.html", folder / "bench.json"
    tool("ed-bench", model, "--calib", DATASETS / "digits_calib.h5", "--test", DATASETS / "digits_test.h5",
         "--html", page, "--json", numbers, "-q", *arguments)
    return page.read_text(encoding="utf-8"), json.loads(numbers.read_text(encoding="utf-8"))


def tool_page(folder, model):
    page = folder / "page.html"
    tool("ed-bench", model, "--calib", DATASETS / "digits_calib.h5", "--test", DATASETS / "digits_test.h5",
         "--methods", "mse", "--html", page, "-q")
    return page.read_text(encoding="utf-8")


def check_escaping(folder):
    """Names from the model and the command line are text, never markup."""
    path = folder / "a<b>&\"'.onnx"
    original = (DATASETS / "digits.onnx").read_bytes()
    assert b"relu1.out" in original
    path.write_bytes(original.replace(b"relu1.out", b"<b>&\"'.ou"))
    text, numbers = run_bench(folder, path, "--methods", "mse")
    page = check_page(text)
    assert path.name in page.text and "<b>&\"'.ou" in page.text and "<b>&" not in text
    assert "<b>&\"'.ou" in [value["value"] for value in numbers["values"]]

    path.write_bytes(original.replace(b"relu1.out", b"\xff\xe2\x82u1\x01out"))  # no UTF-8
    text = tool_page(folder, path)
    assert "\ufffd\ufffd\ufffdu1\ufffdout" in check_page(text).text
    run = subprocess.run([TOOLS / "ed-bench", path, "--calib", DATASETS / "digits_calib.h5", "--test",
                          DATASETS / "digits_test.h5", "--methods", "mse", "--json", "-"], capture_output=True)
    assert run.returncode == 1 and b"not UTF-8" in run.stderr and not run.stdout, run


def main():
    folder = Path(tempfile.mkdtemp())
    try:
        text, bench = run_bench(folder, DATASETS / "digits.onnx", "--train", DATASETS / "digits_train.h5", "--val",
                                DATASETS / "digits_test.h5", *TRAINING)
        page = check_page(text)
        for part in ("Results", "Where the error comes from", "Training (QAT)", "Values and their ranges"):
            assert part in page.text, part
        check_sanity(bench)
        check_against_single_commands(bench, folder)
        check_escaping(folder)
    finally:
        shutil.rmtree(folder)


main()
