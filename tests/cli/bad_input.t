# Bad input: one sentence that names the file, exit status 1, nothing written.
$ ed-calibrate none.onnx --data data.h5
! ed-calibrate: none.onnx*
= 1
$ ed-calibrate text.onnx --data data.h5
! ed-calibrate: text.onnx*not an ONNX*
= 1
$ ed-calibrate empty.onnx --data data.h5
! ed-calibrate: empty.onnx*
= 1
$ ed-calibrate truncated.onnx --data data.h5
! ed-calibrate: truncated.onnx*
= 1
$ ed-calibrate . --data data.h5
! ed-calibrate: *
= 1
$ ed-calibrate missing.onnx --data data.h5
! ed-calibrate: *conv2.w*
= 1
$ ed-calibrate cycle.onnx --data data.h5
! ed-calibrate: *cycle*
= 1
$ ed-calibrate unknown.onnx --data data.h5
! ed-calibrate: *Det*
= 1
$ ed-calibrate opset6.onnx --data data.h5
! ed-calibrate: *opset*6*
= 1
$ ed-calibrate nothing.onnx --data data.h5
! ed-calibrate: nothing.onnx: nothing in it can be quantized *
= 1
# Data.
$ ed-calibrate tiny.onnx --data none.h5
! ed-calibrate: none.h5*
= 1
$ ed-calibrate --data none.h5
! ed-calibrate: none.h5*
= 1
$ ed-calibrate --data no_model.h5
! ed-calibrate: no_model.h5*model*
= 1
$ ed-calibrate tiny.onnx --data text.h5
! ed-calibrate: text.h5*
= 1
$ ed-calibrate tiny.onnx --data truncated.h5
! ed-calibrate: truncated.h5*
= 1
$ ed-calibrate tiny.onnx --data other_name.h5
! ed-calibrate: other_name.h5*input*
= 1
$ ed-calibrate tiny.onnx --data wrong_shape.h5
! ed-calibrate: wrong_shape.h5*7*8*
= 1
$ ed-calibrate tiny.onnx --data wrong_rank.h5
! ed-calibrate: wrong_rank.h5*192*
= 1
$ ed-calibrate tiny.onnx --data text_type.h5
! ed-calibrate: text_type.h5*strings*
= 1
$ ed-calibrate tiny.onnx --data empty.h5
! ed-calibrate: empty.h5*
= 1
$ ed-calibrate tiny.onnx --data nan.h5
! ed-calibrate: nan.h5*sample 5*
= 1
- test ! -e tiny_int8.onnx
$ ed-calibrate -q tiny.onnx --data nan.h5 --allow-nonfinite -o goes_on.onnx
! ed-calibrate: warning: *
! ...
- test -s goes_on.onnx
# Outputs. The old file stays, byte for byte; the model and the data are never overwritten.
- mkdir -p locked; echo old > locked/old.onnx; cp tiny.onnx copy.onnx; ln -s tiny.onnx link.onnx
$ ed-calibrate tiny.onnx --data data.h5 -o tiny.onnx
! ed-calibrate: tiny.onnx: the output is the model itself; choose another --output
= 1
$ ed-calibrate tiny.onnx --data data.h5 -o ./link.onnx
! ed-calibrate: ./link.onnx: the output is the model itself; choose another --output
= 1
$ ed-calibrate tiny.onnx --data data.h5 -o data.h5
! ed-calibrate: data.h5: the output is also given as --data or --ranges; choose another --output
= 1
$ ed-calibrate tiny.onnx --data data.h5 --ranges tiny.onnx
! ed-calibrate: tiny.onnx: --ranges would overwrite the model or the data; choose another file
= 1
- cmp tiny.onnx copy.onnx
$ ed-calibrate tiny.onnx --data data.h5 -o /dev/full
! ed-calibrate: /dev/full: cannot write: it is not a regular file; name another one
= 1
$ ed-calibrate tiny.onnx --data data.h5 -o locked
! ed-calibrate: locked: cannot write: it is a folder; name a file in it
= 1
$ ed-calibrate tiny.onnx --data data.h5 -o none/out.onnx
! ed-calibrate: none/out.onnx: cannot write into its folder: No such file or directory; choose another path
= 1
$ ed-calibrate tiny.onnx --data data.h5 -o /proc/out.onnx
! ed-calibrate: /proc/out.onnx*
= 1
# A file size limit stands for a full disk.
$ trap '' XFSZ; ulimit -f 1; ed-calibrate -q tiny.onnx --data data.h5 -o locked/old.onnx
! ed-calibrate: *locked/old.onnx: *nothing was changed
= 1
- test "$(cat locked/old.onnx)" = old; test "$(ls locked)" = old.onnx
$ trap '' XFSZ; ulimit -f 1; ed-calibrate -q tiny.onnx --data data.h5 --ranges locked/r.json -o locked/old.onnx
! ed-calibrate: *locked/r.json: *
= 1
- test "$(cat locked/old.onnx)" = old; test "$(ls locked)" = old.onnx
$ ed-calibrate tiny.onnx --data data.h5 -o out.onnx > /dev/full
! ed-calibrate: cannot write to standard output: No space left on device
= 1
