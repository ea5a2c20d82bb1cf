/*
 * Training on the device: the parameters and the work of a step as lists in its memory, which
 * trainer.cu runs. A block gets some small channels, one large channel, a tile of channels that lie
 * side by side, or a run of elements.
 */
#include "trainers.h"

#include "device.h"
#include "trainer.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct trainer {
    ed_cuda *device;
    ed_trainer_state state;
    void *memory[6]; /* behind its pointers */
} trainer;

/* What a list of work grows into; without `at` it is only counted. */
typedef struct work_list {
    ed_trainer_work *at;
    int64_t n;
} work_list;

static void add_work(work_list *list, size_t param, int kind, int64_t begin, int64_t end)
{
    if (list->at)
        list->at[list->n] = (ed_trainer_work){ (int)param, kind, begin, end };
    list->n++;
}

static void add_runs(work_list *list, size_t param, int kind, int64_t n, int64_t each)
{
    for (int64_t i = 0; i < n; i += each)
        add_work(list, param, kind, i, i + each < n ? i + each : n);
}

static int64_t numel_of(const ed_device_parameter *p)
{
    return p->outer * p->channels * p->inner;
}

/* The update of a parameter. */
static void list_update(work_list *list, size_t i, const ed_device_parameter *p)
{
    enum { WARPS = ED_WORK_THREADS / 32, SMALL = 1024 };
    if (numel_of(p) == 0)
        return;
    if (!p->quantized)
        add_runs(list, i, ED_WORK_ELEMENTS, numel_of(p), ED_WORK_CHUNK);
    else if (p->outer > 1 && p->channels > 1 && p->inner < ED_WORK_LANES)
        add_runs(list, i, ED_WORK_COLUMNS, p->channels, ED_WORK_LANES / p->inner);
    else if (p->outer * p->inner <= SMALL)
        add_runs(list, i, ED_WORK_WARPS, p->channels, WARPS);
    else
        add_runs(list, i, ED_WORK_BLOCK, p->channels, 1);
}

static void list_update_all(work_list *list, const ed_device_parameter *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        list_update(list, i, &p[i]);
}

/* The parts of the gradients whose squares are summed. */
static void list_parts_all(work_list *list, const ed_device_parameter *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i].gradient)
            add_runs(list, i, ED_WORK_ELEMENTS, numel_of(&p[i]), ED_WORK_CHUNK);
}

static int upload_work(const ed_trainer_work **out, int64_t *count, void **memory,
                       void (*fill)(work_list *, const ed_device_parameter *, size_t),
                       const ed_device_parameter *p, size_t n)
{
    work_list list = { .at = NULL };
    fill(&list, p, n);
    *count = list.n;
    size_t nbytes = (size_t)(list.n + 1) * sizeof *list.at;
    list.at = ed_calloc((size_t)list.n + 1, sizeof *list.at);
    if (!list.at)
        return ED_ENOMEM;
    list.n = 0;
    fill(&list, p, n);
    int rc = ed_cuda_upload(memory, list.at, nbytes);
    ed_free(list.at);
    *out = *memory;
    return rc;
}

/* `part`: how many parts the gradients before this one have. */
static ed_trainer_param param_of(const ed_device_parameter *p, int64_t part)
{
    ed_trainer_param out = { .outer = p->outer,
                             .channels = p->channels,
                             .inner = p->inner,
                             .master = p->master,
                             .out = p->out == p->master && !p->quantized ? NULL : p->out,
                             .scale = p->scale,
                             .slot = { p->slot[0], p->slot[1] },
                             .scale_slot = { p->scale_slot[0], p->scale_slot[1] },
                             .gradient = p->sum && p->gradient ? p->sum : p->gradient,
                             .step_gradient = p->gradient,
                             .sum = p->gradient ? p->sum : NULL,
                             .gradient_factor = p->gradient_factor,
                             .lsq_root = sqrt((double)(p->outer * p->inner) * (double)p->qmax),
                             .lo = (float)p->qmin,
                             .hi = (float)p->qmax,
                             .least = p->least != 0.0f ? p->least : -INFINITY,
                             .quantized = p->quantized,
                             .decay = p->decay,
                             .scaling = (int)p->scaling,
                             .first = part,
                             .end = part };
    if (p->gradient)
        out.end += (numel_of(p) + ED_WORK_CHUNK - 1) / ED_WORK_CHUNK;
    return out;
}

static int upload_params(trainer *t, const ed_device_parameter *list, size_t n)
{
    int64_t part = 0;
    ed_trainer_param *params = ed_calloc(n + 1, sizeof *params);
    if (!params)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        params[i] = param_of(&list[i], part);
        part = params[i].end;
    }
    int rc = ed_cuda_upload(&t->memory[0], params, (n + 1) * sizeof *params);
    ed_free(params);
    t->state.params = t->memory[0];
    return rc;
}

static int fill(trainer *t, const ed_device_parameter *list, size_t n)
{
    const ed_trainer_result none = { .factor = 1, .bad_gradient = -1, .bad_weight = ~0ull };
    const ed_trainer_update zeros = { .clip = 0 };
    ed_trainer_state *s = &t->state;
    s->n = (int64_t)n;
    ED_TRY(upload_params(t, list, n));
    ED_TRY(upload_work(&s->work, &s->n_work, &t->memory[1], list_update_all, list, n));
    ED_TRY(upload_work(&s->parts, &s->n_parts, &t->memory[2], list_parts_all, list, n));
    ED_CUDA_TRY(cudaMalloc(&t->memory[3], (size_t)(s->n_parts + 1) * sizeof(double)),
                "allocating memory of the optimizer");
    ED_TRY(ed_cuda_upload(&t->memory[4], &none, sizeof none));
    ED_TRY(ed_cuda_upload(&t->memory[5], &zeros, sizeof zeros));
    s->squares = t->memory[3];
    s->result = t->memory[4];
    s->update = t->memory[5];
    return ED_OK;
}

