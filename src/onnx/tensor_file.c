/* One tensor as a file: a serialized TensorProto, as ONNX's test data has them. */
#include "ed/onnx.h"

#include "onnx/read.h"
#include "onnx/write.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>

int ed_onnx_read_tensor(ed_tensor **out, const char *path)
{
    ed_reader r = { .path = path, .external = { .model = path } };
    Onnx__TensorProto *message = NULL;
    void *data = NULL;
    size_t size;
    int rc;
    *out = NULL;
    ed_wire_memory_init(&r.memory);
    ED_GOTO(ed_file_read(&data, &size, path));
    message = onnx__tensor_proto__unpack(&r.memory.base, size, data);
    if (!message)
        ED_GOTO(r.memory.failed
                    ? ED_ENOMEM
                    : ed_error_set(ED_EFORMAT, "%s: its bytes are no TensorProto of ONNX", path));
    ED_GOTO(ed_read_tensor(out, &r, message, "the tensor"));
done:
    if (message)
        onnx__tensor_proto__free_unpacked(message, &r.memory.base);
    ed_external_close(&r.external);
    ed_free(data);
    return rc;
}

int ed_onnx_write_tensor(const ed_tensor *tensor, const char *name, const char *path)
{
    Onnx__TensorProto message = ONNX__TENSOR_PROTO__INIT;
    ed_atomic_file *file;
    ED_FAIL_IF(!ed_wire_number_of(tensor->dtype) || tensor->dtype == ED_STRING, ED_EUNSUPPORTED,
               "%s: a tensor of type %s cannot be written", path, ed_dtype_name(tensor->dtype));
    ed_write_tensor(&message, tensor);
    message.name = (char *)name;
    size_t size = onnx__tensor_proto__get_packed_size(&message);
    ED_FAIL_IF(size > INT32_MAX, ED_EUNSUPPORTED,
               "%s: the tensor is larger than 2 GB, which no TensorProto can hold; write .npy",
               path);
    uint8_t *packed = ed_malloc(size + 1);
    if (!packed)
        return ED_ENOMEM;
    int rc = ed_atomic_open(&file, path);
    if (rc == ED_OK) {
        onnx__tensor_proto__pack(&message, packed);
        errno = 0;
        bool good = fwrite(packed, 1, size, ed_atomic_stream(file)) == size;
        int error = errno;
        if (good) {
            rc = ed_atomic_commit(file);
        } else {
            ed_atomic_abort(file);
            rc = ed_error_set(ED_EIO, "%s: cannot write: %s", path, strerror(error ? error : EIO));
        }
    }
    ed_free(packed);
    return rc;
}
