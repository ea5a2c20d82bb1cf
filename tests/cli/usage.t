# --help, --usage, --version and what a wrong command line answers (exit status 2).
$ ed-calibrate --version
> ed-calibrate *.*.*
$ ed-eval -V
> ed-eval *.*.*
$ ed-calibrate --help
> Usage: ed-calibrate [OPTION...] [MODEL.onnx]
> calibrate a float ONNX model and write it for INT8
> ...
>   -d, --data=FILE            HDF5 file with the samples to calibrate on, see
> ...
>   -m, --method=METHOD        how the histogram of a value becomes its range;
> ...
>   -x, --exclude=NAME         leave a node, a group or every operator of a type
> ...
>  Methods
>   ema *
> ...
>   entropy *
> ...
>   minmax *
> ...
>   mse *
> ...
>   percentile *
> ...
> Exit status: 0 done, 1 the job failed, 2 usage. Examples: man ed-calibrate
$ ed-eval --help
> Usage: ed-eval [OPTION...] [MODEL.onnx [OTHER.onnx...]]
> accuracy of ONNX models, and how far they are from the first
> ...
>       --layers *
> ...
> Exit status: 0 done, 1 the job failed, 2 usage. Examples: man ed-eval
$ ed-eval --usage
> Usage: ed-eval *
> ...
# The man page comes from the same table.
$ ed-calibrate --man | head -n 1
> .TH ED-CALIBRATE 1 "" "ed *.*.*" "User Commands"
$ ed-eval --man | grep -c layers
> 2
$ ed-calibrate
! ed-calibrate: no samples: give --data FILE, or --ranges FILE to reuse ranges
! Try `ed-calibrate --help' or `ed-calibrate --usage' for more information.
= 2
$ ed-calibrate --ranges r.json
! ed-calibrate: no model: give one, or --data FILE whose attribute `model' names it
! Try *
= 2
$ ed-eval tiny.onnx
! ed-eval: no samples: give --data FILE
! Try *
= 2
$ ed-eval tiny.onnx --data data.h5 --layers
! ed-eval: --layers compares two models: give the float and the quantized one
! Try *
= 2
$ ed-calibrate tiny.onnx other.onnx --data data.h5
! ed-calibrate: `other.onnx' is one model too many; ed-calibrate takes [MODEL.onnx]
! Try *
= 2
$ ed-calibrate --nonsense
! ed-calibrate: unrecognized option '--nonsense'
! Try *
= 2
$ ed-eval tiny.onnx --data data.h5 --method mse
! ed-eval: unrecognized option '--method'
! Try *
= 2
# An unknown method lists the methods.
$ ed-calibrate tiny.onnx --data data.h5 --method best
! ed-calibrate: --method: `best' is unknown; choose one of: *mse*
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --weights int7
! ed-calibrate: --weights: `int7' is unknown; choose one of: int8, float
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --weight-method entropy
! ed-calibrate: --weight-method: `entropy' is unknown; choose one of: *
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --bins 1000
! ed-calibrate: --bins: `1000' is not a power of two from 256 to 65536
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --bins 131072
! ed-calibrate: --bins: `131072' is not a power of two from 256 to 65536
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --batch 0
! ed-calibrate: --batch: `0' is not a whole number from 1 to 65536
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --limit 12x
! ed-calibrate: --limit: `12x' is not a whole number from 1 to 9007199254740992
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --limit 99999999999999999999
! ed-calibrate: --limit: `99999999999999999999' is not a whole number *
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --method percentile --percentile nan
! ed-calibrate: --percentile: `nan' is not a number from 1 to 100
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --method mse --percentile 99.9
! ed-calibrate: --percentile has no effect on method mse; add --method percentile
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --method mse --ema 0.1
! ed-calibrate: --ema has no effect on method mse; add --method ema
! Try *
= 2
$ ed-calibrate tiny.onnx --ranges r.json --bins 512
! ed-calibrate: --bins has no effect on ranges that are read from a file; give --data too
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --output ''
! ed-calibrate: --output: its argument is empty; give a FILE
! Try *
= 2
$ ed-calibrate tiny.onnx --data data.h5 --device gpu
! ed-calibrate: --device: `gpu' is unknown; give cpu, auto, cuda or cuda:N
! Try *
= 2
$ ed-calibrate --data
! ed-calibrate: option '--data' requires an argument
! Try *
= 2
- test ! -e tiny_int8.onnx
# Standard output that cannot be written.
$ ed-calibrate --man > /dev/full
= 1
