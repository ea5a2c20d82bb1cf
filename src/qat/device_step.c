/*
 * See device_step.h. Teacher and training graph read the batch at one place, and the training graph
 * reads the teacher's logits where the teacher writes them. What goes to and fro passes through
 * page-locked memory, a slot for each step that may be under way.
 */
#include "qat/device_step.h"

#include "base/mem.h"
#include "data/device_feed.h"
#include "data/raw.h"

#include <string.h>

enum { SLOTS = 2 };

/* Of one step; the pointers are into `memory`, which is page-locked. */
typedef struct slot {
    void *memory, *done; /* done: a mark of the device */
    ed_tensor *batch;    /* the model's inputs, where they come converted; page-locked too */
    float *loss, *logits;
    int64_t *labels;
    ed_device_updated *updated;
    ed_qat_report report;
    int64_t update; /* the number of the update behind it; 0: none */
    bool has_labels;
} slot;

struct ed_device_steps {
    ed_device_steps_spec spec;
    const ed_train_graph *plan;
    const ed_device *device;
    ed_device_state *state;
    ed_device_feed *feed; /* NULL: batches come converted */
    slot slots[SLOTS];
    size_t queued, answered;
    size_t n_inputs;  /* of the model */
    ed_tensor *views; /* of all inputs of the training graph, there */
    const ed_tensor **inputs, **outputs;
    void **places; /* of the model's inputs, there */
};

/* ---- making ---- */

static int make_slot(slot *s, const ed_device *d, int64_t batch, int64_t classes)
{
    const size_t logits = (size_t)(batch * classes) * sizeof *s->logits;
    const size_t labels = (size_t)batch * sizeof *s->labels;
    ED_DEVICE_TRY(d, d->api->alloc_host(d->handle, &s->memory,
                                        sizeof *s->updated + labels + sizeof *s->loss + logits));
    s->updated = s->memory;
    s->labels = (int64_t *)(void *)(s->updated + 1);
    s->loss = (float *)(void *)(s->labels + batch);
    s->logits = s->loss + 1;
    return ED_OK;
}

/* Batches that come converted go there from page-locked memory: the copy waits for nobody. */
static int make_staging(ed_device_steps *s, slot *to)
{
    const ed_device *d = s->device;
    to->batch = ed_calloc(s->n_inputs, sizeof *to->batch);
    if (!to->batch)
        return ED_ENOMEM;
    for (size_t i = 0; i < s->n_inputs; i++) {
        to->batch[i] = s->views[i];
        to->batch[i].data = NULL;
        ED_DEVICE_TRY(d, d->api->alloc_host(d->handle, &to->batch[i].data, s->views[i].nbytes));
    }
    return ED_OK;
}

/* The teacher shares the batch, and its answers lie where they are read. */
static void connect_teacher(ed_device_steps *s)
{
    ed_exec *teacher = s->spec.teacher;
    if (!teacher)
        return;
    for (size_t i = 0; i < s->n_inputs; i++)
        ed_exec_device_place(teacher, i, s->places[i]);
    ed_exec_device_place(s->spec.exec, s->plan->teacher, ed_exec_device_output(teacher, 0));
}

static int make_views(ed_device_steps *s)
{
    const ed_graph *g = s->plan->graph;
    s->views = ed_calloc(g->n_inputs, sizeof *s->views);
    s->inputs = ed_calloc(g->n_inputs, sizeof(ed_tensor *));
    s->outputs = ed_calloc(g->n_outputs, sizeof(ed_tensor *));
    s->places = ed_calloc(s->n_inputs, sizeof(void *));
    if (!s->views || !s->inputs || !s->outputs || !s->places)
        return ED_ENOMEM;
    for (size_t i = 0; i < s->n_inputs; i++)
        s->places[i] = ed_exec_device_input(s->spec.exec, i);
    connect_teacher(s);
    for (size_t i = 0; i < g->n_inputs; i++) {
        const ed_value *v = &g->values[g->inputs[i]];
        ED_TRY(ed_tensor_view(&s->views[i], v->dtype, &v->shape,
                              ed_exec_device_input(s->spec.exec, i)));
        s->inputs[i] = &s->views[i];
    }
    return ED_OK;
}

static int make(ed_device_steps *s)
{
    ED_TRY(ed_device_use(s->device));
    ED_TRY(ed_device_state_new(&s->state, s->spec.state, s->spec.exec));
    ED_TRY(make_views(s));
    for (size_t i = 0; i < SLOTS; i++)
        ED_TRY(make_slot(&s->slots[i], s->device, s->plan->batch, s->plan->classes));
    if (ed_dataset_raw_possible(s->spec.data))
        return ed_device_feed_new(&s->feed, s->device, s->spec.data);
    for (size_t i = 0; i < SLOTS; i++)
        ED_TRY(make_staging(s, &s->slots[i]));
    return ED_OK;
}

int ed_device_steps_new(ed_device_steps **out, const ed_device_steps_spec *spec)
{
    ed_device_steps *s = ed_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return ED_ENOMEM;
    s->spec = *spec;
    s->plan = spec->state->plan;
    s->device = ed_exec_device(spec->exec);
    s->n_inputs = s->plan->n_model;
    int rc = make(s);
    if (rc != ED_OK) {
        ed_device_steps_free(s);
        return rc;
    }
    *out = s;
    return ED_OK;
}

