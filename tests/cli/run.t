# ed-run: tensors from files through a model, to files.
$ ed-run tiny.onnx --input input=x.npy --output-dir out
> output  type * shape * min * max
> logits  float32  [2, 4]  *.*  *.*
> wrote out/logits.npy
# The other forms of the same numbers; reference kernels; fused.
$ for x in x2.npy x.pb; do ed-run -q tiny.onnx -i $x -o out2; cmp out/logits.npy out2/logits.npy; done
$ ed-run -q tiny.onnx -i x.npy -o ref --reference; ed-run -q tiny.onnx -i x.npy -o fused --transform
$ "$PYTHON" -c 'import numpy as np; a, b, c = (np.load(d + "/logits.npy") for d in ("out", "ref", "fused")); print(a.shape, a.dtype, np.abs(a - b).max() < 1e-5, np.abs(a - c).max() < 1e-5, np.abs(a).max() > 0)'
> (2, 4) float32 True True True
$ ed-run -q tiny.onnx -i x.npy -o out --format pb
$ "$PYTHON" -c 'import numpy as np, onnx; from onnx import numpy_helper as h; t = onnx.TensorProto.FromString(open("out/logits.pb", "rb").read()); print(t.name, (h.to_array(t) == np.load("out/logits.npy")).all())'
> logits True
# Several inputs, integers, names that are no file names, an empty batch.
$ ed-run two.onnx -i b=b.npy -i a=a.npy -o two
> output * type * shape  min  max
> out/sum  int64  [3] * 0   33
> same * bool * [3] * 0    1
> wrote two/out_sum.npy
> wrote two/same.npy
$ "$PYTHON" -c 'import numpy as np; print(np.load("two/out_sum.npy"), np.load("two/same.npy"))'
> [ 2  0 33] [ True False False]
$ ed-run two.onnx -i a=a.npy -i b=b.npy --json > r.json; "$PYTHON" -c 'import json; r = json.load(open("r.json")); o = r["outputs"][0]; print(o["name"], o["shape"], o["min"], o["max"], o["file"])'
> out/sum [3] 0.0 33.0 None
$ ed-run tiny.onnx -i x.npy --profile
> output *
> logits *
> *.* s in 1 runs
> * % * [*
> ...
# Refused.
$ ed-run tiny.onnx
! ed-run: input 'input' has no tensor; give --input input=FILE
= 1
$ ed-run two.onnx -i a=a.npy
! ed-run: input 'b' has no tensor; give --input b=FILE
= 1
$ ed-run two.onnx -i a=a.npy -i c=b.npy
! ed-run: --input c=b.npy: it begins with no input's name and `='; two.onnx has: a, b
= 1
$ ed-run two.onnx -i a=a.npy -i a=b.npy
! ed-run: input 'a' is given twice; leave one --input out
= 1
$ ed-run two.onnx -i a=a.npy -i b=x.npy
! ed-run: x.npy: it is float32, but input 'b' is int64
= 1
$ ed-run tiny.onnx -i fortran.npy
! ed-run: fortran.npy: it is in Fortran order; save it with numpy.ascontiguousarray(x)
= 1
$ ed-run tiny.onnx -i big_endian.npy
! ed-run: big_endian.npy: its numbers are big-endian ('>f4'); *
= 1
$ ed-run tiny.onnx -i complex.npy
! ed-run: complex.npy: the element type '<c8' is not supported
= 1
$ ed-run tiny.onnx -i double.npy
! ed-run: double.npy: it is float64, but input 'input' is float32
= 1
$ ed-run tiny.onnx -i wrong.npy
! ed-run: *'input' is given the shape [2, 3, 7, 8]*
= 1
$ for f in cut head text huge nothere; do ed-run tiny.onnx -i $f.npy; done
! ed-run: cut.npy: it holds 1535 bytes of numbers, its shape needs 1536
! ed-run: head.npy: the file is truncated
! ed-run: text.npy: it is no .npy file
! ed-run: huge.npy: it holds 1536 bytes of numbers, its shape needs 39999999996
! ed-run: nothere.npy: cannot open: No such file or directory
= 1
$ ed-run tiny.onnx -i text.pb
! ed-run: text.pb: its bytes are no TensorProto of ONNX
= 1
$ ed-run tiny.onnx -i data.h5
! ed-run: data.h5: a file of numpy (.npy) or of ONNX (.pb) was expected
= 1
$ ed-run unknown.onnx -i x.npy
! ed-run: Det 'determinant'*
= 1
$ ed-run tiny.onnx -i x.npy -o x.pb
! ed-run: x.pb/logits.npy: cannot write: Not a directory
= 1
$ ed-run tiny.onnx -i x.npy -o none/out
! ed-run: none/out: cannot make the folder: No such file or directory
= 1
$ ed-run tiny.onnx -i x.npy --device cuda
! ed-run: the CUDA backend could not be opened (/none/libed-cuda.so: *); install libed-cuda.so with CUDA 13 and cuDNN 9, or use --device cpu
= 1
$ ed-run
! ed-run: no model: give MODEL.onnx
! Try *
= 2
$ ed-run tiny.onnx -i x.npy --format pb
! ed-run: --format has no effect without --output-dir
! Try *
= 2
- ! ls out two | grep tmp-
