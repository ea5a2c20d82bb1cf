/*
 * A backend whose device is the host's memory, for tests of what surrounds a device: it is built as
 * a libed-cuda.so of its own. Relu is its one kernel, everything else runs "on the host"; with
 * FAKE_ALL=1 it has the reference kernels. A recorded graph is a list of calls; what is downloaded
 * arrives when it is waited for. The environment's FAKE_DEVICES says how many devices there are
 * (2), FAKE_BYTES how much memory each has. With FAKE_LOST=n the devices are lost at the n-th call
 * since it was set: that one and all after it fail, whatever they are, but for releases.
 */
#include "fake_device.h"
#include "fake_trainer.h"

#include "base/mem.h"
#include "calib/calib.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { TAG = 64 };

static long number_in(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

/* ---- loss ---- */

bool fake_is_lost(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static long calls, since; /* calls since FAKE_LOST was `since` */
    long at = number_in("FAKE_LOST", 0);
    pthread_mutex_lock(&mutex);
    calls = at == since ? calls + 1 : 1;
    since = at;
    bool lost = at > 0 && calls >= at;
    pthread_mutex_unlock(&mutex);
    return lost;
}

/* ---- devices and memory ---- */

static int count(int *devices)
{
    LOST_IN("counting devices");
    *devices = (int)number_in("FAKE_DEVICES", 2);
    ED_FAIL_IF(*devices < 0, ED_EUNSUPPORTED, "the fake driver is too old");
    return ED_OK;
}

static int info(ed_device_info *out, int index)
{
    LOST_IN("asking for a device");
    *out = (ed_device_info){ .memory = 1 << 30, .free_memory = 1 << 29 };
    snprintf(out->name, sizeof out->name, "fake %d", index);
    return ED_OK;
}

static int use(void *device)
{
    (void)device;
    LOST_IN("choosing the device");
    return ED_OK;
}

static int open_fake(void **device, int index, const ed_device_options *opts)
{
    (void)index;
    (void)opts;
    *device = NULL;
    LOST_IN("opening the device");
    fake *f = ed_calloc(1, sizeof *f);
    if (f)
        f->limit = (size_t)number_in("FAKE_BYTES", 1L << 30);
    *device = f;
    return f ? ED_OK : ED_ENOMEM;
}

/* The size stands before the memory. */
static int alloc(void *device, void **out, size_t nbytes)
{
    fake *f = device;
    *out = NULL;
    LOST_IN("allocating");
    ED_FAIL_IF(f->used + nbytes > f->limit, ED_ENOMEM, "the fake device's memory ran out");
    char *memory = ed_aligned_alloc(nbytes + TAG);
    if (!memory)
        return ED_ENOMEM;
    memset(memory, 0xee, nbytes + TAG);
    memcpy(memory, &nbytes, sizeof nbytes);
    f->used += nbytes;
    *out = memory + TAG;
    return ED_OK;
}

static void free_fake(void *device, void *memory)
{
    fake *f = device;
    size_t nbytes;
    if (!memory)
        return;
    memcpy(&nbytes, (char *)memory - TAG, sizeof nbytes);
    f->used -= nbytes;
    ed_free((char *)memory - TAG);
}

/* ---- calls, made at once or recorded ---- */

static void relu(const ed_call *call)
{
    const float *x = call->in[0]->data;
    float *y = call->out[0]->data;
    for (int64_t i = 0; i < call->in[0]->numel; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

static void find_largest(float *largest, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float most = fabsf(x[i]);
        *largest = isnan(*largest) || most <= *largest ? *largest : most;
    }
}

static void make(const recorded_call *c)
{
    if (c->kind == CALL_COPY)
        memcpy(c->to, c->from, c->n);
    else if (c->kind == CALL_TRAIN)
        fake_trainer_run(c->to, (fake_training)c->index);
    else if (c->kind == CALL_OBSERVE)
        ed_observer_add(((ed_observer **)c->to)[c->index], c->from, (int64_t)c->n, 0);
    else if (c->kind == CALL_LARGEST)
        find_largest(c->to, c->from, c->n);
    else if (c->call.state)
        ((const ed_kernel *)c->call.state)->run(&c->call);
    else
        relu(&c->call);
}

int fake_queue(fake *f, recorded_call call)
{
    if (!f->open) {
        make(&call);
        return ED_OK;
    }
    ED_FAIL_IF(f->open->count == MAX_CALLS, ED_EINTERNAL, "the recording is full");
    f->open->calls[f->open->count++] = call;
    return ED_OK;
}

static int copy(void *device, void *to, const void *from, size_t nbytes)
{
    LOST_IN("copying");
    return fake_queue(device,
                      (recorded_call){ .kind = CALL_COPY, .to = to, .from = from, .n = nbytes });
}

static int copy_outside(void *device, void *to, const void *from, size_t nbytes)
{
    fake *f = device;
    LOST_IN("copying from or to the host");
    ED_FAIL_IF(f->open, ED_EINTERNAL, "a copy from or to the host was recorded");
    memcpy(to, from, nbytes);
    return ED_OK;
}

int fake_download(void *device, void *to, const void *from, size_t nbytes)
{
    fake *f = device;
    LOST_IN("copying from or to the host");
    ED_FAIL_IF(f->open, ED_EINTERNAL, "a copy from or to the host was recorded");
    parcel *p = ed_malloc(sizeof *p + nbytes);
    if (!p)
        return ED_ENOMEM;
    *p = (parcel){ f->parcels, to, nbytes };
    memcpy(p->data, from, nbytes);
    memset(to, 0xee, nbytes);
    f->parcels = p;
    return ED_OK;
}

/* The parcels arrive, or are lost with the device. */
static int deliver(void *device)
{
    fake *f = device;
    bool lost = fake_is_lost();
    for (parcel *p = f->parcels, *next; p; p = next) {
        next = p->next;
        if (!lost)
            memcpy(p->to, p->data, p->nbytes);
        ed_free(p);
    }
    f->parcels = NULL;
    ED_FAIL_IF(lost, ED_EINTERNAL, "waiting: the fake device was lost");
    return ED_OK;
}

static int wait_for(void *device, void *event)
{
    (void)event;
    return deliver(device);
}

static int zero(void *device, void *to, size_t nbytes)
{
    (void)device;
    LOST_IN("clearing");
    memset(to, 0, nbytes);
    return ED_OK;
}

static int nothing(void *device)
{
    (void)device;
    LOST_IN("waiting");
    return ED_OK;
}

static int capture_begin(void *device)
{
    fake *f = device;
    LOST_IN("recording");
    f->open = ed_calloc(1, sizeof *f->open);
    return f->open ? ED_OK : ED_ENOMEM;
}

static int capture_end(void *device, void **graph)
{
    fake *f = device;
    *graph = f->open;
    f->open = NULL;
    if (!fake_is_lost())
        return ED_OK;
    ed_free(*graph);
    *graph = NULL;
    return ed_error_set(ED_EINTERNAL, "recording: the fake device was lost");
}

static int replay(void *device, void *graph)
{
    const recording *r = graph;
    (void)device;
    LOST_IN("replaying");
    for (size_t i = 0; i < r->count; i++)
        make(&r->calls[i]);
    return ED_OK;
}

static void graph_free(void *device, void *graph)
{
    (void)device;
    ed_free(graph);
}

static int mark(void *device, void **event)
{
    (void)device;
    LOST_IN("marking");
    *event = NULL;
    return ED_OK;
}

static int seconds(void *device, double *out, void *begin, void *end)
{
    (void)device;
    (void)begin;
    (void)end;
    LOST_IN("reading the clock");
    *out = 0.5;
    return ED_OK;
}

/* ---- kernels ---- */

static int relu_plan(ed_kernel_plan *p)
{
    LOST_IN("planning Relu");
    if (!ed_plan_is_f32(p, p->nodes[0]->in[0]))
        return ed_plan_refuse(p, "not float32");
    p->taken = 1;
    p->plain = true;
    return ED_OK;
}

static int relu_run(const ed_call *call)
{
    LOST_IN("running Relu");
    return fake_queue(call->device, (recorded_call){ .kind = CALL_KERNEL, .call = *call });
}

static int reference_plan(ed_kernel_plan *p)
{
    const ed_op *op;
    LOST_IN("planning a node");
    ED_TRY(ed_op_find(&op, p->graph, p->nodes[0]));
    p->state = (void *)(uintptr_t)ed_op_reference(op);
    p->taken = 1;
    p->plain = true;
    return ED_OK;
}

static int reference_run(const ed_call *call)
{
    LOST_IN("running a node");
    return fake_queue(call->device, (recorded_call){ .kind = CALL_KERNEL, .call = *call });
}

static const ed_kernel *kernels(const char *domain, const char *op_type)
{
    static const ed_kernel rows[] = { { "fake", "cuda", relu_plan, relu_run, NULL, NULL }, { 0 } };
    static const ed_kernel all[] = { { "fake", "cuda", reference_plan, reference_run, NULL, NULL },
                                     { 0 } };
    if (number_in("FAKE_ALL", 0))
        return all;
    return !*domain && strcmp(op_type, "Relu") == 0 ? rows : NULL;
}

static int convert(void *device, void *to, ed_layout to_layout, const void *from,
                   ed_layout from_layout, const ed_shape *shape)
{
    (void)device;
    (void)to;
    (void)to_layout;
    (void)from;
    (void)from_layout;
    (void)shape;
    return ed_error_set(ED_EINTERNAL, "the fake device knows one layout");
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
        .count = count,
        .info = info,
        .open = open_fake,
        .use = use,
        .alloc = alloc,
        .free = free_fake,
        .alloc_host = alloc,
        .free_host = free_fake,
        .copy_in = copy_outside,
        .copy_out = copy_outside,
        .download = fake_download,
        .copy = copy,
        .zero = zero,
        .sync = deliver,
        .kernels = kernels,
        .convert = convert,
        .capture_begin = capture_begin,
        .capture_end = capture_end,
        .replay = replay,
        .graph_free = graph_free,
        .mark = mark,
        .seconds = seconds,
        .wait = wait_for,
        .mark_free = graph_free,
        .upload = copy_outside,
        .uploaded = nothing,
        .observers_new = fake_work_observers_new,
        .observers_add = fake_work_observers_add,
        .observers_get = fake_work_observers_get,
        .observers_search = fake_work_observers_search,
        .observers_free = fake_work_observers_free,
        .decode = fake_work_decode,
        .trainer_new = fake_work_trainer_new,
        .trainer_add = fake_work_trainer_add,
        .trainer_set = fake_work_trainer_set,
        .trainer_step = fake_work_trainer_step,
        .trainer_quantize = fake_work_trainer_quantize,
        .trainer_get = fake_work_trainer_get,
        .trainer_free = fake_work_trainer_free,
        .largest = fake_work_largest,
        .follow = fake_work_follow,
    };
    return &backend;
}
