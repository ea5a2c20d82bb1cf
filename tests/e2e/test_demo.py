"""ed-qat on the demo: training keeps the accuracy of the calibrated model or improves it. Run by ctest, or:
python test_demo.py TOOLS
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main():
    tools = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([tools / "ed-qat", "--epochs", "3", "--json"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        written = sorted(path.name for path in Path(folder).iterdir())
    result = json.loads(done.stdout)
    top1 = {row["model"]: row["top1"] for row in result["models"]}
    print(f"top-1 in percent: {top1}; {result['seconds']:.2f} s, best epoch {result['best_epoch']}")
    assert written == ["digits_qat.onnx"], written
    assert top1["trained"] >= top1["calibrated"] >= 99 and top1["float"] >= 99


if __name__ == "__main__":
    main()
