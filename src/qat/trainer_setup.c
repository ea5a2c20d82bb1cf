/* What a run needs before its first step: the training graph, the state, the executors. */
#include "qat/trainer.h"

#include "data/shuffle.h"
#include "exec/training.h"
#include "qat/recompute_cheap.h"
#include "qat/recompute_fit.h"

#include <string.h>

static bool on_cpu(const ed_qat_options *o)
{
    return !o->device || strcmp(o->device, ED_DEVICE_CPU) == 0;
}

static ed_exec_options exec_options(const ed_trainer *t)
{
    const ed_qat_options *o = &t->settings.opts;
    return (ed_exec_options){ .device = o->device,
                              .precision = o->precision,
                              .autotune = o->autotune,
                              .no_outputs = true, /* on a device they stay there */
                              .deterministic = o->deterministic || on_cpu(o) };
}

/* The device's memory ran out: how much is needed (0: not known), of what, and what helps. */
static void explain_memory(const ed_trainer *t, int64_t bytes)
{
    char said[256], largest[512], activations[768] = "";
    snprintf(said, sizeof said, "%s", ed_error_last());
    ed_name_largest(largest, sizeof largest, t->plan->graph);
    if (bytes)
        snprintf(activations, sizeof activations,
                 "a batch of %lld needs %lld MiB for activations, the largest are %s; ",
                 (long long)t->plan->batch, (long long)(bytes >> 20), largest);
    ed_error_set(ED_ENOMEM,
                 "%s; %suse a smaller --batch, and --accumulate for the rest of it, or --memory "
                 "with what there is",
                 said, activations);
}

static int make_teacher(ed_trainer *t, const ed_graph *teacher, const ed_shape *shapes)
{
    const ed_qat_options *o = &t->settings.opts;
    size_t n = ed_graph_input_count(t->graph);
    if (t->settings.loss == ED_LOSS_LABELS)
        return ED_OK;
    ED_FAIL_IF(!teacher, ED_EINVAL, "the loss '%s' needs a teacher, the float model", o->loss);
    ED_FAIL_IF(ed_graph_input_count(teacher) != n, ED_EMISMATCH,
               "the teacher has %zu inputs, the model %zu; both must be of the same data",
               ed_graph_input_count(teacher), n);
    for (size_t i = 0; i < n; i++) {
        ed_value_info a = ed_graph_input(t->graph, i), b = ed_graph_input(teacher, i);
        ED_FAIL_IF(strcmp(a.name, b.name) != 0 || a.dtype != b.dtype, ED_EMISMATCH,
                   "the teacher's input %zu is '%s' (%s), the model's '%s' (%s); both must be of "
                   "the same data",
                   i + 1, b.name, ed_dtype_name(b.dtype), a.name, ed_dtype_name(a.dtype));
    }
    ED_TRY(ed_logits_graph(&t->teacher, teacher));
    ed_exec_options options = exec_options(t);
    options.deterministic = o->deterministic; /* its graph is always the same */
    int rc = ed_exec_new(&t->teacher_exec, t->teacher, shapes, &options);
    if (rc == ED_ENOMEM && !on_cpu(o))
        explain_memory(t, 0);
    return rc == ED_OK ? rc : ed_error_context(rc, "the teacher");
}

/* Values whose largest number the scales follow. */
static int list_observed(const char ***out, size_t *count, const ed_trainer *t)
{
    const ed_train_graph *plan = t->plan;
    *count = 0;
    *out = ed_calloc(plan->n_quantizers, sizeof **out);
    if (!*out)
        return ED_ENOMEM;
    for (size_t i = 0; i < plan->n_quantizers && t->settings.scales == ED_SCALES_EMA; i++)
        if (plan->scale_of[i] != SIZE_MAX)
            (*out)[(*count)++] = plan->graph->values[plan->quantizers[i].input].name;
    return ED_OK;
}

typedef struct compiling {
    const ed_shape *shapes;
    const ed_exec_options *options;
} compiling;

/* An ed_recompute_measure_fn. */
static int measure(void *ctx, int64_t *bytes, const ed_graph *graph)
{
    const compiling *c = ctx;
    return ed_exec_plan_bytes(bytes, graph, c->shapes, c->options);
}

/* Compute activations again where memory is short. */
static int fit_memory(ed_trainer *t, const ed_shape *shapes)
{
    ed_train_graph *plan = t->plan;
    ed_exec_options options = exec_options(t);
    const char **observed = NULL;
    compiling c = { shapes, &options };
    if (!t->settings.opts.memory)
        return ED_OK;
    int rc = list_observed(&observed, &options.observed_count, t);
    options.observed = observed;
    if (rc == ED_OK)
        rc = ed_recompute_fit(&plan->graph, plan->n_forward, t->settings.opts.memory, measure, &c);
    ed_free(observed);
    return rc;
}

