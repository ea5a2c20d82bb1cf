/* The backend's table: devices, memory, copies, streams, graphs, and the entry point. */
#include "device.h"
#include "observers.h"
#include "rows.h"
#include "trainers.h"

#include <string.h>

/* ---- devices ---- */

static int count_devices(int *devices)
{
    cudaError_t status = cudaGetDeviceCount(devices);
    if (status == cudaErrorNoDevice) {
        (void)cudaGetLastError();
        *devices = 0;
        return ED_OK;
    }
    if (status == cudaErrorInsufficientDriver) {
        int driver = 0, runtime = 0;
        cudaDriverGetVersion(&driver);
        cudaRuntimeGetVersion(&runtime);
        ED_FAIL_IF(driver == 0, ED_EUNSUPPORTED,
                   "no usable GPU was found: there is no CUDA driver; install NVIDIA's driver, or "
                   "use --device cpu");
        return ed_error_set(ED_EUNSUPPORTED,
                            "no usable GPU was found: the driver supports CUDA %d.%d, this build "
                            "needs %d.%d; update the driver, or use --device cpu",
                            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    }
    return ed_cuda_status(status, "counting the GPUs");
}

static int check_capability(const struct cudaDeviceProp *prop, int index)
{
    ED_FAIL_IF(prop->major < 8, ED_EUNSUPPORTED,
               "cuda:%d (%s) has compute capability %d.%d, this build needs 8.0 or later; use "
               "--device cpu",
               index, prop->name, prop->major, prop->minor);
    return ED_OK;
}

static int read_info(ed_device_info *out, int index)
{
    struct cudaDeviceProp prop;
    *out = (ed_device_info){ .cudnn = (int)cudnnGetVersion() };
    ED_CUDA_TRY(cudaGetDeviceProperties(&prop, index), "asking for the GPU's properties");
    ED_TRY(check_capability(&prop, index));
    ED_CUDA_TRY(cudaSetDevice(index), "choosing the GPU");
    ED_CUDA_TRY(cudaMemGetInfo(&out->free_memory, &out->memory), "asking for the GPU's memory");
    ED_CUDA_TRY(cudaDriverGetVersion(&out->driver), "asking for the driver's version");
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, prop.name);
    out->major = prop.major;
    out->minor = prop.minor;
    return ED_OK;
}

static int device_info(ed_device_info *out, int index)
{
    int before = 0;
    ED_CUDA_TRY(cudaGetDevice(&before), "asking for the GPU in use");
    int rc = read_info(out, index);
    cudaSetDevice(before);
    return rc;
}

static void close_device(void *device)
{
    ed_cuda *d = device;
    if (!d)
        return;
    ed_cuda_plans_free(d);
    if (d->cudnn)
        cudnnDestroy(d->cudnn);
    while (d->n_idle)
        cudnnDestroy(d->idle[--d->n_idle]);
    pthread_mutex_destroy(&d->mutex);
    if (d->cublaslt)
        cublasLtDestroy(d->cublaslt);
    cudaFree(d->workspace);
    if (d->uploaded)
        cudaEventDestroy(d->uploaded);
    if (d->decoded)
        cudaEventDestroy(d->decoded);
    if (d->upload)
        cudaStreamDestroy(d->upload);
    if (d->stream)
        cudaStreamDestroy(d->stream);
    ed_free(d);
}

static int start(ed_cuda *d)
{
    struct cudaDeviceProp prop;
    ED_CUDA_TRY(cudaSetDevice(d->index), "choosing the GPU");
    ED_CUDA_TRY(cudaGetDeviceProperties(&prop, d->index), "asking for the GPU's properties");
    ED_TRY(check_capability(&prop, d->index));
    d->multiprocessors = prop.multiProcessorCount;
    ED_CUDA_TRY(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "making a stream");
    ED_CUDA_TRY(cudaStreamCreateWithFlags(&d->upload, cudaStreamNonBlocking), "making a stream");
    ED_CUDA_TRY(cudaEventCreateWithFlags(&d->uploaded, cudaEventDisableTiming), "making an event");
    ED_CUDA_TRY(cudaEventCreateWithFlags(&d->decoded, cudaEventDisableTiming), "making an event");
    ED_CUDA_TRY(cudaMalloc(&d->workspace, ED_CUDA_WORKSPACE), "allocating the workspace");
    return ED_OK;
}

static int open_device(void **device, int index, const ed_device_options *opts)
{
    *device = NULL;
    ed_cuda *d = ed_calloc(1, sizeof *d);
    if (!d)
        return ED_ENOMEM;
    d->index = index;
    d->opts = *opts;
    pthread_mutex_init(&d->mutex, NULL);
    int rc = start(d);
    if (rc != ED_OK) {
        close_device(d);
        return rc;
    }
    *device = d;
    return ED_OK;
}

