/*
 * The choice of an engine for a graph: the first configuration of the heuristics' list that
 * compiles, or, when autotune is asked for, the fastest of the first ones. What is not
 * deterministic, or shortens mantissas, is passed over where that is not wanted.
 */
#include "plan_graph.h"

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
static bool accept(ed_cudnn_builder *b, cudnnBackendDescriptor_t config, int64_t *index)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t engine = ed_cudnn_make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
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
        bool varies = notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        if ((varies && !b->any_order) ||
            notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION || (b->exact && shortens))
            return false;
    }
    return true;
}

/* Append what a heuristic proposes. One without an answer is no failure. */
static void propose(ed_cudnn_builder *b, candidates *list, cudnnBackendDescriptor_t graph,
                    cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t configs[MAX_CONFIGS];
    int64_t found = 0, room = 0;
    cudnnBackendDescriptor_t h = ed_cudnn_make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    ed_cudnn_set(b, h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &graph);
    ed_cudnn_set(b, h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    ed_cudnn_finish(b, h);
    while (room < MAX_CONFIGS - list->count &&
           (configs[room] = ed_cudnn_make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)))
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
    void *memory[ED_PLAN_OPERANDS];
    void *scratch;
    size_t scratch_bytes;
    cudaEvent_t begin, end;
} trial;

static int trial_start(trial *t, const ed_cuda_plan *plan)
{
    size_t bytes[ED_PLAN_OPERANDS] = { 0 };
    plan->kind->bytes(bytes, plan->problem);
    for (int i = 0; i < ED_PLAN_OPERANDS; i++) {
        if (!bytes[i])
            continue;
        ED_CUDA_TRY(cudaMalloc(&t->memory[i], bytes[i]), "allocating operands to time");
        ED_CUDA_TRY(cudaMemset(t->memory[i], 0x3c, bytes[i]), "filling operands to time");
    }
    ED_CUDA_TRY(cudaEventCreate(&t->begin), "making an event");
    ED_CUDA_TRY(cudaEventCreate(&t->end), "making an event");
    return ED_OK;
}

static void trial_end(trial *t)
{
    for (size_t i = 0; i < ED_LENGTH(t->memory); i++)
        cudaFree(t->memory[i]);
    cudaFree(t->scratch);
    if (t->begin)
        cudaEventDestroy(t->begin);
    if (t->end)
        cudaEventDestroy(t->end);
    (void)cudaGetLastError(); /* a candidate that failed is no error of the next launch */
}

static bool trial_scratch(trial *t, size_t size)
{
    if (size <= t->scratch_bytes)
        return true;
    cudaFree(t->scratch);
    t->scratch = NULL;
    t->scratch_bytes = 0;
    if (cudaMalloc(&t->scratch, size) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    t->scratch_bytes = size;
    return true;
}

/* Milliseconds of a candidate, the least of some runs; negative when it does not run. */
static float trial_time(trial *t, ed_cudnn_builder *b, const candidate *c)
{
    enum { REPEATS = 5 };
    ed_cuda_plan plan = {
        .kind = b->plan->kind, .problem = b->plan->problem, .plan = c->plan, .scratch = c->scratch
    };
    float least = -1.0f;
    if (!trial_scratch(t, (size_t)c->scratch))
        return -1.0f;
    for (int i = 0; i <= REPEATS; i++) {
        float ms = 0;
        cudaEventRecord(t->begin, b->device->stream);
        if (ed_cuda_plan_run(&plan, b->device, (const void *const *)t->memory, t->scratch) != ED_OK)
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
    ed_cudnn_builder *b;
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

static int choose_fastest(candidate **best, ed_cudnn_builder *b, candidates *list)
{
    trial t = { 0 };
    float least = 0;
    int rc = trial_start(&t, b->plan);
    if (rc == ED_OK)
        ed_parallel_for(list->count, 1, compile_range, &(compilation){ b, list });
    for (int i = 0; rc == ED_OK && i < list->count; i++) {
        float ms = list->at[i].plan ? trial_time(&t, b, &list->at[i]) : -1.0f;
        if (list->at[i].plan && ms < 0)
            rc = ed_cuda_check(b->plan->kind->what);
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

static void choose_first(candidate **best, ed_cudnn_builder *b, candidates *list)
{
    for (int i = 0; i < list->count && !*best; i++) {
        compile(&list->at[i], b->handle);
        if (list->at[i].plan)
            *best = &list->at[i];
    }
}

int ed_cuda_plan_build(ed_cuda_plan *plan, ed_cuda *device)
{
    ed_cudnn_builder b = { .plan = plan, .device = device };
    candidates list = { .count = 0 };
    candidate *best = NULL;
    bool tune = device->opts.autotune;
    ED_TRY(ed_cuda_cudnn_take(&b.handle, device));
    cudnnBackendDescriptor_t graph = plan->kind->graph(&b);
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
        snprintf(plan->name, sizeof plan->name, "%s eng %lld%s", plan->kind->label,
                 (long long)best->engine, tune ? " (tuned)" : "");
    }
    for (int i = 0; i < list.count; i++)
        if (list.at[i].plan && &list.at[i] != best)
            cudnnBackendDestroyDescriptor(list.at[i].plan);
    ed_cuda_cudnn_give(device, b.handle);
    return rc;
}
