/*
 * The loader of backends: libed-cuda.so is looked for in the folder that ED_BACKEND_DIR names,
 * beside this library, and where the system keeps libraries. Devices are opened once and shared by
 * the executors of the process: the list of them is the one thing that outlives an executor.
 */
#include "backend/backend.h"
#include "base/mem.h"
#include "ed/backend.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libed-cuda.so"

enum { MAX_DEVICES = 64 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const ed_backend *loaded;
static ed_device devices[MAX_DEVICES];
static size_t n_devices;

/* The folder of the file that holds this function, with the slash; "" when it is not known. */
static void own_folder(char *out, size_t size)
{
    Dl_info info;
    out[0] = '\0';
    /* a data address: pointers to functions are no void pointers in C */
    if (!dladdr(&loaded, &info) || !info.dli_fname)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    size_t length = slash ? (size_t)(slash - info.dli_fname) + 1 : 0;
    if (length < size) {
        memcpy(out, info.dli_fname, length);
        out[length] = '\0';
    }
}

static void *open_library(void)
{
    char path[4096], folder[4000];
    const char *given = getenv("ED_BACKEND_DIR");
    if (given && *given) {
        snprintf(path, sizeof path, "%s/" LIBRARY, given);
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    own_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s" LIBRARY, folder);
    if (*folder && access(path, F_OK) == 0) /* its failure tells which library it misses */
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static int load(void)
{
    void *library = open_library();
    ED_FAIL_IF(!library, ED_EUNSUPPORTED,
               "the CUDA backend could not be opened (%s); install " LIBRARY
               " with CUDA 13 and cuDNN 9, or use --device cpu",
               dlerror());
    ed_backend_entry entry = NULL;
    void *symbol = dlsym(library, ED_BACKEND_ENTRY);
    memcpy(&entry, &symbol, sizeof entry);
    const ed_backend *api = entry ? entry() : NULL;
    if (!api || api->abi != ED_BACKEND_ABI || strcmp(api->version, ED_VERSION) != 0) {
        ed_error_set(ED_EUNSUPPORTED,
                     LIBRARY " is of version %s, this library of %s; install both from one build",
                     api ? api->version : "unknown", ED_VERSION);
        dlclose(library);
        return ED_EUNSUPPORTED;
    }
    loaded = api;
    return ED_OK;
}

int ed_backend_load(const ed_backend **out)
{
    pthread_mutex_lock(&mutex);
    int rc = loaded ? ED_OK : load();
    *out = loaded;
    pthread_mutex_unlock(&mutex);
    return rc;
}

int ed_backend_failed(const ed_backend *api, int rc)
{
    const char *sentence = api->error();
    if (sentence != ed_error_last())
        ed_error_set(rc, "%s", sentence);
    return rc;
}

int ed_device_index(int *index, const char *name)
{
    char *end = NULL;
    *index = 0;
    if (strcmp(name, "cuda") == 0)
        return ED_OK;
    bool numbered = strncmp(name, "cuda:", 5) == 0 && name[5] >= '0' && name[5] <= '9';
    long n = numbered ? strtol(name + 5, &end, 10) : -1;
    ED_FAIL_IF(!numbered || *end || n > 1023, ED_ENOTFOUND,
               "there is no device '%s'; use cpu, cuda or cuda:N", name);
    *index = (int)n;
    return ED_OK;
}

static int open_device(ed_device *d)
{
    int count = 0;
    ED_DEVICE_TRY(d, d->api->count(&count));
    ED_FAIL_IF(count == 0, ED_EUNSUPPORTED,
               "no usable GPU was found: the CUDA driver lists no device; use --device cpu");
    ED_FAIL_IF(d->index >= count, ED_ENOTFOUND,
               "there is no device cuda:%d; this machine has %d, cuda:0 to cuda:%d", d->index,
               count, count - 1);
    ED_DEVICE_TRY(d, d->api->open(&d->handle, d->index, &d->opts));
    return ED_OK;
}

int ed_device_open(const ed_device **out, const char *name, const ed_device_options *opts)
{
    ed_device wanted = { .opts = opts ? *opts : (ed_device_options){ 0 } };
    int rc = ED_OK;
    *out = NULL;
    ED_TRY(ed_device_index(&wanted.index, name));
    ED_TRY(ed_backend_load(&wanted.api));
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < n_devices && !*out; i++)
        if (devices[i].index == wanted.index &&
            devices[i].opts.precision == wanted.opts.precision &&
            devices[i].opts.autotune == wanted.opts.autotune &&
            devices[i].opts.deterministic == wanted.opts.deterministic)
            *out = &devices[i];
    if (!*out && n_devices == MAX_DEVICES)
        rc = ed_error_set(ED_EINVAL, "more than %d devices are open", MAX_DEVICES);
    else if (!*out && (rc = open_device(&wanted)) == ED_OK) {
        devices[n_devices] = wanted;
        *out = &devices[n_devices++];
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

int ed_device_use(const ed_device *device)
{
    ED_DEVICE_TRY(device, device->api->use(device->handle));
    return ED_OK;
}

static const char *const precisions[ED_PRECISION_COUNT] = {
    [ED_PRECISION_TF32] = "tf32",
    [ED_PRECISION_FP32] = "fp32",
    [ED_PRECISION_BF16] = "bf16",
};

const char *ed_precision_at(size_t i)
{
    return i < ED_PRECISION_COUNT ? precisions[i] : NULL;
}

int ed_precision_find(ed_precision *out, const char *name)
{
    *out = ED_PRECISION_TF32;
    for (int i = 0; name && i < ED_PRECISION_COUNT; i++)
        if (strcmp(name, precisions[i]) == 0) {
            *out = (ed_precision)i;
            return ED_OK;
        }
    ED_FAIL_IF(name, ED_ENOTFOUND, "there is no precision '%s'; use tf32, fp32 or bf16", name);
    return ED_OK;
}
