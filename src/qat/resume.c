/*
 * The checkpoint of a run.
 *
 *   last/...      every array of the state
 *   best/...      weights and scales of the best epoch
 *   position      f64: ed_position, updates, steps in the sums
 *   provenance    JSON: an object of texts: what the run was made of. Another one cannot go on from
 *                 here.
 *
 * Nothing else is state: order and augmentation follow from seed, epoch and place.
 */
#include "qat/trainer.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* ---- provenance ---- */

static int add_text(json_t *object, const char *key, const char *format, ...) ED_PRINTF(3, 4);

static int add_text(json_t *object, const char *key, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ED_FAIL_IF(json_object_set_new(object, key, json_string_nocheck(text)) != 0, ED_ENOMEM,
               "out of memory for the checkpoint's provenance");
    return ED_OK;
}

/* The shortest of the usual formats that gives the number back. */
static const char *exact_format(double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.15g", value);
    return strtod(text, NULL) == value ? "%.15g" : "%.17g";
}

static int add_options(json_t *object, const ed_qat_settings *s)
{
    const ed_qat_options *o = &s->opts;
    const char *name;
    double value;
    for (size_t i = 0; ed_qat_number_at(&name, &value, o, i); i++)
        ED_TRY(add_text(object, name, exact_format(value), value));
    ED_TRY(add_text(object, "optimizer", "%s", o->optimizer));
    ED_TRY(add_text(object, "schedule", "%s", o->schedule));
    ED_TRY(add_text(object, "loss", "%s", o->loss));
    ED_TRY(add_text(object, "scales", "%s", o->scales));
    ED_TRY(add_text(object, "weight_scales", "%s", o->weight_scales));
    ED_TRY(add_text(object, "augment", "%s", o->augment));
    ED_TRY(add_text(object, "seed", "%" PRIu64, o->seed));
    uint64_t frozen = 0;
    for (size_t i = 0; i < o->freeze_count; i++)
        frozen = ed_hash(frozen, o->freeze[i], strlen(o->freeze[i]) + 1);
    return add_text(object, "freeze", "%zu patterns, %016" PRIx64, o->freeze_count, frozen);
}

static int provenance(json_t **out, const ed_trainer *t)
{
    json_t *object = json_object();
    int rc = ED_OK;
    *out = object;
    if (!object)
        return ed_error_set(ED_ENOMEM, "out of memory for the checkpoint's provenance");
    ED_GOTO(add_text(object, "version", "%s", ed_version()));
    ED_GOTO(add_text(object, "model", "%016" PRIx64, t->model_hash));
    ED_GOTO(add_text(object, "teacher", "%016" PRIx64, t->teacher_hash));
    ED_GOTO(add_text(object, "data", "%016" PRIx64, ed_dataset_hash(t->train)));
    ED_GOTO(add_text(object, "samples", "%lld", (long long)ed_dataset_count(t->train)));
    ED_GOTO(
        add_text(object, "validation data", "%016" PRIx64, t->val ? ed_dataset_hash(t->val) : 0));
    ED_GOTO(add_options(object, &t->settings));
done:
    if (rc != ED_OK) {
        json_decref(object);
        *out = NULL;
    }
    return rc;
}

static int check_provenance(const ed_trainer *t, const char *path, const char *text)
{
    json_t *mine, *theirs = NULL, *value;
    const char *key;
    int rc = ED_OK;
    ED_TRY(provenance(&mine, t));
    if (text)
        theirs = json_loads(text, 0, NULL);
    if (!json_is_object(theirs))
        rc = ed_error_set(ED_EFORMAT, "%s: it is no checkpoint of a training run", path);
    json_object_foreach(mine, key, value)
    {
        const char *was = json_string_value(json_object_get(theirs, key));
        const char *now = json_string_value(value);
        if (rc == ED_OK && (!was || strcmp(was, now) != 0))
            rc = ed_error_set(ED_EMISMATCH,
                              "%s: it was made with %s %s, this run has %s; use the same options, "
                              "or begin anew",
                              path, key, was ? was : "(none)", now);
    }
    json_decref(mine);
    json_decref(theirs);
    return rc;
}

/* ---- position ---- */

enum { COUNTS = 9, POSITION = 14 };

