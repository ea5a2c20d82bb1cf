#!/bin/bash
# gpu.sh BUILD_DIR RESNET50.onnx: every GPU benchmark beside PyTorch in one run, ratios last. README.md tells
# what is needed. Everything is checked before it is timed.
set -euo pipefail
build=$(realpath "$1") model=$(realpath "$2") here=$(dirname "$(realpath "$0")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-python3}

"$python" - "$folder/pictures.h5" << 'PYTHON'
import sys, h5py, numpy
with h5py.File(sys.argv[1], "w") as file:
    pictures = numpy.random.default_rng(0).integers(0, 256, (512, 224, 224, 3), dtype=numpy.uint8)
    data = file.create_dataset("input", data=pictures)
    data.attrs.update(layout="NHWC", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
PYTHON

echo "== forward pass of ResNet-50, batch 128"
"$python" -B "$here/bench_gpu.py" "$build/tests/bench/bench_gpu" "$model" --tune
echo "== entropy calibration of 512 pictures: the first round loads kernels from disk"
"$build/tests/bench/bench_calibrate_gpu" "$model" "$folder/pictures.h5" entropy 128 tf32 4
echo "== the command from start to finish, without and with its cache of convolutions"
for cache in cold warm; do
    begin=$(date +%s.%N)
    ED_CACHE_DIR=$folder/cache "$build/tools/ed-calibrate" "$model" --data "$folder/pictures.h5" --method entropy \
        --batch 128 --device cuda --quiet -o "$folder/int8.onnx"
    "$python" -c "print('$cache: %.2f s' % ($(date +%s.%N) - $begin))"
done
echo "== a step of training, batch 128, of the model just written"
"$python" -B "$here/bench_train_torch.py" "$model" --ours "$build/tests/bench/bench_train_gpu" "$folder/int8.onnx"
echo "== single kernels, 256 Mi floats: ours, then PyTorch's"
"$build/tests/bench/bench_cuda"
"$python" -B "$here/bench_cuda.py"
