/*
 * The choice of an engine for a convolution's graph: the first configuration of the heuristics'
 * list that compiles, or, when autotune is asked for, the fastest of the first ones. What is not
 * deterministic, or shortens mantissas where that is not wanted, is passed over.
 */
#include "conv_graph.h"

#include "base/clock.h"
#include "base/parallel.h"

#include <stdio.h>

enum {
    MAX_CONFIGS = 32,
    MAX_TUNED = 16, /* candidates that are timed */
};
static const int64_t max_scratch = (int64_t)1 << 30;

/* ---- candidates ---- */

typedef struct candidate {
    cudnnBackendDescriptor_t config, plan; /* plan: NULL until it is compiled */
    int64_t engine, scratch;
} candidate;

typedef struct candidates {
    candidate at[MAX_CONFIGS];
    int count;
} candidates;

/* The engine's notes allow what is asked of it; its number. */
static bool accept(ed_conv_builder *b, cudnnBackendDescriptor_t config, int64_t *index)
{
    const ed_cuda_conv *c = &b->plan->conv;
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t engine = ed_conv_make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    int64_t count = 0;
    if (!engine)
        return false;
    if (cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 1, &count, &engine) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1,
                                 &count, index) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count,
                                 notes) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < count; i++) {
        bool shortens = notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
                        notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                        notes[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
            notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
            (c->fp32 && !c->bf16 && shortens))
            return false;
    }
    return true;
}

/* Append what a heuristic proposes. One without an answer is no failure. */
static void propose(ed_conv_builder *b, candidates *list, cudnnBackendDescriptor_t graph,
                    cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t configs[MAX_CONFIGS];
    int64_t found = 0, room = 0;
    cudnnBackendDescriptor_t h = ed_conv_make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    ed_conv_set(b, h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                &graph);
    ed_conv_set(b, h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    ed_conv_finish(b, h);
    while (room < MAX_CONFIGS - list->count &&
           (configs[room] = ed_conv_make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)))
        room++;
    bool answered =
        b->status == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 room, &found, configs) == CUDNN_STATUS_SUCCESS;
    if (b->rc == ED_OK)
        b->status = CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; answered && i < found && i < room; i++) {
        candidate c = { .config = configs[i] };
        if (accept(b, c.config, &c.engine))
            list->at[list->count++] = c;
    }
}

static void compile(candidate *c, cudnnHandle_t handle)
{
    int64_t count = 0;
    double begin = ed_clock_seconds();
    cudnnBackendDescriptor_t plan = NULL;
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan) !=
        CUDNN_STATUS_SUCCESS)
        return;
    if (cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                 &handle) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                 &c->config) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &count, &c->scratch) == CUDNN_STATUS_SUCCESS &&
        c->scratch <= max_scratch)
        c->plan = plan;
    else
        cudnnBackendDestroyDescriptor(plan);
    ed_log(ED_LOG_DEBUG, "engine %lld: %s in %.3f s", (long long)c->engine,
           c->plan ? "compiled" : "refused", ed_clock_seconds() - begin);
}

/* ---- the fastest ---- */

typedef struct trial { /* operands with harmless contents */
    ed_cuda_conv_data data;
    void *memory[6];
    size_t scratch;
    cudaEvent_t begin, end;
} trial;

static int trial_start(trial *t, const ed_cuda_conv *c)
{
    size_t bytes[3];
    ed_conv_bytes(bytes, c);
    size_t sizes[5] = { bytes[0], bytes[1], (size_t)c->k * 4, bytes[2], bytes[2] };
    for (int i = 0; i < 5; i++) {
        ED_CUDA_TRY(cudaMalloc(&t->memory[i], sizes[i]), "allocating operands to time");
        ED_CUDA_TRY(cudaMemset(t->memory[i], 0x3c, sizes[i]), "filling operands to time");
    }
    t->data = (ed_cuda_conv_data){ t->memory[0], t->memory[1], t->memory[2],
                                   t->memory[3], t->memory[4], NULL };
    ED_CUDA_TRY(cudaEventCreate(&t->begin), "making an event");
    ED_CUDA_TRY(cudaEventCreate(&t->end), "making an event");
    return ED_OK;
}

static void trial_end(trial *t)
{
    for (size_t i = 0; i < ED_LENGTH(t->memory); i++)
        cudaFree(t->memory[i]);
    if (t->begin)
        cudaEventDestroy(t->begin);
    if (t->end)
        cudaEventDestroy(t->end);
    (void)cudaGetLastError(); /* a candidate that failed is no error of the next launch */
}

