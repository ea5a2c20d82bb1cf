# ed-bench on a small model: usage.
$ ed-bench tiny.onnx
! ed-bench: no samples to calibrate on: give --calib FILE
! Try *
= 2
$ ed-bench tiny.onnx --calib data.h5
! ed-bench: no samples to evaluate on: give --test FILE
! Try *
= 2
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --methods mse,best
! ed-bench: --methods: `best' is unknown; choose from: mse, *minmax*
! Try *
= 2
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --methods mse,
! ed-bench: --methods: `' is unknown; choose from: mse, *
! Try *
= 2
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --methods mse,lp,mse
! ed-bench: --methods: `mse' is there twice
! Try *
= 2
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --methods mse --ema 0.1
! ed-bench: --ema has no effect without the method ema
! Try *
= 2
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --epochs 2
! ed-bench: --epochs has no effect without --train FILE
! Try *
= 2
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --train data.h5 --patience 2
! ed-bench: --patience looks at the validation: give --val FILE
! Try *
= 2
$ ed-bench --help
> Usage: ed-bench [OPTION...] [MODEL.onnx]
> compare a float ONNX model with its INT8 versions by all methods
> ...
>   -m, --methods=LIST         methods to compare, *
> ...
>       --html=FILE *
> ...
>  Methods
> ...
> Exit status: 0 done, 1 the job failed, 2 usage. Examples: man ed-bench
$ ed-bench --man | head -n 1
> .TH ED-BENCH 1 "" "ed *.*.*" "User Commands"
# All methods, the default one first.
$ ed-bench tiny.onnx --calib data.h5 --test data.h5
> model * top-1 %  top-5 %  drop * agreement %  SQNR dB  seconds
> float * *.*  100.00 * - * - * - * -
> mse * *.*  100.00  *.*  *.*  *.*
> entropy *
> percentile *
> minmax *
> ema *
> lp *
>
> 48 samples calibrated in one pass of *.* s, compiled in *.* s; 48 evaluated in *.* s
# The model that the data names; some methods, in that order; bits.
$ ed-bench -d data.h5 --test data.h5 -m minmax,mse | sed -n '3,4p'
> minmax *
> mse *
$ ed-bench -d data.h5 --test data.h5 -m mse --bits-w 4 --bits-a 4 --bins 512 -x Gemm -b 7 -n 20 | tail -n 1
> 20 samples calibrated in one pass of *; 20 evaluated in *
$ ed-bench fixed.onnx -d data.h5 --test data.h5 -m mse,ema --ema 0.1 | sed -n '4p'
> ema *
# JSON on standard output, or in a file beside the page.
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --json - | "$PYTHON" -c 'import json, sys; r = json.load(sys.stdin); print([m["name"] for m in r["models"]], r["training"], r["models"][0]["drop"], len(r["values"]) > 3, len(r["groups"]) > 3)'
> ['float', 'mse', 'entropy', 'percentile', 'minmax', 'ema', 'lp'] None 0.0 True True
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --train data.h5 --val data.h5 -e 2 --train-batch 16 --lr 1e-12 -m mse --html b.html --json b.json
> model *
> float *
> mse *
> QAT *
>
> 48 samples calibrated *
> wrote b.html
> wrote b.json
! ed-bench: epoch 1 of 2: loss *
! ed-bench: epoch 2 of 2: loss *
! ed-bench: QAT: none of the epochs was better on --val than the calibrated model, which stands in its row
- "$PYTHON" -c 'import json; t = json.load(open("b.json"))["training"]; assert len(t["steps"]) == 6 and len(t["epochs"]) == 2 and t["epochs"][1]["val_top1"] >= 0'
- grep -q '</html>' b.html
# The same once more replaces the page; nothing else is left behind.
$ ed-bench tiny.onnx -d data.h5 --test data.h5 -m mse --html b.html -q
- ! ls | grep -e tmp- -e int8 -e qat
# Unusual data: no labels, one sample, only zeros, NaN.
$ ed-bench tiny.onnx -d data.h5 --test no_labels.h5 -m mse --html n.html
> model *
> float * -  * -  * -
> mse * -  * - * - *
>
> 48 samples calibrated *; the test data has no labels: agreement and SQNR only
> wrote n.html
- grep -q 'no labels' n.html
$ ed-bench -q tiny.onnx -d one.h5 --test one.h5 --html one.html --json one.json
$ ed-bench -q tiny.onnx -d zeros.h5 --test zeros.h5 --html zeros.html --json zeros.json
! ...
- "$PYTHON" -c 'import json; json.load(open("zeros.json"))'
$ ed-bench -q tiny.onnx -d nan.h5 --test data.h5
! ed-bench: nan.h5*sample 5*
= 1
$ ed-bench -q tiny.onnx -d nan.h5 --test nan.h5 --allow-nonfinite -m mse --html nan.html
! ...
# Files that would be overwritten, or cannot be written.
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --html tiny.onnx
! ed-bench: tiny.onnx: it is read and would be overwritten; choose another file to write
= 1
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --html a --json a
! ed-bench: a: it would be written twice; choose another file
= 1
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --html none/a.html
! ed-bench: none/a.html: cannot write into its folder: *
= 1
- mkdir kept; echo old > kept/old.html
$ trap '' XFSZ; ulimit -f 1; ed-bench -q tiny.onnx -d data.h5 --test data.h5 --html kept/old.html
! ed-bench: kept/old.html: cannot write: File too large
= 1
- test "$(cat kept/old.html)" = old; test "$(ls kept)" = old.html
$ ed-bench tiny.onnx -d data.h5 --test data.h5 -m mse > /dev/full
! ed-bench: cannot write to standard output: No space left on device
= 1
# Bad models and data.
$ ed-bench text.onnx -d data.h5 --test data.h5
! ed-bench: text.onnx*not an ONNX*
= 1
$ ed-bench nothing.onnx -d data.h5 --test data.h5
! ed-bench: nothing.onnx: nothing in it can be quantized; ed-calibrate --verbose says why
= 1
$ ed-bench tiny.onnx -d data.h5 --test high_label.h5
! ed-bench: *label 9*
= 1
$ ed-bench tiny.onnx -d data.h5 --test data.h5 --device cuda
! ed-bench: the CUDA backend could not be opened *
= 1
# An interrupt: no file.
$ timeout --preserve-status -s INT 3 ed-bench tiny.onnx -d endless.h5 --test data.h5 --html never.html
! ed-bench: stopped by a signal; no file was changed
= 130
$ timeout --preserve-status -s INT 3 ed-bench -q tiny.onnx -d data.h5 --test data.h5 --train data.h5 -m mse -e 10000000 --json never.json
! ed-bench: stopped by a signal; no file was changed
= 130
- ! ls | grep -e tmp- -e never
