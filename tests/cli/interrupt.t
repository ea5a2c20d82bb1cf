# An interrupt in the middle: exit status 128 + signal, no half-written file.
$ timeout --preserve-status -s INT 3 ed-calibrate tiny.onnx --data endless.h5
! ed-calibrate: stopped by a signal; no file was changed
= 130
$ timeout --preserve-status -s TERM 3 ed-calibrate tiny.onnx --data endless.h5 --ranges r.json
! ed-calibrate: stopped by a signal; no file was changed
= 143
$ timeout --preserve-status -s INT 3 ed-eval tiny.onnx tiny.onnx --data endless.h5 --json
! ed-eval: stopped by a signal; no file was changed
= 130
- ! ls | grep -e int8 -e tmp -e json
# Closed standard output: a pipe whose reader left ends the process, without a message of its own.
$ ed-calibrate --help | true
