# ed-eval on a small model.
- ed-calibrate -q tiny.onnx -d data.h5
$ ed-eval tiny.onnx tiny_int8.onnx --data data.h5
> model * top-1 %  top-5 %  drop  agreement %  SQNR dB
> tiny.onnx * *.*  100.00     - * -        -
> tiny_int8.onnx * *.*  100.00  *.*  *.*
>
> 48 samples, *.* s, * samples/s
$ ed-eval --data data.h5
> model * top-1 %*
> tiny.onnx *.*  100.00     - * -        -
>
> 48 samples, *
$ ed-eval tiny.onnx tiny_int8.onnx --data data.h5 --layers
> model *
> tiny.onnx *
> tiny_int8.onnx *
>
> group * SQNR dB
> ConvBN*ReLU_* *.*
> ...
>
> 48 samples, *
# A model against itself.
$ ed-eval tiny.onnx tiny.onnx --data data.h5 --quiet
> ...
> tiny.onnx * 0.00       100.00    equal
>
> 48 samples, *
# Batches of any size give the same figures.
- ed-eval tiny.onnx tiny_int8.onnx -d data.h5 --json -b 5 -n 31 > a.json; ed-eval tiny.onnx tiny_int8.onnx -d data.h5 --json -b 64 -n 31 > b.json
$ "$PYTHON" -c 'import json; a, b = (json.load(open(f)) for f in ("a.json", "b.json")); m, n = a["models"][1], b["models"][1]; print(a["samples"], m["top1"] == n["top1"], m["agreement"] == n["agreement"], abs(m["sqnr_db"] - n["sqnr_db"]) < 0.2, m["drop"] == a["models"][0]["top1"] - m["top1"])'
> 31 True True True True
# Without labels.
$ ed-eval tiny.onnx tiny_int8.onnx --data no_labels.h5
> model *
> tiny.onnx * -  *
> tiny_int8.onnx * -  * *.*  *.*
>
> 48 samples, *; the data has no labels: agreement and SQNR only
$ ed-eval tiny.onnx --data no_labels.h5
! ed-eval: no_labels.h5*labels*
= 1
$ ed-eval tiny.onnx --data high_label.h5
! ed-eval: *label*9*
= 1
$ ed-eval tiny.onnx --data low_label.h5
! ed-eval: *label*-1*
= 1
$ ed-eval tiny.onnx --data short_labels.h5
! ed-eval: short_labels.h5*labels*
= 1
# Models that do not fit each other or are none.
$ ed-eval tiny.onnx nothing.onnx --data data.h5
! ed-eval: *
= 1
$ ed-eval tiny.onnx text.onnx --data data.h5
! ed-eval: text.onnx*
= 1
$ ed-eval tiny.onnx tiny_int8.onnx --data nan.h5
! ed-eval: *
= 1
$ ed-eval tiny.onnx tiny_int8.onnx --data nan.h5 --allow-nonfinite --json > n.json; "$PYTHON" -c 'import json; print(json.load(open("n.json"))["nonfinite"])'
> 2
! ed-eval: warning: nan.h5: 2 inputs are NaN or infinite
$ ed-eval tiny.onnx --data data.h5 --device cuda
! ed-eval: the CUDA backend could not be opened (/none/libed-cuda.so: *); install libed-cuda.so with CUDA 13 and cuDNN 9, or use --device cpu
= 1
$ ed-eval tiny.onnx tiny_int8.onnx --data data.h5 > /dev/full
! ed-eval: cannot write to standard output: No space left on device
= 1
$ ed-eval tiny.onnx --data data.h5 --json > /dev/full
! ed-eval: cannot write *
= 1
