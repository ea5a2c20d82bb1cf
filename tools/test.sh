#!/bin/bash
# Every test: installs what is missing (Debian 12), builds, runs, ends with a summary.
#
#   debug    address and undefined behaviour sanitizers: all tests but those labelled "release"
#   release  tests labelled "release": real models, other programs, valgrind
#   cuda     the CUDA backend compiles, where nvcc and cuDNN are; its tests need a GPU and are skipped
#            without one
#   clang    compiles everything without a warning; each fuzz target runs for 20 s from its corpus;
#            clang-format agrees with the sources
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/packages.sh

jobs=$(nproc)
summary=()
failed=0

# step NAME COMMAND...: run it, remember how it went.
step() {
    local name=$1 start=$SECONDS state=passed
    shift
    say "$name"
    "$@" || { state=FAILED; failed=1; }
    summary+=("$(printf '%-28s %s, %d s' "$name" "$state" $((SECONDS - start)))")
    [ "$state" = passed ]
}

finish() {
    say "Summary"
    printf '%s\n' "${summary[@]}"
    exit "$failed"
}

python_environment() {
    local venv=.venv
    [ -x $venv/bin/python ] || python3 -m venv $venv || return 1
    $venv/bin/python -c 'import onnx, onnxruntime, numpy, h5py, PIL, pytest' 2> /dev/null ||
        $venv/bin/pip install -q --disable-pip-version-check 'onnx>=1.16,<2' 'onnxruntime>=1.18,<2' \
            'numpy>=1.26,<3' 'h5py>=3.11,<4' 'pillow>=10' 'pytest>=8'
}

# build PRESET OPTIONS...
build() {
    local preset=$1
    shift
    cmake --preset "$preset" -DED_BUILD_TESTS=ON -DPython3_EXECUTABLE="$PWD/.venv/bin/python" "$@" \
        > /dev/null && cmake --build "build/$preset" -j "$jobs"
}

clang_build() {
    cmake -S . -B build/clang -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang \
        -DPython3_EXECUTABLE="$PWD/.venv/bin/python" > /dev/null &&
        cmake --build build/clang -j "$jobs"
}

# All of it, with its tests, which say what they skip.
cuda_build() {
    build cuda && ctest --preset cuda -R cuda -j 1
}

# Each target twenty seconds from the committed corpus, with a fixed seed.
fuzz() {
    cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang -DED_FUZZ=ON \
        -DED_TEST_DIRS=fuzz > /dev/null &&
        cmake --build build/fuzz -j "$jobs" --target fuzz_onnx fuzz_plan &&
        ctest --test-dir build/fuzz -L fuzz -j "$jobs" --output-on-failure
}

format_check() {
    find include src cuda tools tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
        xargs -0 clang-format --dry-run -Werror
}

step "packages" need_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" || finish
step "Python environment" python_environment # without it the Python tests are skipped
step "build debug (sanitizers)" build debug || finish
step "build release" build release || finish
step "tests under the sanitizers" ctest --preset debug -LE release -j "$jobs"
step "tests of the release build" ctest --preset release -L release -j "$jobs"
step "demo" env ED_BUILD_TESTS=ON ./tools/demo.sh
if PATH=$PATH:/usr/local/cuda/bin nvcc -E -x cu - <<< '#include <cudnn_backend.h>' > /dev/null 2>&1; then
    step "CUDA backend" cuda_build
else
    summary+=("$(printf '%-28s skipped: there is no nvcc with cuDNN' "CUDA backend")")
fi
step "compile with clang" clang_build
step "fuzz targets" fuzz
step "clang-format" format_check
finish