static bool trial_scratch(trial *t, size_t size)
{
    if (size > t->scratch) {
        cudaFree(t->memory[5]);
        t->memory[5] = NULL;
        t->scratch = 0;
        if (cudaMalloc(&t->memory[5], size) != cudaSuccess) {
            (void)cudaGetLastError();
            return false;
        }
        t->scratch = size;
    }
    t->data.scratch = t->memory[5];
    return true;
}

/* Milliseconds of a candidate, the least of some runs; negative when it does not run. */
static float trial_time(trial *t, ed_conv_builder *b, const candidate *c)
{
    enum { REPEATS = 5 };
    ed_cuda_plan plan = { .conv = b->plan->conv, .plan = c->plan, .scratch = c->scratch };
    float least = -1.0f;
    if (!trial_scratch(t, (size_t)c->scratch))
        return -1.0f;
    for (int i = 0; i <= REPEATS; i++) {
        float ms = 0;
        cudaEventRecord(t->begin, b->device->stream);
        if (ed_cuda_plan_run(&plan, b->device, &t->data) != ED_OK)
            return -1.0f;
        cudaEventRecord(t->end, b->device->stream);
        if (cudaEventSynchronize(t->end) != cudaSuccess ||
            cudaEventElapsedTime(&ms, t->begin, t->end) != cudaSuccess)
            return -1.0f;
        if (i > 0 && (least < 0 || ms < least))
            least = ms;
    }
    return least;
}

typedef struct compilation {
    ed_conv_builder *b;
    candidates *list;
} compilation;

static void compile_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const compilation *job = ctx;
    cudnnHandle_t handle;
    (void)thread;
    if (ed_cuda_cudnn_take(&handle, job->b->device) != ED_OK)
        return;
    for (int64_t i = begin; i < end; i++)
        compile(&job->list->at[i], handle);
    ed_cuda_cudnn_give(job->b->device, handle);
}

static int choose_fastest(candidate **best, ed_conv_builder *b, candidates *list)
{
    trial t = { 0 };
    float least = 0;
    int rc = trial_start(&t, &b->plan->conv);
    if (rc == ED_OK)
        ed_parallel_for(list->count, 1, compile_range, &(compilation){ b, list });
    for (int i = 0; rc == ED_OK && i < list->count; i++) {
        float ms = list->at[i].plan ? trial_time(&t, b, &list->at[i]) : -1.0f;
        ed_log(ED_LOG_DEBUG, "engine %lld: %.4f ms", (long long)list->at[i].engine, (double)ms);
        if (ms >= 0 && (!*best || ms < least)) {
            least = ms;
            *best = &list->at[i];
        }
    }
    trial_end(&t);
    return rc;
}

/* ---- the choice ---- */

static void choose_first(candidate **best, ed_conv_builder *b, candidates *list)
{
    for (int i = 0; i < list->count && !*best; i++) {
        compile(&list->at[i], b->handle);
        if (list->at[i].plan)
            *best = &list->at[i];
    }
}

int ed_cuda_conv_build(ed_cuda_plan *plan, ed_cuda *device)
{
    ed_conv_builder b = { .plan = plan, .device = device };
    candidates list = { .count = 0 };
    candidate *best = NULL;
    bool tune = device->opts.autotune;
    ED_TRY(ed_cuda_cudnn_take(&b.handle, device));
    cudnnBackendDescriptor_t graph = ed_conv_graph(&b);
    if (graph) {
        propose(&b, &list, graph, CUDNN_HEUR_MODE_A);
        if (list.count == 0 || !tune)
            propose(&b, &list, graph, CUDNN_HEUR_MODE_FALLBACK);
    }
    if (tune && list.count > MAX_TUNED)
        list.count = MAX_TUNED;
    int rc = b.rc;
    if (rc == ED_OK && tune)
        rc = choose_fastest(&best, &b, &list);
    else if (rc == ED_OK)
        choose_first(&best, &b, &list);
    if (best) {
        plan->plan = best->plan;
        plan->scratch = best->scratch;
        snprintf(plan->name, sizeof plan->name, "cudnn eng %lld%s", (long long)best->engine,
                 tune ? " (tuned)" : "");
    }
    for (int i = 0; i < list.count; i++)
        if (list.at[i].plan && &list.at[i] != best)
            cudnnBackendDestroyDescriptor(list.at[i].plan);
    ed_cuda_cudnn_give(device, b.handle);
    return rc;
}
