# ed-qat on a small model: usage.
$ ed-qat tiny.onnx
! ed-qat: no samples: give --data FILE
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --patience 2
! ed-qat: --patience looks at the validation: give --val FILE
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --checkpoint-every 2
! ed-qat: --checkpoint-every needs --checkpoint FILE, or --resume FILE
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --freeze-observers 0.2
! ed-qat: --freeze-observers has no effect without --scales ema
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --percentile 99 -m mse
! ed-qat: --percentile has no effect without --method percentile
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --val-every 2
! ed-qat: --val-every has no effect without --val FILE
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --optimizer best
! ed-qat: --optimizer: `best' is unknown; choose one of: sgd, adamw
! Try *
= 2
$ ed-qat tiny.onnx -d data.h5 --epochs 0
! ed-qat: --epochs: `0' is not a whole number from 1 to 1000000000
! Try *
= 2
$ ed-qat --help
> Usage: ed-qat [OPTION...] [MODEL.onnx]
> quantization-aware training of an ONNX model
> ...
>       --lr=RATE              learning rate; with --bits-w 4 the default is
> ...
>  Optimizers
>   adamw *
> ...
>  Losses
> ...
> Exit status: 0 done, 1 the job failed, 2 usage. Examples: man ed-qat
$ ed-qat --man | head -n 1
> .TH ED-QAT 1 "" "ed *.*.*" "User Commands"
# A float model: calibrated, trained, written.
$ ed-qat tiny.onnx --data data.h5 --val data.h5 -b 16 -e 2
> model * top-1 %  drop * agreement %  SQNR dB
> float * - * - * -
> calibrated *
> trained *
>
> 48 samples of data.h5
> 6 steps, *, *.* s
> wrote tiny_qat.onnx
! ed-qat: epoch 1 of 2: loss *, top-1 * %; validation: loss *, top-1 * %; * images/s
! ed-qat: epoch 2 of 2: *
- "$PYTHON" -c 'import onnx; onnx.checker.check_model("tiny_qat.onnx", full_check=True)'
# The same run gives the same file; the model that the data names; threads do not matter.
- mv tiny_qat.onnx first.onnx
$ ed-qat -q -d data.h5 --val data.h5 -b 16 -e 2 -j 1
- cmp tiny_qat.onnx first.onnx
$ ed-qat -q -d data.h5 -b 16 -e 2 --seed 7 -o seed.onnx
- ! cmp -s seed.onnx first.onnx
# Everything as JSON.
$ ed-qat tiny.onnx -d data.h5 --val data.h5 -b 16 -e 1 --json -q | "$PYTHON" -c 'import json, sys; r = json.load(sys.stdin); print(r["steps"], [m["model"] for m in r["models"]], r["options"]["optimizer"])'
> 3 ['float', 'calibrated', 'trained'] sgd
$ ed-qat tiny.onnx -d data.h5 -b 16 -e 1 --json -q --momentum 0 --clip 2 --freeze 'conv*' --augment flip | "$PYTHON" -c 'import json, sys; r = json.load(sys.stdin); o = r["options"]; print(r["best_epoch"], [o[k] for k in ("momentum", "clip", "freeze", "augment", "device", "deterministic", "memory")])'
> None [0.0, 2.0, ['conv*'], 'flip', 'cpu', False, 0]
$ for o in '--bits-w 4' '--bits-w 4 --lr 0.25' '--bits-w 8'; do ed-qat tiny.onnx -d data.h5 -b 16 -e 1 --json -q $o | grep learning_rate; done
>     "learning_rate": 0.001,
>     "learning_rate": 0.25,
>     "learning_rate": 0.0005,
# What the written model answers is what was measured.
$ ed-qat tiny.onnx -d data.h5 --val data.h5 -b 16 -e 2 --json -q -o j.onnx > a.json; ed-eval tiny.onnx j.onnx -d data.h5 --json > b.json; "$PYTHON" -c 'import json; a, b = (json.load(open(f)) for f in ("a.json", "b.json")); print(a["models"][2]["top1"] == b["models"][1]["top1"])'
> True
# Choices.
$ for o in '--loss both' '--loss labels --label-smoothing 0.1' '--scales ema' '--scales lsq --weight-scales lsq' '--optimizer adamw --schedule step --warmup 0.2' '--accumulate 2 --clip 1' '--augment flip,crop=1' '--freeze conv* --weight-decay 0 --momentum 0'; do ed-qat -q tiny.onnx -d data.h5 -b 16 -e 1 $o -o o.onnx && echo "$o"; done
> --loss both
> --loss labels --label-smoothing 0.1
> --scales ema
> --scales lsq --weight-scales lsq
> --optimizer adamw --schedule step --warmup 0.2
> --accumulate 2 --clip 1
> --augment flip,crop=1
> --freeze conv* --weight-decay 0 --momentum 0
$ ed-qat -q tiny.onnx -d data.h5 --freeze '*'
! ed-qat: the model has no parameters to train that are not frozen
= 1
$ ed-qat -q tiny.onnx -d data.h5 --augment turn
! ed-qat: *turn*flip*crop*
= 1
$ ed-qat -q tiny.onnx -d data.h5 --memory 1M -b 48 --augment flip -e 1 -o m.onnx
$ ed-qat -q tiny.onnx -d data.h5 --memory 1K -b 48 -e 1 -o m.onnx
! ed-qat: *at least*1 MiB*--batch*--memory*
= 1
$ ed-qat -q tiny.onnx -d data.h5 --memory 1T
! ed-qat: --memory: `1T' is no number of bytes *
! Try *
= 2
# A quantized model: it is trained as it is.
- ed-calibrate -q tiny.onnx -d data.h5
$ ed-qat tiny_int8.onnx -d data.h5 --teacher tiny.onnx -b 16 -e 1
> 3 steps, loss *, * s
> wrote tiny_int8_qat.onnx
! ed-qat: epoch 1 of 1: *
$ ed-qat tiny_int8.onnx -d data.h5 -b 16 -e 1
> 3 steps, loss *, * s
> wrote tiny_int8_qat.onnx
! ed-qat: the model is quantized and there is no --teacher: it learns from the labels
! ed-qat: epoch 1 of 1: *
$ ed-qat tiny_int8.onnx -d data.h5 --bits-w 4
! ed-qat: tiny_int8.onnx: it is quantized already; --bits-w is for a float model
= 1
$ ed-qat tiny_int8.onnx -d data.h5 --calib data.h5
! ed-qat: tiny_int8.onnx: it is quantized already; --calib is for a float model
= 1
$ ed-qat tiny_int8.onnx -d data.h5 --loss distill
! ed-qat: the loss 'distill' needs a teacher, the float model
= 1
# One of another kind than the target's: told, and trained all the same.
- "$PYTHON" -c 'import onnx, numpy as np; from onnx import numpy_helper as h; m = onnx.load("tiny_int8.onnx"); i = next(t for t in m.graph.initializer if t.name == "input_zero_point"); i.CopyFrom(h.from_array(np.full(h.to_array(i).shape, 3, np.int8), i.name)); onnx.save(m, "asymmetric.onnx")'
$ ed-qat -q asymmetric.onnx -d data.h5 -b 16 -e 1 --scales lsq -o asymmetric_qat.onnx
! ed-qat: warning: FakeQuantize * breaks a rule of target tensorrt: quantization is symmetric int8*
# Four bits: int4 of opset 21, or in int8 tensors.
$ ed-qat -q tiny.onnx -d data.h5 -b 16 -e 1 --bits-w 4 -o w4.onnx; ed-qat -q tiny.onnx -d data.h5 -b 16 -e 1 --bits-w 4 --int8-storage -o w4i8.onnx
$ "$PYTHON" -c 'import onnx; [print(onnx.load(f).opset_import[0].version, sum(i.data_type == onnx.TensorProto.INT4 for i in onnx.load(f).graph.initializer) > 0) for f in ("w4.onnx", "w4i8.onnx")]'
> 21 True
> 17 False
- "$PYTHON" -c 'import onnx; onnx.checker.check_model("w4.onnx", full_check=True)'
$ ed-eval w4.onnx w4i8.onnx -d data.h5 --json | grep -c '"agreement": 100'
> 1
# Checkpoints: a run in two parts is the straight one.
- ed-qat -q tiny.onnx -d data.h5 -b 16 -e 3 -o straight.onnx
$ ed-qat tiny.onnx -d data.h5 -b 16 -e 3 --resume run.h5 -o parts.onnx
> ...
> wrote parts.onnx
! ed-qat: run.h5 is not there yet: the run begins anew
! ed-qat: epoch 1 *
! ed-qat: epoch 2 *
! ed-qat: epoch 3 *
- cmp straight.onnx parts.onnx
# ... the last but one checkpoint is kept, and taken where the last is damaged.
- head -c 3000 run.h5 > cut.h5 && mv cut.h5 run.h5
$ ed-qat tiny.onnx -d data.h5 -b 16 -e 3 --resume run.h5 -o parts.onnx
> ...
> wrote parts.onnx
! ed-qat: warning: run.h5*
! ed-qat: epoch 3 *
- cmp straight.onnx parts.onnx
$ ed-qat -q tiny.onnx -d data.h5 -b 16 -e 3 --resume run.h5 --lr 0.1
! ed-qat: run.h5: it was made with learning_rate 0.0005, this run has 0.1; use the same options, or begin anew
= 1
$ ed-qat -q tiny.onnx -d data.h5 -b 8 -e 3 --resume run.h5
! ed-qat: run.h5: it was made with batch 16, this run has 8; use the same options, or begin anew
= 1
$ ed-qat -q tiny.onnx -d data.h5 --resume text.h5
! ed-qat: *text.h5*
= 1
# A log.
$ ed-qat -q tiny.onnx -d data.h5 --val data.h5 -b 16 -e 2 --log run.csv; wc -l < run.csv; head -n 1 run.csv; grep -c '^epoch' run.csv
> 9
> kind,epoch,step,loss,accuracy,val_loss,val_accuracy,learning_rate,images_per_second
> 2
# What would be overwritten.
$ ed-qat tiny.onnx -d data.h5 -o tiny.onnx
! ed-qat: tiny.onnx: it is read and would be overwritten; choose another file to write
= 1
$ ed-qat tiny.onnx -d data.h5 --log data.h5
! ed-qat: data.h5: it is read and would be overwritten; choose another file to write
= 1
$ ed-qat tiny.onnx -d data.h5 -o a.onnx --log a.onnx
! ed-qat: a.onnx: it would be written twice; choose another file
= 1
$ ed-qat tiny.onnx -d data.h5 -o none/a.onnx
! ed-qat: none/a.onnx: cannot write into its folder: *
= 1
- cp tiny.onnx precious.h5
$ ed-qat tiny.onnx -d data.h5 -b 16 -e 2 --checkpoint precious.h5 -o a.onnx
! ed-qat: precious.h5: cannot write a checkpoint there: the file is no checkpoint and would be lost; choose another name
= 1
- cmp tiny.onnx precious.h5
# Bad data and models.
$ ed-qat -q tiny.onnx -d no_labels.h5 -b 16 -e 1 -o n.onnx
$ ed-qat -q tiny.onnx -d no_labels.h5 --loss labels
! ed-qat: no_labels.h5: *'labels'*
= 1
$ ed-qat -q tiny.onnx -d data.h5 --val no_labels.h5
! ed-qat: no_labels.h5: *labels*
= 1
$ ed-qat -q tiny.onnx -d high_label.h5 --loss labels
! ed-qat: step 1 of epoch 1: high_label.h5: label 9 is out of range; the model has classes 0 to 3, -100 leaves a sample out
= 1
$ ed-qat -q tiny.onnx -d nan.h5
! ed-qat: *nan.h5*
= 1
$ ed-qat -q nothing.onnx -d data.h5
! ed-qat: nothing.onnx: nothing in it can be quantized*
= 1
$ ed-qat -q tiny.onnx -d one.h5 -e 2 -o one.onnx
$ ed-qat -q fixed.onnx -d data.h5 -e 1 -o f.onnx
# An interrupt: status 130, no model; the run goes on.
$ timeout --preserve-status -s INT 3 ed-qat tiny.onnx -d data.h5 -b 16 -e 10000000 -q -o never.onnx
! ed-qat: stopped by a signal after * steps; no file was changed; with --resume FILE a run can go on
= 130
- test ! -e never.onnx
$ timeout --preserve-status -s INT 3 ed-qat tiny.onnx -d data.h5 -b 16 -e 10000000 -q --checkpoint stop.h5 -o never.onnx
! ed-qat: stopped by a signal after * steps; no model was written; --resume stop.h5 goes on from there
= 130
$ timeout --preserve-status -s INT 3 ed-qat tiny.onnx -d data.h5 -b 16 -e 10000000 -v --resume stop.h5 -o never.onnx 2>&1 | grep -c 'goes on at epoch'
> 1
- ! ls | grep -e tmp -e never
