# A device that is lost, at any call: one sentence, status 1, no file.
- "$SOURCE/tests/fake_device/lost.sh" lost.onnx ed-calibrate -q tiny.onnx -d data.h5 --device cuda -o lost.onnx
- test -s lost.onnx
- "$SOURCE/tests/fake_device/lost.sh" ranges.json ed-calibrate -q tiny.onnx -d data.h5 --device cuda -b 7 --method minmax --ranges ranges.json -o b7.onnx
- "$SOURCE/tests/fake_device/lost.sh" none ed-eval -q tiny.onnx lost.onnx -d data.h5 --device cuda
- "$SOURCE/tests/fake_device/lost.sh" out ed-run -q tiny.onnx -i x.npy --device cuda -o out
- "$SOURCE/tests/fake_device/lost.sh" q.onnx ed-qat -q tiny.onnx -d data.h5 --device cuda -e 1 -b 16 --val data.h5 -o q.onnx
