/* The executor's life: options, stages of compiling, figures, release. */
#include "exec/exec_impl.h"
#include "exec/training.h"

#include <string.h>

static int make_arrays(ed_exec *x)
{
    const ed_graph *g = x->graph;
    x->arena = ed_arena_new();
    x->types = ed_calloc(g->n_values, sizeof *x->types);
    x->constants = ed_calloc(g->n_values, sizeof *x->constants);
    x->observed = ed_calloc(g->n_values, sizeof *x->observed);
    x->kept = ed_calloc(g->n_values, sizeof *x->kept);
    x->params = ed_calloc(g->n_nodes, sizeof *x->params);
    if (!x->arena || !x->types || !x->constants || !x->observed || !x->kept || !x->params)
        return ED_ENOMEM;
    return ED_OK;
}

static int read_options(ed_exec *x, const ed_exec_options *o)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < g->n_outputs; i++)
        x->kept[g->outputs[i]] = true;
    if (!o)
        return ED_OK;
    if (o->device && strcmp(o->device, ED_DEVICE_CPU) != 0) {
        ed_device_options device = { .autotune = o->autotune, .deterministic = o->deterministic };
        ED_TRY(ed_precision_find(&device.precision, o->precision));
        ED_TRY(ed_device_open(&x->device, o->device, &device));
        ED_TRY(ed_device_use(x->device));
    }
    ED_FAIL_IF(o->share && o->share->device != x->device, ED_EINVAL,
               "an executor can only share the weights of one on the same device");
    ED_FAIL_IF(o->share && o->share->graph != g, ED_EINVAL,
               "an executor can only share the weights of one for the same graph");
    x->reference = o->reference;
    x->observe_plain = o->observe_plain;
    x->profile = o->profile;
    x->no_outputs = o->no_outputs;
    x->deterministic = o->deterministic;
    x->share = o->share;
    for (size_t i = 0; i < o->observed_count; i++) {
        ed_id id = ed_graph_find_value(g, o->observed[i]);
        ED_FAIL_IF(id == ED_NONE, ED_ENOTFOUND, "the graph has no value '%s' to observe",
                   o->observed[i]);
        x->observed[id] = x->kept[id] = true;
    }
    return ED_OK;
}

static int check_observed(const ed_exec *x)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < g->n_values; i++)
        ED_FAIL_IF(x->observed[i] && x->types[i].dtype != ED_F32, ED_EUNSUPPORTED,
                   "the value '%s' is %s; only float32 values can be observed", g->values[i].name,
                   ed_dtype_name(x->types[i].dtype));
    return ED_OK;
}

static int compile(ed_exec *x, const ed_shape *shapes, const ed_exec_options *opts)
{
    ED_TRY(make_arrays(x));
    ED_TRY(read_options(x, opts));
    if (!x->device)
        ED_TRY(ed_dnn_new(&x->dnn));
    ED_TRY(ed_exec_concrete(x, shapes));
    ED_TRY(check_observed(x));
    ED_TRY(ed_exec_chains(x));
    ED_TRY(ed_exec_kernels(x));
    ED_TRY(ed_exec_prune(x));
    ED_TRY(ed_exec_memory(x));
    return x->device && !x->plan_only ? ed_exec_device_warm(x) : ED_OK;
}

static int make(ed_exec **out, const ed_graph *graph, const ed_shape *shapes,
                const ed_exec_options *opts, bool plan_only)
{
    ed_exec *x = ed_calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return ED_ENOMEM;
    x->graph = graph;
    x->plan_only = plan_only;
    x->threads = ed_threads_get();
    int rc = compile(x, shapes, opts);
    if (rc != ED_OK) {
        ed_exec_free(x);
        return rc;
    }
    *out = x;
    return ED_OK;
}

int ed_exec_new(ed_exec **out, const ed_graph *graph, const ed_shape *shapes,
                const ed_exec_options *opts)
{
    return make(out, graph, shapes, opts, false);
}

int ed_exec_plan_bytes(int64_t *bytes, const ed_graph *graph, const ed_shape *shapes,
                       const ed_exec_options *opts)
{
    ed_exec *x;
    *bytes = 0;
    ED_TRY(make(&x, graph, shapes, opts, true));
    *bytes = (int64_t)ed_exec_get_stats(x).activation_bytes;
    ed_exec_free(x);
    return ED_OK;
}

int ed_exec_batch_shapes(ed_shape *shapes, const ed_graph *graph, int64_t batch)
{
    char text[128];
    ED_FAIL_IF(batch < 1, ED_EINVAL, "the batch size is %lld; it must be at least 1",
               (long long)batch);
    for (size_t i = 0; i < ed_graph_input_count(graph); i++) {
        ed_value_info info = ed_graph_input(graph, i);
        ed_shape s = info.shape;
        ed_shape_format(text, sizeof text, &s);
        ED_FAIL_IF(s.rank < 0, ED_ESHAPE,
                   "the shape of input '%s' is not known; take it from the data", info.name);
        ED_FAIL_IF(
            s.rank > 0 && s.dim[0] >= 0 && s.dim[0] != batch, ED_ESHAPE,
            "input '%s' is %s: the model fixes the batch at %lld, not at %lld; use that batch "
            "size or export the model with a dynamic batch",
            info.name, text, (long long)s.dim[0], (long long)batch);
        if (s.rank > 0)
            s.dim[0] = batch;
        ED_FAIL_IF(!ed_shape_known(&s), ED_ESHAPE,
                   "input '%s' is %s: a dimension besides the batch is not known; take it from the "
                   "data",
                   info.name, text);
        shapes[i] = s;
    }
    return ED_OK;
}

void ed_exec_set_observer(ed_exec *exec, ed_observe_fn fn, void *ctx)
{
    if (exec->device)
        ed_exec_device_forget(exec);
    exec->observe = fn;
    exec->observe_ctx = ctx;
}

ed_exec_stats ed_exec_get_stats(const ed_exec *exec)
{
    ed_exec_stats stats = { .steps = exec->n_steps,
                            .activation_bytes = exec->memory_bytes + exec->scratch_bytes };
    for (size_t i = 0; i < exec->n_steps; i++) {
        stats.reorders += exec->steps[i].node == NULL;
        stats.host_steps += exec->steps[i].on_host;
        stats.weight_bytes += exec->steps[i].weight_bytes;
    }
    return stats;
}

void ed_exec_free(ed_exec *exec)
{
    if (!exec)
        return;
    if (exec->device)
        ed_exec_device_free(exec);
    for (size_t i = 0; i < exec->n_steps; i++) {
        ed_step *s = &exec->steps[i];
        if (s->kernel && s->kernel->free && s->state)
            s->kernel->free(s->state);
        ed_prim_free(s->reorder);
    }
    for (size_t i = 0; i < exec->n_folded; i++)
        ed_tensor_free(exec->folded[i]);
    void *arrays[] = { exec->types,  exec->constants, exec->observed,  exec->kept,
                       exec->folded, exec->params,    exec->order,     exec->order_params,
                       exec->chains, exec->place,     exec->last_read, exec->layouts,
                       exec->where,  exec->buffers,   exec->steps,     exec->outputs,
                       exec->memory, exec->scratch,   exec->plain };
    for (size_t i = 0; i < ED_LENGTH(arrays); i++)
        ed_free(arrays[i]);
    ed_arena_free(exec->arena);
    ed_dnn_free(exec->dnn);
    ed_free(exec);
}
