# ed-calibrate on a small model.
$ ed-calibrate tiny.onnx --data data.h5
> group * value * method * range * scale
> ...
> ConvBNReLU_0 * input * [-*, *]  0.*
> ...
>
> groups: 1 ConvBNAddReLU, 2 ConvBNReLU, 1 Conv, 1 AdaptiveAvgPool
> * values and * weights quantized, 48 samples, *.* s
> wrote tiny_int8.onnx
- test -s tiny_int8.onnx
- "$PYTHON" -c 'import onnx; onnx.checker.check_model("tiny_int8.onnx", full_check=True)'
# The model that the data names.
- mv tiny_int8.onnx first.onnx
$ ed-calibrate --quiet --data data.h5
- cmp tiny_int8.onnx first.onnx
# Any batch size and number of threads gives the same file.
$ ed-calibrate -q tiny.onnx -d data.h5 -b 7 -j 1 -o b7.onnx
- "$PYTHON" "$SOURCE/tests/cli/same_scales.py" b7.onnx first.onnx
$ ed-calibrate -q tiny.onnx -d data.h5 -b auto -o b0.onnx
- "$PYTHON" "$SOURCE/tests/cli/same_scales.py" b0.onnx first.onnx
# A model with a batch of its own.
$ ed-calibrate -q fixed.onnx -d data.h5 -o fixed_int8.onnx
- "$PYTHON" "$SOURCE/tests/cli/same_scales.py" fixed_int8.onnx first.onnx
# Ranges: written, then read back without the data.
$ ed-calibrate tiny.onnx --data data.h5 --ranges ranges.json -o a.onnx
> ...
> wrote a.onnx
> wrote ranges.json
- cmp a.onnx first.onnx
- "$PYTHON" -c 'import json; r = json.load(open("ranges.json")); assert r'
$ ed-calibrate tiny.onnx --ranges ranges.json -o b.onnx
> group * value * method * range * scale
> ...
> * values and * weights quantized, *.* s
> wrote b.onnx
- cmp b.onnx first.onnx
# ... but for another model they are refused.
$ ed-calibrate nothing.onnx --ranges ranges.json
! ed-calibrate: *
= 1
- sed 's/"model_hash": *"./&0/' ranges.json > other.json
$ ed-calibrate tiny.onnx --ranges other.json -o c.onnx
! ed-calibrate: *
= 1
- test ! -e c.onnx
- head -c 200 ranges.json > cut.json
$ ed-calibrate tiny.onnx --ranges cut.json -o c.onnx
! ed-calibrate: cut.json*
= 1
$ ed-calibrate tiny.onnx --ranges none.json -o c.onnx
! ed-calibrate: none.json*
= 1
# Every method runs, and says which one it was.
$ for m in entropy percentile mse minmax ema; do ed-calibrate -q tiny.onnx -d data.h5 -m $m --json -o m.onnx | grep -c "\"method\": \"$m\""; done
> 5
> 5
> 5
> 5
> 5
$ ed-calibrate -q tiny.onnx -d data.h5 --method percentile --percentile 99 --bins 512 -o m.onnx
$ ed-calibrate -q tiny.onnx -d data.h5 --method ema --ema 0.1 -o m.onnx
# Weights in float, per-channel scales by the largest value, data beside the model.
$ ed-calibrate -q tiny.onnx -d data.h5 --weights float -o f.onnx
- "$PYTHON" -c 'import onnx; n = [x.op_type for x in onnx.load("f.onnx").graph.node]; assert n.count("QuantizeLinear") == n.count("DequantizeLinear") > 4, n'
$ ed-calibrate -q tiny.onnx -d data.h5 --weight-method minmax -o w.onnx
$ ed-calibrate -q tiny.onnx -d data.h5 --external-data --weights float -o e.onnx
- test -s e.onnx.data
$ ed-eval e.onnx f.onnx --data data.h5 --json | grep -c '"equal": true'
> 1
# Exclusions: by operator, by name, by pattern.
$ ed-calibrate -q tiny.onnx -d data.h5 --exclude Gemm --exclude conv --exclude 'conv2*' -o x.onnx
! ed-calibrate: *'conv'*
= 1
$ ed-calibrate -q tiny.onnx -d data.h5 -x Gemm -x 'conv2*' -o x.onnx
- "$PYTHON" -c 'import onnx; n = [x.op_type for x in onnx.load("x.onnx").graph.node]; assert n.count("QuantizeLinear") == 3, n'
$ ed-calibrate tiny.onnx -d data.h5 -x nonsense -o y.onnx
! ed-calibrate: *nonsense*
= 1
$ ed-calibrate tiny.onnx -d data.h5 --rule nonsense -o y.onnx
! ed-calibrate: *nonsense*
= 1
$ ed-calibrate tiny.onnx -d data.h5 --target nonsense -o y.onnx
! ed-calibrate: *nonsense*
= 1
$ ed-calibrate tiny.onnx -d data.h5 -x '*' -o y.onnx
! ed-calibrate: tiny.onnx: nothing in it can be quantized *
= 1
- test ! -e y.onnx
# JSON for programs, --limit, one sample, zeros.
$ ed-calibrate tiny.onnx -d data.h5 --json --limit 10 -o j.onnx > j.json; "$PYTHON" -c 'import json; j = json.load(open("j.json")); print(j["samples"], j["output"], len(j["ranges"]) == j["activations"] > 3, j["weight_count"])'
> 10 j.onnx True 4
$ ed-calibrate -q tiny.onnx -d one.h5 -o one.onnx
$ ed-calibrate -q tiny.onnx -d zeros.h5 -o zeros.onnx
! ...
# Devices.
$ ed-calibrate -q tiny.onnx -d data.h5 --device cuda:0 -o y.onnx
! ed-calibrate: the CUDA backend could not be opened (/none/libed-cuda.so: *); install libed-cuda.so with CUDA 13 and cuDNN 9, or use --device cpu
= 1
$ ed-calibrate tiny.onnx -d data.h5 --device auto --json -o z.onnx | head -n 1
> {
! ed-calibrate: --device auto: the CPU is used: the CUDA backend could not be opened (*
# --verbose prints the graph and what was placed where.
$ ed-calibrate -v -q tiny.onnx -d data.h5 -o z.onnx
$ ed-calibrate -v tiny.onnx -d data.h5 -o z.onnx 2>&1 > /dev/null | grep -c 'ed::FakeQuantize(\|: quantizes '
> 16
# Excluded groups and the target's hints are told.
$ ed-calibrate tiny.onnx -d data.h5 -x Gemm --rule skip-narrow-conv -o z.onnx | grep float
> *ConvBNAddReLU_0* left in float: skip-narrow-conv: *
> Linear_0 left in float: excluded by the user
- if ls | grep tmp-; then exit 1; fi
# Four bits: int4 of opset 21, or weights in int8 tensors. Ranges are for as many bits as the plan says.
$ ed-calibrate -q tiny.onnx -d data.h5 --bits-w 4 -o w4.onnx; ed-calibrate -q tiny.onnx -d data.h5 --bits-w 4 --int8-storage -o w48.onnx; ed-calibrate -q tiny.onnx -d data.h5 --bits-w 4 --bits-a 4 --ranges a4.json -o a4.onnx
$ "$PYTHON" -c 'import onnx; m = [onnx.load(f) for f in ("w4.onnx", "w48.onnx", "a4.onnx")]; [onnx.checker.check_model(x, full_check=True) for x in m]; print([x.opset_import[0].version for x in m], [sum(i.data_type == onnx.TensorProto.INT4 for i in x.graph.initializer) > 0 for x in m])'
> [21, 17, 21] [True, False, True]
$ ed-calibrate -q tiny.onnx --ranges a4.json -o a8.onnx
! ed-calibrate: ranges for signed 4 bits; the model is quantized to signed 8 bits: calibrate for those
= 1
$ ed-calibrate -q tiny.onnx --ranges a4.json --bits-w 4 --bits-a 4 -o a4r.onnx
- cmp a4.onnx a4r.onnx
$ ed-calibrate tiny.onnx -d data.h5 --bits-w 3
! ed-calibrate: --bits-w: `3' is unknown; choose one of: 8, 4
! Try *
= 2