static int compile(ed_trainer *t, const ed_shape *shapes)
{
    ed_exec_options options = exec_options(t);
    const char **observed = NULL;
    int rc = list_observed(&observed, &options.observed_count, t);
    options.observed = observed;
    if (rc == ED_OK)
        rc = ed_exec_new(&t->exec, t->plan->graph, shapes, &options);
    if (rc == ED_ENOMEM && !on_cpu(&t->settings.opts)) {
        int64_t bytes = 0;
        ed_error_kept kept = ed_error_keep();
        ed_exec_plan_bytes(&bytes, t->plan->graph, shapes, &options);
        ed_error_put_back(&kept);
        explain_memory(t, bytes);
    }
    if (rc == ED_OK && options.observed_count && !ed_exec_device(t->exec))
        ed_exec_set_observer(t->exec, ed_state_observe, t->state);
    ed_free(observed);
    return rc;
}

static int make_executor(ed_trainer *t)
{
    const ed_graph *g = t->plan->graph;
    int rc = ED_OK;
    ed_shape *shapes = ed_calloc(g->n_inputs, sizeof *shapes);
    t->inputs = ed_calloc(g->n_inputs, sizeof(void *));
    t->outputs = ed_calloc(g->n_outputs, sizeof(void *));
    if (!shapes || !t->inputs || !t->outputs)
        ED_GOTO(ED_ENOMEM);
    for (size_t i = 0; i < g->n_inputs; i++)
        shapes[i] = g->values[g->inputs[i]].shape;
    for (size_t i = 0; i < t->plan->n_params + t->plan->n_scales; i++)
        t->inputs[t->plan->first_param + i] = t->state->inputs[i];
    ED_GOTO(fit_memory(t, shapes));
    ED_GOTO(compile(t, shapes));
done:
    ed_free(shapes);
    return rc;
}

static int make_plan(ed_trainer *t, const ed_shape *shapes)
{
    const ed_qat_options *o = &t->settings.opts;
    const ed_train_spec spec = { .shapes = shapes,
                                 .loss = t->settings.loss,
                                 .scales = t->settings.scales,
                                 .temperature = o->temperature,
                                 .alpha = ed_qat_number(o->alpha),
                                 .label_smoothing = o->label_smoothing,
                                 .opts = o };
    ED_TRY(ed_train_graph_new(&t->plan, t->graph, &spec));
    ed_train_graph_tell(t->plan);
    t->model_hash = ed_graph_hash(t->graph);
    return ed_train_state_new(&t->state, t->plan, t->graph, &t->settings);
}

static int set_batch(ed_trainer *t, const ed_qat_options *given)
{
    ed_qat_options *o = &t->settings.opts;
    const ed_shuffle shuffle = { .seed = o->seed, .augment = o->augment };
    ED_TRY(ed_dataset_shuffle(t->train, &shuffle));
    int64_t batch = ed_dataset_batch_size(t->train);
    ED_FAIL_IF(given && given->batch && given->batch != batch, ED_EINVAL,
               "batch is %lld, but %s was opened for batches of %lld", (long long)given->batch,
               ed_dataset_name(t->train), (long long)batch);
    o->batch = batch;
    t->batches = ed_dataset_batches(t->train);
    return ED_OK;
}

/* The state to the device on which the executor is. */
static int go_there(ed_trainer *t)
{
    const ed_device_steps_spec spec = { t->state, t->exec, t->teacher_exec, t->train };
    int rc = ed_exec_device(t->exec) ? ed_device_steps_new(&t->there, &spec) : ED_OK;
    if (rc == ED_ENOMEM)
        explain_memory(t, (int64_t)ed_exec_get_stats(t->exec).activation_bytes);
    return rc;
}

int ed_trainer_begin(ed_trainer *t, const ed_graph *teacher, const ed_qat_options *opts)
{
    int rc = ED_OK;
    ED_TRY(ed_qat_options_read(&t->settings, opts));
    t->settings.validates = t->val != NULL;
    if (t->settings.opts.checkpoint)
        ED_TRY(ed_checkpoint_check_path(t->settings.opts.checkpoint));
    ED_TRY(set_batch(t, opts));
    ed_shape *shapes = ed_calloc(ed_graph_input_count(t->graph), sizeof *shapes);
    if (!shapes)
        return ED_ENOMEM;
    ED_GOTO(ed_dataset_shapes(shapes, t->train, t->settings.opts.batch));
    ED_GOTO(make_plan(t, shapes));
    ED_GOTO(make_teacher(t, teacher, shapes));
    t->teacher_hash = t->teacher ? ed_graph_hash(t->teacher) : 0;
    ED_GOTO(make_executor(t));
    t->at.best_epoch = ED_QAT_NOT_VALIDATED;
    ED_GOTO(ed_trainer_resume(t));
    ED_GOTO(go_there(t));
    ED_GOTO(ed_log_open(t));
done:
    ed_free(shapes);
    return rc;
}

void ed_trainer_clear(ed_trainer *t)
{
    ed_device_steps_free(t->there);
    ed_exec_free(t->exec);
    ed_exec_free(t->teacher_exec);
    ed_train_state_free(t->state);
    ed_train_graph_free(t->plan);
    ed_graph_free(t->teacher);
    ed_free(t->inputs);
    ed_free(t->outputs);
}