int ed_cuda_cudnn(cudnnHandle_t *out, ed_cuda *d)
{
    if (!d->cudnn) {
        ED_TRY(ed_cuda_cudnn_status(cudnnCreate(&d->cudnn), "opening cuDNN"));
        ED_TRY(ed_cuda_cudnn_status(cudnnSetStream(d->cudnn, d->stream), "opening cuDNN"));
    }
    *out = d->cudnn;
    return ED_OK;
}

int ed_cuda_cudnn_take(cudnnHandle_t *out, ed_cuda *d)
{
    *out = NULL;
    ED_CUDA_TRY(cudaSetDevice(d->index), "choosing the GPU"); /* this thread may be a new one */
    pthread_mutex_lock(&d->mutex);
    if (d->n_idle)
        *out = d->idle[--d->n_idle];
    pthread_mutex_unlock(&d->mutex);
    if (*out)
        return ED_OK;
    return ed_cuda_cudnn_status(cudnnCreate(out), "opening cuDNN");
}

void ed_cuda_cudnn_give(ed_cuda *d, cudnnHandle_t handle)
{
    pthread_mutex_lock(&d->mutex);
    bool kept = d->n_idle < ED_CUDA_MAX_IDLE;
    if (kept)
        d->idle[d->n_idle++] = handle;
    pthread_mutex_unlock(&d->mutex);
    if (!kept)
        cudnnDestroy(handle);
}

int ed_cuda_cublaslt(cublasLtHandle_t *out, ed_cuda *d)
{
    if (!d->cublaslt)
        ED_TRY(ed_cuda_cublas_status(cublasLtCreate(&d->cublaslt), "opening cuBLASLt"));
    *out = d->cublaslt;
    return ED_OK;
}

static int use(void *device)
{
    ED_CUDA_TRY(cudaSetDevice(((const ed_cuda *)device)->index), "choosing the GPU");
    return ED_OK;
}

/* ---- memory and copies ---- */

static int alloc_memory(void *device, void **out, size_t nbytes)
{
    (void)device;
    *out = NULL;
    ED_CUDA_TRY(cudaMalloc(out, nbytes ? nbytes : 1), "allocating memory on the GPU");
    return ED_OK;
}

static void free_memory(void *device, void *memory)
{
    (void)device;
    cudaFree(memory);
}

static int alloc_host(void *device, void **out, size_t nbytes)
{
    (void)device;
    *out = NULL;
    cudaError_t status = cudaMallocHost(out, nbytes ? nbytes : 1);
    if (status == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return ed_error_set(ED_ENOMEM,
                            "page-locked memory for a batch of %zu bytes ran out; use a smaller "
                            "--batch",
                            nbytes);
    }
    return ed_cuda_status((int)status, "allocating page-locked memory");
}

static void free_host(void *device, void *memory)
{
    (void)device;
    cudaFreeHost(memory);
}

static int copy_in(void *device, void *to, const void *from, size_t nbytes)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaMemcpyAsync(to, from, nbytes, cudaMemcpyHostToDevice, d->stream),
                "copying to the GPU");
    return ED_OK;
}

static int sync_device(void *device)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaStreamSynchronize(d->stream), "waiting for the GPU");
    return ED_OK;
}

static int download(void *device, void *to, const void *from, size_t nbytes)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaMemcpyAsync(to, from, nbytes, cudaMemcpyDeviceToHost, d->stream),
                "copying from the GPU");
    return ED_OK;
}

static int copy_out(void *device, void *to, const void *from, size_t nbytes)
{
    ED_TRY(download(device, to, from, nbytes));
    return sync_device(device);
}

static int copy(void *device, void *to, const void *from, size_t nbytes)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaMemcpyAsync(to, from, nbytes, cudaMemcpyDeviceToDevice, d->stream),
                "copying on the GPU");
    return ED_OK;
}

static int zero(void *device, void *to, size_t nbytes)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaMemsetAsync(to, 0, nbytes, d->stream), "clearing memory on the GPU");
    return ED_OK;
}

static int upload(void *device, void *to, const void *from, size_t nbytes)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaStreamWaitEvent(d->upload, d->decoded, 0), "copying to the GPU");
    ED_CUDA_TRY(cudaMemcpyAsync(to, from, nbytes, cudaMemcpyHostToDevice, d->upload),
                "copying to the GPU");
    ED_CUDA_TRY(cudaEventRecord(d->uploaded, d->upload), "copying to the GPU");
    ED_CUDA_TRY(cudaStreamWaitEvent(d->stream, d->uploaded, 0), "copying to the GPU");
    return ED_OK;
}

static int uploaded(void *device)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaEventSynchronize(d->uploaded), "copying to the GPU");
    return ED_OK;
}

static int decode(void *device, float *to, const void *from, const ed_decode *how, uint64_t *bad)
{
    ed_cuda *d = device;
    ED_TRY(ed_cuda_decode(device, to, from, how, bad));
    ED_CUDA_TRY(cudaEventRecord(d->decoded, d->stream), "decoding a batch");
    return ED_OK;
}

