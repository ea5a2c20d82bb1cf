# ed-inspect: what is in a model, what is missing, what runs where.
$ ed-inspect tiny.onnx
> tiny.onnx: 13 nodes, opset ai.onnx 17
>
> input  type * shape
> input  float32  [N, 3, 8, 8]
>
> output  type * shape
> logits  float32  [N, 4]
>
> operator * nodes  runs
> ...
> Conv * 3  yes
> ...
> *0  ConvBNReLU_0: *Conv 'conv1'*
> ...
> * steps, *
$ ed-inspect -q tiny.onnx | tail -n 1
> GlobalAveragePool       1  yes
# Every operator that does not run is named; that is an answer, not a failure.
$ ed-inspect unknown.onnx
> ...
> Det * 1  no, first at determinant
> Relu * 1  yes
>
> it cannot run: operators are missing
$ ed-inspect unknown.onnx --json > i.json; "$PYTHON" -c 'import json; i = json.load(open("i.json")); print([o["type"] for o in i["operators"] if not o["runs"]], i["cannot_run"], i["steps"], i["inputs"][0]["shape"][1:])'
> ['Det'] operators are missing [] [3, 8, 8]
$ ed-inspect tiny.onnx --json > i.json; "$PYTHON" -c 'import json; i = json.load(open("i.json")); print(i["cannot_run"], len(i["steps"]) > 3, i["operators"][0]["opset"])'
> None True 17
$ ed-inspect --devices
> cpu  * threads
! ed-inspect: the CUDA backend could not be opened (*
$ ed-inspect --devices --json 2> why | "$PYTHON" -c 'import json, sys; d = json.load(sys.stdin); print([x["name"] for x in d["devices"]], "could not be opened" in d["why"])'
> ['cpu'] True
$ ed-inspect text.onnx
! ed-inspect: text.onnx*not an ONNX*
= 1
$ ed-inspect
! ed-inspect: no model: give MODEL.onnx, or --devices
! Try *
= 2
$ ed-inspect tiny.onnx > /dev/full
! ed-inspect: cannot write to standard output: No space left on device
= 1
