#!/bin/bash
# The demo: installs what is missing (Debian 12), builds, quantizes the embedded model for handwritten
# digits, prints its accuracy before and after, trains it, and compares all methods. Writes into build/ only.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh

need_packages "${BUILD_PACKAGES[@]}"

say "Building (build/release)"
cmake --preset release -DED_BUILD_TESTS="${ED_BUILD_TESTS:-OFF}" > /dev/null
cmake --build --preset release

# run COMMAND...: show it and run the program that was just built.
run() {
    say "$*"
    local program=$1
    shift
    "build/release/tools/$program" "$@"
}
mkdir -p build/demo
run ed-calibrate --data datasets/digits_calib.h5 -o build/demo/digits_int8.onnx
run ed-eval datasets/digits.onnx build/demo/digits_int8.onnx --data datasets/digits_test.h5
run ed-qat --epochs 3 -o build/demo/digits_qat.onnx # the same data, which it finds by itself
run ed-bench --calib datasets/digits_calib.h5 --test datasets/digits_test.h5 --train datasets/digits_train.h5 \
    --html build/demo/digits.html
