/* Running the compiled steps: check the inputs, call each kernel, show observed values. */
#include "exec/exec_impl.h"

#include "base/clock.h"

#include <string.h>

static int check_inputs(ed_exec *x, const ed_tensor *const *inputs)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < g->n_inputs; i++) {
        const ed_buffer *b = &x->buffers[i]; /* the first buffers are the inputs, in order */
        char given[128], wanted[128];
        ED_FAIL_IF(inputs[i]->dtype != b->tensor.dtype ||
                       !ed_shape_equal(&inputs[i]->shape, &b->tensor.shape),
                   ED_ESHAPE, "input '%s' is %s%s, but the plan was compiled for %s%s",
                   g->values[b->value].name, ed_dtype_name(inputs[i]->dtype),
                   ed_shape_format(given, sizeof given, &inputs[i]->shape),
                   ed_dtype_name(b->tensor.dtype),
                   ed_shape_format(wanted, sizeof wanted, &b->tensor.shape));
    }
    return ED_OK;
}

static int observe(ed_exec *x, uint32_t buffer)
{
    if (buffer == ED_NONE || !x->observe || !x->observed[x->buffers[buffer].value])
        return ED_OK;
    const ed_buffer *b = &x->buffers[buffer];
    const char *name = x->graph->values[b->value].name;
    if (!x->observe_plain || b->layout == ED_LAYOUT_PLAIN)
        return x->observe(x->observe_ctx, name, b->tensor.data, b->numel,
                          b->numel - b->tensor.numel);
    if (b->tensor.numel)
        ed_layout_unpack(x->plain, b->tensor.data, b->layout, &b->tensor.shape);
    return x->observe(x->observe_ctx, name, x->plain, b->tensor.numel, 0);
}

/* Values that no step computes: inputs, and constants that were asked for. */
static int observe_given(ed_exec *x)
{
    const ed_graph *g = x->graph;
    if (!x->observe)
        return ED_OK;
    for (size_t v = 0; v < g->n_values; v++) {
        const ed_tensor *t = x->constants[v];
        if (x->observed[v] && t)
            ED_TRY(x->observe(x->observe_ctx, g->values[v].name, t->data, t->numel, 0));
    }
    for (uint32_t i = 0; i < g->n_inputs; i++)
        ED_TRY(observe(x, i));
    return ED_OK;
}

static int run_step(ed_exec *x, ed_step *s)
{
    if (s->kernel) {
        ed_call call = { .node = s->node,
                         .params = x->order_params[s->position],
                         .state = s->state,
                         .scratch = x->scratch,
                         .n_in = s->n_in,
                         .n_out = s->n_out,
                         .in = s->in_tensors,
                         .out = s->out_tensors };
        return s->kernel->run(&call);
    }
    if (s->reorder) {
        const void *data[ED_ARG_COUNT] = {
            [ED_ARG_SRC] = s->in_tensors[0]->data, [ED_ARG_DST] = s->out_tensors[0]->data
        };
        return ed_prim_run(s->reorder, data, x->scratch);
    }
    if (s->in_tensors[0]->nbytes)
        memcpy(s->out_tensors[0]->data, s->in_tensors[0]->data, s->in_tensors[0]->nbytes);
    return ED_OK;
}

static int run_steps(ed_exec *exec)
{
    for (size_t i = 0; i < exec->n_steps; i++) {
        ed_step *s = &exec->steps[i];
        double begin = ed_clock_seconds();
        int rc = run_step(exec, s);
        if (rc != ED_OK)
            return s->node ? ed_error_context(rc, "%s", ed_node_label(exec->graph, s->node)) : rc;
        s->seconds += ed_clock_seconds() - begin;
        for (uint32_t k = 0; s->node && k < s->n_out; k++)
            ED_TRY(observe(exec, s->out[k]));
    }
    return ED_OK;
}

static int run_here(ed_exec *x, const ed_tensor *const *inputs)
{
    int threads =
        ed_threads_get(); /* of the caller's thread, which need not be the compiling one */
    for (size_t i = 0; i < x->graph->n_inputs; i++)
        x->buffers[i].tensor.data = inputs[i]->data;
    ED_TRY(observe_given(x));
    if (threads != x->threads)
        ED_TRY(ed_threads_set(x->threads));
    int rc = run_steps(x);
    if (threads != x->threads)
        ed_threads_set(threads);
    return rc;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int time_on_device(double *seconds, ed_exec *x)
{
    const ed_device *d = x->device;
    ED_DEVICE_TRY(d, d->api->mark(d->handle, &x->marks[2]));
    ED_TRY(ed_exec_device_steps(x));
    ED_DEVICE_TRY(d, d->api->mark(d->handle, &x->marks[3]));
    ED_DEVICE_TRY(d, d->api->seconds(d->handle, seconds, x->marks[2], x->marks[3]));
    return ED_OK;
}

static int time_here(double *seconds, ed_exec *x)
{
    double begin = ed_clock_seconds();
    ED_TRY(run_steps(x));
    *seconds = ed_clock_seconds() - begin;
    return ED_OK;
}

int ed_exec_time(double *seconds, ed_exec *exec, int repeats)
{
    ED_FAIL_IF(exec->runs == 0 || repeats < 1, ED_EINVAL,
               "a run is timed after the first one, at least once");
    double *all = ed_malloc((size_t)repeats * sizeof *all);
    if (!all)
        return ED_ENOMEM;
    int rc = ED_OK;
    if (exec->device)
        ED_GOTO(ed_device_use(exec->device));
    if (exec->device) /* the second run records the steps */
        ED_GOTO(ed_exec_device_steps(exec));
    exec->runs = 0;
    for (size_t i = 0; i < exec->n_steps; i++)
        exec->steps[i].seconds = 0;
    for (int i = 0; i < repeats; i++, exec->runs++)
        ED_GOTO(exec->device ? time_on_device(&all[i], exec) : time_here(&all[i], exec));
    qsort(all, (size_t)repeats, sizeof *all, by_value);
    *seconds = all[repeats / 2];
done:
    ed_free(all);
    return rc;
}

int ed_exec_run(ed_exec *exec, const ed_tensor *const *inputs, const ed_tensor **outputs)
{
    ED_TRY(check_inputs(exec, inputs));
    if (exec->device)
        ED_TRY(ed_device_use(exec->device));
    if (exec->device)
        ED_TRY(ed_exec_device_run(exec, inputs));
    else
        ED_TRY(run_here(exec, inputs));
    exec->runs++;
    for (size_t i = 0; i < exec->graph->n_outputs; i++)
        outputs[i] =
            exec->device ? exec->device_outputs[i] : &exec->buffers[exec->outputs[i]].tensor;
    return ED_OK;
}