void ed_device_steps_free(ed_device_steps *s)
{
    if (!s)
        return;
    const ed_device *d = s->device;
    ed_error_kept kept = ed_error_keep(); /* a device that was lost fails at everything */
    d->api->sync(d->handle);              /* what is queued uses the memory */
    for (size_t i = 0; i < SLOTS; i++) {
        slot *one = &s->slots[i];
        for (size_t k = 0; one->batch && k < s->n_inputs; k++)
            d->api->free_host(d->handle, one->batch[k].data);
        ed_free(one->batch);
        d->api->free_host(d->handle, one->memory);
        d->api->mark_free(d->handle, one->done);
    }
    ed_error_put_back(&kept);
    ed_device_feed_free(s->feed);
    ed_device_state_free(s->state);
    ed_free(s->views);
    ed_free(s->inputs);
    ed_free(s->outputs);
    ed_free(s->places);
    ed_free(s);
}

ed_device_state *ed_device_steps_state(const ed_device_steps *s)
{
    return s->state;
}

/* ---- a step ---- */

/* The training graph reads them where they are. */
static int check_logits(const ed_device_steps *s, const ed_tensor *logits)
{
    const ed_tensor *wanted = &s->views[s->plan->teacher];
    char given[128], text[128];
    ED_FAIL_IF(logits->dtype != wanted->dtype || !ed_shape_equal(&logits->shape, &wanted->shape),
               ED_ESHAPE,
               "the teacher's logits are %s%s, the model's %s%s; both must be of the "
               "same classes",
               ed_dtype_name(logits->dtype), ed_shape_format(given, sizeof given, &logits->shape),
               ed_dtype_name(wanted->dtype), ed_shape_format(text, sizeof text, &wanted->shape));
    return ED_OK;
}

/* What the first executor that runs is given: the batch there, or here, and it copies it. */
static int give_batch(ed_device_steps *s, const slot *to, const ed_batch *batch)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        s->inputs[i] = s->feed ? &s->views[i] : &to->batch[i];
        if (!s->feed && batch->inputs[i]->nbytes)
            memcpy(to->batch[i].data, batch->inputs[i]->data, batch->inputs[i]->nbytes);
    }
    return s->feed ? ed_device_feed_batch(s->feed, batch, s->places) : ED_OK;
}

static int run_graphs(ed_device_steps *s, const slot *to, const ed_batch *batch)
{
    const ed_tensor *logits;
    ED_TRY(give_batch(s, to, batch));
    if (s->spec.teacher) {
        ED_TRY(ed_exec_run(s->spec.teacher, s->inputs, &logits));
        ED_TRY(check_logits(s, logits));
        for (size_t i = 0; i < s->n_inputs; i++) /* the batch is there now */
            s->inputs[i] = &s->views[i];
    }
    ED_TRY(ed_exec_run(s->spec.exec, s->inputs, s->outputs));
    return s->feed ? ed_device_feed_done(s->feed) : ED_OK;
}

static int give_labels(ed_device_steps *s, slot *to, const ed_batch *batch)
{
    const ed_device *d = s->device;
    const size_t nbytes = (size_t)batch->size * sizeof *to->labels, input = s->plan->labels;
    to->has_labels = batch->labels != NULL;
    if (!batch->labels)
        return ED_OK;
    memcpy(to->labels, batch->labels, nbytes);
    if (input != SIZE_MAX)
        ED_DEVICE_TRY(d, d->api->copy_in(d->handle, s->views[input].data, to->labels, nbytes));
    return ED_OK;
}

static int fetch(ed_device_steps *s, slot *to)
{
    const ed_device *d = s->device;
    const size_t n = (size_t)(s->plan->batch * s->plan->classes);
    ED_DEVICE_TRY(d, d->api->download(d->handle, to->loss,
                                      ed_exec_device_output(s->spec.exec, ED_TRAIN_LOSS),
                                      sizeof *to->loss));
    if (to->has_labels && n)
        ED_DEVICE_TRY(d, d->api->download(d->handle, to->logits,
                                          ed_exec_device_output(s->spec.exec, ED_TRAIN_LOGITS),
                                          n * sizeof *to->logits));
    return ED_OK;
}

int ed_device_steps_queue(ed_device_steps *s, const ed_batch *batch, const ed_qat_report *report,
                          bool update)
{
    const ed_device *d = s->device;
    slot *to = &s->slots[s->queued % SLOTS];
    to->report = *report;
    to->update = update ? s->spec.state->updates + 1 : 0;
    ED_TRY(ed_device_use(d));
    ED_TRY(give_labels(s, to, batch));
    ED_TRY(run_graphs(s, to, batch));
    ED_TRY(fetch(s, to));
    ED_TRY(ed_device_state_add(s->state));
    if (update)
        ED_TRY(ed_device_state_update(s->state, report->learning_rate, to->updated));
    ED_DEVICE_TRY(d, d->api->mark(d->handle, &to->done));
    s->queued++;
    return ED_OK;
}

/* ---- its answer ---- */

size_t ed_device_steps_pending(const ed_device_steps *s)
{
    return s->queued - s->answered;
}

int ed_device_steps_answer(ed_device_steps *s, ed_device_answer *out)
{
    const ed_device *d = s->device;
    const slot *from = &s->slots[s->answered % SLOTS];
    *out = (ed_device_answer){ .report = from->report };
    s->answered++;
    ED_DEVICE_TRY(d, d->api->wait(d->handle, from->done));
    out->loss = *from->loss;
    out->labels = from->has_labels ? from->labels : NULL;
    ED_TRY(ed_tensor_view(&out->logits, ED_F32, &ED_SHAPE(s->plan->batch, s->plan->classes),
                          from->logits));
    return from->update ? ed_device_state_judge(s->state, from->updated, from->update) : ED_OK;
}

int ed_device_steps_judge(ed_device_steps *s)
{
    return s->feed ? ed_device_feed_judge(s->feed) : ED_OK;
}