int ed_cuda_upload(void **out, const void *data, size_t nbytes)
{
    *out = NULL;
    ED_TRY(alloc_memory(NULL, out, nbytes));
    cudaError_t status = cudaMemcpy(*out, data, nbytes, cudaMemcpyHostToDevice);
    if (status == cudaSuccess) /* it returns once `data` is read, and our streams do not wait */
        status = cudaStreamSynchronize(NULL);
    int rc = ed_cuda_status(status, "copying to the GPU");
    if (rc != ED_OK) {
        cudaFree(*out);
        *out = NULL;
    }
    return rc;
}

static int convert(void *device, void *to, ed_layout to_layout, const void *from,
                   ed_layout from_layout, const ed_shape *shape)
{
    return ed_cuda_convert_tensor(device, to, to_layout, from, from_layout, shape);
}

/* ---- graphs and time ---- */

/* Who wants every launch to wait wants to see which kernel fails: a recording is one launch. */
static bool launches_wait(void)
{
    const char *blocking = getenv("CUDA_LAUNCH_BLOCKING");
    return blocking && strcmp(blocking, "1") == 0;
}

static int capture_begin(void *device)
{
    ed_cuda *d = device;
    ED_FAIL_IF(launches_wait(), ED_EUNSUPPORTED, "CUDA_LAUNCH_BLOCKING is set");
    ED_CUDA_TRY(cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal),
                "recording a batch");
    return ED_OK;
}

static int capture_end(void *device, void **graph)
{
    ed_cuda *d = device;
    cudaGraph_t recorded = NULL;
    cudaGraphExec_t compiled = NULL;
    *graph = NULL;
    ED_CUDA_TRY(cudaStreamEndCapture(d->stream, &recorded), "recording a batch");
    int rc = ed_cuda_status(cudaGraphInstantiate(&compiled, recorded, 0), "recording a batch");
    cudaGraphDestroy(recorded);
    *graph = compiled;
    return rc;
}

static int replay(void *device, void *graph)
{
    ed_cuda *d = device;
    ED_CUDA_TRY(cudaGraphLaunch(graph, d->stream), "running a recorded batch");
    return ED_OK;
}

static void graph_free(void *device, void *graph)
{
    (void)device;
    if (graph)
        cudaGraphExecDestroy(graph);
}

static int mark(void *device, void **event)
{
    ed_cuda *d = device;
    cudaEvent_t made = *event;
    if (!made) {
        ED_CUDA_TRY(cudaEventCreate(&made), "making an event");
        *event = made;
    }
    ED_CUDA_TRY(cudaEventRecord(made, d->stream), "recording an event");
    return ED_OK;
}

static int seconds(void *device, double *out, void *begin, void *end)
{
    float milliseconds = 0;
    (void)device;
    ED_CUDA_TRY(cudaEventSynchronize(end), "waiting for the GPU");
    ED_CUDA_TRY(cudaEventElapsedTime(&milliseconds, begin, end), "reading the GPU's clock");
    *out = (double)milliseconds * 1e-3;
    return ED_OK;
}

static int wait_for(void *device, void *event)
{
    (void)device;
    ED_CUDA_TRY(cudaEventSynchronize(event), "waiting for the GPU");
    return ED_OK;
}

static void mark_free(void *device, void *event)
{
    (void)device;
    if (event)
        cudaEventDestroy(event);
}

/* ---- the table ---- */

ED_API const ed_backend *ed_backend_get(void);

const ed_backend *ed_backend_get(void)
{
    static const ed_backend backend = {
        .abi = ED_BACKEND_ABI,
        .version = ED_VERSION,
        .name = "cuda",
        .error = ed_error_last,
        .count = count_devices,
        .info = device_info,
        .open = open_device,
        .use = use,
        .alloc = alloc_memory,
        .free = free_memory,
        .alloc_host = alloc_host,
        .free_host = free_host,
        .copy_in = copy_in,
        .copy_out = copy_out,
        .download = download,
        .copy = copy,
        .zero = zero,
        .sync = sync_device,
        .kernels = ed_cuda_kernels,
        .convert = convert,
        .capture_begin = capture_begin,
        .capture_end = capture_end,
        .replay = replay,
        .graph_free = graph_free,
        .mark = mark,
        .seconds = seconds,
        .wait = wait_for,
        .mark_free = mark_free,
        .upload = upload,
        .uploaded = uploaded,
        .observers_new = ed_cuda_observers_new,
        .observers_add = ed_cuda_observers_add,
        .observers_get = ed_cuda_observers_get,
        .observers_search = ed_cuda_observers_search,
        .observers_free = ed_cuda_observers_free,
        .decode = decode,
        .trainer_new = ed_cuda_trainer_new,
        .trainer_add = ed_cuda_trainer_sum,
        .trainer_set = ed_cuda_trainer_set,
        .trainer_step = ed_cuda_trainer_update,
        .trainer_quantize = ed_cuda_trainer_requantize,
        .trainer_get = ed_cuda_trainer_get,
        .trainer_free = ed_cuda_trainer_free,
        .largest = ed_cuda_largest,
        .follow = ed_cuda_follow,
    };
    return &backend;
}