static void pack(double v[POSITION], const ed_trainer *t)
{
    const ed_position *p = &t->at;
    const int64_t counts[COUNTS] = { p->epoch,      p->batch,          p->step,
                                     p->best_epoch, p->correct,        p->labelled,
                                     p->steps,      t->state->updates, t->state->summed };
    const double values[POSITION - COUNTS] = { p->loss, p->last_loss, p->best_accuracy,
                                               p->best_val_loss, p->best_loss };
    for (int i = 0; i < COUNTS; i++)
        v[i] = (double)counts[i];
    memcpy(v + COUNTS, values, sizeof values);
}

/* True when the counts are those of a run like this one. */
static bool fits(const ed_trainer *t, const double *v)
{
    for (int i = 0; i < COUNTS; i++)
        if (!(v[i] >= (i == 3 ? ED_QAT_NOT_VALIDATED : 0) && v[i] <= 0x1p53))
            return false;
    return v[0] <= (double)t->settings.opts.epochs && v[1] <= (double)t->batches;
}

static void unpack(ed_trainer *t, const double *v)
{
    t->at = (ed_position){ .epoch = (int64_t)v[0],
                           .batch = (int64_t)v[1],
                           .step = (int64_t)v[2],
                           .best_epoch = (int64_t)v[3],
                           .correct = (int64_t)v[4],
                           .labelled = (int64_t)v[5],
                           .steps = (int64_t)v[6],
                           .loss = v[9],
                           .last_loss = v[10],
                           .best_accuracy = v[11],
                           .best_val_loss = v[12],
                           .best_loss = v[13] };
    t->state->updates = (int64_t)v[7];
    t->state->summed = (int64_t)v[8];
}

/* ---- files ---- */

static int fill(ed_checkpoint *c, const ed_trainer *t)
{
    double position[POSITION];
    json_t *object;
    pack(position, t);
    ED_TRY(ed_checkpoint_set(c, "position", ED_F64, &ED_SHAPE(POSITION), position));
    ED_TRY(provenance(&object, t));
    char *text = json_dumps(object, JSON_INDENT(1));
    json_decref(object);
    int rc = text ? ed_checkpoint_set_text(c, "provenance", text)
                  : ed_error_set(ED_ENOMEM, "out of memory for the checkpoint's provenance");
    free(text);
    ED_TRY(rc);
    return ed_state_save(t->state, c);
}

int ed_trainer_checkpoint(const ed_trainer *t)
{
    ed_checkpoint *c;
    if (!t->settings.opts.checkpoint)
        return ED_OK;
    ED_TRY(ed_log_flush(t));
    ED_TRY(ed_checkpoint_new(&c));
    int rc = fill(c, t);
    if (rc == ED_OK)
        rc = ed_checkpoint_write(c, t->settings.opts.checkpoint);
    ed_checkpoint_free(c);
    return rc;
}

static int load(ed_trainer *t, const ed_checkpoint *c, const char *path)
{
    const ed_tensor *position = ed_checkpoint_get(c, "position");
    ED_TRY(check_provenance(t, path, ed_checkpoint_text(c, "provenance")));
    ED_FAIL_IF(!position || position->dtype != ED_F64 || position->numel != POSITION, ED_EFORMAT,
               "%s: it does not say where the run was", path);
    ED_FAIL_IF(!fits(t, position->data), ED_EFORMAT,
               "%s: it is at a place that this run does not have", path);
    unpack(t, position->data);
    int rc = ed_state_load(t->state, c);
    return rc == ED_OK ? rc : ed_error_context(rc, "%s", path);
}

int ed_trainer_resume(ed_trainer *t)
{
    const char *path = t->settings.opts.resume;
    ed_checkpoint *c;
    char *note = NULL;
    if (!path)
        return ED_OK;
    ED_TRY(ed_checkpoint_read(&c, path, &note));
    if (note)
        ed_log(ED_LOG_WARNING, "%s; going on from the one before it", note);
    ed_free(note);
    int rc = load(t, c, path);
    ed_checkpoint_free(c);
    if (rc == ED_OK)
        ed_log(ED_LOG_INFO, "goes on at epoch %lld, batch %lld of %lld", (long long)t->at.epoch + 1,
               (long long)t->at.batch, (long long)t->batches);
    return rc;
}
