# ed-transform: one shot, plans, verification.
- cp tiny.onnx copy.onnx
$ ed-transform tiny.onnx -o fused.onnx
> pattern * phase * applied  skipped
> ...
> fold_bn * conversion * 3        0
> ...
> ConvBNAddReLU * fusion * 1        0
> ...
>
> 13 nodes before, * after, *.* s
> wrote fused.onnx
- "$PYTHON" -c 'import onnx; n = [x.op_type for x in onnx.load("fused.onnx").graph.node]; assert n.count("Add") == 1 and "BatchNormalization" not in n, n'
# Without --output nothing is written.
$ ed-transform tiny.onnx --patterns conversions
> pattern *
> ...
> fold_bn * conversion * 3        0
> ...
> 13 nodes before, * after, *
$ ed-transform -q tiny.onnx
$ ed-transform tiny.onnx --patterns fusions | grep -c conversion
> 0
= 1
$ ed-transform tiny.onnx --patterns all | grep -c ' quantization '
> *
# Verification: on random inputs, on data; above the tolerance nothing is written.
$ ed-transform tiny.onnx --verify -o verified.onnx
> ...
> output * largest difference * relative
> logits * *e-0* *e-0*
>
> 2 samples, tolerance 0.0001: kept
> ...
> wrote verified.onnx
- cmp verified.onnx fused.onnx
$ ed-transform tiny.onnx --verify --data data.h5 --batch 7 --limit 20
> ...
> 20 samples, tolerance 0.0001: kept
> ...
$ ed-transform tiny.onnx --verify --tolerance 0 -o strict.onnx
> ...
> 2 samples, tolerance 0: exceeded
> ...
! ed-transform: tiny.onnx: output 'logits' differs by * of its largest value *, more than 0; nothing was written
= 1
- test ! -e strict.onnx
$ ed-transform tiny.onnx --verify --json > v.json; "$PYTHON" -c 'import json; v = json.load(open("v.json")); print(v["verify"]["kept"], v["verify"]["outputs"][0]["output"], sum(p["applied"] for p in v["patterns"] if p["pattern"] == "fold_bn"), v["output"])'
> True logits 3 None
# A plan: written, edited, applied. The model and the graph stay as they are.
$ ed-transform tiny.onnx --plan-out plan.json
> ...
> wrote plan.json
- cmp tiny.onnx copy.onnx
$ "$PYTHON" -c 'import json; p = json.load(open("plan.json")); m = p["fusions"]["sum_Relu"]["ConvBNAddReLU"]; print(m["apply"], m["reason"], m["nodes"], m["inputs"][0]); print(p["fusions"]["conv3"]["Conv"]["reason"])'
> True None ['conv3', 'sum_Add', 'sum_Relu'] conv2.relu
> Conv 'conv3' belongs to ConvBNAddReLU at sum_Relu
$ ed-transform tiny.onnx --plan plan.json -o same.onnx -q
- cmp same.onnx fused.onnx
- "$PYTHON" -c 'import json; p = json.load(open("plan.json")); p["conversions"]["conv2_bn"]["fold_bn"]["apply"] = False; p["quantized"]["conv2.relu"]["input"]["apply"] = False; json.dump(p, open("edited.json", "w"))'
$ ed-transform tiny.onnx --plan edited.json -o edited.onnx --verify | grep fold_bn
> fold_bn * 2        1
- "$PYTHON" -c 'import onnx; n = [x.op_type for x in onnx.load("edited.onnx").graph.node]; assert n.count("BatchNormalization") == 1, n'
# ed-calibrate goes by the same plan: a convolution stays in float, weight and all.
$ ed-calibrate tiny.onnx -d data.h5 --plan edited.json -o edited_int8.onnx | grep 'left in float'
> conv2.relu left in float: disabled by the user
> conv3.w left in float: the other operand of Conv 'conv3', 'conv2.relu', stays in float
- ed-calibrate -q tiny.onnx -d data.h5
- "$PYTHON" -c 'import onnx; n, m = ([x.op_type for x in onnx.load(f).graph.node] for f in ("edited_int8.onnx", "tiny_int8.onnx")); assert n.count("DequantizeLinear") == m.count("DequantizeLinear") - 2 and n.count("BatchNormalization") == 1, n'
$ ed-calibrate -q tiny.onnx -d data.h5 --disable input@conv2.relu --disable fold_bn@conv2_bn -o disabled_int8.onnx
- cmp edited_int8.onnx disabled_int8.onnx
$ ed-calibrate -q tiny.onnx -d data.h5 --plan plan.json -o planned_int8.onnx
- cmp planned_int8.onnx tiny_int8.onnx
# Switching on what another match holds is refused; so is what the model does not have.
- sed 's/"Conv": {"apply": false, "reason": "Conv .conv3. belongs/"Conv": {"apply": true, "reason": "Conv conv3 belongs/' plan.json > greedy.json
$ ed-transform tiny.onnx --plan greedy.json
! ed-transform: greedy.json: Conv at 'conv3' cannot be switched on: Conv 'conv3' belongs to ConvBNAddReLU at sum_Relu; a match that holds its nodes has to be switched off first
= 1
- sed 's/"conv3": {/"conv9": {/' plan.json > unknown.json
$ ed-transform tiny.onnx --plan unknown.json
! ed-transform: unknown.json: * does not match at 'conv9', and no other pattern does; *
= 1
$ ed-transform nothing.onnx --plan plan.json
! ed-transform: plan.json: the plan was made for another model (*
= 1
- head -c 300 plan.json > cut.json
$ ed-transform tiny.onnx --plan cut.json
! ed-transform: cut.json: line *: *; a plan in JSON was expected
= 1
$ ed-transform tiny.onnx --plan none.json
! ed-transform: none.json: *
= 1
$ ed-transform tiny.onnx --disable fold_bn@conv1_bn --disable ConvBNReLU | grep -e fold_bn -e ConvBNReLU
> fold_bn * 2        1
> ConvBNReLU * 0        2
$ ed-transform tiny.onnx --disable fold_bm
! ed-transform: no pattern or rule that the model matches is named 'fold_bm'; *
= 1
$ ed-transform tiny.onnx --disable fold_bn@conv9
! ed-transform: fold_bn does not match at 'conv9', and no other pattern does; *
= 1
$ ed-transform -v tiny.onnx --disable fold_bn@conv1_bn 2>&1 > /dev/null | grep fold_bn
> ed-transform: skips fold_bn at conv1_bn: disabled by the user
> ed-transform: applies fold_bn at conv2_bn
> ed-transform: applies fold_bn at conv3_bn
# Outputs that would overwrite what is read.
$ ed-transform tiny.onnx -o ./tiny.onnx
! ed-transform: ./tiny.onnx: it would overwrite what is read; choose another file
= 1
$ ed-transform tiny.onnx --plan plan.json --plan-out plan.json
! ed-transform: plan.json: it would overwrite what is read; choose another file
= 1
$ ed-transform tiny.onnx -o a.onnx --plan-out a.onnx
! ed-transform: a.onnx: --output and --plan-out are the same file
= 1
$ ed-transform truncated.onnx
! ed-transform: truncated.onnx: *
= 1
$ ed-transform tiny.onnx --plan-out none/plan.json
! ed-transform: none/plan.json: cannot write into its folder: *
= 1
- cmp tiny.onnx copy.onnx; ! ls | grep tmp-
# Usage.
$ ed-transform
! ed-transform: no model: give MODEL.onnx
! Try *
= 2
$ ed-transform tiny.onnx --data data.h5
! ed-transform: --data has no effect without --verify
! Try *
= 2
$ ed-transform tiny.onnx --tolerance 1
! ed-transform: --tolerance has no effect without --verify
! Try *
= 2
$ ed-transform tiny.onnx --patterns some
! ed-transform: --patterns: `some' is unknown; choose one of: conversions, fusions, quantized, all
! Try *
= 2
$ ed-transform --help 2> /dev/null | sed 2q
> Usage: ed-transform [OPTION...] MODEL.onnx
> convert and fuse an ONNX model, by a plan that can be edited