int ed_cuda_trainer_new(void *device, void **out, ed_device_optimizer optimizer,
                        const ed_device_parameter *list, size_t n)
{
    *out = NULL;
    ED_FAIL_IF(n > INT32_MAX, ED_EINVAL, "%zu parameters; the device takes %d at most", n,
               INT32_MAX);
    trainer *t = ed_calloc(1, sizeof *t);
    if (!t)
        return ED_ENOMEM;
    t->device = device;
    t->state.adamw = optimizer == ED_DEVICE_ADAMW;
    int rc = fill(t, list, n);
    if (rc != ED_OK) {
        ed_cuda_trainer_free(t);
        return rc;
    }
    *out = t;
    return ED_OK;
}

void ed_cuda_trainer_free(void *of)
{
    trainer *t = of;
    if (!t)
        return;
    for (size_t i = 0; i < ED_LENGTH(t->memory); i++)
        cudaFree(t->memory[i]);
    ed_free(t);
}

int ed_cuda_trainer_sum(void *of, bool first)
{
    const trainer *t = of;
    ED_CUDA_TRY(ed_cuda_trainer_add(&t->state, first, t->device->stream),
                "the kernel that sums gradients");
    return ED_OK;
}

/* qat/optimizer.c */
static ed_trainer_numbers numbers_of(const ed_device_update *u, double rate, double decay,
                                     bool adamw)
{
    double t = (double)u->t;
    ed_trainer_numbers n = { .rate = (float)rate,
                             .momentum = (float)u->momentum,
                             .decay = (float)decay };
    if (!adamw)
        return n;
    n.keep = (float)(1.0 - rate * decay);
    n.beta1 = (float)u->beta1;
    n.rest1 = (float)(1.0 - u->beta1);
    n.beta2 = (float)u->beta2;
    n.rest2 = (float)(1.0 - u->beta2);
    n.rate = (float)(rate / (1.0 - pow(u->beta1, t)));
    n.root = (float)(1.0 / sqrt(1.0 - pow(u->beta2, t)));
    n.epsilon = (float)u->epsilon;
    return n;
}

int ed_cuda_trainer_set(void *of, const ed_device_update *u)
{
    const trainer *t = of;
    bool adamw = t->state.adamw;
    const ed_trainer_update numbers = {
        .of = { [ED_NUMBERS_DECAY] = numbers_of(u, u->learning_rate, u->weight_decay, adamw),
                [ED_NUMBERS_PLAIN] = numbers_of(u, u->learning_rate, 0.0, adamw),
                [ED_NUMBERS_SCALE] = numbers_of(u, u->scale_learning_rate, 0.0, adamw) },
        .mean = u->mean,
        .clip = u->clip
    };
    /* of memory that is not page-locked: `numbers` is read before this returns */
    ED_CUDA_TRY(cudaMemcpyAsync(t->memory[5], &numbers, sizeof numbers, cudaMemcpyHostToDevice,
                                t->device->stream),
                "copying to the GPU");
    return ED_OK;
}

int ed_cuda_trainer_update(void *of)
{
    const trainer *t = of;
    ED_CUDA_TRY(ed_cuda_trainer_step(&t->state, t->device->stream), "the kernel of the optimizer");
    return ED_OK;
}

int ed_cuda_trainer_requantize(void *of)
{
    const trainer *t = of;
    ED_CUDA_TRY(ed_cuda_trainer_quantize(&t->state, t->device->stream),
                "the kernel that quantizes weights");
    return ED_OK;
}

static_assert(sizeof(ed_trainer_result) == sizeof(ed_device_updated), "get() copies it as it is");
static_assert(offsetof(ed_trainer_result, bad_gradient) ==
                  offsetof(ed_device_updated, bad_gradient),
              "");
static_assert(offsetof(ed_trainer_result, bad_weight) == offsetof(ed_device_updated, bad_weight),
              "");

int ed_cuda_trainer_get(void *of, ed_device_updated *out)
{
    const trainer *t = of;
    ED_CUDA_TRY(cudaMemcpyAsync(out, t->state.result, sizeof *out, cudaMemcpyDeviceToHost,
                                t->device->stream),
                "copying from the GPU");
    return ED_OK;
}

/* ---- scales of activations ---- */

int ed_cuda_largest(void *device, float *largest, const void *data, ed_layout layout, int64_t numel)
{
    const ed_cuda *d = device;
    ED_CUDA_TRY(
        ed_cuda_find_largest(largest, data, numel, ed_layout_element(layout) == 2, d->stream),
        "the kernel that finds the largest value");
    return ED_OK;
}

int ed_cuda_follow(void *device, const ed_device_scales *s)
{
    const ed_cuda *d = device;
    ED_CUDA_TRY(ed_cuda_follow_scales(s->n, s->scale, s->average, s->largest, s->qmax, s->weight,
                                      s->least, d->stream),
                "the kernel of scales that follow");
    return ED_OK;
}
